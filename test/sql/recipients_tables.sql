--
-- Users tables of every kind, and what is done to them: trees of tables,
-- TRUNCATE, replica sessions, foreign keys to themselves, two at a time.
--
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA users;
SET search_path = users, public;
CREATE VIEW people AS
	SELECT r.id, r.name, (SELECT string_agg(a.address, ',' ORDER BY a.address) FROM notify.address a WHERE a.recipient = r.id) AS addresses
	FROM notify.recipient r ORDER BY r.id COLLATE "C";
CREATE VIEW problems AS SELECT relation, on_truncate, on_replica, problem FROM notify.recipient_source ORDER BY relation::text;
CREATE FUNCTION triggers(top regclass, OUT relation text, OUT triggers text)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT t.tgrelid::regclass::text, string_agg(t.tgname || ' ' || t.tgenabled::text || CASE WHEN t.tgparentid <> 0 THEN ' cloned' ELSE '' END, ', ' ORDER BY t.tgname)
	FROM pg_trigger t WHERE t.tgfoid = 'notify._sync_recipient'::regproc
	  AND (t.tgrelid = top OR t.tgrelid IN (SELECT x.relation FROM notify._tree(top) AS x)) GROUP BY 1 ORDER BY 1
$$;

-- Inheritance: children that are there, that come, and that go. Each must keep its ids unique.
CREATE TABLE members (id integer PRIMARY KEY, name text, mail text);
CREATE TABLE admins (level integer) INHERITS (members);
INSERT INTO members VALUES (1, 'Ann', 'ann@example.com');
INSERT INTO admins VALUES (2, 'Bob', 'bob@example.com', 9);
SELECT notify.attach_recipients('members', 'id', name => 'name', addresses => '{"email": "mail"}');
ALTER TABLE admins ADD PRIMARY KEY (id);
SELECT notify.attach_recipients('members', 'id', name => 'name', addresses => '{"email": "mail"}');
CREATE TABLE owners (shares integer, PRIMARY KEY (id)) INHERITS (admins);
CREATE TABLE guests (mail text, name text, id integer NOT NULL UNIQUE);
INSERT INTO guests VALUES ('before@example.com', 'was there', 9);
ALTER TABLE guests INHERIT members;
SELECT * FROM triggers('members');
INSERT INTO owners VALUES (3, 'Cy', 'cy@example.com', 1, 1);
INSERT INTO guests VALUES ('dot@example.com', 'Dot', 4);
UPDATE members SET name = upper(name);
UPDATE admins SET mail = 'x' || mail;
SELECT * FROM people;
DELETE FROM members WHERE id = 3;
DELETE FROM ONLY members;
ALTER TABLE guests NO INHERIT members;
UPDATE guests SET name = 'not followed';
SELECT * FROM people;
SELECT * FROM triggers('guests');
-- A child whose ids may repeat, or a key that goes: said at once.
CREATE TABLE temps (agency text) INHERITS (members);
SELECT * FROM problems;
ALTER TABLE temps ADD UNIQUE (id);
SELECT * FROM problems;
ALTER TABLE members DROP CONSTRAINT members_pkey CASCADE;
SELECT * FROM problems;
ALTER TABLE members ADD PRIMARY KEY (id) DEFERRABLE;
SELECT * FROM problems;
ALTER TABLE members DROP CONSTRAINT members_pkey, ADD PRIMARY KEY (id);
ALTER TABLE members RENAME name TO full_name;
SELECT * FROM problems;
SELECT notify.attach_recipients('members', 'id', name => 'full_name', addresses => '{"email": "mail"}');
SELECT * FROM problems;

