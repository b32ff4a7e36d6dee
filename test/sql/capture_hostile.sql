--
-- Somebody hostile: who writes a table, who saves a rule, who owns a function
-- or a domain that a rule calls. None of them gains a right they do not have,
-- and none changes what another's rule decides.
--
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA hostile_app;
CREATE SCHEMA hostile_trap;
SET search_path = hostile_app, public;
CREATE ROLE hostile_writer;
CREATE ROLE hostile_author;
CREATE ROLE hostile_other;
GRANT notify_admin TO hostile_author, hostile_other;
GRANT USAGE ON SCHEMA hostile_app TO PUBLIC;
GRANT USAGE, CREATE ON SCHEMA hostile_trap TO PUBLIC;
INSERT INTO notify.category (name, class, channels) VALUES ('hostile', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('hostile', 'inbox', 'x');
CREATE TABLE orders (id integer PRIMARY KEY, status text, note text);
CREATE TABLE safe (secret text);
INSERT INTO safe VALUES ('SECRET');
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO hostile_writer;
GRANT SELECT, TRIGGER ON orders TO hostile_author, hostile_other;
CREATE FUNCTION is_paid(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN $1 = 'paid'; END $$;
SELECT notify.attach('orders', $$'x'$$);
INSERT INTO notify.rule (name, source, condition, template, category)
VALUES ('bare', 'orders', $$new.status = 'paid'$$, 'hostile', 'hostile'),
	   ('calls', 'orders', $$is_paid(new.status)$$, 'hostile', 'hostile'),
	   ('casts', 'orders', $$lower(new.status)::varchar || '' = 'paid'$$, 'hostile', 'hostile');
CREATE TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT key text, OUT rules text, OUT undecided text, OUT recipients text[])
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
		SELECT e.key,
			   (SELECT string_agg(v.name, ',' ORDER BY v.name) FROM unnest(e.rules) AS r (version)
				JOIN notify.rule_version v ON v.id = r.version),
			   (SELECT string_agg(format('%s: %s %s', v.name, u ->> 'sqlstate', u ->> 'message'), '; ' ORDER BY v.id)
				FROM jsonb_array_elements(e.undecided) AS u JOIN notify.rule_version v ON v.id = (u ->> 'rule')::bigint),
			   e.recipients
		FROM notify.event e WHERE e.id > (SELECT max(s.id) FROM hostile_app.seen s) ORDER BY e.id;
	INSERT INTO hostile_app.seen SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;

-- Who writes: operators, functions, casts, temporary tables and settings of theirs.
SET ROLE hostile_writer;
CREATE FUNCTION hostile_trap.always(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
CREATE OPERATOR hostile_trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile_trap.always);
CREATE FUNCTION hostile_trap.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'paid' $$;
CREATE FUNCTION hostile_trap.is_paid(text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE TEMP TABLE orders (id integer, status text, note text);
CREATE TEMP TABLE safe (secret text);
CREATE FUNCTION pg_temp.is_paid(text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
SET search_path = pg_temp, hostile_trap, pg_catalog, hostile_app;
SET check_function_bodies = off;
INSERT INTO hostile_app.orders VALUES (1, 'new'), (2, 'paid');
SELECT current_user, count(*) FROM hostile_app.orders GROUP BY 1;
RESET ROLE;
RESET ALL;
SET client_min_messages = warning;
SET search_path = hostile_app, public;
SELECT * FROM events();
-- It cannot call what the triggers and workers call, nor look.
SET ROLE hostile_writer;
SELECT notify._write_event('I', NULL, 'x', NULL, '{}', NULL, NULL, false);
INSERT INTO notify.event (id, xid, op) VALUES (1, '1', 'I');
SELECT count(*) FROM notify.rule;
CREATE TRIGGER forged AFTER INSERT ON safe FOR EACH ROW EXECUTE FUNCTION notify.capture();
RESET ROLE;
DROP TABLE pg_temp.orders, pg_temp.safe;

-- Who saves a rule: it runs with their rights, whoever writes, and cannot keep more.
SET ROLE hostile_author;
CREATE FUNCTION hostile_trap.steal() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT secret FROM hostile_app.safe);
EXCEPTION WHEN insufficient_privilege THEN
	BEGIN
		EXECUTE 'SET ROLE postgres';
		RETURN 'role set';
	EXCEPTION WHEN OTHERS THEN
		BEGIN
			EXECUTE 'CREATE TEMP TABLE left_behind ()';
			RETURN 'temp';
		EXCEPTION WHEN OTHERS THEN
			RETURN format('%s has nothing: %s', current_user, sqlerrm);
		END;
	END;
END $$;
INSERT INTO notify.rule (name, source, condition, template, category, recipient)
VALUES ('steals', 'orders', 'new.id = 3', 'hostile', 'hostile', 'hostile_trap.steal()');
-- A function of the author's that runs as its owner is the author's all the same; one of another's gains nothing by being called.
CREATE FUNCTION hostile_trap.as_owner() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT current_user::text $$;
SET ROLE hostile_other;
CREATE FUNCTION hostile_trap.as_other() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT current_user::text $$;
INSERT INTO notify.rule (name, source, condition, template, category, recipient)
VALUES ('other', 'orders', 'new.id = 3', 'hostile', 'hostile', $$hostile_trap.as_owner() || ' ' || hostile_trap.as_other() || ' ' || current_user$$);
RESET ROLE;
INSERT INTO orders VALUES (3, 'new');
SELECT * FROM events();
SELECT current_user;
-- Another's rule cannot be made to run as somebody else, nor its rights be had by editing it.
SET ROLE hostile_author;
UPDATE notify.rule SET owner = 'hostile_other' WHERE name = 'steals';
UPDATE notify.rule SET recipient = 'hostile_trap.steal()' WHERE name = 'other';
RESET ROLE;
SELECT name, owner FROM notify.rule WHERE name IN ('steals', 'other') ORDER BY 1;
DELETE FROM notify.rule WHERE name IN ('steals', 'other');

-- Who owns what a superuser's rule would call: refused when it is saved, and when it comes about later.
SET ROLE hostile_other;
CREATE FUNCTION hostile_trap.wanted(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
CREATE FUNCTION hostile_trap.small(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 < 10 $$;
CREATE OPERATOR hostile_trap.## (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile_trap.always);
CREATE DOMAIN hostile_trap.checked AS integer CHECK (hostile_trap.wanted(VALUE));
CREATE VIEW hostile_trap.view AS SELECT 'x' AS recipient WHERE hostile_trap.wanted(1);
RESET ROLE;
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('no', 'orders', 'hostile_trap.wanted(new.id)', 'hostile', 'hostile');
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('no', 'orders', 'hostile_trap.small(new.id)', 'hostile', 'hostile');
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('no', 'orders', 'new.status OPERATOR(hostile_trap.##) new.note', 'hostile', 'hostile');
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('no', 'orders', 'new.id::hostile_trap.checked > 0', 'hostile', 'hostile');
INSERT INTO notify.rule (name, source, dedupe_key, template, category) VALUES ('no', 'orders', 'hostile_trap.wanted(new.id)::text', 'hostile', 'hostile');
INSERT INTO notify.rule (name, source, audience, template, category) VALUES ('no', 'orders', 'SELECT recipient FROM hostile_trap.view', 'hostile', 'hostile');
INSERT INTO notify.rule (name, source, context, template, category) VALUES ('no', 'orders', 'SELECT (SELECT bool_and(hostile_trap.wanted(1))) AS x', 'hostile', 'hostile');
INSERT INTO notify.rule (name, event_type, condition, recipient, template, category) VALUES ('no', 'e', 'hostile_trap.wanted(1)', $$'x'$$, 'hostile', 'hostile');
SELECT notify.attach('orders', $$hostile_trap.wanted(new.id)::text$$);
-- as the role that owns it, it may
SET ROLE hostile_other;
INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('theirs', 'orders', 'hostile_trap.wanted(new.id)', 'hostile', 'hostile');
RESET ROLE;
CREATE FUNCTION turns(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
CREATE VIEW seconds AS SELECT 'x' AS recipient;
INSERT INTO notify.rule (name, source, condition, audience, template, category)
VALUES ('turned', 'orders', 'turns(new.id)', 'SELECT recipient FROM seconds', 'hostile', 'hostile');
INSERT INTO orders VALUES (4, 'new');
SELECT * FROM events();
ALTER FUNCTION turns(integer) OWNER TO hostile_other;
INSERT INTO orders VALUES (5, 'new');
SELECT * FROM events();
SELECT name, problem FROM notify.rule WHERE problem IS NOT NULL;
ALTER FUNCTION turns(integer) OWNER TO CURRENT_USER;
CREATE OR REPLACE VIEW seconds AS SELECT 'x' AS recipient WHERE hostile_trap.wanted(1);
SELECT name, problem FROM notify.rule WHERE problem IS NOT NULL;
SELECT notify._query_problem(version, 'audience') FROM notify.rule WHERE name = 'turned';
CREATE OR REPLACE VIEW seconds AS SELECT 'x' AS recipient;
SELECT notify._query_problem(version, 'audience') FROM notify.rule WHERE name = 'turned';
-- The table itself gets another owner: superusers' rules that lend their rights stop, the others go on.
ALTER TABLE orders OWNER TO hostile_writer;
GRANT TRIGGER ON orders TO hostile_other;
INSERT INTO orders VALUES (6, 'paid');
SELECT * FROM events();

DELETE FROM notify.rule WHERE category = 'hostile';
SELECT notify.detach('orders');
DELETE FROM notify.template WHERE name = 'hostile';
DELETE FROM notify.category WHERE name = 'hostile';
DROP SCHEMA hostile_app, hostile_trap CASCADE;
DROP OWNED BY hostile_writer, hostile_author, hostile_other;
DROP ROLE hostile_writer, hostile_author, hostile_other;
