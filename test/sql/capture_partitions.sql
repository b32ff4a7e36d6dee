--
-- Partitions and inheritance children: whose rules, whose triggers, and rows
-- that move.
--
SET client_min_messages = warning;
CREATE SCHEMA capture_partitions;
SET search_path = capture_partitions, public;
INSERT INTO notify.category (name, class, channels) VALUES ('capture partitions', 'transactional', '{inbox}');
INSERT INTO notify.template (name, channel, body) VALUES ('capture partitions', 'inbox', 'x');
CREATE PROCEDURE add_rule(rule_name text, relation regclass, condition text DEFAULT NULL, ops text[] DEFAULT NULL)
LANGUAGE sql AS $$
	INSERT INTO notify.rule (name, source, condition, ops, template, category)
	VALUES (rule_name, relation, condition, ops, 'capture partitions', 'capture partitions')
$$;
CREATE TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM notify.event;
CREATE FUNCTION events(OUT op "char", OUT source text, OUT key text, OUT recipient text, OUT rules text, OUT new jsonb, OUT old jsonb, OUT undecided jsonb)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
		SELECT e.op, e.source::regclass::text, e.key, e.recipient,
			   (SELECT string_agg(v.name, ',' ORDER BY r.n) FROM unnest(e.rules) WITH ORDINALITY AS r (version, n)
				JOIN notify.rule_version v ON v.id = r.version), e.new, e.old, e.undecided
		FROM notify.event e WHERE e.id > (SELECT max(s.id) FROM seen s) ORDER BY e.id;
	INSERT INTO seen SELECT coalesce(max(e.id), 0) FROM notify.event e;
END
$$;
CREATE FUNCTION triggers(top regclass, OUT relation text, OUT triggers text)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT t.tgrelid::regclass::text, string_agg(t.tgname || ' ' || t.tgenabled::text || CASE WHEN t.tgparentid <> 0 THEN ' cloned' ELSE '' END, ', ' ORDER BY t.tgname)
	FROM pg_trigger t WHERE t.tgfoid = 'notify.capture'::regproc
	  AND (t.tgrelid = top OR t.tgrelid IN (SELECT x.relation FROM notify._tree(top) AS x)) GROUP BY 1 ORDER BY 1
$$;

-- Partitions with columns in another order, dropped ones, fast defaults, two levels.
CREATE TABLE parts (id integer, region text, note text, big text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (note text, gone integer, region text NOT NULL, id integer NOT NULL, big text);
ALTER TABLE parts_b DROP COLUMN gone;
CREATE TABLE parts_c PARTITION OF parts FOR VALUES IN ('c', 'd') PARTITION BY RANGE (id);
CREATE TABLE parts_c1 PARTITION OF parts_c FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_c2 (LIKE parts_c);
SELECT notify.attach('parts', 'coalesce(new.note, old.note)');
CALL add_rule('inserted', 'parts', NULL, '{insert}');
CALL add_rule('updated', 'parts', $$new.region IS DISTINCT FROM old.region OR new.note = 'watch'$$, '{update}');
CALL add_rule('deleted', 'parts', NULL, '{delete}');
-- Later partitions get what the table has; directly and through the tree.
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
ALTER TABLE parts_c ATTACH PARTITION parts_c2 FOR VALUES FROM (10) TO (100);
CREATE TABLE parts_e PARTITION OF parts FOR VALUES IN ('e');
SELECT * FROM triggers('parts');
INSERT INTO parts VALUES (1, 'a', 'one', repeat('x', 5000)), (2, 'b', 'two', NULL), (3, 'c', 'three', NULL);
INSERT INTO parts_e VALUES (4, 'e', 'four', NULL);
SELECT op, source, key, recipient, rules FROM events();

-- A row that moves is updated, there and back, over levels, by any statement.
UPDATE parts SET region = 'b' WHERE id = 1;
SELECT op, source, key, recipient, rules, new - 'big' AS new, length(new ->> 'big') AS big, old FROM events();
UPDATE parts SET region = 'd', note = 'moved' WHERE id IN (1, 2);
SELECT op, key, recipient, rules, new - 'big' AS new, old FROM events();
UPDATE parts SET id = id + 10 WHERE region IN ('c', 'd');
SELECT op, key, rules, old FROM events();
UPDATE parts_c SET id = id - 10, note = 'watch' WHERE region IN ('c', 'd');
SELECT op, key, rules, old FROM events();
MERGE INTO parts p USING (VALUES (1, 'a'), (9, 'e')) AS v (id, region) ON p.id = v.id
	WHEN MATCHED THEN UPDATE SET region = v.region WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.region, 'merged');
