-- Escalations: steps saved with their rule, planned when due, left out for a reason.
\set SHOW_CONTEXT never
CREATE SCHEMA steps;
SET search_path = steps, public;
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
-- Time passes for steps: what waits is due.
CREATE FUNCTION pass() RETURNS text LANGUAGE sql AS $$
	UPDATE notify.scheduled SET due_at = notify.now();
	SELECT plan();
$$;
-- Everything in the queue is sent, as a dispatcher would.
CREATE FUNCTION serve() RETURNS TABLE (key text, channel text, step int) LANGUAGE plpgsql AS $$
DECLARE
	c record;
BEGIN
	FOR c IN SELECT x.*, m.key AS k, m.step AS s FROM (SELECT coalesce(array_agg(DISTINCT lane), '{}') AS lanes FROM notify.ready) AS r
		CROSS JOIN LATERAL notify._claim(1, 1, r.lanes, array_fill(0::bigint, ARRAY[cardinality(r.lanes)]), array_fill(100, ARRAY[cardinality(r.lanes)]), '1 min', 100) AS x
		JOIN notify.message m ON m.id = x.message ORDER BY m.key, m.channel
	LOOP
		PERFORM notify._settle(1, 1, ARRAY[c.ready_tid], ARRAY[c.message], '{ok}', '{200}', '{}', ARRAY['ref' || c.message], '{-1}', '{1}', '{s}', '{b}');
		key := c.k; channel := c.channel; step := c.s;
		RETURN NEXT;
	END LOOP;
END $$;
CREATE VIEW said AS
	SELECT key, step, channel, status, reason FROM notify.delivery ORDER BY key, message, channel;

INSERT INTO notify.category (name, class, channels) VALUES ('alarm', 'critical', NULL), ('listed', 'critical', '{inbox}');
INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
INSERT INTO notify.provider (name, channel, preset, settings) VALUES
	('mail', 'email', 'smtp', '{"host": "127.0.0.1", "from": "shop@shop.example"}'),
	('hook', 'webhook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
INSERT INTO notify.template (name, channel, subject, body) VALUES
	('down', 'inbox', NULL, 'down'), ('down', 'email', 's', 'down'), ('quiet', 'inbox', NULL, 'q');
INSERT INTO notify.recipient (id) VALUES ('ann'), ('bob');
INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'email', 'ann@x.example');
INSERT INTO notify.rule (name, event_type, template, category, channels, cancel_key) VALUES ('down', 'down', 'down', 'alarm', '{inbox}', 'new ->> ''host''');
INSERT INTO notify.rule (name, event_type, action, cancel_key) VALUES ('up', 'up', 'cancel', 'new ->> ''host''');

