/*
 * template.sql
 *		Words, by channel, locale and variant.
 *
 * Each save that changes words is a new immutable template_version; the row of
 * notify.template names the one in use. Messages name versions, so what was
 * said can be rendered again. A row that comes with its version is a restore's
 * (rule.sql): what is wrong with it is noted in "problem".
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
	provider_template jsonb CHECK (jsonb_typeof(provider_template) = 'object'),
	problem		text,
	attachments	jsonb CHECK (jsonb_typeof(attachments) = 'array'),
	PRIMARY KEY (name, channel, locale, variant)
);

COMMENT ON TABLE notify.template IS
'Words in Liquid, by channel, locale and variant. Checked when saved; each save of other words is a new notify.template_version.';
COMMENT ON COLUMN notify.template.name IS 'The name rules and send() use.';
COMMENT ON COLUMN notify.template.channel IS 'inbox, email, sms, push, webpush, webhook or chat.';
COMMENT ON COLUMN notify.template.locale IS 'BCP 47 (RFC 5646) such as zh-Hans-CN, or "default", used when nothing in the recipient''s chain fits.';
COMMENT ON COLUMN notify.template.variant IS 'For trying different words beside each other; '''' is the only or first one.';
COMMENT ON COLUMN notify.template.subject IS 'Liquid; an e-mail''s subject or an inbox item''s title.';
COMMENT ON COLUMN notify.template.body IS 'Liquid; plain text.';
COMMENT ON COLUMN notify.template.html IS 'Liquid, escaped by default; e-mail only.';
COMMENT ON COLUMN notify.template.provider_template IS
'A template that the provider keeps, such as an SMS text a carrier approved: {"id": "SMS_154950909", "parameters": {"code": "{{ code }}"}}. Every string in it is Liquid. The provider''s preset says which names it reads. NULL: none.';
COMMENT ON COLUMN notify.template.attachments IS
'Files an e-mail carries: an array of names of notify.attachment, or of objects {"name", "filename", "cid"}. name and filename are Liquid; a name that comes out empty carries nothing, a string may come to several, one a line. With a cid it is shown in the html, by src="cid:...", instead of being attached. Names without Liquid must exist. NULL: none.';
COMMENT ON COLUMN notify.template.weight IS 'Share of recipients this variant gets among those of the same locale; 0: none.';
COMMENT ON COLUMN notify.template.version IS 'The notify.template_version in use.';
COMMENT ON COLUMN notify.template.problem IS 'What is wrong with it: a restore brought what cannot be saved here. NULL when nothing is. Saving it again clears it.';

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
	saved_by	text NOT NULL DEFAULT session_user,
	provider_template jsonb,
	partials	jsonb NOT NULL DEFAULT '{}',
	attachments	jsonb
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
COMMENT ON COLUMN notify.template_version.provider_template IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.attachments IS 'As in notify.template.';
COMMENT ON COLUMN notify.template_version.partials IS 'The partials it uses, directly or not, as they were: name to notify.partial_version.id.';
COMMENT ON COLUMN notify.template_version.saved_at IS 'When it was saved.';
COMMENT ON COLUMN notify.template_version.saved_by IS 'The session''s role that saved it.';

ALTER TABLE notify.template ADD CONSTRAINT template_version_fkey
	FOREIGN KEY (version) REFERENCES notify.template_version DEFERRABLE INITIALLY DEFERRED;

-- The strings in a JSON value, keys aside.
CREATE FUNCTION notify._strings(tree jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.source #>> '{}' FROM jsonb_path_query(tree, 'strict $.** ? (@.type() == "string")') AS s (source);
$$;

COMMENT ON FUNCTION notify._strings(jsonb) IS 'The strings in a JSON value, its keys aside. Internal.';

-- All of a template that is Liquid.
CREATE FUNCTION notify._template_sources(t notify.template) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_remove(ARRAY[t.subject, t.body, t.html], NULL)
		|| ARRAY(SELECT notify._strings(t.provider_template)) || ARRAY(SELECT notify._strings(t.attachments));
$$;

COMMENT ON FUNCTION notify._template_sources(notify.template) IS 'The Liquid sources of a template. Internal.';

-- The files a template names whatever the data say.
CREATE FUNCTION notify._attachment_names(attachments jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT btrim(l.name, E' \t\r\n')
	FROM jsonb_array_elements(attachments) AS e (item)
	CROSS JOIN LATERAL (SELECT CASE jsonb_typeof(e.item) WHEN 'object' THEN e.item ->> 'name' ELSE e.item #>> '{}' END) AS n (name)
	CROSS JOIN LATERAL regexp_split_to_table(n.name, '\n') AS l (name)
	WHERE n.name !~ '\{[{%]' AND l.name ~ '\S';
$$;

COMMENT ON FUNCTION notify._attachment_names(jsonb) IS 'The names in template.attachments that no Liquid makes. Internal.';

-- What is wrong with template.attachments by itself; NULL when nothing is.
CREATE FUNCTION notify._attachments_fault(attachments jsonb) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN jsonb_typeof(attachments) <> 'array' THEN 'It is no array.'
		WHEN jsonb_array_length(attachments) > 20 THEN 'A message carries 20 at most.'
		ELSE (SELECT min(format('Number %s %s.', e.n, f.fault))
			  FROM jsonb_array_elements(attachments) WITH ORDINALITY AS e (item, n)
			  CROSS JOIN LATERAL (SELECT CASE
					WHEN jsonb_typeof(e.item) NOT IN ('string', 'object') THEN 'is neither a string nor an object'
					WHEN jsonb_typeof(e.item) = 'object' AND EXISTS (SELECT FROM jsonb_each(e.item) AS m
						WHERE m.key <> ALL ('{name,filename,cid}') OR jsonb_typeof(m.value) <> 'string')
						THEN 'has something other than the strings name, filename and cid'
					WHEN coalesce(CASE jsonb_typeof(e.item) WHEN 'object' THEN e.item ->> 'name' ELSE e.item #>> '{}' END, '') !~ '\S'
						THEN 'has no name'
					WHEN e.item ->> 'cid' !~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$'
						THEN 'has a cid of more than letters, digits, and . _ @ -, or longer than 64'
					WHEN e.item ? 'cid' AND EXISTS (SELECT FROM jsonb_array_elements(attachments) WITH ORDINALITY AS o (item, n)
						WHERE o.n < e.n AND o.item ->> 'cid' = e.item ->> 'cid') THEN 'has the cid of another'
				  END) AS f (fault)
			  WHERE f.fault IS NOT NULL)
	END;
$$;

COMMENT ON FUNCTION notify._attachments_fault(jsonb) IS 'What is wrong with template.attachments; NULL when nothing is. Internal.';

-- Raises unless a template's files can be carried: those it names always are there, and what its html shows is named.
CREATE FUNCTION notify._check_attachments(t notify.template, bound jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fault text := notify._attachments_fault(t.attachments);
	bytes bigint;
	absent text;
	near text;
BEGIN
	IF fault IS NOT NULL OR t.attachments IS NOT NULL AND t.channel <> 'email' THEN
		RAISE EXCEPTION 'invalid attachments of template "%"', t.name
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = coalesce(fault, format('Attachments are for channel email, not %s.', t.channel)),
				  HINT = 'Write ["name"], or [{"name": "logo.png", "cid": "logo"}] for what the html shows by src="cid:logo".';
	END IF;
	PERFORM FROM notify.attachment a WHERE a.name IN (SELECT notify._attachment_names(t.attachments)) FOR SHARE;
	SELECT sum(octet_length(a.content)),
		   min(n.name) FILTER (WHERE a.name IS NULL OR a.recipient IS NOT NULL OR a.expires_at IS NOT NULL)
	INTO bytes, absent
	FROM notify._attachment_names(t.attachments) AS n (name) LEFT JOIN notify.attachment a ON a.name = n.name;
	IF absent IS NOT NULL THEN
		near := notify._similar_name(absent, ARRAY(SELECT a.name FROM notify.attachment a WHERE a.recipient IS NULL LIMIT 10000));
		RAISE EXCEPTION 'attachment "%" does not exist', absent
			USING ERRCODE = 'undefined_object',
				  DETAIL = 'A file that a template names must be a row of notify.attachment without recipient and expires_at.',
				  HINT = coalesce('Perhaps you meant "' || near || '".', 'Insert it into notify.attachment first.');
	ELSIF bytes > 15728640 THEN
		RAISE EXCEPTION 'template "%" carries % bytes of attachments', t.name, bytes
			USING ERRCODE = 'program_limit_exceeded', DETAIL = 'At most 15728640 (15 MB) go with a message.';
	END IF;
	SELECT min(r.cid[1]) INTO absent
	FROM (SELECT t.html UNION ALL SELECT p.body FROM notify.partial p WHERE bound ? p.name AND t.html IS NOT NULL) AS h (source)
	CROSS JOIN LATERAL regexp_matches(h.source, '["''(=]\s*cid:([A-Za-z0-9][A-Za-z0-9._@-]*)', 'gi') AS r (cid)
	WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(t.attachments) AS e WHERE e.value ->> 'cid' = r.cid[1]);
	IF absent IS NOT NULL THEN
		RAISE EXCEPTION 'html of template "%" shows cid:%, which none of its attachments is', t.name, absent
			USING ERRCODE = 'undefined_object',
				  HINT = format('Name the image in attachments: {"name": "...", "cid": "%s"}.', absent);
	ELSIF t.html IS NULL AND jsonb_path_exists(t.attachments, '$[*].cid') THEN
		RAISE EXCEPTION 'template "%" has a cid and no html to show it', t.name
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave the cid out: it is attached then.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_attachments(notify.template, jsonb) IS
'Raises unless a template''s files can be carried, and all that its html shows is named; bound: the partials it uses. Internal.';

-- Raises what is wrong with a template's row; gives the partials it uses.
CREATE FUNCTION notify._check_words(t notify.template) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bound jsonb;
BEGIN
	PERFORM notify._check_channel(t.channel);
	IF t.provider_template IS NOT NULL AND t.channel = 'inbox' THEN
		RAISE EXCEPTION 'provider_template is not for channel inbox'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'The inbox is in this database; no provider keeps templates for it.';
	END IF;
	IF t.body IS NULL AND t.provider_template IS NULL AND NOT (t.channel = 'email' AND t.html IS NOT NULL) THEN
		RAISE EXCEPTION 'template "%" has no body', t.name
			USING ERRCODE = 'not_null_violation';
	END IF;
	IF t.html IS NOT NULL AND t.channel <> 'email' THEN
		RAISE EXCEPTION 'html is for channel email, not %', t.channel
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF t.channel = 'email' AND t.subject IS NULL AND t.provider_template IS NULL THEN
		RAISE EXCEPTION 'e-mail template "%" has no subject', t.name
			USING ERRCODE = 'not_null_violation';
	END IF;
	IF t.channel = 'email' AND t.subject ~ '[\r\n]' THEN
		RAISE EXCEPTION 'subject of e-mail template "%" contains a line break', t.name
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'A subject is one header line (RFC 5322).',
				  HINT = 'Write it on one line.';
	END IF;
	PERFORM notify._check_template_part(p.part, p.source)
	FROM (VALUES ('subject', t.subject), ('body', t.body), ('html', t.html)) AS p (part, source)
	WHERE p.source IS NOT NULL;
	PERFORM notify._check_template_part('provider_template', s) FROM notify._strings(t.provider_template) AS s;
	PERFORM notify._check_template_part('attachments', s) FROM notify._strings(t.attachments) AS s;
	bound := notify._bind_partials(notify._template_sources(t));
	PERFORM notify._check_attachments(t, bound) WHERE t.attachments IS NOT NULL OR t.channel = 'email';
	RETURN bound;
END
$$;

COMMENT ON FUNCTION notify._check_words(notify.template) IS
'Raises unless a template has what its channel needs and every part parses; gives its partials, as in template_version. Internal.';

-- The same as text; NULL when nothing is wrong.
CREATE FUNCTION notify._words_fault(t notify.template) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_words(t);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END
$$;

COMMENT ON FUNCTION notify._words_fault(notify.template) IS
'What is wrong with a template; NULL when nothing is. Internal.';

CREATE FUNCTION notify._recheck_templates() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE notify.template t SET problem = f.fault
	FROM (SELECT x.version, notify._words_fault(x) AS fault FROM notify.template x) AS f
	WHERE t.version = f.version AND t.problem IS DISTINCT FROM f.fault;
$$;

COMMENT ON FUNCTION notify._recheck_templates() IS
'Checks every template as if it were saved now and sets or clears its problem. Internal.';

CREATE FUNCTION notify._check_template() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bound jsonb;
BEGIN
	IF TG_OP = 'INSERT' AND NEW.version IS NOT NULL AND (notify._is_superuser() OR notify._restoring()) THEN
		NEW.problem := notify._words_fault(NEW);
		IF NOT notify._is_superuser() THEN
			NEW.version := nextval('notify.template_version_id_seq');
		END IF;
		RETURN NEW;
	END IF;
	IF TG_OP = 'UPDATE' AND NEW.problem IS DISTINCT FROM OLD.problem
		AND to_jsonb(NEW) - 'problem' = to_jsonb(OLD) - 'problem' THEN
		RETURN NEW;			-- flagging is not a save
	END IF;
	bound := notify._check_words(NEW);
	NEW.problem := NULL;
	IF TG_OP = 'INSERT' OR to_jsonb(NEW) - '{version,weight,problem}'::text[]
		<> to_jsonb(OLD) - '{version,weight,problem}'::text[]
		OR bound IS DISTINCT FROM (SELECT v.partials FROM notify.template_version v WHERE v.id = OLD.version) THEN
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
	IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
		RETURN NULL;
	END IF;
	INSERT INTO notify.template_version (id, name, channel, locale, variant, subject, body, html, provider_template,
										 attachments, partials)
	VALUES (NEW.version, NEW.name, NEW.channel, NEW.locale, NEW.variant, NEW.subject, NEW.body, NEW.html,
			NEW.provider_template, NEW.attachments,
			CASE WHEN NEW.problem IS NULL THEN notify._bind_partials(notify._template_sources(NEW)) ELSE '{}' END)
	ON CONFLICT (id) DO NOTHING;
	IF NOT FOUND THEN
		PERFORM notify._check_taken('template', NEW.version, v.name = NEW.name)
		FROM notify.template_version v WHERE v.id = NEW.version;
	ELSE
		PERFORM notify._warn_variables(r.name, NEW.version)
		FROM notify.rule r WHERE r.template = NEW.name AND r.action = 'notify';
	END IF;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._save_template_version() IS
'Writes a saved template''s row of notify.template_version. Internal.';

CREATE TRIGGER template_lock BEFORE INSERT OR UPDATE ON notify.template
	FOR EACH STATEMENT EXECUTE FUNCTION notify._lock_words();
CREATE TRIGGER template_check BEFORE INSERT OR UPDATE ON notify.template
	FOR EACH ROW EXECUTE FUNCTION notify._check_template();
CREATE TRIGGER template_save_version AFTER INSERT OR UPDATE ON notify.template
	FOR EACH ROW EXECUTE FUNCTION notify._save_template_version();
CREATE TRIGGER version_check BEFORE INSERT ON notify.template_version
	FOR EACH ROW EXECUTE FUNCTION notify._check_version();

-- zh_Hans_CN -> {zh-hans-cn, zh-hans, zh, default}
CREATE FUNCTION notify._locale_chain(locale text) RETURNS text[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_locale_chain';

COMMENT ON FUNCTION notify._locale_chain(text) IS
'Where words for a locale are looked for, best first (RFC 4647 lookup, then "default"). NULL: default alone. Internal.';

-- The words of a version, for the dispatcher's cache.
CREATE FUNCTION notify._template(version bigint, OUT subject text, OUT body text, OUT html text, OUT provider_template jsonb,
								 OUT partials jsonb, OUT attachments jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.subject, v.body, v.html, v.provider_template, notify._partials(v.partials), v.attachments
	FROM notify.template_version v WHERE v.id = version;
$$;

COMMENT ON FUNCTION notify._template(bigint) IS
'The words of a template version, the sources of the partials it uses, and the files it names. Internal.';

/*
 * What a template finds when a rule plans its message: a row for each name,
 * with its members (NULL: any); a row without a name when there may be others.
 */
