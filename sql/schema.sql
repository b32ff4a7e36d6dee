/*
 * schema.sql
 *		Roles and the few facts every other file leans on.
 *
 * The schema "notify" is made by CREATE EXTENSION itself (notify_pg.control).
 * Roles belong to the cluster, not to the database, so they are made only
 * where they are missing and are never dropped with the extension.
 */
\echo Use "CREATE EXTENSION notify_pg" to load this file. \quit

-- What goes out is UTF-8, and in most languages nothing less can hold it.
DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'notify_pg needs a database whose encoding is UTF8'
			USING ERRCODE = 'feature_not_supported',
				  DETAIL = pg_catalog.format('The encoding of database "%s" is %s.', pg_catalog.current_database(),
											 pg_catalog.getdatabaseencoding()),
				  HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0, and move the data there with pg_dump.';
	END IF;
END
$$;

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

-- The release of the library that is running, which these objects must be of.
CREATE FUNCTION notify._library_release() RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'notify_library_release';

COMMENT ON FUNCTION notify._library_release() IS
'The release of the library this session runs. Internal.';

DO $$
DECLARE
	library text := 'an earlier release';
	wanted text := (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname = 'notify_pg');
BEGIN
	BEGIN
		library := notify._library_release();
	EXCEPTION WHEN undefined_function THEN
		NULL;
	END;
	IF library <> wanted THEN
		RAISE EXCEPTION 'the server still runs another release of the library of notify_pg'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = pg_catalog.format('The library is of %s, the objects would be of %s.', library, wanted),
				  HINT = 'Restart the server, so that it loads the library that is installed; then run the statement again.';
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
		OR channel NOT IN ('inbox', 'email', 'sms', 'push', 'webpush', 'webhook', 'chat') THEN
		RAISE EXCEPTION 'unknown channel "%"', channel
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'The channels are fixed; providers say how each is served.',
				  HINT = 'A channel is one of inbox, email, sms, push, webpush, webhook, chat.';
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
	('late', 'dead', 'The next attempt would have come after the message expired.')
ON CONFLICT (code) DO UPDATE SET verdict = excluded.verdict, meaning = excluded.meaning;

COMMENT ON TABLE notify.reason IS
'Every reason code of our own decisions, in words. Read-only.';
COMMENT ON COLUMN notify.reason.code IS 'As in message.reason and outcome.reason.';
COMMENT ON COLUMN notify.reason.verdict IS 'The verdict the reason comes with.';
COMMENT ON COLUMN notify.reason.meaning IS 'What it means, in a sentence.';
