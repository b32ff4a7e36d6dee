/*
 * plan.sql
 *		The planner's tables, and what its steps rarely need: the backlog, what
 *		rules ask, promotion, what cannot be planned. A step itself is in C
 *		(src/plan/step.c). One planner per database takes them, each in a
 *		transaction of its own; a lock on notify.mark makes a second caller wait.
 *
 * The cursor is a snapshot, as in PgQ. Everything visible in cursor.snap is
 * planned or is in the backlog. A batch is what became visible between snap
 * and open_to: transactions from snap's xmax up to open_to's xmax, and those
 * that were in progress in snap. Within a batch, position is (xid, id).
 * A transaction that fills more than half of a chunk leaves the batch for the
 * backlog, so that what commits after it need not wait for all of it. Batch
 * and backlog take turns, and so do the transactions in the backlog: turn is
 * a ring from backlog_first to backlog_next. The people of a large audience wait
 * there in the same way: an event is planned with its batch, its audience of a
 * million a chunk at a time.
 *
 * Somebody's snapshot, held for hours, keeps every dead row of these tables.
 * So none is searched past its dead: the cursor's newest row is the last of its
 * index (step), a backlog's turn is looked up by its number, and scheduled is
 * searched from due_from on.
 *
 * mark keeps (from_xid, id) pairs, one a minute: events of transactions from
 * from_xid on have ids from id on, a day of clock error allowed. Searches use it so
 * that old partitions are not looked into.
 */
