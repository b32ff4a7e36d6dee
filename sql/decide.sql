/*
 * decide.sql
 *		From candidates to decisions, without a side effect.
 *
 * A candidate is "this rule (or send) wants to tell this person something"; a
 * decision is a message to be, with its verdict. decide() is the only place
 * that decides: the planner writes what it says (plan.sql), and simulation
 * and explanation call the same function.
 */
CREATE TYPE notify.candidate AS (
	event		bigint,
	event_xid	xid8,
	source		oid,
	key			text,
	rule		bigint,
	rule_id		bigint,
	recipient	text,
	template	text,
	category	text,
	channels	text[],
	priority	integer,
	due_at		timestamptz,
	expires		interval,
	dedupe_key	text,
	cancel_key	text,
	context		jsonb,
	reason		text,
	detail		text,
	step		integer
);

COMMENT ON TYPE notify.candidate IS
'What decide() takes: a rule version (or a send) that wants to tell a recipient of an event. reason is set when it is already known why not; step, which step of an escalation it is, when its rule has steps.';

CREATE TYPE notify.decision AS (
	event		bigint,
	event_xid	xid8,
	source		oid,
	key			text,
	rule		bigint,
	rule_id		bigint,
	recipient	text,
	template	text,
	category	text,
	channel		text,
	address		text,
	provider	integer,
	priority	smallint,
	template_version bigint,
	verdict		text,
	reason		text,
	detail		text,
	due_at		timestamptz,
	expires_at	timestamptz,
	dedupe_key	text,
	cancel_key	text,
	context		jsonb,
	step		integer
);

COMMENT ON TYPE notify.decision IS 'What decide() gives: a row of notify.message to be, and the provider it would go to.';

