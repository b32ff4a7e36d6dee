/*
 * report.sql
 *		What people look at: deliveries, failures, the queue, the workers,
 *		why something was (not) sent, and one row that says how things are.
 */
CREATE VIEW notify.delivery AS
SELECT m.id AS message, notify.id_time(m.id) AS decided_at, m.event,
	   coalesce(v.name, 'send') AS rule, m.source::regclass AS source, m.key, m.recipient, m.category,
	   m.channel, m.address, m.template,
	   CASE
		   WHEN m.verdict <> 'send' THEN m.verdict
		   WHEN r.owner IS NOT NULL THEN 'sending'
		   WHEN coalesce(r.attempts, s.attempts) > 0 THEN 'retrying'
		   WHEN r.message IS NOT NULL THEN 'ready'
		   WHEN s.message IS NOT NULL THEN 'scheduled'
		   ELSE o.verdict
	   END AS status,
	   coalesce(r.attempts, s.attempts, o.attempt, 0) AS attempts,
	   coalesce(m.reason, o.reason) AS reason,
	   coalesce(m.detail, o.detail) AS detail,
	   o.provider, o.code, o.reference, coalesce(s.due_at, m.due_at) AS due_at, m.expires_at,
	   o.at AS last_at, m.priority, m.step
FROM notify.message m
LEFT JOIN notify.rule_version v ON v.id = m.rule
LEFT JOIN notify.ready r ON r.message = m.id
LEFT JOIN notify.scheduled s ON s.message = m.id AND s.step = 0
LEFT JOIN LATERAL (SELECT o.at, o.attempt, o.provider, o.verdict, o.code, o.reason, o.detail, o.reference
				   FROM notify.outcome o WHERE o.message = m.id
				   ORDER BY o.at DESC, o.attempt DESC NULLS LAST LIMIT 1) AS o ON true;

COMMENT ON VIEW notify.delivery IS 'A row per message: what, who, where, and how it stands. To look at a time only, filter on message >= notify.time_id(...): it finds the days.';
COMMENT ON COLUMN notify.delivery.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.delivery.decided_at IS 'When it was planned.';
COMMENT ON COLUMN notify.delivery.event IS 'notify.event.id.';
COMMENT ON COLUMN notify.delivery.rule IS 'The rule''s name when it decided; "send" for send().';
COMMENT ON COLUMN notify.delivery.source IS 'The table; NULL for emit() and send().';
COMMENT ON COLUMN notify.delivery.key IS 'The row''s key.';
COMMENT ON COLUMN notify.delivery.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.delivery.category IS 'notify.category.name.';
COMMENT ON COLUMN notify.delivery.channel IS 'The channel; NULL when it stopped before one was chosen.';
COMMENT ON COLUMN notify.delivery.address IS 'Where it goes.';
COMMENT ON COLUMN notify.delivery.template IS 'notify.template.name.';
COMMENT ON COLUMN notify.delivery.status IS 'scheduled, ready, sending, retrying, sent, delivered, failed, dead, suppressed, skipped, cancelled or expired.';
COMMENT ON COLUMN notify.delivery.attempts IS 'Attempts begun.';
COMMENT ON COLUMN notify.delivery.reason IS 'notify.reason.code of our own decision; NULL when there is none.';
COMMENT ON COLUMN notify.delivery.detail IS 'The last answer''s or error''s words.';
COMMENT ON COLUMN notify.delivery.provider IS 'Who served it last.';
COMMENT ON COLUMN notify.delivery.code IS 'The last HTTP status or SMTP reply code.';
COMMENT ON COLUMN notify.delivery.reference IS 'The provider''s id of it.';
COMMENT ON COLUMN notify.delivery.due_at IS 'When it is or was due.';
COMMENT ON COLUMN notify.delivery.expires_at IS 'After this it is not sent any more.';
COMMENT ON COLUMN notify.delivery.last_at IS 'When something was last recorded of it.';
COMMENT ON COLUMN notify.delivery.priority IS '0 urgent to 3 bulk.';
COMMENT ON COLUMN notify.delivery.step IS 'Which step of its rule''s escalation: notify.rule_step. NULL: the rule has no steps.';