SELECT op, key, rules, old FROM events();
WITH moved AS (UPDATE parts SET region = 'b' WHERE id = 1 RETURNING id),
	 other AS (INSERT INTO parts VALUES (20, 'a', 'other') RETURNING id),
	 gone AS (DELETE FROM parts WHERE id = 9 RETURNING id)
SELECT count(*) FROM moved, other, gone;
SELECT op, key, rules, old - 'big' AS old FROM events() ORDER BY op, key;
INSERT INTO parts SELECT i, 'a', 'bulk' FROM generate_series(1001, 2000) AS i;
SELECT op, rules, count(*) FROM events() GROUP BY 1, 2;
BEGIN;
UPDATE parts SET region = CASE WHEN id % 2 = 0 THEN 'b' ELSE 'e' END WHERE note = 'bulk';
SELECT count(*) AS kept FROM pg_backend_memory_contexts WHERE name = 'notify_pg moved row';
COMMIT;
SELECT op, rules, old, count(*) FROM events() GROUP BY 1, 2, 3;
DELETE FROM parts WHERE note = 'bulk';
SELECT op, rules, count(*) FROM events() GROUP BY 1, 2;

-- With columns that came later, and values only the catalog has.
ALTER TABLE parts ADD COLUMN flag text DEFAULT 'preset';
UPDATE parts SET region = 'e' WHERE id = 1;
SELECT op, key, rules, new ->> 'flag' AS flag, old FROM events();
UPDATE parts SET region = 'a', flag = 'set' WHERE id = 1;
SELECT op, key, rules, new ->> 'flag' AS flag, old FROM events();

-- A partition's trigger may keep the row, or change it; a foreign key's action may move it.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.note = 'unwanted' THEN RETURN NULL; END IF; NEW.flag := 'by trigger'; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON parts_b FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO parts VALUES (30, 'a', 'unwanted'), (31, 'a', 'wanted'), (32, 'a', 'unwanted');
SELECT count(*) FROM events();
UPDATE parts SET region = 'b' WHERE id BETWEEN 30 AND 32;
SELECT op, key, rules, new ->> 'flag' AS flag, old - 'big' AS old FROM events();
-- ... also as the last thing of a transaction, but not of one that is rolled back.
INSERT INTO parts VALUES (33, 'a', 'unwanted'), (34, 'a', 'unwanted');
SELECT count(*) FROM events();
BEGIN;
UPDATE parts SET region = 'b' WHERE id = 33;
SAVEPOINT a;
UPDATE parts SET region = 'b' WHERE id = 34;
ROLLBACK TO a;
SELECT id FROM parts WHERE id IN (33, 34);
COMMIT;
SELECT op, key, rules FROM events();
BEGIN;
UPDATE parts SET region = 'b' WHERE id = 34;
INSERT INTO parts VALUES (35, 'a', 'next');
COMMIT;
SELECT op, key, rules FROM events();
BEGIN;
INSERT INTO parts VALUES (36, 'a', 'unwanted');
UPDATE parts SET region = 'b' WHERE id = 36;
ROLLBACK;
INSERT INTO parts VALUES (37, 'a', 'after');
SELECT op, key, rules FROM events();
-- ... and the statement goes on to insert a row that has nothing to do with it. Rows that do move are told
-- from that one, whether their key stays as it was or not.
INSERT INTO parts VALUES (50, 'a', 'unwanted'), (51, 'a', 'wanted'), (52, 'a', 'unwanted'), (53, 'a', 'wanted'), (54, 'a', 'unwanted'), (55, 'a', 'unwanted');
SELECT count(*) FROM events();
MERGE INTO parts p USING (VALUES (50, 'b'), (60, 'e'), (51, 'b'), (61, 'e')) AS v (id, region) ON p.id = v.id
	WHEN MATCHED THEN UPDATE SET region = v.region, flag = 'x' WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.region, 'merged');
