-- What the shop's application does: it places orders and moves them on, each
-- step in a transaction of its own. It never mentions notifications.

\echo 'placing orders'
BEGIN;
INSERT INTO orders (id, number, customer_id, currency, total) VALUES (1001, 'SO-1001', 1, 'CNY', 428.00);
INSERT INTO order_items VALUES (1001, 1, '龙井茶 250克', 2, 168.00), (1001, 2, '青花瓷茶杯', 1, 92.00);
COMMIT;

BEGIN;
INSERT INTO orders (id, number, customer_id, currency, total) VALUES (1002, 'SO-1002', 2, 'CNY', 1299.50);
INSERT INTO order_items VALUES (1002, 1, '降噪耳机 "静" & 收纳盒', 1, 1299.50);
COMMIT;

BEGIN;
INSERT INTO orders (id, number, customer_id, currency, total) VALUES (1003, 'SO-1003', 3, 'USD', 64.90);
INSERT INTO order_items VALUES (1003, 1, 'Teapot <blue>', 1, 39.90), (1003, 2, 'Jasmine tea', 2, 12.50);
COMMIT;

BEGIN;
INSERT INTO orders (id, number, customer_id, currency, total) VALUES (1004, 'SO-1004', 4, 'GBP', 18.00);
INSERT INTO order_items VALUES (1004, 1, 'Mug', 2, 9.00);
COMMIT;

\echo 'an order that is rolled back: nobody hears of it'
BEGIN;
INSERT INTO orders (id, number, customer_id, currency, total) VALUES (1005, 'SO-1005', 1, 'CNY', 1.00);
ROLLBACK;

\echo 'shipping'
UPDATE orders SET status = 'shipped', carrier = '顺丰速运', tracking = 'SF' || id WHERE currency = 'CNY';
UPDATE orders SET status = 'shipped', carrier = 'UPS', tracking = '1Z' || id WHERE currency <> 'CNY';

\echo 'a note for the staff: no rule wants it'
UPDATE orders SET note = 'call before delivery' WHERE id = 1003;

\echo 'out for delivery'
UPDATE orders SET status = 'out_for_delivery';

\echo 'signed'
UPDATE orders o SET status = 'signed', signed_by = c.name FROM customers c WHERE c.id = o.customer_id;