-- what cannot be is refused when it is saved
INSERT INTO notify.rule_step VALUES ('nothing', 2, '{email}', '30 min');
INSERT INTO notify.rule_step VALUES ('down', 2, '{mail}', '30 min');
INSERT INTO notify.rule_step VALUES ('down', 2, '{}', '30 min');
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}');
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}', '-1 min');
INSERT INTO notify.rule_step VALUES ('down', 3, '{email}', '1 min');
INSERT INTO notify.rule_step VALUES ('down', 0, '{email}', '1 min');
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}', '1 min'), ('down', 4, '{email}', '1 min');
INSERT INTO notify.rule_step VALUES ('down', 2, '{sms}', '1 min');
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}', '1 min', '{clicked}');
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}', '1 min', '{read}');
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}', '1 min', '{NULL}');
INSERT INTO notify.rule_step VALUES ('up', 2, '{email}', '1 min');
INSERT INTO notify.rule_step VALUES ('down', 1, '{inbox}');
INSERT INTO notify.rule_step VALUES ('down', 2, '{webhook}', '1 min', '{delivered}'), ('down', 3, '{email}', '1 min', '{seen,delivered}');
UPDATE notify.rule SET template = 'quiet' WHERE name = 'down';
UPDATE notify.rule SET channels = '{webhook}' WHERE name = 'down';
UPDATE notify.rule SET name = 'dark', action = 'cancel' WHERE name = 'down';
DELETE FROM notify.rule_step WHERE step = 2;
TRUNCATE notify.rule_step;
INSERT INTO notify.rule_step VALUES ('down', 2, '{email}', '1 min', '{seen}');
UPDATE notify.rule SET channels = '{email}' WHERE name = 'down';
UPDATE notify.rule SET channels = NULL WHERE name = 'down';
UPDATE notify.rule SET channels = NULL, category = 'listed' WHERE name = 'down';
INSERT INTO notify.rule_step VALUES ('down', 1, '{inbox}', '1 min');
INSERT INTO notify.rule_step VALUES ('down', 1, '{inbox}', NULL, '{seen}');
INSERT INTO notify.rule_step VALUES ('down', 1, '{inbox}');
UPDATE notify.rule SET channels = '{inbox}' WHERE name = 'down';
SELECT v.channels, v.steps FROM notify.rule r JOIN notify.rule_version v ON v.id = r.version WHERE r.name = 'down';
-- a version for each save that changes something, none for one that does not
SELECT count(*) FROM notify.rule_version WHERE name = 'down';
UPDATE notify.rule_step SET after = '60 s' WHERE step = 2;
UPDATE notify.rule SET enabled = false WHERE name = 'down';
SET intervalstyle = sql_standard;
UPDATE notify.rule SET enabled = true WHERE name = 'down';
RESET intervalstyle;
SELECT count(*) FROM notify.rule_version WHERE name = 'down';
UPDATE notify.rule SET enabled = false WHERE name = 'down';
UPDATE notify.rule_step SET after = '30 min' WHERE step = 2;
UPDATE notify.rule_step SET after = NULL WHERE step = 2;
UPDATE notify.rule SET enabled = true, name = 'dark' WHERE name = 'down';
SELECT name, steps -> 1 ->> 'after' AS after FROM notify.rule_version WHERE name IN ('down', 'dark') ORDER BY id;
SELECT rule, step FROM notify.rule_step ORDER BY step;
DELETE FROM notify.rule_step WHERE step = 1;
UPDATE notify.rule SET name = 'down', channels = '{inbox}', category = 'alarm' WHERE name = 'dark';

-- whoever may configure may save steps, and the rule stays who owns it
CREATE ROLE steps_admin IN ROLE notify_admin;
SELECT owner AS was FROM notify.rule WHERE name = 'down' \gset
SET ROLE steps_admin;
UPDATE notify.rule_step SET after = '31 min';
RESET ROLE;
SELECT owner = :'was'::regrole AS kept, (SELECT v.steps -> 0 ->> 'after' FROM notify.rule_version v WHERE v.id = version) FROM notify.rule WHERE name = 'down';
SET ROLE notify_app;
SELECT * FROM notify.rule_step;
RESET ROLE;

-- the step comes, once, after its time
INSERT INTO notify.rule_step VALUES ('down', 3, '{webhook}', '2 hours', '{delivered,seen}');
SELECT notify.emit('down', 'ann', '{"host": "a"}', 'a') IS NOT NULL AS emitted;
SELECT plan(), plan();
SELECT * FROM serve();
SELECT step, due_at - (SELECT due_at FROM notify.message) BETWEEN '31 min' AND '32 min' AS in_time FROM notify.scheduled;
SELECT key, status FROM notify.delivery;
SELECT state, scheduled FROM notify.status();
SELECT step, verdict, detail - '{message,event,due_at,expires_at,address,latency_ms,reference}'::text[] AS detail
FROM notify.explain((SELECT max(event) FROM notify.message)) WHERE step <> 'emitted';
SELECT pass();
SELECT * FROM serve();
SELECT step, due_at - notify.now() BETWEEN '119 min' AND '120 min' AS in_time FROM notify.scheduled;
SELECT pass();
SELECT * FROM said;
SELECT * FROM serve();
SELECT pass(), count(*) FROM notify.scheduled;

