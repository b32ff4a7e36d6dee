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

CREATE FUNCTION notify._restoring() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_restoring';

COMMENT ON FUNCTION notify._restoring() IS
'Whether this session loads a dump (src/capture/restore.c). What it writes is not captured. Internal.';

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

/*
 * What a restore took as it came is looked at: by the planner while a copy is
 * held, so that status() shows it, and by arm(), which refuses what it finds.
 */
CREATE FUNCTION notify._recheck_all() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._recheck_source(s.relation) FROM notify.source s;
	PERFORM notify._recheck_rules(ARRAY(SELECT r.name FROM notify.rule r));
	PERFORM notify._recheck_templates();
	PERFORM notify._recheck_triggers();
	-- What a provider answered is not for us to clear.
	UPDATE notify.provider p SET problem = f.fault
	FROM (SELECT x.name, notify._provider_fault(x) AS fault FROM notify.provider x) AS f
	WHERE p.name = f.name AND f.fault <> coalesce(p.problem, '');
END
$$;

COMMENT ON FUNCTION notify._recheck_all() IS
'Checks everything configured as if it were saved now and sets or clears its problem. Internal.';

-- What is wrong with templates, partials and categories, a line each.
CREATE FUNCTION notify._word_obstacles() RETURNS TABLE (line text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('template %s (%s): %s', t.name, concat_ws(', ', t.channel, t.locale, nullif(t.variant, '')), t.problem)
	FROM notify.template t WHERE t.problem IS NOT NULL
	UNION ALL
	SELECT format('partial %s: %s', p.name, f.fault)
	FROM notify.partial p CROSS JOIN LATERAL notify._partial_fault(p) AS f (fault) WHERE f.fault IS NOT NULL
	UNION ALL
	SELECT format('category %s: %s', c.name, f.fault)
	FROM notify.category c CROSS JOIN LATERAL notify._category_fault(c) AS f (fault) WHERE f.fault IS NOT NULL;
$$;

COMMENT ON FUNCTION notify._word_obstacles() IS
'What a restore brought of templates, partials and categories that could not be saved here. Internal.';

-- Why this database cannot be armed, a line each.
CREATE FUNCTION notify._obstacles() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_agg(o.line ORDER BY o.n, o.line) FROM (
		SELECT 1 AS n, format('rule %s: %s', r.name, r.problem) AS line FROM notify.rule r WHERE r.problem IS NOT NULL AND r.enabled
		UNION ALL
		SELECT 2, format('source %s: %s', s.relation, s.problem) FROM notify.source s WHERE s.problem IS NOT NULL
		UNION ALL
		SELECT 3, w.line FROM notify._word_obstacles() AS w
		UNION ALL
		SELECT 4, format('provider %s: %s', p.name, f.fault)
		FROM notify.provider p CROSS JOIN LATERAL notify._provider_fault(p) AS f (fault) WHERE p.enabled AND f.fault IS NOT NULL
		UNION ALL
		SELECT 5, p.line FROM notify._budget_problems() AS p WHERE p.fault
	) AS o;
$$;

COMMENT ON FUNCTION notify._obstacles() IS
'What notify.arm() refuses, one line each; NULL when there is nothing. Internal.';

-- pg_restore --disable-triggers leaves every trigger enabled the ordinary way.
CREATE FUNCTION notify._put_always_triggers() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT x.tgrelid::regclass AS relation, x.tgname FROM pg_trigger x
			 WHERE x.tgfoid = 'notify._invalidate()'::regprocedure AND x.tgenabled <> 'A'
	LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.relation, t.tgname);
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._put_always_triggers() IS
'Has the triggers of rules and sources fire in sessions of every replication role again. Internal.';

CREATE FUNCTION notify.arm() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	here record;
	obstacles text[];
BEGIN
	PERFORM notify._put_always_triggers();
	PERFORM notify._put_triggers(s.relation) FROM notify.source s JOIN pg_class c ON c.oid = s.relation;
	PERFORM notify._recheck_all();
	obstacles := notify._obstacles();
	IF obstacles IS NOT NULL THEN
		RAISE EXCEPTION 'this database cannot be armed while there are problems in its configuration'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = array_to_string(obstacles, E'\n'),
				  HINT = 'Mend them, or disable those rules and providers and detach those tables.';
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
'Lets this database send: after a restore or a copy, after notify.hold(), and once per host when notify_pg.guard = host. 55000, naming each, while enabled rules and providers, sources, templates, partials or categories have problems, which it looks at again first.';

CREATE FUNCTION notify.hold(reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE notify.instance
	SET mode = 'hold', reason = hold.reason, changed_at = clock_timestamp(), changed_by = session_user;
$$;

COMMENT ON FUNCTION notify.hold(text) IS
'Sends nothing more until notify.arm(). What is being sent now is finished; events go on being captured and planned.';
