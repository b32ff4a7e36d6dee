/*
 * people.sql
 *		The app's own users table as the source of recipients and addresses;
 *		what a person may ask for: a copy of everything, and to be forgotten.
 *
 * A row trigger (src/capture/recipient.c) reads the mapped columns as whoever
 * writes the table and hands them on as jsonb; everything here that it calls
 * runs as the extension's owner and touches notify's own tables only, never the
 * app's, whose types and operators may be anybody's code.
 *
 * Nothing a users table holds may fail the statement that wrote it: a value
 * that cannot be used is left out and noted in notify.recipient_problem. That
 * is a row per person and field, so two writers meet there only where they
 * already met in the users table. recipient_source.problem is written with SKIP
 * LOCKED: nobody waits for it.
 *
 * A channel that is mapped belongs to the users table: a person's addresses on
 * it are that column's value and no other. Other channels are the app's.
 */
CREATE TABLE notify.recipient_source (
	relation	regclass PRIMARY KEY,
	id			text NOT NULL,
	name		text,
	locale		text,
	time_zone	text,
	addresses	jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(addresses) = 'object'),
	attributes	text[] NOT NULL DEFAULT '{}',
	attached_at	timestamptz NOT NULL,
	problem		text,
	on_truncate	text NOT NULL DEFAULT 'record' CHECK (on_truncate IN ('record', 'refuse', 'erase')),
	on_replica	boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE notify.recipient_source IS
'A users table that recipients and addresses follow: which column is what. Written by notify.attach_recipients() and notify.detach_recipients().';
COMMENT ON COLUMN notify.recipient_source.relation IS 'The users table.';
COMMENT ON COLUMN notify.recipient_source.id IS 'The column that is recipient.id.';
COMMENT ON COLUMN notify.recipient_source.name IS 'The column that is recipient.name; NULL: none, the name is the app''s to set.';
COMMENT ON COLUMN notify.recipient_source.locale IS 'The column that is recipient.locale; NULL: none.';
COMMENT ON COLUMN notify.recipient_source.time_zone IS 'The column that is recipient.time_zone; NULL: none.';
COMMENT ON COLUMN notify.recipient_source.addresses IS 'Channel to column, such as {"email": "mail"}.';
COMMENT ON COLUMN notify.recipient_source.attributes IS 'Columns kept in recipient.attributes under their own names.';
COMMENT ON COLUMN notify.recipient_source.attached_at IS 'When the table was attached.';
COMMENT ON COLUMN notify.recipient_source.problem IS 'What is wrong with the mapping, such as a column that was renamed: what it mapped is left as it was; or that the table was truncated. NULL when nothing is. Attaching again clears it.';
COMMENT ON COLUMN notify.recipient_source.on_truncate IS 'record: after a TRUNCATE of the table its people stay, and problem says so; refuse: TRUNCATE raises an error; erase: it erases everybody the table holds, as DELETE does.';
COMMENT ON COLUMN notify.recipient_source.on_replica IS 'True: also what logical replication applies, or a session with session_replication_role = replica writes, is followed. Changing it takes the owner of the table.';

CREATE TABLE notify.recipient_problem (
	recipient	text NOT NULL REFERENCES notify.recipient ON UPDATE CASCADE ON DELETE CASCADE,
	field		text NOT NULL,
	problem		text NOT NULL,
	at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (recipient, field)
);

COMMENT ON TABLE notify.recipient_problem IS
'What a users table says of a person that cannot be used, and so was left out. The row goes when the value is mended.';
COMMENT ON COLUMN notify.recipient_problem.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.recipient_problem.field IS 'A channel, or locale, time_zone, id, row.';
COMMENT ON COLUMN notify.recipient_problem.problem IS 'What is wrong with the value.';
COMMENT ON COLUMN notify.recipient_problem.at IS 'When it was saved.';

CREATE TABLE notify.recipient_former (
	recipient	text NOT NULL REFERENCES notify.recipient ON UPDATE CASCADE ON DELETE CASCADE,
	former		text NOT NULL,
	until		bigint NOT NULL,
	PRIMARY KEY (recipient, former, until)
);

CREATE INDEX recipient_former_former ON notify.recipient_former (former, until);

COMMENT ON TABLE notify.recipient_former IS
'Ids a person had before: the logs still name them so.';
COMMENT ON COLUMN notify.recipient_former.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.recipient_former.former IS 'The id until then.';
COMMENT ON COLUMN notify.recipient_former.until IS 'Events with ids up to this one mean this person by it: notify.id_time(until).';

/*
 * Whom an event meant, by the id the person has now. Who was renamed after it is
 * still meant; who was renamed before is too (the app had not heard), unless
 * somebody else has that id by now.
 */
CREATE FUNCTION notify._person_now(id text, event bigint) RETURNS text
LANGUAGE sql STABLE
RETURN coalesce((SELECT f.recipient FROM notify.recipient_former f
				 WHERE f.former = _person_now.id
				   AND (f.until >= _person_now.event
						OR NOT EXISTS (SELECT FROM notify.recipient r WHERE r.id = _person_now.id))
				 ORDER BY f.until < _person_now.event, abs(f.until - _person_now.event) LIMIT 1), _person_now.id);

COMMENT ON FUNCTION notify._person_now(text, bigint) IS
'The id now of the person an event named by this one. Internal.';

CREATE TABLE notify.erasure (
	recipient	text NOT NULL,
	until		bigint NOT NULL,
	xid			xid8 NOT NULL DEFAULT pg_current_xact_id(),
	PRIMARY KEY (recipient, until)
);

COMMENT ON TABLE notify.erasure IS
'People erased whose logs may still hold something: what was being sent or not yet planned at that moment. The planner erases that too, then removes the row.';
COMMENT ON COLUMN notify.erasure.recipient IS 'The id the person had.';
COMMENT ON COLUMN notify.erasure.until IS 'Events with ids up to this one are theirs: notify.id_time(until) is when they were erased.';
COMMENT ON COLUMN notify.erasure.xid IS 'The transaction that erased.';

