--
-- What rules and sources rely on is altered and dropped: business statements go
-- on, and what no longer works says so.
--
SET client_min_messages = warning;
CREATE SCHEMA capture_ddl;
SET search_path = capture_ddl, public;
INSERT INTO notify.category (name, class, channels) VALUES ('capture ddl', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('capture ddl', 'inbox', 'x');
CREATE PROCEDURE add_rule(rule_name text, relation regclass, condition text DEFAULT NULL, audience text DEFAULT NULL)
LANGUAGE sql AS $$
	INSERT INTO notify.rule (name, source, condition, audience, template, category)
	VALUES (rule_name, relation, condition, audience, 'capture ddl', 'capture ddl')
$$;
CREATE VIEW problems AS
	SELECT 'rule ' || r.name AS of, r.problem, r.source::text FROM notify.rule r WHERE r.problem IS NOT NULL
	UNION ALL SELECT 'source ' || s.relation, s.problem, NULL FROM notify.source s WHERE s.problem IS NOT NULL ORDER BY 1;

CREATE TABLE orders (id integer PRIMARY KEY, customer text, status text, total integer, secret text);
CREATE TABLE people (id text PRIMARY KEY, manager text);
CREATE FUNCTION dear(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 100';
CREATE TYPE wrap AS (a integer);
SELECT notify.attach('orders', 'new.customer', columns => '{-secret}');
CALL add_rule('dear', 'orders', 'dear(new.total)');
CALL add_rule('status', 'orders', $$new.status = 'paid'$$);
CALL add_rule('always', 'orders');
CALL add_rule('audience', 'orders', NULL, 'SELECT p.manager AS recipient FROM people p WHERE p.id = new.customer');
CALL add_rule('wraps', 'orders', 'ROW(new.id)::wrap IS NOT NULL');
CALL add_rule('divides', 'orders', '1 / new.total > 0');
SELECT * FROM problems;

-- Columns: renamed, dropped, retyped, and back.
ALTER TABLE orders RENAME status TO state;
SELECT * FROM problems;
INSERT INTO orders VALUES (1, 'ann', 'paid', 500, 'hidden');
SELECT cardinality(rules) AS matched, jsonb_path_query_array(undecided, '$[*].message') AS undecided FROM notify.event WHERE source = 'orders'::regclass;
ALTER TABLE orders RENAME state TO status;
SELECT * FROM problems;
ALTER TABLE orders DROP COLUMN status;
SELECT * FROM problems;
ALTER TABLE orders ADD COLUMN status integer;
SELECT * FROM problems;
ALTER TABLE orders ALTER status TYPE text;
SELECT * FROM problems;
-- What an expression met in a row is not settled by DDL.
UPDATE notify.rule SET problem = 'division by zero (SQLSTATE 22012)' WHERE name = 'divides';
ALTER TABLE orders ADD COLUMN more integer;
SELECT * FROM problems;
UPDATE notify.rule SET problem = NULL WHERE name = 'divides';

-- The key, the recipient, and what events must not hold: fail closed, and say so.
ALTER TABLE orders RENAME customer TO client;
SELECT * FROM problems;
ALTER TABLE orders RENAME client TO customer;
ALTER TABLE orders RENAME id TO number;
SELECT * FROM problems;
ALTER TABLE orders RENAME number TO id;
ALTER TABLE orders RENAME secret TO password;
SELECT * FROM problems;
UPDATE orders SET password = 'marker' WHERE id = 1;
SELECT new, old, truncated FROM notify.event WHERE source = 'orders'::regclass ORDER BY id DESC LIMIT 1;
SELECT p FROM unnest((notify.status()).problems) AS p WHERE p LIKE '%orders%';
SELECT notify.attach('orders', 'new.customer', columns => '{-password}');
SELECT * FROM problems;

-- Functions, types and tables that expressions and queries use.
DROP FUNCTION dear(integer);
SELECT * FROM problems;
UPDATE orders SET total = 200;
CREATE FUNCTION dear(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 10';
SELECT * FROM problems;
ALTER FUNCTION dear(integer) RENAME TO precious;
SELECT * FROM problems;
ALTER FUNCTION precious(integer) RENAME TO dear;
SELECT * FROM problems;
DROP TYPE wrap;
SELECT * FROM problems;
CREATE TYPE wrap AS (a integer);
SELECT * FROM problems;
DROP TABLE people;
SELECT * FROM problems;
CREATE TABLE people (id text PRIMARY KEY, manager text);
SELECT * FROM problems;

-- What only an audience or context reads: altered, it is looked at at once; with another name, or
-- without a right to it, when the planner looks at all queries next.
CREATE VIEW bosses AS SELECT id, manager FROM people;
UPDATE notify.rule SET audience = 'SELECT b.manager AS recipient FROM bosses b WHERE b.id = new.customer', context = 'SELECT manager FROM people LIMIT 1' WHERE name = 'audience';
ALTER TABLE people RENAME manager TO boss;
SELECT * FROM problems;
ALTER TABLE people RENAME boss TO manager;
SELECT * FROM problems;
ALTER VIEW bosses RENAME TO chiefs;
SELECT * FROM problems;
SELECT notify._look_at_queries();
SELECT * FROM problems;
SELECT p FROM unnest((notify.status()).problems) AS p WHERE p LIKE '%bosses%';
ALTER VIEW chiefs RENAME TO bosses;
SELECT * FROM problems;
CREATE ROLE capture_asker;
GRANT notify_admin TO capture_asker;
GRANT USAGE ON SCHEMA capture_ddl TO capture_asker;
GRANT TRIGGER ON orders TO capture_asker;
GRANT SELECT ON people, bosses TO capture_asker;
SET ROLE capture_asker;
UPDATE notify.rule SET context = 'SELECT manager FROM people LIMIT 2' WHERE name = 'audience';
RESET ROLE;
REVOKE SELECT ON people FROM capture_asker;
SELECT notify._look_at_queries();
SELECT * FROM problems;
GRANT SELECT ON people TO capture_asker;
SELECT notify._look_at_queries();
SELECT * FROM problems;
UPDATE notify.rule SET audience = 'SELECT p.manager AS recipient FROM people p WHERE p.id = new.customer', context = NULL WHERE name = 'audience';
DROP VIEW bosses;
DROP OWNED BY capture_asker;
DROP ROLE capture_asker;

-- In a transaction that is rolled back, nothing happened.
BEGIN;
ALTER TABLE orders RENAME status TO state;
DROP FUNCTION dear(integer);
SELECT count(*) FROM problems;
ROLLBACK;
SELECT * FROM problems;

-- The table renamed, moved, dropped, made again.
CREATE SCHEMA capture_ddl2;
ALTER TABLE orders RENAME TO purchases;
ALTER TABLE purchases SET SCHEMA capture_ddl2;
SELECT relation, problem FROM notify.source;
SELECT * FROM problems;
INSERT INTO capture_ddl2.purchases (id, customer) VALUES (2, 'bob');
SELECT count(*) FROM notify.event WHERE source = 'capture_ddl2.purchases'::regclass AND key = '2';
DROP TABLE capture_ddl2.purchases;
SELECT relation, problem FROM notify.source;
SELECT * FROM problems;
SELECT DISTINCT owner = current_user::regrole AS mine, search_path FROM notify.rule WHERE category = 'capture ddl';
CREATE TABLE orders (id integer PRIMARY KEY, customer text, status text, total integer);
SELECT notify.attach('orders', 'new.customer');
UPDATE notify.rule SET source = 'orders' WHERE name IN ('status', 'always');
SELECT * FROM problems;
INSERT INTO orders VALUES (1, 'ann', 'paid', 1);
SELECT (SELECT array_agg(v.name ORDER BY v.name) FROM notify.rule_version v WHERE v.id = ANY (e.rules)) FROM notify.event e WHERE source = 'orders'::regclass;
-- With its schema, by a role that knows nothing of notify_pg.
CREATE ROLE capture_dropper;
GRANT TEMPORARY ON DATABASE :DBNAME TO capture_dropper;
CREATE SCHEMA capture_drop;
CREATE TABLE capture_drop.shop (id integer PRIMARY KEY);
SELECT notify.attach('capture_drop.shop', $$'x'$$);
CALL add_rule('shop', 'capture_drop.shop');
ALTER SCHEMA capture_drop OWNER TO capture_dropper;
ALTER TABLE capture_drop.shop OWNER TO capture_dropper;
SET ROLE capture_dropper;
DROP SCHEMA capture_drop CASCADE;
CREATE TEMPORARY TABLE scratch (a integer);
DROP TABLE scratch;
RESET ROLE;
SELECT relation FROM notify.source;
SELECT * FROM problems WHERE "of" = 'rule shop';
SELECT p FROM unnest((notify.status()).problems) AS p WHERE p LIKE '%shop%';
-- A partition goes alone.
CREATE TABLE parts (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
SELECT notify.attach('parts', $$'x'$$);
CALL add_rule('parts', 'parts');
DROP TABLE parts_1;
SELECT relation FROM notify.source ORDER BY 1;
SELECT * FROM problems WHERE "of" = 'rule parts';
-- DROP OWNED and ownership of what rules run as.
DROP OWNED BY capture_dropper;
DROP ROLE capture_dropper;

-- TRUNCATE: recorded, of what was named, once; or refused.
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts SELECT generate_series(1, 19);
CREATE TABLE marks AS SELECT max(id) AS id FROM notify.event;
TRUNCATE parts_2;
TRUNCATE parts;
BEGIN;
TRUNCATE parts, orders;
TRUNCATE parts_3;
SAVEPOINT a;
TRUNCATE orders;
ROLLBACK TO a;
COMMIT;
SELECT op, source::regclass, key, rules, new, old, truncated, instruction FROM notify.event WHERE id > (SELECT id FROM marks) ORDER BY id;
SELECT step, detail - '{event}'::text[] AS detail FROM notify.explain((SELECT max(id) FROM notify.event)) WHERE step = 'truncated';
INSERT INTO parts SELECT generate_series(1, 19);
UPDATE notify.source SET on_truncate = 'refuse' WHERE relation = 'parts'::regclass;
TRUNCATE parts;
TRUNCATE orders, parts_2;
SELECT count(*) FROM parts;
UPDATE notify.source SET on_truncate = 'never' WHERE relation = 'parts'::regclass;
UPDATE notify.source SET on_truncate = 'record' WHERE relation = 'parts'::regclass;
TRUNCATE parts;
SELECT notify.detach('parts');
TRUNCATE parts;
SELECT tgname FROM pg_trigger WHERE tgfoid = 'notify.capture'::regproc AND tgrelid IN ('parts'::regclass, 'parts_2'::regclass, 'parts_3'::regclass);
SELECT op, count(*) FROM notify.event WHERE source = 'parts'::regclass AND op = 'T' GROUP BY 1;

-- What replica sessions write is captured only where asked.
SELECT notify.attach('parts', $$'x'$$);
TRUNCATE marks;
INSERT INTO marks SELECT max(id) FROM notify.event;
SET session_replication_role = replica;
INSERT INTO parts VALUES (1);
TRUNCATE parts;
RESET session_replication_role;
SELECT op, key FROM notify.event WHERE id > (SELECT id FROM marks) ORDER BY id;
UPDATE notify.source SET on_replica = true WHERE relation = 'parts'::regclass;
CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM (20) TO (30);
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgfoid = 'notify.capture'::regproc AND tgrelid::regclass::text LIKE 'parts%' ORDER BY 1, 2;
SET session_replication_role = replica;
INSERT INTO parts VALUES (1), (21);
TRUNCATE parts;
RESET session_replication_role;
SELECT op, key FROM notify.event WHERE id > (SELECT id FROM marks) ORDER BY id;
-- Rules saved by a replica session are heard of too.
UPDATE notify.source SET on_replica = false WHERE relation = 'parts'::regclass;
INSERT INTO marks SELECT max(id) FROM notify.event;
SET session_replication_role = replica;
INSERT INTO parts VALUES (2);
UPDATE notify.rule SET enabled = false WHERE name = 'parts';
RESET session_replication_role;
INSERT INTO parts VALUES (3);
SELECT op, key FROM notify.event WHERE id > (SELECT max(id) FROM marks) ORDER BY id;
DELETE FROM notify.rule WHERE category = 'capture ddl';
SELECT notify.detach('parts'), notify.detach('orders');

-- The extension itself can go, and with it the event triggers.
SELECT notify.attach('orders', 'new.customer');
DROP SCHEMA capture_ddl2;
SET client_min_messages = error;
DROP EXTENSION notify_pg CASCADE;
SELECT count(*) FROM pg_event_trigger;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
INSERT INTO orders VALUES (5, 'x', 'paid', 1);
DROP SCHEMA capture_ddl CASCADE;
CREATE EXTENSION notify_pg;
SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1;
