--
-- Rows to events: what is captured, of which statements, and what it looks like.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
CREATE SCHEMA capture_rows;
SET search_path = capture_rows, public;
SET timezone = 'UTC';

INSERT INTO notify.category (name, class, channels) VALUES ('capture rows', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('capture rows', 'inbox', 'x');

CREATE TABLE orders (
	id			integer PRIMARY KEY,
	customer	text,
	status		text NOT NULL DEFAULT 'new',
	total		numeric(10,2),
	secret		text
);
SELECT notify.attach('orders', 'new.customer', columns => '{-secret}');

-- A rule by a few words of it.
CREATE PROCEDURE add_rule(rule_name text, condition text, ops text[] DEFAULT NULL, action text DEFAULT 'notify',
						  recipient text DEFAULT NULL, cancel_key text DEFAULT NULL, dedupe_key text DEFAULT NULL,
						  relation regclass DEFAULT 'orders')
LANGUAGE sql AS $$
	INSERT INTO notify.rule (name, source, condition, ops, action, template, category, recipient, cancel_key, dedupe_key)
	VALUES (rule_name, relation, condition, ops, action,
			CASE action WHEN 'notify' THEN 'capture rows' END, CASE action WHEN 'notify' THEN 'capture rows' END,
			recipient, cancel_key, dedupe_key)
$$;
-- The events of a table, with rules by name, since the last look.
CREATE TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT op "char", OUT key text, OUT recipient text, OUT rules text, OUT recipients text[],
					   OUT keys text[], OUT cancels text, OUT new jsonb, OUT old jsonb, OUT cut boolean)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
		SELECT e.op, e.key, e.recipient,
			   (SELECT string_agg(v.name, ',' ORDER BY r.n) FROM unnest(e.rules) WITH ORDINALITY AS r (version, n)
				JOIN notify.rule_version v ON v.id = r.version),
			   e.recipients, coalesce(e.dedupe_keys, e.cancel_keys), e.cancel_key, e.new, e.old, e.truncated
		FROM notify.event e WHERE e.id > (SELECT max(s.id) FROM seen s) ORDER BY e.id;
	INSERT INTO seen SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;

-- No rule, no event.
INSERT INTO orders VALUES (1, 'ann', 'new', 10.50, 'hidden');
SELECT count(*) FROM events();

-- Ops and conditions; old is all NULL on INSERT, new on DELETE.
CALL add_rule('placed', NULL, '{insert}');
CALL add_rule('paid', $$new.status = 'paid' AND old.status IS DISTINCT FROM 'paid'$$, '{insert,update}');
CALL add_rule('gone', 'new.id IS NULL AND old.id IS NOT NULL', NULL, recipient => 'old.customer');
CALL add_rule('dear', 'new.total > 100');
INSERT INTO orders VALUES (2, 'bob', 'new', 200, 'hidden'), (3, NULL, 'paid', NULL, NULL);
UPDATE orders SET status = 'paid' WHERE id = 1;
UPDATE orders SET status = 'sent', customer = 'bert' WHERE id = 2;
UPDATE orders SET total = total WHERE id IN (1, 2);
UPDATE orders SET secret = 'still hidden' WHERE id = 2;
DELETE FROM orders WHERE id = 1;
SELECT op, key, recipient, rules, recipients, new, old, cut FROM events();

-- The event is written straight into the day's partition, under the writer's transaction.
SELECT count(DISTINCT tableoid::regclass) AS partitions,
	   bool_and(tableoid::regclass::text = 'notify.event_' || to_char(notify.id_time(id) AT TIME ZONE 'UTC', 'YYYYMMDD')) AS of_the_day
FROM notify.event WHERE source = 'orders'::regclass;
BEGIN;
UPDATE orders SET status = 'paid' WHERE id = 2;
SAVEPOINT a;
UPDATE orders SET status = 'new' WHERE id = 2;
UPDATE orders SET status = 'paid' WHERE id = 2;
SELECT count(*), bool_and(xid = pg_current_xact_id()) AS top_level FROM notify.event
WHERE source = 'orders'::regclass AND xid = pg_current_xact_id();
ROLLBACK TO a;
COMMIT;
SELECT op, key, rules, old FROM events();

-- Rolled back, nothing was.
BEGIN;
UPDATE orders SET status = 'paid', total = 1;
ROLLBACK;
DO $$ BEGIN UPDATE orders SET total = 999; RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT count(*) FROM events();

