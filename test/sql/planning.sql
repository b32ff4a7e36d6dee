-- From committed changes to decisions: who, on which channel, when, and why not.
-- No workers run here: notify._plan() is called as the planner would.
\set SHOW_CONTEXT never
CREATE SCHEMA planning;
SET search_path = planning, public;
CREATE TABLE "Order" ("Shop" int, "No" text, customer text, status text, total numeric, PRIMARY KEY ("Shop", "No"));
CREATE TABLE item ("Shop" int, "No" text, name text, price numeric);
CREATE TABLE staff (shop int, person text, role text);
INSERT INTO staff VALUES (1, 'owner1', 'owner'), (1, 'clerk1', 'clerk'), (2, 'owner2', 'owner');
CREATE VIEW latest AS
	SELECT key, rule, recipient, channel, status, reason, detail FROM notify.delivery
	WHERE rule NOT LIKE 'old%' ORDER BY key, rule, recipient, channel;
CREATE FUNCTION plan() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p record;
	planned int := 0;
	readied int := 0;
BEGIN
	LOOP
		SELECT * INTO p FROM notify._plan(100);
		planned := planned + p.planned;
		readied := readied + p.readied;
		EXIT WHEN NOT p.more;
	END LOOP;
	RETURN planned || ' planned, ' || readied || ' ready';
END $$;

INSERT INTO notify.category (name, class, channels) VALUES
	('order', 'transactional', '{inbox,email}'), ('silent', 'transactional', NULL);
INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
INSERT INTO notify.provider (name, channel, preset, settings) VALUES
	('mail', 'email', 'smtp', '{"host": "127.0.0.1", "from": "shop@shop.example"}');
INSERT INTO notify.template (name, channel, locale, subject, body) VALUES
	('placed', 'inbox', 'default', NULL, 'placed'), ('placed', 'email', 'default', 's', 'placed'),
	('placed', 'inbox', 'zh', NULL, 'zh'), ('placed', 'inbox', 'zh-Hans', NULL, 'zh-Hans'),
	('german', 'inbox', 'de', NULL, 'de');
INSERT INTO notify.recipient (id, name, locale) VALUES
	('ann', 'Ann', 'zh_Hans_CN'), ('bob', 'Bob', NULL), ('eve', 'Eve', 'zh-TW'),
	('owner1', 'O', 'de-AT'), ('clerk1', 'C', 'en');
INSERT INTO notify.address (recipient, channel, address) VALUES
	('ann', 'email', 'ann@x.example'), ('eve', 'email', 'eve@x.example');
UPDATE notify.address SET state = 'invalid' WHERE recipient = 'eve';
SELECT notify.attach('"Order"', recipient => 'new.customer');

-- recipients, locales, addresses
INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('placed', '"Order"', '{insert}', 'placed', 'order');
INSERT INTO "Order" VALUES (1, 'a|1', 'ann', 'new', 10), (1, 'b', 'bob', 'new', 5), (2, 'e', 'eve', 'new', 1),
	(2, 'n', NULL, 'new', 1), (2, 'u', 'nobody', 'new', 1);
SELECT plan();
SELECT * FROM latest;
SELECT m.key, m.channel, v.locale FROM notify.message m JOIN notify.template_version v ON v.id = m.template_version ORDER BY 1, 2;
SELECT plan();

-- audience, context, a template in one language only, a context that fails for one row of many
UPDATE notify.rule SET name = 'old placed', enabled = false;
INSERT INTO notify.rule (name, source, ops, template, category, channels, audience, context) VALUES
	('staff', '"Order"', '{insert}', 'german', 'order', '{inbox}',
	 'SELECT s.person AS recipient, s.role FROM staff s WHERE s.shop = new."Shop"',
	 'SELECT count(*) AS items, 100 / new.total AS share FROM item i WHERE i."No" = new."No"');
INSERT INTO item VALUES (1, 'c', 'tea', 2), (1, 'c', 'cup', 3);
INSERT INTO "Order" VALUES (1, 'c', 'ann', 'new', 10), (2, 'd', 'ann', 'new', 0), (3, 'f', 'ann', 'new', 4);
SELECT plan();
SELECT * FROM latest;
SELECT context - 'recipient' AS context FROM notify.message WHERE recipient = 'owner1';
INSERT INTO notify.rule (name, source, ops, template, category, channels, context) VALUES
	('twice', '"Order"', '{insert}', 'placed', 'order', '{inbox}', 'SELECT 1 AS a UNION ALL SELECT 2');