CREATE VIEW notify.failure AS
SELECT d.message, d.last_at AS at, d.rule, d.source, d.key, d.recipient, d.channel, d.address,
	   d.status, d.attempts, d.provider, d.code, coalesce(d.detail, q.meaning) AS detail
FROM notify.delivery d
LEFT JOIN notify.reason q ON q.code = d.reason
WHERE d.status IN ('failed', 'dead', 'expired');

COMMENT ON VIEW notify.failure IS 'Messages that will not arrive unless redriven. Columns are those of notify.delivery.';
COMMENT ON COLUMN notify.failure.message IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.at IS 'When it was given up.';
COMMENT ON COLUMN notify.failure.rule IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.source IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.key IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.recipient IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.channel IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.address IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.status IS 'failed, dead or expired.';
COMMENT ON COLUMN notify.failure.attempts IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.provider IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.code IS 'As in notify.delivery.';
COMMENT ON COLUMN notify.failure.detail IS 'The last words, or what the reason means.';

CREATE VIEW notify.delivery_report AS
SELECT (d.decided_at AT TIME ZONE 'UTC')::date AS day, d.rule, d.category, d.channel, d.provider,
	   count(*) AS planned,
	   count(*) FILTER (WHERE d.status = 'suppressed') AS suppressed,
	   count(*) FILTER (WHERE d.status = 'skipped') AS skipped,
	   count(*) FILTER (WHERE d.status = 'cancelled') AS cancelled,
	   count(*) FILTER (WHERE d.status IN ('scheduled', 'ready', 'sending', 'retrying')) AS pending,
	   count(*) FILTER (WHERE d.status IN ('sent', 'delivered')) AS sent,
	   count(*) FILTER (WHERE d.status = 'delivered') AS delivered,
	   count(*) FILTER (WHERE d.status IN ('failed', 'dead', 'expired')) AS failed,
	   percentile_disc(0.5) WITHIN GROUP (ORDER BY d.last_at - notify.id_time(d.event))
		   FILTER (WHERE d.status IN ('sent', 'delivered')) AS median_latency
FROM notify.delivery d
GROUP BY 1, 2, 3, 4, 5;

COMMENT ON VIEW notify.delivery_report IS 'Messages counted by UTC day, rule, category, channel and provider.';
COMMENT ON COLUMN notify.delivery_report.day IS 'The UTC day of the decision.';
COMMENT ON COLUMN notify.delivery_report.rule IS 'The rule; "send" for send().';
COMMENT ON COLUMN notify.delivery_report.category IS 'The category.';
COMMENT ON COLUMN notify.delivery_report.channel IS 'The channel; NULL when it stopped before one was chosen.';
COMMENT ON COLUMN notify.delivery_report.provider IS 'The last provider; NULL before the first attempt.';
COMMENT ON COLUMN notify.delivery_report.planned IS 'Messages decided on, sent or not.';
COMMENT ON COLUMN notify.delivery_report.suppressed IS 'Not sent by our own decision for the person''s sake.';
COMMENT ON COLUMN notify.delivery_report.skipped IS 'Not sent because it could not be.';
COMMENT ON COLUMN notify.delivery_report.cancelled IS 'Stopped before they were sent.';
COMMENT ON COLUMN notify.delivery_report.pending IS 'Still to be sent.';
COMMENT ON COLUMN notify.delivery_report.sent IS 'Taken by the provider, delivered or not known.';
COMMENT ON COLUMN notify.delivery_report.delivered IS 'Known to have arrived.';
COMMENT ON COLUMN notify.delivery_report.failed IS 'Failed, dead or expired.';
COMMENT ON COLUMN notify.delivery_report.median_latency IS 'Half of the sent ones took at most this long from event to answer.';

