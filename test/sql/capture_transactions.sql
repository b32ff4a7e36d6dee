--
-- Transactions of every kind: an event is there if and only if its change is.
--
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA capture_transactions;
SET search_path = capture_transactions, public;
INSERT INTO notify.category (name, class, channels) VALUES ('capture xact', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('capture xact', 'inbox', 'x');
CREATE TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT op "char", OUT key text, OUT rules integer, OUT new jsonb, OUT old jsonb, OUT xid xid8)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT e.op, e.key, cardinality(e.rules), e.new, e.old, e.xid
		FROM notify.event e WHERE e.id > (SELECT max(s.id) FROM seen s) ORDER BY e.id;
	INSERT INTO seen SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;
CREATE TABLE orders (id integer PRIMARY KEY, n integer);
SELECT notify.attach('orders', $$'ann'$$);
INSERT INTO notify.rule (name, source, template, category) VALUES ('capture xact', 'orders', 'capture xact', 'capture xact');

-- Every isolation level sees the rules of now and leaves no lock of its own.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO orders VALUES (1, 0);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO orders VALUES (2, 0);
UPDATE orders SET n = 1 WHERE id = 2;
SELECT DISTINCT relation::regclass FROM pg_locks WHERE mode = 'SIReadLock' AND relation::regclass::text LIKE 'notify%';
COMMIT;
SELECT op, key, rules, old FROM events();

-- Hundreds of subtransactions, half of them rolled back, a rule that needs its own among them.
INSERT INTO notify.rule (name, source, condition, template, category)
VALUES ('capture xact 2', 'orders', '100 / new.n > 0', 'capture xact', 'capture xact');
DO $$
BEGIN
	FOR i IN 101..500 LOOP
		BEGIN
			INSERT INTO orders VALUES (i, i);
			IF i % 2 = 0 THEN RAISE 'no' USING ERRCODE = 'PX001'; END IF;
			BEGIN
				UPDATE orders SET n = 0 WHERE id = i;
				RAISE 'no' USING ERRCODE = 'PX001';
			EXCEPTION WHEN SQLSTATE 'PX001' THEN
				UPDATE orders SET n = 50 WHERE id = i;
			END;
		EXCEPTION WHEN SQLSTATE 'PX001' THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT op, rules, count(*), count(DISTINCT key), count(DISTINCT xid), count(DISTINCT new ->> 'n') FROM events() GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM orders WHERE id > 100;
DELETE FROM notify.rule WHERE name = 'capture xact 2';
BEGIN;
SAVEPOINT a;
INSERT INTO orders VALUES (3, 0);
SAVEPOINT b;
INSERT INTO orders VALUES (4, 0);
ROLLBACK TO b;
INSERT INTO orders VALUES (5, 0);
RELEASE a;
COMMIT;
SELECT op, key, xid = min(xid) OVER () AS one_transaction FROM events();

-- Two-phase: nothing before the second, all after, none when rolled back.
BEGIN;
INSERT INTO orders VALUES (6, 0);
PREPARE TRANSACTION 'capture one';
BEGIN;
INSERT INTO orders VALUES (7, 0);
PREPARE TRANSACTION 'capture two';
SELECT count(*) FROM notify.event WHERE source = 'orders'::regclass AND key IN ('6', '7');
ROLLBACK PREPARED 'capture two';
COMMIT PREPARED 'capture one';
SELECT key, new FROM notify.event WHERE source = 'orders'::regclass AND key IN ('6', '7');
SELECT count(*) FROM events();

