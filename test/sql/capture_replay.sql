--
-- What a rule could not decide is decided once it is mended, and once only.
--
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA capture_replay;
SET search_path = capture_replay, public;
SET timezone = 'UTC';
INSERT INTO notify.category (name, class, channels) VALUES ('capture replay', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('capture replay', 'inbox', 'x');
INSERT INTO notify.provider (name, channel, preset) VALUES ('capture replay', 'inbox', 'inbox');
INSERT INTO notify.recipient (id) VALUES ('ann'), ('bob'), ('cid');
CREATE PROCEDURE plan() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..20 LOOP PERFORM notify._plan(500); COMMIT; END LOOP;
END
$$;
CREATE TABLE marks (id bigint);
INSERT INTO marks SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT op "char", OUT key text, OUT recipient text, OUT rules text, OUT undecided text, OUT recipients text[],
					   OUT keys text[], OUT cancels text, OUT new jsonb, OUT old jsonb, OUT replay_of text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
		SELECT e.op, e.key, e.recipient,
			   (SELECT string_agg(v.name, ',' ORDER BY r.n) FROM unnest(e.rules) WITH ORDINALITY AS r (version, n)
				JOIN notify.rule_version v ON v.id = r.version),
			   (SELECT string_agg(v.name, ',') FROM jsonb_array_elements(e.undecided) AS u
				JOIN notify.rule_version v ON v.id = (u ->> 'rule')::bigint),
			   e.recipients, coalesce(e.dedupe_keys, e.cancel_keys), e.cancel_key, e.new, e.old,
			   (SELECT o.op::text || ' ' || o.key FROM notify.event o WHERE o.id = (e.instruction ->> 'replay_of')::bigint)
		FROM notify.event e WHERE e.id > (SELECT max(m.id) FROM marks m) ORDER BY e.id;
	INSERT INTO marks SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;

CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN positive AS integer CHECK (VALUE >= 0);
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE orders (id integer PRIMARY KEY, gone integer, customer text, total positive, divisor integer, m mood, tags text[], p pair,
					 at timestamptz, big numeric, by bytea, j json, secret text, doubled integer GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE orders DROP COLUMN gone;
SELECT notify.attach('orders', 'new.customer', columns => '{-secret}');
INSERT INTO notify.rule (name, source, condition, template, category)
VALUES ('ratio', 'orders', 'new.total / new.divisor > 10', 'capture replay', 'capture replay'),
	   ('neighbour', 'orders', 'new.total > 0', 'capture replay', 'capture replay');
INSERT INTO orders (id, customer, total, divisor, m, tags, p, at, big, by, j, secret)
VALUES (1, 'ann', 100, 0, 'happy', '{a,NULL,"b c"}', '(1,"x y")', 'infinity', 'NaN', '\x00ff', '{"a": [1]}', 'hidden'),
	   (2, 'bob', 5, 0, 'sad', '{}', NULL, '2026-01-02 03:04:05+00', 1.50, '', 'null', 'hidden'),
	   (3, 'cid', 500, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE orders SET total = 200 WHERE id = 2;
DELETE FROM orders WHERE id = 2;
SELECT op, key, rules, undecided FROM events();
CALL plan();
SELECT problem FROM notify.rule WHERE name = 'ratio';
SELECT m.key, m.recipient, v.name, m.verdict, m.reason FROM notify.message m JOIN notify.rule_version v ON v.id = m.rule WHERE v.name = 'ratio' ORDER BY m.key, m.id;

-- Still broken: nothing is decided, nothing is lost.
SELECT notify.replay('ratio', now() - interval '1 hour');
SELECT count(*) FROM events();
-- Mended: what matches is written, once, as the rows were.
UPDATE notify.rule SET condition = $$coalesce(new.total, old.total) / nullif(coalesce(new.divisor, old.divisor), 0) IS NULL AND (new.total > 50 OR old.total > 150)
	AND (new.id <> 1 OR (new.m = 'happy' AND new.tags = '{a,NULL,"b c"}' AND new.p = '(1,"x y")'::pair AND new.at = 'infinity' AND new.big = 'NaN'
						 AND new.by = '\x00ff' AND new.j ->> 'a' = '[1]' AND new.doubled = 2))$$ WHERE name = 'ratio';
SELECT problem FROM notify.rule WHERE name = 'ratio';
SELECT notify.replay('ratio', now() - interval '1 hour', now() - interval '30 minutes');
SELECT notify.replay('ratio', now() - interval '1 hour');
SELECT op, key, recipient, rules, undecided, new - '{m,tags,p,at,big,by,j}'::text[] AS new, old - '{m,tags,p,at,big,by,j}'::text[] AS old, replay_of FROM events();
SELECT notify.replay('ratio', now() - interval '1 hour');
SELECT count(*) FROM events();
CALL plan();
SELECT m.key, m.recipient, m.verdict, m.reason, count(*) FROM notify.message m JOIN notify.rule_version v ON v.id = m.rule WHERE v.name = 'ratio' AND m.verdict = 'send' GROUP BY 1, 2, 3, 4 ORDER BY 1;
SELECT step, detail ->> 'op' AS op, detail ? 'replay_of' AS replayed FROM notify.explain((SELECT max(id) FROM notify.event)) WHERE step = 'captured';
-- Edited again: what was decided stays decided.
UPDATE notify.rule SET condition = NULL WHERE name = 'ratio';
SELECT notify.replay('ratio', now() - interval '1 hour');
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- The recipient was at fault; a rule's own recipient and keys are evaluated too.
SELECT notify.attach('orders', '(100 / (new.divisor - 1))::text', columns => '{-secret}');
INSERT INTO notify.rule (name, source, recipient, dedupe_key, template, category)
VALUES ('relies', 'orders', NULL, NULL, 'capture replay', 'capture replay'),
	   ('own', 'orders', '1 / (new.divisor - 1) || new.customer', 'new.id', 'capture replay', 'capture replay');
UPDATE orders SET divisor = 1 WHERE id = 1;
SELECT notify.attach('orders', 'new.customer', columns => '{-secret}');
UPDATE notify.rule SET recipient = $$CASE WHEN new.customer = 'ann' THEN 'bob' END$$ WHERE name = 'own';
SELECT notify.replay('relies', now() - interval '1 hour'), notify.replay('own', now() - interval '1 hour');
SELECT op, key, recipient, rules, undecided, recipients, keys FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- A reminder that was cancelled meanwhile is not sent after all; a cancel that was undecided cancels.
INSERT INTO notify.rule (name, source, condition, action, cancel_key, template, category)
VALUES ('remind', 'orders', '1 / new.divisor = 1', 'notify', $$'o:' || new.id$$, 'capture replay', 'capture replay'),
	   ('paid', 'orders', 'new.total = 77', 'cancel', $$'o:' || new.id$$, NULL, NULL),
	   ('void', 'orders', '1 / new.divisor > 0', 'cancel', $$'v:' || new.id$$, NULL, NULL);
INSERT INTO orders (id, customer, total, divisor) VALUES (10, 'ann', 1, 0), (11, 'bob', 1, 0), (12, 'cid', 1, 0);
UPDATE orders SET total = 77, divisor = -1 WHERE id = 10;
SELECT notify.cancel((SELECT id FROM notify.event WHERE key = '12' AND source = 'orders'::regclass), 'by hand');
UPDATE notify.rule SET condition = 'new.divisor = 0' WHERE name IN ('remind', 'void');
SELECT notify.replay('remind', now() - interval '1 hour'), notify.replay('void', now() - interval '1 hour');
SELECT op, key, rules, undecided, keys, regexp_replace(cancels, '[0-9]{9,}', '...') AS cancels FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;

-- Emitted events.
INSERT INTO notify.rule (name, event_type, condition, template, category) VALUES ('login', 'login', $$(new ->> 'tries')::integer > 3$$, 'capture replay', 'capture replay');
SELECT count(*) FROM (SELECT notify.emit('login', 'ann', '{"tries": "many"}', 'k')) AS e;
UPDATE notify.rule SET condition = $$new ->> 'tries' = 'many'$$ WHERE name = 'login';
SELECT notify.replay('login', now() - interval '1 hour'), notify.replay('login', now() - interval '1 hour');
SELECT op, key, recipient, rules, undecided, new, replay_of FROM events();
DELETE FROM notify.rule WHERE name = 'login';

-- What an event does not hold cannot be asked about; nor a row that was cut.
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('peeks', 'orders', 'new.secret::integer > 0', 'capture replay', 'capture replay'),
	('cut', 'orders', '1 / (new.divisor - 5) > 0', 'capture replay', 'capture replay');
UPDATE orders SET secret = 'marker', divisor = 6 WHERE id = 1;
UPDATE orders SET tags = ARRAY[repeat('x', 3000000)], divisor = 5 WHERE id = 3;
UPDATE notify.rule SET condition = $$new.secret = 'marker'$$ WHERE name = 'peeks';
UPDATE notify.rule SET condition = 'true' WHERE name = 'cut';
SELECT notify.replay('peeks', now() - interval '1 hour'), notify.replay('cut', now() - interval '1 hour');
SELECT op, key, rules, undecided, new ? 'tags' AS has_tags FROM events();
DELETE FROM notify.rule WHERE source = 'orders'::regclass;
SELECT notify.replay('cut', now());
INSERT INTO notify.rule (name, source, template, category, enabled) VALUES ('off', 'orders', 'capture replay', 'capture replay', false);
SELECT notify.replay('off', now());
DELETE FROM notify.rule WHERE name = 'off';

-- The table was dropped and made again: the rule that was mended decides for the old rows.
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('lives on', 'orders', '1 / new.divisor = 1', 'capture replay', 'capture replay');
INSERT INTO orders (id, customer, total, divisor) VALUES (20, 'ann', 1, 0);
DROP TABLE orders;
SELECT notify.replay('lives on', now() - interval '1 hour');
CREATE TABLE orders (id integer PRIMARY KEY, customer text, divisor integer);
SELECT notify.attach('orders', 'new.customer');
UPDATE notify.rule SET source = 'orders', condition = 'new.divisor = 0' WHERE name = 'lives on';
SELECT notify.replay('lives on', now() - interval '1 hour');
SELECT op, key, rules, undecided, recipient FROM events();
DELETE FROM notify.rule WHERE name = 'lives on';

-- Whose rights: a table owner's domain checks run as the table's owner, expressions as the rule's.
CREATE ROLE capture_owner;
CREATE ROLE capture_operator;
GRANT notify_admin TO capture_operator, capture_owner;
GRANT CREATE, USAGE ON SCHEMA capture_replay TO capture_owner;
CREATE TABLE ran_as (who name);
GRANT INSERT, SELECT ON ran_as TO PUBLIC;
SET ROLE capture_owner;
CREATE FUNCTION tells(integer) RETURNS boolean LANGUAGE plpgsql SET search_path = capture_replay AS $$
BEGIN
	INSERT INTO ran_as VALUES (current_user);
	RETURN true;
END
$$;
CREATE DOMAIN telling AS integer CHECK (tells(VALUE));
CREATE TABLE trap (id integer PRIMARY KEY, t telling);
SELECT notify.attach('trap', $$'ann'$$);
GRANT TRIGGER ON trap TO capture_operator;
RESET ROLE;
GRANT USAGE ON SCHEMA capture_replay TO capture_operator;
SET ROLE capture_operator;
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('trap', 'trap', '1 / new.t > 0', 'capture replay', 'capture replay');
RESET ROLE;
INSERT INTO trap VALUES (1, 0);
DELETE FROM ran_as;
SET ROLE capture_operator;
UPDATE notify.rule SET condition = 'new.t = 0' WHERE name = 'trap';
SELECT notify.replay('trap', now() - interval '1 hour');
SELECT notify._evaluate(1, NULL, 'I', NULL, '{}', NULL);
RESET ROLE;
SELECT DISTINCT who FROM ran_as;
SELECT op, key, rules, undecided FROM events();

DELETE FROM notify.rule WHERE category = 'capture replay';
DROP OWNED BY capture_owner, capture_operator CASCADE;
DROP ROLE capture_owner, capture_operator;
DROP SCHEMA capture_replay CASCADE;
DELETE FROM notify.recipient;
DELETE FROM notify.provider WHERE name = 'capture replay';
DELETE FROM notify.template WHERE name = 'capture replay';
DELETE FROM notify.category WHERE name = 'capture replay';
