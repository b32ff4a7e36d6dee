--
-- Virtual generated columns (PostgreSQL 18): conditions, events, messages and
-- recipients see their values, though no row holds them.
--
SET client_min_messages = warning;
SELECT current_setting('server_version_num')::integer < 180000 AS too_old \gset
\if :too_old
\quit
\endif
\set SHOW_CONTEXT never
CREATE SCHEMA capture_virtual;
SET search_path = capture_virtual, public;
INSERT INTO notify.category (name, class, channels) VALUES ('virtual', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('virtual', 'inbox', '{{ new.id }}'), ('told', 'inbox', '{{ new.total }} for {{ greeting }}');
INSERT INTO notify.provider (name, channel, preset) VALUES ('virtual', 'inbox', 'inbox');
INSERT INTO notify.recipient (id) VALUES ('ann');
CREATE PROCEDURE plan() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..20 LOOP PERFORM notify._plan(500); COMMIT; END LOOP;
END
$$;
CREATE TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT op "char", OUT key text, OUT rules text, OUT undecided text, OUT new jsonb, OUT old jsonb, OUT cut boolean)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
		SELECT e.op, e.key,
			   (SELECT string_agg(v.name, ',' ORDER BY r.n) FROM unnest(e.rules) WITH ORDINALITY AS r (version, n)
				JOIN notify.rule_version v ON v.id = r.version),
			   (SELECT string_agg(v.name || ': ' || (u ->> 'message'), ',') FROM jsonb_array_elements(e.undecided) AS u
				JOIN notify.rule_version v ON v.id = (u ->> 'rule')::bigint),
			   e.new, e.old, e.truncated
		FROM notify.event e WHERE e.id > (SELECT max(s.id) FROM seen s) ORDER BY e.id;
	INSERT INTO seen SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;
CREATE TABLE orders (
	id			integer PRIMARY KEY,
	total		numeric GENERATED ALWAYS AS (quantity * price) VIRTUAL,
	quantity	integer,
	price		numeric(10,2),
	note		text DEFAULT 'a',
	gone		integer,
	points		integer GENERATED ALWAYS AS (coalesce(quantity, 0) + 1) VIRTUAL,
	share		integer GENERATED ALWAYS AS (100 / quantity) VIRTUAL,
	stored		integer GENERATED ALWAYS AS (quantity * 2) STORED,
	initial		text COLLATE "C" GENERATED ALWAYS AS (upper(note)) VIRTUAL
);
ALTER TABLE orders DROP COLUMN gone;
CREATE PROCEDURE add_rule(rule_name text, condition text, ops text[] DEFAULT NULL, relation regclass DEFAULT 'orders') LANGUAGE sql AS $$
	INSERT INTO notify.rule (name, source, condition, ops, template, category) VALUES (rule_name, relation, condition, ops, 'virtual', 'virtual')
$$;
SELECT notify.attach('orders', $$'ann'$$);

-- In conditions; and in events they are what to_jsonb() shows.
CALL add_rule('dear', 'new.total > 100');
CALL add_rule('changed', 'new.total IS DISTINCT FROM old.total', '{update}');
CALL add_rule('both', 'new.total + old.stored > 0 AND new.initial = ''A''');
CALL add_rule('row', $$(to_jsonb(new) ->> 'total')::numeric = 300 AND new IS NOT NULL$$);
INSERT INTO orders (id, quantity, price) VALUES (1, 2, 10), (2, 3, 100), (3, NULL, 5);
SELECT key, rules, undecided, new = (SELECT to_jsonb(o) FROM orders o WHERE o.id::text = key) AS same, new FROM events();
UPDATE orders SET price = 101 WHERE id = 2;
UPDATE orders SET quantity = quantity * 2, price = price / 2 WHERE id = 1;
UPDATE orders SET quantity = 4 WHERE id = 1;
SELECT key, rules, old FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- old of an INSERT is all NULL, new of a DELETE too, whatever would be made of NULLs.
CALL add_rule('fresh', 'old.points IS NULL AND new.points > 0', '{insert}');
CALL add_rule('fresh row', $$to_jsonb(old) ->> 'points' IS NULL AND old IS NULL$$, '{insert}');
CALL add_rule('left', 'new.points IS NULL AND old.points > 0', '{delete}');
CALL add_rule('never', '(new.points IS NULL OR old.points IS NULL)', '{update}');
INSERT INTO orders (id) VALUES (4);
UPDATE orders SET price = 1, quantity = 1 WHERE id = 4;
DELETE FROM orders WHERE id = 4;
SELECT op, key, rules, new, old FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- One that raises: the rule that reads it is undecided, the event goes without it, the statement goes on.
CALL add_rule('share', 'new.share > 10');
CALL add_rule('neighbour', NULL);
UPDATE orders SET quantity = 0, price = 7 WHERE id = 1;
UPDATE orders SET price = 8 WHERE id = 1;
SELECT key, rules, undecided, new ? 'share' AS has_share, new ->> 'total' AS total, old, cut FROM events();
UPDATE orders SET quantity = 5 WHERE id = 1;
SELECT rules, undecided, new -> 'share' AS share, old ? 'share' AS had_share, cut FROM events();