-- TRUNCATE: noted, refused, or everybody in it is erased.
INSERT INTO members VALUES (11, 'Fay', 'fay@example.com');
INSERT INTO temps VALUES (12, 'Gus', 'gus@example.com', 'a');
INSERT INTO notify.recipient (id) VALUES ('made by the app');
TRUNCATE ONLY temps;
SELECT * FROM problems;
SELECT id FROM people;
SELECT p FROM unnest((notify.status()).problems) AS p WHERE p LIKE '%truncated%';
SELECT notify.attach_recipients('members', 'id', name => 'full_name', addresses => '{"email": "mail"}');
SELECT * FROM problems;
UPDATE notify.recipient_source SET on_truncate = 'refuse';
TRUNCATE members;
TRUNCATE temps;
\set VERBOSITY terse
UPDATE notify.recipient_source SET on_truncate = 'never';
\set VERBOSITY default
UPDATE notify.recipient_source SET on_truncate = 'erase';
BEGIN;
INSERT INTO temps VALUES (12, 'Gus', 'gus@example.com', 'a'), (13, 'Hal', 'hal@example.com', 'a');
TRUNCATE members;
SELECT id FROM people;
ROLLBACK;
SELECT id FROM people;
TRUNCATE members;
SELECT id FROM people;
DROP TABLE members CASCADE;
SELECT count(*) AS dropped FROM problems;

-- Replica sessions are followed where asked.
CREATE TABLE staff (id integer, office text, mail text, PRIMARY KEY (office, id)) PARTITION BY LIST (office);
CREATE TABLE staff_a PARTITION OF staff FOR VALUES IN ('a');
SELECT notify.attach_recipients('staff', 'id', addresses => '{"email": "mail"}');
SET session_replication_role = replica;
INSERT INTO staff VALUES (21, 'a', 'quiet@example.com');
TRUNCATE staff;
RESET session_replication_role;
SELECT id FROM people;
SELECT * FROM problems;
UPDATE notify.recipient_source SET on_replica = true, on_truncate = 'erase';
CREATE TABLE staff_b PARTITION OF staff FOR VALUES IN ('b');
SELECT * FROM triggers('staff');
SET session_replication_role = replica;
INSERT INTO staff VALUES (22, 'a', 'asked@example.com'), (23, 'b', 'asked@example.com'), (24, 'b', 'asked@example.com');
UPDATE staff SET office = 'b' WHERE id = 22;
SELECT id, addresses FROM people WHERE id LIKE '2_';
DELETE FROM staff WHERE id = 24;
TRUNCATE staff_b;
RESET session_replication_role;
SELECT id FROM people;
UPDATE notify.recipient_source SET on_replica = false;
SELECT * FROM triggers('staff');
-- A partition that was followed on its own, attached and detached.
CREATE TABLE staff_c (id integer NOT NULL UNIQUE, office text NOT NULL, mail text);
SELECT notify.attach_recipients('staff_c', 'id', addresses => '{"sms": "mail"}');
ALTER TABLE staff ATTACH PARTITION staff_c FOR VALUES IN ('c');
SELECT * FROM triggers('staff_c');
INSERT INTO staff VALUES (31, 'c', '+4712345678'), (32, 'a', 'a@example.com');
SELECT recipient, channel, address FROM notify.address ORDER BY 1;
ALTER TABLE staff DETACH PARTITION staff_c;
SELECT * FROM triggers('staff_c');
INSERT INTO staff_c VALUES (33, 'c', '+4712345679');
SELECT recipient, channel, address FROM notify.address ORDER BY 1;
SELECT notify.detach_recipients('staff_c');
ALTER TABLE staff ATTACH PARTITION staff_c FOR VALUES IN ('c');
SELECT notify.attach_recipients('staff_c', 'id', addresses => '{"sms": "mail"}');
SELECT notify.detach_recipients('staff');
SELECT * FROM triggers('staff');
SELECT notify.detach_recipients('staff_c');
SELECT * FROM triggers('staff');
DELETE FROM notify.recipient;

