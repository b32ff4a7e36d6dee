-- Budgets: what may be saved, what is left, and what becomes of messages when nothing is.
\set SHOW_CONTEXT never
CREATE SCHEMA budgets;
SET search_path = budgets, public;
CREATE FUNCTION plan(batch int DEFAULT 100) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p record;
	planned int := 0;
	readied int := 0;
BEGIN
	LOOP
		SELECT * INTO p FROM notify._plan(batch);
		planned := planned + p.planned;
		readied := readied + p.readied;
		EXIT WHEN NOT p.more;
	END LOOP;
	RETURN planned || ' planned, ' || readied || ' ready';
END $$;
CREATE FUNCTION pass() RETURNS text LANGUAGE sql AS $$
	UPDATE notify.scheduled SET due_at = notify.now();
	SELECT plan();
$$;
-- What is in the queue is answered in this way.
CREATE FUNCTION serve(class text DEFAULT 'ok', again_ms int DEFAULT -1, most int DEFAULT 1000) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c record;
	settled int := 0;
BEGIN
	FOR c IN SELECT x.* FROM (SELECT coalesce(array_agg(DISTINCT lane), '{}') AS lanes FROM notify.ready) AS r
		CROSS JOIN LATERAL notify._claim(1, 1, r.lanes, array_fill(0::bigint, ARRAY[cardinality(r.lanes)]), array_fill(most, ARRAY[cardinality(r.lanes)]), '1 min', most) AS x
		WHERE x.message IS NOT NULL
	LOOP
		settled := settled + notify._settle(1, 1, ARRAY[c.ready_tid], ARRAY[c.message], ARRAY[class], '{200}', '{}', '{}', ARRAY[again_ms::bigint], '{1}', '{s}', '{b}');
	END LOOP;
	RETURN settled || ' answered';
END $$;
CREATE FUNCTION say(category text, n int, key text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT count(notify.emit('say', 'ann', jsonb_build_object('category', category), key)) || ' emitted' FROM generate_series(1, n);
$$;
CREATE VIEW said AS
	SELECT key, channel, status, reason, detail, count(*) FROM notify.delivery GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4;
CREATE VIEW money AS SELECT name, amount, spent, reserved, remaining, exhausted FROM notify.stat_budget ORDER BY budget;

INSERT INTO notify.category (name, class, channels) VALUES
	('offers', 'marketing', '{sms,email,inbox}'), ('news', 'marketing', '{email}'), ('codes', 'critical', '{sms}');
INSERT INTO notify.preset (name, channel, addressed, settings) VALUES
	('texts', 'sms', false, '{"url": {"kind": "url", "required": true}}'), ('mails', 'email', false, '{"url": {"kind": "url", "required": true}}');
INSERT INTO notify.provider (name, preset, settings, cost, priority) VALUES
	('texts', 'texts', '{"url": "http://127.0.0.1:9/"}', 0.10, 1), ('dear', 'texts', '{"url": "http://127.0.0.1:9/"}', 0.25, 2),
	('mails', 'mails', '{"url": "http://127.0.0.1:9/"}', 0.02, 1);
INSERT INTO notify.template (name, channel, subject, body) VALUES ('hi', 'sms', NULL, 'hi'), ('hi', 'email', 'hi', 'hi');
INSERT INTO notify.recipient (id) VALUES ('ann');
INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'sms', '+4915112345678'), ('ann', 'email', 'ann@x.example');
INSERT INTO notify.rule (name, event_type, condition, template, category, channels) VALUES
	('offers', 'say', 'new ->> ''category'' = ''offers''', 'hi', 'offers', '{sms}'),
	('codes', 'say', 'new ->> ''category'' = ''codes''', 'hi', 'codes', '{sms}');

-- what cannot be is refused when it is saved
INSERT INTO notify.budget (category, class, channel, period, amount) VALUES ('offers', 'marketing', 'sms', 'day', 1);
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('nothing', 'sms', 'day', 1);
INSERT INTO notify.budget (class, channel, period, amount) VALUES ('urgent', 'sms', 'day', 1);
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'fax', 'day', 1);
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'year', 1);
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', -1);
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', 'NaN');
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', 'Infinity');
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', NULL);
INSERT INTO notify.budget (category, channel, period, amount, over) VALUES ('offers', 'sms', 'day', 1, 'stop');
INSERT INTO notify.budget (category, channel, period, amount, time_zone) VALUES ('offers', 'sms', 'day', 1, 'Mars/Olympus');
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('codes', 'sms', 'day', 1);
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', 1), ('offers', 'sms', 'day', 2);
SELECT count(*) FROM notify.budget;

