/*
 * choice.sql
 *		What people do not want: their own choices by category (preference), and
 *		addresses that are not written to any more (suppression).
 *
 * decide() looks at both, and a claim looks again: who unsubscribes while a
 * message waits does not get it. Critical categories go whatever either says.
 * A suppression names its address by a digest, so it outlives the person's
 * erasure without holding the address.
 */
CREATE TABLE notify.preference (
	recipient	text NOT NULL REFERENCES notify.recipient ON UPDATE CASCADE ON DELETE CASCADE,
	category	text NOT NULL DEFAULT '*',
	channel		text NOT NULL DEFAULT '*',
	allowed		boolean NOT NULL,
	source		text NOT NULL DEFAULT 'app',
	at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (recipient, category, channel)
);

CREATE INDEX preference_at ON notify.preference (at);

COMMENT ON TABLE notify.preference IS 'What people want to hear of, and how. Without a row everything is allowed. The app may write it, as a settings page does.';
COMMENT ON COLUMN notify.preference.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.preference.category IS 'notify.category.name, or * for all. A row that names the category counts before one that does not.';
COMMENT ON COLUMN notify.preference.channel IS 'The channel, or * for all. A row that names the channel counts before any that does not.';
COMMENT ON COLUMN notify.preference.allowed IS 'False: not sent, with reason "unsubscribed", unless the category is critical.';
COMMENT ON COLUMN notify.preference.source IS 'Where it comes from: app, or unsubscribe (notify.unsubscribe()).';
COMMENT ON COLUMN notify.preference.at IS 'When it was said.';

CREATE TABLE notify.suppression (
	channel		text NOT NULL,
	address_hash bytea NOT NULL,
	reason		text NOT NULL CHECK (reason IN ('complained', 'stopped', 'blocked')),
	at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	until		timestamptz,
	message		bigint,
	PRIMARY KEY (channel, address_hash, reason)
);

CREATE INDEX suppression_at ON notify.suppression (at);

COMMENT ON TABLE notify.suppression IS 'Addresses that are not written to, whoever has them; critical categories excepted.';
COMMENT ON COLUMN notify.suppression.channel IS 'The channel.';
COMMENT ON COLUMN notify.suppression.address_hash IS 'notify.address_hash(address): the address itself is not kept.';
COMMENT ON COLUMN notify.suppression.reason IS 'complained: reported as spam; stopped: answered STOP, 退订 or the like; blocked: the app says so.';
COMMENT ON COLUMN notify.suppression.at IS 'Since when.';
COMMENT ON COLUMN notify.suppression.until IS 'Until when (notify.now() time); NULL: for good. Deleting the row lifts it.';
COMMENT ON COLUMN notify.suppression.message IS 'The message it came of; NULL: not known.';

INSERT INTO notify.reason (code, verdict, meaning) VALUES
	('unsubscribed', 'suppressed', 'The person does not want this category on this channel: notify.preference.'),
	('complained', 'suppressed', 'The address reported an earlier message as spam: notify.suppression.'),
	('stopped', 'suppressed', 'The address answered STOP or the like: notify.suppression.'),
	('blocked', 'suppressed', 'The app does not want this address written to: notify.suppression.')
ON CONFLICT (code) DO UPDATE SET verdict = excluded.verdict, meaning = excluded.meaning;

CREATE FUNCTION notify.address_hash(address text) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_address_hash';

COMMENT ON FUNCTION notify.address_hash(text) IS 'What notify.suppression knows an address by: SHA-256 of it in lower case, in UTF-8.';

-- src/plan/refusal.c
CREATE FUNCTION notify._refused(recipient text, category text, channel text, address text) RETURNS text
	LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'notify_refused';

COMMENT ON FUNCTION notify._refused(text, text, text, text) IS
'The notify.reason.code of a preference or a suppression that says no to this; NULL: none. Internal.';

-- Why a person must not get this; NULL when nothing speaks against it.
CREATE FUNCTION notify._refusal(recipient text, category text, channel text, address text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN NOT EXISTS (SELECT FROM notify.category k WHERE k.name = _refusal.category AND k.class = 'critical')
				THEN notify._refused(recipient, category, channel, address) END;
$$;

COMMENT ON FUNCTION notify._refusal(text, text, text, text) IS
'The notify.reason.code of a preference or a suppression that forbids this; NULL: none. Internal.';

/*
 * Links and return paths are signed with a key of this database's, the secret
 * notify:key. Like every secret it is in no dump.
 */
CREATE FUNCTION notify._return_tag(message bigint, key text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_return_tag';
CREATE FUNCTION notify._returned_message(tag text, key text) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_returned_message';
CREATE FUNCTION notify._make_token(recipient text, category text, message bigint, key text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_make_token';
CREATE FUNCTION notify._read_token(token text, key text, OUT recipient text, OUT category text, OUT message bigint)
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_read_token';
COMMENT ON FUNCTION notify._return_tag(bigint, text) IS 'What a message''s return path carries (VERP). Internal.';
COMMENT ON FUNCTION notify._returned_message(text, text) IS 'The message of a return path''s tag; NULL when we did not make it. Internal.';
COMMENT ON FUNCTION notify._make_token(text, text, bigint, text) IS 'An unsubscribe token. Internal.';
COMMENT ON FUNCTION notify._read_token(text, text) IS 'What an unsubscribe token says; NULL when we did not make it. Internal.';

CREATE FUNCTION notify._token_key() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.value FROM notify.secret s WHERE s.name = 'notify:key';
$$;

COMMENT ON FUNCTION notify._token_key() IS 'The key of links and return paths. Internal.';

INSERT INTO notify.secret (name, value)
VALUES ('notify:key', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
ON CONFLICT (name) DO NOTHING;

CREATE FUNCTION notify.unsubscribe_token(recipient text, category text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify._make_token(recipient, category, 0, notify._token_key());
$$;

COMMENT ON FUNCTION notify.unsubscribe_token(text, text) IS
'A token for notify.unsubscribe() that takes this person out of this category on every channel: for links in texts, by way of a rule''s context. docs/receipts.md has its format.';

CREATE FUNCTION notify.unsubscribe(token text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	said record;
	person text;
BEGIN
	SELECT * INTO said FROM notify._read_token(token, notify._token_key());
	IF said.recipient IS NULL THEN
		RETURN false;
	END IF;
	person := notify._person_now(said.recipient, coalesce(said.message, 9223372036854775807));
	INSERT INTO notify.preference AS p (recipient, category, channel, allowed, source)
	SELECT r.id, said.category, CASE WHEN said.message IS NULL THEN '*' ELSE 'email' END, false, 'unsubscribe'
	FROM notify.recipient r WHERE r.id = person
	ON CONFLICT ON CONSTRAINT preference_pkey DO UPDATE
		SET allowed = false, source = excluded.source, at = excluded.at
		WHERE p.allowed;
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify.unsubscribe(text) IS
'Takes the person of a token out of its category: by e-mail when the token came in a message''s List-Unsubscribe, else on every channel. What waits to be sent is not sent. True when the token is one of ours, also the second time and for people who are gone; false for anything else. For a page that answers POST with List-Unsubscribe=One-Click (RFC 8058); do not call it for GET, which scanners follow.';