INSERT INTO notify.reason (code, verdict, meaning) VALUES
	('erased', 'cancelled', 'The person was erased before it was sent.')
ON CONFLICT (code) DO UPDATE SET verdict = excluded.verdict, meaning = excluded.meaning;

-- Every column a mapping names, in no order.
CREATE FUNCTION notify._recipient_columns(s notify.recipient_source) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_agg(DISTINCT c.name)
	FROM (SELECT unnest(ARRAY[s.id, s.name, s.locale, s.time_zone] || s.attributes)
		  UNION ALL
		  SELECT value FROM jsonb_each_text(s.addresses)) AS c (name)
	WHERE c.name IS NOT NULL;
$$;

COMMENT ON FUNCTION notify._recipient_columns(notify.recipient_source) IS
'The columns a users table''s mapping reads. Internal.';

-- The mapping a table's trigger goes by: its own, or that of the nearest table above it.
CREATE FUNCTION notify._recipient_source_of(relation oid, OUT source oid, OUT id text, OUT columns text[], OUT on_truncate text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE up AS (
		SELECT _recipient_source_of.relation AS oid, 0 AS depth
		UNION ALL
		SELECT i.inhparent, u.depth + 1 FROM up u JOIN pg_inherits i ON i.inhrelid = u.oid
	)
	SELECT s.relation::oid, s.id, notify._recipient_columns(s), s.on_truncate
	FROM up u JOIN notify.recipient_source s ON s.relation = u.oid
	ORDER BY u.depth LIMIT 1;
$$;

COMMENT ON FUNCTION notify._recipient_source_of(oid) IS
'The attached users table a relation belongs to, its id column, all mapped columns, and what TRUNCATE does. Internal.';

-- Raises unless a column can be mapped: it is there, holds one value, and the attacher may read it.
CREATE FUNCTION notify._check_recipient_column(relation regclass, part text, col text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_type oid;
BEGIN
	SELECT a.atttypid INTO found_type FROM pg_attribute a
	WHERE a.attrelid = relation AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'column "%" of table % does not exist', col, relation
			USING ERRCODE = 'undefined_column',
				  DETAIL = format('It was given as %s.', part),
				  HINT = 'Give each column''s name as it is stored, without quotes.';
	END IF;
	IF part <> 'attributes' AND (SELECT t.typcategory IN ('A', 'C', 'P') OR t.typname IN ('json', 'jsonb')
								 FROM pg_type t WHERE t.oid = found_type) THEN
		RAISE EXCEPTION 'column "%" of table % cannot be %', col, relation, part
			USING ERRCODE = 'datatype_mismatch',
				  DETAIL = format('Its type is %s; a single value is needed.', found_type::regtype);
	END IF;
	IF NOT has_column_privilege(relation, col, 'SELECT') THEN
		RAISE EXCEPTION 'permission denied for column "%" of table %', col, relation
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Whoever attaches a users table must be able to read the columns.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_recipient_column(regclass, text, text) IS
'Raises 42703, 42804 or 42501 unless a column can be mapped. Internal.';

-- Raises unless the id column names one person per row, in each of the tables that make up this one.
CREATE FUNCTION notify._check_recipient_key(relation regclass, id text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bare regclass := (
		SELECT t.relation FROM notify._tree(_check_recipient_key.relation) AS t
		JOIN pg_class c ON c.oid = t.relation
		WHERE (NOT c.relispartition OR t.depth = 0)
		  AND NOT EXISTS (SELECT FROM pg_index i
						  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = _check_recipient_key.id
						  WHERE i.indrelid = t.relation AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
							AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
							AND (i.indnkeyatts = 1 OR c.relkind = 'p'))
		ORDER BY t.depth, t.relation LIMIT 1);
BEGIN
	IF bare IS NOT NULL THEN
		RAISE EXCEPTION 'column "%" of table % is not unique', id, bare
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Two rows with one id would be one recipient, and deleting either would erase both.',
				  HINT = format('Create a unique index on (%I), one that is not deferrable, or give another column.', id);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_recipient_key(regclass, text) IS
'Raises 22023 unless a column of the table, and of each inheritance child, is unique at every moment. Internal.';

-- Raises what is wrong with a mapping.
CREATE FUNCTION notify._check_recipient_mapping(s notify.recipient_source) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part record;
BEGIN
	IF (SELECT c.relkind NOT IN ('r', 'p') FROM pg_class c WHERE c.oid = s.relation) THEN
		RAISE EXCEPTION '% is not a table', s.relation
			USING ERRCODE = 'wrong_object_type';
	END IF;
	IF row_security_active(s.relation) THEN
		RAISE EXCEPTION 'row security hides rows of table % from role "%"', s.relation, current_user
			USING ERRCODE = 'insufficient_privilege',
				  HINT = 'Attach it as a role that sees every row.';
	END IF;
	FOR part IN SELECT * FROM jsonb_each(s.addresses)
	LOOP
		PERFORM notify._check_channel(part.key);
		IF part.key = 'inbox' OR jsonb_typeof(part.value) <> 'string' THEN
			RAISE EXCEPTION 'addresses cannot map channel "%" to %', part.key, part.value
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'Map a channel to the name of a column, as in {"email": "mail"}; the inbox needs no address.';
		END IF;
	END LOOP;
	PERFORM notify._check_recipient_column(s.relation, p.part, p.col)
	FROM (VALUES ('id', s.id), ('name', s.name), ('locale', s.locale), ('time_zone', s.time_zone)) AS p (part, col)
	WHERE p.col IS NOT NULL;
	PERFORM notify._check_recipient_column(s.relation, format('addresses of channel %s', a.key), a.value)
	FROM jsonb_each_text(s.addresses) AS a;
	PERFORM notify._check_recipient_column(s.relation, 'attributes', u) FROM unnest(s.attributes) AS u;
END
$$;

COMMENT ON FUNCTION notify._check_recipient_mapping(notify.recipient_source) IS
'Raises what is wrong with a users table''s mapping. Internal.';

CREATE FUNCTION notify._check_recipient_source() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restored boolean := TG_OP = 'INSERT' AND NEW.attached_at IS NOT NULL
		AND (notify._is_superuser() OR notify._restoring());
BEGIN
	IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - 'problem' = to_jsonb(OLD) - 'problem' THEN
		RETURN NEW;
	END IF;
	NEW.attached_at := CASE WHEN restored THEN NEW.attached_at ELSE clock_timestamp() END;
	BEGIN
		PERFORM notify._check_recipient_mapping(NEW);
		-- A restore makes indexes last.
		IF NOT restored THEN
			PERFORM notify._check_recipient_key(NEW.relation, NEW.id);
		END IF;
		NEW.problem := NULL;
	EXCEPTION
		WHEN insufficient_privilege THEN
			RAISE;			-- the table's triggers would read for us what we may not
		WHEN OTHERS THEN
			IF NOT restored THEN
				RAISE;
			END IF;
			NEW.problem := sqlerrm;
	END;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_recipient_source() IS
'Checks a users table''s mapping when it is saved. Internal.';

CREATE TRIGGER recipient_source_check BEFORE INSERT OR UPDATE ON notify.recipient_source
	FOR EACH ROW EXECUTE FUNCTION notify._check_recipient_source();

-- Nobody waits for this row, and a REPEATABLE READ writer is not failed by it.
CREATE FUNCTION notify._note_source_problem(relation oid, problem text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE notify.recipient_source s SET problem = _note_source_problem.problem
	WHERE s.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.recipient_source q
							  WHERE q.relation = _note_source_problem.relation
								AND q.problem IS DISTINCT FROM _note_source_problem.problem
							  FOR UPDATE SKIP LOCKED));
EXCEPTION WHEN serialization_failure THEN
	NULL;
END
$$;

COMMENT ON FUNCTION notify._note_source_problem(oid, text) IS
'Writes recipient_source.problem unless another transaction is at it. Internal.';

-- A table that has lost its triggers is not followed. In the middle of a restore
-- none has them yet, so what was noted of that ends when they are made; what else
-- was found wrong stays noted.
CREATE FUNCTION notify._recheck_triggers() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lost CONSTANT text := 'people are not followed, for the table lost its triggers; attach it again';
BEGIN
	PERFORM notify._recheck_source(s.relation) FROM notify.source s
	WHERE s.enabled AND notify._is_not_captured(s.relation) <> (s.problem IS NOT NULL);
	PERFORM notify._note_source_problem(s.relation, CASE WHEN NOT s.followed THEN lost END)
	FROM (SELECT r.relation, r.problem, (SELECT count(*) = 3 FROM pg_trigger t
										 WHERE t.tgrelid = r.relation
										   AND t.tgfoid = 'notify._sync_recipient()'::regprocedure) AS followed
		  FROM notify.recipient_source r) AS s
	WHERE CASE WHEN s.followed THEN s.problem = lost ELSE s.problem IS NULL END;
END
$$;

COMMENT ON FUNCTION notify._recheck_triggers() IS
'Notes attached tables without their triggers, and takes that note back. Internal.';

CREATE FUNCTION notify._watch_triggers() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() AS d JOIN pg_trigger t ON t.oid = d.objid
			   WHERE d.classid = 'pg_trigger'::regclass
				 AND t.tgfoid IN ('notify.capture()'::regprocedure, 'notify._sync_recipient()'::regprocedure))
		AND (EXISTS (SELECT FROM notify.source s WHERE s.problem IS NOT NULL)
			 OR EXISTS (SELECT FROM notify.recipient_source s WHERE s.problem IS NOT NULL)) THEN
		PERFORM notify._recheck_triggers();
	END IF;
EXCEPTION WHEN OTHERS THEN
	NULL;				-- the planner's upkeep looks again
END
$$;

COMMENT ON FUNCTION notify._watch_triggers() IS
'Event trigger: a restore has come to the triggers, or somebody made them; what was said of their absence ends. Internal.';

-- Run for every value, so without a SET clause: who calls them has pinned search_path.

-- What is wrong with an address, or NULL; never raises.
CREATE FUNCTION notify._address_problem(channel text, address text) RETURNS text
LANGUAGE plpgsql STABLE STRICT
AS $$
BEGIN
	IF octet_length(address) > 2048 THEN
		RETURN 'the address is longer than 2048 bytes';
	END IF;
	PERFORM notify._check_address(channel, address);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END
$$;

COMMENT ON FUNCTION notify._address_problem(text, text) IS
'What is wrong with an address'' form; NULL when nothing is. Internal.';

-- What notify.recipient would refuse, without raising.
CREATE FUNCTION notify._time_zone_problem(zone text) RETURNS text
LANGUAGE plpgsql STABLE STRICT
AS $$
BEGIN
	PERFORM now() AT TIME ZONE zone;
	RETURN NULL;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN format('time zone "%s" is not known', left(zone, 100));
END
$$;

COMMENT ON FUNCTION notify._time_zone_problem(text) IS
'What is wrong with a time zone''s name; NULL when nothing is. Internal.';

/*
 * People as a users table has them. rows: the mapped columns; changes: of each
 * row, an object with the columns that changed (the row itself: all of them). A
 * column that is not in a row (it was renamed) is left as it was. No person may
 * come twice. One statement, however many people there are.
 */
CREATE FUNCTION notify._save_people(s notify.recipient_source, rows jsonb[], changes jsonb[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
	channels text[];
	cols text[];
BEGIN
	SELECT array_agg(a.key), array_agg(a.value) INTO channels, cols FROM jsonb_each_text(s.addresses) AS a;
	WITH person AS MATERIALIZED (
		SELECT p.id, p.given, p.changed, p.language, p.zone,
			   CASE WHEN p.language !~ '^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$'
					THEN format('locale "%s" is not a language tag', left(p.language, 100)) END AS language_problem,
			   notify._time_zone_problem(p.zone) AS zone_problem,
			   CASE WHEN s.attributes = '{}' THEN '{}'::jsonb
					ELSE (SELECT coalesce(jsonb_object_agg(u, p.given -> u), '{}')
						  FROM unnest(s.attributes) AS u WHERE p.given ? u) END AS attributes
		FROM (SELECT g.given ->> s.id AS id, g.given, g.changed, nullif(g.given ->> s.locale, '') AS language,
					 nullif(g.given ->> s.time_zone, '') AS zone
			  FROM unnest(rows, changes) AS g (given, changed)) AS p
	), fresh AS (
		INSERT INTO notify.recipient AS r (id, name, locale, time_zone, attributes)
		SELECT p.id, p.given ->> s.name, CASE WHEN p.language_problem IS NULL THEN p.language END,
			   CASE WHEN p.zone_problem IS NULL THEN p.zone END, p.attributes
		FROM person p
		ON CONFLICT ON CONSTRAINT recipient_pkey DO NOTHING
		RETURNING r.id
	), known AS (
		UPDATE notify.recipient r
		SET name = CASE WHEN p.given ? s.name THEN p.given ->> s.name ELSE r.name END,
			locale = CASE WHEN NOT p.given ? s.locale OR s.locale IS NULL THEN r.locale
						  WHEN p.language_problem IS NULL THEN p.language END,
			time_zone = CASE WHEN NOT p.given ? s.time_zone OR s.time_zone IS NULL THEN r.time_zone
							 WHEN p.zone_problem IS NULL THEN p.zone END,
			attributes = r.attributes || p.attributes
		FROM person p
		WHERE r.id = p.id
	), address AS MATERIALIZED (
		SELECT b.id, b.channel, b.changed, b.problem, CASE WHEN b.problem IS NULL THEN b.address END AS address
		FROM (SELECT p.id, a.channel, p.changed ? a.col AS changed, v.address,
					 notify._address_problem(a.channel, v.address) AS problem
			  FROM person p
			  CROSS JOIN unnest(channels, cols) AS a (channel, col)
			  CROSS JOIN LATERAL (SELECT nullif(btrim(p.given ->> a.col, E' \t'), '') AS address) AS v
			  WHERE p.given ? a.col) AS b
	), gone AS (
		DELETE FROM notify.address x USING address a
		WHERE x.recipient = a.id AND x.channel = a.channel AND a.changed
		  AND x.address IS DISTINCT FROM a.address
	), added AS (
		INSERT INTO notify.address (recipient, channel, address)
		SELECT a.id, a.channel, a.address FROM address a
		WHERE a.address IS NOT NULL AND (a.changed OR a.id IN (SELECT f.id FROM fresh f))
		ON CONFLICT ON CONSTRAINT address_pkey DO NOTHING
	), wrong AS MATERIALIZED (
		SELECT p.id, 'locale' AS field, p.language_problem AS problem FROM person p
		WHERE p.language_problem IS NOT NULL
		UNION ALL
		SELECT p.id, 'time_zone', p.zone_problem FROM person p WHERE p.zone_problem IS NOT NULL
		UNION ALL
		SELECT a.id, a.channel, a.problem FROM address a WHERE a.problem IS NOT NULL
	), mended AS (
		DELETE FROM notify.recipient_problem q USING person p
		WHERE q.recipient = p.id
		  AND NOT EXISTS (SELECT FROM wrong w WHERE w.id = q.recipient AND w.field = q.field)
	)
	INSERT INTO notify.recipient_problem AS q (recipient, field, problem)
	SELECT w.id, w.field, w.problem FROM wrong w
	ON CONFLICT ON CONSTRAINT recipient_problem_pkey DO UPDATE
		SET problem = excluded.problem, at = excluded.at WHERE q.problem <> excluded.problem;
END
$$;

COMMENT ON FUNCTION notify._save_people(notify.recipient_source, jsonb[], jsonb[]) IS
'Writes recipients and addresses from a users table''s rows; notes what cannot be used. Internal.';

-- Another id for the same person; false when there is nobody to rename or the new id is taken.
CREATE FUNCTION notify._rename_person(old_id text, new_id text) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
	IF EXISTS (SELECT FROM notify.recipient r WHERE r.id = new_id) THEN
		INSERT INTO notify.recipient_problem (recipient, field, problem)
		SELECT r.id, 'id', format('renamed to "%s", which was there already; this one was left', new_id)
		FROM notify.recipient r WHERE r.id = old_id
		ON CONFLICT (recipient, field) DO UPDATE SET problem = excluded.problem, at = excluded.at;
		RETURN false;
	END IF;
	UPDATE notify.recipient r SET id = new_id WHERE r.id = old_id;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	UPDATE notify.inbox i SET recipient = new_id WHERE i.recipient = old_id;
	-- What was sent once is not sent again because of the new name.
	UPDATE notify.idempotency i SET key = k.new_key
	FROM (SELECT DISTINCT notify._dedupe_key(v.rule, old_id, m.dedupe_key) AS old_key,
				 notify._dedupe_key(v.rule, new_id, m.dedupe_key) AS new_key
		  FROM (SELECT old_id AS person, 9223372036854775807 AS until
				UNION ALL
				SELECT f.former, f.until FROM notify.recipient_former f WHERE f.recipient = new_id) AS p
		  JOIN notify.message m ON m.recipient = p.person AND m.event <= p.until
		  JOIN notify.rule_version v ON v.id = m.rule
		  WHERE m.dedupe_key IS NOT NULL) AS k
	WHERE i.key = k.old_key AND NOT EXISTS (SELECT FROM notify.idempotency o WHERE o.key = k.new_key);
	INSERT INTO notify.recipient_former (recipient, former, until)
	VALUES (new_id, old_id, notify._next_id());
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._rename_person(text, text) IS
'Gives a recipient another id, with addresses, inbox and dedupe keys; false when it cannot. Internal.';

/*
 * What the trigger found: an inserted row (old NULL), a deleted one (new NULL),
 * or what changed (old holds the changed columns as they were). incomplete: not
 * every mapped column is in new; truncated: because the row was too large.
 */
CREATE FUNCTION notify._sync_person(source oid, new jsonb, old jsonb, incomplete boolean, truncated boolean) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	s notify.recipient_source;
	was text;
	now text;
	missing text;
BEGIN
	SELECT * INTO s FROM notify.recipient_source q WHERE q.relation = source;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	now := nullif(new ->> s.id, '');
	was := nullif(CASE WHEN new IS NULL OR old ? s.id THEN old ->> s.id
					   WHEN old IS NOT NULL THEN new ->> s.id END, '');
	IF new IS NOT NULL THEN
		IF incomplete AND NOT truncated THEN
			SELECT format('column "%s" of table %s does not exist', min(c), s.relation) INTO missing
			FROM unnest(notify._recipient_columns(s)) AS c WHERE NOT new ? c HAVING count(*) > 0;
		END IF;
		IF missing IS NULL AND octet_length(now) > 500 THEN
			missing := format('an id in column "%s" is longer than 500 bytes', s.id);
			now := NULL;
		END IF;
		IF missing IS NOT NULL THEN
			PERFORM notify._note_source_problem(source, missing);
		END IF;
		IF NOT new ? s.id THEN
			RETURN;
		END IF;
	END IF;
	IF was IS NOT NULL AND now IS NULL THEN
		PERFORM notify.erase_recipient(was);
	ELSIF was <> now AND NOT notify._rename_person(was, now) THEN
		old := NULL;
	END IF;
	IF now IS NOT NULL THEN
		PERFORM notify._save_people(s, ARRAY[new], ARRAY[coalesce(old, new)]);
		IF truncated THEN
			INSERT INTO notify.recipient_problem (recipient, field, problem)
			VALUES (now, 'row', 'the mapped columns are over notify_pg.event_row_limit; all but the id were left as they were')
			ON CONFLICT DO NOTHING;
		END IF;
	END IF;
END
$$;

COMMENT ON FUNCTION notify._sync_person(oid, jsonb, jsonb, boolean, boolean) IS
'Follows one change of a users table. Internal.';

/*
 * Many at once: rows inserted or changed, in order, none of them with another id
 * than before. olds: NULL for an inserted row, else the columns that changed.
 */
CREATE FUNCTION notify._sync_people(source oid, news jsonb[], olds jsonb[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s notify.recipient_source;
	plain boolean;
BEGIN
	SELECT * INTO s FROM notify.recipient_source q WHERE q.relation = source;
	SELECT count(DISTINCT u ->> s.id) = count(*) AND coalesce(bool_and(octet_length(u ->> s.id) BETWEEN 1 AND 500), false)
	INTO plain FROM unnest(news) AS u;
	IF plain THEN
		PERFORM notify._save_people(s, news, ARRAY(SELECT coalesce(u.old, u.new)
												   FROM unnest(news, olds) WITH ORDINALITY AS u (new, old, n)
												   ORDER BY u.n));
	ELSE
		PERFORM notify._sync_person(source, u.new, u.old, false, false)
		FROM unnest(news, olds) WITH ORDINALITY AS u (new, old, n);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._sync_people(oid, jsonb[], jsonb[]) IS
'Follows inserted and changed rows of a users table. Internal.';

CREATE FUNCTION notify._sync_recipient() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'notify_sync_recipient';

COMMENT ON FUNCTION notify._sync_recipient() IS
'Row and statement trigger of attached users tables; created by notify.attach_recipients(). Internal.';

/*
 * The row trigger is cloned onto partitions by PostgreSQL. A TRUNCATE fires the
 * triggers of every table it empties, so each has that one; the statement
 * trigger is needed where rows are saved up. As capture does (capture.sql),
 * triggers are put on what is there and, by the event trigger, on what comes.
 */
CREATE FUNCTION notify._put_recipient_triggers(source regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	sync oid := 'notify._sync_recipient()'::regprocedure;
	always boolean;
	child record;
	made record;
BEGIN
	FOR child IN
		SELECT t.relation, c.relispartition AND t.depth > 0 AS is_partition
		FROM notify._tree(source) AS t JOIN pg_class c ON c.oid = t.relation
	LOOP
		-- Triggers fire in order of name: first, so that what the app's own write comes after.
		FOR made IN
			SELECT * FROM (VALUES (1, 1, '"00_notify_sync_recipient" AFTER INSERT OR UPDATE OR DELETE', 'ROW'),
								  (37, 4, '"00_notify_sync_recipients" AFTER INSERT OR UPDATE', 'STATEMENT'),
								  (32, 32, '"00_notify_truncate_recipients" BEFORE TRUNCATE', 'STATEMENT')) AS v (mask, bits, words, each)
			WHERE NOT EXISTS (SELECT FROM pg_trigger t
							  WHERE t.tgrelid = child.relation AND t.tgfoid = sync AND t.tgtype & v.mask = v.bits)
			  AND NOT (child.is_partition AND v.bits = 4)
		LOOP
			PERFORM notify._drop_own_triggers(child.relation, sync) WHERE made.bits = 1;
			EXECUTE format('CREATE TRIGGER %s ON %s FOR EACH %s EXECUTE FUNCTION notify._sync_recipient()',
						   made.words, child.relation, made.each);
		END LOOP;
		always := (SELECT s.on_replica FROM notify.recipient_source s
				   WHERE s.relation = (SELECT o.source FROM notify._recipient_source_of(child.relation) AS o));
		FOR made IN
			SELECT t.tgname FROM pg_trigger t
			WHERE t.tgrelid = child.relation AND t.tgfoid = sync
			  AND t.tgenabled = CASE WHEN always THEN 'O' ELSE 'A' END
		LOOP
			EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', child.relation,
						   CASE WHEN always THEN 'ALWAYS' END, made.tgname);
		END LOOP;
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._put_recipient_triggers(regclass) IS
'Puts the triggers that are missing on an attached users table, its partitions and its children, firing as recipient_source.on_replica says. Internal.';

-- One cloned from a parent goes with the parent's; what another source needs is put back.
CREATE FUNCTION notify._drop_recipient_triggers() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stray record;
BEGIN
	FOR stray IN
		SELECT t.tgrelid::regclass AS relation, t.tgname FROM pg_trigger t
		WHERE t.tgfoid = 'notify._sync_recipient()'::regprocedure AND t.tgparentid = 0
		  AND NOT EXISTS (SELECT FROM notify._recipient_source_of(t.tgrelid))
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', stray.tgname, stray.relation);
	END LOOP;
	PERFORM notify._put_recipient_triggers(s.relation) FROM notify.recipient_source s
	WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = s.relation AND t.tgtype & 1 <> 0
						AND t.tgfoid = 'notify._sync_recipient()'::regprocedure);
END
$$;

COMMENT ON FUNCTION notify._drop_recipient_triggers() IS
'Takes the triggers off tables that no attached users table needs them on. Internal.';

-- A relation was made or altered: the users tables at, above and below it.
CREATE FUNCTION notify._users_table_changed(relation oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s notify.recipient_source;
BEGIN
	FOR s IN
		SELECT * FROM notify.recipient_source x
		WHERE x.relation IN (SELECT o.source FROM notify._recipient_source_of(_users_table_changed.relation) AS o)
		   OR x.relation IN (SELECT t.relation FROM notify._tree(_users_table_changed.relation) AS t)
	LOOP
		PERFORM notify._put_recipient_triggers(s.relation);
		BEGIN
			PERFORM notify._check_recipient_mapping(s), notify._check_recipient_key(s.relation, s.id);
			PERFORM notify._note_source_problem(s.relation, NULL) WHERE s.problem LIKE '% is not unique';
		EXCEPTION
			WHEN lock_not_available OR deadlock_detected THEN NULL;
			WHEN OTHERS THEN PERFORM notify._note_source_problem(s.relation, sqlerrm);
		END;
	END LOOP;
	IF EXISTS (SELECT FROM notify.recipient_source) THEN
		PERFORM notify._drop_recipient_triggers();
	END IF;
END
$$;

COMMENT ON FUNCTION notify._users_table_changed(oid) IS
'Follows a table that was made or altered: triggers, and what is wrong with the users tables it concerns. Internal.';

-- What a change of on_replica asks of the triggers.
CREATE FUNCTION notify._recipient_source_saved() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._put_recipient_triggers(NEW.relation);
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._recipient_source_saved() IS 'Makes a users table''s triggers fire as its source says. Internal.';

CREATE TRIGGER recipient_source_saved AFTER UPDATE OF on_replica ON notify.recipient_source
	FOR EACH ROW WHEN (NEW.on_replica <> OLD.on_replica) EXECUTE FUNCTION notify._recipient_source_saved();

-- Takes over everybody who is there, 5,000 rows at a time in order of id.
CREATE FUNCTION notify._backfill_recipients(s notify.recipient_source) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(notify._recipient_columns(s)) AS c);
	id_type text := (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
					 WHERE a.attrelid = s.relation AND a.attname = s.id);
	first text := format('SELECT ARRAY(SELECT to_jsonb(u) FROM (SELECT %s FROM %s WHERE %I IS NOT NULL ORDER BY %I LIMIT 5000) AS u)',
						 wanted, s.relation, s.id, s.id);
	following text := replace(first, format('%I IS NOT NULL', s.id), format('%I > $1::%s', s.id, id_type));
	chunk jsonb[];
	usable jsonb[];
	people bigint := 0;
BEGIN
	EXECUTE first INTO chunk;
	WHILE cardinality(chunk) > 0
	LOOP
		usable := ARRAY(SELECT DISTINCT ON (u ->> s.id) u FROM unnest(chunk) AS u
						WHERE octet_length(u ->> s.id) BETWEEN 1 AND 500);
		PERFORM notify._save_people(s, usable, usable);
		people := people + cardinality(usable);
		EXECUTE following INTO chunk USING chunk[cardinality(chunk)] ->> s.id;
	END LOOP;
	RETURN people;
END
$$;

COMMENT ON FUNCTION notify._backfill_recipients(notify.recipient_source) IS
'Saves everybody a users table holds; gives how many. Internal.';

CREATE FUNCTION notify.attach_recipients(relation regclass, id text, name text DEFAULT NULL, locale text DEFAULT NULL,
										 time_zone text DEFAULT NULL, addresses jsonb DEFAULT '{}',
										 attributes text[] DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	saved notify.recipient_source;
BEGIN
	INSERT INTO notify.recipient_source AS s (relation, id, name, locale, time_zone, addresses, attributes)
	VALUES (attach_recipients.relation, attach_recipients.id, attach_recipients.name, attach_recipients.locale,
			attach_recipients.time_zone, coalesce(attach_recipients.addresses, '{}'),
			coalesce(attach_recipients.attributes, '{}'))
	ON CONFLICT ON CONSTRAINT recipient_source_pkey DO UPDATE
		SET id = excluded.id, name = excluded.name, locale = excluded.locale, time_zone = excluded.time_zone,
			addresses = excluded.addresses, attributes = excluded.attributes, attached_at = clock_timestamp()
	RETURNING s.* INTO saved;
	-- Also for the lock it takes: writers are kept out until the people who are there are taken over.
	EXECUTE format('CREATE OR REPLACE TRIGGER "00_notify_sync_recipients" AFTER INSERT OR UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION notify._sync_recipient()',
				   relation);
	PERFORM notify._put_recipient_triggers(relation);
	RETURN notify._backfill_recipients(saved);
END
$$;

COMMENT ON FUNCTION notify.attach_recipients(regclass, text, text, text, text, jsonb, text[]) IS
'Makes notify.recipient and notify.address follow a users table: takes over everybody who is there, then every change. id, name, locale, time_zone: the columns that say so (id must be unique). addresses: channel to column, such as {"email": "mail"}. attributes: columns kept in recipient.attributes. Another id renames the recipient; a deleted row erases the person (erase_recipient). A value that cannot be used never fails the statement: it is left out, see notify.recipient_problem. Readers go on, writers of the table wait until the calling transaction ends (SHARE ROW EXCLUSIVE). Needs TRIGGER on the table and SELECT on the columns. Attaching again replaces the mapping. Gives the number of people.';

CREATE FUNCTION notify.detach_recipients(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM notify.recipient_source s WHERE s.relation = detach_recipients.relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'recipients do not follow table %', detach_recipients.relation
			USING ERRCODE = 'undefined_object',
				  HINT = 'notify.recipient_source lists the tables they follow.';
	END IF;
	PERFORM notify._drop_recipient_triggers();
END
$$;

COMMENT ON FUNCTION notify.detach_recipients(regclass) IS
'Ends attach_recipients(). The people taken over stay. 42704 when the table is not attached.';

/*
 * What the logs hold of a person, except events of which a message is still
 * being sent, or waits to be sent to someone else: notify.erasure remembers.
 */
CREATE FUNCTION notify._erase_logs(person text, until bigint) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	mine bigint[];
	events bigint[];
	xids xid8[];
	stopped bigint[];
	keys bigint;
	items bigint;
	messages bigint;
	happened bigint;
	outcomes bigint;
BEGIN
	DELETE FROM notify.audience a WHERE (a.candidate).recipient = person AND (a.candidate).event <= until;
	mine := ARRAY(SELECT m.id FROM notify.message m WHERE m.recipient = person AND m.event <= until);
	WITH waiting AS (
		DELETE FROM notify.scheduled s WHERE s.message = ANY (mine) RETURNING s.message, s.step
	), due AS (
		DELETE FROM notify.ready r
		WHERE r.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.ready q
								  WHERE q.message = ANY (mine) AND q.owner IS NULL
								  FOR UPDATE SKIP LOCKED))
		RETURNING r.message
	)
	SELECT array_agg(u.message) INTO stopped
	FROM (SELECT w.message FROM waiting w WHERE w.step = 0 UNION ALL TABLE due) AS u;
	INSERT INTO notify.outcome (message, verdict, reason)
	SELECT u, 'cancelled', 'erased' FROM unnest(stopped) AS u;
	SELECT array_agg(m.id), array_agg(m.event), array_agg(m.event_xid) INTO mine, events, xids
	FROM notify.message m
	WHERE m.id = ANY (mine)
	  AND NOT EXISTS (SELECT FROM notify.message o
					  WHERE o.event = m.event
						AND (EXISTS (SELECT FROM notify.ready r WHERE r.message = o.id)
							 OR EXISTS (SELECT FROM notify.scheduled w WHERE w.message = o.id)));
	DELETE FROM notify.idempotency i
	WHERE i.key IN (SELECT notify._dedupe_key(v.rule, person, m.dedupe_key)
					FROM notify.message m JOIN notify.rule_version v ON v.id = m.rule
					WHERE m.id = ANY (mine) AND m.dedupe_key IS NOT NULL)
	   OR i.event = ANY (events) AND i.key LIKE 'send/%';
	GET DIAGNOSTICS keys = ROW_COUNT;
	DELETE FROM notify.inbox i WHERE i.message = ANY (mine);
	GET DIAGNOSTICS items = ROW_COUNT;
	UPDATE notify.outcome o SET detail = NULL, reference = NULL
	WHERE o.message = ANY (mine) AND (o.detail IS NOT NULL OR o.reference IS NOT NULL);
	GET DIAGNOSTICS outcomes = ROW_COUNT;
	UPDATE notify.event e
	SET new = NULL, old = NULL, recipient = NULL,
		recipients = array_replace(e.recipients, person, ''), dedupe_keys = NULL, undecided = NULL,
		key = nullif(e.key, person)
	FROM unnest(xids, events) AS u (xid, id)
	WHERE e.xid = u.xid AND e.id = u.id;
	GET DIAGNOSTICS happened = ROW_COUNT;
	UPDATE notify.message m
	SET recipient = NULL, address = NULL, context = NULL, detail = NULL, dedupe_key = NULL,
		key = nullif(m.key, person)
	WHERE m.id = ANY (mine);
	GET DIAGNOSTICS messages = ROW_COUNT;
	RETURN jsonb_build_object('cancelled', coalesce(cardinality(stopped), 0), 'messages', messages,
							  'events', happened, 'outcomes', outcomes, 'idempotency', keys, 'inbox', items);
END
$$;

COMMENT ON FUNCTION notify._erase_logs(text, bigint) IS
'Takes a person out of the logs, up to an event id, as far as nothing of it is being sent; cancels what is not sent yet. Gives counts. Internal.';

-- Adds up counts of _erase_logs.
CREATE FUNCTION notify._add_counts(a jsonb, b jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_object_agg(k.key, coalesce((a ->> k.key)::bigint, 0) + coalesce((b ->> k.key)::bigint, 0))
	FROM (SELECT jsonb_object_keys(a) UNION SELECT jsonb_object_keys(b)) AS k (key);
$$;

COMMENT ON FUNCTION notify._add_counts(jsonb, jsonb) IS 'Two objects of numbers, added by name. Internal.';

CREATE FUNCTION notify.erase_recipient(id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	now_id bigint := notify._next_id();
	counts jsonb := '{"recipient": 0, "addresses": 0, "inbox": 0}';
	part record;
	gone bigint;
BEGIN
	FOR part IN
		SELECT f.former AS person, f.until FROM notify.recipient_former f WHERE f.recipient = erase_recipient.id
		UNION ALL
		SELECT erase_recipient.id, now_id
	LOOP
		counts := notify._add_counts(counts, notify._erase_logs(part.person, part.until));
		INSERT INTO notify.erasure (recipient, until) VALUES (part.person, part.until)
		ON CONFLICT DO NOTHING;
	END LOOP;
	DELETE FROM notify.inbox i WHERE i.recipient = erase_recipient.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	counts := notify._add_counts(counts, jsonb_build_object('inbox', gone));
	DELETE FROM notify.address a WHERE a.recipient = erase_recipient.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	counts := notify._add_counts(counts, jsonb_build_object('addresses', gone));
	DELETE FROM notify.attachment a WHERE a.recipient = erase_recipient.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	counts := notify._add_counts(counts, jsonb_build_object('attachments', gone));
	DELETE FROM notify.recipient r WHERE r.id = erase_recipient.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN notify._add_counts(counts, jsonb_build_object('recipient', gone));
END
$$;

COMMENT ON FUNCTION notify.erase_recipient(text) IS
'Forgets a person: deletes recipient, addresses, attachments that are theirs, inbox and idempotency keys, cancels what is not sent, and empties what the logs hold of them (also under ids they had before): that something was sent stays, not to whom or what. What is being sent at this moment, and events not yet planned, follow within a minute. An event about them that only others were told of stays until notify_pg.retention. Gives counts.';

-- Erases what could not be when the person was; called by the planner's upkeep.
CREATE FUNCTION notify._finish_erasures() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	e notify.erasure;
	finished integer := 0;
BEGIN
	FOR e IN SELECT * FROM notify.erasure ORDER BY until LIMIT 1000 FOR UPDATE SKIP LOCKED
	LOOP
		PERFORM notify._erase_logs(e.recipient, e.until);
		DELETE FROM notify.erasure d
		WHERE d.recipient = e.recipient AND d.until = e.until
		  AND pg_visible_in_snapshot(e.xid, (notify._cursor()).snap)
		  AND NOT EXISTS (SELECT FROM notify.backlog b WHERE b.at_id < e.until)
		  AND NOT EXISTS (SELECT FROM notify.message m WHERE m.recipient = e.recipient AND m.event <= e.until);
		finished := finished + FOUND::integer;
	END LOOP;
	RETURN finished;
END
$$;

COMMENT ON FUNCTION notify._finish_erasures() IS
'Takes erased people out of what was being sent or not planned when they were erased; gives how many are done. Internal.';

-- The words of a message, or NULL when they cannot be rendered any more.
CREATE FUNCTION notify._content(message bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT jsonb_strip_nulls(to_jsonb(c)) FROM notify.content(message) AS c);
EXCEPTION WHEN OTHERS THEN
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._content(bigint) IS 'notify.content() as jsonb; NULL instead of an error. Internal.';

CREATE FUNCTION notify.export_recipient(id text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN jsonb_build_object(
		'recipient', (SELECT to_jsonb(r) FROM notify.recipient r WHERE r.id = export_recipient.id),
		'former_ids', (SELECT coalesce(jsonb_agg(f.former ORDER BY f.until), '[]') FROM notify.recipient_former f
					   WHERE f.recipient = export_recipient.id),
		'addresses', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'recipient' ORDER BY a.channel, a.address), '[]')
					  FROM notify.address a WHERE a.recipient = export_recipient.id),
		'preferences', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'recipient' ORDER BY p.category, p.channel), '[]')
						FROM notify.preference p WHERE p.recipient = export_recipient.id),
		'attachments', (SELECT coalesce(jsonb_agg(jsonb_build_object(
							'name', a.name, 'content_type', a.content_type, 'filename', a.filename, 'bytes', octet_length(a.content),
							'sha256', encode(a.sha256, 'hex'), 'created_at', a.created_at, 'expires_at', a.expires_at) ORDER BY a.name), '[]')
						FROM notify.attachment a WHERE a.recipient = export_recipient.id),
		'inbox', (SELECT coalesce(jsonb_agg(to_jsonb(i) - 'recipient' ORDER BY i.id), '[]')
				  FROM notify.inbox i WHERE i.recipient = export_recipient.id),
		'messages', (SELECT coalesce(jsonb_agg(jsonb_build_object(
						 'message', m.id, 'decided_at', notify.id_time(m.id), 'channel', m.channel,
						 'address', m.address, 'category', m.category, 'template', m.template,
						 'verdict', m.verdict, 'reason', m.reason, 'context', m.context,
						 'content', CASE WHEN m.verdict = 'send' THEN notify._content(m.id) END,
						 'event', (SELECT jsonb_build_object('id', e.id, 'type', e.type, 'key', e.key,
															 'new', e.new, 'old', e.old)
								   FROM notify.event e WHERE e.xid = m.event_xid AND e.id = m.event),
						 'outcomes', (SELECT coalesce(jsonb_agg(to_jsonb(o) - 'message' ORDER BY o.at), '[]')
									  FROM notify.outcome o WHERE o.message = m.id)) ORDER BY m.id), '[]')
					 FROM notify.message m
					 JOIN (SELECT f.former AS person, f.until FROM notify.recipient_former f
						   WHERE f.recipient = export_recipient.id
						   UNION ALL
						   SELECT export_recipient.id, 9223372036854775807) AS names
					   ON m.recipient = names.person AND m.event <= names.until));
END
$$;

COMMENT ON FUNCTION notify.export_recipient(text) IS
'Everything held of a person, for the person: recipient, addresses, attachments (their contents are in notify.attachment), inbox, and each message with its words, data and outcomes. Also what went to ids they had before. recipient is null for an unknown id.';

-- What sources, rules and mappings rely on comes and goes (capture.sql). Only from here on are all of these tables there.
CREATE EVENT TRIGGER notify_watch_ddl ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE FUNCTION', 'ALTER FUNCTION',
				 'ALTER ROUTINE', 'CREATE OPERATOR', 'CREATE TYPE', 'ALTER TYPE', 'CREATE VIEW', 'ALTER VIEW',
				 'CREATE MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW')
	EXECUTE FUNCTION notify._watch_ddl();
CREATE EVENT TRIGGER notify_watch_triggers ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER')
	EXECUTE FUNCTION notify._watch_triggers();
CREATE EVENT TRIGGER notify_before_attach ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
	EXECUTE FUNCTION notify._before_attach();
CREATE EVENT TRIGGER notify_watch_drop ON sql_drop EXECUTE FUNCTION notify._watch_drop();
COMMENT ON EVENT TRIGGER notify_watch_ddl IS 'Keeps capture on new children of attached tables, and notices what breaks or mends sources and rules.';
COMMENT ON EVENT TRIGGER notify_watch_triggers IS 'Notices that an attached table has its triggers again.';
COMMENT ON EVENT TRIGGER notify_before_attach IS 'Lets a table that is attached on its own become a partition of an attached one.';
COMMENT ON EVENT TRIGGER notify_watch_drop IS 'Forgets attached tables that are dropped, and notices what breaks rules.';