-- Kept out of events, it is still there for conditions; what it is made of may not show in errors.
SELECT notify.attach('orders', $$'ann'$$, columns => '{-quantity}');
UPDATE orders SET quantity = 0 WHERE id = 1;
SELECT rules, undecided, new FROM events();
SELECT notify.attach('orders', $$'ann'$$, columns => '{share,price}');
UPDATE orders SET quantity = 1 WHERE id = 1;
SELECT rules, undecided, new, old FROM events();
SELECT notify.attach('orders', $$'ann'$$, key => '{id,points}');
UPDATE orders SET quantity = 2 WHERE id = 1;
SELECT key, rules FROM events();
SELECT notify.attach('orders', $$'ann'$$);
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- A new expression counts from the next statement on.
CALL add_rule('dear', 'new.total > 1000');
UPDATE orders SET price = 30 WHERE id = 1;
ALTER TABLE orders ALTER COLUMN total SET EXPRESSION AS (quantity * price * 1000);
UPDATE orders SET price = 31 WHERE id = 1;
SELECT key, rules, new -> 'total' AS total FROM events();
ALTER TABLE orders ALTER COLUMN total SET EXPRESSION AS (quantity * price);

-- Planner and replay: context and templates read it; a mended rule decides over the event's row.
DELETE FROM notify.rule WHERE source = 'orders'::regclass;
INSERT INTO notify.rule (name, source, condition, context, template, category)
VALUES ('told', 'orders', '100 / (new.total - 62) > 0', $$SELECT 'Ann ' || new.total AS greeting$$, 'told', 'virtual');
UPDATE orders SET price = 32 WHERE id = 1;
UPDATE orders SET price = 31 WHERE id = 1;
CALL plan();
UPDATE notify.rule SET condition = 'new.total > 0' WHERE name = 'told';
SELECT notify.replay('told', now() - interval '1 hour');
CALL plan();
SELECT m.verdict, m.reason, c.body FROM notify.message m JOIN notify.rule_version v ON v.id = m.rule AND v.name = 'told'
	LEFT JOIN LATERAL notify.content(m.id) AS c ON m.verdict = 'send' ORDER BY m.id;
SELECT count(*) FROM events();

-- Partitions, each with columns of its own order; a row that moves is one UPDATE.
CREATE TABLE parts (id integer, region text, n integer, twice integer GENERATED ALWAYS AS (n * 2) VIRTUAL) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (twice integer GENERATED ALWAYS AS (n * 2) VIRTUAL, gone integer, n integer, region text, id integer);
ALTER TABLE parts_b DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
SELECT notify.attach('parts', $$'ann'$$, key => '{id}');
CALL add_rule('moved', 'new.twice > 2 AND new.twice IS DISTINCT FROM old.twice', relation => 'parts');
INSERT INTO parts (id, region, n) VALUES (1, 'a', 1), (2, 'b', 2);
UPDATE parts SET region = 'b', n = 5 WHERE id = 1;
UPDATE parts SET region = 'a' WHERE id = 2;
SELECT op, key, rules, new, old FROM events();

-- The app's users.
CREATE TABLE users (id integer PRIMARY KEY, first text, last text, name text GENERATED ALWAYS AS (first || ' ' || last) VIRTUAL,
	mail text GENERATED ALWAYS AS (lower(first) || '@example.org') VIRTUAL);
INSERT INTO users VALUES (1, 'Ann', 'Lee');
SELECT notify.attach_recipients('users', 'id', name => 'name', addresses => '{"email": "mail"}');
INSERT INTO users VALUES (2, 'Bob', 'Ray');
UPDATE users SET last = 'Roe' WHERE id = 1;
SELECT r.id, r.name, a.address FROM notify.recipient r JOIN notify.address a ON a.recipient = r.id ORDER BY r.id;

DROP SCHEMA capture_virtual CASCADE;