CREATE FUNCTION notify._rule_supplies(rule text) RETURNS TABLE (root text, members text[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r notify.rule;
	row_columns text[];
BEGIN
	SELECT * INTO STRICT r FROM notify.rule x WHERE x.name = rule;
	SELECT array_agg(a.attname::text) INTO row_columns
	FROM pg_attribute a
	LEFT JOIN notify.source s ON s.relation = a.attrelid
	WHERE a.attrelid = r.source AND a.attnum > 0 AND NOT a.attisdropped
	  AND (s.columns IS NULL OR a.attname = ANY (s.key)
		   OR CASE WHEN s.columns[1] LIKE '-%' THEN '-' || a.attname <> ALL (s.columns) ELSE a.attname = ANY (s.columns) END);
	RETURN QUERY
	VALUES ('new', row_columns), ('old', row_columns), ('event', '{id,type,key,op,at}'::text[]),
		   ('recipient', '{id,name,locale,time_zone,attributes}'::text[]),
		   (CASE WHEN r.source IS NOT NULL THEN 'new' END, row_columns);
	RETURN QUERY
	SELECT c, NULL::text[]
	FROM (VALUES ('audience', r.audience), ('context', r.context)) AS q (kind, query)
	CROSS JOIN LATERAL unnest(notify._query_columns(r.source, q.query, q.kind, r.owner, r.search_path)) AS c
	WHERE q.query IS NOT NULL;
END
$$;

COMMENT ON FUNCTION notify._rule_supplies(text) IS
'The names a rule''s messages give their template, and the members of each (NULL: any). A row without a name: there may be more. Internal.';

-- Warns about what a template version reads and a rule cannot supply.
CREATE FUNCTION notify._warn_variables(rule text, version bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	supplied jsonb;
	v record;
	near text;
BEGIN
	BEGIN
		SELECT jsonb_object_agg(coalesce(s.root, ''), to_jsonb(s.members)) INTO supplied
		FROM notify._rule_supplies(rule) AS s;
	EXCEPTION WHEN OTHERS THEN
		RETURN;				-- what is wrong with the rule is said elsewhere
	END;
	FOR v IN
		SELECT DISTINCT ON (x.root, x.member) x.*, w.name, w.channel, w.locale, p.part
		FROM notify.template_version w
		CROSS JOIN LATERAL (VALUES (1, 'subject', w.subject), (2, 'body', w.body), (3, 'html', w.html)
							UNION ALL SELECT 4, 'attachments', s FROM notify._strings(w.attachments) AS s) AS p (n, part, source)
		CROSS JOIN LATERAL notify._liquid_variables(p.source, notify._partials(w.partials)) AS x
		WHERE w.id = version AND p.source IS NOT NULL
		ORDER BY x.root, x.member, p.n
	LOOP
		CONTINUE WHEN NOT (supplied ? v.root) AND supplied ? '';
		CONTINUE WHEN supplied ? v.root AND (v.member IS NULL OR supplied -> v.root = 'null' OR supplied -> v.root ? v.member);
		near := CASE WHEN supplied ? v.root
					 THEN v.root || '.' || notify._similar_name(v.member, ARRAY(SELECT jsonb_array_elements_text(supplied -> v.root)))
					 ELSE coalesce(notify._similar_name(v.root, ARRAY(SELECT jsonb_object_keys(supplied))),
								   (SELECT o.key || '.' || v.root FROM jsonb_each(supplied) AS o
									WHERE o.value ? v.root ORDER BY o.key <> 'new', o.key LIMIT 1))
						  || coalesce('.' || v.member, '') END;
		RAISE WARNING 'template "%" uses "%", which rule "%" does not supply', v.name, concat_ws('.', v.root, v.member), rule
			USING DETAIL = format('%s (%s, %s), line %s, column %s: it will be empty.',
								  coalesce('Partial "' || v.partial || '" in ' || v.part, initcap(v.part)),
								  v.channel, v.locale, v.line, v.col),
				  HINT = coalesce('Perhaps you meant "' || near || '".',
								  'Let the rule''s context give it, or take it out.');
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._warn_variables(text, bigint) IS
'Raises a warning for every variable of a template version that a rule does not supply, with the name that may have been meant. Internal.';

-- src/liquid/missing.c
CREATE FUNCTION notify._render_noting(template text, data jsonb, format text, partials jsonb, OUT words text, OUT missing text[])
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_render_noting';

COMMENT ON FUNCTION notify._render_noting(text, jsonb, text, jsonb) IS
'As render(), and what was put out although the data does not have it. Internal.';

CREATE FUNCTION notify._render_strings(tree jsonb, data jsonb, partials jsonb) RETURNS jsonb
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_render_strings';

COMMENT ON FUNCTION notify._render_strings(jsonb, jsonb, jsonb) IS
'A JSON object or array with every string in it, keys aside, rendered as Liquid in text format. Internal.';

-- One part of a template, and what is wrong with it: an error, or what the data
-- lacks. Format json: the source is JSON, and its strings are the words.
CREATE FUNCTION notify._preview_part(part text, source text, data jsonb, format text, partials jsonb,
									 OUT words text, OUT problems text[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	message text;
	detail text;
	place text;
BEGIN
	IF format = 'json' THEN
		words := notify._render_strings(source::jsonb, data, partials);
		RETURN;
	END IF;
	SELECT r.words, ARRAY(SELECT part || ': ' || m FROM unnest(r.missing) AS m)
	INTO words, problems
	FROM notify._render_noting(source, data, format, partials) AS r;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR syntax_error_or_access_rule_violation
	OR feature_not_supported OR external_routine_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, place = PG_EXCEPTION_CONTEXT;
	problems := ARRAY[format('%s: %s (%s)%s', part, message, split_part(place, E'\n', 1), coalesce(': ' || nullif(detail, ''), ''))];
END
$$;

COMMENT ON FUNCTION notify._preview_part(text, text, jsonb, text, jsonb) IS
'One part of a template, rendered, and what is wrong with it. Internal.';

CREATE FUNCTION notify.preview(template text, data jsonb, locale text DEFAULT NULL)
RETURNS TABLE (channel text, subject text, body text, html text, problems text[],
			   found_locale text, variant text, segments integer, provider_template jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text := coalesce(locale, data #>> '{recipient,locale}');
	chain text[] := notify._locale_chain(wanted);
BEGIN
	IF NOT EXISTS (SELECT FROM notify.template t WHERE t.name = template) THEN
		RAISE EXCEPTION 'template "%" does not exist', template
			USING ERRCODE = 'no_data_found',
				  DETAIL = 'No row of notify.template has this name.';
	END IF;
	IF jsonb_typeof(data) <> 'object' THEN
		RAISE EXCEPTION 'data of a template must be a JSON object'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF locale IS NOT NULL THEN
		data := data || jsonb_build_object('recipient', CASE jsonb_typeof(data -> 'recipient') WHEN 'object' THEN data -> 'recipient'
														ELSE '{}' END || jsonb_build_object('locale', locale));
	END IF;
	RETURN QUERY
	SELECT c.channel, s.words, b.words, h.words,
		   CASE WHEN t.name IS NULL THEN ARRAY[format('no words for %s', concat_ws(', ', VARIADIC chain))]
				ELSE coalesce(s.problems, '{}') || coalesce(b.problems, '{}') || coalesce(h.problems, '{}')
					 || coalesce(p.problems, '{}') || coalesce(f.problems, '{}')
					 || ARRAY(SELECT 'attachments: ' || x.problem FROM notify._attachments(f.words::jsonb, data #>> '{recipient,id}', 9223372036854775807) AS x
							  WHERE x.problem IS NOT NULL) END,
		   t.locale, t.variant,
		   CASE WHEN c.channel = 'sms' THEN (notify.sms_length(b.words)).segments END, p.words::jsonb
	FROM (SELECT DISTINCT x.channel, (SELECT o.locale FROM notify.template o
									  WHERE o.name = template AND o.channel = x.channel AND lower(o.locale) = ANY (chain)
									  ORDER BY array_position(chain, lower(o.locale)) LIMIT 1) AS locale
		  FROM notify.template x WHERE x.name = template) AS c
	LEFT JOIN notify.template t ON t.name = template AND t.channel = c.channel AND t.locale = c.locale
	LEFT JOIN LATERAL notify._template(t.version) AS w ON t.name IS NOT NULL
	LEFT JOIN LATERAL notify._preview_part('subject', w.subject, data, 'text', w.partials) AS s ON w.subject IS NOT NULL
	LEFT JOIN LATERAL notify._preview_part('body', w.body, data, 'text', w.partials) AS b ON w.body IS NOT NULL
	LEFT JOIN LATERAL notify._preview_part('html', w.html, data, 'html', w.partials) AS h ON w.html IS NOT NULL
	LEFT JOIN LATERAL notify._preview_part('provider_template', w.provider_template::text, data, 'json', w.partials) AS p
		ON w.provider_template IS NOT NULL
	LEFT JOIN LATERAL notify._preview_part('attachments', w.attachments::text, data, 'json', w.partials) AS f ON w.attachments IS NOT NULL
	ORDER BY c.channel, t.variant;
END
$$;

COMMENT ON FUNCTION notify.preview(text, jsonb, text) IS
'What a template says on each of its channels with this data, sending nothing. locale: as if the recipient had it (NULL: data.recipient.locale). problems: errors in rendering, what the data does not have, and attachments that cannot be carried; empty when there are none. found_locale, variant: the row of notify.template; NULL when none suits the locale. segments: how many an SMS takes (see sms_length). provider_template: as the provider would get it. P0002 when there is no such template.';