INSERT INTO "Order" VALUES (9, 'g', 'ann', 'new', 10);
SELECT plan();
SELECT rule, status, reason, detail FROM latest WHERE key = '9|g';

-- no channel, no provider, rule switched off between capture and planning
DELETE FROM notify.rule;
INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('mute', '"Order"', '{insert}', 'placed', 'silent');
INSERT INTO notify.rule (name, source, ops, template, category, channels) VALUES ('sms', '"Order"', '{insert}', 'placed', 'order', '{sms}');
INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('off', '"Order"', '{insert}', 'placed', 'order');
INSERT INTO "Order" VALUES (4, 'h', 'ann', 'new', 10);
UPDATE notify.rule SET enabled = false WHERE name = 'off';
SELECT plan();
SELECT rule, channel, status, reason FROM latest WHERE key = '4|h';

-- an event keeps the version it matched
DELETE FROM notify.rule;
INSERT INTO notify.rule (name, source, ops, template, category, channels) VALUES ('kept', '"Order"', '{insert}', 'placed', 'order', '{inbox}');
INSERT INTO "Order" VALUES (4, 'i', 'ann', 'new', 10);
UPDATE notify.rule SET channels = '{email}';
SELECT plan();
SELECT rule, channel, status FROM latest WHERE key = '4|i';

-- dedupe: one message per value, within a batch and across batches
UPDATE notify.rule SET name = 'once', channels = '{inbox}', dedupe_key = 'new.status';
INSERT INTO "Order" VALUES (5, 'a', 'ann', 'x', 1), (5, 'b', 'ann', 'x', 1), (5, 'c', 'bob', 'x', 1), (5, 'd', 'ann', NULL, 1), (5, 'e', 'ann', NULL, 1);
SELECT plan();
INSERT INTO "Order" VALUES (5, 'f', 'ann', 'x', 1), (5, 'g', 'ann', 'y', 1);
SELECT plan();
SELECT key, recipient, status, reason FROM latest WHERE key LIKE '5|%';

-- one that cannot be sent does not use the key up
UPDATE notify.rule SET context = 'SELECT 1 / new.total AS share';
INSERT INTO "Order" VALUES (5, 'h', 'ann', 'w', 0), (5, 'i', 'ann', 'w', 1);
SELECT plan();
SELECT key, status, reason FROM latest WHERE key IN ('5|h', '5|i');

-- delay, expiry and cancelling: paying kills the reminder
DELETE FROM notify.rule;
INSERT INTO notify.rule (name, source, ops, condition, template, category, channels, delay, expires, cancel_key) VALUES
	('remind', '"Order"', '{insert}', 'new.status = ''unpaid''', 'placed', 'order', '{inbox}', '1 hour', '1 day', 'new."No"');
INSERT INTO notify.rule (name, source, ops, condition, action, cancel_key) VALUES
	('paid', '"Order"', '{update}', 'new.status = ''paid''', 'cancel', 'new."No"');
INSERT INTO "Order" VALUES (6, 'p', 'ann', 'unpaid', 1), (6, 'q', 'ann', 'unpaid', 1), (6, 'r', 'ann', 'unpaid', 1);
UPDATE "Order" SET status = 'paid' WHERE "No" = 'r';
SELECT plan();
UPDATE "Order" SET status = 'paid' WHERE "No" = 'q';
SELECT plan();
SELECT key, rule, status, reason, expires_at - due_at AS life FROM notify.delivery WHERE key LIKE '6|%' ORDER BY key, rule;
DELETE FROM notify.ready;
UPDATE notify.scheduled SET due_at = notify.now();
SELECT plan();
SELECT m.key, c.channel, c.attempt
FROM (SELECT array_agg(DISTINCT lane) AS lanes FROM notify.ready) AS r
CROSS JOIN LATERAL notify._claim(1, 1, r.lanes, '{0}', '{9}', '1 min', 9) AS c
JOIN notify.message m ON m.id = c.message;
SELECT key, status, reason FROM notify.delivery WHERE key LIKE '6|%' ORDER BY key;

-- a row over the limit keeps its key; its neighbours are sent
DELETE FROM notify.rule;
INSERT INTO notify.rule (name, source, ops, template, category, channels) VALUES ('big', '"Order"', '{insert}', 'placed', 'order', '{inbox}');
INSERT INTO "Order" VALUES (7, 'a', 'ann', 'x', 1), (7, 'b', 'ann', repeat('x', 10000000), 1), (7, 'c', 'bob', 'x', 1);
SELECT plan();
SELECT key, recipient, status, reason FROM latest WHERE key LIKE '7|%';

