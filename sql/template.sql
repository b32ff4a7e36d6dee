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
	provider_template jsonb CHECK (jsonb_typeof(provider_template) = 'object'),
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
COMMENT ON COLUMN notify.template.provider_template IS
'A template that the provider keeps, such as an SMS text a carrier approved: {"id": "SMS_154950909", "parameters": {"code": "{{ code }}"}}. Every string in it is Liquid. The provider''s preset says which names it reads. NULL: none.';
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
	saved_by	text NOT NULL DEFAULT session_user,
	provider_template jsonb
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
	IF NEW.provider_template IS NOT NULL AND NEW.channel = 'inbox' THEN
		RAISE EXCEPTION 'provider_template is not for channel inbox'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'The inbox is in this database; no provider keeps templates for it.';
	END IF;
	IF NEW.body IS NULL AND NEW.provider_template IS NULL AND NOT (NEW.channel = 'email' AND NEW.html IS NOT NULL) THEN
		RAISE EXCEPTION 'template "%" has no body', NEW.name
			USING ERRCODE = 'not_null_violation';
	END IF;
	IF NEW.html IS NOT NULL AND NEW.channel <> 'email' THEN
		RAISE EXCEPTION 'html is for channel email, not %', NEW.channel
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NEW.channel = 'email' AND NEW.subject IS NULL AND NEW.provider_template IS NULL THEN
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
	PERFORM notify._check_template_part('provider_template', s.source #>> '{}')
	FROM jsonb_path_query(NEW.provider_template, 'strict $.** ? (@.type() == "string")') AS s (source);
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
	INSERT INTO notify.template_version (id, name, channel, locale, variant, subject, body, html, provider_template)
	VALUES (NEW.version, NEW.name, NEW.channel, NEW.locale, NEW.variant, NEW.subject, NEW.body, NEW.html,
			NEW.provider_template)
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
CREATE FUNCTION notify._template(version bigint, OUT subject text, OUT body text, OUT html text, OUT provider_template jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.subject, v.body, v.html, v.provider_template FROM notify.template_version v WHERE v.id = version;
$$;

COMMENT ON FUNCTION notify._template(bigint) IS 'The words of a template version. Internal.';
