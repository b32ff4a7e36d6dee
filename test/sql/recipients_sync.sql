-- notify.recipient and notify.address follow the app's users table, whatever its columns are called.
\set SHOW_CONTEXT never
SET timezone = 'UTC';
CREATE SCHEMA people;
SET search_path = people, public;
CREATE TABLE "Users" ("UserId" bigint PRIMARY KEY, "Full Name" text, "mail" text, "Phone""Nr" text,
	lang varchar(20), "TZ" text, vip boolean, score numeric, avatar bytea, notes json, tags text[]);
INSERT INTO "Users" VALUES
	(1, 'Ann', 'ann@example.com', '+4930123456', 'en-GB', 'Europe/London', true, 4.5, '\x00', '{"a": "\u0000"}'),
	(2, 'Bob', 'not an address', NULL, 'nonsense!', 'Mars/Olympus', false, NULL, NULL, NULL),
	(3, NULL, '', '  ', NULL, NULL, NULL, NULL, NULL, NULL);
CREATE VIEW everybody AS
	SELECT r.id, r.name, r.locale, r.time_zone, r.attributes,
		   (SELECT string_agg(a.channel || '=' || a.address, ' ' ORDER BY a.channel, a.address)
			FROM notify.address a WHERE a.recipient = r.id) AS addresses,
		   (SELECT string_agg(p.field || ': ' || p.problem, '; ' ORDER BY p.field)
			FROM notify.recipient_problem p WHERE p.recipient = r.id) AS problems
	FROM notify.recipient r ORDER BY r.id;

-- Mistakes are refused when they are made.
SELECT notify.attach_recipients('everybody', 'id');
SELECT notify.attach_recipients('"Users"', 'userid');
SELECT notify.attach_recipients('"Users"', 'UserId', name => 'Name');
SELECT notify.attach_recipients('"Users"', 'UserId', addresses => '{"email": "email"}');
SELECT notify.attach_recipients('"Users"', 'UserId', addresses => '{"fax": "mail"}');
SELECT notify.attach_recipients('"Users"', 'UserId', addresses => '{"inbox": "mail"}');
SELECT notify.attach_recipients('"Users"', 'UserId', addresses => '{"email": ["mail"]}');
SELECT notify.attach_recipients('"Users"', 'UserId', addresses => '{"email": "tags"}');
\set VERBOSITY sqlstate
SELECT notify.attach_recipients('"Users"', 'UserId', addresses => '["mail"]');
\set VERBOSITY default
SELECT notify.attach_recipients('"Users"', 'UserId', attributes => '{nope}');
SELECT notify.attach_recipients('"Users"', 'mail');
SELECT notify.detach_recipients('"Users"');
SELECT count(*) FROM notify.recipient_source;

-- Everybody who is there is taken over; what cannot be used is left out and said.
SELECT notify.attach_recipients('"Users"', 'UserId', name => 'Full Name', locale => 'lang', time_zone => 'TZ',
	addresses => '{"email": "mail", "sms": "Phone\"Nr"}', attributes => '{vip,score}');
SELECT * FROM everybody;
SELECT relation, id, name, addresses, attributes, problem FROM notify.recipient_source;