CREATE TABLE notify.cursor (
	snap		pg_snapshot NOT NULL,
	open_to		pg_snapshot,
	at_xid		xid8 NOT NULL DEFAULT '0',
	at_id		bigint NOT NULL DEFAULT 0,
	backlog_turn boolean NOT NULL DEFAULT false,
	step		bigint PRIMARY KEY DEFAULT 0,
	backlog_first bigint NOT NULL DEFAULT 0,
	backlog_next bigint NOT NULL DEFAULT 0,
	due_from	timestamptz NOT NULL DEFAULT '-infinity'
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

COMMENT ON TABLE notify.cursor IS 'How far planning has come. One row; the planner''s own.';
COMMENT ON COLUMN notify.cursor.snap IS 'Everything visible in it is planned or in the backlog.';
COMMENT ON COLUMN notify.cursor.open_to IS 'The end of the batch being planned; NULL: none is open.';
COMMENT ON COLUMN notify.cursor.at_xid IS 'Position in the open batch: transaction.';
COMMENT ON COLUMN notify.cursor.at_id IS 'Position in the open batch: event.';
COMMENT ON COLUMN notify.cursor.backlog_turn IS 'Whose turn it is when there are both a batch and a backlog.';
COMMENT ON COLUMN notify.cursor.step IS 'Counts the row''s changes.';
COMMENT ON COLUMN notify.cursor.backlog_first IS 'The backlog''s next turn; equal to backlog_next: it is empty.';
COMMENT ON COLUMN notify.cursor.backlog_next IS 'The turn that the backlog gives out next.';
COMMENT ON COLUMN notify.cursor.due_from IS 'What was due before is not in notify.scheduled any more, or is found within a minute.';

CREATE TABLE notify.backlog (
	xid			xid8 NOT NULL,
	at_id		bigint NOT NULL,
	turn		bigint PRIMARY KEY,
	audience	bigint,
	at_n		bigint NOT NULL DEFAULT 0,
	last_n		bigint NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

COMMENT ON TABLE notify.backlog IS 'Large transactions whose events, and large audiences whose people, are planned bit by bit, by turns.';
COMMENT ON COLUMN notify.backlog.xid IS 'The transaction.';
COMMENT ON COLUMN notify.backlog.at_id IS 'Its events up to this id are planned.';
COMMENT ON COLUMN notify.backlog.turn IS 'Whose turn it is: cursor.backlog_first.';
COMMENT ON COLUMN notify.backlog.audience IS 'Not events wait but people: these of notify.audience. NULL: events.';
COMMENT ON COLUMN notify.backlog.at_n IS 'The audience up to this n is planned.';
COMMENT ON COLUMN notify.backlog.last_n IS 'The last n of the audience.';

CREATE TABLE notify.audience (
	audience	bigint,
	n			bigint,
	candidate	notify.candidate NOT NULL,
	PRIMARY KEY (audience, n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

COMMENT ON TABLE notify.audience IS 'People of large audiences who wait to be planned; see notify.backlog.';
COMMENT ON COLUMN notify.audience.audience IS 'The people of one batch of events: the turn they were given first.';
COMMENT ON COLUMN notify.audience.n IS 'The order in which they are planned.';
COMMENT ON COLUMN notify.audience.candidate IS 'Whom to tell what, as decide() takes it.';

CREATE TABLE notify.mark (
	from_xid	xid8 PRIMARY KEY,
	id			bigint NOT NULL
);

COMMENT ON TABLE notify.mark IS 'Which ids the events of which transactions can have.';
COMMENT ON COLUMN notify.mark.from_xid IS 'Transactions from this one on ...';
COMMENT ON COLUMN notify.mark.id IS '... have event ids from this one on.';

-- The cursor as it is, whatever dead rows lie before it.
CREATE FUNCTION notify._cursor() RETURNS notify.cursor
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
DECLARE
	c notify.cursor;
BEGIN
	SELECT * INTO STRICT c FROM notify.cursor o ORDER BY o.step DESC LIMIT 1;
	RETURN c;
END
$$;

COMMENT ON FUNCTION notify._cursor() IS 'The row of notify.cursor. Internal.';

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
	newest bigint := (SELECT max(m.id) FROM notify.mark m);
BEGIN
	IF newest > notify.time_id(clock_timestamp() - interval '1 day 1 minute') AND newest <= low THEN
		RETURN;				-- as it mostly is: batches are opened a thousand times a second
	END IF;
	UPDATE notify.mark m SET id = low WHERE m.id > low;
	IF NOT EXISTS (SELECT FROM notify.mark m
				   WHERE m.id > notify.time_id(clock_timestamp() - interval '1 day 1 minute')) THEN
		INSERT INTO notify.mark VALUES (pg_snapshot_xmax(snap), low)
		ON CONFLICT (from_xid) DO UPDATE SET id = excluded.id;
	END IF;
	DELETE FROM notify.mark m
	WHERE m.from_xid < (SELECT max(o.from_xid) FROM notify.mark o
					WHERE o.from_xid <= least(pg_snapshot_xmin(_mark.snap),
											  pg_snapshot_xmin((notify._cursor()).snap),
											  (SELECT min(b.xid) FROM notify.backlog b)));
END
$$;

COMMENT ON FUNCTION notify._mark(pg_snapshot) IS 'Keeps notify.mark. Internal.';

-- People of a large audience. Who waited for a rule that is off by now waited in vain.
CREATE FUNCTION notify._audience_chunk(b notify.backlog, next_turn bigint, batch integer, OUT people notify.candidate[], OUT again boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	till bigint := b.at_n + batch;
BEGIN
	WITH gone AS (
		DELETE FROM notify.audience a
		WHERE a.audience = b.audience AND a.n > b.at_n AND a.n <= till
		RETURNING a.n, a.candidate
	)
	SELECT array_agg(CASE WHEN (g.candidate).reason IS NULL
							   AND NOT EXISTS (SELECT FROM notify.rule r WHERE r.id = (g.candidate).rule_id AND r.enabled)
						  THEN jsonb_populate_record(g.candidate, '{"reason": "rule_off"}') ELSE g.candidate END ORDER BY g.n)
	INTO people FROM gone g;
	again := till < b.last_n;
	IF again THEN
		INSERT INTO notify.backlog (turn, xid, at_id, audience, at_n, last_n)
		VALUES (next_turn, b.xid, b.at_id, b.audience, till, b.last_n);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._audience_chunk(notify.backlog, bigint, integer) IS
'The next people of a large audience; again: there are more, and they have that turn. Internal.';

-- A chunk of what has its turn in the backlog: events, or people; NULL when there is nothing left of it.
CREATE FUNCTION notify._backlog_chunk(turn bigint, next_turn bigint, batch integer,
									  OUT chunk notify.event[], OUT people notify.candidate[], OUT again boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	b notify.backlog;
BEGIN
	DELETE FROM notify.backlog d WHERE d.turn = _backlog_chunk.turn RETURNING d.* INTO STRICT b;
	IF b.audience IS NOT NULL THEN
		SELECT a.people, a.again INTO people, again FROM notify._audience_chunk(b, next_turn, batch) AS a;
		RETURN;
	END IF;
	chunk := ARRAY(SELECT e FROM notify.event e
				   WHERE e.xid = b.xid AND e.id > b.at_id
				   ORDER BY e.xid, e.id LIMIT batch);
	again := cardinality(chunk) = batch;
	IF again THEN
		PERFORM notify._add_to_backlog(next_turn, b.xid, chunk[batch].id);
	END IF;
	chunk := nullif(chunk, '{}');
END
$$;

COMMENT ON FUNCTION notify._backlog_chunk(bigint, bigint, integer) IS
'The next events of a large transaction, or people of a large audience, that have this turn; again: there are more, and they have the next one. Internal.';

-- An event of a transaction is planned; the rest of them waits for its turn.
CREATE FUNCTION notify._add_to_backlog(turn bigint, xid xid8, at_id bigint) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO notify.backlog (turn, xid, at_id) VALUES (_add_to_backlog.turn, _add_to_backlog.xid, _add_to_backlog.at_id);
$$;

COMMENT ON FUNCTION notify._add_to_backlog(bigint, xid8, bigint) IS 'Gives what follows this event in its transaction a turn of the backlog. Internal.';

/*
 * Whether an empty batch must be closed all the same. An idle planner writes
 * nothing, for what it did not save is simply searched again; but that search
 * passes over all that a transaction has written so far, unless snap knows of
 * it; an erasure is not over before snap has seen it; and days that snap may need
 * are not dropped.
 */
CREATE FUNCTION notify._worth_closing(snap pg_snapshot, open_to pg_snapshot) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN pg_snapshot_xmax(open_to)::text::numeric > pg_snapshot_xmax(snap)::text::numeric + 1000
		OR EXISTS (SELECT FROM pg_snapshot_xip(open_to) AS x WHERE x >= pg_snapshot_xmax(snap))
		OR EXISTS (SELECT FROM notify.erasure e WHERE NOT pg_visible_in_snapshot(e.xid, snap))
		OR NOT EXISTS (SELECT FROM notify.mark m
					   WHERE m.id > notify.time_id(clock_timestamp() - interval '1 day 1 hour'));
END
$$;

COMMENT ON FUNCTION notify._worth_closing(pg_snapshot, pg_snapshot) IS
'True when transactions that snap does not know of are at work or have erased somebody, when many have passed, and once an hour. Internal.';

-- src/plan/query.c, src/plan/run.c
CREATE FUNCTION notify._run_query(version bigint, kind text, ids bigint[], news jsonb[], olds jsonb[], metas jsonb[])
RETURNS TABLE (event bigint, data jsonb, reason text, detail text)
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'notify_run_query';

COMMENT ON FUNCTION notify._run_query(bigint, text, bigint[], jsonb[], jsonb[], jsonb[]) IS
'Runs a rule version''s audience or context over events as the rule''s owner, read-only and in bounded time; an event it raises an error on gets a row with reason and detail. Internal.';

CREATE FUNCTION notify._query_problem(version bigint, kind text) RETURNS text
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'notify_query_problem';

COMMENT ON FUNCTION notify._query_problem(bigint, text) IS
'What a rule version''s audience or context raises over no events, run as its owner in bounded time; NULL: nothing, or it could not be told now. Internal.';

/*
 * What an audience or context reads may change without any DDL on the rule's
 * own table: a table is renamed, a right is taken away. So the planner looks
 * at all queries in turn, some every minute, in a transaction of its own:
 * status() knows before an event needs them.
 */
CREATE FUNCTION notify._look_at_queries() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	begun timestamptz := clock_timestamp();
	turns bigint := (SELECT 1 + count(*) / 50 FROM notify.rule r WHERE coalesce(r.audience, r.context) IS NOT NULL);
	r record;
BEGIN
	FOR r IN
		SELECT x.name, x.id, x.problem,
			   coalesce(notify._query_problem(x.version, 'audience'), notify._query_problem(x.version, 'context')) AS found_wrong
		FROM notify.rule x
		WHERE coalesce(x.audience, x.context) IS NOT NULL AND x.enabled
		  AND x.id % turns = floor(extract(epoch FROM begun) / 60)::bigint % turns
	LOOP
		IF r.found_wrong IS NULL AND r.problem IS NOT NULL THEN
			PERFORM notify._recheck_rules(ARRAY[r.name]);
		ELSIF r.found_wrong IS NOT NULL AND r.problem IS NULL THEN
			UPDATE notify.rule u SET problem = r.found_wrong
			WHERE u.id IN (SELECT l.id FROM notify.rule l WHERE l.id = r.id FOR UPDATE SKIP LOCKED);
		END IF;
		EXIT WHEN clock_timestamp() > begun + interval '2 s';
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._look_at_queries() IS
'Notes in rule.problem which audiences and contexts would raise an error now, and clears it where nothing would; some at a time. Internal.';

-- An event's data as a rule's queries and templates see it.
CREATE FUNCTION notify._event_meta(id bigint, op "char", type text, key text) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_event_meta';

COMMENT ON FUNCTION notify._event_meta(bigint, "char", text, text) IS 'id, type, key, op and at of an event. Internal.';

CREATE FUNCTION notify._event_old(e notify.event) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE e.op WHEN 'U' THEN e.new || coalesce(e.old, '{}') ELSE e.old END;

COMMENT ON FUNCTION notify._event_old(notify.event) IS 'An event''s whole old row: what did not change is taken from new. Internal.';

/*
 * What rules ask of their audience and context, run as the rule's owner, a rule's
 * events at a time (src/plan/query.c). bases and events go side by side: the
 * candidate of a rule that matched, and its event. Rules are looked up by their
 * index (OFFSET 0), for the events are few and the versions may be many.
 */
CREATE FUNCTION notify._ask(audience bigint, bases notify.candidate[], events notify.event[]) RETURNS notify.candidate[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off		-- an audience times itself is no join
SET jit = off
AS $$
DECLARE
	before bigint := coalesce((SELECT max(a.n) FROM notify.audience a WHERE a.audience = _ask.audience), 0);
	found notify.candidate[];
BEGIN
	WITH base AS MATERIALIZED (
		SELECT b.u AS b, e.u AS e, v.many, v.more
		FROM (SELECT u, row_number() OVER () AS n FROM unnest(bases) AS u) AS b
		JOIN (SELECT u, row_number() OVER () AS n FROM unnest(events) AS u) AS e USING (n)
		CROSS JOIN LATERAL (SELECT o.audience IS NOT NULL AS many, o.context IS NOT NULL AS more
							FROM notify.rule_version o WHERE o.id = (b.u).rule OFFSET 0) AS v
	), asked AS MATERIALIZED (
		SELECT k.kind, g.rule, q.event, q.data, q.reason, q.detail
		FROM (VALUES ('audience'), ('context')) AS k (kind)
		CROSS JOIN LATERAL (
			SELECT (s.b).rule AS rule,
				   array_agg((s.e).id ORDER BY (s.e).id) AS ids,
				   array_agg((s.e).new ORDER BY (s.e).id) AS news,
				   array_agg(notify._event_old(s.e) ORDER BY (s.e).id) AS olds,
				   array_agg(notify._event_meta((s.e).id, (s.e).op, (s.e).type, (s.e).key) ORDER BY (s.e).id) AS metas
			FROM base s
			WHERE CASE k.kind WHEN 'audience' THEN s.many ELSE s.more END
			GROUP BY 1) AS g
		CROSS JOIN LATERAL notify._run_query(g.rule, k.kind, g.ids, g.news, g.olds, g.metas) AS q (event, data, reason, detail)
	), candidates AS MATERIALIZED (
		SELECT w.many, ROW ((w.b).event, (w.b).event_xid, (w.b).source, (w.b).key, (w.b).rule, (w.b).rule_id,
					CASE WHEN w.many THEN left(a.data ->> 'recipient', 256) ELSE (w.b).recipient END,
					(w.b).template, (w.b).category, (w.b).channels, (w.b).priority, (w.b).due_at, (w.b).expires,
					(w.b).dedupe_key, (w.b).cancel_key,
					coalesce(c.data, '{}') || coalesce(a.data - 'recipient', '{}'),
					coalesce(a.reason, c.reason), coalesce(a.detail, c.detail), (w.b).step)::notify.candidate AS candidate
		FROM base w
		LEFT JOIN asked a ON a.kind = 'audience' AND a.rule = (w.b).rule AND a.event = (w.e).id
		LEFT JOIN asked c ON c.kind = 'context' AND c.rule = (w.b).rule AND c.event = (w.e).id
	), large AS MATERIALIZED (
		SELECT count(*) > 1000 AS yes FROM asked a WHERE a.kind = 'audience'
	), waiting AS (
		INSERT INTO notify.audience (audience, n, candidate)
		SELECT _ask.audience, before + row_number() OVER (ORDER BY (k.candidate).event, (k.candidate).recipient), k.candidate FROM candidates k
		WHERE k.many AND (SELECT l.yes FROM large l)
	)
	SELECT array_agg(k.candidate) INTO found FROM candidates k
	WHERE NOT k.many OR NOT (SELECT l.yes FROM large l);
	RETURN found;
END
$$;

COMMENT ON FUNCTION notify._ask(bigint, notify.candidate[], notify.event[]) IS
'These candidates as their rules'' audience and context make them; NULL: none. When audiences have more than a thousand people together, these wait in notify.audience under this number instead. Internal.';

-- Candidates for the rules that could not be decided on these events: they say why, and the rules are flagged.
CREATE FUNCTION notify._undecided(events notify.event[]) RETURNS notify.candidate[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
	PERFORM notify._flag_rules(events);
	RETURN ARRAY(SELECT ROW (e.id, e.xid, e.source, e.key, u.rule, v.rule, e.recipient, v.template, v.category,
							 v.channels, v.priority, NULL, NULL, NULL, NULL, NULL, 'condition_error',
							 format('%s (SQLSTATE %s)', u.message, u.sqlstate), NULL)::notify.candidate
				 FROM unnest(events) AS e
				 CROSS JOIN LATERAL jsonb_to_recordset(e.undecided) AS u (rule bigint, sqlstate text, message text)
				 LEFT JOIN notify.rule_version v ON v.id = u.rule);
END
$$;

COMMENT ON FUNCTION notify._undecided(notify.event[]) IS 'Flags the rules that could not be decided on these events; candidates that say so. Internal.';

-- Flags the rules that could not be decided on these events.
CREATE FUNCTION notify._flag_rules(events notify.event[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
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

-- Candidates with the ids that people have now.
CREATE FUNCTION notify._people_now(people notify.candidate[]) RETURNS notify.candidate[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
	RETURN ARRAY(SELECT CASE WHEN p.id IS NOT DISTINCT FROM u.recipient THEN u
							 ELSE jsonb_populate_record(u, jsonb_build_object('recipient', p.id)) END
				 FROM unnest(people) AS u
				 CROSS JOIN LATERAL (SELECT notify._person_now(u.recipient, u.event) AS id) AS p);
END
$$;

COMMENT ON FUNCTION notify._people_now(notify.candidate[]) IS
'The same candidates; who has another id since the event is called by it. Internal.';

-- What decisions bring along: a dedupe key, a later time, the step that follows.
CREATE FUNCTION notify._apply_rest(ids bigint[], decided notify.decision[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
	at timestamptz := notify.now();
BEGIN
	WITH d AS MATERIALIZED (
		SELECT * FROM unnest(ids, decided) AS u
			(id, event, event_xid, source, key, rule, rule_id, recipient, template, category, channel, address, provider,
			 priority, template_version, verdict, reason, detail, due_at, expires_at, dedupe_key, cancel_key, context, step)
	), keys AS (
		INSERT INTO notify.idempotency (key, event, hash)
		SELECT DISTINCT notify._dedupe_key(d.rule_id, d.recipient, d.dedupe_key), d.event, 0
		FROM d WHERE d.verdict = 'send' AND d.dedupe_key IS NOT NULL
		ON CONFLICT DO NOTHING
	), later AS (
		INSERT INTO notify.scheduled (message, due_at)
		SELECT d.id, d.due_at FROM d WHERE d.verdict = 'send' AND d.due_at > at
	)
	-- The next step of an escalation, unless it ended.
	INSERT INTO notify.scheduled (message, step, due_at)
	SELECT e.id, e.step, e.due_at + (notify._step(e.rule, e.step) ->> 'after')::interval
	FROM (SELECT min(d.id) AS id, d.rule, d.step + 1 AS step, greatest(min(d.due_at), at) AS due_at FROM d
		  WHERE d.step IS NOT NULL AND (d.channel IS NOT NULL OR d.reason IN ('step_seen', 'step_delivered'))
		  GROUP BY d.event, d.rule, d.recipient, d.step) AS e
	WHERE notify._step(e.rule, e.step) IS NOT NULL;
END
$$;

COMMENT ON FUNCTION notify._apply_rest(bigint[], notify.decision[]) IS
'Writes what decisions, with the ids of their messages, bring along beside the messages: dedupe keys, what is scheduled. Internal.';

-- One bad event, or person, must not stop the others: it is skipped and says why (src/plan/step.c).
CREATE FUNCTION notify._event_not_planned(why text, events notify.event[]) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO notify.message (id, event, event_xid, source, key, priority, recipient, verdict, reason, detail)
	SELECT notify._next_id(), e.id, e.xid, e.source, e.key, 3, left(e.recipient, 200), 'skipped', 'plan_error', left(why, 500)
	FROM unnest(events) AS e;
$$;

COMMENT ON FUNCTION notify._event_not_planned(text, notify.event[]) IS 'The decision that these events cannot be planned. Internal.';

CREATE FUNCTION notify._person_not_planned(why text, people notify.candidate[]) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO notify.message (id, event, event_xid, source, key, rule, priority, recipient, verdict, reason, detail)
	SELECT notify._next_id(), c.event, c.event_xid, c.source, c.key, c.rule, 3, left(c.recipient, 200), 'skipped', 'plan_error', left(why, 500)
	FROM unnest(people) AS c;
$$;

COMMENT ON FUNCTION notify._person_not_planned(text, notify.candidate[]) IS 'The decision that these candidates cannot be planned. Internal.';

-- Moves what has come due since then from scheduled to ready, as far as there is money; the rest is given back to be decided.
CREATE FUNCTION notify._promote(since timestamptz, until timestamptz, batch integer,
								OUT taken integer, OUT moved integer, OUT candidates notify.candidate[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	due notify.scheduled[];
	ready bigint[];
	budgeted boolean := EXISTS (SELECT FROM notify.budget);
BEGIN
	WITH gone AS (
		DELETE FROM notify.scheduled s
		WHERE s.ctid = ANY (ARRAY(SELECT q.ctid FROM notify.scheduled q
								  WHERE q.due_at BETWEEN since AND until ORDER BY q.due_at LIMIT batch
								  FOR UPDATE SKIP LOCKED))
		RETURNING s.*
	)
	SELECT count(*), array_agg(g::notify.scheduled ORDER BY g.due_at) FILTER (WHERE g.step = 0),
		   CASE WHEN bool_or(g.step > 0) THEN notify._step_candidates(array_agg(g::notify.scheduled) FILTER (WHERE g.step > 0)) END
	INTO taken, due, candidates FROM gone g;
	IF budgeted AND due IS NOT NULL THEN
		SELECT f.going, candidates || f.instead INTO due, candidates FROM notify._afford(due) AS f;
	END IF;
	WITH mine AS MATERIALIZED (
		SELECT p.id FROM notify.provider p WHERE p.enabled AND p.id IN (SELECT d.provider FROM unnest(due) AS d)
	), put AS (
		INSERT INTO notify.ready (message, lane, attempts, redriven, pinned)
		SELECT d.message, coalesce(k.id, CASE WHEN v.weights IS NULL THEN v.provider
											  ELSE notify._choose(v.choices, v.weights, v.costs, m.event, m.recipient, m.category) END, 0) * 4
			   + m.priority, d.attempts, d.redriven, k.id IS NOT NULL
		FROM unnest(due) WITH ORDINALITY AS d
		LEFT JOIN mine x ON x.id = d.provider
		JOIN notify.message m ON m.id = d.message
		LEFT JOIN notify._serving v ON v.channel = m.channel
		-- What may go only once goes to no other provider; _reroute() fails it when its own is gone.
		CROSS JOIN LATERAL (SELECT CASE WHEN d.provider IS NULL THEN NULL
										WHEN x.id IS NOT NULL OR EXISTS (SELECT FROM notify.category c WHERE c.name = m.category AND c.at_most_once)
										THEN d.provider END AS id) AS k
		ORDER BY d.ordinality
		ON CONFLICT (message) DO NOTHING	-- redriven twice
		RETURNING message
	)
	SELECT count(*), CASE WHEN budgeted THEN array_agg(p.message) END INTO moved, ready FROM put p;
	IF ready IS NOT NULL THEN
		PERFORM notify._reserve(ready);
	END IF;
END
$$;

COMMENT ON FUNCTION notify._promote(timestamptz, timestamptz, integer) IS
'Moves messages due in this time into the queue; those no provider serves wait in lanes 0 to 3. taken: how many rows it took out of notify.scheduled; candidates: what is to be decided now, steps and what is to go by a cheaper channel. Internal.';

/*
 * Messages are scheduled for later than now, so few can be due before what was
 * moved already: by a transaction that took long, or a clock set back. Those are
 * found here, once a minute.
 */
CREATE FUNCTION notify._look_back() RETURNS void
	LANGUAGE c AS 'MODULE_PATHNAME', 'notify_look_back';

COMMENT ON FUNCTION notify._look_back() IS 'Makes the planner see all of notify.scheduled. Internal.';

-- When these events left a large audience waiting, it gets a turn of the backlog.
CREATE FUNCTION notify._add_audience(turn bigint, events notify.event[]) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	last bigint := (SELECT max(a.n) FROM notify.audience a WHERE a.audience = turn);
BEGIN
	IF last IS NULL THEN
		RETURN false;
	END IF;
	INSERT INTO notify.backlog (turn, xid, at_id, audience, last_n)
	SELECT _add_audience.turn, e.xid, e.id - 1, _add_audience.turn, last
	FROM unnest(events) AS e ORDER BY e.id LIMIT 1;
	RETURN true;
END
$$;

COMMENT ON FUNCTION notify._add_audience(bigint, notify.event[]) IS
'Gives the people that these events left in notify.audience this turn of the backlog; false: there are none. Internal.';

-- src/plan/step.c
CREATE FUNCTION notify._plan(batch integer, OUT planned integer, OUT readied integer, OUT more boolean, OUT next_due timestamptz)
LANGUAGE c STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'notify_plan';

COMMENT ON FUNCTION notify._plan(integer) IS
'One step of planning: what has come due, then the next events. more: call again at once; next_due: when the next scheduled message is due. Internal.';

-- How many committed events are not planned, counted to 100,000, and how many people of large audiences. Those of the open batch count until it is closed.
CREATE FUNCTION notify._unplanned() RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	c notify.cursor := notify._cursor();
	next xid8 := pg_snapshot_xmax(c.snap);
BEGIN
	RETURN (SELECT count(*) FROM (
		SELECT FROM pg_snapshot_xip(c.snap) AS x
		CROSS JOIN LATERAL (SELECT FROM notify.event e WHERE e.xid = x AND e.id >= notify._low_id(x)) AS e
		UNION ALL
		SELECT FROM notify.event e WHERE e.xid >= next AND e.id >= notify._low_id(next)
		UNION ALL
		SELECT FROM notify.backlog b
		CROSS JOIN LATERAL (SELECT FROM notify.event e WHERE e.xid = b.xid AND e.id > b.at_id) AS e
		WHERE b.turn >= c.backlog_first AND b.audience IS NULL
		LIMIT 100000) AS u)
		+ coalesce((SELECT sum(b.last_n - b.at_n) FROM notify.backlog b
					WHERE b.turn >= c.backlog_first AND b.audience IS NOT NULL), 0);
END
$$;

COMMENT ON FUNCTION notify._unplanned() IS 'How many events wait for the planner, counted to 100,000, and people of large audiences. Internal.';

-- Start with the oldest transaction still running, this one included: it may write events yet.
INSERT INTO notify.cursor (snap)
SELECT format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))::pg_snapshot;

INSERT INTO notify.mark VALUES ('0', notify.time_id(clock_timestamp() - interval '1 day'));
