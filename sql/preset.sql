/*
 * preset.sql
 *		Providers' protocols as data.
 *
 * A preset is what a channel's provider wants on the wire. Its engine is in C
 * (src/channel): http, smtp, inbox. Those the extension brings (presets.sql)
 * are its own: they change with its version and are in no dump. Users add
 * theirs by INSERT, or copy one and change it.
 */
CREATE SEQUENCE notify.preset_version_seq;
COMMENT ON SEQUENCE notify.preset_version_seq IS 'Numbers of preset.version.';

CREATE TABLE notify.preset (
	name		text PRIMARY KEY CHECK (name <> ''),
	channel		text NOT NULL,
	engine		text NOT NULL DEFAULT 'http',
	description	text NOT NULL DEFAULT '',
	settings	jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
	addressed	boolean NOT NULL DEFAULT true,
	http_version text NOT NULL DEFAULT '1.1' CHECK (http_version IN ('1.1', '2')),
	method		text NOT NULL DEFAULT 'POST' CHECK (method IN ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
	url			text,
	hosts		text[],
	headers		jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
	body		text,
	auth		jsonb CHECK (jsonb_typeof(auth) = 'object'),
	success		jsonb CHECK (jsonb_typeof(success) IN ('object', 'array')),
	reference	jsonb CHECK (jsonb_typeof(reference) = 'object'),
	errors		jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(errors) = 'array'),
	retry_after	text,
	rate		numeric CHECK (rate > 0),
	receipt		jsonb CHECK (jsonb_typeof(receipt) = 'object'),
	shipped		boolean NOT NULL DEFAULT false,
	version		bigint NOT NULL DEFAULT 0,
	idempotent	boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE notify.preset IS
'Providers'' protocols: what a request looks like, how it is signed, what an answer means. Checked when saved, also by writing a request from hostile words. Add yours with INSERT; those with shipped = true belong to the extension. url, headers, body and auth are Liquid over message, address, settings, request (docs/channels.md).';
COMMENT ON COLUMN notify.preset.name IS 'The name providers use.';
COMMENT ON COLUMN notify.preset.channel IS 'The channel it serves.';
COMMENT ON COLUMN notify.preset.engine IS 'What runs it: http, smtp or inbox. The columns from http_version to retry_after are for http.';
COMMENT ON COLUMN notify.preset.description IS 'What it is, and the page of the provider''s documentation it follows.';
COMMENT ON COLUMN notify.preset.settings IS
'The settings a provider gives, by name: {"kind", "required", "secret", "default", "description"}. kind: string (the default), text (may have line breaks), url, json (text of an object, or the object), integer, strings (object of strings), list (array of strings). secret: its value is shown nowhere. http adds headers, hosts, ca_file, timeout_ms and connect_timeout_ms.';
COMMENT ON COLUMN notify.preset.addressed IS 'Whether a message needs its recipient''s address; false where the provider''s settings say where everything goes, as with a chat robot.';
COMMENT ON COLUMN notify.preset.http_version IS '1.1; or 2, over TLS. Either way a connection carries a message at a time and is kept for the next.';
COMMENT ON COLUMN notify.preset.method IS 'GET, POST, PUT, PATCH or DELETE.';
COMMENT ON COLUMN notify.preset.url IS 'Liquid. NULL: the address when it is of one of hosts, else the setting url.';
COMMENT ON COLUMN notify.preset.hosts IS 'Hosts that a message may choose, "*.example.com" for all below one, "*" for any. NULL: a message changes neither scheme nor host nor port. A provider''s setting hosts replaces it.';
COMMENT ON COLUMN notify.preset.headers IS 'Names and values (Liquid). One that comes out empty is left out; one with a line break is an error of the message. Content-Type is application/json unless said.';
COMMENT ON COLUMN notify.preset.body IS 'Liquid; write words with | json, in forms with | url_encode. NULL: the template''s body, or {"type", "timestamp", "data"} without a template.';
COMMENT ON COLUMN notify.preset.auth IS
'{"scheme": ..., parameters, Liquid}. basic: username, password. bearer: token. standard_webhooks: secret. hmac: key, message, algorithm (sha256), encoding (base64), key_encoding (text), and where it goes: header, query (names and values, which see signature), or signature in the body. jwt_es256: key, key_id, issuer, audience. oauth2_jwt_bearer (RFC 7523): key, issuer, token_url, scope, audience, key_id. acs3: access_key_id, access_key_secret, security_token. tc3: secret_id, secret_key, service. sigv4: access_key_id, secret_access_key, region, service, session_token. NULL: none.';
COMMENT ON COLUMN notify.preset.success IS
'{"status": 200, "path": jsonpath, "match": regular expression}, or an array of such; any of them. status is a number, "2xx" or "200-299"; path must find something other than false and null; with match its text must match. NULL: status 200 to 299.';
COMMENT ON COLUMN notify.preset.reference IS 'Where the provider''s id of a message is: {"path": jsonpath}, {"header": name or names} or {"match": regular expression over the body}. NULL: nowhere.';
COMMENT ON COLUMN notify.preset.errors IS
'What refusals mean: an array of tests as in success, each with a class: retry, defer, permanent_message, permanent_recipient, provider_down, auth. The first that holds counts; without one the HTTP status decides.';
COMMENT ON COLUMN notify.preset.retry_after IS 'jsonpath to the seconds to wait. NULL: only the header Retry-After.';
COMMENT ON COLUMN notify.preset.rate IS 'Requests a second the provider takes unless agreed otherwise; NULL: not known.';
COMMENT ON COLUMN notify.preset.receipt IS 'How to read the provider''s delivery reports (notify.receipt()): format, unwrap, items, message, reference, address, code, detail, prefix, kinds, signature (docs/receipts.md). NULL: it is not said.';
COMMENT ON COLUMN notify.preset.shipped IS 'It belongs to the extension: not to be changed, and in no dump.';
COMMENT ON COLUMN notify.preset.idempotent IS 'The provider drops a request whose key it has seen, and the key is message.id or message.uuid in url, headers or body (or auth standard_webhooks, which sends it): so what may have arrived may be sent to it again, also in categories that are at_most_once. None of those shipped is, for no provider of theirs promises it.';
COMMENT ON COLUMN notify.preset.version IS 'A new number with each save.';

CREATE FUNCTION notify._check_preset(preset jsonb) RETURNS void
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'notify_check_preset';
COMMENT ON FUNCTION notify._check_preset(jsonb) IS
'Raises what is wrong with a row of notify.preset, naming the column. Internal.';

CREATE FUNCTION notify._in_script() RETURNS boolean
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'notify_in_script';
COMMENT ON FUNCTION notify._in_script() IS
'Whether a script of an extension runs just now. Internal.';

/*
 * A preset's receipt map:
 *
 *	format		json (the default; a form is taken too), or mail
 *	unwrap		jsonpath to JSON text that is the payload proper (Amazon SNS)
 *	items		jsonpath to the reports; default $[*], which takes one alone too
 *	message, reference, address, code, detail	jsonpaths in a report
 *	prefix		what phone numbers without + begin with, such as +86
 *	kinds		[{"kind", "path", "match", "address"}]: the first whose path finds
 *				something other than false and null, and text that matches, counts
 *	signature	{"scheme", "secret": name of the setting, ...}
 */
CREATE FUNCTION notify._check_receipt(preset notify.preset) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kinds constant text[] := '{delivered,failed,bounced,refused,complained,stopped,resumed,unsubscribed,ignored}';
	schemes constant text[] := '{twilio,standard_webhooks,ecdsa,sns,jwt_hs256,hmac}';
	map jsonb := preset.receipt;
	item record;
	fault text;
BEGIN
	SELECT format('It has "%s", which means nothing.', k) INTO fault
	FROM jsonb_object_keys(map) AS k
	WHERE k <> ALL (ARRAY['format', 'unwrap', 'items', 'message', 'reference', 'address', 'code', 'detail', 'prefix', 'kinds', 'signature']);
	IF map ->> 'format' NOT IN ('json', 'mail') THEN
		fault := 'format is json or mail.';
	ELSIF jsonb_typeof(map -> 'kinds') IS DISTINCT FROM 'array' THEN
		fault := 'It has no array "kinds".';
	ELSIF map ? 'signature' AND (map #>> '{signature,scheme}' = ANY (schemes)) IS NOT TRUE THEN
		fault := format('signature.scheme is one of %s.', array_to_string(schemes, ', '));
	ELSIF map ? 'signature' AND NOT preset.settings ? coalesce(map #>> '{signature,secret}', '') THEN
		fault := 'signature.secret must name one of the preset''s settings.';
	END IF;
	FOR item IN SELECT k.value, k.ordinality AS n FROM jsonb_array_elements(CASE WHEN fault IS NULL THEN map -> 'kinds' ELSE '[]' END) WITH ORDINALITY AS k
	LOOP
		IF (item.value ->> 'kind' = ANY (kinds)) IS NOT TRUE THEN
			fault := format('kinds %s: kind is one of %s.', item.n, array_to_string(kinds, ', '));
		ELSIF item.value ->> 'path' IS NULL THEN
			fault := format('kinds %s: it has no path.', item.n);
		END IF;
		PERFORM '' ~ (item.value ->> 'match');
		PERFORM (item.value ->> 'path')::jsonpath, (item.value ->> 'address')::jsonpath;
	END LOOP;
	PERFORM (map ->> m)::jsonpath FROM unnest(ARRAY['unwrap', 'items', 'message', 'reference', 'address', 'code', 'detail']) AS m;
	IF fault IS NOT NULL THEN
		RAISE EXCEPTION 'invalid receipt of preset "%"', preset.name
			USING ERRCODE = 'invalid_parameter_value', DETAIL = fault, HINT = 'docs/receipts.md says what a receipt map is.';
	END IF;
EXCEPTION WHEN syntax_error OR invalid_regular_expression THEN
	RAISE EXCEPTION 'invalid receipt of preset "%"', preset.name
		USING ERRCODE = 'invalid_parameter_value', DETAIL = sqlerrm, HINT = 'docs/receipts.md says what a receipt map is.';
END
$$;

COMMENT ON FUNCTION notify._check_receipt(notify.preset) IS 'Raises what is wrong with a preset''s receipt map. Internal.';

-- No foreign key ties providers to presets: a restore may bring one whose preset
-- only a newer version of the extension has, and must not fail.
CREATE FUNCTION notify._check_preset_row() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP <> 'INSERT' AND OLD.shipped AND NOT notify._in_script() THEN
		RAISE EXCEPTION 'preset "%" belongs to the extension', OLD.name
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'It changes with the extension''s version.',
				  HINT = 'Copy it under another name, and change the copy.';
	END IF;
	IF (TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NEW.name <> OLD.name)
		AND EXISTS (SELECT FROM notify.provider p WHERE p.preset = OLD.name) THEN
		RAISE EXCEPTION 'preset "%" is in use', OLD.name
			USING ERRCODE = 'dependent_objects_still_exist',
				  DETAIL = (SELECT format('Providers: %s.', string_agg(p.name, ', ' ORDER BY p.name)) FROM notify.provider p WHERE p.preset = OLD.name);
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	PERFORM notify._check_channel(NEW.channel);
	NEW.shipped := notify._in_script();
	NEW.version := nextval('notify.preset_version_seq');
	IF TG_OP = 'INSERT' AND notify._restoring() THEN
		RETURN NEW;			-- notify.arm() looks at the providers that use it
	END IF;
	PERFORM notify._check_preset(jsonb_strip_nulls(to_jsonb(NEW)));
	IF NEW.idempotent AND concat_ws(' ', NEW.url, NEW.headers, NEW.body) !~ 'message\.(id|uuid)'
		AND (NEW.auth ->> 'scheme') IS DISTINCT FROM 'standard_webhooks' THEN
		RAISE EXCEPTION 'preset "%" is not idempotent', NEW.name
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Nothing that it sends says which message it is.',
				  HINT = 'Put the key where the provider wants it, such as "headers": {"Idempotency-Key": "{{ message.uuid }}"}.';
	END IF;
	PERFORM notify._check_receipt(NEW) WHERE NEW.receipt IS NOT NULL;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_preset_row() IS
'Checks a preset when it is saved, and keeps the extension''s own from being changed. Internal.';

CREATE TRIGGER preset_check BEFORE INSERT OR UPDATE OR DELETE ON notify.preset
	FOR EACH ROW EXECUTE FUNCTION notify._check_preset_row();

-- A provider is checked again when its preset changes.
CREATE FUNCTION notify._recheck_providers() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE notify.provider p SET settings = p.settings WHERE p.preset = NEW.name AND NOT notify._in_script();
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._recheck_providers() IS
'Refuses a preset that providers in use would no longer fit. Internal.';

CREATE TRIGGER preset_providers AFTER UPDATE ON notify.preset
	FOR EACH ROW EXECUTE FUNCTION notify._recheck_providers();