-- Then every change.
INSERT INTO "Users" ("UserId", "Full Name", mail, lang) VALUES (4, 'Dora', 'dora@example.com', 'de'), (5, 'Eve', 'eve@', 'de');
UPDATE "Users" SET mail = 'bob@example.com', lang = 'zh_Hans', "TZ" = 'Asia/Shanghai' WHERE "UserId" = 2;
UPDATE "Users" SET mail = 'dora@example.org' WHERE "UserId" = 4;
UPDATE "Users" SET mail = NULL, "Phone""Nr" = '+4930123457', vip = false WHERE "UserId" = 1;
SELECT * FROM everybody;
-- A good address replaced by a bad one: the old one is not used any more, the statement succeeds.
UPDATE "Users" SET mail = E'dora@example.org\nBcc: x@example.com' WHERE "UserId" = 4;
-- What the app adds on other channels, and what it says of a recipient, stays.
INSERT INTO notify.address (recipient, channel, address) VALUES ('4', 'push', 'token');
UPDATE notify.recipient SET tags = '{gold}', attributes = attributes || '{"shoe": 43}' WHERE id = '4';
UPDATE "Users" SET "Full Name" = 'Dora D.', score = 7 WHERE "UserId" = 4;
SELECT *, (SELECT tags FROM notify.recipient r WHERE r.id = e.id) FROM everybody e WHERE id = '4';
-- An address a provider found invalid stays so while it is the same.
UPDATE notify.address SET state = 'invalid' WHERE recipient = '2';
UPDATE "Users" SET "Full Name" = 'Robert', avatar = '\x01' WHERE "UserId" = 2;
SELECT state FROM notify.address WHERE recipient = '2' AND channel = 'email';
UPDATE "Users" SET mail = 'robert@example.com' WHERE "UserId" = 2;
SELECT address, state FROM notify.address WHERE recipient = '2' AND channel = 'email';

-- A change of other columns does not even touch the person.
SELECT xmin AS before FROM notify.recipient WHERE id = '2' \gset
UPDATE "Users" SET avatar = '\x02', notes = '{"b": "\u0000"}' WHERE "UserId" = 2;
SELECT xmin = :'before'::xid AS untouched FROM notify.recipient WHERE id = '2';

-- Another id is the same person.
INSERT INTO notify.inbox (recipient, message, body) VALUES ('4', 1, 'hello');
UPDATE "Users" SET "UserId" = 40 WHERE "UserId" = 4;
SELECT id, name, addresses FROM everybody WHERE id LIKE '4%';
SELECT recipient, body FROM notify.inbox;
SELECT recipient, former FROM notify.recipient_former;
-- ... unless somebody has that id.
INSERT INTO notify.recipient (id, name) VALUES ('50', 'made by the app');
UPDATE "Users" SET "UserId" = 50, mail = 'eve@example.com' WHERE "UserId" = 5;
SELECT id, name, addresses, problems FROM everybody WHERE id LIKE '5%';

-- Upserts, COPY, MERGE, savepoints.
INSERT INTO "Users" ("UserId", mail) VALUES (3, 'cy@example.com') ON CONFLICT ("UserId") DO UPDATE SET mail = excluded.mail;
COPY "Users" ("UserId", "Full Name", mail) FROM stdin;
60	Fay	fay@example.com
\.
MERGE INTO "Users" u USING (VALUES (60, 'fay@example.org'), (61, 'gus@example.com')) AS v (id, mail) ON u."UserId" = v.id
	WHEN MATCHED THEN UPDATE SET mail = v.mail
	WHEN NOT MATCHED THEN INSERT ("UserId", mail) VALUES (v.id, v.mail);
BEGIN;
SAVEPOINT s;
UPDATE "Users" SET mail = 'never@example.com';
DELETE FROM "Users" WHERE "UserId" = 61;
ROLLBACK TO s;
COMMIT;
SELECT id, name, addresses FROM everybody WHERE id IN ('3', '60', '61');

-- Many rows in one statement, and many statements in one.
CREATE TABLE crowd (id int PRIMARY KEY, mail text);
SELECT notify.attach_recipients('crowd', 'id', addresses => '{"email": "mail"}');
CREATE VIEW crowd_check AS
	SELECT count(*) AS rows, count(r.id) AS people, count(*) FILTER (WHERE a.address = c.mail) AS addresses,
		   (SELECT count(*) FROM notify.address x WHERE x.recipient LIKE '1_____') AS all_addresses
	FROM crowd c LEFT JOIN notify.recipient r ON r.id = c.id::text LEFT JOIN notify.address a ON a.recipient = r.id;
INSERT INTO crowd SELECT 100000 + g, 'c' || g || '@example.com' FROM generate_series(1, 1234) AS g;
SELECT * FROM crowd_check;
UPDATE crowd SET mail = 'x' || mail;
SELECT * FROM crowd_check;
BEGIN;
SAVEPOINT s;
DO $$ BEGIN
	INSERT INTO crowd SELECT 110000 + g / g, 'c' || g FROM generate_series(1, 2) AS g;