CREATE VIEW notify.stat_queue AS
SELECT p.name AS provider, q.lane % 4 AS priority, q.waiting, q.sending, q.retrying, q.oldest
FROM (SELECT r.lane, count(*) FILTER (WHERE r.owner IS NULL) AS waiting,
			 count(*) FILTER (WHERE r.owner IS NOT NULL) AS sending,
			 count(*) FILTER (WHERE r.attempts > 0 AND r.owner IS NULL) AS retrying,
			 min(notify.id_time(r.message)) AS oldest
	  FROM notify.ready r GROUP BY r.lane) AS q
LEFT JOIN notify.provider p ON p.id = q.lane / 4
UNION ALL
SELECT NULL, NULL, count(*) FILTER (WHERE s.attempts = 0), 0, count(*) FILTER (WHERE s.attempts > 0), min(s.due_at)
FROM notify.scheduled s HAVING count(*) > 0;

COMMENT ON VIEW notify.stat_queue IS 'What is waiting: a row per provider and priority for what is due, and one without a provider for what is due later.';
COMMENT ON COLUMN notify.stat_queue.provider IS 'Who will serve it; NULL: due later, or no provider is enabled.';
COMMENT ON COLUMN notify.stat_queue.priority IS '0 urgent to 3 bulk; NULL: due later.';
COMMENT ON COLUMN notify.stat_queue.waiting IS 'Messages not claimed.';
COMMENT ON COLUMN notify.stat_queue.sending IS 'Messages claimed by a dispatcher.';
COMMENT ON COLUMN notify.stat_queue.retrying IS 'Messages that were tried before.';
COMMENT ON COLUMN notify.stat_queue.oldest IS 'When the oldest was decided; when due later: the earliest due time.';

CREATE VIEW notify.stat_provider AS
SELECT p.name AS provider, p.channel, p.enabled, p.problem,
	   r.rate, CASE WHEN r.rate IS NOT NULL THEN r.burst END AS burst,
	   CASE WHEN r.rate IS NOT NULL THEN floor(least(r.burst, g.tokens + greatest(g.age, 0) * r.rate::double precision))::integer END AS tokens,
	   coalesce(g.waiting, 0) AS waiting, coalesce(g.sending, 0) AS sending,
	   coalesce(g.sent, 0) AS sent, coalesce(g.failed, 0) AS failed, g.latency,
	   CASE WHEN NOT p.enabled THEN 'off' WHEN g.open AND g.probe_in <= 0 THEN 'half_open' WHEN g.open THEN 'open' ELSE 'closed' END AS breaker,
	   notify.now() - g.open_for * interval '1 s' AS open_since, notify.now() + g.probe_in * interval '1 s' AS probe_at,
	   coalesce(g.openings, 0) AS openings, g.why,
	   (SELECT coalesce(sum(o.cost), 0) FROM notify.outcome o
		WHERE o.provider = p.name AND o.at >= date_trunc('day', clock_timestamp(), 'UTC')
		  AND o.message >= notify.time_id(clock_timestamp() - interval '4 days')) AS cost_today,
	   p.weight, p.concurrency, notify.now() + g.paused_for * interval '1 s' AS paused_until
FROM notify.provider p
LEFT JOIN notify.preset t ON t.name = p.preset
CROSS JOIN LATERAL (SELECT coalesce(p.rate, t.rate) AS rate, coalesce(p.burst, greatest(coalesce(p.rate, t.rate), 1)) AS burst) AS r
LEFT JOIN notify._gates() g ON g.provider = p.id;