-- Statements of every kind.
COPY orders (id, customer, status, total) FROM stdin;
10	cid	paid	5
11	cid	new	500
\.
INSERT INTO orders (id, customer) VALUES (10, 'x'), (12, 'y') ON CONFLICT (id) DO UPDATE SET status = 'new', total = 101;
INSERT INTO orders (id, customer) VALUES (10, 'x') ON CONFLICT DO NOTHING;
MERGE INTO orders o USING (VALUES (10), (13)) AS v (id) ON o.id = v.id
	WHEN MATCHED THEN UPDATE SET status = 'paid' WHEN NOT MATCHED THEN INSERT (id, customer) VALUES (v.id, 'z');
WITH gone AS (DELETE FROM orders WHERE id = 13 RETURNING *) INSERT INTO orders (id, customer) SELECT 14, customer FROM gone;
SELECT op, key, recipient, rules, old FROM events();
DELETE FROM orders;
SELECT count(*), count(DISTINCT key) FROM events();
INSERT INTO orders SELECT i, 'bulk', CASE WHEN i % 10 = 0 THEN 'paid' ELSE 'new' END, i FROM generate_series(1, 1000) AS i;
SELECT rules, count(*) FROM events() GROUP BY rules ORDER BY rules;
UPDATE orders SET status = 'paid';
SELECT rules, count(*) FROM events() GROUP BY rules ORDER BY rules;
UPDATE orders SET secret = 'x' WHERE id <= 100;
SELECT rules, count(*) FROM events() GROUP BY rules ORDER BY rules;
TRUNCATE orders;
UPDATE notify.rule SET enabled = false WHERE name IN ('paid', 'gone', 'dear');
INSERT INTO orders VALUES (1, 'ann', 'paid', 500);
SELECT op, rules FROM events();

-- A rule's own recipient; NULL there is nobody, not the event's recipient.
CALL add_rule('both', NULL, '{update}');
CALL add_rule('own', NULL, '{update}', recipient => $$new.total::integer$$);
CALL add_rule('nobody', NULL, '{update}', recipient => $$old.secret$$);
UPDATE orders SET status = 'x';
SELECT recipient, rules, recipients FROM events();
DELETE FROM notify.rule WHERE name IN ('both', 'own', 'nobody');

-- Keys: dedupe, what a message listens to, and what a cancel rule kills.
CALL add_rule('remind', $$new.status = 'unpaid'$$, cancel_key => $$'order:' || new.id$$);
CALL add_rule('once', $$new.status = 'unpaid'$$, dedupe_key => $$new.customer$$);
CALL add_rule('settled', $$new.status = 'paid'$$, action => 'cancel', cancel_key => $$'order:' || new.id$$);
CALL add_rule('settled too', $$new.status = 'paid'$$, action => 'cancel', cancel_key => $$'order:' || new.id$$);
CALL add_rule('customer settled', $$new.status = 'paid'$$, action => 'cancel', cancel_key => $$'customer:' || new.id$$);
CALL add_rule('no key', $$new.status = 'paid'$$, action => 'cancel', cancel_key => $$new.secret$$);
UPDATE orders SET status = 'unpaid';
SELECT dedupe_keys, cancel_keys, cancel_key FROM notify.event WHERE id > (SELECT max(id) FROM seen);
SELECT key, rules FROM events();
UPDATE orders SET status = 'paid';
-- Both indexes lead to the rows.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT FROM notify.event_default WHERE cancel_key = 'customer:1';
SELECT count(*) FROM notify.event WHERE cancel_key = 'customer:1' AND source = 'orders'::regclass;
SELECT count(*) FROM notify.event e WHERE (xid, id) = (SELECT n.xid, n.id FROM notify.event n WHERE n.cancel_key = 'customer:1' AND n.source = 'orders'::regclass);
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT key, rules, keys, cancels, new IS NOT NULL AS has_new, old FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- A key too long to be one leaves its rule undecided; the neighbours go on.
CALL add_rule('long', NULL, recipient => $$repeat('x', 2000)$$);
CALL add_rule('short', NULL, dedupe_key => $$repeat('x', 1024)$$);
UPDATE orders SET status = 'z';
SELECT u.value - 'rule' AS undecided FROM notify.event, jsonb_array_elements(undecided) AS u WHERE id > (SELECT max(id) FROM seen);
SELECT rules FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- Every type, exactly as to_jsonb() shows it.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN amount AS numeric(8,3);
CREATE TABLE kinds (
	"Mixed ""Key" integer, region text,
	b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric, d amount,
	t text, v varchar(10), c char(5), "char" "char", nm name, u uuid, by bytea,
	dt date, ts timestamp, tz timestamptz, ti time, tt timetz, iv interval,
	j json, jb jsonb, arr integer[], tarr text[], p pair, m mood, marr mood[], ip inet, r int4range, x xml, bits bit(3),
	doubled integer GENERATED ALWAYS AS (i4 * 2) STORED,
	PRIMARY KEY (region, "Mixed ""Key")
);
ALTER TABLE kinds DROP COLUMN i2;
ALTER TABLE kinds ADD COLUMN i2 smallint DEFAULT 7;
SELECT notify.attach('kinds', $$'someone'$$);
CALL add_rule('kinds', NULL, relation => 'kinds');
INSERT INTO kinds ("Mixed ""Key", region) VALUES (1, 'a|b');
INSERT INTO kinds VALUES (2, 'ü', true, 1, -9223372036854775808, 1.5e-20, 'NaN', 'Infinity', 1.500,
	E'a"\\\n\t€', 'v', 'c', 'x', 'nm', '00000000-0000-0000-0000-000000000001', '\x00ff',
	'2026-02-03', 'infinity', '2026-02-03 04:05:06.7+09', '01:02:03', '01:02:03+04', '1 day 2 hours',
	'{"b": 1, "a": [1, {"c": null}], "b": 2}', '[1, "x", {"y": []}]', '{{1,2},{3,NULL}}', '{a,NULL,"b c"}', '(1,"x y")', 'happy', '{sad}',
	'10.0.0.1/8', '[1,5)', '<a/>', '101');
