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
CREATE FUNCTION notify._drop_own_triggers(top regclass, function oid) RETURNS void
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
		WHERE t.tgfoid = function
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', own.tgname, own.relation);
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._drop_own_triggers(regclass, oid) IS
'Makes room for the clones of a partitioned table''s row trigger that calls this function. Internal.';

CREATE FUNCTION notify._put_triggers(source regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	capture oid := 'notify.capture()'::regprocedure;
	always boolean;
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
			-- A partition that was followed on its own gets the clone instead, as by ATTACH PARTITION.
			PERFORM notify._drop_own_triggers(child.relation, capture) WHERE made.bit = 1;
			EXECUTE format('CREATE TRIGGER %s ON %s FOR EACH %s EXECUTE FUNCTION notify.capture()',
						   made.words, child.relation, made.each);
		END LOOP;
		always := (SELECT s.on_replica FROM notify.source s WHERE s.relation = notify._source_of(child.relation));
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
		WHERE u.name IN (SELECT l.name FROM notify.rule l WHERE l.name = r.name FOR UPDATE SKIP LOCKED)
		  AND u.problem IS DISTINCT FROM found_wrong;	-- somebody noted it meanwhile: no change would be a save
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._recheck_rules(text[]) IS
'Checks these rules as if they were saved now and sets or clears their problem; one that is being edited is left alone. Internal.';

CREATE FUNCTION notify._is_not_captured(relation oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NOT EXISTS (SELECT FROM pg_trigger t
					   WHERE t.tgrelid = relation AND t.tgfoid = 'notify.capture()'::regprocedure AND t.tgtype & 1 <> 0);
$$;

COMMENT ON FUNCTION notify._is_not_captured(oid) IS 'Has this relation no trigger that captures rows? Internal.';

CREATE FUNCTION notify._recheck_source(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	found_wrong text;
BEGIN
	SELECT x.relation, x.problem, x.enabled AND EXISTS (SELECT FROM pg_class c WHERE c.oid = x.relation) AS captured
	INTO s FROM notify.source x WHERE x.relation = _recheck_source.relation;
	BEGIN
		PERFORM notify._check_source_sql(x) FROM notify.source x WHERE x.relation = s.relation;
		IF s.captured AND notify._is_not_captured(s.relation) THEN
			found_wrong := 'nothing is captured, for the table lost its triggers; notify.attach() or notify.arm() puts them back';
		END IF;
	EXCEPTION
		WHEN lock_not_available OR deadlock_detected THEN RETURN;
		WHEN OTHERS THEN found_wrong := sqlerrm;
	END;
	IF found_wrong IS DISTINCT FROM s.problem THEN
		UPDATE notify.source u SET problem = found_wrong
		WHERE u.relation IN (SELECT l.relation FROM notify.source l WHERE l.relation = s.relation FOR UPDATE SKIP LOCKED)
		  AND u.problem IS DISTINCT FROM found_wrong;
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
	-- What left a tree (DETACH PARTITION, NO INHERIT) lost its clones, and keeps what its own source needs.
	PERFORM notify._put_triggers(s.relation) FROM notify.source s
	WHERE notify._is_not_captured(s.relation);
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
	IF notify._is_copy() OR notify._restoring() THEN
		RETURN;				-- a restore brings its triggers itself; notify.arm() checks what it brought
	END IF;
	IF TG_TAG IN ('CREATE TABLE', 'ALTER TABLE') THEN
		FOR changed IN
			SELECT DISTINCT d.objid FROM pg_event_trigger_ddl_commands() AS d WHERE d.classid = 'pg_class'::regclass
		LOOP
			CONTINUE WHEN NOT EXISTS (SELECT FROM notify.source s WHERE s.relation = changed)
				AND NOT EXISTS (SELECT FROM notify.recipient_source s WHERE s.relation = changed)
				AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = changed)
				AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = changed)
				AND NOT EXISTS (SELECT FROM pg_trigger t
								WHERE t.tgrelid = changed
								  AND t.tgfoid IN ('notify.capture()'::regprocedure, 'notify._sync_recipient()'::regprocedure));
			PERFORM notify._relation_changed(changed);
			PERFORM notify._users_table_changed(changed);
		END LOOP;
	END IF;
	-- A new name or place may break any rule that calls or casts, and what is new may mend one. A query
	-- may read what is altered; one that reads what has another name now is found by _look_at_queries().
	names := ARRAY(
		SELECT r.name FROM notify.rule r
		WHERE r.problem IS NOT NULL
		   OR (coalesce(r.audience, r.context) IS NOT NULL
			   AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands() AS d JOIN pg_class c ON c.oid = d.objid
						   WHERE d.classid = 'pg_class'::regclass
							 AND strpos(lower(concat_ws(' ', r.audience, r.context)), lower(c.relname)) > 0))
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

CREATE FUNCTION notify._before_attach() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'notify_before_attach' LANGUAGE C;
COMMENT ON FUNCTION notify._before_attach() IS
'Event trigger: ATTACH PARTITION clones the table''s triggers; ours on the partition make room for them. Internal.';

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
	IF EXISTS (SELECT FROM notify.recipient_source s WHERE s.relation = ANY (gone.relations)) THEN
		DELETE FROM notify.recipient_source s WHERE s.relation = ANY (gone.relations);
	END IF;
	IF EXISTS (SELECT FROM notify.rule r WHERE r.source = ANY (gone.relations)) THEN
		UPDATE notify.rule r
		SET source = NULL, problem = format('table %s was dropped; set source to use the rule again', d.object_identity)
		FROM pg_event_trigger_dropped_objects() AS d
		WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND r.source = d.objid;
	END IF;
	IF gone.altered IS NOT NULL THEN
		PERFORM notify._relation_changed(a), notify._users_table_changed(a) FROM unnest(gone.altered) AS a
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
'Event trigger: forgets attached tables, also users tables, that are dropped and looks at the rules that relied on what is gone. Internal.';