SELECT op, key, recipient, rules, old - '{big,flag}'::text[] AS old FROM events() ORDER BY key COLLATE "C", op;
WITH moved AS (UPDATE parts SET region = 'b' WHERE id = 52 RETURNING id)
INSERT INTO parts SELECT 62, 'e', 'other' WHERE NOT EXISTS (SELECT FROM moved);
SELECT op, key, recipient, rules, old - '{big,flag}'::text[] AS old FROM events() ORDER BY key COLLATE "C", op;
WITH other AS (INSERT INTO parts VALUES (63, 'e', 'other'))
UPDATE parts SET region = 'b' WHERE id = 54;
SELECT op, key, recipient, rules, old - '{big,flag}'::text[] AS old FROM events() ORDER BY key COLLATE "C", op;
CREATE TABLE touched (n integer);
INSERT INTO touched VALUES (0);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE touched SET n = n + 1; RETURN NULL; END $$;
CREATE TRIGGER zz_touch AFTER DELETE ON parts FOR EACH ROW EXECUTE FUNCTION touch();
MERGE INTO parts p USING (VALUES (55, 'b'), (64, 'e')) AS v (id, region) ON p.id = v.id
	WHEN MATCHED THEN UPDATE SET region = v.region WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.region, 'merged');
SELECT op, key, recipient, rules, old - '{big,flag}'::text[] AS old FROM events() ORDER BY key COLLATE "C", op;
DROP TRIGGER zz_touch ON parts;
UPDATE parts SET region = 'b', id = 70 WHERE id = 53;
SELECT op, key, rules, old FROM events();
DROP TRIGGER refuse ON parts_b;
MERGE INTO parts p USING (VALUES (70, 'a')) AS v (id, region) ON p.id = v.id
	WHEN MATCHED THEN UPDATE SET region = v.region, id = 71;
SELECT op, key, rules, old FROM events();
-- Without a key but the partition's, by all that it holds.
CREATE TABLE keyless (n integer, note text) PARTITION BY RANGE ((n + 0));
CREATE TABLE keyless_1 PARTITION OF keyless FOR VALUES FROM (0) TO (10);
CREATE TABLE keyless_2 PARTITION OF keyless FOR VALUES FROM (10) TO (20);
CREATE FUNCTION refuse_unwanted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.note = 'unwanted' THEN NULL ELSE NEW END; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON keyless_2 FOR EACH ROW EXECUTE FUNCTION refuse_unwanted();
SELECT notify.attach('keyless', $$'x'$$, key => '{n}');
CALL add_rule('keyless', 'keyless');
INSERT INTO keyless VALUES (1, 'unwanted'), (2, 'wanted');
MERGE INTO keyless k USING (VALUES (1), (3), (2)) AS v (n) ON k.n = v.n
	WHEN MATCHED THEN UPDATE SET n = k.n + 10 WHEN NOT MATCHED THEN INSERT VALUES (v.n, 'merged');
SELECT op, key, new, old FROM events() ORDER BY key, op;
DROP TABLE keyless;

-- Moves inside moves: a trigger between the two halves that moves rows itself, and one that fails.
CREATE TABLE wards (id integer, ward text, moves integer, PRIMARY KEY (id, ward)) PARTITION BY LIST (ward);
CREATE TABLE wards_a PARTITION OF wards FOR VALUES IN ('a');
CREATE TABLE wards_b PARTITION OF wards FOR VALUES IN ('b');
SELECT notify.attach('wards', $$'nurse'$$);
CALL add_rule('wards', 'wards');
CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(OLD.moves, NEW.moves) = 1 THEN
		UPDATE wards SET ward = CASE ward WHEN 'a' THEN 'b' ELSE 'a' END, moves = 0 WHERE id = 2;
	ELSIF coalesce(OLD.moves, NEW.moves) = -1 THEN
		RAISE 'no' USING ERRCODE = 'PX002';
	END IF;
	RETURN NULL;
