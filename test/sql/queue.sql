-- The queue: claim, settle, retry, fencing, rescue, send, cancel, redrive. No workers run here.
\set SHOW_CONTEXT never
CREATE SCHEMA queue;
SET search_path = queue, public;
-- Everything due, claimed by a dispatcher of this slot and boot.
CREATE FUNCTION claim(slot int, boot bigint, max int DEFAULT 100)
RETURNS TABLE (recipient text, channel text, attempt int, body text) LANGUAGE sql AS $$
	SELECT c.recipient, c.channel, c.attempt, notify.render(t.body, c.data)
	FROM (SELECT array_agg(DISTINCT r.lane ORDER BY r.lane) AS lanes FROM notify.ready r) AS l
	CROSS JOIN LATERAL notify._claim(slot, boot, l.lanes, array_fill(0::bigint, ARRAY[cardinality(l.lanes)]),
									 array_fill(max, ARRAY[cardinality(l.lanes)]), '1 min', max) AS c
	CROSS JOIN LATERAL notify._template(c.template_version) AS t
	WHERE c.message IS NOT NULL
$$;
-- One answer for all that this dispatcher has.
CREATE FUNCTION settle(slot int, boot bigint, class text, code int, detail text, retry bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT notify._settle(slot, settle.boot, array_agg(r.ctid), array_agg(r.message), array_agg(class), array_agg(code),
						  array_agg(detail), array_agg('ref'::text), array_agg(retry), array_agg(5),
						  array_agg(NULL::text), array_agg('words'::text))
	FROM notify.ready r WHERE r.owner IS NOT NULL
$$;
CREATE FUNCTION plan() RETURNS text LANGUAGE sql AS $$
	SELECT p.planned || ' planned, ' || p.readied || ' ready' FROM notify._plan(100) AS p
$$;
CREATE VIEW latest AS
	SELECT recipient, channel, status, attempts, reason, detail, code FROM notify.delivery ORDER BY message;

INSERT INTO notify.category (name, class, channels, at_most_once) VALUES
	('q', 'transactional', '{email}', false), ('code', 'critical', '{email}', true), ('news', 'marketing', '{email}', false);
INSERT INTO notify.provider (name, channel, preset, settings) VALUES
	('mail', 'email', 'smtp', '{"host": "127.0.0.1", "from": "shop@shop.example"}');
INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
INSERT INTO notify.template (name, channel, subject, body) VALUES
	('hi', 'email', 's', 'Hi {{ recipient.name }}, {{ what }} {{ new.what }}'), ('hi', 'inbox', 's', 'Hi {{ what }}');
INSERT INTO notify.recipient (id, name) VALUES ('ann', 'Ann'), ('bob', 'Bob');
INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'email', 'ann@x.example'), ('bob', 'email', 'bob@x.example');

-- send: what it names must be there; an idempotency key makes it one
SELECT notify.send('ann', 'nope', '{}', 'q');
SELECT notify.send('ann', 'hi', '{}', 'nope');
SELECT notify.send('ann', 'hi', '{}', 'q', channels => '{fax}');
SELECT notify.send('ann', 'hi', '{"what": "there"}', 'q', idempotency_key => 'k')
	 = notify.send('ann', 'hi', '{"what": "there"}', 'q', idempotency_key => 'k') AS same;
\set VERBOSITY terse
SELECT notify.send('ann', 'hi', '{"what": "else"}', 'q', idempotency_key => 'k');
\set VERBOSITY default
-- the same instant is the same argument in any time zone
SET timezone = 'UTC';
SELECT notify.send('ann', 'hi', '{}', 'q', idempotency_key => 'z', at => '2130-01-01 00:00+00') AS z \gset
SET timezone = 'Asia/Shanghai';
SELECT notify.send('ann', 'hi', '{}', 'q', idempotency_key => 'z', at => '2130-01-01 00:00+00') = :z AS same;
RESET timezone;
SELECT notify.cancel(:z, 'tested');
SELECT notify.send(repeat('x', 2000), 'hi', '{}', 'q');
SELECT plan();

-- urgent before bulk, and no more than asked for
SELECT notify.send('bob', 'hi', '{"what": "sale"}', 'news') IS NOT NULL AS sent;
SELECT notify.send('bob', 'hi', '{"what": "123456"}', 'code') IS NOT NULL AS sent;
SELECT plan();
SELECT * FROM claim(1, 10, 2);
SELECT * FROM claim(2, 20, 100);
SELECT * FROM claim(2, 20, 100);

