-- Who is told what, when the shop's orders move: everything is rows.
--
-- psql variables (with what they are when not given):
--   smtp_host smtp_port   the mail server                (127.0.0.1, 25)
--   webhook_url           what wants to hear of orders   (http://127.0.0.1:8080/orders)
--   webhook_secret        signs the requests             (a made-up one)

\if :{?smtp_host} \else \set smtp_host 127.0.0.1 \endif
\if :{?smtp_port} \else \set smtp_port 25 \endif
\if :{?webhook_url} \else \set webhook_url http://127.0.0.1:8080/orders \endif
\if :{?webhook_secret} \else \set webhook_secret whsec_bm90aWZ5X3BnIGV4YW1wbGUgc2VjcmV0IDEyMw== \endif

BEGIN;

-- 1. How each channel is served.
INSERT INTO notify.secret VALUES ('orders_webhook', :'webhook_secret');

INSERT INTO notify.provider (name, channel, preset, settings) VALUES
    ('inbox', 'inbox', 'inbox', '{}'),
    ('mail', 'email', 'smtp', jsonb_build_object(
        'host', :'smtp_host', 'port', :smtp_port, 'tls', 'none', 'from', '小店 Shop <orders@shop.example>')),
    ('orders_webhook', 'webhook', 'webhook', jsonb_build_object(
        'url', :'webhook_url', 'signing_secret', jsonb_build_object('secret', 'orders_webhook')));

-- 2. People, and where to reach them.
INSERT INTO notify.recipient (id, name, locale, time_zone)
SELECT id, name, language, time_zone FROM customers;

INSERT INTO notify.address (recipient, channel, address)
SELECT id, 'email', email FROM customers WHERE email IS NOT NULL;

-- 3. Which changes to watch, and whom they concern. Internal notes stay in their table.
SELECT notify.attach('orders', recipient => 'new.customer_id', columns => '{-note}');

INSERT INTO notify.category (name, class, description, channels) VALUES
    ('orders', 'transactional', 'What happens to your orders', '{inbox,email,webhook}');

-- 4. The words: Chinese, and English for everybody else. A template is found by
--    the recipient's locale, from zh-Hans-CN over zh to default.
CREATE TEMP TABLE words (stage text, locale text, subject text, said text) ON COMMIT DROP;
INSERT INTO words VALUES
    ('order_placed', 'zh', '订单 {{ new.number }} 已提交',
     '{{ recipient.name }},您好!我们已收到您的订单 {{ new.number }}。'),
    ('order_placed', 'default', 'Order {{ new.number }} received',
     'Dear {{ recipient.name }}, thank you! We have received your order {{ new.number }}.'),
    ('order_shipped', 'zh', '订单 {{ new.number }} 已发货',
     '{{ recipient.name }},您好!您的订单 {{ new.number }} 已由{{ new.carrier }}发出,运单号 {{ new.tracking }}。'),
    ('order_shipped', 'default', 'Order {{ new.number }} is on its way',
     'Dear {{ recipient.name }}, your order {{ new.number }} has left with {{ new.carrier }}, tracking number {{ new.tracking }}.'),
    ('order_out_for_delivery', 'zh', '订单 {{ new.number }} 正在派送',
     '{{ recipient.name }},您好!您的订单 {{ new.number }} 今天送达,请保持电话畅通。'),
    ('order_out_for_delivery', 'default', 'Order {{ new.number }} arrives today',
     'Dear {{ recipient.name }}, your order {{ new.number }} is out for delivery and arrives today.'),
    ('order_signed', 'zh', '订单 {{ new.number }} 已签收',
     '{{ recipient.name }},您好!您的订单 {{ new.number }} 已由{{ new.signed_by }}签收。感谢您的惠顾!'),
    ('order_signed', 'default', 'Order {{ new.number }} was delivered',
     'Dear {{ recipient.name }}, your order {{ new.number }} was signed for by {{ new.signed_by }}. Enjoy!');

INSERT INTO notify.template (name, channel, locale, subject, body)
SELECT stage, 'inbox', locale, subject,
       said || CASE locale WHEN 'zh' THEN ' 合计 ' ELSE ' Total: ' END || '{{ new.total | money: new.currency }}'
FROM words;

INSERT INTO notify.template (name, channel, locale, subject, body, html)
SELECT stage, 'email', locale, subject,
       said || E'\n\n'
       || E'{% for item in items %}- {{ item.product }} × {{ item.quantity }}  {{ item.price | money: new.currency }}\n{% endfor %}'
       || CASE locale WHEN 'zh' THEN E'\n合计:' ELSE E'\nTotal: ' END || E'{{ new.total | money: new.currency }}\n',
       '<p>' || said || E'</p>\n<table>\n'
       || E'{% for item in items %}<tr><td>{{ item.product }}</td><td>× {{ item.quantity }}</td><td>{{ item.price | money: new.currency }}</td></tr>\n{% endfor %}'
       || '<tr><th colspan="2">' || CASE locale WHEN 'zh' THEN '合计' ELSE 'Total' END
       || E'</th><th>{{ new.total | money: new.currency }}</th></tr>\n</table>\n'
FROM words;

INSERT INTO notify.template (name, channel, locale, body)
SELECT stage, 'webhook', locale,
       '{"type": "' || stage || '", "customer": {{ recipient.id | json }}, "order": {{ new.number | json }}, '
       || '"status": {{ new.status | json }}, "total": {{ new.total | json }}, "currency": {{ new.currency | json }}, '
       || '"items": {{ items | json }}, "text": "' || subject || '"}'
FROM words;

-- 5. The rules: which change is which message. A condition is SQL over the row
--    before and after; context is a query whose columns the template sees.
INSERT INTO notify.rule (name, source, ops, condition, template, category, context)
SELECT r.name, 'orders', r.ops, r.condition, r.name, 'orders',
       $$SELECT jsonb_agg(jsonb_build_object('product', i.product, 'quantity', i.quantity, 'price', i.price)
                          ORDER BY i.line) AS items
         FROM order_items i WHERE i.order_id = new.id$$
FROM (VALUES
    ('order_placed', '{insert}'::text[], $$new.status = 'placed'$$),
    ('order_shipped', '{update}', $$new.status = 'shipped' AND old.status IS DISTINCT FROM 'shipped'$$),
    ('order_out_for_delivery', '{update}',
     $$new.status = 'out_for_delivery' AND old.status IS DISTINCT FROM 'out_for_delivery'$$),
    ('order_signed', '{update}', $$new.status = 'signed' AND old.status IS DISTINCT FROM 'signed'$$)
) AS r (name, ops, condition);

COMMIT;
