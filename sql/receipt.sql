/*
 * receipt.sql
 *		Truth from outside: delivery reports, bounces, complaints, answers.
 *
 * The app hands in what a provider sent to its web hook, or mail that came to a
 * return path; the provider's preset says how it is signed and what it means
 * (preset.receipt). What is said of a message becomes a row of notify.outcome
 * without an attempt, its kind in reason: so the same report a second time is
 * seen there and changes nothing. What failed stays failed. One that it was
 * delivered stops what was to be sent again after an answer that never came. A report that
 * overtakes the settling of its message, or comes for one not known yet, waits
 * in notify.receipt_waiting for the planner's upkeep.
 */
INSERT INTO notify.reason (code, verdict, meaning) VALUES
	('delivered', 'delivered', 'The provider reported that it arrived.'),
	('undelivered', 'failed', 'The provider reported that it did not arrive.'),
	('bounced', 'failed', 'The provider reported that nobody has this address: it is invalid now.'),
	('refused', 'failed', 'The provider or the person''s server refused us, not the person: the provider has a problem.')
ON CONFLICT (code) DO UPDATE SET verdict = excluded.verdict, meaning = excluded.meaning;

CREATE INDEX outcome_reference ON notify.outcome (reference) WHERE reference IS NOT NULL;

CREATE TABLE notify.receipt_waiting (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	provider	text NOT NULL,
	about		text NOT NULL,
	kind		text NOT NULL,
	entry		jsonb NOT NULL,
	at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	next_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	UNIQUE (provider, about, kind)
);

CREATE INDEX receipt_waiting_next_at ON notify.receipt_waiting (next_at);

COMMENT ON COLUMN notify.receipt_waiting.id IS 'In the order they came.';
COMMENT ON COLUMN notify.receipt_waiting.provider IS 'notify.provider.name.';
COMMENT ON COLUMN notify.receipt_waiting.about IS 'The message''s id, or the provider''s reference.';
COMMENT ON COLUMN notify.receipt_waiting.kind IS 'As notify.receipt() gives it.';
COMMENT ON COLUMN notify.receipt_waiting.entry IS 'What it says: message, reference, address, code, detail.';
COMMENT ON COLUMN notify.receipt_waiting.at IS 'When it came.';
COMMENT ON COLUMN notify.receipt_waiting.next_at IS 'When it is tried again: after a minute, then ever later, so that those nobody knows do not hold up others.';

COMMENT ON TABLE notify.receipt_waiting IS 'Reports about messages that are not known or not settled yet. The planner tries them, ever less often, for a day. About 100,000 are kept: then the oldest make room (notify.receipt_dropped).';

CREATE TABLE notify.receipt_dropped (
	provider	text PRIMARY KEY,
	count		bigint NOT NULL,
	last_at		timestamptz NOT NULL
);

COMMENT ON TABLE notify.receipt_dropped IS 'Reports that waited in notify.receipt_waiting and made room for newer ones: more came about unknown messages than are kept. Delete a row to begin anew.';
COMMENT ON COLUMN notify.receipt_dropped.provider IS 'notify.provider.name.';
COMMENT ON COLUMN notify.receipt_dropped.count IS 'How many.';
COMMENT ON COLUMN notify.receipt_dropped.last_at IS 'When the last was dropped.';

CREATE TABLE notify.unclassified (
	provider	text NOT NULL,
	what		text NOT NULL CHECK (what IN ('receipt', 'answer')),
	count		bigint NOT NULL,
	last_at		timestamptz NOT NULL,
	sample		text NOT NULL,
	PRIMARY KEY (provider, what)
);

COMMENT ON TABLE notify.unclassified IS 'What providers said and nobody understood, so that the preset''s maps can grow: reports that no kind of the receipt map fits, and answers to requests that neither success nor errors names. Delete a row to begin anew.';
COMMENT ON COLUMN notify.unclassified.provider IS 'notify.provider.name.';
COMMENT ON COLUMN notify.unclassified.what IS 'receipt, or answer: its message was tried again, and its outcome''s detail begins with "not understood".';
COMMENT ON COLUMN notify.unclassified.count IS 'How many.';
COMMENT ON COLUMN notify.unclassified.last_at IS 'When the last came; of answers, to the second.';
COMMENT ON COLUMN notify.unclassified.sample IS 'The last one: of a report at most 1,000 characters; of an answer its status and the first 8 KB of its body, in one line. Secrets of the provider''s settings are starred, also %-encoded, escaped or in base64.';

