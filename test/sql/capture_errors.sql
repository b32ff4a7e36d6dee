--
-- An expression that raises never fails the business statement; a change of a
-- rule, or of anything it uses, is obeyed by the next statement; expressions
-- run as their owner.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
CREATE SCHEMA capture_errors;
SET search_path = capture_errors, public;

INSERT INTO notify.category (name, class, channels) VALUES ('capture errors', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('capture errors', 'inbox', 'x');
CREATE TABLE items (id integer PRIMARY KEY, amount integer, note text);
SELECT notify.attach('items', $$'someone'$$);

CREATE PROCEDURE add_rule(rule_name text, condition text, recipient text DEFAULT NULL)
LANGUAGE sql AS $$
	INSERT INTO notify.rule (name, source, condition, template, category, recipient)
	VALUES (rule_name, 'items', condition, 'capture errors', 'capture errors', recipient)
$$;
CREATE TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT op "char", OUT key text, OUT rules text, OUT undecided text, OUT recipients text[])
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
		SELECT e.op, e.key,
			   (SELECT string_agg(v.name, ',' ORDER BY r.n) FROM unnest(e.rules) WITH ORDINALITY AS r (version, n)
				JOIN notify.rule_version v ON v.id = r.version),
			   (SELECT string_agg(format('%s: %s %s', v.name, u ->> 'sqlstate', u ->> 'message'), '; ' ORDER BY v.id)
				FROM jsonb_array_elements(e.undecided) AS u JOIN notify.rule_version v ON v.id = (u ->> 'rule')::bigint),
			   e.recipients
		FROM notify.event e WHERE e.id > (SELECT max(s.id) FROM seen s) ORDER BY e.id;
	INSERT INTO seen SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;

-- One raises, its neighbours decide.
CALL add_rule('divides', '10 / new.amount > 1');
CALL add_rule('casts', 'new.note::integer > 1');
CALL add_rule('plain', 'new.amount = 0');
INSERT INTO items VALUES (1, 0, '5'), (2, 0, 'x'), (3, 5, '0'), (4, 100, '1');
SELECT * FROM events();
-- A matched rule whose key raises is undecided as well.
CALL add_rule('key', NULL, '(1 / new.amount)::text');
UPDATE items SET note = '0' WHERE id = 1;
UPDATE items SET amount = 1, note = '0' WHERE id = 1;
SELECT * FROM events();
DELETE FROM notify.rule WHERE source = 'items'::regclass;
-- And every rule that relies on a source's recipient that raises.
SELECT notify.attach('items', '100 / new.amount');
CALL add_rule('relies', NULL);
CALL add_rule('has its own', NULL, 'new.id');
INSERT INTO notify.rule (name, source, action, cancel_key) VALUES ('cancels', 'items', 'cancel', $$'item:' || new.id$$);
INSERT INTO notify.rule (name, source, template, category, audience)
VALUES ('asks for many', 'items', 'capture errors', 'capture errors', $$SELECT 'x' AS recipient$$);
UPDATE items SET amount = 0 WHERE id = 1;
UPDATE items SET amount = 5 WHERE id = 1;
SELECT * FROM events();
SELECT notify.attach('items', $$'someone'$$);
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- What a failed expression did is undone; what the statement did is not.
CREATE TABLE journal (what text);
CREATE FUNCTION writes(fail boolean) RETURNS boolean LANGUAGE plpgsql SET search_path = capture_errors AS $$
BEGIN
	INSERT INTO journal VALUES (CASE WHEN fail THEN 'failed' ELSE 'went well' END);
	IF fail THEN RAISE 'as told' USING ERRCODE = 'PX001'; END IF;
	RETURN true;
