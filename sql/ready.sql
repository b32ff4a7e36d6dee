/*
 * ready.sql
 *		The dispatcher's side of the queue: claim, settle, rescue; and the
 *		planner's upkeep of it.
 *
 * A claim marks rows with (owner, boot, lease) and counts the attempt; the
 * caller commits before it sends (src/dispatch/take.c). Settling names rows by
 * ctid and must still own them, so a late settle of a rescued row does nothing
 * (src/dispatch/record.c). What happens to few messages is done here, for all
 * of a batch that it happens to.
 *
 * bounds: a dispatcher passes, per lane, a seq below which nothing is left,
 * and gets a new one back (a row with message NULL). Since seq grows in commit
 * order, nothing can appear below it; dead index entries are not walked again.
 */

-- What a template sees: the event's data, the rule's context, new, old and event (src/plan/data.c).
CREATE FUNCTION notify._data(id bigint, op "char", type text, key text, new jsonb, old jsonb, context jsonb) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_data';

COMMENT ON FUNCTION notify._data(bigint, "char", text, text, jsonb, jsonb, jsonb) IS
'The data a message''s template is filled from: an event''s columns, and the message''s context. Internal.';

/*
 * Claimed messages that must not be sent after all: settles them and names
 * them. Called when there is a reason to look (take.c). The bounds of the ids
 * keep other days from being opened.
 */