CREATE FUNCTION notify._count_unclassified(provider text, what text, many bigint, sample text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO notify.unclassified AS u (provider, what, count, last_at, sample)
	VALUES (provider, what, many, clock_timestamp(), sample)
	ON CONFLICT ON CONSTRAINT unclassified_pkey DO UPDATE
		SET count = u.count + excluded.count, last_at = excluded.last_at, sample = excluded.sample;
$$;

COMMENT ON FUNCTION notify._count_unclassified(text, text, bigint, text) IS 'Adds to notify.unclassified. Internal.';

/*
 * Keeps a report for later. Whoever floods us with reports about messages there never
 * were pushes out the oldest, and no more than 100,000 ids are spanned.
 */
CREATE FUNCTION notify._keep_receipt(provider text, about text, kind text, entry jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	most constant bigint := 100000;
	kept bigint;
BEGIN
	IF EXISTS (SELECT FROM notify.receipt_waiting w
			   WHERE w.provider = _keep_receipt.provider AND w.about = _keep_receipt.about AND w.kind = _keep_receipt.kind) THEN
		RETURN;				-- and no id is used up
	END IF;
	INSERT INTO notify.receipt_waiting (provider, about, kind, entry)
	VALUES (_keep_receipt.provider, _keep_receipt.about, _keep_receipt.kind, _keep_receipt.entry)
	ON CONFLICT ON CONSTRAINT receipt_waiting_provider_about_kind_key DO NOTHING
	RETURNING id INTO kept;
	IF kept - most < (SELECT w.id FROM notify.receipt_waiting w ORDER BY w.id LIMIT 1) THEN
		RETURN;
	END IF;
	WITH dropped AS (
		DELETE FROM notify.receipt_waiting w
		WHERE w.id = ANY (ARRAY(SELECT o.id FROM notify.receipt_waiting o WHERE o.id <= kept - most
								ORDER BY o.id LIMIT 1000 FOR UPDATE SKIP LOCKED))
		RETURNING w.provider
	)
	INSERT INTO notify.receipt_dropped AS r (provider, count, last_at)
	SELECT d.provider, count(*), clock_timestamp() FROM dropped d GROUP BY 1 ORDER BY 1
	ON CONFLICT ON CONSTRAINT receipt_dropped_pkey DO UPDATE SET count = r.count + excluded.count, last_at = excluded.last_at;
END
$$;

COMMENT ON FUNCTION notify._keep_receipt(text, text, text, jsonb) IS
'Puts a report into notify.receipt_waiting; when it is full the oldest are dropped and counted. Internal.';

/*
 * It arrived: what was to be sent again is not. False while a dispatcher has it. A
 * message that never went is none a provider can have delivered, whatever it says.
 */
CREATE FUNCTION notify._stop_retry(stopped bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
	-- In the order the planner moves it, or it would be overtaken.
	DELETE FROM notify.scheduled s WHERE s.message = stopped AND s.step = 0 AND s.attempts > 0;
	IF FOUND THEN
		RETURN true;
	END IF;
	DELETE FROM notify.ready r
	WHERE r.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.ready q
							  WHERE q.message = stopped AND q.owner IS NULL AND q.attempts > 0 FOR UPDATE SKIP LOCKED));
	RETURN FOUND;
END
$$;

COMMENT ON FUNCTION notify._stop_retry(bigint) IS
'Takes a message that was tried before, and waits to be tried again, out of the queue; true when it did. Internal.';

CREATE FUNCTION notify._read_report(mail bytea) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_read_report';
CREATE FUNCTION notify._is_hmac(mac bytea, algorithm text, key bytea, data bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_is_hmac';
CREATE FUNCTION notify._is_signature(signature bytea, digest text, public_key text, data bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_is_signature';

COMMENT ON FUNCTION notify._read_report(bytea) IS 'What a mail says about other mail (RFC 3464, RFC 5965): an object for each person. Internal.';
COMMENT ON FUNCTION notify._is_hmac(bytea, text, bytea, bytea) IS 'Whether it is the HMAC of the data; takes as long whatever differs. Internal.';
COMMENT ON FUNCTION notify._is_signature(bytea, text, text, bytea) IS 'Whether it is a signature of the data by the owner of a public key (PEM, a certificate, or base64). Internal.';

-- base64 as it comes; NULL when it is none.
CREATE FUNCTION notify._from_base64(said text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	said := translate(rtrim(said, '='), '-_', '+/');
	RETURN decode(rpad(said, (length(said) + 3) / 4 * 4, '='), 'base64');
EXCEPTION WHEN OTHERS THEN
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._from_base64(text) IS 'The bytes base64 or base64url stands for; NULL when it is neither. Internal.';

CREATE FUNCTION notify._url_decode(said text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(convert_from(string_agg(CASE WHEN m[1] ~ '^%[0-9A-Fa-f]{2}$' THEN decode(substr(m[1], 2), 'hex')
												 ELSE convert_to(m[1], 'UTF8') END, '' ORDER BY n), 'UTF8'), '')
	FROM regexp_matches(replace(said, '+', ' '), '%[0-9A-Fa-f]{2}|[^%]+|%', 'g') WITH ORDINALITY AS p (m, n);
$$;

COMMENT ON FUNCTION notify._url_decode(text) IS 'A name or value of a form. Internal.';

CREATE FUNCTION notify._form_fields(form text) RETURNS TABLE (name text, value text)
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify._url_decode(split_part(pair, '=', 1)), notify._url_decode(substr(pair, strpos(pair, '=') + 1))
	FROM regexp_split_to_table(form, '&') AS p (pair) WHERE strpos(pair, '=') > 1;
$$;

COMMENT ON FUNCTION notify._form_fields(text) IS 'The fields of application/x-www-form-urlencoded, each as often as it comes. Internal.';

CREATE FUNCTION notify._read_form(form text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(jsonb_object_agg(f.name, f.value), '{}') FROM notify._form_fields(form) AS f;
$$;

COMMENT ON FUNCTION notify._read_form(text) IS 'application/x-www-form-urlencoded as an object. Internal.';

/*
 * What Twilio signs: the URL it posted to, and the fields by name and value, each
 * once. A port may be there for one and not for the other, so there are several.
 */
CREATE FUNCTION notify._twilio_signs(url text, form text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT u.url || coalesce((SELECT string_agg(f.name || f.value, '' ORDER BY f.name COLLATE "C", f.value COLLATE "C")
							  FROM (SELECT DISTINCT a.name, a.value FROM notify._form_fields(form) AS a) AS f), '')
	FROM (VALUES (url), (regexp_replace(url, '^(https?://[^][/?#@:]+):\d+', '\1')),
				 (regexp_replace(url, '^(https://[^][/?#@:]+)(?=[/?#]|$)', '\1:443')),
				 (regexp_replace(url, '^(http://[^][/?#@:]+)(?=[/?#]|$)', '\1:80'))) AS u (url);
$$;

COMMENT ON FUNCTION notify._twilio_signs(text, text) IS 'Texts of which one is what Twilio signed, for a URL with or without its port. Internal.';

-- Whether a payload is signed as the preset says. Nothing of the key is ever raised; nor
-- does it stand in a plan, which auto_explain might log: hence the generic ones.
CREATE FUNCTION notify._is_signed(signature jsonb, key text, settings jsonb, payload bytea, headers jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	head jsonb := (SELECT coalesce(jsonb_object_agg(lower(h.key), h.value), '{}') FROM jsonb_each_text(headers) AS h);
	said text;
	stamp text;
	part jsonb;
BEGIN
	CASE signature ->> 'scheme'
	WHEN 'twilio' THEN		-- https://www.twilio.com/docs/usage/security#validating-requests
		RETURN (SELECT bool_or(notify._is_hmac(notify._from_base64(head ->> 'x-twilio-signature'), 'sha1', convert_to(key, 'UTF8'), convert_to(t.said, 'UTF8')))
				FROM notify._twilio_signs(coalesce(head ->> 'url', settings ->> 'status_callback'), convert_from(payload, 'UTF8')) AS t (said));
	WHEN 'standard_webhooks' THEN
		stamp := head ->> 'webhook-timestamp';
		IF (stamp ~ '^\d{1,12}$') IS NOT TRUE OR abs(extract(epoch FROM clock_timestamp()) - stamp::bigint) > 300 THEN
			RETURN false;
		END IF;
		RETURN (SELECT bool_or(notify._is_hmac(notify._from_base64(substr(s, 4)), 'sha256', notify._from_base64(regexp_replace(key, '^whsec_', '')),
											   convert_to((head ->> 'webhook-id') || '.' || stamp || '.', 'UTF8') || payload))
				FROM regexp_split_to_table(head ->> 'webhook-signature', ' ') AS s WHERE s LIKE 'v1,%');
	WHEN 'ecdsa' THEN		-- https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
		RETURN notify._is_signature(notify._from_base64(head ->> 'x-twilio-email-event-webhook-signature'), 'sha256', key,
			convert_to(head ->> 'x-twilio-email-event-webhook-timestamp', 'UTF8') || payload);
	WHEN 'sns' THEN			-- https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
		part := convert_from(payload, 'UTF8')::jsonb;
		RETURN notify._is_signature(notify._from_base64(part ->> 'Signature'), CASE part ->> 'SignatureVersion' WHEN '1' THEN 'sha1' WHEN '2' THEN 'sha256' END, key,
			convert_to((SELECT string_agg(f || E'\n' || (part ->> f) || E'\n', '' ORDER BY f COLLATE "C")
						FROM unnest(CASE part ->> 'Type' WHEN 'Notification' THEN ARRAY['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type']
									ELSE ARRAY['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type'] END) AS f
						WHERE part ? f), 'UTF8'));
	WHEN 'jwt_hs256' THEN	-- https://developer.vonage.com/en/getting-started/concepts/webhooks#validating-signed-webhooks
		said := regexp_replace(head ->> 'authorization', '^[Bb]earer ', '');
		IF notify._is_hmac(notify._from_base64(split_part(said, '.', 3)), 'sha256', convert_to(key, 'UTF8'),
						   convert_to(split_part(said, '.', 1) || '.' || split_part(said, '.', 2), 'UTF8')) IS NOT TRUE THEN
			RETURN false;
		END IF;
		part := convert_from(notify._from_base64(split_part(said, '.', 2)), 'UTF8')::jsonb;
		RETURN convert_from(notify._from_base64(split_part(said, '.', 1)), 'UTF8')::jsonb ->> 'alg' = 'HS256'
			AND part ->> 'payload_hash' = encode(sha256(payload), 'hex')
			AND coalesce((part ->> 'exp')::numeric > extract(epoch FROM clock_timestamp()), true)
			AND coalesce((part ->> 'nbf')::numeric <= extract(epoch FROM clock_timestamp()), true);
	ELSE					-- hmac: header, algorithm, encoding (hex or base64), prefix
		said := head ->> lower(signature ->> 'header');
		said := CASE WHEN starts_with(said, coalesce(signature ->> 'prefix', '')) THEN substr(said, length(coalesce(signature ->> 'prefix', '')) + 1) END;
		RETURN notify._is_hmac(CASE WHEN signature ->> 'encoding' = 'base64' THEN notify._from_base64(said)
									WHEN said ~ '^([0-9A-Fa-f]{2})+$' THEN decode(said, 'hex') END,
							   coalesce(signature ->> 'algorithm', 'sha256'), convert_to(key, 'UTF8'), payload);
	END CASE;
EXCEPTION WHEN data_exception THEN
	RETURN false;
END
$$;

COMMENT ON FUNCTION notify._is_signed(jsonb, text, jsonb, bytea, jsonb) IS
'Whether a payload has the signature its provider gives: by a scheme, its key, the provider''s settings, and the headers. NULL when there is none. Internal.';

-- A phone number as E.164, whatever a provider makes of it.
CREATE FUNCTION notify._report_address(channel text, address text, prefix text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN channel <> 'sms' THEN regexp_replace(address, '^\s*rfc822\s*;\s*|[<>\s]', '', 'gi')
			WHEN address ~ '^\+' THEN address
			WHEN prefix IS NOT NULL AND NOT starts_with(address, substr(prefix, 2)) THEN prefix || address
			ELSE '+' || address END;

COMMENT ON FUNCTION notify._report_address(text, text, text) IS 'An address a report names, in the form addresses have here. Internal.';

-- What one report says.
CREATE FUNCTION notify._read_entry(map jsonb, item jsonb, channel text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	test jsonb;
	found jsonb;
	address text := map ->> 'address';
	entry jsonb;
BEGIN
	FOR test IN SELECT * FROM jsonb_array_elements(map -> 'kinds')
	LOOP
		found := jsonb_path_query_first(item, (test ->> 'path')::jsonpath, silent => true);
		CONTINUE WHEN coalesce(found, 'null') IN ('null', 'false') AND NOT test ? 'match' OR found IS NULL;
		CONTINUE WHEN test ? 'match' AND left(found #>> '{}', 1000) !~ (test ->> 'match');
		address := coalesce(test ->> 'address', address);
		entry := jsonb_build_object('kind', test ->> 'kind');
		EXIT;
	END LOOP;
	IF entry IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT entry || coalesce(jsonb_object_agg(m.name, left(v.value #>> '{}', 500)), '{}') INTO entry
	FROM (VALUES ('message', map ->> 'message'), ('reference', map ->> 'reference'), ('address', address), ('code', map ->> 'code'), ('detail', map ->> 'detail')) AS m (name, path)
	CROSS JOIN LATERAL (SELECT jsonb_path_query_first(item, m.path::jsonpath, silent => true)) AS v (value)
	WHERE v.value #>> '{}' <> '';
	RETURN entry || jsonb_strip_nulls(jsonb_build_object('address', notify._report_address(channel, entry ->> 'address', map ->> 'prefix')));
END
$$;

COMMENT ON FUNCTION notify._read_entry(jsonb, jsonb, text) IS
'One report by its preset''s map: kind, message, reference, address, code, detail. NULL when no kind fits. Internal.';

CREATE FUNCTION notify._to_id(said text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN said ~ '^\d{1,19}$' AND lpad(said, 19, '0') COLLATE "C" <= '9223372036854775807' THEN said::bigint END;

COMMENT ON FUNCTION notify._to_id(text) IS 'An id somebody wrote; NULL when it cannot be one. Internal.';

/*
 * The message an entry is about: by our own id, signed in a return path or said
 * by a provider that we gave it to; or by the provider's reference.
 */
CREATE FUNCTION notify._reported_message(provider text, entry jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	said bigint;
BEGIN
	said := notify._to_id(entry ->> 'message');
	IF said IS NOT NULL THEN
		RETURN (SELECT m.id FROM notify.message m JOIN notify.provider p ON p.name = _reported_message.provider AND p.channel = m.channel
				WHERE m.id = said AND m.verdict = 'send');
	END IF;
	RETURN (SELECT o.message FROM notify.outcome o
			WHERE o.reference = entry ->> 'reference' AND o.provider = _reported_message.provider
			ORDER BY o.at DESC LIMIT 1);
END
$$;

COMMENT ON FUNCTION notify._reported_message(text, jsonb) IS 'The message a report is about; NULL when it is not known. Internal.';

-- What a report does to people, apart from their message. True when something changed.
CREATE FUNCTION notify._heed(kind text, m notify.message, channel text, address text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed bigint := 0;
BEGIN
	IF kind = 'bounced' THEN
		UPDATE notify.address b SET state = 'invalid'
		WHERE b.channel = _heed.channel AND b.address = _heed.address AND b.state <> 'invalid'
		  AND (m.id IS NULL OR b.recipient = notify._person_now(m.recipient, m.event));
	ELSIF kind IN ('complained', 'stopped') AND address IS NOT NULL THEN
		INSERT INTO notify.suppression (channel, address_hash, reason, message)
		VALUES (_heed.channel, notify.address_hash(address), kind, m.id)
		ON CONFLICT ON CONSTRAINT suppression_pkey DO NOTHING;
	ELSIF kind = 'resumed' THEN
		DELETE FROM notify.suppression s
		WHERE s.channel = _heed.channel AND s.address_hash = notify.address_hash(_heed.address) AND s.reason = 'stopped';
	ELSIF kind = 'unsubscribed' AND m.category IS NOT NULL THEN
		INSERT INTO notify.preference AS p (recipient, category, channel, allowed, source)
		SELECT r.id, m.category, _heed.channel, false, 'receipt'
		FROM notify.recipient r WHERE r.id = notify._person_now(m.recipient, m.event)
		ON CONFLICT ON CONSTRAINT preference_pkey DO UPDATE SET allowed = false, source = excluded.source, at = excluded.at WHERE p.allowed;
	END IF;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed > 0;
END
$$;

COMMENT ON FUNCTION notify._heed(text, notify.message, text, text) IS
'What a report does to an address, a suppression or a preference. Internal.';

-- applied, repeated, ignored, waiting, or unknown_message (which waits too).
CREATE FUNCTION notify._apply_receipt(provider text, entry jsonb, OUT message bigint, OUT state text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kind constant text := entry ->> 'kind';
	code constant text := CASE entry ->> 'kind' WHEN 'failed' THEN 'undelivered' ELSE entry ->> 'kind' END;
	p notify.provider;
	m notify.message;
	last text;
	said text[];
	stopped boolean := false;
BEGIN
	SELECT * INTO p FROM notify.provider x WHERE x.name = _apply_receipt.provider;
	message := notify._reported_message(provider, entry);
	IF kind = 'ignored' THEN
		state := 'ignored';
	ELSIF kind IN ('stopped', 'resumed') OR message IS NULL AND kind IN ('bounced', 'complained') AND entry ? 'address'
		AND NOT entry ?| ARRAY['message', 'reference'] THEN
		SELECT * INTO m FROM notify.message x WHERE x.id = message;
		state := CASE WHEN notify._heed(kind, m, p.channel, coalesce(entry ->> 'address', m.address)) THEN 'applied' ELSE 'repeated' END;
	ELSIF message IS NULL THEN
		state := 'unknown_message';
	END IF;
	IF state IS NOT NULL THEN
		RETURN;
	END IF;
	PERFORM pg_advisory_xact_lock(hashtextextended('notify.receipt', message));
	SELECT * INTO m FROM notify.message x WHERE x.id = message;
	SELECT o.verdict INTO last FROM notify.outcome o WHERE o.message = m.id ORDER BY o.at DESC LIMIT 1;
	said := ARRAY(SELECT o.reason FROM notify.outcome o WHERE o.message = m.id AND o.attempt IS NULL AND o.class IS NOT NULL);
	IF last = 'retrying' AND kind = 'delivered' AND NOT code = ANY (said) THEN
		stopped := notify._stop_retry(m.id);
	END IF;
	IF last IS NULL OR EXISTS (SELECT FROM notify.ready r WHERE r.message = m.id) OR EXISTS (SELECT FROM notify.scheduled s WHERE s.message = m.id AND s.step = 0) THEN
		state := 'waiting';
	ELSIF code = ANY (said) THEN
		state := 'repeated';
	ELSIF kind = 'delivered' AND said && ARRAY['undelivered', 'bounced', 'refused'] THEN
		state := 'ignored';
	ELSE
		state := 'applied';
		INSERT INTO notify.outcome (message, verdict, provider, class, reason, detail, reference)
		VALUES (m.id, CASE WHEN kind IN ('failed', 'bounced', 'refused') OR last = 'failed' AND said && ARRAY['undelivered', 'bounced', 'refused'] THEN 'failed' ELSE 'delivered' END,
				p.name, CASE kind WHEN 'bounced' THEN 'permanent_recipient' WHEN 'failed' THEN 'permanent_message' WHEN 'refused' THEN 'auth' ELSE 'ok' END, code,
				CASE WHEN m.recipient IS NOT NULL THEN
					nullif(concat_ws(': ', entry ->> 'code', entry ->> 'detail', CASE WHEN stopped THEN 'it was to be sent again and is not' END), '') END,
				entry ->> 'reference');
		PERFORM notify._heed(kind, m, m.channel, m.address);
		IF kind = 'refused' THEN
			UPDATE notify.provider x SET problem = coalesce(nullif(concat_ws(': ', entry ->> 'code', entry ->> 'detail'), ''), 'refused, says a report')
			WHERE x.name = p.name AND x.problem IS NULL;
		END IF;
	END IF;
END
$$;

COMMENT ON FUNCTION notify._apply_receipt(text, jsonb) IS 'Does what one report says. Internal.';

CREATE FUNCTION notify._retry_receipts() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w notify.receipt_waiting;
	what record;
	done integer := 0;
BEGIN
	DELETE FROM notify.receipt_waiting r WHERE r.at < clock_timestamp() - interval '1 day';
	FOR w IN SELECT * FROM notify.receipt_waiting r WHERE r.next_at <= clock_timestamp() ORDER BY r.next_at LIMIT 1000 FOR UPDATE SKIP LOCKED
	LOOP
		what := notify._apply_receipt(w.provider, w.entry);
		IF what.state NOT IN ('waiting', 'unknown_message') THEN
			DELETE FROM notify.receipt_waiting r WHERE r.id = w.id;
			done := done + 1;
		ELSE
			UPDATE notify.receipt_waiting r SET next_at = clock_timestamp() + greatest(clock_timestamp() - r.at, interval '30 s')
			WHERE r.id = w.id;
		END IF;
	END LOOP;
	RETURN done;
END
$$;

COMMENT ON FUNCTION notify._retry_receipts() IS 'Tries the reports that wait; gives how many are done with. Called by the planner''s upkeep. Internal.';

-- What an envelope holds is JSON, or words of whoever carries it: then NULL.
CREATE FUNCTION notify._to_json(said text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN said::jsonb;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._to_json(text) IS 'Text as JSON; NULL when it is none. Internal.';

-- Signature checked, and taken apart.
CREATE FUNCTION notify._receipt_items(p notify.provider, map jsonb, payload bytea, headers jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	defaults jsonb := (SELECT coalesce(jsonb_object_agg(s.key, s.value -> 'default'), '{}') FROM notify.preset t, jsonb_each(t.settings) AS s
					   WHERE t.name = p.preset AND s.value ? 'default');
	settings jsonb := defaults || notify._with_secrets(p.settings);
	name text := map #>> '{signature,secret}';
	tag text;
	body jsonb;
BEGIN
	IF map ? 'signature' AND settings ->> name IS NULL THEN
		RAISE EXCEPTION 'provider "%" cannot tell whether a receipt is genuine', p.name
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Give it the setting %s.', name);
	ELSIF map ? 'signature' AND notify._is_signed(map -> 'signature', settings ->> name, settings, payload, headers) IS NOT TRUE THEN
		RAISE EXCEPTION 'the signature of this receipt is not that of provider "%"', p.name
			USING ERRCODE = 'invalid_authorization_specification',
				  HINT = 'Hand in the body byte for byte as it came, and all headers; "url" among them where the signature covers it.';
	END IF;
	IF map ->> 'format' = 'mail' THEN
		RETURN QUERY
		SELECT r.item || jsonb_strip_nulls(jsonb_build_object('message', coalesce(
			-- the return path says so; or it is our Message-ID, of a mail to that address
			(SELECT min(notify._returned_message(t.tag[1], notify._token_key()))
			 FROM jsonb_array_elements_text(coalesce(r.item -> 'to', '[]') || coalesce(to_jsonb(headers ->> 'to'), '[]')) AS a,
				  regexp_matches(a, '\d{1,19}-[0-9a-fA-F]{16}', 'g') AS t (tag)),
			(SELECT m.id FROM regexp_matches(r.item ->> 'message_id', '<(\d+)\.(\d+)@') AS i (id)
			 JOIN notify.message m ON m.id = notify._to_id(i.id[1]) AND m.event = notify._to_id(i.id[2])
			 WHERE lower(m.address) = lower(notify._report_address(m.channel, r.item ->> 'recipient', NULL))))::text))
		FROM jsonb_array_elements(notify._read_report(payload)) AS r (item);
		RETURN;
	END IF;
	body := CASE WHEN convert_from(payload, 'UTF8') ~ '^\s*[\[{]' THEN convert_from(payload, 'UTF8')::jsonb ELSE notify._read_form(convert_from(payload, 'UTF8')) END;
	body := coalesce(notify._to_json(jsonb_path_query_first(body, (map ->> 'unwrap')::jsonpath, silent => true) #>> '{}'), body);
	RETURN QUERY SELECT * FROM jsonb_path_query(body, coalesce(map ->> 'items', '$[*]')::jsonpath, silent => true) LIMIT 10000;
END
$$;

COMMENT ON FUNCTION notify._receipt_items(notify.provider, jsonb, bytea, jsonb) IS 'The reports in a payload, once its signature holds. Internal.';

-- A provider's secrets, starred where its reports repeat them.
CREATE FUNCTION notify._star(said text, p notify.provider) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	form text;
BEGIN
	FOR form IN
		SELECT f.form FROM jsonb_path_query(p.settings, 'lax $.**.secret') AS named (name)
		JOIN notify.secret s ON s.name = named.name #>> '{}'
		CROSS JOIN LATERAL (VALUES (s.value), (btrim(to_json(s.value)::text, '"')), (btrim(to_json(to_json(s.value)::text)::text, '\"'))) AS f (form)
		WHERE length(s.value) >= 6
	LOOP
		said := replace(said, form, '******');
	END LOOP;
	RETURN said;
END
$$;

COMMENT ON FUNCTION notify._star(text, notify.provider) IS 'A text without the secrets of a provider, as they are or escaped. Internal.';

CREATE FUNCTION notify.receipt(provider text, payload bytea, headers jsonb DEFAULT '{}')
RETURNS TABLE (message bigint, kind text, state text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p notify.provider;
	map jsonb;
	item jsonb;
	entry jsonb;
	said boolean := false;
BEGIN
	SELECT * INTO p FROM notify.provider x WHERE x.name = receipt.provider;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no provider "%"', receipt.provider USING ERRCODE = 'undefined_object';
	END IF;
	SELECT t.receipt INTO map FROM notify.preset t WHERE t.name = p.preset;
	IF map IS NULL THEN
		RAISE EXCEPTION 'preset "%" does not say how to read receipts', p.preset
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Copy it, and give the copy a receipt map (docs/receipts.md).';
	ELSIF octet_length(payload) > 1048576 THEN
		RAISE EXCEPTION 'a receipt of % bytes is too long', octet_length(payload)
			USING ERRCODE = 'program_limit_exceeded', HINT = 'At most 1 MB.';
	END IF;
	FOR item IN SELECT * FROM notify._receipt_items(p, map, payload, coalesce(headers, '{}'))
	LOOP
		said := true;
		entry := notify._read_entry(map, item, p.channel);
		message := NULL;
		entry := entry || jsonb_strip_nulls(jsonb_build_object('detail', notify._star(entry ->> 'detail', p)));
		kind := coalesce(entry ->> 'kind', 'unclassified');
		state := 'ignored';
		IF entry IS NOT NULL THEN
			SELECT a.message, a.state INTO message, state FROM notify._apply_receipt(p.name, entry) AS a;
		ELSE
			PERFORM notify._count_unclassified(p.name, 'receipt', 1, left(notify._star(item::text, p), 1000));
		END IF;
		IF state IN ('waiting', 'unknown_message') AND entry ?| ARRAY['message', 'reference'] THEN
			PERFORM notify._keep_receipt(p.name, coalesce(message::text, entry ->> 'message', entry ->> 'reference'), receipt.kind, entry);
		END IF;
		RETURN NEXT;
	END LOOP;
	IF NOT said THEN
		PERFORM notify._count_unclassified(p.name, 'receipt', 1, left(notify._star(encode(substr(payload, 1, 2000), 'escape'), p), 1000));
		message := NULL;
		kind := 'unclassified';
		state := 'ignored';
		RETURN NEXT;
	END IF;
END
$$;

COMMENT ON FUNCTION notify.receipt(text, bytea, jsonb) IS
'Takes what a provider sent to the app''s web hook, or a mail that came to a return path, byte for byte, with its headers ("url" among them: where it was posted), and does what it says: a row for each report. kind: delivered, failed, bounced (the address is invalid now), refused (the provider has a problem now), complained or stopped (the address is suppressed), resumed, unsubscribed, ignored; unclassified is counted in notify.unclassified. delivered also stops a message that was to be sent again. state: applied; repeated, it was said before; waiting or unknown_message: tried again for a day; ignored. 28000 when the signature is wrong, 55000 when it cannot be checked, 54000 over 1 MB.';

CREATE FUNCTION notify.receipt(provider text, payload text, headers jsonb DEFAULT '{}')
RETURNS TABLE (message bigint, kind text, state text)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT * FROM notify.receipt(provider, convert_to(payload, 'UTF8'), headers);
$$;

COMMENT ON FUNCTION notify.receipt(text, text, jsonb) IS 'The same for a payload that is text, taken in UTF-8.';