INSERT INTO kinds VALUES (3, 'r', false, 1, 1, 'Infinity', '-Infinity', 123456789012345678901234567890.123456789, 0,
	'', '', '', '', '', NULL, '', '-infinity', '2026-02-03', '-infinity', '00:00', '00:00Z', '0',
	'"scalar"', '5', '{}', '{}', NULL, 'sad', '{}', '::1', 'empty', 'text', '000');
SELECT e.key, e.new = to_jsonb(k) AS same, e.new -> 'jb' AS jb, e.new -> 'p' AS p
FROM notify.event e JOIN kinds k ON k."Mixed ""Key" = (e.new ->> 'Mixed "Key')::integer
WHERE e.source = 'kinds'::regclass ORDER BY e.id;
SELECT count(*) FROM events();
-- old holds what changed and nothing else.
UPDATE kinds SET n = 1.50, t = t || '', jb = jb, arr = '{1}', "Mixed ""Key" = 4 WHERE region = 'ü';
SELECT key, old FROM events();
DELETE FROM kinds WHERE region = 'ü';
SELECT key, new, old ->> 'n' AS n, old ? 'jb' AS has_jb FROM events();

-- A value that jsonb refuses is left out; the statement goes on.
UPDATE kinds SET j = '"\u0000"' WHERE region = 'r';
SELECT new ? 'j' AS has_j, new ? 'jb' AS has_jb, old, cut FROM events();

-- columns: only these, all but these, and failing closed after a rename.
SELECT notify.attach('orders', 'new.customer', columns => '{id,status}');
CALL add_rule('all', NULL);
UPDATE orders SET status = 'a', secret = 'b';
SELECT notify.attach('orders', 'new.customer', columns => '{-secret,-total}');
UPDATE orders SET status = 'c', secret = 'd';
ALTER TABLE orders RENAME COLUMN secret TO password;
UPDATE orders SET status = 'e', password = 'f';
ALTER TABLE orders RENAME COLUMN password TO secret;
UPDATE orders SET status = 'g', secret = 'h';
SELECT key, new, old, cut FROM events();
-- An error's text could show what the columns hide.
DELETE FROM notify.rule WHERE name = 'all';
CALL add_rule('peek', 'new.secret::integer > 0');
CALL add_rule('peek at all', 'new::text::integer > 0');
CALL add_rule('honest', 'new.status::integer > 0');
UPDATE orders SET secret = 'marker';
SELECT undecided::text LIKE '%marker%' AS leaked, jsonb_path_query_array(undecided, '$[*].message') FROM notify.event WHERE id > (SELECT max(id) FROM seen);
SELECT count(*) FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- Big rows: toasted values are whole, and over the limit only the key is kept.
CALL add_rule('all', NULL);
SELECT notify.attach('orders', 'new.customer');
UPDATE orders SET secret = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) AS i);
UPDATE orders SET status = 'big';
SELECT length(new ->> 'secret'), old, cut FROM events();
UPDATE orders SET secret = repeat('y', 10 * 1024 * 1024);
UPDATE orders SET status = 'bigger';
DELETE FROM orders;
SELECT op, new, old, cut FROM events();

-- Indexes of one's own on the log, of any kind; a row that one of them refuses leaves nothing behind.
CREATE INDEX own_brin ON notify.event USING brin (id);
CREATE INDEX own_gin ON notify.event USING gin (new);
DO $$ BEGIN
	EXECUTE format($f$CREATE UNIQUE INDEX own_unique ON %s ((new ->> 'customer')) WHERE new ->> 'status' = 'once'$f$,
				   (SELECT tableoid::regclass FROM notify.event ORDER BY id DESC LIMIT 1));