-- The key a rule's dedupe_key takes in notify.idempotency.
CREATE FUNCTION notify._dedupe_key(rule_id bigint, recipient text, dedupe_key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'rule/' || rule_id::text || '/' || recipient || '/' || dedupe_key;

COMMENT ON FUNCTION notify._dedupe_key(bigint, text, text) IS 'A dedupe key''s row in notify.idempotency; NULL when any part is. Internal.';

-- The cancel_key that notify.cancel() of an event writes.
CREATE FUNCTION notify._event_cancel_key(event bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'notify:event:' || event::text;

COMMENT ON FUNCTION notify._event_cancel_key(bigint) IS 'What cancel(event) writes into event.cancel_key. Internal.';

CREATE FUNCTION notify._any_cancels(since bigint) RETURNS boolean
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'notify_any_cancels';

COMMENT ON FUNCTION notify._any_cancels(bigint) IS
'False when there is no cancelling event as new as this one, by UTC days: then none need be looked for. Internal.';

/*
 * The cancelling events newer than "since" with one of these keys, as parallel
 * arrays; NULL when there are none, as there mostly are.
 */
CREATE FUNCTION notify._find_cancels(keys text[], since bigint, OUT cancelled text[], OUT cancels bigint[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
	SELECT array_agg(e.cancel_key), array_agg(e.id) INTO cancelled, cancels
	FROM notify.event e
	WHERE e.cancel_key = ANY (keys) AND e.id > since
	  -- cancel()'s own keys are not for rules to make
	  AND (e.op = 'C') = (e.cancel_key LIKE 'notify:event:%');
END
$$;

COMMENT ON FUNCTION notify._find_cancels(text[], bigint) IS
'Cancelling events with one of these keys and a higher id. Internal.';

CREATE FUNCTION notify.decide(candidates notify.candidate[], budgets boolean DEFAULT true) RETURNS SETOF notify.decision
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	at timestamptz := notify.now();
	cancelled text[];
	cancels bigint[];
	repeats bigint[] := '{}';
	refusals boolean := EXISTS (SELECT FROM notify.preference) OR EXISTS (SELECT FROM notify.suppression);
BEGIN
	IF budgets AND EXISTS (SELECT FROM notify.budget) THEN
		RETURN QUERY SELECT * FROM notify._within_budgets(ARRAY(SELECT d FROM notify.decide(candidates, false) AS d));
		RETURN;
	END IF;
	-- Of those that may be sent, the later ones with one key; mostly nobody has any.
	IF EXISTS (SELECT FROM unnest(candidates) AS u WHERE u.dedupe_key IS NOT NULL) THEN
		repeats := ARRAY(SELECT w.n
						 FROM (SELECT u.n, count(*) FILTER (WHERE u.reason IS NULL)
									OVER (PARTITION BY u.rule_id, u.recipient, u.dedupe_key ORDER BY u.event, u.n) AS seen
							   FROM unnest(candidates) WITH ORDINALITY AS u
									(event, event_xid, source, key, rule, rule_id, recipient, template, category, channels,
									 priority, due_at, expires, dedupe_key, cancel_key, context, reason, detail, step, n)
							   WHERE u.dedupe_key IS NOT NULL) AS w
						 WHERE w.seen > 1);
	END IF;
	IF notify._any_cancels((SELECT min(u.event) FROM unnest(candidates) AS u)) THEN
		SELECT f.cancelled, f.cancels INTO cancelled, cancels
		FROM (SELECT array_agg(k.key) AS keys, min(u.event) AS since
			  FROM unnest(candidates) AS u
			  CROSS JOIN LATERAL (VALUES (u.cancel_key), (notify._event_cancel_key(u.event))) AS k (key)
			  WHERE k.key IS NOT NULL) AS k
		CROSS JOIN LATERAL notify._find_cancels(k.keys, k.since) AS f;
	END IF;
	RETURN QUERY
	WITH person AS MATERIALIZED (
		SELECT u.*, notify._locale_chain(r.locale) AS chain, k.class, k.ttl,
			   coalesce(u.channels, k.channels) AS use_channels,
			   jsonb_build_object('recipient', CASE WHEN r.id IS NOT NULL THEN jsonb_build_object(
				   'id', r.id, 'name', r.name, 'locale', r.locale, 'time_zone', r.time_zone,
				   'attributes', r.attributes) END) AS snapshot,
			   CASE
				   WHEN u.reason IS NOT NULL THEN u.reason
				   WHEN u.recipient IS NULL THEN 'no_recipient'
				   WHEN r.id IS NULL THEN 'unknown_recipient'
				   WHEN cancelled IS NOT NULL AND EXISTS (
						SELECT FROM unnest(cancelled, cancels) AS x (key, id)
						WHERE x.key IN (u.cancel_key, notify._event_cancel_key(u.event)) AND x.id > u.event)
						THEN 'cancelled'
				   WHEN u.dedupe_key IS NOT NULL AND (
						EXISTS (SELECT FROM notify.idempotency i
								WHERE i.key = notify._dedupe_key(u.rule_id, u.recipient, u.dedupe_key)
								  AND i.event <> u.event)
						OR u.n = ANY (repeats))
						THEN 'duplicate'
				   WHEN cardinality(coalesce(u.channels, k.channels, '{}')) = 0 THEN 'no_channel'
			   END AS stop
		FROM unnest(candidates) WITH ORDINALITY AS u
				(event, event_xid, source, key, rule, rule_id, recipient, template, category, channels,
				 priority, due_at, expires, dedupe_key, cancel_key, context, reason, detail, step, n)
		LEFT JOIN notify.recipient r ON r.id = u.recipient
		LEFT JOIN notify.category k ON k.name = u.category
	)
	SELECT d.event, d.event_xid, d.source, d.key, d.rule, d.rule_id, d.recipient, d.template,
		   d.category, d.channel, d.address, d.provider, d.priority::smallint, d.template_version,
		   CASE WHEN d.why IS NULL THEN 'send' WHEN d.why = 'cancelled' THEN 'cancelled'
				WHEN d.why = ANY (ARRAY['unsubscribed', 'complained', 'stopped', 'blocked']) THEN 'suppressed' ELSE 'skipped' END,
		   d.why, d.detail, d.due_at, greatest(d.due_at, at) + coalesce(d.expires, d.ttl, '3 days'),
		   d.dedupe_key, d.cancel_key, coalesce(d.context, '{}') || d.snapshot, d.step
	FROM (
		SELECT c.event, c.event_xid, c.source, c.key, c.rule, c.rule_id, c.recipient, c.template,
			   c.category, ch.channel,
			   CASE WHEN p.weights IS NULL THEN p.provider
					ELSE notify._choose(p.choices, p.weights, p.costs, c.event, c.recipient, c.category) END AS provider,
			   t.version AS template_version,
			   CASE WHEN ch.channel <> 'inbox' THEN a.address END AS address,
			   coalesce(c.priority, CASE c.class WHEN 'critical' THEN 0 WHEN 'transactional' THEN 1 ELSE 3 END) AS priority,
			   c.due_at, c.expires, c.ttl, c.dedupe_key, c.cancel_key, c.context, c.snapshot, c.detail, c.step, c.n,
			   CASE
				   WHEN c.stop IS NOT NULL THEN c.stop
				   WHEN p.provider IS NULL THEN 'no_provider'
				   WHEN ch.channel <> 'inbox' AND a.address IS NULL AND NOT p.has_url THEN 'no_address'
				   WHEN a.state = 'invalid' THEN 'address_invalid'
				   WHEN t.version IS NULL AND ch.channel <> 'webhook' THEN 'no_template'
				   WHEN refusals THEN notify._refusal(c.recipient, c.category, ch.channel, a.address)
			   END AS why
		FROM person AS c
		LEFT JOIN LATERAL (SELECT DISTINCT x AS channel FROM unnest(c.use_channels) AS x
						   WHERE c.stop IS NULL) AS ch ON true
		LEFT JOIN notify._serving p ON p.channel = ch.channel
		LEFT JOIN LATERAL (SELECT b.address, b.state FROM notify.address b
						   WHERE b.recipient = c.recipient AND b.channel = ch.channel
						   ORDER BY b.state, b.verified_at IS NULL, b.created_at, b.address
						   LIMIT 1) AS a ON ch.channel IS NOT NULL
		LEFT JOIN LATERAL (SELECT w.version FROM notify.template w
						   WHERE w.name = c.template AND w.channel = ch.channel AND w.weight > 0
							 AND lower(w.locale) = ANY (c.chain)
						   ORDER BY array_position(c.chain, lower(w.locale)),
									-ln(((hashtextextended(c.recipient || '/' || w.name || '/' || w.variant, 0)
										  & 2147483647) + 1)::double precision / 2147483649) / w.weight
						   LIMIT 1) AS t ON ch.channel IS NOT NULL
	) AS d
	ORDER BY d.event, d.n;		-- who is told of two things is told of the earlier one first
END
$$;

COMMENT ON FUNCTION notify.decide(notify.candidate[], boolean) IS
'What would become of these candidates now: one row per recipient and channel, or one without a channel when it stops earlier. budgets false: as if there were no notify.budget. No side effect.';