-- only the owner settles, once
SELECT settle(1, 11, 'ok', 250, 'queued', NULL) AS late;
SELECT settle(1, 10, 'retry', 451, 'try later', 60000) AS settled;
SELECT settle(1, 10, 'retry', 451, 'try later', 60000) AS again;
SELECT settle(2, 20, 'ok', 250, 'queued', NULL) AS settled;
SELECT * FROM latest;
SELECT attempts, due_at > notify.now() AS later FROM notify.scheduled;

-- attempts used up: dead; a final no: failed; an unknown mailbox: the address is not used again
UPDATE notify.scheduled SET due_at = notify.now();
SELECT plan();
SELECT recipient, attempt FROM claim(1, 10) ORDER BY 1, 2;
SELECT settle(1, 10, 'retry', 451, 'still not', -1) AS settled;
SELECT notify.send('bob', 'hi', '{}', 'q') IS NOT NULL AS sent;
SELECT plan();
SELECT count(*) FROM claim(1, 10);
SELECT settle(1, 10, 'permanent_recipient', 550, '5.1.1 no such user', NULL) AS settled;
SELECT recipient, state FROM notify.address ORDER BY 1;
SELECT notify.send('bob', 'hi', '{}', 'q') IS NOT NULL AS sent;
SELECT notify.send('ann', 'hi', '{}', 'q') IS NOT NULL AS sent;
SELECT plan();
SELECT count(*) FROM claim(1, 10);
SELECT settle(1, 10, 'auth', 535, '5.7.8 bad credentials', 300000) AS settled;
SELECT name, problem FROM notify.provider ORDER BY 1;
SELECT * FROM latest;
SELECT recipient, status, code, detail FROM notify.failure ORDER BY message;
UPDATE notify.provider SET enabled = true WHERE name = 'mail';
SELECT name, problem FROM notify.provider ORDER BY 1;

-- redrive
SELECT notify.redrive(now() - interval '1 hour', rule => 'no such rule');
SELECT notify.redrive(now() - interval '1 hour');
UPDATE notify.scheduled SET due_at = notify.now();
SELECT plan();
SELECT recipient, attempt FROM claim(1, 10) ORDER BY 1, 2;
SELECT settle(1, 10, 'ok', 250, 'queued', NULL) AS settled;
SELECT count(*) FROM notify.failure;

-- expired, unless redriven
SELECT notify.send('ann', 'hi', '{}', 'q') AS id \gset
SELECT plan();
UPDATE notify.message SET expires_at = now() - interval '1 s' WHERE event = :id;
SELECT count(*) FROM claim(1, 10);
SELECT status, reason FROM notify.delivery WHERE event = :id;
SELECT notify.redrive(now() - interval '1 hour', channel => 'email');
SELECT plan();
SELECT count(*) FROM claim(1, 10);
SELECT settle(1, 10, 'ok', 250, 'queued', NULL) AS settled;
SELECT status FROM notify.delivery WHERE event = :id;

-- a dispatcher that died: its messages are taken again, but at most once means at most once
SELECT notify.send('ann', 'hi', '{"what": "again"}', 'q') AS id1, notify.send('ann', 'hi', '{"what": "code"}', 'code') AS id2,
	   notify.send('ann', 'hi', '{"what": "item"}', 'code', channels => '{inbox}') AS id3 \gset
SELECT plan();
SELECT channel, attempt, body FROM claim(1, 10);
SELECT notify._rescue(1, 10) AS same_boot;
SELECT notify._rescue(1, 11) AS freed;
SELECT status, reason, attempts FROM notify.delivery WHERE event IN (:id1, :id2, :id3) ORDER BY message;
SELECT channel, attempt, body FROM claim(1, 11);
SELECT settle(1, 10, 'ok', 250, 'from the dead', NULL) AS late;
SELECT settle(1, 11, 'ok', 250, 'queued', NULL) AS settled;
SELECT status, attempts FROM notify.delivery WHERE event IN (:id1, :id2, :id3) ORDER BY message;
SELECT recipient, body, read_at FROM notify.inbox;

