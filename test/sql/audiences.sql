--
-- Audiences larger than a chunk: planned bit by bit, and nobody else waits for them.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
CREATE SCHEMA audiences;
SET search_path = audiences, public;
SET jit = off;

INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
INSERT INTO notify.category (name, class, channels) VALUES ('news', 'marketing', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'inbox', 'Hello {{ name }}');
CREATE TABLE people (id text PRIMARY KEY, name text);
INSERT INTO people SELECT 'p' || n, 'Name ' || n FROM generate_series(1, 2600) AS n;
INSERT INTO notify.recipient (id) SELECT id FROM people;
CREATE TABLE articles (id integer PRIMARY KEY, kind text, author text);
SELECT notify.attach('articles', 'new.author');
INSERT INTO notify.rule (name, source, condition, audience, template, category, dedupe_key) VALUES
	('to all', 'articles', $$new.kind = 'news'$$, 'SELECT p.id AS recipient, p.name FROM people p', 'hello', 'news', $$'once'$$),
	('to the author', 'articles', NULL, NULL, 'hello', 'news', NULL);
-- What happened before is no business of ours.
DO $$ BEGIN WHILE (SELECT more FROM notify._plan(500)) LOOP END LOOP; END $$;

CREATE VIEW planned AS
	SELECT v.name AS rule, m.key, m.verdict, m.reason, count(*) AS messages, count(DISTINCT m.recipient) AS people
	FROM notify.message m JOIN notify.rule_version v ON v.id = m.rule GROUP BY 1, 2, 3, 4;

INSERT INTO articles VALUES (1, 'news', 'p1');
-- The event is planned, its author told; its audience waits.
SELECT planned, more FROM notify._plan(500);
SELECT * FROM planned ORDER BY 1, 2;
SELECT (notify.status()).unplanned;
SELECT step, verdict, detail - 'event' AS detail FROM notify.explain('articles', '1') WHERE detail ? 'people';
-- It takes turns with what comes meanwhile, which it does not delay.
SELECT planned FROM notify._plan(500);
INSERT INTO articles VALUES (2, 'note', 'p2');
SELECT sum(planned) FROM (SELECT (notify._plan(500)).planned FROM generate_series(1, 2)) AS two;
SELECT * FROM planned ORDER BY 1, 2;

-- Who is erased while waiting is not told.
SELECT (a.candidate).recipient AS someone FROM notify.audience a ORDER BY a.n DESC LIMIT 1 \gset
SELECT notify.erase_recipient(:'someone') -> 'recipient' AS erased;
SELECT count(*) AS waiting FROM notify.audience;
-- A second event with an audience has its own turns; together they are planned in full.
INSERT INTO articles VALUES (3, 'news', 'p3'), (4, 'news', 'p4');
DO $$ BEGIN WHILE (SELECT more FROM notify._plan(500)) LOOP END LOOP; END $$;
SELECT rule, verdict, reason, sum(messages) AS messages FROM planned GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT count(*) AS waiting, (SELECT count(*) FROM notify.backlog) AS turns, (notify.status()).unplanned FROM notify.audience;
SELECT m.context - 'recipient' AS context FROM notify.message m WHERE m.recipient = 'p77' ORDER BY m.id LIMIT 1;

-- A rule that is switched off meanwhile tells nobody else.
INSERT INTO articles VALUES (5, 'news', 'p5');
UPDATE notify.rule SET dedupe_key = NULL WHERE name = 'to all';
INSERT INTO articles VALUES (6, 'news', 'p6');
SELECT count(*) FROM (SELECT notify._plan(500) FROM generate_series(1, 4)) AS x;
UPDATE notify.rule SET enabled = false WHERE name = 'to all';
DO $$ BEGIN WHILE (SELECT more FROM notify._plan(500)) LOOP END LOOP; END $$;
SELECT rule, verdict, reason, sum(messages) AS messages FROM planned WHERE key IN ('5', '6') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- One person who cannot be planned does not stop the others.
UPDATE notify.rule SET enabled = true WHERE name = 'to all';
CREATE FUNCTION refuse(recipient text, key text, reason text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF recipient = 'p99' AND key = '7' AND reason IS DISTINCT FROM 'plan_error' THEN RAISE EXCEPTION 'not %', recipient; END IF;
	RETURN recipient;
END $$;
CREATE INDEX refuse ON notify.message (refuse(recipient, key, reason));
INSERT INTO articles VALUES (7, 'news', 'p7');
DO $$ BEGIN WHILE (SELECT more FROM notify._plan(500)) LOOP END LOOP; END $$;
SELECT rule, verdict, reason, sum(messages) AS messages FROM planned WHERE key = '7' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT recipient, detail FROM notify.message WHERE reason = 'plan_error';