COMMENT ON VIEW notify.stat_provider IS 'How providers are doing, over all dispatchers, since the server started. The inbox is not counted here.';
COMMENT ON COLUMN notify.stat_provider.provider IS 'notify.provider.name.';
COMMENT ON COLUMN notify.stat_provider.channel IS 'The channel it serves.';
COMMENT ON COLUMN notify.stat_provider.enabled IS 'As in notify.provider.';
COMMENT ON COLUMN notify.stat_provider.problem IS 'As in notify.provider.';
COMMENT ON COLUMN notify.stat_provider.rate IS 'Most messages a second; NULL: no limit.';
COMMENT ON COLUMN notify.stat_provider.burst IS 'Most at once after a rest; NULL: no limit.';
COMMENT ON COLUMN notify.stat_provider.tokens IS 'How many may go at once now; NULL: no limit, or none went yet.';
COMMENT ON COLUMN notify.stat_provider.waiting IS 'Messages claimed and waiting for their turn.';
COMMENT ON COLUMN notify.stat_provider.sending IS 'Messages on the wire now.';
COMMENT ON COLUMN notify.stat_provider.sent IS 'Messages it took.';
COMMENT ON COLUMN notify.stat_provider.failed IS 'Answers other than success.';
COMMENT ON COLUMN notify.stat_provider.breaker IS 'closed: it works; open: it is left alone; half_open: one message tries it, now or when there is one; off: not enabled.';
COMMENT ON COLUMN notify.stat_provider.open_since IS 'Since when it is left alone (notify.now() time); NULL: it is not.';
COMMENT ON COLUMN notify.stat_provider.probe_at IS 'When it is tried again; NULL: it is not left alone.';
COMMENT ON COLUMN notify.stat_provider.openings IS 'How often it began to be left alone.';
COMMENT ON COLUMN notify.stat_provider.why IS 'The answer because of which it is left alone; NULL: it is not.';
COMMENT ON COLUMN notify.stat_provider.cost_today IS 'The sum of outcome.cost since midnight (UTC), of messages decided in the last four days. Reads the log of those days: leave the column out where it is not wanted.';
COMMENT ON COLUMN notify.stat_provider.weight IS 'As in notify.provider.';
COMMENT ON COLUMN notify.stat_provider.concurrency IS 'As in notify.provider: sending is never more.';
COMMENT ON COLUMN notify.stat_provider.paused_until IS 'Until then nothing is begun, for it asked to be left alone (429 or the like, with Retry-After; 5 minutes at most); its messages stay with it. NULL: it did not.';
COMMENT ON COLUMN notify.stat_provider.latency IS 'Median of the last thousand answers or so, in ms, rounded up to a power of two; NULL: there was none.';

