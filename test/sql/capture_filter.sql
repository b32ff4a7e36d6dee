--
-- The filter that spares rules a row they cannot want (src/capture/filter.c):
-- whatever the conditions, a row's event names exactly the rules whose conditions
-- SQL itself finds true.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_pg;
CREATE SCHEMA capture_filter;
SET search_path = capture_filter, public;
SET timezone = 'UTC';
SELECT setseed(0.42);

INSERT INTO notify.category (name, class, channels) VALUES ('filter', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('filter', 'inbox', 'x');
CREATE TYPE stage AS ENUM ('a', 'b', 'c', 'd');
CREATE TABLE things (
	id		integer PRIMARY KEY,
	word	text,
	short	varchar(5),
	padded	char(4),
	n		integer,
	big		bigint,
	money	numeric,
	stage	stage,
	day		date,
	ratio	float8,
	flag	boolean,
	folded	text COLLATE "C"
);
SELECT notify.attach('things', 'new.word');

-- One comparison, of many kinds: indexable ones, commuted ones, ones that are none.
CREATE FUNCTION arm(side text) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT format(a, side) FROM (VALUES
		(format($f$%%s.word = %L$f$, chr(97 + (random() * 4)::int))),
		(format($f$%L = %%s.word$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.word IN (%L, %L)$f$, chr(97 + (random() * 4)::int), chr(97 + (random() * 4)::int))),
		(format($f$%%s.word = ANY (ARRAY[NULL, %L])$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.word <> %L$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.word > %L$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.folded <= %L$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.short = %L$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.padded = %L$f$, chr(97 + (random() * 4)::int))),
		(format($f$%%s.n = %s$f$, (random() * 5)::int)),
		(format($f$%s < %%s.n$f$, (random() * 5)::int)),
		(format($f$%%s.n >= %s$f$, (random() * 5)::int)),
		(format($f$%%s.n BETWEEN %s AND 4$f$, (random() * 3)::int)),
		(format($f$%%s.big = %s$f$, (random() * 5)::int)),
		(format($f$%s > %%s.big$f$, (random() * 5)::int)),
		(format($f$%%s.big < %s::smallint$f$, (random() * 5)::int)),
		(format($f$%%s.money = %s$f$, round((random() * 3)::numeric, 0))),
		(format($f$%%s.money > %s.5$f$, (random() * 4)::int)),
		(format($f$%%s.stage = %L$f$, chr(97 + (random() * 3)::int))),
		(format($f$%%s.stage > %L$f$, chr(97 + (random() * 3)::int))),
		(format($f$%%s.day = date '2026-01-0%s'$f$, 1 + (random() * 4)::int)),
		(format($f$%%s.day < timestamptz '2026-01-0%s'$f$, 1 + (random() * 4)::int)),
		(format($f$%%s.ratio <= %s$f$, (random() * 4)::int)),
		('%s.ratio = ''NaN'''), ('%s.flag'), ('NOT %s.flag'), ('%s.word IS NULL'),
		('%s.word = NULL'), ('%s.n = ANY (''{}'')'),
		-- raises on some rows, so the rule runs in a subtransaction
		('10 / nullif(%s.n, 0) > 3')) AS v (a)
	ORDER BY random() LIMIT 1
$$;
CREATE FUNCTION some_condition() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	side text := CASE WHEN random() < 0.7 THEN 'new' ELSE 'old' END;
	condition text := arm(side);
BEGIN
	FOR i IN 1..(random() * 2)::int LOOP
		condition := condition || CASE WHEN random() < 0.8 THEN ' AND ' ELSE ' OR ' END
			|| arm(CASE WHEN random() < 0.7 THEN 'new' ELSE 'old' END);
	END LOOP;
	RETURN condition;
END
$$;
CREATE FUNCTION some_row(id integer) RETURNS things LANGUAGE sql VOLATILE AS $$
	SELECT id, CASE WHEN random() < 0.9 THEN chr(97 + (random() * 5)::int) END, chr(97 + (random() * 4)::int),
		chr(97 + (random() * 4)::int), CASE WHEN random() < 0.9 THEN (random() * 5)::int END,
		CASE WHEN random() < 0.9 THEN (random() * 5)::bigint END, round((random() * 4)::numeric, (random() * 2)::int),
		chr(97 + (random() * 3)::int)::stage, date '2026-01-01' + (random() * 5)::int,
		CASE WHEN random() < 0.1 THEN 'NaN' ELSE round(random() * 4) END, random() < 0.5, chr(97 + (random() * 4)::int)
$$;

INSERT INTO notify.rule (name, source, condition, template, category)
SELECT 'r' || lpad(g::text, 3, '0'), 'things', some_condition(), 'filter', 'filter' FROM generate_series(1, 150) AS g;

-- What SQL says of each rule and each change.
CREATE TABLE said (id integer, op "char", rule text);
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	r record;
	yes boolean;
BEGIN
	FOR r IN SELECT name, condition FROM notify.rule WHERE source = 'things'::regclass LOOP
		EXECUTE format('SELECT %s FROM (SELECT ($1).*) AS new, (SELECT ($2).*) AS old',
					   replace(replace(r.condition, 'new.', '"new".'), 'old.', '"old".')) INTO yes USING NEW, OLD;
		IF yes THEN
			INSERT INTO said VALUES (coalesce(NEW.id, OLD.id), left(TG_OP, 1)::"char", r.name);
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
CREATE TRIGGER say AFTER INSERT OR UPDATE OR DELETE ON things FOR EACH ROW EXECUTE FUNCTION say();

INSERT INTO things SELECT r.* FROM generate_series(1, 60) AS g, some_row(g) AS r;
UPDATE things t SET (word, short, padded, n, big, money, stage, day, ratio, flag, folded) =
	(SELECT word, short, padded, n, big, money, stage, day, ratio, flag, folded FROM some_row(t.id));
DELETE FROM things;

CREATE VIEW captured AS
	SELECT e.key::integer AS id, e.op, v.name AS rule
	FROM notify.event e CROSS JOIN LATERAL unnest(e.rules) AS u (version)
	JOIN notify.rule_version v ON v.id = u.version
	WHERE e.source = 'things'::regclass;
SELECT 'missed' AS wrong, * FROM (SELECT * FROM said EXCEPT SELECT * FROM captured) AS x
UNION ALL SELECT 'invented', * FROM (SELECT * FROM captured EXCEPT SELECT * FROM said) AS x
ORDER BY 1, 2, 3, 4 LIMIT 10;
SELECT count(*) > 1000 AS enough, count(DISTINCT rule) > 100 AS many_rules,
	   (SELECT count(*) FROM notify.event WHERE undecided IS NOT NULL) AS undecided FROM said;

-- A rule that is switched on, changed or deleted is in the filter at once.
DELETE FROM notify.rule;
INSERT INTO notify.rule (name, source, condition, template, category)
SELECT 'w' || g, 'things', format('new.n = %s', g), 'filter', 'filter' FROM generate_series(1, 100) AS g;
TRUNCATE said;
DROP TRIGGER say ON things;
BEGIN;
INSERT INTO things (id, n) VALUES (1001, 7), (1002, 100), (1003, 101);
UPDATE notify.rule SET condition = 'new.n = 101' WHERE name = 'w7';
DELETE FROM notify.rule WHERE name = 'w100';
INSERT INTO things (id, n) VALUES (1004, 7), (1005, 100), (1006, 101);
COMMIT;
SELECT id, op, rule FROM captured WHERE id > 1000 ORDER BY id;