END
$$;
-- After our trigger on the old row, before it on the new one.
CREATE TRIGGER zz_nest AFTER DELETE ON wards FOR EACH ROW EXECUTE FUNCTION nest();
INSERT INTO wards VALUES (1, 'a', 1), (2, 'a', 0), (3, 'a', -1);
SELECT count(*) FROM events();
UPDATE wards SET ward = 'b' WHERE id = 1;
SELECT op, key, rules, old FROM events();
DO $$
BEGIN
	UPDATE wards SET ward = 'b' WHERE id = 3;
EXCEPTION WHEN SQLSTATE 'PX002' THEN
	UPDATE wards SET moves = 5 WHERE id = 3;
	INSERT INTO wards VALUES (4, 'b', 0);
END
$$;
SELECT op, key, rules, old FROM events();
DROP TRIGGER zz_nest ON wards;

-- Rules whose functions move rows themselves, in the middle of a move.
CREATE FUNCTION drags(w wards) RETURNS boolean LANGUAGE plpgsql SET search_path = capture_partitions AS $$
BEGIN
	IF w.id = 1 THEN UPDATE wards SET ward = w.ward WHERE id = 2 AND ward <> w.ward; END IF;
	RETURN true;
END
$$;
UPDATE notify.rule SET condition = 'drags(new)' WHERE name = 'wards';
UPDATE wards SET ward = 'a' WHERE id = 1;
SELECT op, key, rules, old, undecided FROM events() ORDER BY key;
DELETE FROM notify.rule WHERE name = 'wards';