-- Deferred: a constraint trigger that writes at commit, and a constraint that fails there.
CREATE TABLE lines (id integer PRIMARY KEY, order_id integer REFERENCES orders ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
					place integer, UNIQUE (order_id, place) DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION count_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE orders SET n = (SELECT count(*) FROM lines WHERE order_id = NEW.order_id) WHERE id = NEW.order_id;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER count_lines AFTER INSERT ON lines DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_lines();
BEGIN;
INSERT INTO lines VALUES (1, 1, 1), (2, 1, 2);
SELECT count(*) FROM events();
COMMIT;
SELECT op, key, new, old FROM events();
BEGIN;
INSERT INTO lines VALUES (3, 1, 3);
SET CONSTRAINTS count_lines IMMEDIATE;
SELECT op, key, new, old FROM events();
INSERT INTO lines VALUES (4, 999, 1);
COMMIT;
SELECT count(*) FROM notify.event e WHERE e.new ->> 'n' = '3' AND e.source = 'orders'::regclass;
BEGIN;
UPDATE orders SET n = 8 WHERE id = 1;
UPDATE lines SET place = 3 - place WHERE order_id = 1;
COMMIT;
SELECT op, key, old FROM events();

-- Statements that failed left nothing; what their session does next is captured.
INSERT INTO orders SELECT i, 1 / (i - 1002) FROM generate_series(1000, 1005) AS i;
INSERT INTO orders VALUES (1006, 1);
SELECT op, key FROM events();
-- Cursors, loops over rows, updates of what a subquery locks.
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM orders WHERE id < 3 ORDER BY id FOR UPDATE;
FETCH 2 FROM c;
UPDATE orders SET n = 77 WHERE CURRENT OF c;
COMMIT;
SELECT op, key, old FROM events();
-- Updates that change nothing are updates to rules without a condition.
UPDATE orders SET n = n WHERE id = 1;
SELECT op, key, old FROM events();
-- A row changed twice in one statement's reach is reported by each change.
WITH u AS (UPDATE orders SET n = 78 WHERE id = 2 RETURNING id) INSERT INTO orders SELECT id, 1 FROM u ON CONFLICT (id) DO NOTHING;
INSERT INTO orders VALUES (2, 0) ON CONFLICT (id) DO UPDATE SET n = 79;
SELECT op, key, new, old FROM events();

-- A move that found no end, before PREPARE.
CREATE TABLE parts (id integer, region text) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER refuse BEFORE INSERT ON parts_b FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT notify.attach('parts', $$'ann'$$, key => '{id}');
INSERT INTO notify.rule (name, source, ops, condition, template, category) VALUES ('capture parts', 'parts', '{delete}', '1 / old.id >= 0', 'capture xact', 'capture xact');
INSERT INTO parts VALUES (1, 'a'), (0, 'a');
BEGIN;
UPDATE parts SET region = 'b' WHERE id = 1;
PREPARE TRANSACTION 'capture move';
COMMIT PREPARED 'capture move';
UPDATE parts SET region = 'b' WHERE id = 0;
SELECT op, key, rules FROM events();
DROP TRIGGER refuse ON parts_b;
COPY parts FROM stdin;
3	a
4	b
\.
MERGE INTO parts p USING (VALUES (3), (4)) AS v (id) ON p.id = v.id WHEN MATCHED AND p.region = 'a' THEN DELETE WHEN MATCHED THEN UPDATE SET region = 'a';
SELECT op, key, rules FROM events();

-- As wide as a table can be.
DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg(format('c%s integer', i), ', ' ORDER BY i) || ')' FROM generate_series(1, 1600) AS i); END $$;
SELECT notify.attach('wide', $$'ann'$$, key => '{c1,c1600}');
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('capture wide', 'wide', 'new.c1600 > 0', 'capture xact', 'capture xact');
DO $$ BEGIN EXECUTE (SELECT 'INSERT INTO wide VALUES (' || string_agg(i::text, ', ' ORDER BY i) || ')' FROM generate_series(1, 1600) AS i); END $$;
UPDATE wide SET c800 = -1;
SELECT op, key, (SELECT count(*) FROM jsonb_object_keys(new)) AS columns, new = (SELECT to_jsonb(w) FROM wide w) AS same, old FROM events();
SET notify_pg.event_row_limit = 1;
UPDATE wide SET c800 = -2;
SELECT op, key, new, old FROM events();
RESET notify_pg.event_row_limit;

-- A value may take more room as text than it is stored in: the limit is on what an event would hold.
CREATE TABLE files (id integer PRIMARY KEY, content bytea);
SELECT notify.attach('files', $$'ann'$$);
INSERT INTO notify.rule (name, source, template, category) VALUES ('capture files', 'files', 'capture xact', 'capture xact');
SET notify_pg.event_row_limit = 10;
INSERT INTO files SELECT i, decode(repeat('ab', i * 1000), 'hex') FROM generate_series(3, 6, 3) AS i;
RESET notify_pg.event_row_limit;
SELECT e.key, length(e.new ->> 'content') AS content, e.truncated FROM notify.event e WHERE e.source = 'files'::regclass ORDER BY e.id;
SELECT notify.detach('files');
-- An index of the log that wants few rows got no others: none of these cancels anything, so it is empty.
SELECT count(*) FILTER (WHERE e.cancel_key IS NOT NULL) AS cancels, count(*) > 100 AS events FROM notify.event e;
SELECT DISTINCT pg_relation_size(i.indexrelid) AS metapage FROM pg_index i
WHERE i.indrelid IN (SELECT p.inhrelid FROM pg_inherits p WHERE p.inhparent = 'notify.event'::regclass) AND i.indpred IS NOT NULL;

DELETE FROM notify.rule WHERE category = 'capture xact';
SELECT notify.detach('orders'), notify.detach('parts'), notify.detach('wide');
DELETE FROM notify.template WHERE name = 'capture xact';
DELETE FROM notify.category WHERE name = 'capture xact';
DROP SCHEMA capture_transactions CASCADE;