-- rows that moved while they were sent
SELECT notify.send('ann', 'hi', '{}', 'q') AS id \gset
SELECT notify.send('ann', 'hi', '{}', 'q') IS NOT NULL AS sent;
SELECT plan();
SELECT count(*) FROM claim(1, 11);
DELETE FROM notify.ready WHERE message = (SELECT min(message) FROM notify.ready);
CREATE TEMP TABLE held AS SELECT ctid AS tid, message FROM notify.ready;
VACUUM FULL notify.ready;
SELECT h.tid <> r.ctid AS moved FROM held h JOIN notify.ready r ON r.message = h.message;
SELECT notify._settle(1, 11, array_agg(tid), array_agg(message), '{ok}', '{250}', '{queued}', '{ref}', '{-1}', '{5}', '{NULL}', '{NULL}') FROM held;
SELECT count(*) FROM notify.ready;

-- an expired lease
SELECT notify.send('ann', 'hi', '{}', 'q') AS id \gset
SELECT plan();
SELECT count(*) FROM claim(1, 11);
SELECT notify._maintain();
SELECT status FROM notify.delivery WHERE event = :id;
UPDATE notify.ready SET lease = now() - interval '1 s';
SELECT notify._maintain();
SELECT status FROM notify.delivery WHERE event = :id;

-- cancel: not planned yet, due later, due now, being sent, sent
SELECT notify.cancel(:id, 'due now');
SELECT notify.send('ann', 'hi', '{}', 'q') AS id \gset
SELECT notify.cancel(:id, 'not planned yet');
SELECT plan();
SELECT status FROM notify.delivery WHERE event = :id;
-- cancelled while the planner was at it: the claim sees it
SELECT notify.send('ann', 'hi', '{}', 'q') AS id \gset
SELECT plan();
SELECT notify._write_event('C', NULL, NULL, NULL, '{}', notify._event_cancel_key(:id), NULL, false) IS NOT NULL AS written;
SELECT count(*) FROM claim(1, 11);
SELECT status FROM notify.delivery WHERE event = :id;
SELECT notify.send('ann', 'hi', '{}', 'q', at => now() + interval '1 day') AS id \gset
SELECT plan();
SELECT status, due_at > now() + interval '23 hours' AS tomorrow FROM notify.delivery WHERE event = :id;
SELECT notify.cancel(:id, 'due later');
SELECT status, reason, detail FROM notify.delivery WHERE event = :id;
SELECT notify.cancel(:id, 'twice');
SELECT notify.send('ann', 'hi', '{}', 'q') AS id \gset
SELECT plan();
SELECT count(*) FROM claim(1, 11);
SELECT notify.cancel(:id, 'being sent');
SELECT settle(1, 11, 'ok', 250, 'queued', NULL) AS settled;
SELECT notify.cancel(:id, 'sent');
SELECT notify.cancel(1, 'nothing');

-- the same words again
SELECT notify.send('ann', 'hi', '{"what": "now"}', 'q') AS id \gset
SELECT plan();
SELECT (notify.content(message)).* FROM notify.delivery WHERE event = :id;
UPDATE notify.template SET body = 'Other words';
UPDATE notify.recipient SET name = 'Anna' WHERE id = 'ann';
SELECT (notify.content(message)).* FROM notify.delivery WHERE event = :id;
SELECT notify.content(1);

-- a provider that is switched off: its messages go to another, or wait
INSERT INTO notify.provider (name, channel, preset, settings, priority) VALUES
	('spare', 'email', 'smtp', '{"host": "127.0.0.1", "from": "shop@shop.example"}', 1);
UPDATE notify.provider SET enabled = false WHERE name = 'mail';
SELECT notify._reroute(1);
SELECT provider, priority, waiting FROM notify.stat_queue;
UPDATE notify.provider SET enabled = false WHERE name = 'spare';
SELECT notify._reroute(1);
SELECT provider, priority, waiting FROM notify.stat_queue;

SELECT rule, category, channel, provider, planned, skipped, cancelled, pending, sent, delivered, failed
FROM notify.delivery_report ORDER BY 1, 2, 3, 4;
SELECT state, problems, unplanned, ready, sending, scheduled, planner, dispatchers FROM notify.status();

TRUNCATE notify.ready, notify.scheduled, notify.idempotency, notify.inbox, notify.message, notify.outcome;
DELETE FROM notify.recipient;
DELETE FROM notify.template;
DELETE FROM notify.category;
DELETE FROM notify.provider;
DROP SCHEMA queue CASCADE;