-- A row that moves when a foreign key's action says so, and one that foreign keys refer to.
CREATE TABLE regions (region text PRIMARY KEY);
INSERT INTO regions VALUES ('a'), ('b');
CREATE TABLE shops (id integer, region text REFERENCES regions ON UPDATE CASCADE, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE shops_a PARTITION OF shops FOR VALUES IN ('a', 'b');
CREATE TABLE shops_x PARTITION OF shops FOR VALUES IN ('x', 'y');
CREATE TABLE tills (id integer PRIMARY KEY, shop integer, region text, FOREIGN KEY (shop, region) REFERENCES shops ON UPDATE CASCADE);
SELECT notify.attach('shops', $$'keeper'$$), notify.attach('tills', $$'clerk'$$);
CALL add_rule('shops', 'shops');
CALL add_rule('tills', 'tills');
INSERT INTO shops VALUES (1, 'a'), (2, 'a');
INSERT INTO tills VALUES (1, 1, 'a');
SELECT count(*) FROM events();
UPDATE regions SET region = 'x' WHERE region = 'a';
SELECT op, key, rules, new, old FROM events();

-- Rules see one change, and a table without rules on updates none.
DELETE FROM notify.rule WHERE source IN ('shops'::regclass, 'tills'::regclass);
CALL add_rule('new shops', 'shops', NULL, '{insert}');
INSERT INTO regions VALUES ('b2'), ('y');
UPDATE shops SET region = 'b' WHERE id = 1;
UPDATE shops SET region = 'y' WHERE id = 2;
SELECT op, key, rules FROM events();
DELETE FROM notify.rule WHERE name = 'new shops';

-- Detached, attached again: what stands alone is not captured.
ALTER TABLE parts DETACH PARTITION parts_b;
SELECT * FROM triggers('parts_b');
INSERT INTO parts_b (id, region, note) VALUES (40, 'b', 'alone');
SELECT count(*) FROM events();
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
SELECT * FROM triggers('parts_b');
INSERT INTO parts_b (id, region, note) VALUES (41, 'b', 'again');
SELECT op, source, key, rules FROM events();

-- A partition attached on its own follows its own source; a row that leaves it is deleted there.
SELECT notify.attach('parts_b', $$'own'$$);
CALL add_rule('own', 'parts_b');
UPDATE parts SET note = 'own' WHERE id = 41;
UPDATE parts SET region = 'a' WHERE id = 41;
UPDATE parts SET region = 'b' WHERE id = 41;
SELECT op, source, key, recipient, rules FROM events();
SELECT notify.detach('parts');
SELECT * FROM triggers('parts');
INSERT INTO parts VALUES (42, 'b', 'own'), (42, 'a', 'none');
SELECT op, source, key, recipient, rules FROM events();
-- And the other way round: the partition first, then its table.
SELECT notify.attach('parts', $$'all'$$);
SELECT notify.detach('parts_b');
SELECT * FROM triggers('parts');
INSERT INTO parts VALUES (43, 'b', 'all');
SELECT op, source, key, recipient, rules FROM events();
SELECT notify.detach('parts');
SELECT * FROM triggers('parts');

-- A table attached on its own becomes a partition of an attached one, and leaves it again, whoever
-- owns it; so does a partitioned one, and one whose partition alone is attached.
CREATE TABLE zones (id integer, zone text, PRIMARY KEY (id, zone)) PARTITION BY LIST (zone);
CREATE TABLE zones_a PARTITION OF zones FOR VALUES IN ('a');
CREATE TABLE zones_b (id integer NOT NULL, zone text NOT NULL);
CREATE TABLE zones_c (id integer NOT NULL, zone text NOT NULL) PARTITION BY LIST (zone);
CREATE TABLE zones_c1 PARTITION OF zones_c FOR VALUES IN ('c');
CREATE TABLE zones_d (id integer NOT NULL, zone text NOT NULL) PARTITION BY LIST (zone);
CREATE TABLE zones_d1 PARTITION OF zones_d FOR VALUES IN ('d');
SELECT notify.attach(t::regclass, quote_literal(t)) FROM unnest('{zones,zones_b,zones_c,zones_d1}'::text[]) AS t;
UPDATE notify.source SET on_replica = true WHERE relation = 'zones_b'::regclass;
DO $$ BEGIN
	CALL add_rule('zones', 'zones'); CALL add_rule('zones_b', 'zones_b'); CALL add_rule('zones_c', 'zones_c'); CALL add_rule('zones_d1', 'zones_d1');
END $$;
CREATE ROLE capture_stranger;
CREATE ROLE capture_child;
GRANT USAGE ON SCHEMA capture_partitions TO capture_stranger, capture_child;
ALTER TABLE zones OWNER TO capture_child;
ALTER TABLE zones_b OWNER TO capture_child;
SET ROLE capture_stranger;
ALTER TABLE zones ATTACH PARTITION zones_b FOR VALUES IN ('b');
SET ROLE capture_child;
ALTER TABLE zones ATTACH PARTITION nothing FOR VALUES IN ('b');
ALTER TABLE zones ATTACH PARTITION zones_b FOR VALUES IN ('a');
RESET ROLE;
SELECT * FROM triggers('zones_b');
SET ROLE capture_child;
ALTER TABLE zones ATTACH PARTITION zones_b FOR VALUES IN ('b');
RESET ROLE;
ALTER TABLE zones ATTACH PARTITION zones_c FOR VALUES IN ('c');
ALTER TABLE zones ATTACH PARTITION zones_d FOR VALUES IN ('d');
SELECT * FROM triggers('zones');
INSERT INTO zones VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
SELECT op, source, key, recipient, rules FROM events();
-- Detached, also concurrently, each goes on alone; what is not attached is not captured.
CREATE TABLE zones_e PARTITION OF zones FOR VALUES IN ('e');
ALTER TABLE zones DETACH PARTITION zones_b;
ALTER TABLE zones DETACH PARTITION zones_c CONCURRENTLY;
ALTER TABLE zones DETACH PARTITION zones_d;
ALTER TABLE zones DETACH PARTITION zones_e CONCURRENTLY;
SELECT r, t.* FROM unnest('{zones,zones_b,zones_c,zones_d,zones_e}'::regclass[]) WITH ORDINALITY AS r (r, n)
LEFT JOIN triggers(r) AS t ON true ORDER BY n, t.relation;
INSERT INTO zones_b VALUES (12, 'b'); INSERT INTO zones_c VALUES (13, 'c'); INSERT INTO zones_d VALUES (14, 'd'); INSERT INTO zones_e VALUES (15, 'e');
SELECT op, source, key, recipient, rules FROM events();
-- With a table that is not attached, nothing gives way.
SELECT notify.detach('zones');
ALTER TABLE zones ATTACH PARTITION zones_b FOR VALUES IN ('b');
SELECT * FROM triggers('zones');
INSERT INTO zones VALUES (21, 'a'), (22, 'b');
SELECT op, source, key, rules FROM events();
-- An attached child that inherits, and ends that.
CREATE TABLE kin (id integer NOT NULL, name text);
CREATE TABLE kin_child (id integer NOT NULL, name text);
SELECT notify.attach('kin', $$'kin'$$), notify.attach('kin_child', $$'child'$$);
CALL add_rule('kin', 'kin');
CALL add_rule('kin child', 'kin_child');
ALTER TABLE kin_child INHERIT kin;
INSERT INTO kin_child VALUES (1, 'x');
ALTER TABLE kin_child NO INHERIT kin;
INSERT INTO kin_child VALUES (2, 'x');
SELECT op, source, recipient, rules, new FROM events();
SELECT * FROM triggers('kin_child');
DROP TABLE zones, zones_b, zones_c, zones_d, zones_e, kin, kin_child;
DROP OWNED BY capture_child, capture_stranger;
DROP ROLE capture_child, capture_stranger;

-- Inheritance: children that are there, children that come later, and go.
CREATE TABLE places (id integer PRIMARY KEY, name text);
CREATE TABLE cities (mayor text) INHERITS (places);
CREATE TABLE capitals (country text) INHERITS (cities);
SELECT notify.attach('places', 'new.name', columns => '{id,name}');
CALL add_rule('places', 'places', $$new.name <> 'quiet'$$);
SELECT * FROM triggers('places');
INSERT INTO places VALUES (1, 'p');
INSERT INTO cities VALUES (2, 'c', 'mayor');
INSERT INTO capitals VALUES (3, 'k', 'mayor', 'land');
SELECT op, source, key, recipient, rules, new FROM events();
UPDATE places SET name = 'all';
SELECT op, source, key, recipient, rules, old FROM events();
CREATE TABLE villages (well text) INHERITS (places);
CREATE TABLE hamlets (well text, id integer NOT NULL, name text);
ALTER TABLE hamlets INHERIT villages;
INSERT INTO villages VALUES (4, 'v', 'w');
INSERT INTO hamlets VALUES ('w', 5, 'h');
SELECT op, source, key, recipient, rules, new FROM events();
ALTER TABLE hamlets NO INHERIT villages;
SELECT * FROM triggers('hamlets');
INSERT INTO hamlets VALUES ('w', 6, 'h');
SELECT count(*) FROM events();
-- Whoever makes the child need not know of notify_pg.
CREATE ROLE capture_child;
GRANT CREATE, USAGE ON SCHEMA capture_partitions TO capture_child;
ALTER TABLE places OWNER TO capture_child;
SET ROLE capture_child;
CREATE TABLE towns (twin text) INHERITS (places);
INSERT INTO towns VALUES (7, 't', 'x');
RESET ROLE;
SELECT op, source, key, recipient, rules, new FROM events();
SELECT notify.detach('places');
SELECT * FROM triggers('places');
DROP TABLE towns, places CASCADE;
DROP OWNED BY capture_child;
DROP ROLE capture_child;

DROP SCHEMA capture_partitions CASCADE;
SELECT relation FROM notify.source;
DELETE FROM notify.rule WHERE category = 'capture partitions';
DELETE FROM notify.template WHERE name = 'capture partitions';
DELETE FROM notify.category WHERE name = 'capture partitions';
