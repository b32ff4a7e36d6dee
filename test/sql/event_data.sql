-- What a template sees of an event, put together byte by byte (splice.c), beside
-- the same made by jsonb's own operators.
\set SHOW_CONTEXT never
CREATE SCHEMA event_data;
SET search_path = event_data, public;

-- The same without our C: {...emitted, ...context, new, old, event}
CREATE FUNCTION wanted(op "char", new jsonb, old jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN op IN ('E', 'S') AND jsonb_typeof(new) = 'object' THEN new ELSE '{}' END || coalesce(context, '{}') || jsonb_build_object(
		'new', new,
		'old', CASE WHEN op <> 'U' THEN old WHEN jsonb_typeof(new) = 'object' THEN new || coalesce(old, '{}') END,
		'event', jsonb_build_object('id', '4611686018427387904', 'type', 'order.paid', 'key', NULL, 'op', op, 'at', '2109-05-15T07:35:11.104Z'))
$$;
-- Every kind of value, under keys that differ in length and in their last byte only.
CREATE FUNCTION document(pairs int, seed int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT coalesce(jsonb_object_agg(repeat('k', (n * seed) % 7) || chr(97 + (n * 5 + seed) % 26) || n % (3 * seed + 40),
		CASE (n + seed) % 9
			WHEN 0 THEN to_jsonb(n * 1.25) WHEN 1 THEN to_jsonb(repeat('x', n)) WHEN 2 THEN 'null' WHEN 3 THEN 'true' WHEN 4 THEN 'false'
			WHEN 5 THEN jsonb_build_array(n, 'a', jsonb_build_object('deep', n / 3.0)) WHEN 6 THEN jsonb_build_object('z', n, 'aa', '{}'::jsonb)
			WHEN 7 THEN '""' ELSE to_jsonb(10::numeric ^ (n % 50)) END), '{}')
	FROM generate_series(1, pairs) AS n
$$;
CREATE TABLE tried AS
	SELECT op, new, old, context, got, wanted, pg_column_size(got) = pg_column_size(wanted) AS of_one_size
	FROM unnest('{I,U,D,E,S}'::text[]) AS op,
		(SELECT document(pairs, seed) FROM generate_series(1, 3) AS seed, unnest('{0,1,2,15,16,17,31,32,33,64,100,300}'::int[]) AS pairs
		 UNION ALL VALUES (NULL::jsonb), ('[1, {"a": 2.5}]'::jsonb), ('7.25'), ('"text"'), ('null'), ('{"new": 1, "event": [2], "": 3}')) AS a (new),
		(SELECT document(pairs, 4) FROM unnest('{0,1,33,90}'::int[]) AS pairs UNION ALL VALUES (NULL::jsonb), ('{"new": "x", "old": 1.5}')) AS b (old),
		(SELECT document(pairs, 5) FROM unnest('{1,40}'::int[]) AS pairs UNION ALL VALUES (NULL::jsonb), ('{"event": 0.1, "recipient": {"id": "c1"}}')) AS c (context),
		notify._data(4611686018427387904, op::"char", 'order.paid', NULL, new, old, context) AS got, wanted(op::"char", new, old, context) AS wanted;

SELECT count(*) > 4000 AS many, count(*) FILTER (WHERE got = wanted) = count(*) AS equal, count(*) FILTER (WHERE got::text = wanted::text) = count(*) AS read_alike,
	count(*) FILTER (WHERE of_one_size) = count(*) AS of_one_size FROM tried;
SELECT * FROM tried WHERE got IS DISTINCT FROM wanted OR got::text IS DISTINCT FROM wanted::text LIMIT 1;
-- Each key is found where a search looks for it.
SELECT count(*) > 100000 AS many, count(*) FILTER (WHERE t.got -> key = value) = count(*) AS found FROM tried t, jsonb_each(t.wanted) WHERE value <> 'null';
SELECT count(*) > 100000 AS many, count(*) FILTER (WHERE t.got -> 'old' -> key = value) = count(*) AS found_below FROM tried t, jsonb_each(CASE jsonb_typeof(t.wanted -> 'old') WHEN 'object' THEN t.wanted -> 'old' END);
-- An event whose day is gone leaves the context.
SELECT notify._data(NULL, NULL, NULL, NULL, '{"a": 1}', NULL, '{"b": 2}'), notify._data(NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- A claim goes by urgency and so jumps about in the logs: each message has its own
-- event's data all the same, and with one event for many, that.
INSERT INTO notify.category (name, class, channels) VALUES ('calm', 'transactional', '{webhook}'), ('urgent', 'critical', '{webhook}'), ('news', 'marketing', '{webhook}');
INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
INSERT INTO notify.template (name, channel, body) VALUES ('said', 'webhook', '{{ n }}');
INSERT INTO notify.recipient (id) SELECT 'p' || n FROM generate_series(1, 300) AS n;
SELECT count(notify.send('p' || n, 'said', jsonb_build_object('n', n), (ARRAY['calm', 'calm', 'calm', 'urgent', 'calm', 'news', 'news'])[n * n % 11 % 7 + 1]))
FROM generate_series(1, 300) AS n;
INSERT INTO notify.rule (name, event_type, audience, template, category) VALUES ('all', 'spoken', 'SELECT id AS recipient FROM notify.recipient', 'said', 'calm');
SELECT notify.emit('spoken', NULL, '{"n": 1000}') IS NOT NULL AS emitted;
DO $$ BEGIN WHILE (SELECT planned > 0 FROM notify._plan(100)) LOOP END LOOP; END $$;
SELECT count(*), count(*) FILTER (WHERE c.recipient = 'p' || (c.data ->> 'n') AND m.recipient = c.recipient) AS own, count(*) FILTER (WHERE c.data ->> 'n' = '1000') AS of_one,
	count(DISTINCT c.message) AS messages
FROM (SELECT array_agg(DISTINCT r.lane ORDER BY r.lane) AS lanes FROM notify.ready r) AS l,
	notify._claim(1, 1, l.lanes, array_fill(0::bigint, ARRAY[cardinality(l.lanes)]), array_fill(1000, ARRAY[cardinality(l.lanes)]), '1 min', 1000) AS c
	JOIN notify.message m ON m.id = c.message;

TRUNCATE notify.ready, notify.message, notify.event;
DELETE FROM notify.rule;
DELETE FROM notify.recipient;
DELETE FROM notify.template;
DELETE FROM notify.category;
DELETE FROM notify.provider;
SET client_min_messages = warning;
DROP SCHEMA event_data CASCADE;
