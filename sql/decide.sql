/*
 * decide.sql
 *		From candidates to decisions, without a side effect.
 *
 * A candidate is "this rule (or send) wants to tell this person something"; a
 * decision is a message to be, with its verdict. decide() is the only place
 * that decides (src/plan/decide.c, and budget.sql when there are budgets): the
 * planner writes what it says (src/plan/apply.c), and simulation and explanation
 * call the same function.
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
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_dedupe_key';

COMMENT ON FUNCTION notify._dedupe_key(bigint, text, text) IS 'A dedupe key''s row in notify.idempotency; NULL when any part is. Internal.';

-- The cancel_key that notify.cancel() of an event writes.
CREATE FUNCTION notify._event_cancel_key(event bigint) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notify_event_cancel_key';

COMMENT ON FUNCTION notify._event_cancel_key(bigint) IS 'What cancel(event) writes into event.cancel_key. Internal.';

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

-- src/plan/decide.c
CREATE FUNCTION notify._decide(candidates notify.candidate[]) RETURNS SETOF notify.decision
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'notify_decide';

COMMENT ON FUNCTION notify._decide(notify.candidate[]) IS 'decide() as if there were no budgets. Internal.';

CREATE FUNCTION notify.decide(candidates notify.candidate[]) RETURNS SETOF notify.decision
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
	IF EXISTS (SELECT FROM notify.budget) THEN
		RETURN QUERY SELECT * FROM notify._within_budgets(ARRAY(SELECT d FROM notify._decide(candidates) AS d));
	ELSE
		RETURN QUERY SELECT * FROM notify._decide(candidates);
	END IF;
END
$$;

COMMENT ON FUNCTION notify.decide(notify.candidate[]) IS
'What would become of these candidates now: one row per recipient and channel, or one without a channel when it stops earlier. No side effect.';