-- seen: not sent; and not sent either when it was seen while the step waited in the queue
SELECT notify.emit('down', 'ann', '{"host": "b"}', 'b') IS NOT NULL AS emitted;
SELECT plan();
SELECT * FROM serve();
UPDATE notify.inbox SET read_at = now() WHERE message = (SELECT message FROM notify.delivery WHERE key = 'b');
SELECT pass();
SELECT pass();
SELECT * FROM said WHERE key = 'b';
SELECT count(*) FROM notify.scheduled;
SELECT notify.emit('down', 'ann', '{"host": "c"}', 'c') IS NOT NULL AS emitted;
SELECT plan();
SELECT * FROM serve();
SELECT pass();
UPDATE notify.inbox SET read_at = now() WHERE message = (SELECT min(message) FROM notify.delivery WHERE key = 'c');
SELECT * FROM serve();
SELECT * FROM said WHERE key = 'c';
-- what another person, or the same in another event, read does not count
SELECT notify.emit('down', r, '{"host": "d"}', 'd') IS NOT NULL AS emitted FROM unnest('{ann,bob}'::text[]) AS r;
SELECT plan();
SELECT * FROM serve();
UPDATE notify.inbox SET read_at = now() WHERE recipient = 'bob';
SELECT pass();
SELECT recipient, step, channel, status, reason FROM notify.delivery WHERE key = 'd' ORDER BY recipient, message;
TRUNCATE notify.ready, notify.scheduled;

-- delivered, as a receipt says; an inbox item is at once
UPDATE notify.rule_step SET unless = '{delivered}';
SELECT notify.emit('down', 'ann', '{"host": "e"}', 'e') IS NOT NULL AS emitted;
SELECT plan();
SELECT pass();
SELECT * FROM serve();
SELECT pass();
SELECT * FROM said WHERE key = 'e';
TRUNCATE notify.ready, notify.scheduled;
UPDATE notify.rule SET channels = '{email}' WHERE name = 'down';
UPDATE notify.rule_step SET channels = '{inbox}' WHERE step = 2;
SELECT notify.emit('down', 'ann', '{"host": "f"}', 'f') IS NOT NULL AS emitted;
SELECT notify.emit('down', 'ann', '{"host": "g"}', 'g') IS NOT NULL AS emitted;
SELECT plan();
SELECT * FROM serve();
SELECT notify._apply_receipt('mail', jsonb_build_object('kind', k, 'message', message::text)) IS NOT NULL AS said
FROM notify.delivery JOIN (VALUES ('f', 'delivered'), ('g', 'delivered'), ('g', 'failed')) AS v (key, k) USING (key);
SELECT pass();
SELECT * FROM said WHERE key IN ('f', 'g');
TRUNCATE notify.ready, notify.scheduled;

-- cancelled by a rule, by event, and by message; what was sent stays sent
UPDATE notify.rule_step SET unless = NULL;
UPDATE notify.rule SET channels = '{inbox}' WHERE name = 'down';
UPDATE notify.rule_step SET channels = '{email}' WHERE step = 2;
SELECT notify.emit('down', 'ann', jsonb_build_object('host', h), h) IS NOT NULL AS emitted FROM unnest('{h,i,j,k}'::text[]) AS h;
SELECT plan();
SELECT * FROM serve();
SELECT notify.emit('up', 'ann', '{"host": "h"}') IS NOT NULL AS emitted;
SELECT notify.cancel((SELECT event FROM notify.delivery WHERE key = 'i'), 'by event');
SELECT notify.cancel((SELECT message FROM notify.delivery WHERE key = 'j'), 'by message');
SELECT notify.cancel((SELECT max(event) FROM notify.delivery WHERE key = 'i'), 'again');
SELECT pass();
SELECT d.key, d.step, d.channel, d.status, d.reason, m.detail FROM notify.delivery d JOIN notify.message m ON m.id = d.message
WHERE d.key IN ('h', 'i', 'j', 'k') ORDER BY d.key, d.message;
-- once more after step 2 of k was sent: step 3 is stopped, and claimed steps are
SELECT * FROM serve();
SELECT notify.emit('up', 'ann', '{"host": "k"}') IS NOT NULL AS emitted;
SELECT pass();
SELECT * FROM said WHERE key = 'k';
SELECT count(*) FROM notify.scheduled;