CREATE VIEW notify.stat_worker AS SELECT * FROM notify._workers();
COMMENT ON COLUMN notify.stat_worker.kind IS 'launcher (one a cluster), planner or dispatcher.';
COMMENT ON COLUMN notify.stat_worker.slot IS 'Which of its kind, from 0.';
COMMENT ON COLUMN notify.stat_worker.pid IS 'Its process; NULL when it is not running.';
COMMENT ON COLUMN notify.stat_worker.database IS 'pg_database.oid; NULL for the launcher.';
COMMENT ON COLUMN notify.stat_worker.state IS 'waiting (to be started), starting, running or exited.';
COMMENT ON COLUMN notify.stat_worker.started_at IS 'When it started; NULL when it is not running.';
COMMENT ON COLUMN notify.stat_worker.generation IS 'How often the slot was given out.';
COMMENT ON COLUMN notify.stat_worker.loops IS 'Rounds of its loop.';
COMMENT ON COLUMN notify.stat_worker.last_error IS 'The last error it logged; NULL: none.';
COMMENT ON COLUMN notify.stat_worker.planned IS 'Planner: messages decided on.';
COMMENT ON COLUMN notify.stat_worker.readied IS 'Planner: messages put into the queue.';
COMMENT ON COLUMN notify.stat_worker.claimed IS 'Dispatcher: messages taken from the queue.';
COMMENT ON COLUMN notify.stat_worker.sent IS 'Dispatcher: messages a provider took.';
COMMENT ON COLUMN notify.stat_worker.settled IS 'Dispatcher: answers recorded.';
COMMENT ON COLUMN notify.stat_worker.refused IS 'Dispatcher: answers that came too late, the message being another''s by then.';
COMMENT ON COLUMN notify.stat_worker.failed IS 'Dispatcher: answers other than success.';
COMMENT ON COLUMN notify.stat_worker.in_flight IS 'Dispatcher: transfers running now.';
COMMENT ON COLUMN notify.stat_worker.max_in_flight IS 'Dispatcher: how many it may run; less than notify_pg.max_in_flight when file descriptors are short.';
COMMENT ON COLUMN notify.stat_worker.claims IS 'Dispatcher: claims that took messages; claimed / claims is the batch.';
COMMENT ON COLUMN notify.stat_worker.settles IS 'Dispatcher: transactions that recorded answers.';
COMMENT ON COLUMN notify.stat_worker.plan_us IS 'Planner: microseconds spent planning, by the clock, commits included.';
COMMENT ON COLUMN notify.stat_worker.claim_us IS 'Dispatcher: microseconds spent claiming, by the clock, the commit apart.';
COMMENT ON COLUMN notify.stat_worker.settle_us IS 'Dispatcher: microseconds spent recording answers, by the clock, the commit apart.';
COMMENT ON COLUMN notify.stat_worker.commit_us IS 'Dispatcher: microseconds spent on the rest of those transactions: mostly waiting for their commit to be on disk.';
COMMENT ON COLUMN notify.stat_worker.render_us IS 'Dispatcher: microseconds spent filling templates, by the clock.';
COMMENT ON COLUMN notify.stat_worker.wire_us IS 'Dispatcher: microseconds spent on transfers, by the clock; waiting for the network is not in it.';
COMMENT ON COLUMN notify.stat_worker.last_error_at IS 'When last_error was logged.';
COMMENT ON VIEW notify.stat_worker IS 'The launcher and this database''s workers, cumulative since they started. Empty without shared_preload_libraries.';

-- What happened to a message after its decision, in order.
CREATE FUNCTION notify._explain_message(m notify.message)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify.id_time(m.id), 'decided', m.verdict, m.reason,
		   jsonb_strip_nulls(jsonb_build_object(
			   'message', m.id, 'rule', coalesce(v.name, 'send'), 'recipient', m.recipient, 'channel', m.channel,
			   'step', m.step, 'address', m.address, 'template', m.template, 'locale', w.locale, 'priority', m.priority,
			   'due_at', m.due_at, 'expires_at', m.expires_at, 'error', CASE WHEN m.reason LIKE 'budget%' THEN NULL ELSE m.detail END,
			   'budget', CASE WHEN m.reason LIKE 'budget%' THEN m.detail END,
			   'dedupe_key', m.dedupe_key, 'cancel_key', m.cancel_key, 'meaning', q.meaning))
	FROM (SELECT 1) AS one
	LEFT JOIN notify.rule_version v ON v.id = m.rule
	LEFT JOIN notify.template_version w ON w.id = m.template_version
	LEFT JOIN notify.reason q ON q.code = m.reason
	UNION ALL
	SELECT o.at, CASE WHEN o.attempt IS NULL AND o.class IS NOT NULL THEN 'receipt' WHEN o.attempt IS NULL THEN 'late decision' ELSE 'attempt ' || o.attempt END,
		   o.verdict, o.reason,
		   jsonb_strip_nulls(jsonb_build_object(
			   'message', o.message, 'provider', o.provider, 'class', o.class, 'code', o.code,
			   'answer', o.detail, 'reference', o.reference, 'next_at', o.next_at,
			   'latency_ms', o.latency, 'meaning', q.meaning))
	FROM notify.outcome o
	LEFT JOIN notify.reason q ON q.code = o.reason
	WHERE o.message = m.id
	UNION ALL
	SELECT NULL, 'waiting', CASE WHEN r.owner IS NULL THEN 'ready' ELSE 'sending' END, NULL,
		   jsonb_build_object('message', m.id, 'attempts', r.attempts, 'provider',
							  (SELECT p.name FROM notify.provider p WHERE p.id = r.lane / 4))
	FROM notify.ready r WHERE r.message = m.id
	UNION ALL
	SELECT s.due_at, 'waiting', 'scheduled', NULL,
		   CASE WHEN s.step = 0 THEN jsonb_build_object('message', m.id, 'attempts', s.attempts)
				ELSE coalesce(notify._step(m.rule, s.step), '{}') - 'after' || jsonb_build_object('step', s.step) END
	FROM notify.scheduled s WHERE s.message = m.id;