EXCEPTION WHEN unique_violation THEN NULL;
END $$;
INSERT INTO crowd VALUES (120000, 'kept@example.com');
WITH a AS (UPDATE crowd SET mail = 'twice@example.com' WHERE id = 100001 RETURNING id)
INSERT INTO crowd SELECT 120000 + id - 100000, 'once@example.com' FROM a;
COMMIT;
SELECT * FROM crowd_check;
-- A trigger of the app's that writes another row of the statement again, and within a savepoint its own.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE crowd SET mail = 'again' || NEW.id || '@example.com' WHERE id = NEW.id + 1;
	BEGIN
		UPDATE crowd SET mail = 'not this' WHERE id = NEW.id;
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RETURN NULL;
	END;
END $$;
CREATE TRIGGER a_again AFTER INSERT ON crowd FOR EACH ROW EXECUTE FUNCTION again();
CREATE TRIGGER z_again AFTER INSERT ON crowd FOR EACH ROW EXECUTE FUNCTION again();
INSERT INTO crowd SELECT 130000 + g, 'first@example.com' FROM generate_series(1, 3) AS g;
SELECT * FROM crowd_check;
SELECT recipient, address FROM notify.address WHERE recipient LIKE '13____' ORDER BY 1;
DELETE FROM crowd WHERE id > 100010;
SELECT * FROM crowd_check;
DROP TABLE crowd CASCADE;

-- A column that is renamed: statements go on, what it mapped stays, and it says so.
ALTER TABLE "Users" RENAME COLUMN mail TO email;
UPDATE "Users" SET email = 'fay@example.net', "Full Name" = 'Fay F.' WHERE "UserId" = 60;
SELECT id, name, addresses FROM everybody WHERE id = '60';
SELECT problem FROM notify.recipient_source;
SELECT notify.attach_recipients('"Users"', 'UserId', name => 'Full Name', addresses => '{"email": "email"}');
SELECT problem FROM notify.recipient_source;
SELECT id, name, addresses FROM everybody WHERE id = '60';

-- A row too large to be read keeps the person as they were.
SET notify_pg.event_row_limit = '1kB';
UPDATE "Users" SET "Full Name" = repeat(md5('x'), 100), email = 'fay@example.com' WHERE "UserId" = 60;
RESET notify_pg.event_row_limit;
SELECT id, name, addresses, problems FROM everybody WHERE id = '60';

