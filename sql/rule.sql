/*
 * rule.sql
 *		Attached tables, categories, and the rules that say which events
 *		become which messages.
 *
 * A rule is checked when it is saved and every save of something that matters
 * writes an immutable rule_version: events and messages name versions. A row
 * that comes with its version is a restore's: what it names and the privileges it
 * needs may come later in the dump, so what is wrong with it is no reason to
 * refuse it. Of a superuser it is taken as it is. Of anyone else (a session that
 * loads a dump, notify._restoring()) it becomes theirs, as tables do with
 * pg_restore --no-owner, and a version of its own. A restored database is held
 * until notify.arm(), and that checks every rule.
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
	channels	text[],
	cheapest	boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE notify.category IS 'What a message is about.';
COMMENT ON COLUMN notify.category.name IS 'Its name.';
COMMENT ON COLUMN notify.category.class IS 'critical, transactional or marketing: the law and the defaults follow it.';
COMMENT ON COLUMN notify.category.description IS 'For people.';
COMMENT ON COLUMN notify.category.at_most_once IS 'True: a send whose outcome is unknown is not tried again but fails as ambiguous; unless its provider drops what repeats our key (preset.idempotent): that one alone is tried again.';
COMMENT ON COLUMN notify.category.ttl IS 'A message not sent this long after it was due expires. NULL: 3 days. rule.expires comes first.';
COMMENT ON COLUMN notify.category.channels IS 'Channels used where the rule names none.';
COMMENT ON COLUMN notify.category.cheapest IS 'Among providers of equal priority that can serve: the one of the lowest cost (provider.cost; without one last), and by weight only among equally cheap ones. False: by weight.';

-- What is wrong with a category; NULL when nothing is.
CREATE FUNCTION notify._category_fault(c notify.category) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_channel(u) FROM unnest(c.channels) AS u;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END
$$;

COMMENT ON FUNCTION notify._category_fault(notify.category) IS
'What is wrong with a category; NULL when nothing is. Internal.';

CREATE FUNCTION notify._check_category() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'INSERT' AND notify._restoring() THEN
		RETURN NEW;			-- notify.arm() checks
	END IF;
	PERFORM notify._check_channel(u) FROM unnest(NEW.channels) AS u;
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
COMMENT ON COLUMN notify.rule.channels IS 'Channels, all at once. NULL: the category''s, or those of step 1. More can follow later: notify.rule_step.';
COMMENT ON COLUMN notify.rule.priority IS '0 urgent, 1 high, 2 normal, 3 bulk; a lower number is claimed first. NULL: by the category''s class: critical 0, transactional 1, marketing 3.';
COMMENT ON COLUMN notify.rule.delay IS 'Send this long after the event. NULL: at once.';
COMMENT ON COLUMN notify.rule.dedupe_key IS 'SQL expression: one message per rule, recipient and value. NULL value: no limit.';
COMMENT ON COLUMN notify.rule.cancel_key IS 'SQL expression. action notify: the value that can cancel the message; action cancel: the value to cancel.';
COMMENT ON COLUMN notify.rule.expires IS 'A message not sent this long after it was due expires. NULL: the category''s ttl.';
COMMENT ON COLUMN notify.rule.enabled IS 'False: it matches nothing, and what it matched but is not planned yet is skipped (rule_off).';
COMMENT ON COLUMN notify.rule.owner IS 'The role its expressions and queries run as: the last editor. Only a superuser may name another. When the role is dropped, the rule becomes theirs who save it next.';
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
	saved_by	text NOT NULL DEFAULT session_user,
	steps		jsonb
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
COMMENT ON COLUMN notify.rule_version.channels IS 'As in notify.rule, or those of step 1.';
COMMENT ON COLUMN notify.rule_version.priority IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.delay IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.dedupe_key IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.cancel_key IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.expires IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.owner IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.search_path IS 'As in notify.rule.';
COMMENT ON COLUMN notify.rule_version.saved_at IS 'When it was saved.';
COMMENT ON COLUMN notify.rule_version.saved_by IS 'The session''s role that saved it.';
COMMENT ON COLUMN notify.rule_version.steps IS 'Its rows of notify.rule_step: an array of {step, channels, after, unless}; NULL: there were none.';

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

CREATE FUNCTION notify._is_superuser() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT rolsuper FROM pg_roles WHERE rolname = current_user;
$$;

COMMENT ON FUNCTION notify._is_superuser() IS 'Whether the current role is a superuser. Internal.';

-- What a role that is gone leaves belongs to whoever saves it next.
CREATE FUNCTION notify._is_orphan(owner regrole) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = owner);
$$;

COMMENT ON FUNCTION notify._is_orphan(regrole) IS 'Whether a role does not exist any more. Internal.';

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

-- Raises unless a source's columns are there and its recipient compiles as its owner.
CREATE FUNCTION notify._check_source_sql(s notify.source) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_columns(s.relation, s.key, s.columns);
	IF s.recipient IS NOT NULL THEN
		PERFORM notify._check_expression(s.relation, s.recipient, 'recipient', s.owner, s.search_path);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_source_sql(notify.source) IS
'Raises, with the position, unless a source fits its table. Internal.';

-- Of a restore by another than a superuser: theirs now, and wrong only in "problem".
CREATE FUNCTION notify._take_over(s notify.source) RETURNS notify.source
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	s.owner := quote_ident(current_user)::regrole;
	s.problem := NULL;
	PERFORM notify._check_source_sql(s);
	RETURN s;
EXCEPTION WHEN OTHERS THEN
	s.owner := quote_ident(current_user)::regrole;
	s.problem := sqlerrm;
	RETURN s;
END
$$;

COMMENT ON FUNCTION notify._take_over(notify.source) IS 'Makes a restored source its restorer''s. Internal.';

CREATE FUNCTION notify._check_source() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restored boolean := TG_OP = 'INSERT' AND NEW.owner IS NOT NULL;
	edited boolean := TG_OP = 'INSERT' OR notify._is_orphan(OLD.owner)
		OR (NEW.recipient, NEW.search_path) IS DISTINCT FROM (OLD.recipient, OLD.search_path);
BEGIN
	IF restored AND notify._is_superuser() THEN
		RETURN NEW;			-- notify.arm() checks
	END IF;
	IF TG_OP = 'UPDATE' AND NEW.problem IS DISTINCT FROM OLD.problem AND NEW.problem IS NOT NULL
		AND to_jsonb(NEW) - 'problem' = to_jsonb(OLD) - 'problem' THEN
		RETURN NEW;			-- flagging is not a save
	END IF;
	IF NOT has_table_privilege(NEW.relation, 'TRIGGER') THEN
		RAISE EXCEPTION 'permission denied for table %', NEW.relation
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Attaching a table, and saying what is captured of it, needs TRIGGER on it.';
	END IF;
	IF restored AND notify._restoring() THEN
		RETURN notify._take_over(NEW);
	END IF;
	NEW.owner := notify._saver(NEW.owner, CASE WHEN TG_OP = 'UPDATE' THEN OLD.owner END, edited);
	IF edited OR notify._is_superuser() THEN
		PERFORM notify._check_source_sql(NEW);
	ELSE
		PERFORM notify._check_columns(NEW.relation, NEW.key, NEW.columns);
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
CREATE FUNCTION notify._query_columns(relation regclass, query text, kind text, owner regrole, search_path text) RETURNS text[]
LANGUAGE c AS 'MODULE_PATHNAME', 'notify_query_columns';

COMMENT ON FUNCTION notify._query_columns(regclass, text, text, regrole, text) IS
'The names of the columns an audience or context query gives. Internal.';

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
	PERFORM notify._check_steps(r);
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
	PERFORM notify._check_watcher(r);
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

-- TRIGGER on a table is what it takes to see its rows.
CREATE FUNCTION notify._check_watcher(r notify.rule) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF r.source IS NOT NULL AND NOT has_table_privilege(r.owner, r.source, 'TRIGGER') THEN
		RAISE EXCEPTION 'permission denied for table %', r.source
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = format('Role %s needs TRIGGER on the table to have a rule on it.', r.owner);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_watcher(notify.rule) IS
'Raises 42501 unless a rule''s owner may see the rows it watches. Internal.';

-- Of a restore by another than a superuser: theirs now, and wrong only in "problem".
CREATE FUNCTION notify._take_over(r notify.rule) RETURNS notify.rule
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	r.owner := quote_ident(current_user)::regrole;
	r.version := nextval('notify.rule_version_id_seq');
	r.problem := NULL;
	PERFORM notify._check_watcher(r);
	BEGIN
		r.mode := notify._check_rule_sql(r);
	EXCEPTION WHEN OTHERS THEN
		r.problem := sqlerrm;
	END;
	RETURN r;
END
$$;

COMMENT ON FUNCTION notify._take_over(notify.rule) IS 'Makes a restored rule its restorer''s. Internal.';

CREATE FUNCTION notify._check_rule() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restored boolean := TG_OP = 'INSERT' AND NEW.version IS NOT NULL;
	edited boolean := TG_OP = 'INSERT' OR notify._is_orphan(OLD.owner)
		OR (NEW.source, NEW.event_type, NEW.search_path, NEW.condition, NEW.recipient, NEW.audience,
			NEW.context, NEW.dedupe_key, NEW.cancel_key)
		IS DISTINCT FROM
		   (OLD.source, OLD.event_type, OLD.search_path, OLD.condition, OLD.recipient, OLD.audience,
			OLD.context, OLD.dedupe_key, OLD.cancel_key);
	stepped boolean := false;		-- notify.rule_step differs from what its version says
BEGIN
	IF restored AND notify._is_superuser() THEN
		RETURN NEW;			-- notify.arm() checks
	ELSIF restored AND notify._restoring() THEN
		RETURN notify._take_over(NEW);
	END IF;
	-- A broken rule is flagged, or loses the table that was dropped; that is not a save.
	IF TG_OP = 'UPDATE' AND NEW.problem IS DISTINCT FROM OLD.problem AND NEW.problem IS NOT NULL
		AND (NEW.source IS NULL OR NEW.source = OLD.source)
		AND to_jsonb(NEW) - '{problem,source,search_path}'::text[]
			= to_jsonb(OLD) - '{problem,source,search_path}'::text[] THEN
		NEW.search_path := OLD.search_path;
		RETURN NEW;
	END IF;
	IF TG_OP = 'UPDATE' THEN
		stepped := notify._steps(OLD.id) IS DISTINCT FROM
			(SELECT v.steps FROM notify.rule_version v WHERE v.id = OLD.version);
		IF stepped AND notify._restoring() AND NOT notify._is_superuser() THEN
			RETURN notify._take_over(NEW);
		ELSIF NOT (stepped OR NEW.enabled) AND to_jsonb(NEW) - 'enabled' = to_jsonb(OLD) - 'enabled' THEN
			RETURN NEW;			-- what is switched off need not be good
		END IF;
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
	ELSIF stepped OR to_jsonb(NEW) - '{enabled,mode,problem,version}'::text[]
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

-- A restore brings versions first. Any other that is there is somebody else's.
CREATE FUNCTION notify._check_taken(what text, version bigint, same boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT same THEN
		RAISE EXCEPTION '% version % is taken', what, version
			USING ERRCODE = 'unique_violation',
				  HINT = format('Sequence notify.%s_version_id_seq was set back.', what);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_taken(text, bigint, boolean) IS
'Raises 23505 when a version that is to be written is another''s. Internal.';

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
	IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
		RETURN NULL;
	END IF;
	INSERT INTO notify.rule_version
		(id, rule, name, source, event_type, ops, condition, action, recipient, audience,
		 context, template, category, channels, priority, delay, dedupe_key, cancel_key,
		 expires, owner, search_path, steps)
	VALUES (NEW.version, NEW.id, NEW.name, NEW.source, NEW.event_type, NEW.ops, NEW.condition,
			NEW.action, NEW.recipient, NEW.audience, NEW.context, NEW.template, NEW.category,
			coalesce(NEW.channels, (SELECT s.channels FROM notify.rule_step s WHERE s.rule = NEW.name AND s.step = 1)),
			NEW.priority, NEW.delay, NEW.dedupe_key, NEW.cancel_key, NEW.expires,
			NEW.owner, NEW.search_path, notify._steps(NEW.id))
	ON CONFLICT (id) DO NOTHING;
	IF NOT FOUND THEN
		PERFORM notify._check_taken('rule', NEW.version, v.rule = NEW.id AND v.owner = NEW.owner)
		FROM notify.rule_version v WHERE v.id = NEW.version;
	ELSIF NEW.action = 'notify' THEN
		PERFORM notify._warn_variables(NEW.name, t.version)
		FROM notify.template t WHERE t.name = NEW.template AND t.problem IS NULL;
	END IF;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._save_rule_version() IS
'Writes a saved rule''s row of notify.rule_version. Internal.';

-- What anyone else restores gets versions of its own, so those of the dump are passed over.
CREATE FUNCTION notify._check_version() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF notify._is_superuser() THEN
		RETURN NEW;			-- a restore, or the trigger above
	ELSIF notify._restoring() THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION 'permission denied for table %', TG_RELID::regclass
		USING ERRCODE = 'insufficient_privilege',
			  DETAIL = 'Versions are written by saving.';
END
$$;

COMMENT ON FUNCTION notify._check_version() IS
'Lets only saves, and a superuser''s restore, write versions of rules and templates. Internal.';

CREATE TRIGGER version_check BEFORE INSERT ON notify.rule_version
	FOR EACH ROW EXECUTE FUNCTION notify._check_version();

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