$$;

COMMENT ON FUNCTION notify._explain_message(notify.message) IS 'The steps of one message. Internal.';

-- The capture of an event and whether it is planned.
CREATE FUNCTION notify._explain_event(e notify.event)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT notify.id_time(e.id),
		   CASE e.op WHEN 'E' THEN 'emitted' WHEN 'S' THEN 'send' WHEN 'C' THEN 'cancel' WHEN 'T' THEN 'truncated' ELSE 'captured' END,
		   NULL, NULL,
		   jsonb_strip_nulls(jsonb_build_object(
			   'event', e.id, 'source', e.source::regclass::text, 'op', e.op, 'type', e.type, 'key', e.key,
			   'recipient', e.recipient, 'truncated', nullif(e.truncated, false), 'cancel_key', e.cancel_key,
			   'relation', e.instruction -> 'relation', 'replay_of', e.instruction -> 'replay_of',
			   'rules', (SELECT jsonb_agg(v.name ORDER BY r.n)
						 FROM unnest(e.rules) WITH ORDINALITY AS r (id, n)
						 JOIN notify.rule_version v ON v.id = r.id)))
	UNION ALL
	SELECT NULL, 'waiting', 'unplanned', NULL, jsonb_build_object('event', e.id)
	WHERE NOT EXISTS (SELECT FROM notify.message m WHERE m.event = e.id)
	  AND (NOT pg_visible_in_snapshot(e.xid, (notify._cursor()).snap)
		   OR EXISTS (SELECT FROM notify.backlog b WHERE b.xid = e.xid AND b.at_id < e.id AND b.audience IS NULL))
	UNION ALL
	SELECT NULL, 'waiting', 'unplanned', NULL, jsonb_build_object('event', e.id, 'people', count(*))
	FROM notify.audience a WHERE (a.candidate).event = e.id HAVING count(*) > 0;
$$;

COMMENT ON FUNCTION notify._explain_event(notify.event) IS 'The steps of one event before its messages. Internal.';

-- Events a person asks about, by id of the event or of one of its messages.
CREATE FUNCTION notify.explain(id bigint)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	WITH said AS MATERIALIZED (
		SELECT m FROM notify.message m WHERE m.id = explain.id OR m.event = explain.id
	), origin AS (
		SELECT DISTINCT (s.m).event_xid AS xid, (s.m).event AS id FROM said s
		UNION
		SELECT e.xid, e.id FROM notify.event e WHERE e.id = explain.id
	)
	SELECT x.* FROM (
		SELECT s.*, o.id AS event, 0::bigint AS message FROM origin o
		JOIN notify.event e ON e.xid = o.xid AND e.id = o.id
		CROSS JOIN LATERAL notify._explain_event(e) AS s
		UNION ALL
		SELECT s.*, (d.m).event, (d.m).id FROM said d
		CROSS JOIN LATERAL notify._explain_message(d.m) AS s
	) AS y
	CROSS JOIN LATERAL (SELECT y.at, y.step, y.verdict, y.reason, y.detail) AS x
	ORDER BY y.event, y.message, y.at NULLS LAST;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no event or message has id %', explain.id
			USING ERRCODE = 'no_data_found',
				  HINT = 'It may have been dropped after notify_pg.retention, or its transaction rolled back.';
	END IF;
