/*
 * act.sql
 *		What an app and its operators do: emit, send, cancel, redrive, and read
 *		again what was said.
 */
-- What is looked up by an index may not be longer than an index takes.
CREATE FUNCTION notify._check_length(what text, value text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF octet_length(value) > 1024 THEN
		RAISE EXCEPTION '% is too long', what
			USING ERRCODE = 'string_data_right_truncation',
				  DETAIL = format('It has %s bytes, 1024 are allowed.', octet_length(value));
	END IF;
END
$$;

COMMENT ON FUNCTION notify._check_length(text, text) IS 'Raises 22001 when a value has more than 1024 bytes. Internal.';

CREATE FUNCTION notify.emit(type text, recipient text, data jsonb, key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(type, '') = '' THEN
		RAISE EXCEPTION 'an emitted event needs a type'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM notify._check_length('type', type);
	PERFORM notify._check_length('recipient', recipient);
	RETURN notify._write_event('E', type, recipient, key, coalesce(data, '{}'), NULL, NULL, true);
END
$$;

COMMENT ON FUNCTION notify.emit(text, text, jsonb, text) IS
'Says that something happened which no table shows; rules with this event_type decide what comes of it. recipient: whom it is about (may be NULL when the rules say). data: what rules and templates see as new. key: to find it by in explain(). Gives the event''s id. 22004 without a type.';

-- What send() names must be there.
CREATE FUNCTION notify._check_send(template text, category text, channels text[]) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	channel text;
BEGIN
	IF NOT EXISTS (SELECT FROM notify.template t WHERE t.name = template) THEN
		RAISE EXCEPTION 'template "%" does not exist', template
			USING ERRCODE = 'foreign_key_violation',
				  DETAIL = 'No row of notify.template has this name.',
				  HINT = 'Insert it into notify.template first.';
	END IF;
	IF NOT EXISTS (SELECT FROM notify.category c WHERE c.name = category) THEN
		RAISE EXCEPTION 'category "%" does not exist', category
			USING ERRCODE = 'foreign_key_violation',
				  DETAIL = 'No row of notify.category has this name.',
				  HINT = 'Insert it into notify.category first.';
	END IF;
	FOREACH channel IN ARRAY coalesce(channels, '{}')
	LOOP
		PERFORM notify._check_channel(channel);
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._check_send(text, text, text[]) IS 'Refuses a send() of things that do not exist. Internal.';

CREATE FUNCTION notify.send(recipient text, template text, data jsonb, category text,
							channels text[] DEFAULT NULL, idempotency_key text DEFAULT NULL,
							at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	instruction jsonb := jsonb_strip_nulls(jsonb_build_object(
		'template', template, 'category', category, 'channels', channels,
		'at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
	fingerprint bigint := hashtextextended(
		jsonb_build_array(recipient, data, instruction)::text, 0);
	row_key text := 'send/' || idempotency_key;
	earlier notify.idempotency;
	made bigint;
BEGIN
	PERFORM notify._check_send(template, category, channels);
	PERFORM notify._check_length('recipient', recipient);
	PERFORM notify._check_length('idempotency key', idempotency_key);
	IF coalesce(recipient, '') = '' THEN
		RAISE EXCEPTION 'send() needs a recipient'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT isfinite(at) THEN
		RAISE EXCEPTION 'a message cannot be sent at %', at
			USING ERRCODE = 'datetime_field_overflow';
	END IF;
	IF row_key IS NOT NULL THEN
		INSERT INTO notify.idempotency VALUES (row_key, 0, fingerprint) ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT * INTO STRICT earlier FROM notify.idempotency i WHERE i.key = row_key;
			IF earlier.hash <> fingerprint THEN
				RAISE EXCEPTION 'idempotency key "%" was used for a different send', idempotency_key
					USING ERRCODE = 'unique_violation',
						  DETAIL = format('Event %s has it.', earlier.event),
						  HINT = 'Use a new key for a new message, or repeat the call with exactly the same arguments.';
			END IF;
			RETURN earlier.event;
		END IF;
	END IF;
	made := notify._write_event('S', NULL, recipient, NULL, coalesce(data, '{}'), NULL, instruction, false);
	IF row_key IS NOT NULL THEN
		UPDATE notify.idempotency i SET event = made WHERE i.key = row_key;
	END IF;
	RETURN made;
END
$$;

COMMENT ON FUNCTION notify.send(text, text, jsonb, text, text[], text, timestamptz) IS
'Sends one person a template''s words. data: what the template sees, at top level and as new. channels: NULL for the category''s. idempotency_key: the same call with the same key gives the same event and sends nothing more; 23505 with other arguments. at: when to send (NULL: now). Gives the event''s id. 22004 without a recipient, 23503 for an unknown template or category.';

CREATE FUNCTION notify.cancel(id bigint, reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stopped bigint[];
	steps notify.scheduled[];
	planned boolean := EXISTS (SELECT FROM notify.message m WHERE m.event = cancel.id OR m.id = cancel.id);
	pending boolean;
BEGIN
	WITH wanted AS MATERIALIZED (
		SELECT m.id FROM notify.message m WHERE m.event = cancel.id OR m.id = cancel.id
	), waiting AS (
		DELETE FROM notify.scheduled s USING wanted w WHERE s.message = w.id AND s.step = 0 RETURNING s.message
	), due AS (
		DELETE FROM notify.ready r USING wanted w
		WHERE r.message = w.id AND r.owner IS NULL RETURNING r.message
	)
	SELECT array_agg(u.message) INTO stopped
	FROM (SELECT message FROM waiting UNION ALL SELECT message FROM due) AS u;
	-- The step that would follow waits with one of the person's messages.
	WITH ended AS (
		DELETE FROM notify.scheduled s
		USING notify.message m JOIN notify.message o ON o.event = m.event
			AND (m.event = cancel.id OR o.rule = m.rule AND o.recipient = m.recipient)
		WHERE (m.event = cancel.id OR m.id = cancel.id) AND s.message = o.id AND s.step > 0
		RETURNING s.*
	)
	SELECT array_agg(e::notify.scheduled) INTO steps FROM ended e;
	PERFORM notify._cancel_steps(steps, cancel.reason);
	INSERT INTO notify.outcome (message, verdict, reason, detail)
	SELECT s, 'cancelled', 'cancelled', left(cancel.reason, 500) FROM unnest(stopped) AS s;
	-- An event that is not planned yet: the planner will see this one.
	pending := NOT planned AND EXISTS (SELECT FROM notify.event e WHERE e.id = cancel.id AND e.op <> 'C');
	IF pending THEN
		PERFORM notify._write_event('C', NULL, NULL, NULL, jsonb_build_object('reason', cancel.reason),
									notify._event_cancel_key(cancel.id), NULL, false);
	END IF;
	RETURN stopped IS NOT NULL OR steps IS NOT NULL OR pending;
END
$$;

COMMENT ON FUNCTION notify.cancel(bigint, text) IS
'Stops what is not yet sent of an event or a message, by its id, and the steps (notify.rule_step) that would follow it. reason: for the record. True if anything was stopped; false when all was sent, is being sent, or the id is unknown.';

CREATE FUNCTION notify.redrive(since timestamptz, until timestamptz DEFAULT NULL,
							   rule text DEFAULT NULL, channel text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lost bigint[];
	put_back bigint;
BEGIN
	lost := ARRAY(
		SELECT m.id FROM notify.message m
		CROSS JOIN LATERAL (SELECT o.verdict FROM notify.outcome o WHERE o.message = m.id
							ORDER BY o.at DESC, o.attempt DESC NULLS LAST LIMIT 1) AS o
		LEFT JOIN notify.rule_version v ON v.id = m.rule
		WHERE m.id >= notify.time_id(since)
		  AND (until IS NULL OR m.id < notify.time_id(until))
		  AND (redrive.rule IS NULL OR v.name = redrive.rule)
		  AND (redrive.channel IS NULL OR m.channel = redrive.channel)
		  AND o.verdict IN ('dead', 'failed', 'expired')
		  AND NOT EXISTS (SELECT FROM notify.ready r WHERE r.message = m.id));
	WITH put AS (
		INSERT INTO notify.scheduled (message, due_at, redriven)
		SELECT l, notify.now(), true FROM unnest(lost) AS l
		ON CONFLICT DO NOTHING
		RETURNING message
	), logged AS (
		INSERT INTO notify.outcome (message, verdict, reason, next_at)
		SELECT p.message, 'retrying', 'redriven', notify.now() FROM put p
	)
	SELECT count(*) INTO put_back FROM put;
	RETURN put_back;
END
$$;

COMMENT ON FUNCTION notify.redrive(timestamptz, timestamptz, text, text) IS
'Tries messages again that are dead, failed or expired, decided between since and until (NULL: now), of a rule or channel (NULL: any), with new attempts and without expiry. Gives how many.';

CREATE FUNCTION notify.content(message bigint, OUT subject text, OUT body text, OUT html text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	m notify.message;
	e notify.event;
	t record;
	data jsonb;
BEGIN
	SELECT * INTO m FROM notify.message x WHERE x.id = content.message;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'message % does not exist', content.message
			USING ERRCODE = 'no_data_found';
	END IF;
	SELECT * INTO e FROM notify.event x WHERE x.xid = m.event_xid AND x.id = m.event;
	SELECT * INTO t FROM notify._template(m.template_version);
	data := notify._data(e.id, e.op, e.type, e.key, e.new, e.old, m.context);
	subject := notify.render(t.subject, data, 'text', t.partials);
	body := notify.render(t.body, data, 'text', t.partials);
	html := notify.render(t.html, data, 'html', t.partials);
END
$$;

COMMENT ON FUNCTION notify.content(bigint) IS
'The words of a message as they were or will be sent: the same template version and data rendered again. NULL where the template has no such part. P0002 when there is no such message.';

-- Decides one undecided event by the rule as it is now; true when an event was written.
CREATE FUNCTION notify._replay_event(r notify.rule, e notify.event) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	once text := format('replay/%s/%s', r.id, e.id);
	a record;
BEGIN
	INSERT INTO notify.idempotency (key, event, hash) VALUES (once, e.id, 0) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT * INTO a FROM notify._evaluate(r.version, r.source, e.op, e.type, e.new, notify._event_old(e));
	IF a.verdict = 'undecided' THEN
		DELETE FROM notify.idempotency i WHERE i.key = once;
		RETURN false;
	END IF;
	-- What was cancelled since then stays cancelled, though the new event is younger.
	IF a.verdict = 'no' OR (r.action = 'notify' AND EXISTS (
			SELECT FROM notify.event c
			WHERE c.cancel_key IN (a.cancel_key, notify._event_cancel_key(e.id)) AND c.id > e.id)) THEN
		RETURN false;
	END IF;
	INSERT INTO notify.event (id, xid, source, op, type, key, recipient, rules, recipients, dedupe_keys,
							  cancel_keys, cancel_key, new, old, instruction)
	VALUES (notify._next_id(), pg_current_xact_id(), r.source::oid, e.op, e.type, e.key,
			CASE WHEN e.op = 'E' THEN e.recipient ELSE a.recipient END, ARRAY[r.version],
			CASE WHEN r.recipient IS NOT NULL THEN ARRAY[coalesce(a.own_recipient, '')] END,
			CASE WHEN a.dedupe_key IS NOT NULL THEN ARRAY[a.dedupe_key] END,
			CASE WHEN r.action = 'notify' AND a.cancel_key IS NOT NULL THEN ARRAY[a.cancel_key] END,
			CASE WHEN r.action = 'cancel' THEN a.cancel_key END,
			e.new, e.old, jsonb_build_object('replay_of', e.id));
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._replay_event(notify.rule, notify.event) IS
'Decides an event that a rule could not decide, once; true when it matched and an event was written. Internal.';

CREATE FUNCTION notify.replay(rule text, since timestamptz, until timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r notify.rule;
	e notify.event;
	written bigint := 0;
BEGIN
	SELECT * INTO r FROM notify.rule x WHERE x.name = replay.rule;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'rule "%" does not exist', replay.rule
			USING ERRCODE = 'undefined_object';
	END IF;
	IF NOT r.enabled OR num_nulls(r.source, r.event_type) <> 1 THEN
		RAISE EXCEPTION 'rule "%" is not in force', replay.rule
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'Mend and enable it first; what it could not decide is kept for notify_pg.retention.';
	END IF;
	FOR e IN
		SELECT v.* FROM notify.event v
		WHERE v.id >= notify.time_id(since) AND (until IS NULL OR v.id < notify.time_id(until))
		  AND v.undecided IS NOT NULL AND NOT v.truncated
		  AND EXISTS (SELECT FROM jsonb_to_recordset(v.undecided) AS u (rule bigint)
					  JOIN notify.rule_version w ON w.id = u.rule WHERE w.rule = r.id)
		  AND CASE WHEN v.op = 'E' THEN v.type = r.event_type
				   ELSE v.source = r.source OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = v.source) END
		ORDER BY v.id
	LOOP
		written := written + notify._replay_event(r, e)::integer;
	END LOOP;
	RETURN written;
END
$$;

COMMENT ON FUNCTION notify.replay(text, timestamptz, timestamptz) IS
'Decides, by a rule as it is now, the events between since and until (NULL: now) that it could not decide when they were captured. Each is decided once: for those that match a new event is written and planned, and calling again does nothing more; what still raises an error stays undecided. Rows over notify_pg.event_row_limit, and rules that read columns their events do not hold, cannot be replayed. A cancel rule stops what waits now. Gives how many events were written. 42704 for an unknown rule, 55000 for one that is off.';