END
$$;
CALL add_rule('writes before', 'writes(false)');
CALL add_rule('writes', 'writes(new.amount < 0)');
CALL add_rule('writes too', 'writes(false)');
BEGIN;
SAVEPOINT a;
UPDATE items SET amount = -1 WHERE id = 1;
ROLLBACK TO a;
UPDATE items SET amount = -2 WHERE id = 1;
UPDATE items SET amount = 3 WHERE id = 2;
SELECT what, count(*) FROM journal GROUP BY what;
COMMIT;
SELECT * FROM events();
SELECT what, count(*) FROM journal GROUP BY what;
SELECT amount FROM items WHERE id = 1;
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- In bulk.
CALL add_rule('bulk', '1 / (new.id % 2) = 1');
BEGIN;
INSERT INTO items SELECT i, 1, 'bulk' FROM generate_series(1001, 3000) AS i;
SELECT rules, undecided, count(*) FROM events() GROUP BY 1, 2 ORDER BY 1, 2;
-- Undecided events are bounded, in each transaction, by notify_pg.undecided_limit.
SET LOCAL notify_pg.undecided_limit = 1010;
UPDATE items SET note = 'again' WHERE id > 1000;
SELECT rules, undecided, count(*) FROM events() GROUP BY 1, 2 ORDER BY 1, 2;
ROLLBACK;
UPDATE items SET amount = 1 WHERE id = 2;
SELECT * FROM events();
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- A cancel is not an expression's fault, and is not survived.
CALL add_rule('slow', 'pg_sleep(new.amount) IS NULL');
SET statement_timeout = '100ms';
UPDATE items SET amount = 60 WHERE id = 1;
RESET statement_timeout;
SELECT amount FROM items WHERE id = 1;
SELECT * FROM events();
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- A condition whose function changes the same table, so its rules run inside themselves.
CREATE FUNCTION touches(item items) RETURNS boolean LANGUAGE plpgsql SET search_path = capture_errors AS $$
BEGIN
	IF item.amount > 0 THEN
		UPDATE items SET amount = item.amount - 1 WHERE id = item.id;
	END IF;
	RETURN item.amount = 3;