END
$$;

COMMENT ON FUNCTION notify.explain(bigint) IS
'Why something was or was not sent, step by step, by the id of an event or a message. at NULL: where it stands now. P0002 when nothing has this id.';

CREATE FUNCTION notify.explain(relation regclass, key text)
RETURNS TABLE (at timestamptz, step text, verdict text, reason text, detail jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	SELECT x.at, x.step, x.verdict, x.reason, x.detail
	FROM (SELECT m.event AS id FROM notify.message m
		  WHERE left(m.key, 200) = left(explain.key, 200) AND m.key = explain.key AND m.source = relation
		  UNION
		  SELECT e.id FROM notify._cursor() AS c
		  JOIN notify.event e ON e.xid >= pg_snapshot_xmin(c.snap)
			AND e.id >= notify._low_id(pg_snapshot_xmin(c.snap))
		  WHERE e.key = explain.key AND e.source = relation) AS ids
	CROSS JOIN LATERAL notify.explain(ids.id) WITH ORDINALITY AS x (at, step, verdict, reason, detail, n)
	ORDER BY ids.id, x.n;
	IF NOT FOUND THEN
		RETURN QUERY
		SELECT NULL::timestamptz, 'not captured', NULL, NULL,
			   jsonb_build_object('key', key, 'attached', EXISTS (SELECT FROM notify.source s WHERE s.relation = explain.relation AND s.enabled),
				   'rules', (SELECT jsonb_object_agg(r.name, CASE WHEN r.enabled THEN coalesce(r.problem, r.condition, 'every row') ELSE 'off' END)
							 FROM notify.rule r WHERE r.source = explain.relation),
				   'meaning', 'No rule of this table wanted any change of this row, or its transactions did not commit, or it is older than notify_pg.retention.');
	END IF;
END
$$;

COMMENT ON FUNCTION notify.explain(regclass, text) IS
'Why something was or was not sent about a row, step by step. key: one column''s value, or the key columns'' values joined by |. Gives one row "not captured" when no rule wanted any change of it.';

-- What an operator should know, in words, worst first.
CREATE FUNCTION notify._problems() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(p.problem ORDER BY p.n, p.problem), '{}') FROM (
		SELECT 1 AS n, 'Nothing is sent: the library is not preloaded. Set shared_preload_libraries = ''notify_pg'' in postgresql.conf and restart the server.' AS problem
		WHERE NOT notify._preloaded()
		UNION ALL
		SELECT 1, 'Held, nothing is sent: ' || notify._held() || '.' WHERE notify._held() IS NOT NULL
		UNION ALL
		SELECT 2, 'No planner is running in this database' ||
			coalesce(': ' || (SELECT max(w.last_error) FROM notify._workers() w WHERE w.last_error <> ''), '') || '.'
		WHERE notify._preloaded() AND NOT EXISTS (SELECT FROM notify._workers() w WHERE w.kind = 'planner' AND w.pid IS NOT NULL)
		UNION ALL
		SELECT 3, format('%s of %s dispatchers are running in this database%s.', d.running, current_setting('notify_pg.dispatchers'),
						 coalesce(': ' || (SELECT max(w.last_error) FROM notify._workers() w WHERE w.last_error <> ''), ''))
		FROM (SELECT count(*) AS running FROM notify._workers() w WHERE w.kind = 'dispatcher' AND w.pid IS NOT NULL) AS d
		WHERE notify._preloaded() AND d.running < current_setting('notify_pg.dispatchers')::integer
		UNION ALL
		SELECT 4, format('%s %s, at %s: %s', w.kind, w.slot, to_char(w.last_error_at, 'HH24:MI:SS'), w.last_error)
		FROM notify._workers() w
		WHERE w.kind <> 'launcher' AND w.last_error_at > greatest(w.started_at, clock_timestamp() - interval '5 minutes')
		UNION ALL
		SELECT 5, format('provider %s: %s', p.name, p.problem) FROM notify.provider p WHERE p.problem IS NOT NULL
		UNION ALL
		SELECT 5, format('provider %s is left alone since %s: %s', s.provider, to_char(s.open_since, 'HH24:MI:SS'), s.why)
		FROM notify.stat_provider s WHERE s.enabled AND s.open_since IS NOT NULL AND s.problem IS NULL
		UNION ALL
		SELECT 6, format('provider %s: %s reports about messages that are not known were dropped to make room, the last at %s; see notify.receipt_dropped.',
						 d.provider, d.count, to_char(d.last_at, 'HH24:MI:SS'))
		FROM notify.receipt_dropped d WHERE d.last_at > clock_timestamp() - interval '1 hour'
		UNION ALL
		SELECT 6, format('rule %s: %s', r.name, r.problem) FROM notify.rule r WHERE r.problem IS NOT NULL
		UNION ALL
		SELECT 7, format('source %s: %s', s.relation, s.problem) FROM notify.source s WHERE s.problem IS NOT NULL
		UNION ALL
		SELECT 7, o.line FROM notify._word_obstacles() AS o
		UNION ALL
		SELECT 8, b.line FROM notify._budget_problems() AS b
		UNION ALL
		SELECT 8, format('users table %s: %s', s.relation, s.problem) FROM notify.recipient_source s WHERE s.problem IS NOT NULL
		UNION ALL
		SELECT 9, format('%s values of people could not be taken over; see notify.recipient_problem.', count(*))
		FROM notify.recipient_problem HAVING count(*) > 0
		UNION ALL
		SELECT 7, format('source %s: the table does not exist any more; SELECT notify.detach(%s)', s.relation, s.relation)
		FROM notify.source s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.relation)
	) AS p;