-- emitted events
INSERT INTO notify.rule (name, event_type, condition, template, category, channels, context) VALUES
	('login', 'login', 'new ->> ''device'' = ''new''', 'placed', 'order', '{inbox}', 'SELECT new ->> ''city'' AS city, event.type AS t');
SELECT notify.emit('login', 'ann', '{"device": "new", "city": "Bonn"}', 'k1') IS NOT NULL AS emitted;
SELECT notify.emit('login', 'ann', '{"device": "old"}') IS NOT NULL AS emitted;
SELECT notify.emit(NULL, 'ann', '{}');
SELECT plan();
SELECT key, recipient, channel, status FROM latest WHERE rule = 'login';
SELECT context - 'recipient' AS context FROM notify.message WHERE key = 'k1';

-- a condition that errors leaves the change alone and is told
INSERT INTO notify.rule (name, source, ops, condition, template, category, channels) VALUES
	('broken', '"Order"', '{insert}', '1 / new.total > 0', 'placed', 'order', '{inbox}');
INSERT INTO "Order" VALUES (8, 'a', 'ann', 'x', 0);
SELECT plan();
SELECT key, rule, status FROM latest WHERE key LIKE '8|%';
SELECT name, problem FROM notify.rule WHERE problem IS NOT NULL;
SELECT step, verdict, reason, detail - '{event,message,due_at,expires_at}'::text[] AS detail FROM notify.explain('"Order"', '8|a');
UPDATE notify.rule SET condition = 'new.total > 0' WHERE name = 'broken';
SELECT name, problem FROM notify.rule WHERE problem IS NOT NULL;

-- nothing is said of what was rolled back; explain says what it knows
BEGIN;
INSERT INTO "Order" VALUES (8, 'z', 'ann', 'x', 1);
ROLLBACK;
SELECT plan();
SELECT step, detail -> 'attached' AS attached FROM notify.explain('"Order"', '8|z');
SELECT * FROM notify.explain(1);

-- subtransactions, large transactions by chunks, each event once
DELETE FROM notify.rule;
INSERT INTO notify.rule (name, source, ops, template, category, channels) VALUES ('bulk', '"Order"', '{insert}', 'placed', 'order', '{inbox}');
BEGIN;
INSERT INTO "Order" SELECT 10, i::text, 'ann', 'x', 1 FROM generate_series(1, 1000) AS i;
SAVEPOINT s;
INSERT INTO "Order" SELECT 11, i::text, 'ann', 'x', 1 FROM generate_series(1, 50) AS i;
ROLLBACK TO s;
INSERT INTO "Order" SELECT 12, i::text, 'ann', 'x', 1 FROM generate_series(1, 50) AS i;
COMMIT;
INSERT INTO "Order" VALUES (13, 'after', 'ann', 'x', 1);
SELECT planned, more FROM notify._plan(100);
-- what committed after the large one does not wait for all of it
SELECT planned, more FROM notify._plan(100);
SELECT count(*) FROM notify.message WHERE key = '13|after';
SELECT plan();
SELECT split_part(key, '|', 1) AS shop, count(*), count(DISTINCT event) FROM notify.message
WHERE split_part(key, '|', 1) IN ('10', '11', '12', '13') GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM notify.backlog;
-- what commits while a batch of several chunks is planned is not left lying
DO $$ BEGIN FOR i IN 1..6 LOOP PERFORM notify.emit('nothing', NULL, '{}'); COMMIT; END LOOP; END $$;
SELECT more FROM notify._plan(4);
SELECT notify.emit('nothing', NULL, '{}') IS NOT NULL AS emitted;
SELECT more FROM notify._plan(4);
SELECT more FROM notify._plan(4);
SELECT more FROM notify._plan(4);
SELECT unplanned FROM notify.status();

-- what a time without a planner left in a default partition goes with its day
INSERT INTO notify.event (id, xid, op) VALUES (notify.time_id(now() - interval '60 days'), '3', 'E'), (notify.time_id(now() - interval '29 days'), '3', 'E');
SELECT count(*) FROM notify.event_default;
SELECT notify._maintain();
SELECT count(*) FROM notify.event_default;
DELETE FROM notify.event_default;

DELETE FROM notify.rule;
SELECT notify.detach('"Order"');
DELETE FROM notify.recipient;
DELETE FROM notify.template;
DELETE FROM notify.category;
DELETE FROM notify.provider;
TRUNCATE notify.ready, notify.scheduled, notify.idempotency, notify.message, notify.outcome;
DROP SCHEMA planning CASCADE;
