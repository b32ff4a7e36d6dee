/*
 * partial.sql
 *		Liquid that templates share.
 *
 * Each save of other words is a new immutable partial_version. A template
 * version names the partial versions it was saved with, its own and those of
 * the partials it uses, so a message that was planned says the same words for
 * ever. When a partial changes, every template that uses it gets a new version.
 *
 * Saving templates and saving partials take turns (notify._lock_words), or one
 * might be bound to what the other is about to replace.
 */
CREATE TABLE notify.partial (
	name		text PRIMARY KEY CHECK (name <> ''),
	body		text NOT NULL,
	version		bigint NOT NULL
);

COMMENT ON TABLE notify.partial IS
'Liquid that templates share, by {% render "name" %} or {% include "name" %}. Checked when saved, with all that use it; they get new versions. One that is used cannot be deleted.';
COMMENT ON COLUMN notify.partial.name IS 'What render and include call it by.';
COMMENT ON COLUMN notify.partial.body IS 'Liquid. In html it is escaped as what uses it is.';
COMMENT ON COLUMN notify.partial.version IS 'The notify.partial_version in use.';

CREATE SEQUENCE notify.partial_version_id_seq;
COMMENT ON SEQUENCE notify.partial_version_id_seq IS 'Ids of partial versions.';

CREATE TABLE notify.partial_version (
	id			bigint PRIMARY KEY,
	name		text NOT NULL,
	body		text NOT NULL,
	saved_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	saved_by	text NOT NULL DEFAULT session_user
);

COMMENT ON TABLE notify.partial_version IS
'Every version of every partial; template versions refer to it. Never changed.';
COMMENT ON COLUMN notify.partial_version.id IS 'The version.';
COMMENT ON COLUMN notify.partial_version.name IS 'As in notify.partial.';
COMMENT ON COLUMN notify.partial_version.body IS 'As in notify.partial.';
COMMENT ON COLUMN notify.partial_version.saved_at IS 'When it was saved.';
COMMENT ON COLUMN notify.partial_version.saved_by IS 'The session''s role that saved it.';

ALTER TABLE notify.partial ADD CONSTRAINT partial_version_fkey
	FOREIGN KEY (version) REFERENCES notify.partial_version DEFERRABLE INITIALLY DEFERRED;

-- Raises unless a source parses, saying which part of what it is.
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
'Parses one part of a template, or a partial; errors name it. Internal.';

/*
 * The partials that sources use, and those that these use, each with its
 * version. A name that is computed when rendering may be any: then all of them.
 */
