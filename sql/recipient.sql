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
COMMENT ON COLUMN notify.address.channel IS 'email, sms, push, webpush, webhook or chat; the inbox needs none.';
COMMENT ON COLUMN notify.address.address IS 'An e-mail address, a phone number (E.164), a device token, a browser''s push subscription (JSON), a URL, a chat''s name.';
COMMENT ON COLUMN notify.address.state IS 'active; or invalid: it reaches nobody. A provider said so for good, or a restore brought what is no address.';
COMMENT ON COLUMN notify.address.verified_at IS 'When the person proved it is theirs; NULL: never. Verified ones are used first.';
COMMENT ON COLUMN notify.address.created_at IS 'When it was added; the oldest is used first.';

/*
 * What a restore brings is not refused, for with one row COPY would lose them
 * all: another machine may not know a time zone, or be stricter with addresses.
 */
CREATE FUNCTION notify._check_recipient() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'INSERT' AND notify._restoring() THEN
		RETURN NEW;			-- _mend_recipient() checks
	END IF;
	PERFORM now() AT TIME ZONE NEW.time_zone;
	RETURN NEW;
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE EXCEPTION 'time zone "%" is not known', NEW.time_zone
		USING ERRCODE = 'invalid_parameter_value',
			  HINT = 'Use a name of pg_timezone_names, such as Asia/Shanghai.';
END
$$;

COMMENT ON FUNCTION notify._check_recipient() IS 'Refuses unknown time zones. Internal.';

CREATE FUNCTION notify._mend_recipient() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fault text := notify._time_zone_problem(NEW.time_zone);
BEGIN
	PERFORM notify._check_trigger_table(TG_RELID, 'notify.recipient');
	IF fault IS NOT NULL THEN
		UPDATE notify.recipient r SET time_zone = NULL WHERE r.id = NEW.id;
		INSERT INTO notify.recipient_problem (recipient, field, problem) VALUES (NEW.id, 'time_zone', fault)
		ON CONFLICT (recipient, field) DO NOTHING;
	END IF;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._mend_recipient() IS
'Leaves out a restored person''s time zone when it is not known here, and notes it. Internal.';

-- What is wrong with an address; NULL when nothing is.
CREATE FUNCTION notify._address_fault(channel text, address text) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._check_channel(channel);
	PERFORM notify._check_address(channel, address);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END
$$;

COMMENT ON FUNCTION notify._address_fault(text, text) IS
'What is wrong with a restored address; NULL when nothing is. Internal.';

CREATE FUNCTION notify._check_address_row() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'INSERT' AND notify._restoring() THEN
		NEW.state := CASE WHEN notify._address_fault(NEW.channel, NEW.address) IS NULL THEN NEW.state ELSE 'invalid' END;
		RETURN NEW;
	END IF;
	PERFORM notify._check_channel(NEW.channel);
	PERFORM notify._check_address(NEW.channel, NEW.address);
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_address_row() IS
'Checks an address when it is saved; a restore''s that is none becomes invalid. Internal.';

CREATE TRIGGER recipient_check BEFORE INSERT OR UPDATE OF time_zone ON notify.recipient
	FOR EACH ROW WHEN (NEW.time_zone IS NOT NULL)
	EXECUTE FUNCTION notify._check_recipient();
CREATE TRIGGER address_check BEFORE INSERT OR UPDATE OF channel, address ON notify.address
	FOR EACH ROW EXECUTE FUNCTION notify._check_address_row();
CREATE TRIGGER recipient_mend AFTER INSERT ON notify.recipient
	FOR EACH ROW WHEN (NEW.time_zone IS NOT NULL AND notify._restoring())
	EXECUTE FUNCTION notify._mend_recipient();