CREATE FUNCTION notify._stop_claimed(claimed bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	at timestamptz := notify.now();
	oldest bigint;
	newest bigint;
	first_event bigint;
	keys text[];
	cancelled text[];
	cancels bigint[];
	stopped bigint[];
	reasons text[];
BEGIN
	SELECT min(c), max(c) INTO oldest, newest FROM unnest(claimed) AS c;
	SELECT min(m.event), array_agg(k.key) INTO first_event, keys
	FROM notify.message m
	CROSS JOIN LATERAL (VALUES (m.cancel_key), (notify._event_cancel_key(m.event))) AS k (key)
	WHERE m.id = ANY (claimed) AND m.id >= oldest AND m.id <= newest AND k.key IS NOT NULL;
	SELECT f.cancelled, f.cancels INTO cancelled, cancels FROM notify._find_cancels(keys, first_event) AS f;
	SELECT array_agg(s.id), array_agg(s.reason) INTO stopped, reasons
	FROM (SELECT m.id, coalesce(CASE WHEN EXISTS (SELECT FROM unnest(cancelled, cancels) AS x (key, id)
										 WHERE x.key IN (m.cancel_key, notify._event_cancel_key(m.event))
										   AND x.id > m.event) THEN 'cancelled'
							WHEN m.expires_at < at AND NOT q.redriven THEN 'expired'
							ELSE notify._refusal(notify._person_now(m.recipient, m.event), m.category,
												 m.channel, m.address) END,
							CASE WHEN m.step > 1 THEN notify._step_stop(m.id, m.rule, m.step) END) AS reason
		  FROM notify.message m
		  JOIN notify.ready q ON q.message = m.id
		  WHERE m.id = ANY (claimed) AND m.id >= oldest AND m.id <= newest) AS s
	WHERE s.reason IS NOT NULL;
	DELETE FROM notify.ready r WHERE r.message = ANY (stopped);
	INSERT INTO notify.outcome (message, verdict, reason)
	SELECT u.id, CASE u.reason WHEN 'expired' THEN 'expired' ELSE 'cancelled' END, u.reason FROM unnest(stopped, reasons) AS u (id, reason);
	RETURN QUERY SELECT unnest(stopped);
END
$$;

COMMENT ON FUNCTION notify._stop_claimed(bigint[]) IS
'Decides again at claim: messages that expired, were cancelled or are not wanted any more, steps that have become needless among them, are settled here, and named. Internal.';

CREATE FUNCTION notify._claim(slot integer, boot bigint, lanes integer[], bounds bigint[], room integer[],
							  lease interval, max integer)
RETURNS TABLE (ready_tid tid, message bigint, event bigint, attempt integer, provider integer,
			   channel text, address text, recipient text, type text, created timestamptz,
			   template_version bigint, data jsonb, at_most_once boolean, max_attempts integer,
			   expires_at timestamptz, seq bigint, lane integer, return_tag text, unsubscribe text)
LANGUAGE c STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'notify_claim';

COMMENT ON FUNCTION notify._claim(integer, bigint, integer[], bigint[], integer[], interval, integer) IS
'Takes up to max messages, at most room[i] from lanes[i], in that order; counts the attempt. Rows with message NULL give a lane''s new bound (seq NULL: the lane is empty). Internal.';

/*
 * What answers bring with them beside their outcome: another attempt, a row of
 * the inbox, an address or a provider to flag. For those of a batch that bring any.
 */
CREATE FUNCTION notify._settle_rest(at timestamptz, messages bigint[], attempts integer[], redriven boolean[], pins integer[],
									providers text[], classes text[], verdicts text[], details text[], retry_ms bigint[],
									subjects text[], bodies text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
	WITH answered AS MATERIALIZED (
		SELECT u.*
		FROM unnest(messages, attempts, redriven, pins, providers, classes, verdicts, details, retry_ms, subjects, bodies)
			AS u (message, attempts, redriven, pin, provider, class, verdict, detail, retry_ms, subject, body)
	), again AS (
		INSERT INTO notify.scheduled (message, due_at, attempts, redriven, provider)
		SELECT a.message, at + a.retry_ms * interval '1 ms', a.attempts, a.redriven, a.pin
		FROM answered a WHERE a.verdict = 'retrying'
	), shown AS (
		INSERT INTO notify.inbox (recipient, message, subject, body, data)
		SELECT notify._person_now(m.recipient, m.event), a.message, a.subject, a.body,
			   jsonb_build_object('event', m.event::text, 'key', m.key, 'template', m.template)
		FROM answered a JOIN notify.message m ON m.id = a.message
		WHERE a.verdict = 'delivered'
	), dead AS (
		-- Whoever edits an address or a provider is not waited for: the next answer flags it.
		SELECT b.ctid AS tid
		FROM answered a
		JOIN notify.message m ON m.id = a.message
		JOIN notify.address b ON b.recipient = notify._person_now(m.recipient, m.event) AND b.channel = m.channel AND b.address = m.address
		WHERE a.class = 'permanent_recipient'
		FOR UPDATE OF b SKIP LOCKED
	), lost AS (
		UPDATE notify.address b SET state = 'invalid' FROM dead d WHERE b.ctid = d.tid
	), judged AS (
		SELECT x.provider, max(coalesce(x.detail, 'the provider refused our credentials'))
				FILTER (WHERE x.class = 'auth') AS problem
		FROM answered x WHERE x.class IN ('auth', 'ok') GROUP BY 1
	), changed AS (
		SELECT p.ctid AS tid, j.problem FROM judged j
		JOIN notify.provider p ON p.name = j.provider AND (p.problem IS NULL) <> (j.problem IS NULL)
		FOR UPDATE OF p SKIP LOCKED
	)
	-- Credentials refused flags the provider; the next success takes the flag back.
	UPDATE notify.provider p SET problem = c.problem FROM changed c WHERE p.ctid = c.tid;
END
$$;

COMMENT ON FUNCTION notify._settle_rest(timestamptz, bigint[], integer[], boolean[], integer[], text[], text[], text[], text[], bigint[], text[], text[]) IS
'What answers bring with them beside their outcome; at: notify.now() of the settling. Internal.';

CREATE FUNCTION notify._settle(slot integer, boot bigint, tids tid[], messages bigint[], classes text[],
							   codes integer[], details text[], refs text[], retry_ms bigint[],
							   latencies_ms integer[], subjects text[], bodies text[], ambiguous boolean[] DEFAULT '{}')
RETURNS bigint
LANGUAGE c STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'notify_settle';

COMMENT ON FUNCTION notify._settle(integer, bigint, tid[], bigint[], text[], integer[], text[], text[], bigint[], integer[], text[], text[], boolean[]) IS
'Records answers and takes their rows out of the queue: retry_ms >= 0 schedules another attempt, with the same provider when it may have arrived. Rows no longer owned are left alone. Gives how many were settled. Internal.';

/*
 * Of messages that may have been sent, fails those that may go only once; gives how
 * many. A provider that drops repeats of our key may be asked again, no other may.
 */
CREATE FUNCTION notify._fail_doubtful(suspects bigint[], by_same_provider boolean) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	doubtful bigint[];
BEGIN
	IF cardinality(suspects) = 0 THEN
		RETURN 0;
	END IF;
	doubtful := ARRAY(SELECT m.id FROM notify.message m
					  JOIN notify.category k ON k.name = m.category AND k.at_most_once
					  JOIN notify.ready r ON r.message = m.id
					  WHERE m.id = ANY (suspects) AND m.channel <> 'inbox'
						AND NOT (by_same_provider AND EXISTS (SELECT FROM notify.provider p JOIN notify.preset t ON t.name = p.preset AND t.idempotent
															  WHERE p.id = r.lane / 4)));
	DELETE FROM notify.ready r WHERE r.message = ANY (doubtful);
	INSERT INTO notify.outcome (message, verdict, reason)
	SELECT d, 'failed', 'ambiguous' FROM unnest(doubtful) AS d;
	RETURN cardinality(doubtful);
END
$$;

COMMENT ON FUNCTION notify._fail_doubtful(bigint[], boolean) IS
'Fails those of these messages as ambiguous that may go only once; by_same_provider: they would go by the same provider again. Internal.';

-- Frees claimed rows, except those that may have been sent and must not be sent twice.
CREATE FUNCTION notify._release(taken bigint[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	freed bigint;
BEGIN
	PERFORM notify._fail_doubtful(taken, true);
	UPDATE notify.ready r SET owner = NULL, boot = NULL, lease = NULL, pinned = true
	WHERE r.message = ANY (taken);
	GET DIAGNOSTICS freed = ROW_COUNT;
	RETURN freed;
END
$$;

COMMENT ON FUNCTION notify._release(bigint[]) IS
'Puts claimed messages back; those of an at_most_once category fail as ambiguous. Internal.';

-- Claimed and not begun: they are as they were before the claim.
CREATE FUNCTION notify._give_back(slot integer, boot bigint, tids tid[], messages bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
	UPDATE notify.ready r SET owner = NULL, boot = NULL, lease = NULL, attempts = r.attempts - 1
	WHERE r.ctid = ANY (tids) AND r.message = ANY (messages) AND r.owner = slot AND r.boot = _give_back.boot;
END
$$;

COMMENT ON FUNCTION notify._give_back(integer, bigint, tid[], bigint[]) IS
'Puts back what a dispatcher claimed and could not begin; the attempt does not count. Internal.';

CREATE FUNCTION notify._rescue(slot integer, boot bigint) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify._release(ARRAY(SELECT r.message FROM notify.ready r
								 WHERE r.owner = slot AND r.boot <> _rescue.boot
								 FOR UPDATE));
$$;

COMMENT ON FUNCTION notify._rescue(integer, bigint) IS
'Frees what an earlier dispatcher of this slot had claimed; called when one starts. Internal.';

-- The lanes that have messages, each found by a look into the index: a queue may have millions of rows.
CREATE FUNCTION notify._lanes() RETURNS SETOF integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
BEGIN
	RETURN QUERY
	WITH RECURSIVE l (lane) AS (
		SELECT (SELECT r.lane FROM notify.ready r ORDER BY r.lane LIMIT 1)
		UNION ALL
		SELECT (SELECT r.lane FROM notify.ready r WHERE r.lane > l.lane ORDER BY r.lane LIMIT 1)
		FROM l WHERE l.lane IS NOT NULL
	)
	SELECT l.lane FROM l WHERE l.lane IS NOT NULL;
END
$$;

COMMENT ON FUNCTION notify._lanes() IS 'The lanes of notify.ready that are not empty. Internal.';

/*
 * Messages whose lease is over. Claims are made in the order of seq, so what is
 * claimed stands at the front of its lane, with nothing free before it but what
 * dispatchers that went had claimed: the front is all that is looked at, several
 * times as much as dispatchers can have claimed.
 */
CREATE FUNCTION notify._overdue() RETURNS bigint[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_sort = off
AS $$
DECLARE
	front bigint := 10000 + 4 * current_setting('notify_pg.dispatchers')::bigint
		* (current_setting('notify_pg.max_in_flight')::bigint + current_setting('notify_pg.batch_size')::bigint);
BEGIN
	RETURN ARRAY(SELECT r.message FROM notify.ready r
				 WHERE r.ctid = ANY (ARRAY(SELECT f.tid FROM notify._lanes() AS l
										   CROSS JOIN LATERAL (SELECT q.ctid AS tid, q.lease FROM notify.ready q
															   WHERE q.lane = l ORDER BY q.seq LIMIT front) AS f
										   WHERE f.lease < clock_timestamp()))
				   AND r.lease < clock_timestamp()
				 FOR UPDATE SKIP LOCKED);
END
$$;

COMMENT ON FUNCTION notify._overdue() IS 'Locks messages whose dispatcher did not settle them in time. Internal.';

/*
 * Gives messages of providers that are gone, off or left alone to another provider of
 * their channel, some at a time; gives how many. Those that may have arrived stay
 * with a provider that is enabled; when it is not, those that may go only once fail. The lane
 * of a provider that no other can stand in for is left alone as a whole; lanes 0 to 3 have several
 * channels. What a dearer provider is to take waits in notify.scheduled, to ask the budgets again.
 */
CREATE FUNCTION notify._reroute(batch integer) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_sort = off
AS $$
DECLARE
	stranded integer[] := ARRAY(
		SELECT l FROM notify._lanes() AS l
		LEFT JOIN notify.provider p ON p.id = l / 4
		LEFT JOIN notify._serving v ON v.channel = p.channel
		LEFT JOIN notify._gates() g ON g.provider = p.id AND g.open
		WHERE p.id IS NULL OR p.id <> ALL (v.choices) AND (NOT p.enabled OR p.problem IS NOT NULL OR g.open AND NOT v.open
													  AND NOT g.probe_due));
	moved bigint;
	budgeted boolean := EXISTS (SELECT FROM notify.budget);
BEGIN
	IF cardinality(stranded) = 0 THEN
		RETURN 0;
	END IF;
	PERFORM notify._fail_doubtful(ARRAY(
		SELECT r.message FROM notify.ready r
		WHERE r.lane = ANY (stranded) AND r.owner IS NULL AND r.pinned
		  AND NOT EXISTS (SELECT FROM notify.provider p WHERE p.id = r.lane / 4 AND p.enabled)
		ORDER BY r.lane, r.seq LIMIT batch
		FOR UPDATE SKIP LOCKED), false);
	WITH q AS MATERIALIZED (
		SELECT r.ctid AS tid, r.lane / 4 AS was, CASE WHEN v.weights IS NULL THEN v.provider
								   ELSE notify._choose(v.choices, v.weights, v.costs, m.event, m.recipient, m.category) END AS provider
		FROM notify.ready r
		JOIN notify.message m ON m.id = r.message
		JOIN notify._serving v ON v.channel = m.channel
		WHERE r.lane = ANY (stranded) AND r.owner IS NULL
		  AND (NOT r.pinned OR NOT EXISTS (SELECT FROM notify.provider p WHERE p.id = r.lane / 4 AND p.enabled))
		ORDER BY r.lane, r.seq LIMIT batch
		FOR UPDATE OF r SKIP LOCKED
	), w AS MATERIALIZED (
		SELECT q.*, budgeted AND EXISTS (SELECT FROM notify.provider n WHERE n.id = q.provider
										 AND n.cost > coalesce((SELECT o.cost FROM notify.provider o WHERE o.id = q.was), 0)) AS dearer
		FROM q
	), dearer AS (
		DELETE FROM notify.ready r USING w WHERE r.ctid = w.tid AND w.dearer RETURNING r.message, r.attempts, r.redriven
	), asking AS (
		INSERT INTO notify.scheduled (message, due_at, attempts, redriven)
		SELECT d.message, notify.now(), d.attempts, d.redriven FROM dearer d
		ON CONFLICT DO NOTHING RETURNING 1
	), put AS (
		UPDATE notify.ready r
		SET lane = w.provider * 4 + r.lane % 4, seq = nextval('notify.ready_seq')
		FROM w WHERE r.ctid = w.tid AND NOT w.dearer RETURNING 1
	)
	SELECT (SELECT count(*) FROM put) + (SELECT count(*) FROM asking) INTO moved;
	RETURN moved;
END
$$;

COMMENT ON FUNCTION notify._reroute(integer) IS
'Moves queued messages away from providers that cannot serve them. Internal.';

/*
 * A provider whose breaker is open gets nothing while another serves its channel.
 * When it is to be tried again, one message that is due is given to it, the least
 * urgent there is; without one it is not tried.
 */
CREATE FUNCTION notify._offer_probes() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_sort = off
AS $$
DECLARE
	o record;
	offered bigint;
BEGIN
	FOR o IN
		SELECT p.id, c.other
		FROM notify._gates() g
		JOIN notify.provider p ON p.id = g.provider AND p.enabled
		JOIN notify._serving v ON v.channel = p.channel AND p.id <> ALL (v.choices)
		CROSS JOIN LATERAL unnest(v.choices) AS c (other)
		WHERE g.probe_due
	LOOP
		CONTINUE WHEN EXISTS (SELECT FROM notify.ready r WHERE r.lane BETWEEN o.id * 4 AND o.id * 4 + 3);
		FOR priority IN REVERSE 3 .. 0
		LOOP
			UPDATE notify.ready r
			SET lane = o.id * 4 + priority, seq = nextval('notify.ready_seq')
			WHERE r.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.ready q
									  WHERE q.lane = o.other * 4 + priority AND q.owner IS NULL AND NOT q.pinned
									  ORDER BY q.seq LIMIT 1 FOR UPDATE SKIP LOCKED));
			GET DIAGNOSTICS offered = ROW_COUNT;
			EXIT WHEN offered > 0;
		END LOOP;
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._offer_probes() IS
'Gives one due message to each provider whose open breaker is to be probed. Internal.';

/*
 * Drops the days that are older than notify_pg.retention and that nothing in
 * the queue, nor an event still to be planned, refers to.
 */
CREATE FUNCTION notify._drop_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '20ms'
AS $$
DECLARE
	oldest date := (clock_timestamp() - current_setting('notify_pg.retention')::interval) AT TIME ZONE 'UTC';
	needed bigint;
	log text;
	p record;
	dropped integer := 0;
BEGIN
	BEGIN
		IF NOT EXISTS (SELECT FROM unnest(notify._logs()) AS l (log), notify._partitions(l.log) AS d WHERE d.day < oldest)
			AND NOT EXISTS (SELECT FROM notify.event_default e WHERE e.id < notify._day_start(oldest)) THEN
			RETURN 0;
		END IF;
		SELECT least(min(m.event), min(m.id)) INTO needed
		FROM (SELECT r.message FROM notify.ready r UNION ALL SELECT s.message FROM notify.scheduled s) AS q
		JOIN notify.message m ON m.id = q.message;
		needed := least(needed, (SELECT min(b.at_id) FROM notify.backlog b),
						notify._low_id(pg_snapshot_xmin((notify._cursor()).snap)));
	EXCEPTION WHEN lock_not_available THEN
		RETURN 0;
	END;
	FOREACH log IN ARRAY notify._logs()
	LOOP
		FOR p IN SELECT * FROM notify._partitions(log)
				 WHERE day < oldest AND notify._day_start(day + 1) <= needed
		LOOP
			BEGIN
				EXECUTE format('ALTER EXTENSION notify_pg DROP TABLE notify.%I', p.leaf);
				EXECUTE format('DROP TABLE notify.%I', p.leaf);
				dropped := dropped + 1;
			EXCEPTION WHEN lock_not_available THEN
				NULL;
			END;
		END LOOP;
		-- Mostly empty; what a time without a planner left there cannot be dropped as a day.
		BEGIN
			EXECUTE format('DELETE FROM notify.%I WHERE %I < $1', log || '_default',
						   CASE log WHEN 'outcome' THEN 'message' ELSE 'id' END)
				USING least(needed, notify._day_start(oldest));
		EXCEPTION WHEN lock_not_available THEN
			NULL;
		END;
	END LOOP;
	RETURN dropped;
END
$$;

COMMENT ON FUNCTION notify._drop_partitions() IS
'Drops days older than notify_pg.retention that nothing refers to; gives how many partitions. A lock it cannot have in 20 ms is left for the next call. Internal.';

/*
 * The planner saw that the wall clock was set. Dispatchers measure their leases by
 * a clock that is not, so what is claimed gets a whole lease from now on: it is
 * neither freed under a transfer nor kept for as long as the clock was ahead. What
 * was put off while the clock was ahead is put off by as much as was meant: delays
 * of rules, and retries (we put none off for longer than an hour). A time that was
 * named, in send(), stands.
 */
CREATE FUNCTION notify._clock_was_set(by_ms bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moved interval := by_ms * interval '1 ms';
BEGIN
	UPDATE notify.ready r SET lease = clock_timestamp() + current_setting('notify_pg.lease')::interval
	WHERE r.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.ready q WHERE q.owner IS NOT NULL
							  FOR UPDATE SKIP LOCKED));
	IF by_ms < 0 THEN
		UPDATE notify.scheduled s SET due_at = greatest(s.due_at + moved, notify.now())
		FROM notify.message m
		LEFT JOIN notify.rule_version v ON v.id = m.rule
		WHERE m.id = s.message
		  AND s.due_at > notify.now() + CASE WHEN s.attempts > 0 THEN interval '1 hour'
										  WHEN s.step > 0 THEN (notify._step(v.id, s.step) ->> 'after')::interval
										  ELSE v.delay END;
	END IF;
END
$$;

COMMENT ON FUNCTION notify._clock_was_set(bigint) IS
'Mends leases, retries and delays after the wall clock was set by so many milliseconds. Internal.';

CREATE FUNCTION notify._maintain() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM notify._release(notify._overdue());
	PERFORM notify._look_back();
	PERFORM notify._finish_erasures();
	PERFORM notify._retry_receipts();
	PERFORM notify._drop_attachments();
	DELETE FROM notify.idempotency i
	WHERE i.event < notify.time_id(clock_timestamp() - current_setting('notify_pg.retention')::interval);
	-- Last, for what they lock stays locked until the end of the transaction.
	PERFORM notify._make_partitions();
	PERFORM notify._drop_partitions();
	IF notify._is_copy() THEN
		PERFORM notify._recheck_all();
	ELSE
		PERFORM notify._recheck_triggers();
	END IF;
END
$$;

COMMENT ON FUNCTION notify._maintain() IS
'The planner''s upkeep, once a minute: days made and dropped, expired leases, old keys; a held copy''s configuration looked at, and elsewhere whether attached tables have their triggers. Internal.';
