/*
 * plan.sql
 *		The planner's steps: which events are next, what they ask for, and
 *		writing what decide() says. One planner per database runs them, each
 *		call in a transaction of its own; a lock on notify.cursor makes a
 *		second caller wait.
 *
 * The cursor is a snapshot, as in PgQ. Everything visible in cursor.snap is
 * planned or is in the backlog. A batch is what became visible between snap
 * and open_to: transactions from snap's xmax up to open_to's xmax, and those
 * that were in progress in snap. Within a batch, position is (xid, id).
 * A transaction that fills more than half of a chunk leaves the batch for the
 * backlog, so that what commits after it need not wait for all of it.
 *
 * mark keeps (from_xid, id) pairs, one a minute: events of transactions from
 * from_xid on have ids from id on, a day of clock error allowed. Searches use it so
 * that old partitions are not looked into.
 */
CREATE TABLE notify.cursor (
	one			boolean PRIMARY KEY DEFAULT true CHECK (one),
	snap		pg_snapshot NOT NULL,
	open_to		pg_snapshot,
	at_xid		xid8 NOT NULL DEFAULT '0',
	at_id		bigint NOT NULL DEFAULT 0,
	backlog_turn boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE notify.cursor IS 'How far planning has come. One row; the planner''s own.';
COMMENT ON COLUMN notify.cursor.one IS 'True: there is one row.';
COMMENT ON COLUMN notify.cursor.snap IS 'Everything visible in it is planned or in the backlog.';
COMMENT ON COLUMN notify.cursor.open_to IS 'The end of the batch being planned; NULL: none is open.';
COMMENT ON COLUMN notify.cursor.at_xid IS 'Position in the open batch: transaction.';
COMMENT ON COLUMN notify.cursor.at_id IS 'Position in the open batch: event.';
COMMENT ON COLUMN notify.cursor.backlog_turn IS 'Whose turn it is when there are both a batch and a backlog.';

CREATE TABLE notify.backlog (
	xid			xid8 PRIMARY KEY,
	at_id		bigint NOT NULL
);

COMMENT ON TABLE notify.backlog IS 'Large transactions whose events are planned bit by bit.';
COMMENT ON COLUMN notify.backlog.xid IS 'The transaction.';
COMMENT ON COLUMN notify.backlog.at_id IS 'Its events up to this id are planned.';

CREATE TABLE notify.mark (
	from_xid	xid8 PRIMARY KEY,
	id			bigint NOT NULL
);

COMMENT ON TABLE notify.mark IS 'Which ids the events of which transactions can have.';
COMMENT ON COLUMN notify.mark.from_xid IS 'Transactions from this one on ...';
COMMENT ON COLUMN notify.mark.id IS '... have event ids from this one on.';

-- The lowest id an event of this transaction or a later one can have.
CREATE FUNCTION notify._low_id(x xid8) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN coalesce((SELECT m.id FROM notify.mark m WHERE m.from_xid <= x ORDER BY m.from_xid DESC LIMIT 1), 0);
END
$$;

COMMENT ON FUNCTION notify._low_id(xid8) IS 'A lower bound of the event ids of this and later transactions. Internal.';

-- Remembers, once a minute, where ids are when a batch is opened; follows a clock set back.
CREATE FUNCTION notify._mark(snap pg_snapshot) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	low bigint := notify.time_id(clock_timestamp() - interval '1 day');
BEGIN
	UPDATE notify.mark m SET id = low WHERE m.id > low;
	IF NOT EXISTS (SELECT FROM notify.mark m
				   WHERE m.id > notify.time_id(clock_timestamp() - interval '1 day 1 minute')) THEN
		INSERT INTO notify.mark VALUES (pg_snapshot_xmax(snap), low)
		ON CONFLICT (from_xid) DO UPDATE SET id = excluded.id;
	END IF;
	DELETE FROM notify.mark m
	WHERE m.from_xid < (SELECT max(o.from_xid) FROM notify.mark o
					WHERE o.from_xid <= least(pg_snapshot_xmin(_mark.snap),
											  (SELECT pg_snapshot_xmin(c.snap) FROM notify.cursor c),
											  (SELECT min(b.xid) FROM notify.backlog b)));
END
$$;

COMMENT ON FUNCTION notify._mark(pg_snapshot) IS 'Keeps notify.mark. Internal.';

-- A chunk of the oldest large transaction; NULL when there is none.
CREATE FUNCTION notify._backlog_chunk(batch integer) RETURNS notify.event[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	b notify.backlog;
	chunk notify.event[];
BEGIN
	SELECT * INTO b FROM notify.backlog ORDER BY xid LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	chunk := ARRAY(SELECT e FROM notify.event e
				   WHERE e.xid = b.xid AND e.id > b.at_id
				   ORDER BY e.xid, e.id LIMIT batch);
	IF cardinality(chunk) < batch THEN
		DELETE FROM notify.backlog d WHERE d.xid = b.xid;
	ELSE
		UPDATE notify.backlog u SET at_id = chunk[batch].id WHERE u.xid = b.xid;
	END IF;
	RETURN nullif(chunk, '{}');
END
$$;

COMMENT ON FUNCTION notify._backlog_chunk(integer) IS 'The next events of the oldest large transaction. Internal.';

/*
 * The events of one arm of a batch. First come the transactions that were in
 * progress in snap (they have the lower xids), then those that began later.
 */
CREATE FUNCTION notify._batch_events(c notify.cursor, batch integer) RETURNS notify.event[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	ended xid8[] := ARRAY(SELECT x FROM pg_snapshot_xip(c.snap) AS x
						  WHERE x >= c.at_xid AND pg_visible_in_snapshot(x, c.open_to));
	first xid8 := pg_snapshot_xmax(c.snap);
	after bigint := 0;
	low bigint;		-- ids are searched from here on; once, for it prunes the days before the scans begin
	chunk notify.event[] := '{}';
BEGIN
	low := least(notify._low_id(coalesce(ended[1], first)),
				 notify.time_id(clock_timestamp() - interval '1 day'));		-- the clock may have been set back
	IF c.at_xid >= first THEN
		first := c.at_xid;
		after := c.at_id;
	END IF;
	IF cardinality(ended) > 0 THEN
		chunk := ARRAY(SELECT e FROM notify.event e
					   WHERE e.xid = ANY (ended) AND (e.xid, e.id) > (c.at_xid, c.at_id)
						 AND e.id >= low
					   ORDER BY e.xid, e.id LIMIT batch);
	END IF;
	IF cardinality(chunk) < batch THEN
		chunk := chunk || ARRAY(SELECT e FROM notify.event e
								WHERE (e.xid, e.id) > (first, after)
								  AND e.xid < pg_snapshot_xmax(c.open_to)
								  AND pg_visible_in_snapshot(e.xid, c.open_to)
								  AND e.id >= low
								ORDER BY e.xid, e.id LIMIT batch - cardinality(chunk));
	END IF;
	RETURN chunk;
END
$$;

COMMENT ON FUNCTION notify._batch_events(notify.cursor, integer) IS 'The next events of the open batch. Internal.';

-- A chunk of the open batch, opening one when there is something new; NULL when there is nothing.
CREATE FUNCTION notify._batch_chunk(batch integer) RETURNS notify.event[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c notify.cursor;
	chunk notify.event[];
	last notify.event;
	fresh boolean;
BEGIN
	SELECT * INTO STRICT c FROM notify.cursor;
	fresh := c.open_to IS NULL;
	IF fresh THEN
		c.open_to := pg_current_snapshot();
		c.at_xid := '0';
		c.at_id := 0;
	END IF;
	chunk := notify._batch_events(c, batch);
	IF cardinality(chunk) = batch THEN
		last := chunk[batch];
		IF chunk[batch / 2 + 1].xid = last.xid THEN
			INSERT INTO notify.backlog VALUES (last.xid, last.id);
			last.id := 9223372036854775807;
		END IF;
		IF fresh THEN
			PERFORM notify._mark(c.open_to);
		END IF;
		UPDATE notify.cursor SET open_to = c.open_to, at_xid = last.xid, at_id = last.id;
	ELSIF cardinality(chunk) > 0 OR NOT fresh
		OR pg_snapshot_xmax(c.open_to)::text::numeric > pg_snapshot_xmax(c.snap)::text::numeric + 1000 THEN
		-- An idle planner writes nothing: an unsaved empty batch is simply searched again.
		IF fresh THEN
			PERFORM notify._mark(c.open_to);
		END IF;
		UPDATE notify.cursor SET snap = c.open_to, open_to = NULL;
	END IF;
	RETURN nullif(chunk, '{}');
END
$$;

COMMENT ON FUNCTION notify._batch_chunk(integer) IS 'The next events of what committed since the last batch. Internal.';

-- The next events to plan, new ones and large old transactions by turns.
CREATE FUNCTION notify._next_events(batch integer) RETURNS notify.event[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	chunk notify.event[];
	behind boolean := EXISTS (SELECT FROM notify.backlog);
BEGIN
	IF behind AND (SELECT c.backlog_turn FROM notify.cursor c) THEN
		chunk := notify._backlog_chunk(batch);
	END IF;
	IF chunk IS NULL THEN
		chunk := notify._batch_chunk(batch);
		IF chunk IS NULL AND behind THEN
			chunk := notify._backlog_chunk(batch);
		END IF;
	END IF;
	IF behind THEN
		UPDATE notify.cursor SET backlog_turn = NOT backlog_turn;
	END IF;
	RETURN chunk;
END
$$;

COMMENT ON FUNCTION notify._next_events(integer) IS 'The events to plan next; NULL when all are planned. Internal.';

-- src/plan/query.c, src/plan/run.c
CREATE FUNCTION notify._run_query(version bigint, kind text, ids bigint[], news jsonb[], olds jsonb[], metas jsonb[])
RETURNS TABLE (event bigint, data jsonb, reason text, detail text)
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'notify_run_query';

COMMENT ON FUNCTION notify._run_query(bigint, text, bigint[], jsonb[], jsonb[], jsonb[]) IS
'Runs a rule version''s audience or context over events as the rule''s owner, read-only and in bounded time; an event it raises an error on gets a row with reason and detail. Internal.';

-- An event's data as a rule's queries and templates see it.
CREATE FUNCTION notify._event_meta(e notify.event) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object('id', e.id::text, 'type', e.type, 'key', e.key, 'op', e.op,
						  'at', to_char(notify.id_time(e.id) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));

COMMENT ON FUNCTION notify._event_meta(notify.event) IS 'id, type, key, op and at of an event. Internal.';

CREATE FUNCTION notify._event_old(e notify.event) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE e.op WHEN 'U' THEN e.new || coalesce(e.old, '{}') ELSE e.old END;

COMMENT ON FUNCTION notify._event_old(notify.event) IS 'An event''s whole old row: what did not change is taken from new. Internal.';

/*
 * What events ask for: a candidate for each rule that matched and each person
 * it names. Audience and context run here, as the rule's owner, a rule's
 * events at a time (src/plan/query.c). Rules are looked up by their index
 * (OFFSET 0), for the events are few and the versions may be many.
 */
CREATE FUNCTION notify._gather(events notify.event[]) RETURNS notify.candidate[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off		-- an audience times itself is no join
SET jit = off
AS $$
DECLARE
	clock timestamptz := clock_timestamp();		-- ids may be ahead of a clock set back
	shift interval := notify.now() - clock;		-- from the clock of ids to that of schedules
BEGIN
	RETURN ARRAY(
		WITH wanted AS MATERIALIZED (
			SELECT e, w.n, w.recipient, w.dedupe_key, w.cancel_key, v,
				   r.id IS NOT NULL AS live,
				   e.truncated AS cut
			FROM unnest(events) AS e
			CROSS JOIN LATERAL unnest(e.rules, e.recipients, e.dedupe_keys, e.cancel_keys)
				WITH ORDINALITY AS w (rule, recipient, dedupe_key, cancel_key, n)
			CROSS JOIN LATERAL (SELECT * FROM notify.rule_version o WHERE o.id = w.rule OFFSET 0) AS v
			LEFT JOIN LATERAL (SELECT o.id FROM notify.rule o WHERE o.id = v.rule AND o.enabled OFFSET 0) AS r ON true
			WHERE v.action = 'notify'
		), asked AS MATERIALIZED (
			SELECT k.kind, g.rule, q.event, q.n, q.data, q.reason, q.detail
			FROM (VALUES ('audience'), ('context')) AS k (kind)
			CROSS JOIN LATERAL (
				SELECT (s.v).id AS rule,
					   array_agg((s.e).id ORDER BY (s.e).id) AS ids,
					   array_agg((s.e).new ORDER BY (s.e).id) AS news,
					   array_agg(notify._event_old(s.e) ORDER BY (s.e).id) AS olds,
					   array_agg(notify._event_meta(s.e) ORDER BY (s.e).id) AS metas
				FROM wanted s
				WHERE s.live AND NOT s.cut
				  AND CASE k.kind WHEN 'audience' THEN (s.v).audience ELSE (s.v).context END IS NOT NULL
				GROUP BY 1) AS g
			CROSS JOIN LATERAL notify._run_query(g.rule, k.kind, g.ids, g.news, g.olds, g.metas)
				WITH ORDINALITY AS q (event, data, reason, detail, n)
		)
		SELECT ROW ((w.e).id, (w.e).xid, (w.e).source, (w.e).key, (w.v).id, (w.v).rule,
					CASE WHEN (w.v).audience IS NOT NULL THEN left(a.data ->> 'recipient', 256)
						 WHEN (w.v).recipient IS NOT NULL THEN nullif(w.recipient, '')
						 ELSE (w.e).recipient END,
					(w.v).template, (w.v).category, (w.v).channels, (w.v).priority,
					least(notify.id_time((w.e).id), clock) + shift + coalesce((w.v).delay, '0'), (w.v).expires, w.dedupe_key, w.cancel_key,
					coalesce(c.data, '{}') || coalesce(a.data - 'recipient', '{}'),
					CASE WHEN NOT w.live THEN 'rule_off'
						 WHEN w.cut THEN 'row_too_large'
						 ELSE coalesce(a.reason, c.reason) END,
					coalesce(a.detail, c.detail))::notify.candidate
		FROM wanted w
		LEFT JOIN asked a ON a.kind = 'audience' AND a.rule = (w.v).id AND a.event = (w.e).id
		LEFT JOIN asked c ON c.kind = 'context' AND c.rule = (w.v).id AND c.event = (w.e).id
		UNION ALL
		SELECT ROW (e.id, e.xid, e.source, e.key, NULL, NULL, e.recipient,
					e.instruction ->> 'template', e.instruction ->> 'category',
					(SELECT array_agg(x) FROM jsonb_array_elements_text(e.instruction -> 'channels') AS x), NULL,
					coalesce((e.instruction ->> 'at')::timestamptz, least(notify.id_time(e.id), clock) + shift),
					NULL, NULL, NULL, '{}'::jsonb, NULL, NULL)::notify.candidate
		FROM unnest(events) AS e
		WHERE e.op = 'S'
		UNION ALL
		SELECT ROW (e.id, e.xid, e.source, e.key, u.rule, v.rule, e.recipient, v.template, v.category,
					v.channels, v.priority, NULL, NULL, NULL, NULL, NULL, 'condition_error',
					format('%s (SQLSTATE %s)', u.message, u.sqlstate))::notify.candidate
		FROM unnest(events) AS e
		CROSS JOIN LATERAL jsonb_to_recordset(e.undecided) AS u (rule bigint, sqlstate text, message text)
		LEFT JOIN notify.rule_version v ON v.id = u.rule
		WHERE e.undecided IS NOT NULL);
END
$$;

COMMENT ON FUNCTION notify._gather(notify.event[]) IS
'The candidates of these events: rules that matched, with their audience and context, sends, and rules that could not decide. Internal.';

-- Flags the rules that could not be decided on these events.
CREATE FUNCTION notify._flag_rules(events notify.event[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	broken bigint[] := ARRAY(SELECT DISTINCT (x ->> 'rule')::bigint FROM unnest(events) AS e
							 CROSS JOIN LATERAL jsonb_array_elements(e.undecided) AS x
							 WHERE e.undecided IS NOT NULL);
	free bigint[];
BEGIN
	IF cardinality(broken) = 0 THEN
		RETURN;
	END IF;
	-- Never wait for somebody who is editing the rule: a later event flags it.
	free := ARRAY(SELECT r.id FROM notify.rule r
				  WHERE r.version = ANY (broken) AND r.problem IS NULL FOR UPDATE SKIP LOCKED);
	UPDATE notify.rule r
	SET problem = format('%s (SQLSTATE %s)', u.message, u.sqlstate)
	FROM (SELECT DISTINCT ON (x.rule) x.rule, x.sqlstate, x.message
		  FROM unnest(events) AS e
		  CROSS JOIN LATERAL jsonb_to_recordset(e.undecided) AS x (rule bigint, sqlstate text, message text)
		  WHERE e.undecided IS NOT NULL) AS u
	WHERE r.version = u.rule AND r.id = ANY (free);
END
$$;

COMMENT ON FUNCTION notify._flag_rules(notify.event[]) IS 'Writes rule.problem for rules whose expressions raised errors. Internal.';

-- Plans these events: decides, and writes the messages and their place in the queue.
CREATE FUNCTION notify._apply(events notify.event[], OUT planned integer, OUT readied integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	at timestamptz := notify.now();
BEGIN
	WITH d AS MATERIALIZED (
		SELECT notify._next_id() AS id, t.* FROM notify.decide(notify._gather(events)) AS t
	), written AS (
		INSERT INTO notify.message (id, event, event_xid, source, key, rule, recipient, category, channel,
				address, priority, template, template_version, verdict, reason, detail, due_at, expires_at,
				dedupe_key, cancel_key, context)
		SELECT d.id, d.event, d.event_xid, d.source, d.key, d.rule, d.recipient, d.category, d.channel,
			   d.address, d.priority, d.template, d.template_version, d.verdict, d.reason, d.detail, d.due_at,
			   d.expires_at, d.dedupe_key, d.cancel_key, d.context
		FROM d
	), keys AS (
		INSERT INTO notify.idempotency (key, event, hash)
		SELECT DISTINCT notify._dedupe_key(d.rule_id, d.recipient, d.dedupe_key), d.event, 0
		FROM d WHERE d.verdict = 'send' AND d.dedupe_key IS NOT NULL
		ON CONFLICT DO NOTHING
	), later AS (
		INSERT INTO notify.scheduled (message, due_at)
		SELECT d.id, d.due_at FROM d WHERE d.verdict = 'send' AND d.due_at > at
	), now AS (
		INSERT INTO notify.ready (message, lane)
		SELECT d.id, d.provider * 4 + d.priority FROM d WHERE d.verdict = 'send' AND d.due_at <= at
		RETURNING 1
	)
	SELECT count(*), (SELECT count(*) FROM now) INTO planned, readied FROM d;
END
$$;

COMMENT ON FUNCTION notify._apply(notify.event[]) IS
'Writes what decide() says of these events: messages, dedupe keys, ready and scheduled. Internal.';

/*
 * One bad event must not stop the others: when a chunk raises an error its
 * halves are tried, down to the event at fault, which is skipped and says why.
 */
CREATE FUNCTION notify._apply_all(events notify.event[], OUT planned integer, OUT readied integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	count integer := cardinality(events);
	half integer := count / 2;
	first record;
	second record;
BEGIN
	BEGIN
		SELECT a.planned, a.readied INTO planned, readied FROM notify._apply(events) AS a;
		RETURN;
	EXCEPTION WHEN OTHERS THEN
		IF count = 1 THEN
			INSERT INTO notify.message (id, event, event_xid, source, key, priority, recipient, verdict, reason, detail)
			VALUES (notify._next_id(), events[1].id, events[1].xid, events[1].source, events[1].key, 3,
					left(events[1].recipient, 200), 'skipped', 'plan_error', left(format('%s (SQLSTATE %s)', sqlerrm, sqlstate), 500));
			planned := 1;
			readied := 0;
			RETURN;
		END IF;
	END;
	SELECT * INTO first FROM notify._apply_all(events[:half]);
	SELECT * INTO second FROM notify._apply_all(events[half + 1:]);
	planned := first.planned + second.planned;
	readied := first.readied + second.readied;
END
$$;

COMMENT ON FUNCTION notify._apply_all(notify.event[]) IS
'_apply() that survives an event it cannot plan: that one is skipped (plan_error). Internal.';

-- Moves what has come due from scheduled to ready.
CREATE FUNCTION notify._promote(batch integer) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	at timestamptz := notify.now();
	moved integer;
BEGIN
	WITH due AS (
		DELETE FROM notify.scheduled s
		WHERE s.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.scheduled q
								  WHERE q.due_at <= at ORDER BY q.due_at LIMIT batch
								  FOR UPDATE SKIP LOCKED))
		RETURNING s.message, s.due_at, s.attempts, s.redriven
	)
	INSERT INTO notify.ready (message, lane, attempts, redriven)
	SELECT d.message, coalesce(v.provider, 0) * 4 + m.priority, d.attempts, d.redriven
	FROM due d
	JOIN notify.message m ON m.id = d.message
	LEFT JOIN notify._serving v ON v.channel = m.channel
	ORDER BY d.due_at
	ON CONFLICT (message) DO NOTHING;	-- redriven twice
	GET DIAGNOSTICS moved = ROW_COUNT;
	RETURN moved;
END
$$;

COMMENT ON FUNCTION notify._promote(integer) IS
'Moves due messages into the queue; those no provider serves wait in lanes 0 to 3. Internal.';

CREATE FUNCTION notify._plan(batch integer, OUT planned integer, OUT readied integer,
							 OUT more boolean, OUT next_due timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	chunk notify.event[];
	promoted integer := 0;
	behind boolean;
	at timestamptz := notify.now();		-- a volatile function is no index condition
BEGIN
	LOCK TABLE notify.cursor IN SHARE ROW EXCLUSIVE MODE;
	-- What is open now ends where it was opened: events since then need another look.
	behind := EXISTS (SELECT FROM notify.cursor c WHERE c.open_to IS NOT NULL);
	IF EXISTS (SELECT FROM notify.scheduled s WHERE s.due_at <= at) THEN
		promoted := notify._promote(batch);
	END IF;
	chunk := notify._next_events(batch);
	IF chunk IS NOT NULL THEN
		PERFORM notify._flag_rules(chunk);
		SELECT a.planned, a.readied INTO planned, readied FROM notify._apply_all(chunk) AS a;
	END IF;
	planned := coalesce(planned, 0);
	readied := coalesce(readied, 0) + promoted;
	more := behind OR promoted = batch OR coalesce(cardinality(chunk), 0) = batch
		OR EXISTS (SELECT FROM notify.backlog)
		OR EXISTS (SELECT FROM notify.cursor c WHERE c.open_to IS NOT NULL);
	SELECT min(s.due_at) INTO next_due FROM notify.scheduled s;
END
$$;

COMMENT ON FUNCTION notify._plan(integer) IS
'One step of planning: what has come due, then the next events. more: call again at once; next_due: when the next scheduled message is due. Internal.';

-- Start with the oldest transaction still running, this one included: it may write events yet.
INSERT INTO notify.cursor (snap)
SELECT format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))::pg_snapshot;

INSERT INTO notify.mark VALUES ('0', notify.time_id(clock_timestamp() - interval '1 day'));