-- periods are of the calendar, in their zone
SELECT z, p, notify._period_start(p, z, '2026-03-30 01:30+00') AT TIME ZONE 'UTC' AS start
FROM unnest('{UTC,Asia/Shanghai,America/New_York,Mars/Olympus}'::text[]) AS z, unnest('{day,week,month}'::text[]) AS p WHERE z <> 'Mars/Olympus' OR p = 'day';

-- suppress: to the cent, in one batch, over batches; what is not planned yet is not asked for
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', 1);
SELECT say('offers', 7, 'a');
SELECT plan(3);
SELECT * FROM money;
SELECT say('offers', 7, 'b'), say('codes', 2, 'c');
SELECT plan();
SELECT * FROM money;
SELECT * FROM said;
SELECT step, verdict, reason, detail ->> 'budget' AS budget, detail ->> 'meaning' AS meaning
FROM notify.explain((SELECT max(event) FROM notify.message WHERE reason = 'budget')) WHERE step = 'decided';
SELECT serve();
SELECT * FROM money;
SELECT regexp_replace(problem, 'until .*', 'until') AS problem FROM notify.status(), unnest(problems) AS problem WHERE problem ~ 'budget';

-- what did not cost is given back: failures, retries (which ask again), cancels, expiry
UPDATE notify.budget SET amount = 2;
SELECT say('offers', 4, 'd');
SELECT plan();
SELECT * FROM money;
SELECT serve('permanent_message', -1, 1), serve('retry', 60000, 1);
SELECT * FROM money;
SELECT say('offers', 20, 'e');
SELECT plan();
SELECT * FROM money;
SELECT pass();
SELECT key, channel, status, reason, detail, count FROM said WHERE key IN ('d', 'e');
SELECT count(*) FILTER (WHERE notify.cancel(message, 'no')) FROM notify.delivery WHERE key = 'e' AND status = 'ready';
SELECT * FROM money;
SELECT say('offers', 1, 'f');
SELECT plan();
SELECT * FROM said WHERE key = 'f';
SELECT * FROM money;

-- counted again from the truth: what a worker left, a row saved anew, a period that begins, a clock set back
UPDATE notify.spent SET reserved = 100 WHERE writer = -1;
SELECT say('offers', 1, 'g');
SELECT plan();
SELECT * FROM said WHERE key = 'g';
SELECT * FROM money;
UPDATE notify.budget SET period = 'month';
SELECT plan();
SELECT say('offers', 1, 'g');
SELECT plan();
SELECT * FROM money;
SELECT serve();
UPDATE notify.spent SET period_start = period_start - interval '1 month';
SELECT * FROM money;
SELECT say('offers', 1, 'g');
SELECT plan(), serve();
SELECT * FROM money;
UPDATE notify.spent SET period_start = period_start + interval '2 months';
SELECT say('offers', 1, 'g');
SELECT plan();
SELECT * FROM money;
SELECT serve();
SELECT spent = (SELECT sum(o.cost) FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.category = 'offers') AS true FROM money;
DELETE FROM notify.budget;
SELECT say('offers', 30, 'h');
SELECT plan();
INSERT INTO notify.budget (class, period, amount) VALUES ('marketing', 'day', 8);
SELECT say('offers', 30, 'i');
SELECT plan();
SELECT * FROM money;
SELECT count(DISTINCT budget) AS counters FROM notify.spent;
SELECT serve();
TRUNCATE notify.message, notify.outcome;
DELETE FROM notify.budget;

-- several rows: all must have the money, and the strictest says what becomes of it
INSERT INTO notify.budget (category, class, channel, period, amount, over) VALUES
	('offers', NULL, 'sms', 'day', 0.5, 'defer'), (NULL, 'marketing', NULL, 'week', 0.3, 'suppress'), (NULL, NULL, 'sms', 'month', 0.4, 'cheaper');
SELECT say('offers', 4, 'k');
SELECT plan();
SELECT * FROM said;
SELECT * FROM money;
UPDATE notify.budget SET amount = 100 WHERE over = 'suppress';
SELECT say('offers', 2, 'l');
SELECT plan();
SELECT * FROM said WHERE key = 'l';
SELECT serve();
TRUNCATE notify.message, notify.outcome;
DELETE FROM notify.budget;