$$;

COMMENT ON FUNCTION notify._problems() IS 'What is wrong, in words. Internal.';

CREATE FUNCTION notify.status(OUT state text, OUT problems text[], OUT unplanned bigint, OUT ready bigint,
							  OUT sending bigint, OUT scheduled bigint, OUT oldest_ready interval,
							  OUT failed_last_hour bigint, OUT planner integer, OUT dispatchers integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	problems := notify._problems();
	unplanned := notify._unplanned();
	SELECT count(*) FILTER (WHERE r.owner IS NULL), count(*) FILTER (WHERE r.owner IS NOT NULL),
		   clock_timestamp() - notify.id_time(min(r.message))
	INTO ready, sending, oldest_ready FROM notify.ready r;
	SELECT count(*) INTO scheduled FROM notify.scheduled s;
	SELECT count(*) INTO failed_last_hour FROM notify.outcome o
	WHERE o.at > clock_timestamp() - interval '1 hour' AND o.verdict IN ('failed', 'dead', 'expired')
	  AND o.message >= notify.time_id(clock_timestamp() - interval '4 days');
	SELECT max(w.pid) FILTER (WHERE w.kind = 'planner'), count(w.pid) FILTER (WHERE w.kind = 'dispatcher')
	INTO planner, dispatchers FROM notify._workers() w;
	state := CASE WHEN planner IS NULL OR dispatchers = 0 THEN 'stopped'
				  WHEN notify._held() IS NOT NULL THEN 'held'
				  WHEN cardinality(problems) > 0 THEN 'degraded' ELSE 'ok' END;
END
$$;

COMMENT ON FUNCTION notify.status() IS
'How things are, in one row. state: ok, degraded (see problems), held (notify.arm() lets it send) or stopped (no workers). unplanned: events waiting for the planner, counted to 100,000, and people of large audiences. oldest_ready: how long the oldest due message has waited. planner: its process id, NULL when none runs.';