-- A row that is kept from its new partition is gone, whoever is inserted next.
SELECT notify.attach_recipients('staff', 'id', addresses => '{"email": "mail"}');
DELETE FROM staff;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.mail ~ 'unwanted' THEN NULL ELSE NEW END; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON staff_b FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO staff VALUES (41, 'a', 'unwanted@example.com'), (42, 'a', 'moves@example.com'), (43, 'a', 'unwanted2@example.com');
INSERT INTO notify.address (recipient, channel, address) SELECT r.id, 'push', 'token-of-' || r.id FROM notify.recipient r;
MERGE INTO staff s USING (VALUES (41, 'b'), (51, 'a'), (42, 'b'), (43, 'b')) AS v (id, office) ON s.id = v.id
	WHEN MATCHED THEN UPDATE SET office = v.office WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.office, 'other@example.com');
SELECT id, addresses FROM people;
SELECT recipient, former FROM notify.recipient_former;
DROP TABLE staff;
DELETE FROM notify.recipient;

-- Two users tables in one statement, row by row.
CREATE TABLE buyers (id text PRIMARY KEY, name text);
CREATE TABLE sellers (id text PRIMARY KEY, name text);
SELECT notify.attach_recipients('buyers', 'id', name => 'name'), notify.attach_recipients('sellers', 'id', name => 'name');
WITH b AS (INSERT INTO buyers SELECT 'b' || i, 'buyer ' || i FROM generate_series(1, 3) AS i RETURNING *)
INSERT INTO sellers SELECT replace(id, 'b', 's'), replace(name, 'buyer', 'seller') FROM b;
SELECT * FROM people;
WITH b AS (DELETE FROM buyers WHERE id = 'b1' RETURNING *), s AS (UPDATE sellers SET name = 'also ' || b.name FROM b WHERE sellers.id = 's1' RETURNING *)
INSERT INTO buyers SELECT 'b4', name FROM s;
SELECT * FROM people;
DROP TABLE buyers, sellers;
DELETE FROM notify.recipient;

-- What comes between a row and the end of its statement: the app's own statement trigger, a rule of
-- the app's that a name like ours does not make ours, a foreign key of the table to itself.
CREATE TABLE players (id integer PRIMARY KEY, name text, mentor integer REFERENCES players ON DELETE CASCADE,
					  partner integer REFERENCES players ON DELETE SET NULL);
SELECT notify.attach_recipients('players', 'id', name => 'name', attributes => '{partner}');
CREATE FUNCTION sweep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		DELETE FROM players WHERE name = 'unwanted';
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	RETURN NULL;
END $$;
CREATE TRIGGER "00_first" AFTER INSERT ON players FOR EACH STATEMENT EXECUTE FUNCTION sweep();
INSERT INTO players VALUES (1, 'wanted'), (2, 'unwanted'), (3, 'wanted too');
SELECT id, name FROM people;
DROP TRIGGER "00_first" ON players;
CREATE TRIGGER notify_others AFTER INSERT ON players FOR EACH ROW EXECUTE FUNCTION sweep();
INSERT INTO players VALUES (4, 'wanted'), (5, 'unwanted'), (6, 'wanted too');
SELECT id, name FROM people;
CREATE FUNCTION other_id() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM players WHERE id = NEW.id AND NEW.id = 106; RETURN NULL; END $$;
CREATE TRIGGER "00" AFTER UPDATE ON players FOR EACH ROW EXECUTE FUNCTION other_id();
UPDATE players SET id = id + 100 WHERE id IN (4, 6);
UPDATE players SET id = 4 WHERE id = 104;
SELECT id, name FROM people;
DROP TRIGGER "00" ON players;
DROP TRIGGER notify_others ON players;
UPDATE players SET mentor = 1 WHERE id = 3;
UPDATE players SET partner = 1 WHERE id = 4;
-- 3 is changed, and in the same statement deleted with its mentor, while 4 loses its partner.
MERGE INTO players p USING (VALUES (3), (1)) AS v (id) ON p.id = v.id
	WHEN MATCHED AND p.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET name = 'changed, then gone';
SELECT p.id, name, attributes FROM people p JOIN notify.recipient r USING (id, name);
SELECT id, name FROM players ORDER BY id;
DROP TABLE players;

DROP SCHEMA users CASCADE;
DELETE FROM notify.recipient;
SELECT count(*) FROM notify.recipient_source;