CREATE FUNCTION notify._bind_partials(sources text[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
	bound jsonb;
	near text;
BEGIN
	WITH RECURSIVE used (name) AS (
		SELECT n FROM unnest(sources) AS s (source) CROSS JOIN LATERAL unnest(notify._liquid_partials(s.source)) AS n
		UNION
		SELECT n FROM used u
		JOIN notify.partial p ON p.name = u.name OR u.name IS NULL
		CROSS JOIN LATERAL unnest(p.name || notify._liquid_partials(p.body)) AS n
	)
	SELECT min(u.name) FILTER (WHERE p.name IS NULL), coalesce(jsonb_object_agg(p.name, p.version) FILTER (WHERE p.name IS NOT NULL), '{}')
	INTO missing, bound
	FROM used u LEFT JOIN notify.partial p ON p.name = u.name
	WHERE u.name IS NOT NULL;
	IF missing IS NOT NULL THEN
		near := notify._similar_name(missing, ARRAY(SELECT p.name FROM notify.partial p));
		RAISE EXCEPTION 'partial "%" does not exist', missing
			USING ERRCODE = 'undefined_object',
				  DETAIL = 'No row of notify.partial has this name.',
				  HINT = coalesce('Perhaps you meant "' || near || '".', 'Insert it into notify.partial first.');
	END IF;
	-- An older snapshot must not bind what has been replaced since: this raises 40001 then.
	PERFORM FROM notify.partial p WHERE bound ? p.name FOR SHARE;
	RETURN bound;
END
$$;

COMMENT ON FUNCTION notify._bind_partials(text[]) IS
'The partials that Liquid sources use, directly or not, and their versions: {name: version}. 42704 when one does not exist. Internal.';

-- The sources a binding stands for.
CREATE FUNCTION notify._partials(bound jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce((SELECT jsonb_object_agg(v.name, v.body)
					 FROM jsonb_each_text(bound) AS b
					 JOIN notify.partial_version v ON v.id = b.value::bigint), '{}');
$$;

COMMENT ON FUNCTION notify._partials(jsonb) IS
'What render() takes as partials, from a template version''s: {name: source}. Internal.';

CREATE FUNCTION notify._lock_words() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	LOCK TABLE notify.partial_version IN SHARE ROW EXCLUSIVE MODE;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._lock_words() IS
'Makes saves of templates and partials take turns, up to the end of the transaction. Internal.';

-- What is wrong with a restored partial; NULL when nothing is.
CREATE FUNCTION notify._partial_fault(p notify.partial) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_liquid(p.body);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END
$$;

COMMENT ON FUNCTION notify._partial_fault(notify.partial) IS
'What is wrong with a partial; NULL when nothing is. Internal.';

CREATE FUNCTION notify._check_partial() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'INSERT' AND NEW.version IS NOT NULL AND notify._is_superuser() THEN
		RETURN NEW;			-- a restore; notify.arm() checks
	ELSIF TG_OP = 'INSERT' AND NEW.version IS NOT NULL AND notify._restoring() THEN
		NEW.version := nextval('notify.partial_version_id_seq');
		RETURN NEW;
	END IF;
	PERFORM notify._check_template_part(format('partial "%s"', NEW.name), NEW.body);
	IF TG_OP = 'INSERT' OR (NEW.name, NEW.body) IS DISTINCT FROM (OLD.name, OLD.body) THEN
		NEW.version := nextval('notify.partial_version_id_seq');
	ELSE
		NEW.version := OLD.version;
	END IF;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_partial() IS
'Checks a partial when it is saved and gives it its version. Internal.';

-- Raises when a partial, through those it uses, comes back to itself.
CREATE FUNCTION notify._check_partial_cycle(start text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	circle text[];
BEGIN
	WITH RECURSIVE walk (path) AS (
		SELECT ARRAY[start]
		UNION ALL
		SELECT w.path || n
		FROM walk w
		JOIN notify.partial p ON p.name = w.path[cardinality(w.path)]
		CROSS JOIN LATERAL unnest(notify._liquid_partials(p.body)) AS n
		WHERE n IS NOT NULL AND (n = start OR n <> ALL (w.path)) AND (cardinality(w.path) = 1 OR p.name <> start)
	)
	SELECT w.path INTO circle FROM walk w
	WHERE cardinality(w.path) > 1 AND w.path[cardinality(w.path)] = start
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'partial "%" uses itself', start
			USING ERRCODE = 'invalid_recursion',
				  DETAIL = array_to_string(circle, ' -> ') || '.',
				  HINT = 'Use a loop in one partial, or one partial for each level.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_partial_cycle(text) IS
'Raises 42P19 when a partial uses itself, through others or not. Internal.';

-- Raises while something still names a partial that is gone.
CREATE FUNCTION notify._check_partial_unused(partial text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	users text;
BEGIN
	IF EXISTS (SELECT FROM notify.partial p WHERE p.name = partial) THEN
		RETURN;
	END IF;
	SELECT string_agg(u.who, ', ' ORDER BY u.who) INTO users
	FROM (SELECT format('partial "%s"', p.name) AS who
		  FROM notify.partial p
		  WHERE partial = ANY (notify._liquid_partials(p.body))
		  UNION
		  SELECT format('template "%s"', t.name)
		  FROM notify.template t CROSS JOIN LATERAL unnest(notify._template_sources(t)) AS s (source)
		  WHERE CASE WHEN t.problem IS NULL THEN partial = ANY (notify._liquid_partials(s.source)) END) AS u;
	IF users IS NOT NULL THEN
		RAISE EXCEPTION 'partial "%" is in use', partial
			USING ERRCODE = 'dependent_objects_still_exist',
				  DETAIL = format('Used by %s.', users),
				  HINT = 'Change what uses it first.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_partial_unused(text) IS
'Raises 2BP01 when a template or partial names a partial that is not there any more. Internal.';

/*
 * What a saved partial does to the others: all of them must still find what
 * they name, and templates are bound anew, which gives them new versions.
 * Restored rows find their version there already.
 */
CREATE FUNCTION notify._save_partial_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_trigger_table(TG_RELID, 'notify.partial');
	IF TG_OP <> 'DELETE' THEN
		INSERT INTO notify.partial_version (id, name, body)
		VALUES (NEW.version, NEW.name, NEW.body)
		ON CONFLICT (id) DO NOTHING;
		IF NOT FOUND THEN
			PERFORM notify._check_taken('partial', NEW.version, v.name = NEW.name)
			FROM notify.partial_version v WHERE v.id = NEW.version;
			RETURN NULL;
		END IF;
		PERFORM notify._bind_partials(ARRAY[NEW.body]);
		PERFORM notify._check_partial_cycle(NEW.name);
	END IF;
	IF TG_OP <> 'INSERT' THEN
		PERFORM notify._check_partial_unused(OLD.name);
	END IF;
	-- One that was restored and does not parse stays as it is until it is mended.
	UPDATE notify.template t SET weight = t.weight
	FROM notify.template_version v
	WHERE v.id = t.version
	  AND CASE WHEN t.problem IS NULL THEN notify._bind_partials(notify._template_sources(t)) <> v.partials END;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._save_partial_version() IS
'Writes a saved partial''s row of notify.partial_version and binds templates anew. Internal.';

CREATE TRIGGER partial_lock BEFORE INSERT OR UPDATE OR DELETE ON notify.partial
	FOR EACH STATEMENT EXECUTE FUNCTION notify._lock_words();
CREATE TRIGGER partial_check BEFORE INSERT OR UPDATE ON notify.partial
	FOR EACH ROW EXECUTE FUNCTION notify._check_partial();
CREATE TRIGGER version_check BEFORE INSERT ON notify.partial_version
	FOR EACH ROW EXECUTE FUNCTION notify._check_version();
CREATE TRIGGER partial_save_version AFTER INSERT OR UPDATE OR DELETE ON notify.partial
	FOR EACH ROW EXECUTE FUNCTION notify._save_partial_version();