-- defer: until the period ends, or it expires; then it asks again
INSERT INTO notify.budget (category, channel, period, amount, over) VALUES ('offers', 'sms', 'day', 0.2, 'defer');
UPDATE notify.rule SET expires = '100 days' WHERE name = 'offers';
SELECT say('offers', 4, 'm');
SELECT plan();
SELECT * FROM said;
SELECT count(*), bool_and(s.due_at = b.period_end AND s.due_at BETWEEN notify.now() AND notify.now() + interval '25 h') AS at_midnight FROM notify.scheduled s, notify.stat_budget b;
SELECT pass();
SELECT status, count(*), (SELECT count(*) FROM notify.outcome WHERE reason = 'budget_deferred' AND verdict = 'retrying' AND next_at > notify.now()) AS outcomes FROM notify.delivery GROUP BY 1 ORDER BY 1;
SELECT serve();
UPDATE notify.spent SET period_start = period_start - interval '1 day';
SELECT pass();
SELECT * FROM said;
UPDATE notify.rule SET expires = '1 minute' WHERE name = 'offers';
SELECT say('offers', 1, 'n');
SELECT plan();
SELECT s.due_at = m.expires_at AS until_it_expires FROM notify.scheduled s JOIN notify.message m ON m.id = s.message;
SELECT serve();
TRUNCATE notify.message, notify.outcome, notify.scheduled;
UPDATE notify.rule SET expires = NULL WHERE name = 'offers';
DELETE FROM notify.budget;

-- cheaper: by the cheapest other channel that is possible and has money, once, unless it goes there anyway
INSERT INTO notify.budget (category, channel, period, amount, over) VALUES ('offers', 'sms', 'day', 0.1, 'cheaper'), ('offers', 'email', 'day', 0.04, 'suppress');
SELECT say('offers', 4, 'o');
SELECT plan();
SELECT * FROM said;
SELECT * FROM money;
INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
INSERT INTO notify.template (name, channel, body) VALUES ('hi', 'inbox', 'hi');
SELECT say('offers', 1, 'p');
SELECT plan();
SELECT * FROM said WHERE key = 'p';
UPDATE notify.rule SET channels = '{sms,inbox}' WHERE name = 'offers';
SELECT say('offers', 1, 'q');
SELECT plan();
SELECT * FROM said WHERE key = 'q';
-- a delayed one asks when it is due
UPDATE notify.rule SET channels = '{sms}', delay = '1 hour' WHERE name = 'offers';
SELECT say('offers', 1, 'r');
SELECT plan();
SELECT * FROM said WHERE key = 'r';
SELECT pass();
SELECT * FROM said WHERE key = 'r';
SELECT serve();
UPDATE notify.rule SET delay = NULL WHERE name = 'offers';
DELETE FROM notify.budget;
TRUNCATE notify.message, notify.outcome;

-- failing over to a dearer provider asks again; a cost that is not known counts as nothing, and is told
INSERT INTO notify.budget (category, channel, period, amount) VALUES ('offers', 'sms', 'day', 0.6);
SELECT say('offers', 5, 's');
SELECT plan();
UPDATE notify.provider SET enabled = false WHERE name = 'texts';
SELECT notify._reroute(100);
SELECT plan();
SELECT * FROM said;
SELECT serve();
SELECT * FROM money;
UPDATE notify.provider SET cost = NULL WHERE name = 'dear';
SELECT say('offers', 3, 't');
SELECT plan(), serve();
SELECT * FROM said WHERE key = 't';
SELECT problem FROM notify.status(), unnest(problems) AS problem WHERE problem ~ 'budget';

-- who may what
SET ROLE notify_report;
SELECT name, remaining FROM notify.stat_budget;
UPDATE notify.budget SET amount = 1000;
RESET ROLE;
SET ROLE notify_admin;
UPDATE notify.budget SET amount = 1000;
UPDATE notify.spent SET spent = 0;
RESET ROLE;

-- without a row there is nothing to pay
DELETE FROM notify.budget;
SELECT say('offers', 1, 'u');
SELECT plan(), serve();
SELECT count(*) FROM notify.stat_budget;

DELETE FROM notify.rule;
DELETE FROM notify.recipient;
DELETE FROM notify.provider;
DELETE FROM notify.preset WHERE name IN ('texts', 'mails');
DELETE FROM notify.template;
DELETE FROM notify.category;
TRUNCATE notify.ready, notify.scheduled, notify.idempotency, notify.message, notify.outcome, notify.inbox, notify.spent;
DROP SCHEMA budgets CASCADE;