-- an event keeps the steps it matched; a rule that is off or gone sends no more of them
SELECT notify.emit('down', 'ann', jsonb_build_object('host', h), h) IS NOT NULL AS emitted FROM unnest('{l,m}'::text[]) AS h;
SELECT plan();
DELETE FROM notify.rule_step WHERE step = 3;
UPDATE notify.rule_step SET channels = '{webhook}' WHERE step = 2;
SELECT pass();
UPDATE notify.rule SET enabled = false WHERE name = 'down';
SELECT pass();
SELECT * FROM said WHERE key IN ('l', 'm');
SELECT count(*) FROM notify.scheduled;
UPDATE notify.rule SET enabled = true WHERE name = 'down';
SELECT notify.emit('down', 'ann', '{"host": "n"}', 'n') IS NOT NULL AS emitted;
SELECT plan();
DELETE FROM notify.rule WHERE name = 'down';
SELECT count(*) FROM notify.rule_step;
SELECT pass();
SELECT * FROM said WHERE key = 'n';

-- steps are no duplicates of each other; a duplicate has no steps; who cannot be reached at first may be later
INSERT INTO notify.rule (name, event_type, template, category, channels, dedupe_key) VALUES ('down', 'down', 'down', 'alarm', '{email}', 'new ->> ''host''');
INSERT INTO notify.rule_step VALUES ('down', 2, '{inbox}', '1 min', '{delivered}');
SELECT notify.emit('down', 'ann', '{"host": "o"}', k) IS NOT NULL AS emitted FROM unnest('{o,o2}'::text[]) AS k;
SELECT notify.emit('down', 'bob', '{"host": "p"}', 'p') IS NOT NULL AS emitted;
SELECT plan();
SELECT pass();
SELECT * FROM said WHERE key IN ('o', 'o2', 'p');
TRUNCATE notify.ready;

-- another id in between is the same person; who was erased hears no more
UPDATE notify.rule SET channels = '{inbox}', dedupe_key = NULL WHERE name = 'down';
UPDATE notify.rule_step SET channels = '{email}', unless = '{seen}';
CREATE TABLE people (id text PRIMARY KEY, mail text);
INSERT INTO people VALUES ('cat', 'cat@x.example'), ('dan', 'dan@x.example');
SELECT notify.attach_recipients('people', id => 'id', addresses => '{"email": "mail"}');
SELECT notify.emit('down', p, '{"host": "q"}', 'q') IS NOT NULL AS emitted FROM unnest('{cat,dan}'::text[]) AS p;
SELECT plan();
SELECT * FROM serve();
UPDATE people SET id = 'kat' WHERE id = 'cat';
UPDATE notify.inbox SET read_at = now() WHERE recipient = 'kat';
DELETE FROM people WHERE id = 'dan';
SELECT pass();
SELECT recipient, step, channel, status, reason FROM notify.delivery WHERE key = 'q' ORDER BY message;
SELECT count(*) FROM notify.scheduled;
SELECT notify.detach_recipients('people');

DELETE FROM notify.rule;
DELETE FROM notify.recipient;
DELETE FROM notify.provider;
DELETE FROM notify.template;
DELETE FROM notify.category;
DELETE FROM notify.erasure;
DELETE FROM notify.recipient_former;
TRUNCATE notify.ready, notify.scheduled, notify.idempotency, notify.message, notify.outcome, notify.inbox;
DROP ROLE steps_admin;
DROP SCHEMA steps CASCADE;