END
$$;
CALL add_rule('touches', 'new.note || touches(new)::text || new.amount = $$nest$$ || true || 3');
UPDATE items SET amount = 5, note = 'nest' WHERE id = 1;
SELECT op, key, rules, undecided FROM events();
SELECT amount FROM items WHERE id = 1;
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- Changes are obeyed by the next statement of the same transaction, also when taken back.
CALL add_rule('changing', 'new.amount > 10');
UPDATE items SET amount = 5 WHERE id = 1;
SELECT * FROM events();
BEGIN;
UPDATE notify.rule SET condition = 'new.amount > 1' WHERE name = 'changing';
UPDATE items SET note = 'a' WHERE id = 1;
SELECT * FROM events();
SAVEPOINT a;
UPDATE notify.rule SET enabled = false WHERE name = 'changing';
UPDATE items SET note = 'b' WHERE id = 1;
SELECT * FROM events();
ROLLBACK TO a;
UPDATE items SET note = 'c' WHERE id = 1;
SELECT * FROM events();
ROLLBACK;
UPDATE items SET note = 'd' WHERE id = 1;
SELECT * FROM events();
-- Functions that are redefined, dropped, and come back.
CREATE FUNCTION wanted(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = 5';
UPDATE notify.rule SET condition = 'wanted(new.amount)' WHERE name = 'changing';
UPDATE items SET note = 'e' WHERE id = 1;
SELECT * FROM events();
CREATE OR REPLACE FUNCTION wanted(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = 6';
UPDATE items SET note = 'f' WHERE id = 1;
SELECT * FROM events();
DROP FUNCTION wanted(integer);
UPDATE items SET note = 'g' WHERE id = 1;
SELECT * FROM events();
CREATE FUNCTION wanted(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
UPDATE items SET note = 'h' WHERE id = 1;
SELECT * FROM events();
-- Columns that are renamed, retyped, dropped.
ALTER TABLE items RENAME amount TO quantity;
UPDATE items SET note = 'i' WHERE id = 1;
SELECT * FROM events();
ALTER TABLE items RENAME quantity TO amount;
ALTER TABLE items ALTER amount TYPE bigint;
UPDATE items SET note = 'j' WHERE id = 1;
SELECT op, key, rules, left(undecided, 24) FROM events();
ALTER TABLE items ALTER amount TYPE integer;
CALL add_rule('doomed', 'new.note IS NULL');
ALTER TABLE items DROP COLUMN note;
UPDATE items SET amount = 7 WHERE id = 1;
SELECT * FROM events();
ALTER TABLE items ADD COLUMN note text;
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- A rule that did not compile is compiled again when what it lacked is back, also where no event trigger looks.
CREATE TABLE bosses (id integer, manager text);
ALTER TABLE items ADD boss bosses;
CALL add_rule('field', $$(new.boss).manager = 'eve'$$);
UPDATE items SET boss = (1, 'eve') WHERE id = 1;
SELECT * FROM events();
SET session_replication_role = replica;
ALTER TABLE bosses RENAME manager TO chief;
RESET session_replication_role;
CALL add_rule('another', 'false');
UPDATE items SET amount = 8 WHERE id = 1;
SELECT * FROM events();
SET session_replication_role = replica;
ALTER TABLE bosses RENAME chief TO manager;
RESET session_replication_role;
UPDATE items SET amount = 9 WHERE id = 1;
SELECT * FROM events();
ALTER TABLE items DROP boss;
DROP TABLE bosses;
DELETE FROM notify.rule WHERE source = 'items'::regclass;
-- A change that comes while rules are being compiled is not lost: the next statement obeys.
CREATE FUNCTION switches_off() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM notify.rule WHERE name = 'victim' AND enabled) THEN
		UPDATE notify.rule SET enabled = false WHERE name = 'victim';
	END IF;
	RETURN true;
END
$$;
CREATE FUNCTION folded(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (SELECT switches_off()); END $$;
CALL add_rule('victim', NULL);
CALL add_rule('culprit', 'folded(1)');
UPDATE notify.rule SET enabled = true WHERE name = 'victim';
UPDATE items SET amount = 10 WHERE id = 1;
UPDATE items SET amount = 11 WHERE id = 1;
SELECT * FROM events();
DELETE FROM notify.rule WHERE source = 'items'::regclass;

-- Run as the owner, restricted, under the owner's path; the writer gains nothing and loses nothing.
CREATE ROLE capture_author;
CREATE ROLE capture_writer;
GRANT USAGE, CREATE ON SCHEMA capture_errors TO capture_author;
GRANT USAGE ON SCHEMA capture_errors TO capture_writer;
GRANT SELECT, UPDATE ON items TO capture_writer;
GRANT TRIGGER ON items TO capture_author;
GRANT notify_admin TO capture_author;
SET ROLE capture_author;
CREATE FUNCTION whoami(OUT text) LANGUAGE sql STABLE
RETURN format('%s %s %s', current_user, current_setting('search_path'), current_setting('role'));
INSERT INTO notify.rule (name, source, condition, template, category, recipient)
VALUES ('who', 'items', NULL, 'capture errors', 'capture errors', 'whoami()'),
	   ('grabs', 'items', 'set_config($$role$$, $$postgres$$, false) IS NULL', 'capture errors', 'capture errors', NULL);
SET ROLE capture_writer;
SET search_path = pg_temp, capture_errors;
UPDATE items SET amount = 1 WHERE id = 1;
SELECT current_user, current_setting('search_path') AS path;
RESET ROLE;
SET search_path = capture_errors, public;
SELECT op, rules, recipients, undecided FROM events();
-- Losing a right breaks the rule, not the statement.
REVOKE EXECUTE ON FUNCTION whoami() FROM PUBLIC, capture_author;
UPDATE items SET amount = 2 WHERE id = 1;
SELECT rules, undecided FROM events();
GRANT EXECUTE ON FUNCTION whoami() TO capture_author;
DELETE FROM notify.rule WHERE name = 'grabs';
UPDATE items SET amount = 3 WHERE id = 1;
SELECT rules, undecided FROM events();
-- So does losing the role.
DROP OWNED BY capture_author, capture_writer CASCADE;
DROP ROLE capture_author, capture_writer;
UPDATE items SET amount = 4 WHERE id = 1;
SELECT rules, regexp_replace(undecided, 'OID [0-9]+', 'OID ...') AS undecided FROM events();

DELETE FROM notify.rule WHERE category = 'capture errors';
DELETE FROM notify.source WHERE relation = 'items'::regclass;
DELETE FROM notify.template WHERE name = 'capture errors';
DELETE FROM notify.category WHERE name = 'capture errors';
DROP SCHEMA capture_errors CASCADE;