END $$;
BEGIN;
INSERT INTO orders SELECT i, 'own', 'x' FROM generate_series(100, 120) AS i;
COMMIT;
INSERT INTO orders VALUES (121, 'own', 'once'), (122, 'other', 'once');
INSERT INTO orders VALUES (123, 'own', 'once');
INSERT INTO orders VALUES (124, 'third', 'once'), (125, 'own', 'x');
SET enable_seqscan = off;
SELECT count(*) FROM notify.event WHERE new @> '{"customer": "own"}';
SELECT count(*) FROM notify.event WHERE new ->> 'status' = 'once' AND new ->> 'customer' IN ('own', 'third');
SELECT count(*) FROM notify.event WHERE id > (SELECT max(id) FROM seen);
RESET enable_seqscan;
DROP INDEX notify.own_brin, notify.own_gin, notify.own_unique;
SELECT count(*) FROM events();
DELETE FROM orders WHERE id >= 100;
SELECT count(*) FROM events();

-- Detached and attached again.
SELECT notify.detach('orders');
INSERT INTO orders VALUES (1, 'ann');
SELECT count(*) FROM events();
SELECT notify.attach('orders', 'new.customer');
INSERT INTO orders VALUES (2, 'ann');
SELECT count(*) FROM events();
UPDATE notify.source SET enabled = false WHERE relation = 'orders'::regclass;
INSERT INTO orders VALUES (3, 'ann');
SELECT count(*) FROM events();

-- Partitions and children follow the table they belong to, with their own column order.
CREATE TABLE parts (id integer, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (note text, gone integer, region text NOT NULL, id integer NOT NULL);
ALTER TABLE parts_b DROP COLUMN gone;
SELECT notify.attach('parts', 'new.note');
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
CALL add_rule('parts', $$new.id > 1$$, relation => 'parts');
INSERT INTO parts VALUES (1, 'a', 'no'), (2, 'a', 'x'), (3, 'b', 'y');
UPDATE parts_b SET note = 'z';
SELECT op, key, recipient, new, old FROM events();
SELECT DISTINCT source::regclass FROM notify.event WHERE source IN ('parts'::regclass, 'parts_b'::regclass);

-- Foreign key cascades and deferred constraints.
CREATE TABLE items (id integer PRIMARY KEY, order_id integer REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
SELECT notify.attach('items', $$'someone'$$);
CALL add_rule('items', NULL, relation => 'items');
INSERT INTO items VALUES (1, 1), (2, 1);
UPDATE orders SET id = 100 WHERE id = 1;
DELETE FROM orders WHERE id = 100;
SELECT op, key, old FROM events();

-- Only as the trigger it is.
CREATE TRIGGER wrong BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION notify.capture();
INSERT INTO items VALUES (3, 2);
DROP TRIGGER wrong ON items;
CREATE TRIGGER wrong AFTER INSERT ON items FOR EACH STATEMENT EXECUTE FUNCTION notify.capture();
INSERT INTO items VALUES (3, 2);

-- Emitted: rules over jsonb.
INSERT INTO notify.rule (name, event_type, condition, template, category, recipient)
VALUES ('login', 'login', $$(new ->> 'tries')::integer > 3$$, 'capture rows', 'capture rows', $$new ->> 'who'$$),
	   ('other', 'logout', NULL, 'capture rows', 'capture rows', NULL);
SELECT count(*) AS forgotten FROM events();
SELECT notify.emit('login', 'ann', '{"tries": 5, "who": "guard"}', 'k') IS NOT NULL AS id,
	   notify.emit('login', 'ann', '{"tries": 1}') IS NOT NULL AS id,
	   notify.emit('login', 'ann', '{"tries": "many"}') IS NOT NULL AS id,
	   notify.emit('nothing', 'ann', '{}') IS NOT NULL AS id;
SELECT e.op, e.type, e.key, e.recipient, cardinality(e.rules) AS rules, e.recipients, e.new, jsonb_path_query_array(e.undecided, '$[*].message')
FROM notify.event e WHERE id > (SELECT max(id) FROM seen) ORDER BY id;

DELETE FROM notify.rule WHERE category = 'capture rows';
DELETE FROM notify.source WHERE relation IN ('orders'::regclass, 'kinds'::regclass, 'parts'::regclass, 'items'::regclass);
DELETE FROM notify.template WHERE name = 'capture rows';
DELETE FROM notify.category WHERE name = 'capture rows';
DROP SCHEMA capture_rows CASCADE;