-- A table's writer needs no grant, and nothing of it runs with more rights than theirs.
CREATE ROLE regress_people_writer;
GRANT USAGE ON SCHEMA people TO regress_people_writer;
GRANT INSERT, UPDATE, DELETE, SELECT ON "Users" TO regress_people_writer;
CREATE TYPE mood AS ENUM ('glad');
CREATE FUNCTION whoami(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN to_json(current_user); END $$;
CREATE CAST (mood AS json) WITH FUNCTION whoami(mood);
ALTER TABLE "Users" ADD mood mood;
SELECT notify.attach_recipients('"Users"', 'UserId', name => 'Full Name', addresses => '{"email": "email"}', attributes => '{mood}');
SET ROLE regress_people_writer;
INSERT INTO "Users" ("UserId", "Full Name", email, mood) VALUES (70, 'Hal', 'hal@example.com', 'glad');
SELECT count(*) FROM notify.recipient;
RESET ROLE;
SELECT id, name, addresses, attributes FROM everybody WHERE id = '70';
-- An attacher must be able to read what is mapped, all of it, and have TRIGGER on the table.
CREATE ROLE regress_people_admin;
GRANT notify_admin TO regress_people_admin;
GRANT USAGE ON SCHEMA people TO regress_people_admin;
CREATE TABLE members (id int PRIMARY KEY, mail text, secret text);
INSERT INTO members VALUES (700, 'ida@example.com', 's');
GRANT SELECT (id, mail), TRIGGER ON members TO regress_people_admin;
SET ROLE regress_people_admin;
SELECT notify.attach_recipients('members', 'id', name => 'secret');
SELECT notify.attach_recipients('members', 'id', addresses => '{"email": "mail"}');
SELECT notify.attach_recipients('"Users"', 'UserId');
RESET ROLE;
CREATE POLICY mine ON members USING (true);
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
SET ROLE regress_people_admin;
SELECT notify.attach_recipients('members', 'id', addresses => '{"email": "mail"}');
RESET ROLE;
SELECT id, addresses FROM everybody WHERE id = '700';
DROP TABLE members;

-- Partitions: a row that moves is the same person, not a deleted one.
CREATE TABLE staff (nr text, mail text, office text, PRIMARY KEY (office, nr)) PARTITION BY LIST (office);
CREATE TABLE staff_a PARTITION OF staff FOR VALUES IN ('a');
CREATE TABLE staff_b (office text NOT NULL, gone int, nr text NOT NULL, mail text);
ALTER TABLE staff_b DROP COLUMN gone;
ALTER TABLE staff ATTACH PARTITION staff_b FOR VALUES IN ('b');
INSERT INTO staff VALUES ('s1', 's1@example.com', 'a');
SELECT notify.attach_recipients('staff', 'nr', addresses => '{"email": "mail"}');
INSERT INTO staff_b (nr, mail, office) VALUES ('s2', 's2@example.com', 'b');
INSERT INTO notify.address (recipient, channel, address) VALUES ('s1', 'push', 'token');
UPDATE staff SET office = 'b', mail = 's1@example.org' WHERE nr = 's1';
UPDATE staff SET office = 'a', nr = 's2a' WHERE nr = 's2';
SELECT id, addresses FROM everybody WHERE id LIKE 's%';
-- ... unless the other partition will not have it; then it is gone, and the next one is somebody else.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER refuse BEFORE INSERT ON staff_a FOR EACH ROW EXECUTE FUNCTION refuse();
BEGIN;
UPDATE staff SET office = 'a' WHERE nr = 's1';
INSERT INTO staff VALUES ('s3', 's3@example.com', 'b');
COMMIT;
SELECT id, addresses FROM everybody WHERE id LIKE 's%';
SELECT count(*) FROM notify.recipient_former WHERE recipient = 's3';
DELETE FROM staff;
SELECT id, addresses FROM everybody WHERE id LIKE 's%';
DROP TABLE staff;

-- A deleted user is erased. What the logs say of her first:
INSERT INTO notify.category (name, class, channels) VALUES ('people', 'transactional', '{email}');
INSERT INTO notify.template (name, channel, subject, body)
	VALUES ('people', 'email', 'To {{ recipient.name }}', 'Marker {{ new.marker }}');
INSERT INTO notify.provider (name, channel, preset, settings)
	VALUES ('people', 'email', 'smtp', '{"host": "127.0.0.1", "port": 2525, "tls": "none", "from": "a@example.com"}');
CREATE TABLE visits (id int PRIMARY KEY, who bigint, marker text);
SELECT notify.attach('visits', recipient => 'new.who');
INSERT INTO notify.rule (name, source, template, category, dedupe_key) VALUES ('people', 'visits', 'people', 'people', 'new.marker');
INSERT INTO notify.rule (name, source, template, category, delay) VALUES ('people later', 'visits', 'people', 'people', '1 day');
INSERT INTO visits VALUES (1, 40, 'PLANTED'), (2, 70, 'other');
INSERT INTO "Users" ("UserId", email) VALUES (41, 'never@example.com');
UPDATE "Users" SET email = 'dora@example.com' WHERE "UserId" = 40;
SELECT notify.send('40', 'people', '{"marker": "PLANTED"}', 'people', idempotency_key => 'k') IS NOT NULL AS sent;
INSERT INTO visits VALUES (3, 40, 'PLANTED');
DO $$ BEGIN WHILE (SELECT more OR planned > 0 FROM notify._plan(100)) LOOP END LOOP; END $$;
SELECT recipient, verdict, reason, count(*) FROM notify.message GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- One is being sent: its row in the queue is a dispatcher's.
UPDATE notify.ready SET owner = 1, boot = 1, lease = 'infinity'
WHERE message = (SELECT min(id) FROM notify.message WHERE recipient = '40' AND verdict = 'send' AND due_at <= now());
INSERT INTO notify.inbox (recipient, message, body) VALUES ('40', 2, 'PLANTED too');
-- One is not planned yet.
INSERT INTO visits VALUES (4, 40, 'PLANTED late');
SELECT jsonb_object_agg(key, CASE jsonb_typeof(value) WHEN 'array' THEN to_jsonb(jsonb_array_length(value)) ELSE value END)
FROM jsonb_each(notify.export_recipient('40'));
SELECT m -> 'content' AS content, m -> 'event' -> 'new' ->> 'marker' AS marker, m ->> 'verdict' AS verdict
FROM jsonb_array_elements(notify.export_recipient('40') -> 'messages') AS m ORDER BY m ->> 'verdict', m ->> 'message' LIMIT 1;
DELETE FROM "Users" WHERE "UserId" = 40;
SELECT count(*) FROM everybody WHERE id = '40';
SELECT count(*) FROM notify.inbox WHERE recipient = '40';
SELECT m.recipient, m.address, m.context, m.verdict, count(*) FROM notify.message m GROUP BY 1, 2, 3, 4 ORDER BY 1, 4;
SELECT count(*) FILTER (WHERE e.new ->> 'marker' LIKE 'PLANTED%') AS planted, count(*) FILTER (WHERE e.recipient = '40') AS named FROM notify.event e;
SELECT verdict, reason, count(*) FROM notify.outcome GROUP BY 1, 2;
SELECT count(*) FROM notify.ready r JOIN notify.message m ON m.id = r.message WHERE m.recipient = '40';
SELECT recipient FROM notify.erasure WHERE length(recipient) < 4 ORDER BY recipient COLLATE "C";
-- The planner's upkeep does the rest once that is settled and planned.
SELECT notify._finish_erasures() > 0 AS finished;
SELECT count(*) FROM notify.event e WHERE e.new ->> 'marker' LIKE 'PLANTED%';
DELETE FROM notify.ready WHERE owner = 1;
DO $$ BEGIN WHILE (SELECT more OR planned > 0 FROM notify._plan(100)) LOOP END LOOP; END $$;
SELECT notify._finish_erasures() + notify._finish_erasures() > 0 AS finished;
SELECT (SELECT count(*) FROM notify.event e WHERE e::text LIKE '%PLANTED%') AS events,
	   (SELECT count(*) FROM notify.message m WHERE m::text LIKE '%PLANTED%' OR m::text LIKE '%dora%') AS messages,
	   (SELECT count(*) FROM notify.idempotency i WHERE i.key LIKE '%PLANTED%' OR i.key = 'send/k') AS keys,
	   (SELECT count(*) FROM notify.inbox i WHERE i::text LIKE '%PLANTED%' OR i.recipient = '40') AS inbox,
	   (SELECT count(*) FROM notify.event e WHERE e.recipient = '40') AS named,
	   (SELECT count(*) FROM notify.erasure) AS erasures;
-- Nobody else was touched, and somebody new with that id is somebody else.
SELECT recipient, address, verdict FROM notify.message WHERE recipient IS NOT NULL ORDER BY 1, 2, 3;
INSERT INTO "Users" ("UserId", email) VALUES (40, 'new@example.com');
SELECT id, addresses, problems FROM everybody WHERE id = '40';
SELECT notify.erase_recipient('nobody') - '{idempotency,outcomes}'::text[];
SELECT notify.export_recipient('nobody') -> 'recipient' AS nobody;

-- Detached: the people stay, changes are not followed.
SELECT notify.detach_recipients('"Users"');
DELETE FROM "Users" WHERE "UserId" = 70;
SELECT id, addresses FROM everybody WHERE id = '70';
SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%notify_sync_recipient%' AND tgrelid = '"Users"'::regclass;

\set VERBOSITY terse
SET client_min_messages = warning;
SELECT notify.detach('visits');
DROP SCHEMA people CASCADE;
DELETE FROM notify.rule;
DROP OWNED BY regress_people_writer, regress_people_admin;
DROP ROLE regress_people_writer, regress_people_admin;
