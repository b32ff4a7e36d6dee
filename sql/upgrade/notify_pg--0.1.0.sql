
-- sql/schema.sql
/*
 * schema.sql
 *		Roles and the few facts every other file leans on.
 *
 * The schema "notify" is made by CREATE EXTENSION itself (notify_pg.control).
 * Roles belong to the cluster, not to the database, so they are made only
 * where they are missing and are never dropped with the extension.
 */
\echo Use "CREATE EXTENSION notify_pg" to load this file. \quit

DO $$
DECLARE
	role text;
BEGIN
	FOREACH role IN ARRAY ARRAY['notify_admin', 'notify_app', 'notify_report']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
		END IF;
	END LOOP;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'notify_worker') THEN
		-- No password: a background worker needs none, and nobody else can use it.
		CREATE ROLE notify_worker LOGIN PASSWORD NULL;
	END IF;
END
$$;

COMMENT ON SCHEMA notify IS
'notify_pg: turns changes in this database''s tables into notifications.';

-- The words a channel may have. Providers say how each is served.
CREATE FUNCTION notify._check_channel(channel text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF channel IS NULL
		OR channel NOT IN ('inbox', 'email', 'sms', 'push', 'webhook', 'chat') THEN
		RAISE EXCEPTION 'unknown channel "%"', channel
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'The channels are fixed; providers say how each is served.',
				  HINT = 'A channel is one of inbox, email, sms, push, webhook, chat.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_channel(text) IS
'Raises 22023 unless the word names a channel. Internal.';

-- Why a message was not sent, failed or was stopped, in words.
CREATE TABLE notify.reason (
	code		text PRIMARY KEY,
	verdict		text NOT NULL,
	meaning		text NOT NULL
);

INSERT INTO notify.reason (code, verdict, meaning) VALUES
	('no_recipient', 'skipped', 'The recipient expression gave NULL, or the audience gave nobody.'),
	('unknown_recipient', 'skipped', 'No row in notify.recipient has this id.'),
	('no_channel', 'skipped', 'Neither the rule nor its category names a channel.'),
	('no_address', 'skipped', 'The recipient has no address on this channel.'),
	('address_invalid', 'skipped', 'The only addresses on this channel are marked invalid: a provider said for good that they reach nobody.'),
	('no_template', 'skipped', 'The template has no words for this channel in the recipient''s locale chain, nor for locale "default".'),
	('no_provider', 'skipped', 'No enabled provider serves this channel.'),
	('duplicate', 'skipped', 'A message with this dedupe key was planned before for the same rule and recipient.'),
	('rule_off', 'skipped', 'The rule was switched off or deleted after the event was captured.'),
	('audience_error', 'skipped', 'The rule''s audience query raised an error; detail has it.'),
	('context_error', 'skipped', 'The rule''s context query raised an error; detail has it.'),
	('plan_error', 'skipped', 'Planning the event raised an error; detail has it.'),
	('row_too_large', 'skipped', 'The row was over notify_pg.event_row_limit, so its columns were not kept and the template cannot be filled.'),
	('cancelled', 'cancelled', 'A cancel rule or notify.cancel() stopped the message before it was sent.'),
	('condition_error', 'skipped', 'An expression of the rule raised an error on this row, so it is not decided; repair the rule and replay.'),
	('expired', 'expired', 'The message was not sent before it expired.'),
	('redriven', 'retrying', 'notify.redrive() put it back into the queue.'),
	('ambiguous', 'failed', 'A dispatcher died while it was sending, and the category is at_most_once: whether it arrived is not known.'),
	('attempts', 'dead', 'The provider''s max_attempts were used up.'),
	('late', 'dead', 'The next attempt would have come after the message expired.');

COMMENT ON TABLE notify.reason IS
'Every reason code of our own decisions, in words. Read-only.';
COMMENT ON COLUMN notify.reason.code IS 'As in message.reason and outcome.reason.';
COMMENT ON COLUMN notify.reason.verdict IS 'The verdict the reason comes with.';
COMMENT ON COLUMN notify.reason.meaning IS 'What it means, in a sentence.';

-- sql/id.sql
/*
 * id.sql
 *		Ids that carry their time, and the partitions they lead to.
 *
 * An id is 64 bits: unix milliseconds << 20 | a sequence's low 20 bits. A log
 * is partitioned by id on UTC day boundaries, so an id alone finds its day.
 * A partition is a member of the extension, so pg_dump leaves the logs alone.
 */
CREATE SEQUENCE notify.id_seq;

COMMENT ON SEQUENCE notify.id_seq IS
'The low 20 bits of every id. Never set it back.';

CREATE FUNCTION notify.id_time(id bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.to_timestamp((id >> 20)::double precision / 1000.0);

COMMENT ON FUNCTION notify.id_time(bigint) IS
'The wall-clock time an id was made, to the millisecond. NULL for NULL.';

CREATE FUNCTION notify.time_id(at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (extract(epoch FROM at) * 1000)::bigint << 20;

COMMENT ON FUNCTION notify.time_id(timestamptz) IS
'The lowest id that could be made at this time: compare ids with it to search the logs by time. NULL for NULL.';

-- The logs that have daily partitions.
CREATE FUNCTION notify._logs() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['event', 'message', 'outcome'];

COMMENT ON FUNCTION notify._logs() IS 'The partitioned logs. Internal.';

CREATE FUNCTION notify._day_start(day date) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN notify.time_id(day::timestamp AT TIME ZONE 'UTC');

COMMENT ON FUNCTION notify._day_start(date) IS 'The lowest id of a UTC day. Internal.';

/*
 * Makes one day's partition of one log: stand-alone first, with its CHECK,
 * then attached, so that the parent is locked for a moment only. A day whose
 * rows already fell into the default partition stays there.
 */
CREATE FUNCTION notify._make_partition(log text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '20ms'
SET client_min_messages = warning
AS $$
DECLARE
	leaf text := log || '_' || to_char(day, 'YYYYMMDD');
	low bigint := notify._day_start(day);
	high bigint := notify._day_start(day + 1);
	col text := CASE log WHEN 'outcome' THEN 'message' ELSE 'id' END;
	taken boolean;
BEGIN
	IF to_regclass('notify.' || leaf) IS NOT NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM notify.%I WHERE %I >= $1 AND %I < $2)',
				   log || '_default', col, col)
		INTO taken USING low, high;
	IF taken THEN
		RETURN false;
	END IF;
	EXECUTE format('CREATE TABLE notify.%I (LIKE notify.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE, CHECK (%I >= %s AND %I < %s))',
				   leaf, log, col, low, col, high);
	EXECUTE format('ALTER TABLE notify.%I ATTACH PARTITION notify.%I FOR VALUES FROM (%s) TO (%s)',
				   log, leaf, low, high);
	IF NOT EXISTS (SELECT FROM pg_depend
				   WHERE classid = 'pg_class'::regclass
					 AND objid = to_regclass('notify.' || leaf) AND deptype = 'e') THEN
		EXECUTE format('ALTER EXTENSION notify_pg ADD TABLE notify.%I', leaf);
	END IF;
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._make_partition(text, date) IS
'Makes and attaches a log''s partition for a UTC day; false if it is there or the day is in the default partition. Internal.';

-- Today and a week ahead. A lock it cannot have in 20 ms is left for the next call.
CREATE FUNCTION notify._make_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
	made integer := 0;
	log text;
BEGIN
	FOREACH log IN ARRAY notify._logs()
	LOOP
		FOR ahead IN 0..7
		LOOP
			BEGIN
				made := made + notify._make_partition(log, today + ahead)::integer;
			EXCEPTION WHEN lock_not_available THEN
				NULL;
			END;
		END LOOP;
	END LOOP;
	RETURN made;
END
$$;

COMMENT ON FUNCTION notify._make_partitions() IS
'Makes the partitions of today and the seven days after it; returns how many it made. Internal.';

-- The day partitions that exist, oldest first.
CREATE FUNCTION notify._partitions(log text) RETURNS TABLE (leaf text, day date)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.relname::text, to_date(right(c.relname, 8), 'YYYYMMDD')
	FROM pg_inherits i
	JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = to_regclass('notify.' || log)
	  AND c.relname ~ '_[0-9]{8}$'
	ORDER BY 2;
$$;

COMMENT ON FUNCTION notify._partitions(text) IS
'A log''s day partitions, oldest first. Internal.';

-- sql/process.sql
-- process.sql: the clock, and what the workers are doing.

CREATE FUNCTION notify.now() RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_sql_now';
COMMENT ON FUNCTION notify.now() IS
    'The time schedules go by: the wall clock moved by notify_pg.clock_offset.';

CREATE FUNCTION notify._preloaded() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_sql_preloaded';
COMMENT ON FUNCTION notify._preloaded() IS
    'Whether the server loaded notify_pg at its start (shared_preload_libraries), so that workers run.';

CREATE FUNCTION notify._workers(
    OUT kind text, OUT slot integer, OUT pid integer, OUT database oid, OUT state text,
    OUT started_at timestamptz, OUT generation bigint, OUT loops bigint, OUT last_error text,
    OUT planned bigint, OUT readied bigint, OUT claimed bigint, OUT sent bigint, OUT settled bigint,
    OUT refused bigint, OUT failed bigint, OUT in_flight bigint, OUT max_in_flight bigint,
    OUT last_error_at timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'notify_sql_workers';
COMMENT ON FUNCTION notify._workers() IS
    'The launcher and this database''s workers, wanted or running: state is waiting (to be started), starting, running or exited; counters grow over restarts.';

-- sql/instance.sql
/*
 * instance.sql
 *		Whether this database may send at all.
 *
 * A copy of a database must not send what the original sends. notify.origin
 * says where this database was armed and is dumped with the configuration, so
 * a restored or cloned database finds a row there that is not its own and is
 * held, whatever order the restore worked in, until notify.arm(). A copy of
 * the files (a base backup on another machine) looks the same from inside;
 * notify_pg.guard = host tells those apart by the hosts that were armed.
 * Held means that nothing is claimed; capture and planning go on.
 */
CREATE FUNCTION notify._here(OUT system_identifier bigint, OUT database oid, OUT host text)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'notify_here';

COMMENT ON FUNCTION notify._here() IS
'The cluster''s system identifier, this database''s oid, and this host: notify_pg.host_id or its name. Internal.';

CREATE TABLE notify.instance (
	one			boolean PRIMARY KEY DEFAULT true CHECK (one),
	mode		text NOT NULL DEFAULT 'live' CHECK (mode IN ('live', 'hold')),
	reason		text,
	hosts		text[] NOT NULL DEFAULT '{}',
	changed_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	changed_by	text NOT NULL DEFAULT session_user
);

COMMENT ON TABLE notify.instance IS 'Whether this database sends. One row, written by notify.arm() and notify.hold().';
COMMENT ON COLUMN notify.instance.one IS 'True: there is one row.';
COMMENT ON COLUMN notify.instance.mode IS 'live; or hold: nothing is sent until notify.arm(). notify_pg.mode may only restrict it.';
COMMENT ON COLUMN notify.instance.reason IS 'Why it is held; NULL when it is not.';
COMMENT ON COLUMN notify.instance.hosts IS 'Hosts armed so far, looked at when notify_pg.guard = host.';
COMMENT ON COLUMN notify.instance.changed_at IS 'When that was said.';
COMMENT ON COLUMN notify.instance.changed_by IS 'Who said it.';

-- No key: a restore may bring the row that CREATE EXTENSION has just made.
CREATE TABLE notify.origin (
	system_identifier bigint NOT NULL,
	database	oid NOT NULL,
	armed_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	armed_by	text NOT NULL DEFAULT session_user
);

COMMENT ON TABLE notify.origin IS 'Where this database was armed. A row that does not fit means it is a copy, and held.';
COMMENT ON COLUMN notify.origin.system_identifier IS 'The cluster, as in pg_control_system().';
COMMENT ON COLUMN notify.origin.database IS 'pg_database.oid there.';
COMMENT ON COLUMN notify.origin.armed_at IS 'When.';
COMMENT ON COLUMN notify.origin.armed_by IS 'By whom.';

INSERT INTO notify.instance DEFAULT VALUES;
INSERT INTO notify.origin (system_identifier, database) SELECT h.system_identifier, h.database FROM notify._here() AS h;

CREATE FUNCTION notify._is_copy() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	here record;
BEGIN
	SELECT * INTO here FROM notify._here();
	RETURN EXISTS (SELECT FROM notify.origin o
				   WHERE (o.system_identifier, o.database) <> (here.system_identifier, here.database));
END
$$;

COMMENT ON FUNCTION notify._is_copy() IS
'Whether this database was restored or cloned from one that was armed elsewhere, and not armed since. Internal.';

CREATE FUNCTION notify._held() RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	i notify.instance;
BEGIN
	IF current_setting('notify_pg.mode') = 'hold' THEN
		RETURN 'notify_pg.mode is hold';
	END IF;
	IF notify._is_copy() THEN
		RETURN 'this database is a copy of one that was armed elsewhere; SELECT notify.arm() when it is to send';
	END IF;
	SELECT * INTO i FROM notify.instance;
	IF i.mode = 'hold' THEN
		RETURN coalesce(i.reason, 'notify.hold()');
	END IF;
	IF current_setting('notify_pg.guard') = 'host' AND (notify._here()).host <> ALL (i.hosts) THEN
		RETURN format('host "%s" was never armed; SELECT notify.arm() when it is to send', (notify._here()).host);
	END IF;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._held() IS 'Why nothing is sent; NULL when it is. Internal.';

CREATE FUNCTION notify.arm() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	here record;
	problems text[];
BEGIN
	PERFORM notify._put_triggers(s.relation), notify._recheck_source(s.relation) FROM notify.source s;
	PERFORM notify._recheck_rules(ARRAY(SELECT r.name FROM notify.rule r));
	SELECT array_agg(p.problem) INTO problems
	FROM (SELECT format('rule %s: %s', r.name, r.problem) FROM notify.rule r WHERE r.problem IS NOT NULL AND r.enabled
		  UNION ALL
		  SELECT format('source %s: %s', s.relation, s.problem) FROM notify.source s WHERE s.problem IS NOT NULL) AS p (problem);
	IF problems IS NOT NULL THEN
		RAISE EXCEPTION 'this database cannot be armed while rules or sources have problems'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = array_to_string(problems, E'\n'),
				  HINT = 'Mend them, or disable those rules and detach those tables.';
	END IF;
	SELECT * INTO here FROM notify._here();
	DELETE FROM notify.origin;
	INSERT INTO notify.origin (system_identifier, database) VALUES (here.system_identifier, here.database);
	UPDATE notify.instance
	SET mode = 'live', reason = NULL, changed_at = clock_timestamp(), changed_by = session_user,
		hosts = CASE WHEN here.host = ANY (hosts) THEN hosts ELSE hosts || here.host END;
END
$$;

COMMENT ON FUNCTION notify.arm() IS
'Lets this database send: after a restore or a copy, after notify.hold(), and once per host when notify_pg.guard = host. 55000 while enabled rules or sources have problems, which it looks at again first.';

CREATE FUNCTION notify.hold(reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE notify.instance
	SET mode = 'hold', reason = hold.reason, changed_at = clock_timestamp(), changed_by = session_user;
$$;

COMMENT ON FUNCTION notify.hold(text) IS
'Sends nothing more until notify.arm(). What is being sent now is finished; events go on being captured and planned.';

-- sql/capture.sql
CREATE FUNCTION notify._next_id() RETURNS bigint
    AS 'MODULE_PATHNAME', 'notify_next_id_sql' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._next_id() IS
    'A new id: unix milliseconds in the high bits, a sequence in the low 20; assigns the transaction''s xid first';

CREATE FUNCTION notify.capture() RETURNS trigger
    AS 'MODULE_PATHNAME', 'notify_capture' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify.capture() IS
    'Row trigger of attached tables: writes an event when a rule wants the changed row; created by notify.attach()';

CREATE FUNCTION notify._invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'notify_invalidate' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._invalidate() IS
    'Statement trigger of notify.rule and notify.source: every session forgets the rules it compiled';

CREATE FUNCTION notify._check_expression(relation regclass, expression text, kind text, owner regrole, search_path text)
    RETURNS text
    AS 'MODULE_PATHNAME', 'notify_check_expression' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._check_expression(regclass, text, text, regrole, text) IS
    'Compiles an expression over new and old (jsonb without a relation) as its owner; raises what is wrong with it, or says whether it runs bare or in a subtransaction';

CREATE FUNCTION notify._write_event(op "char", type text, recipient text, key text, data jsonb, cancel_key text, instruction jsonb, match boolean)
    RETURNS bigint
    AS 'MODULE_PATHNAME', 'notify_write_event' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._write_event("char", text, text, text, jsonb, text, jsonb, boolean) IS
    'Writes an event that no table shows, with the verdicts of the rules on its type when match is true; returns its id';

CREATE FUNCTION notify._evaluate(version bigint, relation regclass, op "char", type text, new jsonb, old jsonb,
								 OUT verdict text, OUT recipient text, OUT own_recipient text, OUT dedupe_key text,
								 OUT cancel_key text, OUT detail text)
    AS 'MODULE_PATHNAME', 'notify_evaluate' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION notify._evaluate(bigint, regclass, "char", text, jsonb, jsonb) IS
    'Asks a rule, by its current version, about the rows an event holds: matched, no or undecided, and what its expressions give. Internal.';

/*
 * Attached tables have two triggers, notify_capture for rows and notify_truncate.
 * Of a partitioned table the first is cloned by PostgreSQL, onto later partitions
 * too; the second, and both on inheritance children, are put on every relation
 * below the attached one by _put_triggers(): at attach, and by the event
 * trigger when a child comes later.
 */
CREATE FUNCTION notify._tree(top regclass) RETURNS TABLE (relation regclass, depth integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE tree AS (
		SELECT top::oid AS oid, 0 AS depth
		UNION ALL
		SELECT i.inhrelid, t.depth + 1 FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
	)
	SELECT c.oid::regclass, max(t.depth)
	FROM tree t JOIN pg_class c ON c.oid = t.oid
	WHERE c.relkind IN ('r', 'p') AND NOT pg_is_other_temp_schema(c.relnamespace)
	GROUP BY c.oid ORDER BY 2, 1;
$$;

COMMENT ON FUNCTION notify._tree(regclass) IS
'A table with its partitions and inheritance children of any depth, itself first. Internal.';

-- The attached table whose rules a relation's rows are for.
CREATE FUNCTION notify._source_of(relation oid) RETURNS regclass
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (WITH RECURSIVE up AS (
				SELECT _source_of.relation AS oid, 0 AS depth
				UNION ALL
				SELECT i.inhparent, u.depth + 1 FROM up u JOIN pg_inherits i ON i.inhrelid = u.oid
			)
			SELECT s.relation FROM up u JOIN notify.source s ON s.relation = u.oid
			ORDER BY u.depth LIMIT 1);
END
$$;

COMMENT ON FUNCTION notify._source_of(oid) IS 'The relation itself or its nearest ancestor that is attached; NULL: none. Internal.';

-- The row triggers below a partitioned table that are not clones.
CREATE FUNCTION notify._drop_own_triggers(top regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own record;
BEGIN
	FOR own IN
		SELECT t.tgrelid::regclass AS relation, t.tgname
		FROM pg_partition_tree(top) AS p
		JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgparentid = 0 AND t.tgtype & 1 <> 0
		WHERE t.tgfoid = 'notify.capture()'::regprocedure
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', own.tgname, own.relation);
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._drop_own_triggers(regclass) IS
'Makes room for the clones of a partitioned table''s row trigger. Internal.';

CREATE FUNCTION notify._put_triggers(source regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	capture oid := 'notify.capture()'::regprocedure;
	always boolean := (SELECT s.on_replica FROM notify.source s WHERE s.relation = _put_triggers.source);
	child record;
	made record;
BEGIN
	FOR child IN SELECT t.relation FROM notify._tree(source) AS t
	LOOP
		FOR made IN
			SELECT * FROM (VALUES (1, 'notify_capture AFTER INSERT OR UPDATE OR DELETE', 'ROW'),
								  (32, 'notify_truncate BEFORE TRUNCATE', 'STATEMENT')) AS v (bit, words, each)
			WHERE NOT EXISTS (SELECT FROM pg_trigger t
							  WHERE t.tgrelid = child.relation AND t.tgfoid = capture AND t.tgtype & v.bit <> 0)
		LOOP
			-- A partition that was attached on its own gets the clone instead.
			PERFORM notify._drop_own_triggers(child.relation) WHERE made.bit = 1;
			EXECUTE format('CREATE TRIGGER %s ON %s FOR EACH %s EXECUTE FUNCTION notify.capture()',
						   made.words, child.relation, made.each);
		END LOOP;
		FOR made IN
			SELECT t.tgname FROM pg_trigger t
			WHERE t.tgrelid = child.relation AND t.tgfoid = capture
			  AND t.tgenabled = CASE WHEN always THEN 'O' ELSE 'A' END
		LOOP
			EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', child.relation,
						   CASE WHEN always THEN 'ALWAYS' END, made.tgname);
		END LOOP;
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._put_triggers(regclass) IS
'Puts the triggers that are missing on an attached table, its partitions and its children, firing as source.on_replica says. Internal.';

-- One cloned from a parent goes with the parent's; what another source needs is put back.
CREATE FUNCTION notify._drop_triggers(top regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stray record;
BEGIN
	FOR stray IN
		SELECT x.relation, t.tgname
		FROM notify._tree(top) AS x
		JOIN pg_trigger t ON t.tgrelid = x.relation AND t.tgparentid = 0
		WHERE t.tgfoid = 'notify.capture()'::regprocedure AND notify._source_of(x.relation) IS NULL
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', stray.tgname, stray.relation);
	END LOOP;
	PERFORM notify._put_triggers(s.relation)
	FROM notify._tree(top) AS x JOIN notify.source s ON s.relation = x.relation;
END
$$;

COMMENT ON FUNCTION notify._drop_triggers(regclass) IS
'Takes the triggers off a table and what is below it, where no source needs them. Internal.';

/*
 * Watching DDL. What a rule or source relies on may be altered or dropped; that
 * must succeed as if notify_pg were not there. So the event triggers never raise
 * and never wait for long, and what they find wrong they write into "problem",
 * where status() shows it. They run as the extension's owner, for whoever
 * alters a table need not know of notify_pg.
 */
CREATE FUNCTION notify._recheck_rules(names text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
	found_wrong text;
BEGIN
	-- What rows, not definitions, brought up is not settled by looking at definitions.
	FOR r IN SELECT x.name, x.problem FROM notify.rule x
			 WHERE x.name = ANY (names) AND num_nulls(x.source, x.event_type) = 1
			   AND coalesce(x.problem !~ '\(SQLSTATE (?!42)[0-9A-Z]{5}\)$', true)
	LOOP
		BEGIN
			PERFORM notify._check_rule_parts(x), notify._check_rule_sql(x) FROM notify.rule x WHERE x.name = r.name;
			found_wrong := NULL;
		EXCEPTION
			WHEN lock_not_available OR deadlock_detected THEN CONTINUE;
			WHEN OTHERS THEN found_wrong := sqlerrm;
		END;
		CONTINUE WHEN found_wrong IS NOT DISTINCT FROM r.problem;
		UPDATE notify.rule u SET problem = found_wrong
		WHERE u.name IN (SELECT l.name FROM notify.rule l WHERE l.name = r.name FOR UPDATE SKIP LOCKED);
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._recheck_rules(text[]) IS
'Checks these rules as if they were saved now and sets or clears their problem; one that is being edited is left alone. Internal.';

CREATE FUNCTION notify._recheck_source(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	found_wrong text;
BEGIN
	SELECT * INTO s FROM notify.source x WHERE x.relation = _recheck_source.relation;
	BEGIN
		PERFORM notify._check_columns(s.relation, s.key, s.columns);
		PERFORM notify._check_lender(s.owner, s.relation),
				notify._check_expression(s.relation, s.recipient, 'recipient', s.owner, s.search_path)
		WHERE s.recipient IS NOT NULL;
	EXCEPTION
		WHEN lock_not_available OR deadlock_detected THEN RETURN;
		WHEN OTHERS THEN found_wrong := sqlerrm;
	END;
	IF found_wrong IS DISTINCT FROM s.problem THEN
		UPDATE notify.source u SET problem = found_wrong
		WHERE u.relation IN (SELECT l.relation FROM notify.source l WHERE l.relation = s.relation FOR UPDATE SKIP LOCKED);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._recheck_source(regclass) IS
'Checks a source as if it were saved now and sets or clears its problem. Internal.';

-- A relation was made or altered: the sources at, above and below it.
CREATE FUNCTION notify._relation_changed(relation oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one regclass;
	touched boolean := false;
BEGIN
	FOR one IN
		SELECT s.relation FROM notify.source s
		WHERE s.relation = notify._source_of(_relation_changed.relation)
		   OR s.relation IN (SELECT t.relation FROM notify._tree(_relation_changed.relation) AS t)
	LOOP
		touched := true;
		PERFORM notify._put_triggers(one);
		PERFORM notify._recheck_source(one);
		PERFORM notify._recheck_rules(ARRAY(SELECT r.name FROM notify.rule r WHERE r.source = one));
	END LOOP;
	-- What left a tree (DETACH PARTITION, NO INHERIT) keeps no trigger.
	IF touched OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = _relation_changed.relation
							AND t.tgfoid = 'notify.capture()'::regprocedure) THEN
		PERFORM notify._drop_triggers(t.tgrelid)
		FROM (SELECT DISTINCT x.tgrelid FROM pg_trigger x
			  WHERE x.tgfoid = 'notify.capture()'::regprocedure AND x.tgparentid = 0) AS t
		WHERE notify._source_of(t.tgrelid) IS NULL;
	END IF;
END
$$;

COMMENT ON FUNCTION notify._relation_changed(oid) IS
'Follows a table that was made or altered: triggers, the sources it concerns, and their rules. Internal.';

-- Most tables have nothing to do with us: a few index probes tell.
CREATE FUNCTION notify._watch_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
	changed oid;
	names text[];
BEGIN
	IF notify._is_copy() THEN
		RETURN;				-- a restore brings its triggers itself; notify.arm() checks what it brought
	END IF;
	IF TG_TAG IN ('CREATE TABLE', 'ALTER TABLE') THEN
		FOR changed IN
			SELECT DISTINCT d.objid FROM pg_event_trigger_ddl_commands() AS d WHERE d.classid = 'pg_class'::regclass
		LOOP
			CONTINUE WHEN NOT EXISTS (SELECT FROM notify.source s WHERE s.relation = changed)
				AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = changed)
				AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = changed)
				AND NOT EXISTS (SELECT FROM pg_trigger t
								WHERE t.tgrelid = changed AND t.tgfoid = 'notify.capture()'::regprocedure);
			PERFORM notify._relation_changed(changed);
		END LOOP;
	END IF;
	-- A new name or place may break any rule that calls or casts, and what is new may mend one.
	names := ARRAY(
		SELECT r.name FROM notify.rule r
		WHERE r.problem IS NOT NULL
		   OR (TG_TAG IN ('ALTER FUNCTION', 'ALTER ROUTINE', 'ALTER TYPE')
			   AND concat_ws(' ', r.condition, r.recipient, r.dedupe_key, r.cancel_key, r.audience, r.context) ~ '[(:]'));
	IF names <> '{}' THEN
		PERFORM notify._recheck_rules(names);
	END IF;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'notify_pg could not follow %: %', TG_TAG, sqlerrm
		USING HINT = 'The command itself succeeded. Attach the table again to be sure that its changes are captured.';
END
$$;

COMMENT ON FUNCTION notify._watch_ddl() IS
'Event trigger: puts triggers on new children of attached tables and looks again at the sources and rules that DDL may have broken or mended. Internal.';

CREATE FUNCTION notify._watch_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
	gone record;
	names text[];
BEGIN
	SELECT array_agg(d.objid) FILTER (WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0) AS relations,
		   array_agg(DISTINCT d.objid) FILTER (WHERE d.classid = 'pg_class'::regclass AND d.objsubid > 0
											 AND TG_TAG <> 'ALTER TABLE') AS altered,
		   array_agg(DISTINCT lower(d.address_names[cardinality(d.address_names)])) AS names
	INTO gone
	FROM pg_event_trigger_dropped_objects() AS d
	WHERE NOT d.is_temporary
	  AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass);
	-- A DELETE or UPDATE of no row would still make every session forget its compiled rules.
	IF EXISTS (SELECT FROM notify.source s WHERE s.relation = ANY (gone.relations)) THEN
		DELETE FROM notify.source s WHERE s.relation = ANY (gone.relations);
	END IF;
	IF EXISTS (SELECT FROM notify.rule r WHERE r.source = ANY (gone.relations)) THEN
		UPDATE notify.rule r
		SET source = NULL, problem = format('table %s was dropped; set source to use the rule again', d.object_identity)
		FROM pg_event_trigger_dropped_objects() AS d
		WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND r.source = d.objid;
	END IF;
	IF gone.altered IS NOT NULL THEN
		PERFORM notify._relation_changed(a) FROM unnest(gone.altered) AS a
		WHERE a <> ALL (coalesce(gone.relations, '{}'));
	END IF;
	names := ARRAY(
		SELECT r.name FROM notify.rule r
		WHERE EXISTS (SELECT FROM unnest(gone.names) AS n
					  WHERE strpos(lower(concat_ws(' ', r.condition, r.recipient, r.dedupe_key, r.cancel_key,
												   r.audience, r.context)), n) > 0));
	IF names <> '{}' THEN
		PERFORM notify._recheck_rules(names);
	END IF;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'notify_pg could not follow %: %', TG_TAG, sqlerrm
		USING HINT = 'The command itself succeeded. See notify.status().';
END
$$;

COMMENT ON FUNCTION notify._watch_drop() IS
'Event trigger: forgets attached tables that are dropped and looks at the rules that relied on what is gone. Internal.';

-- sql/liquid.sql
/*
 * liquid.sql
 *		The words of messages: Liquid templates over jsonb.
 */
CREATE FUNCTION notify.render(template text, data jsonb, format text DEFAULT 'text', partials jsonb DEFAULT '{}')
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_render';

COMMENT ON FUNCTION notify.render(text, jsonb, text, jsonb) IS
'Renders a Liquid template with data. Format html escapes every output unless it goes through "| raw". partials maps names to the sources that render and include use. Numbers, amounts and dates read as data.recipient.locale and time_zone have them.';

-- Saving a template calls this.
CREATE FUNCTION notify._check_liquid(source text) RETURNS void
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_check_liquid';

COMMENT ON FUNCTION notify._check_liquid(text) IS
'Raises a syntax error with line and column unless the source is a Liquid template. Internal.';

-- sql/channel.sql
--
-- channel: what can be said about a provider or an address when its row is saved
--

CREATE FUNCTION notify._check_provider(adapter text, settings jsonb) RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_check_provider';
COMMENT ON FUNCTION notify._check_provider(text, jsonb) IS
    'raises what is wrong with the settings of a provider; {"secret": "name"} may stand for any string';

CREATE FUNCTION notify._check_address(channel text, address text) RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_check_address';
COMMENT ON FUNCTION notify._check_address(text, text) IS
    'raises what is wrong with the form of an address for a channel';

-- sql/event.sql
/*
 * event.sql
 *		What happened: the log that capture, emit and send write and the
 *		planner reads.
 *
 * Capture writes into a day's leaf directly (src/capture/event.c), so a leaf
 * has plain and partial indexes only. The index on (xid, id) is the planner's
 * way in: it follows commits, not ids (see plan.sql).
 */
CREATE TABLE notify.event (
	id			bigint NOT NULL,
	xid			xid8 NOT NULL,
	source		oid,
	op			"char" NOT NULL,
	type		text,
	key			text,
	recipient	text,
	rules		bigint[],
	recipients	text[],
	dedupe_keys	text[],
	cancel_keys	text[],
	cancel_key	text,
	new			jsonb,
	old			jsonb,
	truncated	boolean NOT NULL DEFAULT false,
	undecided	jsonb,
	instruction	jsonb
) PARTITION BY RANGE (id);

CREATE TABLE notify.event_default PARTITION OF notify.event DEFAULT;
CREATE INDEX event_xid ON notify.event (xid, id);
CREATE INDEX event_cancel_key ON notify.event (cancel_key) WHERE cancel_key IS NOT NULL;

COMMENT ON TABLE notify.event IS
'One row per captured change or emitted fact, written in the business transaction. Insert-only, partitioned by UTC day of id.';
COMMENT ON COLUMN notify.event.id IS 'Carries its time: notify.id_time(id).';
COMMENT ON COLUMN notify.event.xid IS 'The top-level transaction that wrote it.';
COMMENT ON COLUMN notify.event.source IS 'The attached table''s oid; NULL for emit, send and cancel.';
COMMENT ON COLUMN notify.event.op IS 'I, U, D: a captured INSERT, UPDATE, DELETE; T: a TRUNCATE, which no rule sees; E: emit(); S: send(); C: cancel().';
COMMENT ON COLUMN notify.event.type IS 'The type given to emit(); NULL otherwise.';
COMMENT ON COLUMN notify.event.key IS 'The source''s key columns as text, joined by |; or the key given to emit().';
COMMENT ON COLUMN notify.event.recipient IS 'What the source''s recipient expression gave; NULL when it gave NULL or there is none.';
COMMENT ON COLUMN notify.event.rules IS 'Ids of the rule versions that matched; NULL when none did.';
COMMENT ON COLUMN notify.event.recipients IS 'Parallel to rules: a rule''s own recipient. NULL, or a NULL element: event.recipient; an empty string: the rule''s expression gave NULL.';
COMMENT ON COLUMN notify.event.dedupe_keys IS 'Parallel to rules: the value of the rule''s dedupe_key. NULL: none.';
COMMENT ON COLUMN notify.event.cancel_keys IS 'Parallel to rules: the key that can cancel the rule''s message. NULL: none.';
COMMENT ON COLUMN notify.event.cancel_key IS 'Set when a cancel rule matched: older unsent messages with this key are cancelled.';
COMMENT ON COLUMN notify.event.new IS 'The row after the change (allowed columns), or the data given to emit() or send(). NULL on DELETE.';
COMMENT ON COLUMN notify.event.old IS 'UPDATE: only the columns that changed, as they were. DELETE: the row. NULL otherwise.';
COMMENT ON COLUMN notify.event.truncated IS 'True when the row was over notify_pg.event_row_limit: new and old hold the key columns only.';
COMMENT ON COLUMN notify.event.undecided IS 'Rules whose expressions raised an error on this row: an array of {rule, sqlstate, message}.';
COMMENT ON COLUMN notify.event.instruction IS 'send(): template, category, channels, at. TRUNCATE: relation, the table or partition that was named. What replay() wrote: replay_of, the event that was undecided.';

-- sql/rule.sql
/*
 * rule.sql
 *		Attached tables, categories, and the rules that say which events
 *		become which messages.
 *
 * A rule is checked when it is saved and every save of something that matters
 * writes an immutable rule_version: events and messages name versions. A row
 * that a superuser inserts with its version already set comes from a restore: it
 * is taken as it is, for what it names and the privileges it needs may come
 * later in the dump. A restored database is held until notify.arm(), and that
 * checks every rule.
 *
 * Expressions and queries run as rule.owner under rule.search_path, both fixed
 * at save: changing anything executable makes the editor the owner.
 */
CREATE TABLE notify.source (
	relation	regclass PRIMARY KEY,
	recipient	text,
	key			text[] NOT NULL DEFAULT '{}',
	columns		text[],
	enabled		boolean NOT NULL DEFAULT true,
	owner		regrole NOT NULL,
	search_path	text NOT NULL,
	problem		text,
	on_truncate	text NOT NULL DEFAULT 'record' CHECK (on_truncate IN ('record', 'refuse')),
	on_replica	boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE notify.source IS
'A business table whose changes are captured. Written by notify.attach() and notify.detach().';
COMMENT ON COLUMN notify.source.relation IS 'The attached table.';
COMMENT ON COLUMN notify.source.recipient IS 'SQL expression over new and old giving a recipient''s id; NULL: each rule says.';
COMMENT ON COLUMN notify.source.key IS 'The columns whose values name a row (event.key). Empty: rows have no key.';
COMMENT ON COLUMN notify.source.columns IS '{a,b}: an event may hold only these; {-a,-b}: all but these; NULL: all.';
COMMENT ON COLUMN notify.source.enabled IS 'False: nothing is captured.';
COMMENT ON COLUMN notify.source.owner IS 'The role the recipient expression runs as: who attached the table.';
COMMENT ON COLUMN notify.source.search_path IS 'The search_path it runs under: the attacher''s at that time.';
COMMENT ON COLUMN notify.source.problem IS 'What is wrong with the row; NULL when nothing is.';
COMMENT ON COLUMN notify.source.on_truncate IS 'record: TRUNCATE is an event (op T) that no rule sees; refuse: TRUNCATE raises an error.';
COMMENT ON COLUMN notify.source.on_replica IS 'True: also what logical replication applies, or a session with session_replication_role = replica writes, is captured. Changing it takes the owner of the table.';

CREATE TABLE notify.category (
	name		text PRIMARY KEY CHECK (name <> ''),
	class		text NOT NULL CHECK (class IN ('critical', 'transactional', 'marketing')),
	description	text,
	at_most_once boolean NOT NULL DEFAULT false,
	ttl			interval CHECK (ttl > '0'),
	channels	text[]
);

COMMENT ON TABLE notify.category IS 'What a message is about.';
COMMENT ON COLUMN notify.category.name IS 'Its name.';
COMMENT ON COLUMN notify.category.class IS 'critical, transactional or marketing: the law and the defaults follow it.';
COMMENT ON COLUMN notify.category.description IS 'For people.';
COMMENT ON COLUMN notify.category.at_most_once IS 'True: a send whose outcome is unknown is not tried again but fails as ambiguous.';
COMMENT ON COLUMN notify.category.ttl IS 'A message not sent this long after it was due expires. NULL: 3 days. rule.expires comes first.';
COMMENT ON COLUMN notify.category.channels IS 'Channels used where the rule names none.';

CREATE FUNCTION notify._check_category() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	channel text;
BEGIN
	FOREACH channel IN ARRAY coalesce(NEW.channels, '{}')
	LOOP
		PERFORM notify._check_channel(channel);
	END LOOP;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_category() IS 'Refuses unknown channels in a category. Internal.';

CREATE TRIGGER category_check BEFORE INSERT OR UPDATE ON notify.category
	FOR EACH ROW EXECUTE FUNCTION notify._check_category();

CREATE TABLE notify.rule (
	name		text PRIMARY KEY CHECK (name <> ''),
	source		regclass,
	event_type	text,
	ops			text[],
	condition	text,
	action		text NOT NULL DEFAULT 'notify' CHECK (action IN ('notify', 'cancel')),
	recipient	text,
	audience	text,
	context		text,
	template	text,
	category	text REFERENCES notify.category ON UPDATE CASCADE,
	channels	text[],
	priority	integer CHECK (priority BETWEEN 0 AND 3),
	delay		interval CHECK (delay >= '0'),
	dedupe_key	text,
	cancel_key	text,
	expires		interval CHECK (expires > '0'),
	enabled		boolean NOT NULL DEFAULT true,
	owner		regrole NOT NULL,
	search_path	text NOT NULL,
	version		bigint NOT NULL,
	mode		text,
	problem		text,
	id			bigint GENERATED BY DEFAULT AS IDENTITY UNIQUE
);

COMMENT ON TABLE notify.rule IS
'Which events become which messages for whom. Checked when saved; each save is a new row of notify.rule_version.';
COMMENT ON COLUMN notify.rule.name IS 'Its name.';
COMMENT ON COLUMN notify.rule.source IS 'The attached table it watches; NULL when event_type is given.';
COMMENT ON COLUMN notify.rule.event_type IS 'The type of emitted event it watches; NULL when source is given.';
COMMENT ON COLUMN notify.rule.ops IS 'Any of insert, update, delete. NULL: all three. NULL for emitted events.';
COMMENT ON COLUMN notify.rule.condition IS 'SQL expression over new and old, as in CREATE TRIGGER ... WHEN. NULL: always. new is jsonb for emitted events.';
COMMENT ON COLUMN notify.rule.action IS 'notify: make messages; cancel: stop unsent messages whose cancel_key has the same value.';
COMMENT ON COLUMN notify.rule.recipient IS 'SQL expression giving a recipient''s id. NULL: the source''s, or emit()''s.';
COMMENT ON COLUMN notify.rule.audience IS 'A SELECT seeing new, old and event, giving a column "recipient"; its other columns go to the template. NULL: the recipient.';
COMMENT ON COLUMN notify.rule.context IS 'A SELECT seeing new, old and event, giving at most one row; its columns go to the template.';
COMMENT ON COLUMN notify.rule.template IS 'notify.template.name. Required for action notify.';
COMMENT ON COLUMN notify.rule.category IS 'notify.category.name. Required for action notify.';
COMMENT ON COLUMN notify.rule.channels IS 'Channels, all at once. NULL: the category''s.';
COMMENT ON COLUMN notify.rule.priority IS '0 urgent, 1 high, 2 normal, 3 bulk; a lower number is claimed first. NULL: by the category''s class: critical 0, transactional 1, marketing 3.';
COMMENT ON COLUMN notify.rule.delay IS 'Send this long after the event. NULL: at once.';
COMMENT ON COLUMN notify.rule.dedupe_key IS 'SQL expression: one message per rule, recipient and value. NULL value: no limit.';
COMMENT ON COLUMN notify.rule.cancel_key IS 'SQL expression. action notify: the value that can cancel the message; action cancel: the value to cancel.';
COMMENT ON COLUMN notify.rule.expires IS 'A message not sent this long after it was due expires. NULL: the category''s ttl.';
COMMENT ON COLUMN notify.rule.enabled IS 'False: it matches nothing, and what it matched but is not planned yet is skipped (rule_off).';
COMMENT ON COLUMN notify.rule.owner IS 'The role its expressions and queries run as: the last editor. Only a superuser may name another.';
COMMENT ON COLUMN notify.rule.search_path IS 'The search_path they run under: the editor''s at the last save.';
COMMENT ON COLUMN notify.rule.version IS 'The current notify.rule_version.id.';
COMMENT ON COLUMN notify.rule.mode IS 'bare: no expression of it can raise an error; subtransaction: one may, and its rows pay for a subtransaction.';
COMMENT ON COLUMN notify.rule.problem IS 'What is wrong with it; NULL when nothing is. Saving it again clears it.';
COMMENT ON COLUMN notify.rule.id IS 'Stays when the rule is renamed.';

CREATE SEQUENCE notify.rule_version_id_seq;
COMMENT ON SEQUENCE notify.rule_version_id_seq IS 'Ids of rule versions.';

CREATE TABLE notify.rule_version (
	id			bigint PRIMARY KEY,
	rule		bigint NOT NULL,
	name		text NOT NULL,
	source		regclass,
	event_type	text,
	ops			text[],
	condition	text,
	action		text NOT NULL,
	recipient	text,
	audience	text,
	context		text,
	template	text,
	category	text,
	channels	text[],
	priority	integer,
	delay		interval,
	dedupe_key	text,
	cancel_key	text,
	expires		interval,
	owner		regrole NOT NULL,
	search_path	text NOT NULL,
	saved_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	saved_by	text NOT NULL DEFAULT session_user
);

COMMENT ON TABLE notify.rule_version IS
'Every version a rule ever had; events and messages refer to it. Never changed. Columns are those of notify.rule.';
COMMENT ON COLUMN notify.rule_version.id IS 'The version.';
COMMENT ON COLUMN notify.rule_version.rule IS 'notify.rule.id.';
COMMENT ON COLUMN notify.rule_version.name IS 'The rule''s name at that time.';
COMMENT ON COLUMN notify.rule_version.source IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.event_type IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.ops IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.condition IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.action IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.recipient IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.audience IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.context IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.template IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.category IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.channels IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.priority IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.delay IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.dedupe_key IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.cancel_key IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.expires IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.owner IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.search_path IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.saved_at IS 'When it was saved.';
COMMENT ON COLUMN notify.rule_version.saved_by IS 'The session''s role that saved it.';

/*
 * The saver's search_path has to be read where nothing has replaced it, so
 * these triggers do only that, and sort before those that check.
 */
CREATE FUNCTION notify._keep_search_path() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' OR NEW.search_path IS NULL THEN
		NEW.search_path := pg_catalog.current_setting('search_path');
	END IF;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._keep_search_path() IS
'Stores the saver''s search_path with a row that holds expressions. Internal.';

CREATE TRIGGER a_search_path BEFORE INSERT
	OR UPDATE OF recipient ON notify.source
	FOR EACH ROW EXECUTE FUNCTION notify._keep_search_path();
CREATE TRIGGER a_search_path BEFORE INSERT
	OR UPDATE OF source, condition, recipient, audience, context, dedupe_key, cancel_key ON notify.rule
	FOR EACH ROW EXECUTE FUNCTION notify._keep_search_path();

/*
 * Whoever owns a table can change it so that code of theirs runs where a rule
 * on it is compiled or run: a column's type, a domain's check. So a superuser's
 * rights are lent only to tables that a superuser owns.
 */
CREATE FUNCTION notify._check_lender(owner regrole, relation regclass) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF (SELECT o.rolsuper FROM pg_roles o WHERE o.oid = owner)
		AND NOT (SELECT o.rolsuper FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner WHERE c.oid = relation) THEN
		RAISE EXCEPTION 'a superuser''s rule cannot watch table %, which another role owns', relation
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Its owner could change the table so that code of theirs runs as the superuser.',
				  HINT = 'SET ROLE to the table''s owner, or to another role without superuser rights, and do it again.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_lender(regrole, regclass) IS
'Raises 42501 when a superuser''s expressions would run on a table that a role without superuser rights owns. Internal.';

CREATE FUNCTION notify._is_superuser() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT rolsuper FROM pg_roles WHERE rolname = current_user;
$$;

COMMENT ON FUNCTION notify._is_superuser() IS 'Whether the current role is a superuser. Internal.';

-- Who an executable row belongs to after this save; raises when it may not.
CREATE FUNCTION notify._saver(wanted regrole, kept regrole, edited boolean) RETURNS regrole
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF wanted IS NULL OR (edited AND wanted IS NOT DISTINCT FROM kept) THEN
		RETURN quote_ident(current_user)::regrole;
	END IF;
	IF wanted IS DISTINCT FROM kept
		AND wanted <> quote_ident(current_user)::regrole
		AND NOT notify._is_superuser() THEN
		RAISE EXCEPTION 'must be superuser to make "%" the owner', wanted
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Expressions run with the rights of their owner.',
				  HINT = 'Leave owner out: whoever saves becomes the owner.';
	END IF;
	RETURN wanted;
END
$$;

COMMENT ON FUNCTION notify._saver(regrole, regrole, boolean) IS
'The owner of a row with expressions after a save. Internal.';

-- Checks columns and key of a source against its table.
CREATE FUNCTION notify._check_columns(relation regclass, key text[], columns text[]) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	minus integer;
	bad text;
BEGIN
	SELECT count(*) FILTER (WHERE c LIKE '-%') INTO minus FROM unnest(columns) AS c;
	IF minus > 0 AND minus < cardinality(columns) THEN
		RAISE EXCEPTION 'columns must name either what to keep or, with "-", what to leave out'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = format('Got %s.', columns),
				  HINT = 'Write {a,b} or {-a,-b}, not both.';
	END IF;
	SELECT c INTO bad
	FROM (SELECT unnest(key)
		  UNION ALL
		  SELECT CASE WHEN minus > 0 THEN substr(u, 2) ELSE u END FROM unnest(columns) AS u) AS t (c)
	WHERE NOT EXISTS (SELECT FROM pg_attribute a
					  WHERE a.attrelid = relation AND a.attname = c
						AND a.attnum > 0 AND NOT a.attisdropped)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of table % does not exist', bad, relation
			USING ERRCODE = 'undefined_column';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_columns(regclass, text[], text[]) IS
'Raises 42703 or 22023 unless a source''s key and columns fit its table. Internal.';

CREATE FUNCTION notify._check_source() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	edited boolean := TG_OP = 'INSERT'
		OR (NEW.recipient, NEW.search_path) IS DISTINCT FROM (OLD.recipient, OLD.search_path);
BEGIN
	IF TG_OP = 'INSERT' AND NEW.owner IS NOT NULL AND notify._is_superuser() THEN
		RETURN NEW;			-- a restore; notify.arm() checks
	END IF;
	IF TG_OP = 'UPDATE' AND NEW.problem IS DISTINCT FROM OLD.problem AND NEW.problem IS NOT NULL
		AND to_jsonb(NEW) - 'problem' = to_jsonb(OLD) - 'problem' THEN
		RETURN NEW;			-- flagging is not a save
	END IF;
	NEW.owner := notify._saver(NEW.owner, CASE WHEN TG_OP = 'UPDATE' THEN OLD.owner END, edited);
	IF NOT has_table_privilege(NEW.relation, 'TRIGGER') THEN
		RAISE EXCEPTION 'permission denied for table %', NEW.relation
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Attaching a table, and saying what is captured of it, needs TRIGGER on it.';
	END IF;
	PERFORM notify._check_columns(NEW.relation, NEW.key, NEW.columns);
	IF NEW.recipient IS NOT NULL AND (edited OR notify._is_superuser()) THEN
		PERFORM notify._check_lender(NEW.owner, NEW.relation);
		PERFORM notify._check_expression(NEW.relation, NEW.recipient, 'recipient',
										 NEW.owner, NEW.search_path);
	END IF;
	NEW.problem := NULL;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_source() IS 'Checks a source when it is saved. Internal.';

CREATE TRIGGER source_check BEFORE INSERT OR UPDATE ON notify.source
	FOR EACH ROW EXECUTE FUNCTION notify._check_source();

CREATE FUNCTION notify._check_query(relation regclass, query text, kind text, owner regrole, search_path text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'notify_check_query';

COMMENT ON FUNCTION notify._check_query(regclass, text, text, regrole, text) IS
'Raises, with the position, unless an audience or context query can run as its owner. Internal.';

-- The parts of a rule that must be there and name things that are there.
CREATE FUNCTION notify._check_rule_parts(r notify.rule) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word text;
BEGIN
	IF (r.source IS NULL) = (r.event_type IS NULL) THEN
		RAISE EXCEPTION 'rule "%" must have either a source or an event_type', r.name
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOREACH word IN ARRAY coalesce(r.ops, '{}')
	LOOP
		IF word IS NULL OR word NOT IN ('insert', 'update', 'delete') THEN
			RAISE EXCEPTION 'unknown operation "%" in rule "%"', word, r.name
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'ops holds any of insert, update, delete.';
		END IF;
	END LOOP;
	FOREACH word IN ARRAY coalesce(r.channels, '{}')
	LOOP
		PERFORM notify._check_channel(word);
	END LOOP;
	IF r.source IS NOT NULL AND NOT EXISTS (SELECT FROM notify.source s WHERE s.relation = r.source) THEN
		RAISE EXCEPTION 'table % is not attached', r.source
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = format('Run SELECT notify.attach(%L) first.', r.source::text);
	END IF;
	IF r.action = 'cancel' THEN
		IF r.cancel_key IS NULL THEN
			RAISE EXCEPTION 'cancel rule "%" has no cancel_key', r.name
				USING ERRCODE = 'not_null_violation',
					  HINT = 'Give the expression whose value names the messages to cancel.';
		END IF;
		RETURN;
	END IF;
	IF r.category IS NULL OR r.template IS NULL THEN
		RAISE EXCEPTION 'rule "%" needs a template and a category', r.name
			USING ERRCODE = 'not_null_violation';
	END IF;
	IF NOT EXISTS (SELECT FROM notify.category c WHERE c.name = r.category) THEN
		RAISE EXCEPTION 'category "%" does not exist', r.category
			USING ERRCODE = 'foreign_key_violation',
				  DETAIL = 'No row of notify.category has this name.',
				  HINT = 'Insert it into notify.category first.';
	END IF;
	IF NOT EXISTS (SELECT FROM notify.template t WHERE t.name = r.template) THEN
		RAISE EXCEPTION 'template "%" does not exist', r.template
			USING ERRCODE = 'foreign_key_violation',
				  DETAIL = 'No row of notify.template has this name.',
				  HINT = 'Insert it into notify.template first.';
	END IF;
	IF r.source IS NOT NULL AND r.recipient IS NULL AND r.audience IS NULL
		AND NOT EXISTS (SELECT FROM notify.source s
						WHERE s.relation = r.source AND s.recipient IS NOT NULL) THEN
		RAISE EXCEPTION 'rule "%" does not say whom to notify', r.name
			USING ERRCODE = 'not_null_violation',
				  HINT = format('Give the rule a recipient or an audience, or attach %s with a recipient.', r.source);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_rule_parts(notify.rule) IS
'Raises unless everything a rule names is there. Internal.';

-- Compiles a rule's SQL as its owner; gives its mode.
CREATE FUNCTION notify._check_rule_sql(r notify.rule) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part record;
	mode text := 'bare';
BEGIN
	IF r.source IS NOT NULL AND NOT has_table_privilege(r.owner, r.source, 'TRIGGER') THEN
		RAISE EXCEPTION 'permission denied for table %', r.source
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = format('Role %s needs TRIGGER on the table to have a rule on it.', r.owner);
	END IF;
	IF coalesce(r.condition, r.recipient, r.dedupe_key, r.cancel_key, r.audience, r.context) IS NOT NULL THEN
		PERFORM notify._check_lender(r.owner, r.source);
	END IF;
	FOR part IN
		SELECT * FROM (VALUES ('condition', r.condition), ('recipient', r.recipient),
							  ('dedupe_key', r.dedupe_key), ('cancel_key', r.cancel_key)) AS p (kind, expression)
		WHERE expression IS NOT NULL
	LOOP
		IF notify._check_expression(r.source, part.expression, part.kind, r.owner, r.search_path) <> 'bare' THEN
			mode := 'subtransaction';
		END IF;
	END LOOP;
	IF r.audience IS NOT NULL THEN
		PERFORM notify._check_query(r.source, r.audience, 'audience', r.owner, r.search_path);
	END IF;
	IF r.context IS NOT NULL THEN
		PERFORM notify._check_query(r.source, r.context, 'context', r.owner, r.search_path);
	END IF;
	RETURN mode;
END
$$;

COMMENT ON FUNCTION notify._check_rule_sql(notify.rule) IS
'Raises, with the position, unless a rule''s expressions and queries compile; gives the mode they run in. Internal.';

CREATE FUNCTION notify._check_rule() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	edited boolean := TG_OP = 'INSERT'
		OR (NEW.source, NEW.event_type, NEW.search_path, NEW.condition, NEW.recipient, NEW.audience,
			NEW.context, NEW.dedupe_key, NEW.cancel_key)
		IS DISTINCT FROM
		   (OLD.source, OLD.event_type, OLD.search_path, OLD.condition, OLD.recipient, OLD.audience,
			OLD.context, OLD.dedupe_key, OLD.cancel_key);
BEGIN
	IF TG_OP = 'INSERT' AND NEW.version IS NOT NULL AND notify._is_superuser() THEN
		RETURN NEW;			-- a restore; notify.arm() checks
	END IF;
	-- A broken rule is flagged, or loses the table that was dropped; that is not a save.
	IF TG_OP = 'UPDATE' AND NEW.problem IS DISTINCT FROM OLD.problem AND NEW.problem IS NOT NULL
		AND (NEW.source IS NULL OR NEW.source = OLD.source)
		AND to_jsonb(NEW) - '{problem,source,search_path}'::text[]
			= to_jsonb(OLD) - '{problem,source,search_path}'::text[] THEN
		NEW.search_path := OLD.search_path;
		RETURN NEW;
	END IF;
	NEW.owner := notify._saver(NEW.owner, CASE WHEN TG_OP = 'UPDATE' THEN OLD.owner END, edited);
	PERFORM notify._check_rule_parts(NEW);
	-- What another wrote and nobody touched stays as it was checked when it was saved.
	IF edited OR notify._is_superuser() OR NEW.owner = quote_ident(current_user)::regrole THEN
		NEW.mode := notify._check_rule_sql(NEW);
		NEW.problem := NULL;
	END IF;
	IF TG_OP = 'INSERT' THEN
		NEW.version := nextval('notify.rule_version_id_seq');
	ELSIF to_jsonb(NEW) - '{enabled,mode,problem,version}'::text[]
		<> to_jsonb(OLD) - '{enabled,mode,problem,version}'::text[] THEN
		NEW.version := nextval('notify.rule_version_id_seq');
	ELSE
		NEW.version := OLD.version;
	END IF;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_rule() IS
'Checks a rule when it is saved and gives it its version. Internal.';

-- A definer-rights trigger function lends its rights to one table's trigger only.
CREATE FUNCTION notify._check_trigger_table(relation oid, wanted regclass) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF relation <> wanted THEN
		RAISE EXCEPTION 'this trigger function is for table % alone', wanted
			USING ERRCODE = 'insufficient_privilege';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_trigger_table(oid, regclass) IS
'Raises 42501 unless a trigger fired on the table it was made for. Internal.';

/*
 * The planner runs audience and context from rule_version as its owner, so
 * nobody but this trigger may write there: it copies what _check_rule let by.
 */
CREATE FUNCTION notify._save_rule_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_trigger_table(TG_RELID, 'notify.rule');
	INSERT INTO notify.rule_version
		(id, rule, name, source, event_type, ops, condition, action, recipient, audience,
		 context, template, category, channels, priority, delay, dedupe_key, cancel_key,
		 expires, owner, search_path)
	VALUES (NEW.version, NEW.id, NEW.name, NEW.source, NEW.event_type, NEW.ops, NEW.condition,
			NEW.action, NEW.recipient, NEW.audience, NEW.context, NEW.template, NEW.category,
			NEW.channels, NEW.priority, NEW.delay, NEW.dedupe_key, NEW.cancel_key, NEW.expires,
			NEW.owner, NEW.search_path)
	ON CONFLICT (id) DO NOTHING;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._save_rule_version() IS
'Writes a saved rule''s row of notify.rule_version. Internal.';

CREATE TRIGGER rule_check BEFORE INSERT OR UPDATE ON notify.rule
	FOR EACH ROW EXECUTE FUNCTION notify._check_rule();
CREATE TRIGGER rule_save_version AFTER INSERT OR UPDATE ON notify.rule
	FOR EACH ROW EXECUTE FUNCTION notify._save_rule_version();

-- Deferred: the version is written after the rule; in a dump it comes first.
ALTER TABLE notify.rule ADD CONSTRAINT rule_version_fkey
	FOREIGN KEY (version) REFERENCES notify.rule_version DEFERRABLE INITIALLY DEFERRED;

-- Every backend's compiled rules follow these two tables (src/capture).
CREATE TRIGGER rule_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON notify.rule
	FOR EACH STATEMENT EXECUTE FUNCTION notify._invalidate();
ALTER TABLE notify.rule ENABLE ALWAYS TRIGGER rule_invalidate;
CREATE TRIGGER source_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON notify.source
	FOR EACH STATEMENT EXECUTE FUNCTION notify._invalidate();
ALTER TABLE notify.source ENABLE ALWAYS TRIGGER source_invalidate;

-- The primary key's columns, in order; an empty array when there is none.
CREATE FUNCTION notify._primary_key(relation regclass) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(a.attname::text ORDER BY k.n), '{}')
	FROM pg_index i
	CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
	WHERE i.indrelid = relation AND i.indisprimary;
$$;

COMMENT ON FUNCTION notify._primary_key(regclass) IS 'A table''s primary key columns in order. Internal.';

/*
 * attach keeps the caller's search_path (no SET clause), for the row it writes
 * stores it: every name and operator here is qualified instead.
 */
CREATE FUNCTION notify.attach(relation regclass, recipient text DEFAULT NULL,
							  key text[] DEFAULT NULL, columns text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	kind "char" := (SELECT c.relkind FROM pg_catalog.pg_class c
					WHERE c.oid OPERATOR(pg_catalog.=) attach.relation);
BEGIN
	IF kind OPERATOR(pg_catalog.<>) 'r' AND kind OPERATOR(pg_catalog.<>) 'p' THEN
		RAISE EXCEPTION '% is not a table', attach.relation
			USING ERRCODE = 'wrong_object_type';
	END IF;
	INSERT INTO notify.source AS s (relation, recipient, key, columns)
	VALUES (attach.relation, attach.recipient,
			COALESCE(attach.key, notify._primary_key(attach.relation)), attach.columns)
	ON CONFLICT ON CONSTRAINT source_pkey DO UPDATE
		SET recipient = excluded.recipient, key = excluded.key, columns = excluded.columns,
			enabled = true;
	PERFORM notify._put_triggers(attach.relation);
END
$$;

COMMENT ON FUNCTION notify.attach(regclass, text, text[], text[]) IS
'Captures a table''s changes from now on, those of its partitions and inheritance children included, also of later ones. recipient: SQL expression over new and old giving a recipient''s id (NULL: each rule says). key: columns that name a row (NULL: the primary key). columns: {a,b} only these, {-a,-b} all but these (NULL: all). Needs TRIGGER on the table. Attaching again replaces what was said before.';

CREATE FUNCTION notify.detach(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM notify.source s WHERE s.relation = detach.relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table % is not attached', detach.relation
			USING ERRCODE = 'undefined_object';
	END IF;
	PERFORM notify._drop_triggers(detach.relation);
END
$$;

COMMENT ON FUNCTION notify.detach(regclass) IS
'Stops capturing a table. Its rules stay and match nothing until it is attached again. 42704 when it is not attached.';

-- What a change of on_replica asks of the triggers.
CREATE FUNCTION notify._source_saved() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._put_triggers(NEW.relation);
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._source_saved() IS 'Makes a table''s triggers fire as its source says. Internal.';

CREATE TRIGGER source_saved AFTER UPDATE OF on_replica ON notify.source
	FOR EACH ROW WHEN (NEW.on_replica <> OLD.on_replica) EXECUTE FUNCTION notify._source_saved();

-- Tables, columns and functions that sources and rules rely on come and go (capture.sql).
CREATE EVENT TRIGGER notify_watch_ddl ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE FUNCTION', 'ALTER FUNCTION',
				 'ALTER ROUTINE', 'CREATE OPERATOR', 'CREATE TYPE', 'ALTER TYPE', 'CREATE VIEW')
	EXECUTE FUNCTION notify._watch_ddl();
CREATE EVENT TRIGGER notify_watch_drop ON sql_drop EXECUTE FUNCTION notify._watch_drop();
COMMENT ON EVENT TRIGGER notify_watch_ddl IS 'Keeps capture on new children of attached tables, and notices what breaks or mends sources and rules.';
COMMENT ON EVENT TRIGGER notify_watch_drop IS 'Forgets attached tables that are dropped, and notices what breaks rules.';

-- sql/template.sql
/*
 * template.sql
 *		Words, by channel, locale and variant.
 *
 * Each save that changes words is a new immutable template_version; the row of
 * notify.template names the one in use. Messages name versions, so what was
 * said can be rendered again.
 */
CREATE TABLE notify.template (
	name		text NOT NULL CHECK (name <> ''),
	channel		text NOT NULL,
	locale		text NOT NULL DEFAULT 'default' CHECK (locale ~ '^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$'),
	variant		text NOT NULL DEFAULT '',
	subject		text,
	body		text,
	html		text,
	weight		integer NOT NULL DEFAULT 1 CHECK (weight >= 0),
	version		bigint NOT NULL,
	PRIMARY KEY (name, channel, locale, variant)
);

COMMENT ON TABLE notify.template IS
'Words in Liquid, by channel, locale and variant. Checked when saved; each save of other words is a new notify.template_version.';
COMMENT ON COLUMN notify.template.name IS 'The name rules and send() use.';
COMMENT ON COLUMN notify.template.channel IS 'inbox, email, sms, push, webhook or chat.';
COMMENT ON COLUMN notify.template.locale IS 'BCP 47 (RFC 5646) such as zh-Hans-CN, or "default", used when nothing in the recipient''s chain fits.';
COMMENT ON COLUMN notify.template.variant IS 'For trying different words beside each other; '''' is the only or first one.';
COMMENT ON COLUMN notify.template.subject IS 'Liquid; an e-mail''s subject or an inbox item''s title.';
COMMENT ON COLUMN notify.template.body IS 'Liquid; plain text.';
COMMENT ON COLUMN notify.template.html IS 'Liquid, escaped by default; e-mail only.';
COMMENT ON COLUMN notify.template.weight IS 'Share of recipients this variant gets among those of the same locale; 0: none.';
COMMENT ON COLUMN notify.template.version IS 'The notify.template_version in use.';

CREATE SEQUENCE notify.template_version_id_seq;
COMMENT ON SEQUENCE notify.template_version_id_seq IS 'Ids of template versions.';

CREATE TABLE notify.template_version (
	id			bigint PRIMARY KEY,
	name		text NOT NULL,
	channel		text NOT NULL,
	locale		text NOT NULL,
	variant		text NOT NULL,
	subject		text,
	body		text,
	html		text,
	saved_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	saved_by	text NOT NULL DEFAULT session_user
);

COMMENT ON TABLE notify.template_version IS
'Every version of every template. Never changed. Columns are those of notify.template.';
COMMENT ON COLUMN notify.template_version.id IS 'The version.';
COMMENT ON COLUMN notify.template_version.name IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.channel IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.locale IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.variant IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.subject IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.body IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.html IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.saved_at IS 'When it was saved.';
COMMENT ON COLUMN notify.template_version.saved_by IS 'The session''s role that saved it.';

ALTER TABLE notify.template ADD CONSTRAINT template_version_fkey
	FOREIGN KEY (version) REFERENCES notify.template_version DEFERRABLE INITIALLY DEFERRED;

-- Raises unless one part of a template parses, naming the part.
CREATE FUNCTION notify._check_template_part(part text, source text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM notify._check_liquid(source);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	IF hint = '' THEN
		RAISE EXCEPTION '%: %', part, message USING ERRCODE = state, DETAIL = detail;
	END IF;
	RAISE EXCEPTION '%: %', part, message USING ERRCODE = state, DETAIL = detail, HINT = hint;
END
$$;

COMMENT ON FUNCTION notify._check_template_part(text, text) IS
'Parses one part of a template; errors name the part. Internal.';

CREATE FUNCTION notify._check_template() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restored boolean := TG_OP = 'INSERT' AND NEW.version IS NOT NULL AND notify._is_superuser();
BEGIN
	IF restored THEN
		RETURN NEW;
	END IF;
	PERFORM notify._check_channel(NEW.channel);
	IF NEW.body IS NULL AND NOT (NEW.channel = 'email' AND NEW.html IS NOT NULL) THEN
		RAISE EXCEPTION 'template "%" has no body', NEW.name
			USING ERRCODE = 'not_null_violation';
	END IF;
	IF NEW.html IS NOT NULL AND NEW.channel <> 'email' THEN
		RAISE EXCEPTION 'html is for channel email, not %', NEW.channel
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NEW.channel = 'email' AND NEW.subject IS NULL THEN
		RAISE EXCEPTION 'e-mail template "%" has no subject', NEW.name
			USING ERRCODE = 'not_null_violation';
	END IF;
	IF NEW.channel = 'email' AND NEW.subject ~ '[\r\n]' THEN
		RAISE EXCEPTION 'subject of e-mail template "%" contains a line break', NEW.name
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'A subject is one header line (RFC 5322).',
				  HINT = 'Write it on one line.';
	END IF;
	PERFORM notify._check_template_part(p.part, p.source)
	FROM (VALUES ('subject', NEW.subject), ('body', NEW.body), ('html', NEW.html)) AS p (part, source)
	WHERE p.source IS NOT NULL;
	IF TG_OP = 'INSERT' OR to_jsonb(NEW) - '{version,weight}'::text[]
		<> to_jsonb(OLD) - '{version,weight}'::text[] THEN
		NEW.version := nextval('notify.template_version_id_seq');
	ELSE
		NEW.version := OLD.version;
	END IF;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_template() IS
'Checks a template when it is saved and gives it its version. Internal.';

CREATE FUNCTION notify._save_template_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_trigger_table(TG_RELID, 'notify.template');
	INSERT INTO notify.template_version (id, name, channel, locale, variant, subject, body, html)
	VALUES (NEW.version, NEW.name, NEW.channel, NEW.locale, NEW.variant, NEW.subject, NEW.body, NEW.html)
	ON CONFLICT (id) DO NOTHING;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._save_template_version() IS
'Writes a saved template''s row of notify.template_version. Internal.';

CREATE TRIGGER template_check BEFORE INSERT OR UPDATE ON notify.template
	FOR EACH ROW EXECUTE FUNCTION notify._check_template();
CREATE TRIGGER template_save_version AFTER INSERT OR UPDATE ON notify.template
	FOR EACH ROW EXECUTE FUNCTION notify._save_template_version();

-- zh_Hans_CN -> {zh-hans-cn, zh-hans, zh, default}
CREATE FUNCTION notify._locale_chain(locale text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
	parts text[] := string_to_array(lower(replace(locale, '_', '-')), '-');
	chain text[] := '{}';
BEGIN
	FOR n IN REVERSE coalesce(cardinality(parts), 0)..1
	LOOP
		chain := chain || array_to_string(parts[:n], '-');
	END LOOP;
	RETURN chain || 'default'::text;
END
$$;

COMMENT ON FUNCTION notify._locale_chain(text) IS
'Where words for a locale are looked for, best first (RFC 4647 lookup, then "default"). NULL: default alone. Internal.';

-- The words of a version, for the dispatcher's cache.
CREATE FUNCTION notify._template(version bigint, OUT subject text, OUT body text, OUT html text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.subject, v.body, v.html FROM notify.template_version v WHERE v.id = version;
$$;

COMMENT ON FUNCTION notify._template(bigint) IS 'The words of a template version. Internal.';

-- sql/recipient.sql
/*
 * recipient.sql
 *		People, and where each channel reaches them.
 */
CREATE TABLE notify.recipient (
	id			text PRIMARY KEY CHECK (id <> '' AND octet_length(id) <= 1024),
	name		text,
	locale		text CHECK (locale ~ '^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$'),
	time_zone	text,
	attributes	jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
	tags		text[] NOT NULL DEFAULT '{}'
);

COMMENT ON TABLE notify.recipient IS 'A person who can be notified.';
COMMENT ON COLUMN notify.recipient.id IS 'The app''s own id of the person, as text: what recipient expressions give.';
COMMENT ON COLUMN notify.recipient.name IS 'How the person is addressed; NULL: not known.';
COMMENT ON COLUMN notify.recipient.locale IS 'BCP 47, such as zh-CN. NULL: templates of locale "default".';
COMMENT ON COLUMN notify.recipient.time_zone IS 'IANA name, such as Asia/Shanghai. NULL: UTC.';
COMMENT ON COLUMN notify.recipient.attributes IS 'Anything else templates may use, as recipient.attributes.';
COMMENT ON COLUMN notify.recipient.tags IS 'Words to choose people by.';

CREATE TABLE notify.address (
	recipient	text NOT NULL REFERENCES notify.recipient ON UPDATE CASCADE ON DELETE CASCADE,
	channel		text NOT NULL,
	address		text NOT NULL,
	state		text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'invalid')),
	verified_at	timestamptz,
	created_at	timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (recipient, channel, address)
);

COMMENT ON TABLE notify.address IS 'Where a channel reaches a person.';
COMMENT ON COLUMN notify.address.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.address.channel IS 'email, sms, push, webhook or chat; the inbox needs none.';
COMMENT ON COLUMN notify.address.address IS 'An e-mail address, a phone number, a device token, a URL.';
COMMENT ON COLUMN notify.address.state IS 'active; or invalid: a provider said for good that it reaches nobody.';
COMMENT ON COLUMN notify.address.verified_at IS 'When the person proved it is theirs; NULL: never. Verified ones are used first.';
COMMENT ON COLUMN notify.address.created_at IS 'When it was added; the oldest is used first.';

CREATE FUNCTION notify._check_recipient() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM now() AT TIME ZONE NEW.time_zone;
	RETURN NEW;
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE EXCEPTION 'time zone "%" is not known', NEW.time_zone
		USING ERRCODE = 'invalid_parameter_value',
			  HINT = 'Use a name of pg_timezone_names, such as Asia/Shanghai.';
END
$$;

COMMENT ON FUNCTION notify._check_recipient() IS 'Refuses unknown time zones. Internal.';

CREATE FUNCTION notify._check_address_row() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_channel(NEW.channel);
	PERFORM notify._check_address(NEW.channel, NEW.address);
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_address_row() IS 'Checks an address when it is saved. Internal.';

CREATE TRIGGER recipient_check BEFORE INSERT OR UPDATE OF time_zone ON notify.recipient
	FOR EACH ROW WHEN (NEW.time_zone IS NOT NULL)
	EXECUTE FUNCTION notify._check_recipient();
CREATE TRIGGER address_check BEFORE INSERT OR UPDATE OF channel, address ON notify.address
	FOR EACH ROW EXECUTE FUNCTION notify._check_address_row();

-- sql/people.sql
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
	problem		text
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
COMMENT ON COLUMN notify.recipient_source.problem IS 'What is wrong with the mapping, such as a column that was renamed: what it mapped is left as it was. NULL when nothing is. Attaching again clears it.';

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

COMMENT ON TABLE notify.recipient_former IS
'Ids a person had before: the logs still name them so.';
COMMENT ON COLUMN notify.recipient_former.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.recipient_former.former IS 'The id until then.';
COMMENT ON COLUMN notify.recipient_former.until IS 'Events with ids up to this one mean this person by it: notify.id_time(until).';

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
	('erased', 'cancelled', 'The person was erased before it was sent.');

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

-- The mapping a table's trigger goes by: its own, or that of the partitioned table above it.
CREATE FUNCTION notify._recipient_source_of(relation oid, OUT source oid, OUT id text, OUT columns text[])
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.relation::oid, s.id, notify._recipient_columns(s)
	FROM notify.recipient_source s
	WHERE s.relation = _recipient_source_of.relation
	   OR s.relation IN (SELECT p.relid FROM pg_partition_ancestors(_recipient_source_of.relation::regclass) AS p)
	ORDER BY s.relation = _recipient_source_of.relation DESC
	LIMIT 1;
$$;

COMMENT ON FUNCTION notify._recipient_source_of(oid) IS
'The attached users table a relation belongs to, its id column and all mapped columns. Internal.';

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

-- Raises unless the id column names one person per row.
CREATE FUNCTION notify._check_recipient_key(relation regclass, id text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_index i
				   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = id
				   JOIN pg_class c ON c.oid = i.indrelid
				   WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
					 AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
					 AND (i.indnkeyatts = 1 OR c.relkind = 'p')) THEN
		RAISE EXCEPTION 'column "%" of table % is not unique', id, relation
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Two rows with one id would be one recipient, and deleting either would erase both.',
				  HINT = format('Create a unique index on (%I), or give another column.', id);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_recipient_key(regclass, text) IS
'Raises 22023 unless a column of the table is unique. Internal.';

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
	restored boolean := TG_OP = 'INSERT' AND NEW.attached_at IS NOT NULL AND notify._is_superuser();
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
	EXCEPTION WHEN OTHERS THEN
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
	INSERT INTO notify.recipient_former (recipient, former, until)
	VALUES (new_id, old_id, notify._next_id());
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._rename_person(text, text) IS
'Gives a recipient another id, with addresses and inbox; false when it cannot. Internal.';

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

-- Takes over everybody who is there, 5,000 rows at a time in order of id.
CREATE FUNCTION notify._backfill_recipients(s notify.recipient_source) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(notify._recipient_columns(s)) AS c);
	id_type text := (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
					 WHERE a.attrelid = s.relation AND a.attname = s.id);
	first text := format('SELECT ARRAY(SELECT to_jsonb(u) FROM (SELECT %s FROM %s %s WHERE %I IS NOT NULL ORDER BY %I LIMIT 5000) AS u)',
						 wanted, CASE WHEN (SELECT c.relkind = 'r' FROM pg_class c WHERE c.oid = s.relation) THEN 'ONLY' ELSE '' END,
						 s.relation, s.id, s.id);
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
	-- Triggers fire in order of name: first, so that what the app's own write comes after. The
	-- lock this takes keeps writers out until the people who are there are taken over.
	EXECUTE format('CREATE OR REPLACE TRIGGER "00_notify_sync_recipient" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION notify._sync_recipient()',
				   relation);
	EXECUTE format('CREATE OR REPLACE TRIGGER "00_notify_sync_recipients" AFTER INSERT OR UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION notify._sync_recipient()',
				   relation);
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
	EXECUTE format('DROP TRIGGER IF EXISTS "00_notify_sync_recipient" ON %s', detach_recipients.relation);
	EXECUTE format('DROP TRIGGER IF EXISTS "00_notify_sync_recipients" ON %s', detach_recipients.relation);
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
	mine := ARRAY(SELECT m.id FROM notify.message m WHERE m.recipient = person AND m.event <= until);
	WITH waiting AS (
		DELETE FROM notify.scheduled s WHERE s.message = ANY (mine) RETURNING s.message
	), due AS (
		DELETE FROM notify.ready r
		WHERE r.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.ready q
								  WHERE q.message = ANY (mine) AND q.owner IS NULL
								  FOR UPDATE SKIP LOCKED))
		RETURNING r.message
	)
	SELECT array_agg(u.message) INTO stopped FROM (TABLE waiting UNION ALL TABLE due) AS u;
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
	DELETE FROM notify.recipient r WHERE r.id = erase_recipient.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN notify._add_counts(counts, jsonb_build_object('recipient', gone));
END
$$;

COMMENT ON FUNCTION notify.erase_recipient(text) IS
'Forgets a person: deletes recipient, addresses, inbox and idempotency keys, cancels what is not sent, and empties what the logs hold of them (also under ids they had before): that something was sent stays, not to whom or what. What is being sent at this moment, and events not yet planned, follow within a minute. An event about them that only others were told of stays until notify_pg.retention. Gives counts.';

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
		  AND EXISTS (SELECT FROM notify.cursor c WHERE pg_visible_in_snapshot(e.xid, c.snap))
		  AND NOT EXISTS (SELECT FROM notify.backlog)
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
'Everything held of a person, for the person: recipient, addresses, inbox, and each message with its words, data and outcomes. Also what went to ids they had before. recipient is null for an unknown id.';

-- sql/provider.sql
/*
 * provider.sql
 *		Configured ways to serve a channel, their secrets, and the lanes of
 *		the queue they make: lane = provider.id * 4 + priority.
 */
CREATE TABLE notify.provider (
	name		text PRIMARY KEY CHECK (name <> ''),
	id			integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
	channel		text NOT NULL,
	adapter		text NOT NULL,
	settings	jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
	priority	integer NOT NULL DEFAULT 0,
	concurrency	integer CHECK (concurrency > 0),
	max_attempts integer NOT NULL DEFAULT 10 CHECK (max_attempts > 0),
	enabled		boolean NOT NULL DEFAULT true,
	problem		text
);

COMMENT ON TABLE notify.provider IS 'A configured way to serve a channel. Checked when saved.';
COMMENT ON COLUMN notify.provider.name IS 'Its name.';
COMMENT ON COLUMN notify.provider.id IS 'Stays when it is renamed.';
COMMENT ON COLUMN notify.provider.channel IS 'The channel it serves.';
COMMENT ON COLUMN notify.provider.adapter IS 'inbox, webhook or smtp: the protocol.';
COMMENT ON COLUMN notify.provider.settings IS 'As the adapter needs (docs/channels.md). A string may be {"secret": "name"}: a row of notify.secret.';
COMMENT ON COLUMN notify.provider.priority IS 'The enabled provider with the lowest number serves the channel.';
COMMENT ON COLUMN notify.provider.concurrency IS 'Most transfers at a time in one dispatcher. NULL: half of notify_pg.max_in_flight.';
COMMENT ON COLUMN notify.provider.max_attempts IS 'After this many attempts a message is dead.';
COMMENT ON COLUMN notify.provider.enabled IS 'False: it is not used; its messages wait for it or for another provider of the channel.';
COMMENT ON COLUMN notify.provider.problem IS 'What is wrong with it: it refused our credentials, or its settings are bad. NULL when nothing is. Saving it again clears it.';

CREATE TABLE notify.secret (
	name		text PRIMARY KEY CHECK (name <> ''),
	value		text NOT NULL
);

COMMENT ON TABLE notify.secret IS
'Passwords and keys, by the name providers refer to. Only the worker reads it; it is in no dump. Whoever may edit providers can have any secret sent to an address of theirs: grant notify_admin accordingly.';
COMMENT ON COLUMN notify.secret.name IS 'Its name.';
COMMENT ON COLUMN notify.secret.value IS 'The secret.';

-- Which adapters can serve which channel.
CREATE FUNCTION notify._check_provider_row() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND NEW.problem IS DISTINCT FROM OLD.problem
		AND to_jsonb(NEW) - 'problem' = to_jsonb(OLD) - 'problem' THEN
		RETURN NEW;			-- a worker flags it, or takes the flag back
	END IF;
	PERFORM notify._check_channel(NEW.channel);
	IF (NEW.channel, NEW.adapter) NOT IN (('inbox', 'inbox'), ('email', 'smtp'), ('webhook', 'webhook')) THEN
		RAISE EXCEPTION 'adapter "%" cannot serve channel "%"', NEW.adapter, NEW.channel
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'inbox is served by adapter inbox, email by smtp, webhook by webhook.';
	END IF;
	IF NEW.adapter <> 'inbox' THEN
		PERFORM notify._check_provider(NEW.adapter, NEW.settings);
	END IF;
	NEW.problem := NULL;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_provider_row() IS 'Checks a provider when it is saved. Internal.';

CREATE TRIGGER provider_check BEFORE INSERT OR UPDATE ON notify.provider
	FOR EACH ROW EXECUTE FUNCTION notify._check_provider_row();

-- settings with every {"secret": "name"} replaced by its value; NULL when one is missing.
CREATE FUNCTION notify._with_secrets(settings jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE jsonb_typeof(settings)
		WHEN 'object' THEN
			CASE WHEN settings ? 'secret' AND jsonb_typeof(settings -> 'secret') = 'string'
					  AND (SELECT count(*) FROM jsonb_object_keys(settings)) = 1
				 THEN (SELECT to_jsonb(s.value) FROM notify.secret s WHERE s.name = settings ->> 'secret')
				 ELSE (SELECT coalesce(jsonb_object_agg(e.key, notify._with_secrets(e.value)), '{}')
					   FROM jsonb_each(settings) AS e)
			END
		ELSE settings
	END;
$$;

COMMENT ON FUNCTION notify._with_secrets(jsonb) IS
'A provider''s settings with its secrets filled in; a secret that does not exist becomes null. Internal.';

-- Dispatchers read the providers again when this number has changed.
CREATE FUNCTION notify._config_version() RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT hashtextextended(
		coalesce((SELECT string_agg(p::text, ',' ORDER BY p.id) FROM notify.provider p), '')
		|| coalesce((SELECT string_agg(s::text, ',' ORDER BY s.name) FROM notify.secret s), ''), 0);
$$;

COMMENT ON FUNCTION notify._config_version() IS
'Changes when a provider or a secret does. Internal.';

CREATE FUNCTION notify._providers()
RETURNS TABLE (id integer, name text, channel text, adapter text, settings jsonb, concurrency integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p.id, p.name, p.channel, p.adapter, notify._with_secrets(p.settings), p.concurrency
	FROM notify.provider p
	WHERE p.enabled
	ORDER BY p.priority, p.id;
$$;

COMMENT ON FUNCTION notify._providers() IS
'The enabled providers with their secrets, for the dispatcher alone. Internal.';

-- The provider each channel's messages go to now; one with a problem only when there is no other.
CREATE VIEW notify._serving AS
SELECT DISTINCT ON (p.channel) p.channel, p.id AS provider, p.settings ? 'url' AS has_url
FROM notify.provider p
WHERE p.enabled
ORDER BY p.channel, p.problem IS NOT NULL, p.priority, p.id;

COMMENT ON VIEW notify._serving IS 'Which provider serves which channel now. Internal.';

-- sql/message.sql
/*
 * message.sql
 *		Decisions and what became of them (logs), and the queue (hot).
 *
 * message and outcome are insert-only, partitioned by the day of the message's
 * id. ready and scheduled hold only what is still to be sent: a row is deleted
 * when its message is settled. Only the planner inserts into ready, in commit
 * order of seq, so a claim may keep a bound below which nothing is left.
 */
CREATE TABLE notify.message (
	id			bigint NOT NULL,
	event		bigint NOT NULL,
	event_xid	xid8 NOT NULL,
	source		oid,
	key			text,
	rule		bigint,
	recipient	text,
	category	text,
	channel		text,
	address		text,
	priority	smallint NOT NULL,
	template	text,
	template_version bigint,
	verdict		text NOT NULL CHECK (verdict IN ('send', 'skipped', 'suppressed', 'cancelled')),
	reason		text,
	detail		text,
	due_at		timestamptz,
	expires_at	timestamptz,
	dedupe_key	text,
	cancel_key	text,
	context		jsonb,
	PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE notify.message_default PARTITION OF notify.message DEFAULT;
CREATE INDEX message_event ON notify.message (event);
-- A key has no bound, an index entry has.
CREATE INDEX message_key ON notify.message (left(key, 200), source) WHERE key IS NOT NULL;
CREATE INDEX message_recipient ON notify.message (recipient);

COMMENT ON TABLE notify.message IS
'Every decision, sent or not: one notification for one recipient on one channel. Insert-only, partitioned by UTC day of id.';
COMMENT ON COLUMN notify.message.id IS 'Carries the time of the decision: notify.id_time(id).';
COMMENT ON COLUMN notify.message.event IS 'notify.event.id.';
COMMENT ON COLUMN notify.message.event_xid IS 'notify.event.xid, to find the event by its index.';
COMMENT ON COLUMN notify.message.source IS 'notify.event.source.';
COMMENT ON COLUMN notify.message.key IS 'notify.event.key.';
COMMENT ON COLUMN notify.message.rule IS 'The notify.rule_version that decided; NULL for send().';
COMMENT ON COLUMN notify.message.recipient IS 'notify.recipient.id; NULL when nobody was named.';
COMMENT ON COLUMN notify.message.category IS 'notify.category.name.';
COMMENT ON COLUMN notify.message.channel IS 'The channel; NULL when the decision was made before one was chosen.';
COMMENT ON COLUMN notify.message.address IS 'Where it goes; NULL for the inbox and for a webhook provider''s own URL.';
COMMENT ON COLUMN notify.message.priority IS '0 urgent to 3 bulk.';
COMMENT ON COLUMN notify.message.template IS 'notify.template.name.';
COMMENT ON COLUMN notify.message.template_version IS 'The words: notify.template_version.id. NULL for a webhook without a template: it carries the data.';
COMMENT ON COLUMN notify.message.verdict IS 'send, or our own decision not to: skipped, suppressed, cancelled.';
COMMENT ON COLUMN notify.message.reason IS 'notify.reason.code; NULL when it is sent.';
COMMENT ON COLUMN notify.message.detail IS 'More on the reason, such as an error''s text.';
COMMENT ON COLUMN notify.message.due_at IS 'When it is to be sent (notify.now() time).';
COMMENT ON COLUMN notify.message.expires_at IS 'After this it is not sent any more.';
COMMENT ON COLUMN notify.message.dedupe_key IS 'The value of the rule''s dedupe_key.';
COMMENT ON COLUMN notify.message.cancel_key IS 'A later event with this cancel_key cancels the message.';
COMMENT ON COLUMN notify.message.context IS 'What the rule''s queries gave for the template, and the recipient as it was. NULL after erasure.';

CREATE TABLE notify.outcome (
	message		bigint NOT NULL,
	at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	verdict		text NOT NULL CHECK (verdict IN ('sent', 'delivered', 'retrying', 'failed', 'dead', 'cancelled', 'expired')),
	attempt		integer,
	provider	text,
	class		text,
	code		integer,
	reason		text,
	detail		text,
	reference	text,
	next_at		timestamptz,
	latency		integer
) PARTITION BY RANGE (message);

CREATE TABLE notify.outcome_default PARTITION OF notify.outcome DEFAULT;
CREATE INDEX outcome_message ON notify.outcome (message, at);

COMMENT ON TABLE notify.outcome IS
'What became of a message: attempts, receipts and late decisions. Insert-only, partitioned by UTC day of the message''s id.';
COMMENT ON COLUMN notify.outcome.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.outcome.at IS 'When it was recorded.';
COMMENT ON COLUMN notify.outcome.verdict IS 'sent: the provider took it; delivered: it reached the person; retrying: it will be tried again at next_at; failed: the provider''s final no; dead: attempts or time ran out; cancelled, expired: our late decisions.';
COMMENT ON COLUMN notify.outcome.attempt IS 'Which attempt, from 1; NULL for a late decision.';
COMMENT ON COLUMN notify.outcome.provider IS 'notify.provider.name.';
COMMENT ON COLUMN notify.outcome.class IS 'How the answer was taken: ok, retry, defer, permanent_message, permanent_recipient, provider_down, auth.';
COMMENT ON COLUMN notify.outcome.code IS 'HTTP status (RFC 9110) or SMTP reply code (RFC 5321); NULL when there was no answer.';
COMMENT ON COLUMN notify.outcome.reason IS 'notify.reason.code of a late decision.';
COMMENT ON COLUMN notify.outcome.detail IS 'The provider''s words or the error, bounded.';
COMMENT ON COLUMN notify.outcome.reference IS 'The provider''s id of the message.';
COMMENT ON COLUMN notify.outcome.next_at IS 'retrying: when (notify.now() time).';
COMMENT ON COLUMN notify.outcome.latency IS 'Milliseconds from the start of the transfer to its end.';

CREATE SEQUENCE notify.ready_seq;
COMMENT ON SEQUENCE notify.ready_seq IS 'The order of notify.ready.';

CREATE TABLE notify.ready (
	message		bigint PRIMARY KEY,
	seq			bigint NOT NULL DEFAULT nextval('notify.ready_seq'),
	lane		integer NOT NULL,
	attempts	integer NOT NULL DEFAULT 0,
	redriven	boolean NOT NULL DEFAULT false,
	owner		integer,
	boot		bigint,
	lease		timestamptz
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
		autovacuum_vacuum_insert_scale_factor = 0, autovacuum_analyze_scale_factor = 0,
		autovacuum_analyze_threshold = 100000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX ready_lane ON notify.ready (lane, seq);

COMMENT ON TABLE notify.ready IS 'Messages due now: the hot queue. Only the planner inserts; settling deletes.';
COMMENT ON COLUMN notify.ready.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.ready.seq IS 'Order within the lane.';
COMMENT ON COLUMN notify.ready.lane IS 'provider.id * 4 + priority.';
COMMENT ON COLUMN notify.ready.attempts IS 'Attempts begun; counted before the work.';
COMMENT ON COLUMN notify.ready.redriven IS 'True after redrive(): it is sent although it expired.';
COMMENT ON COLUMN notify.ready.owner IS 'The dispatcher slot that has it; NULL: free.';
COMMENT ON COLUMN notify.ready.boot IS 'Which start of that dispatcher; with owner it fences late settles.';
COMMENT ON COLUMN notify.ready.lease IS 'After this another may take it.';

CREATE TABLE notify.scheduled (
	message		bigint PRIMARY KEY,
	due_at		timestamptz NOT NULL,
	attempts	integer NOT NULL DEFAULT 0,
	redriven	boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
		autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
		autovacuum_vacuum_cost_delay = 0);

CREATE INDEX scheduled_due ON notify.scheduled (due_at);

COMMENT ON TABLE notify.scheduled IS 'Messages due later: delays and retries. The planner moves what has come due to notify.ready.';
COMMENT ON COLUMN notify.scheduled.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.scheduled.due_at IS 'When (notify.now() time).';
COMMENT ON COLUMN notify.scheduled.attempts IS 'Attempts made so far.';
COMMENT ON COLUMN notify.scheduled.redriven IS 'As in notify.ready.';

CREATE TABLE notify.idempotency (
	key			text PRIMARY KEY,
	event		bigint NOT NULL,
	hash		bigint NOT NULL
);

CREATE INDEX idempotency_event ON notify.idempotency (event);

COMMENT ON TABLE notify.idempotency IS
'Keys that make something happen once: send()''s idempotency keys and rules'' dedupe keys. Kept for notify_pg.retention.';
COMMENT ON COLUMN notify.idempotency.key IS 'send/<key>, rule/<rule id>/<recipient>/<dedupe key>, or replay/<rule id>/<event>.';
COMMENT ON COLUMN notify.idempotency.event IS 'The event that had it first.';
COMMENT ON COLUMN notify.idempotency.hash IS 'Of what send() was called with; 0 for rules.';

-- sql/decide.sql
/*
 * decide.sql
 *		From candidates to decisions, without a side effect.
 *
 * A candidate is "this rule (or send) wants to tell this person something"; a
 * decision is a message to be, with its verdict. decide() is the only place
 * that decides: the planner writes what it says (plan.sql), and simulation
 * and explanation call the same function.
 */
CREATE TYPE notify.candidate AS (
	event		bigint,
	event_xid	xid8,
	source		oid,
	key			text,
	rule		bigint,
	rule_id		bigint,
	recipient	text,
	template	text,
	category	text,
	channels	text[],
	priority	integer,
	due_at		timestamptz,
	expires		interval,
	dedupe_key	text,
	cancel_key	text,
	context		jsonb,
	reason		text,
	detail		text
);

COMMENT ON TYPE notify.candidate IS
'What decide() takes: a rule version (or a send) that wants to tell a recipient of an event. reason is set when it is already known why not.';

CREATE TYPE notify.decision AS (
	event		bigint,
	event_xid	xid8,
	source		oid,
	key			text,
	rule		bigint,
	rule_id		bigint,
	recipient	text,
	template	text,
	category	text,
	channel		text,
	address		text,
	provider	integer,
	priority	smallint,
	template_version bigint,
	verdict		text,
	reason		text,
	detail		text,
	due_at		timestamptz,
	expires_at	timestamptz,
	dedupe_key	text,
	cancel_key	text,
	context		jsonb
);

COMMENT ON TYPE notify.decision IS 'What decide() gives: a row of notify.message to be, and the provider it would go to.';

-- The key a rule's dedupe_key takes in notify.idempotency.
CREATE FUNCTION notify._dedupe_key(rule_id bigint, recipient text, dedupe_key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'rule/' || rule_id || '/' || recipient || '/' || dedupe_key;

COMMENT ON FUNCTION notify._dedupe_key(bigint, text, text) IS 'A dedupe key''s row in notify.idempotency; NULL when any part is. Internal.';

-- The cancel_key that notify.cancel() of an event writes.
CREATE FUNCTION notify._event_cancel_key(event bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'notify:event:' || event;

COMMENT ON FUNCTION notify._event_cancel_key(bigint) IS 'What cancel(event) writes into event.cancel_key. Internal.';

/*
 * The cancelling events newer than "since" with one of these keys, as parallel
 * arrays; NULL when there are none, as there mostly are.
 */
CREATE FUNCTION notify._find_cancels(keys text[], since bigint, OUT cancelled text[], OUT cancels bigint[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
	SELECT array_agg(e.cancel_key), array_agg(e.id) INTO cancelled, cancels
	FROM notify.event e
	WHERE e.cancel_key = ANY (keys) AND e.id > since
	  -- cancel()'s own keys are not for rules to make
	  AND (e.op = 'C') = (e.cancel_key LIKE 'notify:event:%');
END
$$;

COMMENT ON FUNCTION notify._find_cancels(text[], bigint) IS
'Cancelling events with one of these keys and a higher id. Internal.';

CREATE FUNCTION notify.decide(candidates notify.candidate[]) RETURNS SETOF notify.decision
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	at timestamptz := notify.now();
	cancelled text[];
	cancels bigint[];
BEGIN
	SELECT f.cancelled, f.cancels INTO cancelled, cancels
	FROM (SELECT array_agg(k.key) AS keys, min(u.event) AS since
		  FROM unnest(candidates) AS u
		  CROSS JOIN LATERAL (VALUES (u.cancel_key), (notify._event_cancel_key(u.event))) AS k (key)
		  WHERE k.key IS NOT NULL) AS k
	CROSS JOIN LATERAL notify._find_cancels(k.keys, k.since) AS f;
	RETURN QUERY
	WITH person AS MATERIALIZED (
		SELECT u.*, notify._locale_chain(r.locale) AS chain, k.class, k.ttl,
			   coalesce(u.channels, k.channels) AS use_channels,
			   jsonb_build_object('recipient', CASE WHEN r.id IS NOT NULL THEN jsonb_build_object(
				   'id', r.id, 'name', r.name, 'locale', r.locale, 'time_zone', r.time_zone,
				   'attributes', r.attributes) END) AS snapshot,
			   CASE
				   WHEN u.reason IS NOT NULL THEN u.reason
				   WHEN u.recipient IS NULL THEN 'no_recipient'
				   WHEN r.id IS NULL THEN 'unknown_recipient'
				   WHEN cancelled IS NOT NULL AND EXISTS (
						SELECT FROM unnest(cancelled, cancels) AS x (key, id)
						WHERE x.key IN (u.cancel_key, notify._event_cancel_key(u.event)) AND x.id > u.event)
						THEN 'cancelled'
				   WHEN u.dedupe_key IS NOT NULL AND (
						EXISTS (SELECT FROM notify.idempotency i
								WHERE i.key = notify._dedupe_key(u.rule_id, u.recipient, u.dedupe_key)
								  AND i.event <> u.event)
						-- counts the earlier ones that may be sent, and this one
						OR count(*) FILTER (WHERE u.reason IS NULL)
							OVER (PARTITION BY u.rule_id, u.recipient, u.dedupe_key ORDER BY u.event, u.n) > 1)
						THEN 'duplicate'
				   WHEN cardinality(coalesce(u.channels, k.channels, '{}')) = 0 THEN 'no_channel'
			   END AS stop
		FROM unnest(candidates) WITH ORDINALITY AS u
				(event, event_xid, source, key, rule, rule_id, recipient, template, category, channels,
				 priority, due_at, expires, dedupe_key, cancel_key, context, reason, detail, n)
		LEFT JOIN notify.recipient r ON r.id = u.recipient
		LEFT JOIN notify.category k ON k.name = u.category
	)
	SELECT d.event, d.event_xid, d.source, d.key, d.rule, d.rule_id, d.recipient, d.template,
		   d.category, d.channel, d.address, d.provider, d.priority::smallint, d.template_version,
		   CASE WHEN d.why IS NULL THEN 'send' WHEN d.why = 'cancelled' THEN 'cancelled' ELSE 'skipped' END,
		   d.why, d.detail, d.due_at, greatest(d.due_at, at) + coalesce(d.expires, d.ttl, '3 days'),
		   d.dedupe_key, d.cancel_key, coalesce(d.context, '{}') || d.snapshot
	FROM (
		SELECT c.event, c.event_xid, c.source, c.key, c.rule, c.rule_id, c.recipient, c.template,
			   c.category, ch.channel, p.provider, t.version AS template_version,
			   CASE WHEN ch.channel <> 'inbox' THEN a.address END AS address,
			   coalesce(c.priority, CASE c.class WHEN 'critical' THEN 0 WHEN 'transactional' THEN 1 ELSE 3 END) AS priority,
			   c.due_at, c.expires, c.ttl, c.dedupe_key, c.cancel_key, c.context, c.snapshot, c.detail,
			   CASE
				   WHEN c.stop IS NOT NULL THEN c.stop
				   WHEN p.provider IS NULL THEN 'no_provider'
				   WHEN ch.channel <> 'inbox' AND a.address IS NULL AND NOT p.has_url THEN 'no_address'
				   WHEN a.state = 'invalid' THEN 'address_invalid'
				   WHEN t.version IS NULL AND ch.channel <> 'webhook' THEN 'no_template'
			   END AS why
		FROM person AS c
		LEFT JOIN LATERAL (SELECT DISTINCT x AS channel FROM unnest(c.use_channels) AS x
						   WHERE c.stop IS NULL) AS ch ON true
		LEFT JOIN notify._serving p ON p.channel = ch.channel
		LEFT JOIN LATERAL (SELECT b.address, b.state FROM notify.address b
						   WHERE b.recipient = c.recipient AND b.channel = ch.channel
						   ORDER BY b.state, b.verified_at IS NULL, b.created_at, b.address
						   LIMIT 1) AS a ON ch.channel IS NOT NULL
		LEFT JOIN LATERAL (SELECT w.version FROM notify.template w
						   WHERE w.name = c.template AND w.channel = ch.channel AND w.weight > 0
							 AND lower(w.locale) = ANY (c.chain)
						   ORDER BY array_position(c.chain, lower(w.locale)),
									-ln(((hashtextextended(c.recipient || '/' || w.name || '/' || w.variant, 0)
										  & 2147483647) + 1) / 2147483649.0) / w.weight
						   LIMIT 1) AS t ON ch.channel IS NOT NULL
	) AS d;
END
$$;

COMMENT ON FUNCTION notify.decide(notify.candidate[]) IS
'What would become of these candidates now: one row per recipient and channel, or one without a channel when it stops earlier. No side effect.';

-- sql/plan.sql
/*
 * plan.sql
 *		The planner's steps: which events are next, what they ask for, and
 *		writing what decide() says. One planner per database runs them, each
 *		call in a transaction of its own; a lock on notify.cursor makes a
 *		second caller wait.
 *
 * The cursor is a snapshot, as in PgQ. Everything visible in cursor.snap is
 * planned or is in the backlog. A batch is what became visible between snap
 * and open_to: transactions from snap's xmax up to open_to's xmax, and those
 * that were in progress in snap. Within a batch, position is (xid, id).
 * A transaction that fills more than half of a chunk leaves the batch for the
 * backlog, so that what commits after it need not wait for all of it.
 *
 * mark keeps (from_xid, id) pairs, one a minute: events of transactions from
 * from_xid on have ids from id on, a day of clock error allowed. Searches use it so
 * that old partitions are not looked into.
 */
CREATE TABLE notify.cursor (
	one			boolean PRIMARY KEY DEFAULT true CHECK (one),
	snap		pg_snapshot NOT NULL,
	open_to		pg_snapshot,
	at_xid		xid8 NOT NULL DEFAULT '0',
	at_id		bigint NOT NULL DEFAULT 0,
	backlog_turn boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE notify.cursor IS 'How far planning has come. One row; the planner''s own.';
COMMENT ON COLUMN notify.cursor.one IS 'True: there is one row.';
COMMENT ON COLUMN notify.cursor.snap IS 'Everything visible in it is planned or in the backlog.';
COMMENT ON COLUMN notify.cursor.open_to IS 'The end of the batch being planned; NULL: none is open.';
COMMENT ON COLUMN notify.cursor.at_xid IS 'Position in the open batch: transaction.';
COMMENT ON COLUMN notify.cursor.at_id IS 'Position in the open batch: event.';
COMMENT ON COLUMN notify.cursor.backlog_turn IS 'Whose turn it is when there are both a batch and a backlog.';

CREATE TABLE notify.backlog (
	xid			xid8 PRIMARY KEY,
	at_id		bigint NOT NULL
);

COMMENT ON TABLE notify.backlog IS 'Large transactions whose events are planned bit by bit.';
COMMENT ON COLUMN notify.backlog.xid IS 'The transaction.';
COMMENT ON COLUMN notify.backlog.at_id IS 'Its events up to this id are planned.';

CREATE TABLE notify.mark (
	from_xid	xid8 PRIMARY KEY,
	id			bigint NOT NULL
);

COMMENT ON TABLE notify.mark IS 'Which ids the events of which transactions can have.';
COMMENT ON COLUMN notify.mark.from_xid IS 'Transactions from this one on ...';
COMMENT ON COLUMN notify.mark.id IS '... have event ids from this one on.';

-- The lowest id an event of this transaction or a later one can have.
CREATE FUNCTION notify._low_id(x xid8) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN coalesce((SELECT m.id FROM notify.mark m WHERE m.from_xid <= x ORDER BY m.from_xid DESC LIMIT 1), 0);
END
$$;

COMMENT ON FUNCTION notify._low_id(xid8) IS 'A lower bound of the event ids of this and later transactions. Internal.';

-- Remembers, once a minute, where ids are when a batch is opened; follows a clock set back.
CREATE FUNCTION notify._mark(snap pg_snapshot) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	low bigint := notify.time_id(clock_timestamp() - interval '1 day');
BEGIN
	UPDATE notify.mark m SET id = low WHERE m.id > low;
	IF NOT EXISTS (SELECT FROM notify.mark m
				   WHERE m.id > notify.time_id(clock_timestamp() - interval '1 day 1 minute')) THEN
		INSERT INTO notify.mark VALUES (pg_snapshot_xmax(snap), low)
		ON CONFLICT (from_xid) DO UPDATE SET id = excluded.id;
	END IF;
	DELETE FROM notify.mark m
	WHERE m.from_xid < (SELECT max(o.from_xid) FROM notify.mark o
					WHERE o.from_xid <= least(pg_snapshot_xmin(_mark.snap),
											  (SELECT pg_snapshot_xmin(c.snap) FROM notify.cursor c),
											  (SELECT min(b.xid) FROM notify.backlog b)));
END
$$;

COMMENT ON FUNCTION notify._mark(pg_snapshot) IS 'Keeps notify.mark. Internal.';

-- A chunk of the oldest large transaction; NULL when there is none.
CREATE FUNCTION notify._backlog_chunk(batch integer) RETURNS notify.event[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	b notify.backlog;
	chunk notify.event[];
BEGIN
	SELECT * INTO b FROM notify.backlog ORDER BY xid LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	chunk := ARRAY(SELECT e FROM notify.event e
				   WHERE e.xid = b.xid AND e.id > b.at_id
				   ORDER BY e.xid, e.id LIMIT batch);
	IF cardinality(chunk) < batch THEN
		DELETE FROM notify.backlog d WHERE d.xid = b.xid;
	ELSE
		UPDATE notify.backlog u SET at_id = chunk[batch].id WHERE u.xid = b.xid;
	END IF;
	RETURN nullif(chunk, '{}');
END
$$;

COMMENT ON FUNCTION notify._backlog_chunk(integer) IS 'The next events of the oldest large transaction. Internal.';

/*
 * The events of one arm of a batch. First come the transactions that were in
 * progress in snap (they have the lower xids), then those that began later.
 */
CREATE FUNCTION notify._batch_events(c notify.cursor, batch integer) RETURNS notify.event[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	ended xid8[] := ARRAY(SELECT x FROM pg_snapshot_xip(c.snap) AS x
						  WHERE x >= c.at_xid AND pg_visible_in_snapshot(x, c.open_to));
	first xid8 := pg_snapshot_xmax(c.snap);
	after bigint := 0;
	chunk notify.event[] := '{}';
BEGIN
	IF c.at_xid >= first THEN
		first := c.at_xid;
		after := c.at_id;
	END IF;
	IF cardinality(ended) > 0 THEN
		chunk := ARRAY(SELECT e FROM notify.event e
					   WHERE e.xid = ANY (ended) AND (e.xid, e.id) > (c.at_xid, c.at_id)
						 AND e.id >= notify._low_id(ended[1])
					   ORDER BY e.xid, e.id LIMIT batch);
	END IF;
	IF cardinality(chunk) < batch THEN
		chunk := chunk || ARRAY(SELECT e FROM notify.event e
								WHERE (e.xid, e.id) > (first, after)
								  AND e.xid < pg_snapshot_xmax(c.open_to)
								  AND pg_visible_in_snapshot(e.xid, c.open_to)
								  AND e.id >= notify._low_id(first)
								ORDER BY e.xid, e.id LIMIT batch - cardinality(chunk));
	END IF;
	RETURN chunk;
END
$$;

COMMENT ON FUNCTION notify._batch_events(notify.cursor, integer) IS 'The next events of the open batch. Internal.';

-- A chunk of the open batch, opening one when there is something new; NULL when there is nothing.
CREATE FUNCTION notify._batch_chunk(batch integer) RETURNS notify.event[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c notify.cursor;
	chunk notify.event[];
	last notify.event;
	fresh boolean;
BEGIN
	SELECT * INTO STRICT c FROM notify.cursor;
	fresh := c.open_to IS NULL;
	IF fresh THEN
		c.open_to := pg_current_snapshot();
		c.at_xid := '0';
		c.at_id := 0;
	END IF;
	chunk := notify._batch_events(c, batch);
	IF cardinality(chunk) = batch THEN
		last := chunk[batch];
		IF chunk[batch / 2 + 1].xid = last.xid THEN
			INSERT INTO notify.backlog VALUES (last.xid, last.id);
			last.id := 9223372036854775807;
		END IF;
		IF fresh THEN
			PERFORM notify._mark(c.open_to);
		END IF;
		UPDATE notify.cursor SET open_to = c.open_to, at_xid = last.xid, at_id = last.id;
	ELSIF cardinality(chunk) > 0 OR NOT fresh
		OR pg_snapshot_xmax(c.open_to)::text::numeric > pg_snapshot_xmax(c.snap)::text::numeric + 1000 THEN
		-- An idle planner writes nothing: an unsaved empty batch is simply searched again.
		IF fresh THEN
			PERFORM notify._mark(c.open_to);
		END IF;
		UPDATE notify.cursor SET snap = c.open_to, open_to = NULL;
	END IF;
	RETURN nullif(chunk, '{}');
END
$$;

COMMENT ON FUNCTION notify._batch_chunk(integer) IS 'The next events of what committed since the last batch. Internal.';

-- The next events to plan, new ones and large old transactions by turns.
CREATE FUNCTION notify._next_events(batch integer) RETURNS notify.event[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	chunk notify.event[];
	behind boolean := EXISTS (SELECT FROM notify.backlog);
BEGIN
	IF behind AND (SELECT c.backlog_turn FROM notify.cursor c) THEN
		chunk := notify._backlog_chunk(batch);
	END IF;
	IF chunk IS NULL THEN
		chunk := notify._batch_chunk(batch);
		IF chunk IS NULL AND behind THEN
			chunk := notify._backlog_chunk(batch);
		END IF;
	END IF;
	IF behind THEN
		UPDATE notify.cursor SET backlog_turn = NOT backlog_turn;
	END IF;
	RETURN chunk;
END
$$;

COMMENT ON FUNCTION notify._next_events(integer) IS 'The events to plan next; NULL when all are planned. Internal.';

-- src/plan/query.c, src/plan/run.c
CREATE FUNCTION notify._run_query(version bigint, kind text, ids bigint[], news jsonb[], olds jsonb[], metas jsonb[])
RETURNS TABLE (event bigint, data jsonb, reason text, detail text)
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'notify_run_query';

COMMENT ON FUNCTION notify._run_query(bigint, text, bigint[], jsonb[], jsonb[], jsonb[]) IS
'Runs a rule version''s audience or context over events as the rule''s owner, read-only and in bounded time; an event it raises an error on gets a row with reason and detail. Internal.';

-- An event's data as a rule's queries and templates see it.
CREATE FUNCTION notify._event_meta(e notify.event) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object('id', e.id::text, 'type', e.type, 'key', e.key, 'op', e.op,
						  'at', to_char(notify.id_time(e.id) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));

COMMENT ON FUNCTION notify._event_meta(notify.event) IS 'id, type, key, op and at of an event. Internal.';

CREATE FUNCTION notify._event_old(e notify.event) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE e.op WHEN 'U' THEN e.new || coalesce(e.old, '{}') ELSE e.old END;

COMMENT ON FUNCTION notify._event_old(notify.event) IS 'An event''s whole old row: what did not change is taken from new. Internal.';

/*
 * What events ask for: a candidate for each rule that matched and each person
 * it names. Audience and context run here, as the rule's owner, a rule's
 * events at a time (src/plan/query.c). Rules are looked up by their index
 * (OFFSET 0), for the events are few and the versions may be many.
 */
CREATE FUNCTION notify._gather(events notify.event[]) RETURNS notify.candidate[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off		-- an audience times itself is no join
SET jit = off
AS $$
DECLARE
	clock timestamptz := clock_timestamp();		-- ids may be ahead of a clock set back
	shift interval := notify.now() - clock;		-- from the clock of ids to that of schedules
BEGIN
	RETURN ARRAY(
		WITH wanted AS MATERIALIZED (
			SELECT e, w.n, w.recipient, w.dedupe_key, w.cancel_key, v,
				   r.id IS NOT NULL AS live,
				   e.truncated AS cut
			FROM unnest(events) AS e
			CROSS JOIN LATERAL unnest(e.rules, e.recipients, e.dedupe_keys, e.cancel_keys)
				WITH ORDINALITY AS w (rule, recipient, dedupe_key, cancel_key, n)
			CROSS JOIN LATERAL (SELECT * FROM notify.rule_version o WHERE o.id = w.rule OFFSET 0) AS v
			LEFT JOIN LATERAL (SELECT o.id FROM notify.rule o WHERE o.id = v.rule AND o.enabled OFFSET 0) AS r ON true
			WHERE v.action = 'notify'
		), asked AS MATERIALIZED (
			SELECT k.kind, g.rule, q.event, q.n, q.data, q.reason, q.detail
			FROM (VALUES ('audience'), ('context')) AS k (kind)
			CROSS JOIN LATERAL (
				SELECT (s.v).id AS rule,
					   array_agg((s.e).id ORDER BY (s.e).id) AS ids,
					   array_agg((s.e).new ORDER BY (s.e).id) AS news,
					   array_agg(notify._event_old(s.e) ORDER BY (s.e).id) AS olds,
					   array_agg(notify._event_meta(s.e) ORDER BY (s.e).id) AS metas
				FROM wanted s
				WHERE s.live AND NOT s.cut
				  AND CASE k.kind WHEN 'audience' THEN (s.v).audience ELSE (s.v).context END IS NOT NULL
				GROUP BY 1) AS g
			CROSS JOIN LATERAL notify._run_query(g.rule, k.kind, g.ids, g.news, g.olds, g.metas)
				WITH ORDINALITY AS q (event, data, reason, detail, n)
		)
		SELECT ROW ((w.e).id, (w.e).xid, (w.e).source, (w.e).key, (w.v).id, (w.v).rule,
					CASE WHEN (w.v).audience IS NOT NULL THEN left(a.data ->> 'recipient', 256)
						 WHEN (w.v).recipient IS NOT NULL THEN nullif(w.recipient, '')
						 ELSE (w.e).recipient END,
					(w.v).template, (w.v).category, (w.v).channels, (w.v).priority,
					least(notify.id_time((w.e).id), clock) + shift + coalesce((w.v).delay, '0'), (w.v).expires, w.dedupe_key, w.cancel_key,
					coalesce(c.data, '{}') || coalesce(a.data - 'recipient', '{}'),
					CASE WHEN NOT w.live THEN 'rule_off'
						 WHEN w.cut THEN 'row_too_large'
						 ELSE coalesce(a.reason, c.reason) END,
					coalesce(a.detail, c.detail))::notify.candidate
		FROM wanted w
		LEFT JOIN asked a ON a.kind = 'audience' AND a.rule = (w.v).id AND a.event = (w.e).id
		LEFT JOIN asked c ON c.kind = 'context' AND c.rule = (w.v).id AND c.event = (w.e).id
		UNION ALL
		SELECT ROW (e.id, e.xid, e.source, e.key, NULL, NULL, e.recipient,
					e.instruction ->> 'template', e.instruction ->> 'category',
					(SELECT array_agg(x) FROM jsonb_array_elements_text(e.instruction -> 'channels') AS x), NULL,
					coalesce((e.instruction ->> 'at')::timestamptz, least(notify.id_time(e.id), clock) + shift),
					NULL, NULL, NULL, '{}'::jsonb, NULL, NULL)::notify.candidate
		FROM unnest(events) AS e
		WHERE e.op = 'S'
		UNION ALL
		SELECT ROW (e.id, e.xid, e.source, e.key, u.rule, v.rule, e.recipient, v.template, v.category,
					v.channels, v.priority, NULL, NULL, NULL, NULL, NULL, 'condition_error',
					format('%s (SQLSTATE %s)', u.message, u.sqlstate))::notify.candidate
		FROM unnest(events) AS e
		CROSS JOIN LATERAL jsonb_to_recordset(e.undecided) AS u (rule bigint, sqlstate text, message text)
		LEFT JOIN notify.rule_version v ON v.id = u.rule
		WHERE e.undecided IS NOT NULL);
END
$$;

COMMENT ON FUNCTION notify._gather(notify.event[]) IS
'The candidates of these events: rules that matched, with their audience and context, sends, and rules that could not decide. Internal.';

-- Flags the rules that could not be decided on these events.
CREATE FUNCTION notify._flag_rules(events notify.event[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	broken bigint[] := ARRAY(SELECT DISTINCT (x ->> 'rule')::bigint FROM unnest(events) AS e
							 CROSS JOIN LATERAL jsonb_array_elements(e.undecided) AS x
							 WHERE e.undecided IS NOT NULL);
	free bigint[];
BEGIN
	IF cardinality(broken) = 0 THEN
		RETURN;
	END IF;
	-- Never wait for somebody who is editing the rule: a later event flags it.
	free := ARRAY(SELECT r.id FROM notify.rule r
				  WHERE r.version = ANY (broken) AND r.problem IS NULL FOR UPDATE SKIP LOCKED);
	UPDATE notify.rule r
	SET problem = format('%s (SQLSTATE %s)', u.message, u.sqlstate)
	FROM (SELECT DISTINCT ON (x.rule) x.rule, x.sqlstate, x.message
		  FROM unnest(events) AS e
		  CROSS JOIN LATERAL jsonb_to_recordset(e.undecided) AS x (rule bigint, sqlstate text, message text)
		  WHERE e.undecided IS NOT NULL) AS u
	WHERE r.version = u.rule AND r.id = ANY (free);
END
$$;

COMMENT ON FUNCTION notify._flag_rules(notify.event[]) IS 'Writes rule.problem for rules whose expressions raised errors. Internal.';

-- Plans these events: decides, and writes the messages and their place in the queue.
CREATE FUNCTION notify._apply(events notify.event[], OUT planned integer, OUT readied integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	at timestamptz := notify.now();
BEGIN
	WITH d AS MATERIALIZED (
		SELECT notify._next_id() AS id, t.* FROM notify.decide(notify._gather(events)) AS t
	), written AS (
		INSERT INTO notify.message (id, event, event_xid, source, key, rule, recipient, category, channel,
				address, priority, template, template_version, verdict, reason, detail, due_at, expires_at,
				dedupe_key, cancel_key, context)
		SELECT d.id, d.event, d.event_xid, d.source, d.key, d.rule, d.recipient, d.category, d.channel,
			   d.address, d.priority, d.template, d.template_version, d.verdict, d.reason, d.detail, d.due_at,
			   d.expires_at, d.dedupe_key, d.cancel_key, d.context
		FROM d
	), keys AS (
		INSERT INTO notify.idempotency (key, event, hash)
		SELECT DISTINCT notify._dedupe_key(d.rule_id, d.recipient, d.dedupe_key), d.event, 0
		FROM d WHERE d.verdict = 'send' AND d.dedupe_key IS NOT NULL
		ON CONFLICT DO NOTHING
	), later AS (
		INSERT INTO notify.scheduled (message, due_at)
		SELECT d.id, d.due_at FROM d WHERE d.verdict = 'send' AND d.due_at > at
	), now AS (
		INSERT INTO notify.ready (message, lane)
		SELECT d.id, d.provider * 4 + d.priority FROM d WHERE d.verdict = 'send' AND d.due_at <= at
		RETURNING 1
	)
	SELECT count(*), (SELECT count(*) FROM now) INTO planned, readied FROM d;
END
$$;

COMMENT ON FUNCTION notify._apply(notify.event[]) IS
'Writes what decide() says of these events: messages, dedupe keys, ready and scheduled. Internal.';

/*
 * One bad event must not stop the others: when a chunk raises an error its
 * halves are tried, down to the event at fault, which is skipped and says why.
 */
CREATE FUNCTION notify._apply_all(events notify.event[], OUT planned integer, OUT readied integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	count integer := cardinality(events);
	half integer := count / 2;
	first record;
	second record;
BEGIN
	BEGIN
		SELECT a.planned, a.readied INTO planned, readied FROM notify._apply(events) AS a;
		RETURN;
	EXCEPTION WHEN OTHERS THEN
		IF count = 1 THEN
			INSERT INTO notify.message (id, event, event_xid, source, key, priority, recipient, verdict, reason, detail)
			VALUES (notify._next_id(), events[1].id, events[1].xid, events[1].source, events[1].key, 3,
					left(events[1].recipient, 200), 'skipped', 'plan_error', left(format('%s (SQLSTATE %s)', sqlerrm, sqlstate), 500));
			planned := 1;
			readied := 0;
			RETURN;
		END IF;
	END;
	SELECT * INTO first FROM notify._apply_all(events[:half]);
	SELECT * INTO second FROM notify._apply_all(events[half + 1:]);
	planned := first.planned + second.planned;
	readied := first.readied + second.readied;
END
$$;

COMMENT ON FUNCTION notify._apply_all(notify.event[]) IS
'_apply() that survives an event it cannot plan: that one is skipped (plan_error). Internal.';

-- Moves what has come due from scheduled to ready.
CREATE FUNCTION notify._promote(batch integer) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	at timestamptz := notify.now();
	moved integer;
BEGIN
	WITH due AS (
		DELETE FROM notify.scheduled s
		WHERE s.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.scheduled q
								  WHERE q.due_at <= at ORDER BY q.due_at LIMIT batch
								  FOR UPDATE SKIP LOCKED))
		RETURNING s.message, s.due_at, s.attempts, s.redriven
	)
	INSERT INTO notify.ready (message, lane, attempts, redriven)
	SELECT d.message, coalesce(v.provider, 0) * 4 + m.priority, d.attempts, d.redriven
	FROM due d
	JOIN notify.message m ON m.id = d.message
	LEFT JOIN notify._serving v ON v.channel = m.channel
	ORDER BY d.due_at
	ON CONFLICT (message) DO NOTHING;	-- redriven twice
	GET DIAGNOSTICS moved = ROW_COUNT;
	RETURN moved;
END
$$;

COMMENT ON FUNCTION notify._promote(integer) IS
'Moves due messages into the queue; those no provider serves wait in lanes 0 to 3. Internal.';

CREATE FUNCTION notify._plan(batch integer, OUT planned integer, OUT readied integer,
							 OUT more boolean, OUT next_due timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	chunk notify.event[];
	promoted integer := 0;
	behind boolean;
	at timestamptz := notify.now();		-- a volatile function is no index condition
BEGIN
	LOCK TABLE notify.cursor IN SHARE ROW EXCLUSIVE MODE;
	-- What is open now ends where it was opened: events since then need another look.
	behind := EXISTS (SELECT FROM notify.cursor c WHERE c.open_to IS NOT NULL);
	IF EXISTS (SELECT FROM notify.scheduled s WHERE s.due_at <= at) THEN
		promoted := notify._promote(batch);
	END IF;
	chunk := notify._next_events(batch);
	IF chunk IS NOT NULL THEN
		PERFORM notify._flag_rules(chunk);
		SELECT a.planned, a.readied INTO planned, readied FROM notify._apply_all(chunk) AS a;
	END IF;
	planned := coalesce(planned, 0);
	readied := coalesce(readied, 0) + promoted;
	more := behind OR promoted = batch OR coalesce(cardinality(chunk), 0) = batch
		OR EXISTS (SELECT FROM notify.backlog)
		OR EXISTS (SELECT FROM notify.cursor c WHERE c.open_to IS NOT NULL);
	SELECT min(s.due_at) INTO next_due FROM notify.scheduled s;
END
$$;

COMMENT ON FUNCTION notify._plan(integer) IS
'One step of planning: what has come due, then the next events. more: call again at once; next_due: when the next scheduled message is due. Internal.';

-- Start with the oldest transaction still running, this one included: it may write events yet.
INSERT INTO notify.cursor (snap)
SELECT format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))::pg_snapshot;

INSERT INTO notify.mark VALUES ('0', notify.time_id(clock_timestamp() - interval '1 day'));

-- sql/ready.sql
/*
 * ready.sql
 *		The dispatcher's side of the queue: claim, settle, rescue; and the
 *		planner's upkeep of it.
 *
 * A claim marks rows with (owner, boot, lease) and counts the attempt; the
 * caller commits before it sends. Settling names rows by ctid and must still
 * own them, so a late settle of a rescued row does nothing. No plan may flip:
 * rows are reached by ctid or through (lane, seq) only.
 *
 * bounds: a dispatcher passes, per lane, a seq below which nothing is left,
 * and gets a new one back (a row with message NULL). Since seq grows in commit
 * order, nothing can appear below it; dead index entries are not walked again.
 */

-- What a template sees: the event's data, the rule's context, new, old and event.
CREATE FUNCTION notify._data(e notify.event, context jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE WHEN e.op IN ('E', 'S') AND jsonb_typeof(e.new) = 'object' THEN e.new ELSE '{}'::jsonb END
	|| coalesce(context, '{}')
	|| jsonb_build_object('new', e.new, 'old', notify._event_old(e), 'event', notify._event_meta(e));

COMMENT ON FUNCTION notify._data(notify.event, jsonb) IS 'The data a message''s template is filled from. Internal.';

/*
 * Claimed messages that must not be sent after all: settles them and names
 * them. Cancelling is looked up for all of them at once; there is seldom any.
 */
CREATE FUNCTION notify._stop_claimed(claimed bigint[]) RETURNS bigint[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	at timestamptz := notify.now();
	keys text[];
	oldest bigint;
	cancelled text[];
	cancels bigint[];
	stopped bigint[];
	reasons text[];
BEGIN
	SELECT array_agg(k.key), min(m.event) INTO keys, oldest
	FROM unnest(claimed) AS c (id)
	JOIN notify.message m ON m.id = c.id
	CROSS JOIN LATERAL (VALUES (m.cancel_key), (notify._event_cancel_key(m.event))) AS k (key)
	WHERE k.key IS NOT NULL;
	SELECT f.cancelled, f.cancels INTO cancelled, cancels FROM notify._find_cancels(keys, oldest) AS f;
	SELECT array_agg(s.id), array_agg(s.reason) INTO stopped, reasons
	FROM (SELECT m.id, CASE WHEN EXISTS (SELECT FROM unnest(cancelled, cancels) AS x (key, id)
										 WHERE x.key IN (m.cancel_key, notify._event_cancel_key(m.event))
										   AND x.id > m.event) THEN 'cancelled'
							WHEN m.expires_at < at AND NOT q.redriven THEN 'expired' END AS reason
		  FROM unnest(claimed) AS c (id)
		  JOIN notify.message m ON m.id = c.id
		  JOIN notify.ready q ON q.message = c.id
		  WHERE m.expires_at < at OR cancelled IS NOT NULL) AS s
	WHERE s.reason IS NOT NULL;
	IF stopped IS NOT NULL THEN
		DELETE FROM notify.ready r WHERE r.message = ANY (stopped);
		INSERT INTO notify.outcome (message, verdict, reason)
		SELECT u.id, u.reason, u.reason FROM unnest(stopped, reasons) AS u (id, reason);
	END IF;
	RETURN coalesce(stopped, '{}');
END
$$;

COMMENT ON FUNCTION notify._stop_claimed(bigint[]) IS
'Decides again at claim: expired and cancelled messages are settled here and not sent. Internal.';

CREATE FUNCTION notify._claim(slot integer, boot bigint, lanes integer[], bounds bigint[], room integer[],
							  lease interval, max integer)
RETURNS TABLE (ready_tid tid, message bigint, event bigint, attempt integer, provider integer,
			   channel text, address text, recipient text, type text, created timestamptz,
			   template_version bigint, data jsonb, at_most_once boolean, max_attempts integer,
			   expires_at timestamptz, seq bigint, lane integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
	tids tid[];
	ids bigint[];
	stopped bigint[];
BEGIN
	IF notify._held() IS NOT NULL THEN
		RETURN;
	END IF;
	tids := ARRAY(SELECT q.tid
				  FROM unnest(lanes, bounds, room) AS l (lane, bound, room)
				  CROSS JOIN LATERAL (SELECT r.ctid AS tid FROM notify.ready r
									  WHERE r.lane = l.lane AND r.seq >= l.bound AND r.owner IS NULL
									  ORDER BY r.seq LIMIT l.room
									  FOR UPDATE SKIP LOCKED) AS q
				  LIMIT max);
	IF cardinality(tids) = 0 THEN
		RETURN;
	END IF;
	WITH taken AS (
		UPDATE notify.ready r
		SET owner = slot, boot = _claim.boot, lease = clock_timestamp() + _claim.lease,
			attempts = r.attempts + 1
		WHERE r.ctid = ANY (tids)
		RETURNING r.ctid AS tid, r.message AS id
	)
	SELECT array_agg(t.tid), array_agg(t.id) INTO tids, ids FROM taken t;
	stopped := notify._stop_claimed(ids);
	RETURN QUERY
	SELECT t.tid, m.id, m.event, r.attempts, r.lane / 4, m.channel, m.address, m.recipient,
		   coalesce(e.type, v.name, m.template), notify.id_time(m.event), m.template_version,
		   notify._data(e, m.context), coalesce(k.at_most_once, false), p.max_attempts,
		   CASE WHEN NOT r.redriven THEN m.expires_at END, r.seq, r.lane
	FROM unnest(tids, ids) AS t (tid, id)
	JOIN notify.ready r ON r.ctid = t.tid
	JOIN notify.message m ON m.id = t.id
	LEFT JOIN notify.event e ON e.xid = m.event_xid AND e.id = m.event
	LEFT JOIN notify.rule_version v ON v.id = m.rule
	LEFT JOIN notify.category k ON k.name = m.category
	LEFT JOIN notify.provider p ON p.id = r.lane / 4
	WHERE t.id <> ALL (stopped);
	RETURN QUERY
	SELECT NULL::tid, NULL::bigint, NULL::bigint, NULL::integer, NULL::integer, NULL, NULL, NULL, NULL,
		   NULL::timestamptz, NULL::bigint, NULL::jsonb, NULL::boolean, NULL::integer, NULL::timestamptz,
		   (SELECT r.seq FROM notify.ready r
			WHERE r.lane = l.lane AND r.seq >= l.bound ORDER BY r.seq LIMIT 1), l.lane
	FROM unnest(lanes, bounds) AS l (lane, bound);
END
$$;

COMMENT ON FUNCTION notify._claim(integer, bigint, integer[], bigint[], integer[], interval, integer) IS
'Takes up to max messages, at most room[i] from lanes[i], in that order; counts the attempt. Rows with message NULL give a lane''s new bound (seq NULL: the lane is empty). Internal.';

-- What settling a class of answer comes to.
CREATE FUNCTION notify._verdict(class text, channel text, again boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN class = 'ok' THEN CASE WHEN channel = 'inbox' THEN 'delivered' ELSE 'sent' END
			WHEN class IN ('permanent_message', 'permanent_recipient') THEN 'failed'
			WHEN again THEN 'retrying'
			ELSE 'dead' END;

COMMENT ON FUNCTION notify._verdict(text, text, boolean) IS 'The outcome.verdict of a class of answer. Internal.';

CREATE FUNCTION notify._settle(slot integer, boot bigint, tids tid[], messages bigint[], classes text[],
							   codes integer[], details text[], refs text[], retry_ms bigint[],
							   latencies_ms integer[], subjects text[], bodies text[])
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
	at timestamptz := notify.now();
	settled bigint;
	moved tid[];
BEGIN
	-- One pass: each row is reached by its ctid as its answer comes along.
	WITH gone AS MATERIALIZED (
		DELETE FROM notify.ready r
		USING unnest(tids, messages, classes, codes, details, refs, retry_ms, latencies_ms, subjects, bodies)
			AS u (tid, message, class, code, detail, ref, retry_ms, latency, subject, body)
		WHERE r.ctid = u.tid AND r.message = u.message AND r.owner = slot AND r.boot = _settle.boot
		RETURNING r.message, r.attempts, r.lane, r.redriven, u.class, u.code, u.detail, u.ref,
			u.retry_ms, u.latency, u.subject, u.body
	), answered AS MATERIALIZED (
		SELECT g.message, g.attempts, g.redriven, p.name AS provider, p.channel, p.max_attempts, g.class,
			   nullif(g.code, 0) AS code, nullif(g.detail, '') AS detail, nullif(g.ref, '') AS ref,
			   g.retry_ms, g.latency, g.subject, g.body,
			   notify._verdict(g.class, p.channel, g.retry_ms >= 0) AS verdict
		FROM gone g
		LEFT JOIN notify.provider p ON p.id = g.lane / 4
	), logged AS (
		INSERT INTO notify.outcome (message, verdict, attempt, provider, class, code, detail, reference,
									next_at, latency, reason)
		SELECT a.message, a.verdict, a.attempts, a.provider, a.class, a.code, a.detail, a.ref,
			   CASE WHEN a.verdict = 'retrying' THEN at + a.retry_ms * interval '1 ms' END, a.latency,
			   CASE WHEN a.verdict = 'dead' THEN CASE WHEN a.attempts < a.max_attempts THEN 'late' ELSE 'attempts' END END
		FROM answered a
	), again AS (
		INSERT INTO notify.scheduled (message, due_at, attempts, redriven)
		SELECT a.message, at + a.retry_ms * interval '1 ms', a.attempts, a.redriven
		FROM answered a WHERE a.verdict = 'retrying'
	), shown AS (
		INSERT INTO notify.inbox (recipient, message, subject, body, data)
		SELECT m.recipient, a.message, a.subject, a.body,
			   jsonb_build_object('event', m.event::text, 'key', m.key, 'template', m.template)
		FROM answered a JOIN notify.message m ON m.id = a.message
		WHERE a.verdict = 'delivered'
	), dead AS (
		-- Whoever edits an address or a provider is not waited for: the next answer flags it.
		SELECT b.ctid AS tid
		FROM answered a
		JOIN notify.message m ON m.id = a.message
		JOIN notify.address b ON b.recipient = m.recipient AND b.channel = m.channel AND b.address = m.address
		WHERE a.class = 'permanent_recipient'
		FOR UPDATE OF b SKIP LOCKED
	), lost AS (
		UPDATE notify.address b SET state = 'invalid' FROM dead d WHERE b.ctid = d.tid
	), judged AS (
		SELECT x.provider, max(coalesce(x.detail, 'the provider refused our credentials'))
				FILTER (WHERE x.class = 'auth') AS problem
		FROM answered x WHERE x.class IN ('auth', 'ok') GROUP BY 1
	), changed AS (
		SELECT p.ctid AS tid, j.problem FROM judged j
		JOIN notify.provider p ON p.name = j.provider AND (p.problem IS NULL) <> (j.problem IS NULL)
		FOR UPDATE OF p SKIP LOCKED
	), health AS (
		-- Credentials refused flags the provider; the next success takes the flag back.
		UPDATE notify.provider p SET problem = c.problem FROM changed c WHERE p.ctid = c.tid
	)
	SELECT count(*) INTO settled FROM answered;
	IF settled < cardinality(tids) THEN
		-- Not ours any more, or VACUUM FULL moved them: look for those by message.
		moved := ARRAY(SELECT r.ctid FROM unnest(messages) WITH ORDINALITY AS u (message, n)
					   LEFT JOIN notify.ready r ON r.message = u.message AND r.owner = slot AND r.boot = _settle.boot
					   ORDER BY u.n);
		IF cardinality(array_remove(moved, NULL)) > 0 THEN
			settled := settled + notify._settle(slot, boot, moved, messages, classes, codes, details, refs,
												retry_ms, latencies_ms, subjects, bodies);
		END IF;
	END IF;
	RETURN settled;
END
$$;

COMMENT ON FUNCTION notify._settle(integer, bigint, tid[], bigint[], text[], integer[], text[], text[], bigint[], integer[], text[], text[]) IS
'Records answers and takes their rows out of the queue: retry_ms >= 0 schedules another attempt. Rows no longer owned are left alone. Gives how many were settled. Internal.';

-- Frees claimed rows, except those that may have been sent and must not be sent twice.
CREATE FUNCTION notify._release(taken bigint[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	doubtful bigint[];
	freed bigint;
BEGIN
	doubtful := ARRAY(SELECT m.id FROM notify.message m
					  JOIN notify.category k ON k.name = m.category AND k.at_most_once
					  WHERE m.id = ANY (taken) AND m.channel <> 'inbox');
	DELETE FROM notify.ready r WHERE r.message = ANY (doubtful);
	INSERT INTO notify.outcome (message, verdict, reason)
	SELECT d, 'failed', 'ambiguous' FROM unnest(doubtful) AS d;
	UPDATE notify.ready r SET owner = NULL, boot = NULL, lease = NULL
	WHERE r.message = ANY (taken);
	GET DIAGNOSTICS freed = ROW_COUNT;
	RETURN freed;
END
$$;

COMMENT ON FUNCTION notify._release(bigint[]) IS
'Puts claimed messages back; those of an at_most_once category fail as ambiguous. Internal.';

CREATE FUNCTION notify._rescue(slot integer, boot bigint) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify._release(ARRAY(SELECT r.message FROM notify.ready r
								 WHERE r.owner = slot AND r.boot <> _rescue.boot
								 FOR UPDATE));
$$;

COMMENT ON FUNCTION notify._rescue(integer, bigint) IS
'Frees what an earlier dispatcher of this slot had claimed; called when one starts. Internal.';

-- Gives messages of providers that are gone or off to another provider of their channel.
CREATE FUNCTION notify._reroute() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moved bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM notify.ready r
				   WHERE NOT EXISTS (SELECT FROM notify.provider p
									 WHERE p.id = r.lane / 4 AND p.enabled AND p.problem IS NULL)) THEN
		RETURN 0;
	END IF;
	UPDATE notify.ready r
	SET lane = v.provider * 4 + r.lane % 4, seq = nextval('notify.ready_seq')
	FROM notify.message m
	JOIN notify._serving v ON v.channel = m.channel
	WHERE m.id = r.message AND r.owner IS NULL
	  AND NOT EXISTS (SELECT FROM notify.provider p
					  WHERE p.id = r.lane / 4 AND p.enabled AND p.problem IS NULL)
	  AND v.provider <> r.lane / 4;
	GET DIAGNOSTICS moved = ROW_COUNT;
	RETURN moved;
END
$$;

COMMENT ON FUNCTION notify._reroute() IS
'Moves queued messages away from providers that cannot serve them. Internal.';

/*
 * Drops the days that are older than notify_pg.retention and that nothing in
 * the queue, nor an event still to be planned, refers to.
 */
CREATE FUNCTION notify._drop_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '20ms'
AS $$
DECLARE
	oldest date := (clock_timestamp() - current_setting('notify_pg.retention')::interval) AT TIME ZONE 'UTC';
	needed bigint;
	log text;
	p record;
	dropped integer := 0;
BEGIN
	IF NOT EXISTS (SELECT FROM unnest(notify._logs()) AS l (log), notify._partitions(l.log) AS d WHERE d.day < oldest)
		AND NOT EXISTS (SELECT FROM notify.event_default e WHERE e.id < notify._day_start(oldest)) THEN
		RETURN 0;
	END IF;
	SELECT least(min(m.event), min(m.id)) INTO needed
	FROM (SELECT r.message FROM notify.ready r UNION ALL SELECT s.message FROM notify.scheduled s) AS q
	JOIN notify.message m ON m.id = q.message;
	SELECT least(needed, min(b.at_id), notify._low_id(min(pg_snapshot_xmin(c.snap))))
	INTO needed FROM notify.cursor c LEFT JOIN notify.backlog b ON true;
	FOREACH log IN ARRAY notify._logs()
	LOOP
		FOR p IN SELECT * FROM notify._partitions(log)
				 WHERE day < oldest AND notify._day_start(day + 1) <= needed
		LOOP
			BEGIN
				EXECUTE format('ALTER EXTENSION notify_pg DROP TABLE notify.%I', p.leaf);
				EXECUTE format('DROP TABLE notify.%I', p.leaf);
				dropped := dropped + 1;
			EXCEPTION WHEN lock_not_available THEN
				NULL;
			END;
		END LOOP;
		-- Mostly empty; what a time without a planner left there cannot be dropped as a day.
		EXECUTE format('DELETE FROM notify.%I WHERE %I < $1', log || '_default',
					   CASE log WHEN 'outcome' THEN 'message' ELSE 'id' END)
			USING least(needed, notify._day_start(oldest));
	END LOOP;
	RETURN dropped;
END
$$;

COMMENT ON FUNCTION notify._drop_partitions() IS
'Drops days older than notify_pg.retention that nothing refers to; gives how many partitions. A lock it cannot have in 20 ms is left for the next call. Internal.';

CREATE FUNCTION notify._maintain() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._release(ARRAY(SELECT r.message FROM notify.ready r
								  WHERE r.lease < clock_timestamp() FOR UPDATE SKIP LOCKED));
	PERFORM notify._reroute();
	PERFORM notify._finish_erasures();
	DELETE FROM notify.idempotency i
	WHERE i.event < notify.time_id(clock_timestamp() - current_setting('notify_pg.retention')::interval);
	-- Last, for what they lock stays locked until the end of the transaction.
	PERFORM notify._make_partitions();
	PERFORM notify._drop_partitions();
END
$$;

COMMENT ON FUNCTION notify._maintain() IS
'The planner''s upkeep, once a minute: days made and dropped, expired leases, stranded messages, old keys. Internal.';

-- sql/inbox.sql
/*
 * inbox.sql
 *		The in-app inbox: the one channel that is exactly-once, because the
 *		item is written in the transaction that settles its message.
 */
CREATE TABLE notify.inbox (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	recipient	text NOT NULL,
	message		bigint NOT NULL UNIQUE,
	subject		text,
	body		text NOT NULL,
	data		jsonb,
	created_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	read_at		timestamptz
);

CREATE INDEX inbox_recipient ON notify.inbox (recipient, id);

COMMENT ON TABLE notify.inbox IS 'What each person has in the app''s inbox. The app updates read_at and may delete rows.';
COMMENT ON COLUMN notify.inbox.id IS 'In order of arrival.';
COMMENT ON COLUMN notify.inbox.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.inbox.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.inbox.subject IS 'The title; NULL when the template has none.';
COMMENT ON COLUMN notify.inbox.body IS 'The words.';
COMMENT ON COLUMN notify.inbox.data IS 'For links in the app: {event, key, template}.';
COMMENT ON COLUMN notify.inbox.created_at IS 'When it arrived.';
COMMENT ON COLUMN notify.inbox.read_at IS 'When it was read; NULL: not yet.';

-- sql/act.sql
/*
 * act.sql
 *		What an app and its operators do: emit, send, cancel, redrive, and read
 *		again what was said.
 */
-- What is looked up by an index may not be longer than an index takes.
CREATE FUNCTION notify._check_length(what text, value text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF octet_length(value) > 1024 THEN
		RAISE EXCEPTION '% is too long', what
			USING ERRCODE = 'string_data_right_truncation',
				  DETAIL = format('It has %s bytes, 1024 are allowed.', octet_length(value));
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_length(text, text) IS 'Raises 22001 when a value has more than 1024 bytes. Internal.';

CREATE FUNCTION notify.emit(type text, recipient text, data jsonb, key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(type, '') = '' THEN
		RAISE EXCEPTION 'an emitted event needs a type'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM notify._check_length('type', type);
	PERFORM notify._check_length('recipient', recipient);
	RETURN notify._write_event('E', type, recipient, key, coalesce(data, '{}'), NULL, NULL, true);
END
$$;

COMMENT ON FUNCTION notify.emit(text, text, jsonb, text) IS
'Says that something happened which no table shows; rules with this event_type decide what comes of it. recipient: whom it is about (may be NULL when the rules say). data: what rules and templates see as new. key: to find it by in explain(). Gives the event''s id. 22004 without a type.';

-- What send() names must be there.
CREATE FUNCTION notify._check_send(template text, category text, channels text[]) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	channel text;
BEGIN
	IF NOT EXISTS (SELECT FROM notify.template t WHERE t.name = template) THEN
		RAISE EXCEPTION 'template "%" does not exist', template
			USING ERRCODE = 'foreign_key_violation',
				  DETAIL = 'No row of notify.template has this name.',
				  HINT = 'Insert it into notify.template first.';
	END IF;
	IF NOT EXISTS (SELECT FROM notify.category c WHERE c.name = category) THEN
		RAISE EXCEPTION 'category "%" does not exist', category
			USING ERRCODE = 'foreign_key_violation',
				  DETAIL = 'No row of notify.category has this name.',
				  HINT = 'Insert it into notify.category first.';
	END IF;
	FOREACH channel IN ARRAY coalesce(channels, '{}')
	LOOP
		PERFORM notify._check_channel(channel);
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._check_send(text, text, text[]) IS 'Refuses a send() of things that do not exist. Internal.';

CREATE FUNCTION notify.send(recipient text, template text, data jsonb, category text,
							channels text[] DEFAULT NULL, idempotency_key text DEFAULT NULL,
							at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	instruction jsonb := jsonb_strip_nulls(jsonb_build_object(
		'template', template, 'category', category, 'channels', channels,
		'at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
	fingerprint bigint := hashtextextended(
		jsonb_build_array(recipient, data, instruction)::text, 0);
	row_key text := 'send/' || idempotency_key;
	earlier notify.idempotency;
	made bigint;
BEGIN
	PERFORM notify._check_send(template, category, channels);
	PERFORM notify._check_length('recipient', recipient);
	PERFORM notify._check_length('idempotency key', idempotency_key);
	IF coalesce(recipient, '') = '' THEN
		RAISE EXCEPTION 'send() needs a recipient'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT isfinite(at) THEN
		RAISE EXCEPTION 'a message cannot be sent at %', at
			USING ERRCODE = 'datetime_field_overflow';
	END IF;
	IF row_key IS NOT NULL THEN
		INSERT INTO notify.idempotency VALUES (row_key, 0, fingerprint) ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT * INTO STRICT earlier FROM notify.idempotency i WHERE i.key = row_key;
			IF earlier.hash <> fingerprint THEN
				RAISE EXCEPTION 'idempotency key "%" was used for a different send', idempotency_key
					USING ERRCODE = 'unique_violation',
						  DETAIL = format('Event %s has it.', earlier.event),
						  HINT = 'Use a new key for a new message, or repeat the call with exactly the same arguments.';
			END IF;
			RETURN earlier.event;
		END IF;
	END IF;
	made := notify._write_event('S', NULL, recipient, NULL, coalesce(data, '{}'), NULL, instruction, false);
	IF row_key IS NOT NULL THEN
		UPDATE notify.idempotency i SET event = made WHERE i.key = row_key;
	END IF;
	RETURN made;
END
$$;

COMMENT ON FUNCTION notify.send(text, text, jsonb, text, text[], text, timestamptz) IS
'Sends one person a template''s words. data: what the template sees, at top level and as new. channels: NULL for the category''s. idempotency_key: the same call with the same key gives the same event and sends nothing more; 23505 with other arguments. at: when to send (NULL: now). Gives the event''s id. 22004 without a recipient, 23503 for an unknown template or category.';

CREATE FUNCTION notify.cancel(id bigint, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stopped bigint[];
	planned boolean := EXISTS (SELECT FROM notify.message m WHERE m.event = cancel.id OR m.id = cancel.id);
	pending boolean;
BEGIN
	WITH wanted AS MATERIALIZED (
		SELECT m.id FROM notify.message m WHERE m.event = cancel.id OR m.id = cancel.id
	), waiting AS (
		DELETE FROM notify.scheduled s USING wanted w WHERE s.message = w.id RETURNING s.message
	), due AS (
		DELETE FROM notify.ready r USING wanted w
		WHERE r.message = w.id AND r.owner IS NULL RETURNING r.message
	)
	SELECT array_agg(u.message) INTO stopped
	FROM (SELECT message FROM waiting UNION ALL SELECT message FROM due) AS u;
	INSERT INTO notify.outcome (message, verdict, reason, detail)
	SELECT s, 'cancelled', 'cancelled', left(cancel.reason, 500) FROM unnest(stopped) AS s;
	-- An event that is not planned yet: the planner will see this one.
	pending := NOT planned AND EXISTS (SELECT FROM notify.event e WHERE e.id = cancel.id AND e.op <> 'C');
	IF pending THEN
		PERFORM notify._write_event('C', NULL, NULL, NULL, jsonb_build_object('reason', cancel.reason),
									notify._event_cancel_key(cancel.id), NULL, false);
	END IF;
	RETURN stopped IS NOT NULL OR pending;
END
$$;

COMMENT ON FUNCTION notify.cancel(bigint, text) IS
'Stops what is not yet sent of an event or a message, by its id. reason: for the record. True if anything was stopped; false when all was sent, is being sent, or the id is unknown.';

CREATE FUNCTION notify.redrive(since timestamptz, until timestamptz DEFAULT NULL,
							   rule text DEFAULT NULL, channel text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lost bigint[];
	put_back bigint;
BEGIN
	lost := ARRAY(
		SELECT m.id FROM notify.message m
		CROSS JOIN LATERAL (SELECT o.verdict FROM notify.outcome o WHERE o.message = m.id
							ORDER BY o.at DESC, o.attempt DESC NULLS LAST LIMIT 1) AS o
		LEFT JOIN notify.rule_version v ON v.id = m.rule
		WHERE m.id >= notify.time_id(since)
		  AND (until IS NULL OR m.id < notify.time_id(until))
		  AND (redrive.rule IS NULL OR v.name = redrive.rule)
		  AND (redrive.channel IS NULL OR m.channel = redrive.channel)
		  AND o.verdict IN ('dead', 'failed', 'expired')
		  AND NOT EXISTS (SELECT FROM notify.ready r WHERE r.message = m.id));
	WITH put AS (
		INSERT INTO notify.scheduled (message, due_at, redriven)
		SELECT l, notify.now(), true FROM unnest(lost) AS l
		ON CONFLICT DO NOTHING
		RETURNING message
	), logged AS (
		INSERT INTO notify.outcome (message, verdict, reason, next_at)
		SELECT p.message, 'retrying', 'redriven', notify.now() FROM put p
	)
	SELECT count(*) INTO put_back FROM put;
	RETURN put_back;
END
$$;

COMMENT ON FUNCTION notify.redrive(timestamptz, timestamptz, text, text) IS
'Tries messages again that are dead, failed or expired, decided between since and until (NULL: now), of a rule or channel (NULL: any), with new attempts and without expiry. Gives how many.';

CREATE FUNCTION notify.content(message bigint, OUT subject text, OUT body text, OUT html text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	m notify.message;
	e notify.event;
	t record;
	data jsonb;
BEGIN
	SELECT * INTO m FROM notify.message x WHERE x.id = content.message;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'message % does not exist', content.message
			USING ERRCODE = 'no_data_found';
	END IF;
	SELECT * INTO e FROM notify.event x WHERE x.xid = m.event_xid AND x.id = m.event;
	SELECT * INTO t FROM notify._template(m.template_version);
	data := notify._data(e, m.context);
	subject := notify.render(t.subject, data);
	body := notify.render(t.body, data);
	html := notify.render(t.html, data, 'html');
END
$$;

COMMENT ON FUNCTION notify.content(bigint) IS
'The words of a message as they were or will be sent: the same template version and data rendered again. NULL where the template has no such part. P0002 when there is no such message.';

-- Decides one undecided event by the rule as it is now; true when an event was written.
CREATE FUNCTION notify._replay_event(r notify.rule, e notify.event) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	once text := format('replay/%s/%s', r.id, e.id);
	a record;
BEGIN
	INSERT INTO notify.idempotency (key, event, hash) VALUES (once, e.id, 0) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT * INTO a FROM notify._evaluate(r.version, r.source, e.op, e.type, e.new, notify._event_old(e));
	IF a.verdict = 'undecided' THEN
		DELETE FROM notify.idempotency i WHERE i.key = once;
		RETURN false;
	END IF;
	-- What was cancelled since then stays cancelled, though the new event is younger.
	IF a.verdict = 'no' OR (r.action = 'notify' AND EXISTS (
			SELECT FROM notify.event c
			WHERE c.cancel_key IN (a.cancel_key, notify._event_cancel_key(e.id)) AND c.id > e.id)) THEN
		RETURN false;
	END IF;
	INSERT INTO notify.event (id, xid, source, op, type, key, recipient, rules, recipients, dedupe_keys,
							  cancel_keys, cancel_key, new, old, instruction)
	VALUES (notify._next_id(), pg_current_xact_id(), r.source::oid, e.op, e.type, e.key,
			CASE WHEN e.op = 'E' THEN e.recipient ELSE a.recipient END, ARRAY[r.version],
			CASE WHEN r.recipient IS NOT NULL THEN ARRAY[coalesce(a.own_recipient, '')] END,
			CASE WHEN a.dedupe_key IS NOT NULL THEN ARRAY[a.dedupe_key] END,
			CASE WHEN r.action = 'notify' AND a.cancel_key IS NOT NULL THEN ARRAY[a.cancel_key] END,
			CASE WHEN r.action = 'cancel' THEN a.cancel_key END,
			e.new, e.old, jsonb_build_object('replay_of', e.id));
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._replay_event(notify.rule, notify.event) IS
'Decides an event that a rule could not decide, once; true when it matched and an event was written. Internal.';

CREATE FUNCTION notify.replay(rule text, since timestamptz, until timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r notify.rule;
	e notify.event;
	written bigint := 0;
BEGIN
	SELECT * INTO r FROM notify.rule x WHERE x.name = replay.rule;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'rule "%" does not exist', replay.rule
			USING ERRCODE = 'undefined_object';
	END IF;
	IF NOT r.enabled OR num_nulls(r.source, r.event_type) <> 1 THEN
		RAISE EXCEPTION 'rule "%" is not in force', replay.rule
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'Mend and enable it first; what it could not decide is kept for notify_pg.retention.';
	END IF;
	FOR e IN
		SELECT v.* FROM notify.event v
		WHERE v.id >= notify.time_id(since) AND (until IS NULL OR v.id < notify.time_id(until))
		  AND v.undecided IS NOT NULL AND NOT v.truncated
		  AND EXISTS (SELECT FROM jsonb_to_recordset(v.undecided) AS u (rule bigint)
					  JOIN notify.rule_version w ON w.id = u.rule WHERE w.rule = r.id)
		  AND CASE WHEN v.op = 'E' THEN v.type = r.event_type
				   ELSE v.source = r.source OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = v.source) END
		ORDER BY v.id
	LOOP
		written := written + notify._replay_event(r, e)::integer;
	END LOOP;
	RETURN written;
END
$$;

COMMENT ON FUNCTION notify.replay(text, timestamptz, timestamptz) IS
'Decides, by a rule as it is now, the events between since and until (NULL: now) that it could not decide when they were captured. Each is decided once: for those that match a new event is written and planned, and calling again does nothing more; what still raises an error stays undecided. Rows over notify_pg.event_row_limit, and rules that read columns their events do not hold, cannot be replayed. A cancel rule stops what waits now. Gives how many events were written. 42704 for an unknown rule, 55000 for one that is off.';

-- sql/report.sql
/*
 * report.sql
 *		What people look at: deliveries, failures, the queue, the workers,
 *		why something was (not) sent, and one row that says how things are.
 */
CREATE VIEW notify.delivery AS
SELECT m.id AS message, notify.id_time(m.id) AS decided_at, m.event,
	   coalesce(v.name, 'send') AS rule, m.source::regclass AS source, m.key, m.recipient, m.category,
	   m.channel, m.address, m.template,
	   CASE
		   WHEN m.verdict <> 'send' THEN m.verdict
		   WHEN r.owner IS NOT NULL THEN 'sending'
		   WHEN coalesce(r.attempts, s.attempts) > 0 THEN 'retrying'
		   WHEN r.message IS NOT NULL THEN 'ready'
		   WHEN s.message IS NOT NULL THEN 'scheduled'
		   ELSE o.verdict
	   END AS status,
	   coalesce(r.attempts, s.attempts, o.attempt, 0) AS attempts,
	   coalesce(m.reason, o.reason) AS reason,
	   coalesce(m.detail, o.detail) AS detail,
	   o.provider, o.code, o.reference, coalesce(s.due_at, m.due_at) AS due_at, m.expires_at,
	   o.at AS last_at, m.priority
FROM notify.message m
LEFT JOIN notify.rule_version v ON v.id = m.rule
LEFT JOIN notify.ready r ON r.message = m.id
LEFT JOIN notify.scheduled s ON s.message = m.id
LEFT JOIN LATERAL (SELECT * FROM notify.outcome o WHERE o.message = m.id
				   ORDER BY o.at DESC, o.attempt DESC NULLS LAST LIMIT 1) AS o ON true;

COMMENT ON VIEW notify.delivery IS 'A row per message: what, who, where, and how it stands. To look at a time only, filter on message >= notify.time_id(...): it finds the days.';
COMMENT ON COLUMN notify.delivery.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.delivery.decided_at IS 'When it was planned.';
COMMENT ON COLUMN notify.delivery.event IS 'notify.event.id.';
COMMENT ON COLUMN notify.delivery.rule IS 'The rule''s name when it decided; "send" for send().';
COMMENT ON COLUMN notify.delivery.source IS 'The table; NULL for emit() and send().';
COMMENT ON COLUMN notify.delivery.key IS 'The row''s key.';
COMMENT ON COLUMN notify.delivery.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.delivery.category IS 'notify.category.name.';
COMMENT ON COLUMN notify.delivery.channel IS 'The channel; NULL when it stopped before one was chosen.';
COMMENT ON COLUMN notify.delivery.address IS 'Where it goes.';
COMMENT ON COLUMN notify.delivery.template IS 'notify.template.name.';
COMMENT ON COLUMN notify.delivery.status IS 'scheduled, ready, sending, retrying, sent, delivered, failed, dead, suppressed, skipped, cancelled or expired.';
COMMENT ON COLUMN notify.delivery.attempts IS 'Attempts begun.';
COMMENT ON COLUMN notify.delivery.reason IS 'notify.reason.code of our own decision; NULL when there is none.';
COMMENT ON COLUMN notify.delivery.detail IS 'The last answer''s or error''s words.';
COMMENT ON COLUMN notify.delivery.provider IS 'Who served it last.';
COMMENT ON COLUMN notify.delivery.code IS 'The last HTTP status or SMTP reply code.';
COMMENT ON COLUMN notify.delivery.reference IS 'The provider''s id of it.';
COMMENT ON COLUMN notify.delivery.due_at IS 'When it is or was due.';
COMMENT ON COLUMN notify.delivery.expires_at IS 'After this it is not sent any more.';
COMMENT ON COLUMN notify.delivery.last_at IS 'When something was last recorded of it.';
COMMENT ON COLUMN notify.delivery.priority IS '0 urgent to 3 bulk.';

CREATE VIEW notify.failure AS
SELECT d.message, d.last_at AS at, d.rule, d.source, d.key, d.recipient, d.channel, d.address,
	   d.status, d.attempts, d.provider, d.code, coalesce(d.detail, q.meaning) AS detail
FROM notify.delivery d
LEFT JOIN notify.reason q ON q.code = d.reason
WHERE d.status IN ('failed', 'dead', 'expired');

COMMENT ON VIEW notify.failure IS 'Messages that will not arrive unless redriven. Columns are those of notify.delivery.';
COMMENT ON COLUMN notify.failure.message IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.at IS 'When it was given up.';
COMMENT ON COLUMN notify.failure.rule IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.source IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.key IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.recipient IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.channel IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.address IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.status IS 'failed, dead or expired.';
COMMENT ON COLUMN notify.failure.attempts IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.provider IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.code IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.detail IS 'The last words, or what the reason means.';

CREATE VIEW notify.delivery_report AS
SELECT (d.decided_at AT TIME ZONE 'UTC')::date AS day, d.rule, d.category, d.channel, d.provider,
	   count(*) AS planned,
	   count(*) FILTER (WHERE d.status = 'suppressed') AS suppressed,
	   count(*) FILTER (WHERE d.status = 'skipped') AS skipped,
	   count(*) FILTER (WHERE d.status = 'cancelled') AS cancelled,
	   count(*) FILTER (WHERE d.status IN ('scheduled', 'ready', 'sending', 'retrying')) AS pending,
	   count(*) FILTER (WHERE d.status IN ('sent', 'delivered')) AS sent,
	   count(*) FILTER (WHERE d.status = 'delivered') AS delivered,
	   count(*) FILTER (WHERE d.status IN ('failed', 'dead', 'expired')) AS failed,
	   percentile_disc(0.5) WITHIN GROUP (ORDER BY d.last_at - notify.id_time(d.event))
		   FILTER (WHERE d.status IN ('sent', 'delivered')) AS median_latency
FROM notify.delivery d
GROUP BY 1, 2, 3, 4, 5;

COMMENT ON VIEW notify.delivery_report IS 'Messages counted by UTC day, rule, category, channel and provider.';
COMMENT ON COLUMN notify.delivery_report.day IS 'The UTC day of the decision.';
COMMENT ON COLUMN notify.delivery_report.rule IS 'The rule; "send" for send().';
COMMENT ON COLUMN notify.delivery_report.category IS 'The category.';
COMMENT ON COLUMN notify.delivery_report.channel IS 'The channel; NULL when it stopped before one was chosen.';
COMMENT ON COLUMN notify.delivery_report.provider IS 'The last provider; NULL before the first attempt.';
COMMENT ON COLUMN notify.delivery_report.planned IS 'Messages decided on, sent or not.';
COMMENT ON COLUMN notify.delivery_report.suppressed IS 'Not sent by our own decision for the person''s sake.';
COMMENT ON COLUMN notify.delivery_report.skipped IS 'Not sent because it could not be.';
COMMENT ON COLUMN notify.delivery_report.cancelled IS 'Stopped before they were sent.';
COMMENT ON COLUMN notify.delivery_report.pending IS 'Still to be sent.';
COMMENT ON COLUMN notify.delivery_report.sent IS 'Taken by the provider, delivered or not known.';
COMMENT ON COLUMN notify.delivery_report.delivered IS 'Known to have arrived.';
COMMENT ON COLUMN notify.delivery_report.failed IS 'Failed, dead or expired.';
COMMENT ON COLUMN notify.delivery_report.median_latency IS 'Half of the sent ones took at most this long from event to answer.';

CREATE VIEW notify.stat_queue AS
SELECT p.name AS provider, q.lane % 4 AS priority, q.waiting, q.sending, q.retrying, q.oldest
FROM (SELECT r.lane, count(*) FILTER (WHERE r.owner IS NULL) AS waiting,
			 count(*) FILTER (WHERE r.owner IS NOT NULL) AS sending,
			 count(*) FILTER (WHERE r.attempts > 0 AND r.owner IS NULL) AS retrying,
			 min(notify.id_time(r.message)) AS oldest
	  FROM notify.ready r GROUP BY r.lane) AS q
LEFT JOIN notify.provider p ON p.id = q.lane / 4
UNION ALL
SELECT NULL, NULL, count(*) FILTER (WHERE s.attempts = 0), 0, count(*) FILTER (WHERE s.attempts > 0), min(s.due_at)
FROM notify.scheduled s HAVING count(*) > 0;

COMMENT ON VIEW notify.stat_queue IS 'What is waiting: a row per provider and priority for what is due, and one without a provider for what is due later.';
COMMENT ON COLUMN notify.stat_queue.provider IS 'Who will serve it; NULL: due later, or no provider is enabled.';
COMMENT ON COLUMN notify.stat_queue.priority IS '0 urgent to 3 bulk; NULL: due later.';
COMMENT ON COLUMN notify.stat_queue.waiting IS 'Messages not claimed.';
COMMENT ON COLUMN notify.stat_queue.sending IS 'Messages claimed by a dispatcher.';
COMMENT ON COLUMN notify.stat_queue.retrying IS 'Messages that were tried before.';
COMMENT ON COLUMN notify.stat_queue.oldest IS 'When the oldest was decided; when due later: the earliest due time.';

CREATE VIEW notify.stat_worker AS SELECT * FROM notify._workers();
COMMENT ON COLUMN notify.stat_worker.kind IS 'launcher (one a cluster), planner or dispatcher.';
COMMENT ON COLUMN notify.stat_worker.slot IS 'Which of its kind, from 0.';
COMMENT ON COLUMN notify.stat_worker.pid IS 'Its process; NULL when it is not running.';
COMMENT ON COLUMN notify.stat_worker.database IS 'pg_database.oid; NULL for the launcher.';
COMMENT ON COLUMN notify.stat_worker.state IS 'waiting (to be started), starting, running or exited.';
COMMENT ON COLUMN notify.stat_worker.started_at IS 'When it started; NULL when it is not running.';
COMMENT ON COLUMN notify.stat_worker.generation IS 'How often the slot was given out.';
COMMENT ON COLUMN notify.stat_worker.loops IS 'Rounds of its loop.';
COMMENT ON COLUMN notify.stat_worker.last_error IS 'The last error it logged; NULL: none.';
COMMENT ON COLUMN notify.stat_worker.planned IS 'Planner: messages decided on.';
COMMENT ON COLUMN notify.stat_worker.readied IS 'Planner: messages put into the queue.';
COMMENT ON COLUMN notify.stat_worker.claimed IS 'Dispatcher: messages taken from the queue.';
COMMENT ON COLUMN notify.stat_worker.sent IS 'Dispatcher: messages a provider took.';
COMMENT ON COLUMN notify.stat_worker.settled IS 'Dispatcher: answers recorded.';
COMMENT ON COLUMN notify.stat_worker.refused IS 'Dispatcher: answers that came too late, the message being another''s by then.';
COMMENT ON COLUMN notify.stat_worker.failed IS 'Dispatcher: answers other than success.';
COMMENT ON COLUMN notify.stat_worker.in_flight IS 'Dispatcher: transfers running now.';
COMMENT ON COLUMN notify.stat_worker.max_in_flight IS 'Dispatcher: how many it may run; less than notify_pg.max_in_flight when file descriptors are short.';
COMMENT ON COLUMN notify.stat_worker.last_error_at IS 'When last_error was logged.';
COMMENT ON VIEW notify.stat_worker IS 'The launcher and this database''s workers, cumulative since they started. Empty without shared_preload_libraries.';

-- What happened to a message after its decision, in order.
CREATE FUNCTION notify._explain_message(m notify.message)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify.id_time(m.id), 'decided', m.verdict, m.reason,
		   jsonb_strip_nulls(jsonb_build_object(
			   'message', m.id, 'rule', coalesce(v.name, 'send'), 'recipient', m.recipient, 'channel', m.channel,
			   'address', m.address, 'template', m.template, 'locale', w.locale, 'priority', m.priority,
			   'due_at', m.due_at, 'expires_at', m.expires_at, 'error', m.detail,
			   'dedupe_key', m.dedupe_key, 'cancel_key', m.cancel_key, 'meaning', q.meaning))
	FROM (SELECT 1) AS one
	LEFT JOIN notify.rule_version v ON v.id = m.rule
	LEFT JOIN notify.template_version w ON w.id = m.template_version
	LEFT JOIN notify.reason q ON q.code = m.reason
	UNION ALL
	SELECT o.at, CASE WHEN o.attempt IS NULL THEN 'late decision' ELSE 'attempt ' || o.attempt END,
		   o.verdict, o.reason,
		   jsonb_strip_nulls(jsonb_build_object(
			   'message', o.message, 'provider', o.provider, 'class', o.class, 'code', o.code,
			   'answer', o.detail, 'reference', o.reference, 'next_at', o.next_at,
			   'latency_ms', o.latency, 'meaning', q.meaning))
	FROM notify.outcome o
	LEFT JOIN notify.reason q ON q.code = o.reason
	WHERE o.message = m.id
	UNION ALL
	SELECT NULL, 'waiting', CASE WHEN r.owner IS NULL THEN 'ready' ELSE 'sending' END, NULL,
		   jsonb_build_object('message', m.id, 'attempts', r.attempts, 'provider',
							  (SELECT p.name FROM notify.provider p WHERE p.id = r.lane / 4))
	FROM notify.ready r WHERE r.message = m.id
	UNION ALL
	SELECT s.due_at, 'waiting', 'scheduled', NULL,
		   jsonb_build_object('message', m.id, 'attempts', s.attempts)
	FROM notify.scheduled s WHERE s.message = m.id;
$$;

COMMENT ON FUNCTION notify._explain_message(notify.message) IS 'The steps of one message. Internal.';

-- The capture of an event and whether it is planned.
CREATE FUNCTION notify._explain_event(e notify.event)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify.id_time(e.id),
		   CASE e.op WHEN 'E' THEN 'emitted' WHEN 'S' THEN 'send' WHEN 'C' THEN 'cancel' WHEN 'T' THEN 'truncated' ELSE 'captured' END,
		   NULL, NULL,
		   jsonb_strip_nulls(jsonb_build_object(
			   'event', e.id, 'source', e.source::regclass::text, 'op', e.op, 'type', e.type, 'key', e.key,
			   'recipient', e.recipient, 'truncated', nullif(e.truncated, false), 'cancel_key', e.cancel_key,
			   'relation', e.instruction -> 'relation', 'replay_of', e.instruction -> 'replay_of',
			   'rules', (SELECT jsonb_agg(v.name ORDER BY r.n)
						 FROM unnest(e.rules) WITH ORDINALITY AS r (id, n)
						 JOIN notify.rule_version v ON v.id = r.id)))
	UNION ALL
	SELECT NULL, 'waiting', 'unplanned', NULL, jsonb_build_object('event', e.id)
	WHERE NOT EXISTS (SELECT FROM notify.message m WHERE m.event = e.id)
	  AND (EXISTS (SELECT FROM notify.cursor c WHERE NOT pg_visible_in_snapshot(e.xid, c.snap))
		   OR EXISTS (SELECT FROM notify.backlog b WHERE b.xid = e.xid AND b.at_id < e.id));
$$;

COMMENT ON FUNCTION notify._explain_event(notify.event) IS 'The steps of one event before its messages. Internal.';

-- Events a person asks about, by id of the event or of one of its messages.
CREATE FUNCTION notify.explain(id bigint)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	WITH said AS MATERIALIZED (
		SELECT m FROM notify.message m WHERE m.id = explain.id OR m.event = explain.id
	), origin AS (
		SELECT DISTINCT (s.m).event_xid AS xid, (s.m).event AS id FROM said s
		UNION
		SELECT e.xid, e.id FROM notify.event e WHERE e.id = explain.id
	)
	SELECT x.* FROM (
		SELECT s.*, o.id AS event, 0::bigint AS message FROM origin o
		JOIN notify.event e ON e.xid = o.xid AND e.id = o.id
		CROSS JOIN LATERAL notify._explain_event(e) AS s
		UNION ALL
		SELECT s.*, (d.m).event, (d.m).id FROM said d
		CROSS JOIN LATERAL notify._explain_message(d.m) AS s
	) AS y
	CROSS JOIN LATERAL (SELECT y.at, y.step, y.verdict, y.reason, y.detail) AS x
	ORDER BY y.event, y.message, y.at NULLS LAST;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no event or message has id %', explain.id
			USING ERRCODE = 'no_data_found',
				  HINT = 'It may have been dropped after notify_pg.retention, or its transaction rolled back.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify.explain(bigint) IS
'Why something was or was not sent, step by step, by the id of an event or a message. at NULL: where it stands now. P0002 when nothing has this id.';

CREATE FUNCTION notify.explain(relation regclass, key text)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	SELECT x.at, x.step, x.verdict, x.reason, x.detail
	FROM (SELECT m.event AS id FROM notify.message m
		  WHERE left(m.key, 200) = left(explain.key, 200) AND m.key = explain.key AND m.source = relation
		  UNION
		  SELECT e.id FROM notify.cursor c
		  JOIN notify.event e ON e.xid >= pg_snapshot_xmin(c.snap)
			AND e.id >= notify._low_id(pg_snapshot_xmin(c.snap))
		  WHERE e.key = explain.key AND e.source = relation) AS ids
	CROSS JOIN LATERAL notify.explain(ids.id) WITH ORDINALITY AS x (at, step, verdict, reason, detail, n)
	ORDER BY ids.id, x.n;
	IF NOT FOUND THEN
		RETURN QUERY
		SELECT NULL::timestamptz, 'not captured', NULL, NULL,
			   jsonb_build_object('key', key, 'attached', EXISTS (SELECT FROM notify.source s WHERE s.relation = explain.relation AND s.enabled),
				   'rules', (SELECT jsonb_object_agg(r.name, CASE WHEN r.enabled THEN coalesce(r.problem, r.condition, 'every row') ELSE 'off' END)
							 FROM notify.rule r WHERE r.source = explain.relation),
				   'meaning', 'No rule of this table wanted any change of this row, or its transactions did not commit, or it is older than notify_pg.retention.');
	END IF;
END
$$;

COMMENT ON FUNCTION notify.explain(regclass, text) IS
'Why something was or was not sent about a row, step by step. key: one column''s value, or the key columns'' values joined by |. Gives one row "not captured" when no rule wanted any change of it.';

-- What an operator should know, in words, worst first.
CREATE FUNCTION notify._problems() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(p.problem ORDER BY p.n, p.problem), '{}') FROM (
		SELECT 1 AS n, 'Nothing is sent: the library is not preloaded. Set shared_preload_libraries = ''notify_pg'' in postgresql.conf and restart the server.' AS problem
		WHERE NOT notify._preloaded()
		UNION ALL
		SELECT 1, 'Held, nothing is sent: ' || notify._held() || '.' WHERE notify._held() IS NOT NULL
		UNION ALL
		SELECT 2, 'No planner is running in this database' ||
			coalesce(': ' || (SELECT max(w.last_error) FROM notify._workers() w WHERE w.last_error <> ''), '') || '.'
		WHERE notify._preloaded() AND NOT EXISTS (SELECT FROM notify._workers() w WHERE w.kind = 'planner' AND w.pid IS NOT NULL)
		UNION ALL
		SELECT 3, format('%s of %s dispatchers are running in this database%s.', d.running, current_setting('notify_pg.dispatchers'),
						 coalesce(': ' || (SELECT max(w.last_error) FROM notify._workers() w WHERE w.last_error <> ''), ''))
		FROM (SELECT count(*) AS running FROM notify._workers() w WHERE w.kind = 'dispatcher' AND w.pid IS NOT NULL) AS d
		WHERE notify._preloaded() AND d.running < current_setting('notify_pg.dispatchers')::integer
		UNION ALL
		SELECT 4, format('%s %s, at %s: %s', w.kind, w.slot, to_char(w.last_error_at, 'HH24:MI:SS'), w.last_error)
		FROM notify._workers() w
		WHERE w.kind <> 'launcher' AND w.last_error_at > greatest(w.started_at, clock_timestamp() - interval '5 minutes')
		UNION ALL
		SELECT 5, format('provider %s: %s', p.name, p.problem) FROM notify.provider p WHERE p.problem IS NOT NULL
		UNION ALL
		SELECT 6, format('rule %s: %s', r.name, r.problem) FROM notify.rule r WHERE r.problem IS NOT NULL
		UNION ALL
		SELECT 7, format('source %s: %s', s.relation, s.problem) FROM notify.source s WHERE s.problem IS NOT NULL
		UNION ALL
		SELECT 8, format('users table %s: %s', s.relation, s.problem) FROM notify.recipient_source s WHERE s.problem IS NOT NULL
		UNION ALL
		SELECT 9, format('%s values of people could not be taken over; see notify.recipient_problem.', count(*))
		FROM notify.recipient_problem HAVING count(*) > 0
		UNION ALL
		SELECT 7, format('source %s: the table does not exist any more; SELECT notify.detach(%s)', s.relation, s.relation)
		FROM notify.source s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.relation)
	) AS p;
$$;

COMMENT ON FUNCTION notify._problems() IS 'What is wrong, in words. Internal.';

CREATE FUNCTION notify.status(OUT state text, OUT problems text[], OUT unplanned bigint, OUT ready bigint,
							  OUT sending bigint, OUT scheduled bigint, OUT oldest_ready interval,
							  OUT failed_last_hour bigint, OUT planner integer, OUT dispatchers integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	problems := notify._problems();
	SELECT count(*) INTO unplanned
	FROM (SELECT FROM notify.cursor c
		  JOIN notify.event e ON e.xid >= pg_snapshot_xmin(c.snap)
			AND e.id >= notify._low_id(pg_snapshot_xmin(c.snap))
			AND NOT pg_visible_in_snapshot(e.xid, c.snap)
		  UNION ALL
		  SELECT FROM notify.backlog b JOIN notify.event e ON e.xid = b.xid AND e.id > b.at_id
		  LIMIT 100000) AS u;
	SELECT count(*) FILTER (WHERE r.owner IS NULL), count(*) FILTER (WHERE r.owner IS NOT NULL),
		   clock_timestamp() - notify.id_time(min(r.message))
	INTO ready, sending, oldest_ready FROM notify.ready r;
	SELECT count(*) INTO scheduled FROM notify.scheduled s;
	SELECT count(*) INTO failed_last_hour FROM notify.outcome o
	WHERE o.at > clock_timestamp() - interval '1 hour' AND o.verdict IN ('failed', 'dead', 'expired')
	  AND o.message >= notify.time_id(clock_timestamp() - interval '4 days');
	SELECT max(w.pid) FILTER (WHERE w.kind = 'planner'), count(w.pid) FILTER (WHERE w.kind = 'dispatcher')
	INTO planner, dispatchers FROM notify._workers() w;
	state := CASE WHEN planner IS NULL OR dispatchers = 0 THEN 'stopped'
				  WHEN notify._held() IS NOT NULL THEN 'held'
				  WHEN cardinality(problems) > 0 THEN 'degraded' ELSE 'ok' END;
END
$$;

COMMENT ON FUNCTION notify.status() IS
'How things are, in one row. state: ok, degraded (see problems), held (notify.arm() lets it send) or stopped (no workers). unplanned: events waiting for the planner, counted to 100,000. oldest_ready: how long the oldest due message has waited. planner: its process id, NULL when none runs.';

-- sql/grant.sql
/*
 * grant.sql
 *		Who may do what, in one place, and what pg_dump takes along.
 *
 * notify_admin	configures; notify_app emits, sends and reads inboxes;
 * notify_report reads; notify_worker is the background workers' role.
 * Nothing is granted to PUBLIC: a trigger fires without any grant. Functions are
 * granted by name, so that what is added later is nobody's until it is listed.
 */
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify FROM PUBLIC;
GRANT USAGE ON SCHEMA notify TO notify_admin, notify_app, notify_report, notify_worker;

-- Configuration and people
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.source, notify.category, notify.rule, notify.template,
	notify.provider, notify.recipient, notify.address TO notify_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.recipient_source, notify.recipient_problem TO notify_admin;
GRANT SELECT ON notify.recipient_former, notify.erasure TO notify_admin;
GRANT INSERT, UPDATE, DELETE ON notify.secret TO notify_admin;
GRANT SELECT (name) ON notify.secret TO notify_admin;
GRANT SELECT ON notify.rule_version, notify.template_version, notify.reason TO notify_admin;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO notify_admin;
GRANT EXECUTE ON FUNCTION notify.attach(regclass, text, text[], text[]), notify.detach(regclass), notify.capture(),
	notify.attach_recipients(regclass, text, text, text, text, jsonb, text[]), notify.detach_recipients(regclass),
	notify._sync_recipient(), notify.erase_recipient(text), notify.export_recipient(text),
	notify.emit(text, text, jsonb, text), notify.send(text, text, jsonb, text, text[], text, timestamptz),
	notify.cancel(bigint, text), notify.redrive(timestamptz, timestamptz, text, text),
	notify.replay(text, timestamptz, timestamptz), notify.arm(), notify.hold(text), notify.render(text, jsonb, text, jsonb), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify.status(), notify.explain(bigint), notify.explain(regclass, text), notify.content(bigint),
	notify._workers(), notify._preloaded() TO notify_admin;
-- What the checks behind a save call with the saver's own rights
GRANT EXECUTE ON FUNCTION notify._check_channel(text), notify._saver(regrole, regrole, boolean),
	notify._is_superuser(), notify._check_lender(regrole, regclass), notify._primary_key(regclass), notify._check_columns(regclass, text[], text[]),
	notify._tree(regclass), notify._source_of(oid), notify._put_triggers(regclass), notify._drop_triggers(regclass),
	notify._drop_own_triggers(regclass),
	notify._check_expression(regclass, text, text, regrole, text),
	notify._check_query(regclass, text, text, regrole, text),
	notify._check_rule_parts(notify.rule), notify._check_rule_sql(notify.rule),
	notify._check_template_part(text, text), notify._check_liquid(text),
	notify._check_provider(text, jsonb), notify._check_address(text, text) TO notify_admin;
-- What attach_recipients() does with the attacher's own rights
GRANT EXECUTE ON FUNCTION notify._recipient_columns(notify.recipient_source),
	notify._check_recipient_column(regclass, text, text), notify._check_recipient_key(regclass, text),
	notify._check_recipient_mapping(notify.recipient_source), notify._backfill_recipients(notify.recipient_source),
	notify._save_people(notify.recipient_source, jsonb[], jsonb[]),
	notify._address_problem(text, text), notify._time_zone_problem(text) TO notify_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.recipient, notify.address TO notify_app;
GRANT SELECT, UPDATE, DELETE ON notify.inbox TO notify_app;
GRANT EXECUTE ON FUNCTION notify.emit(text, text, jsonb, text),
	notify.send(text, text, jsonb, text, text[], text, timestamptz),
	notify.cancel(bigint, text), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify._check_channel(text),
	notify._check_address(text, text) TO notify_app;

-- Logs and reports
GRANT SELECT ON notify.event, notify.message, notify.outcome, notify.ready, notify.scheduled, notify.inbox,
	notify.idempotency, notify.delivery, notify.failure, notify.delivery_report, notify.stat_queue,
	notify.stat_worker, notify.reason, notify.category, notify.rule, notify.source TO notify_report, notify_admin;
GRANT EXECUTE ON FUNCTION notify.status(), notify.explain(bigint), notify.explain(regclass, text),
	notify.content(bigint), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify._workers(), notify._preloaded() TO notify_report;

GRANT SELECT ON notify.recipient_source, notify.recipient_problem, notify.erasure TO notify_report;

-- Workers
GRANT SELECT ON notify.event, notify.rule_version, notify.template_version, notify.template, notify.category,
	notify.recipient, notify.secret, notify.source, notify.rule TO notify_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.message, notify.outcome, notify.ready, notify.scheduled,
	notify.idempotency, notify.inbox, notify.cursor, notify.backlog, notify.mark TO notify_worker;
GRANT SELECT, UPDATE ON notify.address, notify.provider, notify.rule TO notify_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO notify_worker;
GRANT EXECUTE ON FUNCTION notify._plan(integer), notify._maintain(), notify._claim(integer, bigint, integer[], bigint[], integer[], interval, integer),
	notify._settle(integer, bigint, tid[], bigint[], text[], integer[], text[], text[], bigint[], integer[], text[], text[]),
	notify._rescue(integer, bigint), notify._providers(), notify._config_version(), notify._template(bigint) TO notify_worker;
GRANT SELECT ON notify._serving TO notify_worker;
GRANT SELECT ON notify.instance, notify.origin TO notify_worker, notify_report, notify_admin;
-- and what these call with the worker's own rights
GRANT EXECUTE ON FUNCTION notify._is_superuser(), notify._held(), notify._is_copy(), notify._here(), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz), notify._next_id(),
	notify._next_events(integer), notify._batch_chunk(integer), notify._batch_events(notify.cursor, integer),
	notify._backlog_chunk(integer), notify._mark(pg_snapshot), notify._low_id(xid8),
	notify._apply_all(notify.event[]), notify._apply(notify.event[]), notify._gather(notify.event[]),
	notify._flag_rules(notify.event[]), notify.decide(notify.candidate[]), notify._dedupe_key(bigint, text, text),
	notify._event_cancel_key(bigint), notify._find_cancels(text[], bigint),
	notify._locale_chain(text), notify._event_meta(notify.event),
	notify._event_old(notify.event), notify._run_query(bigint, text, bigint[], jsonb[], jsonb[], jsonb[]),
	notify._promote(integer), notify._data(notify.event, jsonb), notify._stop_claimed(bigint[]),
	notify._verdict(text, text, boolean), notify._release(bigint[]), notify._reroute(),
	notify._make_partitions(), notify._drop_partitions(), notify._finish_erasures(), notify._with_secrets(jsonb) TO notify_worker;

-- Rows of days that no partition was made for, empty in practice
COMMENT ON TABLE notify.event_default IS 'Events of days without a partition of their own; empty in practice.';
COMMENT ON TABLE notify.message_default IS 'Messages of days without a partition of their own; empty in practice.';
COMMENT ON TABLE notify.outcome_default IS 'Outcomes of days without a partition of their own; empty in practice.';

-- The first days; members of the extension like those that follow.
SELECT notify._make_partitions();

-- Dumped: configuration and people. Not secrets, not logs, not the queue.
DO $$
DECLARE
	configuration regclass;
BEGIN
	FOREACH configuration IN ARRAY ARRAY[
		'notify.source', 'notify.category', 'notify.rule', 'notify.rule_version',
		'notify.template', 'notify.template_version', 'notify.provider',
		'notify.recipient', 'notify.address', 'notify.recipient_source', 'notify.recipient_problem', 'notify.origin',
		'notify.rule_version_id_seq', 'notify.template_version_id_seq',
		'notify.rule_id_seq', 'notify.provider_id_seq']
	LOOP
		PERFORM pg_catalog.pg_extension_config_dump(configuration, '');
	END LOOP;
END
$$;
