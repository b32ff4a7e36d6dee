/*
 * step.sql
 *		Escalation: what a rule does when its first message was not enough.
 *
 * rule_step is edited as rows; a rule's version holds a copy (rule_version.steps),
 * so an event keeps the steps it matched. Saving steps is saving the rule: the
 * trigger here touches each rule whose rows differ from its version's copy, and
 * _check_rule() checks them and gives the rule its next version.
 *
 * Only one step of an escalation waits at a time: a row of notify.scheduled with
 * step > 0, whose message is any message of the step before, for event, rule and
 * person are found from it. When it is due it is a candidate like any other
 * (_step_candidates) and decide() decides it; what became of it is a message with
 * its step, and the next step is scheduled with it (_apply).
 */
CREATE TABLE notify.rule_step (
	rule		text REFERENCES notify.rule ON UPDATE CASCADE ON DELETE CASCADE,
	step		integer,
	channels	text[] NOT NULL,
	after		interval,
	unless		text[],
	PRIMARY KEY (rule, step)
);

COMMENT ON TABLE notify.rule_step IS
'What follows a rule''s first message: push now, SMS in 30 minutes unless seen. Step 1 is what rule.channels and rule.delay say; rows begin with step 2, or with a step 1 that names the channels instead of rule.channels (naming them in both is refused). Saving steps makes a new version of the rule: events captured before keep the steps they matched. A step is decided when it is due, as if the event were planned then: by the addresses, templates and preferences of that time, and with reason rule_off when the rule was switched off or deleted meanwhile. What cancels a message of the rule (cancel_key, notify.cancel()) cancels the steps that follow. Each step that came due is a row of notify.message, sent or not.';
COMMENT ON COLUMN notify.rule_step.rule IS 'notify.rule.name.';
COMMENT ON COLUMN notify.rule_step.step IS 'From 1 or 2 on, without gaps.';
COMMENT ON COLUMN notify.rule_step.channels IS 'Channels, all at once. The rule''s template needs words for each.';
COMMENT ON COLUMN notify.rule_step.after IS 'This long after the step before it was due, or was decided if that was later. Required from step 2 on; not for step 1, which rule.delay delays.';
COMMENT ON COLUMN notify.rule_step.unless IS 'The step is skipped when, for this event and person, a message of an earlier step was: seen, its inbox item is marked as read (inbox.read_at; an earlier step must have the inbox); delivered, its provider reported so (an inbox item is delivered as soon as it is there). Looked at when the step is due and again before it is sent. clicked is refused: nothing records clicks. NULL: it is sent whatever became of them.';

INSERT INTO notify.reason (code, verdict, meaning) VALUES
	('step_seen', 'skipped', 'The person has read an earlier step''s message in the inbox: rule_step.unless.'),
	('step_delivered', 'skipped', 'An earlier step''s message was delivered: rule_step.unless.')
ON CONFLICT (code) DO UPDATE SET verdict = excluded.verdict, meaning = excluded.meaning;

/*
 * A rule's steps as its version keeps them; NULL: none. By the rule's id, for a
 * rule that is being renamed has its steps under its old name until the foreign
 * key moved them.
 */
CREATE FUNCTION notify._steps(rule bigint) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET intervalstyle = iso_8601
AS $$
	SELECT jsonb_agg(jsonb_build_object('step', s.step, 'channels', s.channels, 'after', s.after, 'unless', s.unless) ORDER BY s.step)
	FROM notify.rule r JOIN notify.rule_step s ON s.rule = r.name
	WHERE r.id = _steps.rule;
$$;

COMMENT ON FUNCTION notify._steps(bigint) IS 'A rule''s rows of notify.rule_step; NULL: none. Internal.';

-- Raises unless a step can happen, given the channels of those before it.
CREATE FUNCTION notify._check_step(r notify.rule, s notify.rule_step, earlier text[]) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word text;
BEGIN
	IF s.step = 1 AND (s.after > '0' OR cardinality(s.unless) > 0) THEN
		RAISE EXCEPTION 'step 1 of rule "%" is sent at once and whatever happens', r.name
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'rule.delay delays a rule; after and unless are for the steps that follow.';
	ELSIF s.step > 1 AND s.after IS NULL OR s.after < '0' OR NOT isfinite(s.after) THEN
		RAISE EXCEPTION 'step % of rule "%" does not say how long after step % it comes', s.step, r.name, s.step - 1
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = format('after is %s.', coalesce(s.after::text, 'NULL')),
				  HINT = 'Give "after" an interval that is not negative, such as 30 minutes.';
	ELSIF cardinality(s.channels) = 0 THEN
		RAISE EXCEPTION 'step % of rule "%" names no channel', s.step, r.name
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOREACH word IN ARRAY s.channels
	LOOP
		PERFORM notify._check_channel(word);
		IF word <> 'webhook' AND NOT EXISTS (SELECT FROM notify.template t WHERE t.name = r.template AND t.channel = word) THEN
			RAISE EXCEPTION 'template "%" has no words for channel "%" of step % of rule "%"', r.template, word, s.step, r.name
				USING ERRCODE = 'foreign_key_violation',
					  HINT = 'Insert them into notify.template first.';
		END IF;
	END LOOP;
	FOREACH word IN ARRAY coalesce(s.unless, '{}')
	LOOP
		IF word = 'seen' AND NOT 'inbox' = ANY (earlier) THEN
			RAISE EXCEPTION 'nothing before step % of rule "%" can be seen', s.step, r.name
				USING ERRCODE = 'invalid_parameter_value',
					  DETAIL = 'A message is known to be seen when its item in the inbox is marked as read.',
					  HINT = 'Add inbox to the channels of an earlier step.';
		ELSIF word IS NULL OR word NOT IN ('seen', 'delivered') THEN
			RAISE EXCEPTION 'step % of rule "%" cannot depend on "%"', s.step, r.name, word
				USING ERRCODE = 'invalid_parameter_value',
					  DETAIL = CASE word WHEN 'clicked' THEN 'Nothing records clicks.' ELSE 'No such thing is known of a message.' END,
					  HINT = 'unless holds any of seen, delivered.';
		END IF;
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._check_step(notify.rule, notify.rule_step, text[]) IS
'Raises what is wrong with a step. Internal.';

-- Raises unless a rule's steps fit it and each other.
CREATE FUNCTION notify._check_steps(r notify.rule) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s notify.rule_step;
	last integer := 1;
	earlier text[] := coalesce(r.channels, (SELECT c.channels FROM notify.category c WHERE c.name = r.category));
BEGIN
	FOR s IN SELECT x.* FROM notify.rule o JOIN notify.rule_step x ON x.rule = o.name
			 WHERE o.id = r.id ORDER BY x.step
	LOOP
		IF r.action <> 'notify' THEN
			RAISE EXCEPTION 'cancel rule "%" cannot have steps', r.name
				USING ERRCODE = 'invalid_parameter_value';
		ELSIF s.step = 1 AND r.channels IS NOT NULL THEN
			RAISE EXCEPTION 'rule "%" names the channels of step 1 twice', r.name
				USING ERRCODE = 'invalid_parameter_value',
					  DETAIL = format('rule.channels is %s, and there is a row of notify.rule_step for step 1.', r.channels),
					  HINT = 'rule.channels is short for step 1: set it to NULL, or delete that row.';
		ELSIF s.step NOT IN (1, last + 1) THEN
			RAISE EXCEPTION 'rule "%" has a step % but no step %', r.name, s.step, CASE WHEN s.step < 1 THEN 1 ELSE last + 1 END
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'Number steps without gaps; step 1 may be left to rule.channels.';
		END IF;
		PERFORM notify._check_step(r, s, earlier);
		earlier := CASE WHEN s.step > 1 THEN earlier END || s.channels;
		last := s.step;
	END LOOP;
END
$$;

COMMENT ON FUNCTION notify._check_steps(notify.rule) IS
'Raises what is wrong with a rule''s rows of notify.rule_step. Internal.';

/*
 * A superuser's restore brought the versions with their steps before. Anyone
 * else's made versions of its own, without steps, and gets others now.
 */
CREATE FUNCTION notify._save_steps() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT (notify._restoring() AND notify._is_superuser()) THEN
		UPDATE notify.rule r SET version = r.version
		FROM notify.rule_version v
		WHERE v.id = r.version AND v.steps IS DISTINCT FROM notify._steps(r.id);
	END IF;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._save_steps() IS
'Has each rule whose steps changed checked, and given a new version. Internal.';

CREATE TRIGGER rule_step_save AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON notify.rule_step
	FOR EACH STATEMENT EXECUTE FUNCTION notify._save_steps();

-- The part of a version's steps that is one step; NULL when there is no such step.
CREATE FUNCTION notify._step(version bigint, step integer) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_path_query_first(v.steps, '$[*] ? (@.step == $n)', jsonb_build_object('n', _step.step), true)
	FROM notify.rule_version v WHERE v.id = _step.version;
$$;

COMMENT ON FUNCTION notify._step(bigint, integer) IS 'A step of a rule version; NULL when it has no such step. Internal.';

/*
 * Whether what a step is to be left out for has happened: gives the reason.
 * message is any message of the escalation; earlier ones are those with a lower
 * step. Ids are bounded by a day before the event, for the clock may have been set back.
 */
CREATE FUNCTION notify._step_stop(message bigint, version bigint, step integer) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
	unless jsonb := notify._step(version, step) -> 'unless';
	m notify.message;
	earlier bigint[];
BEGIN
	IF jsonb_typeof(unless) IS DISTINCT FROM 'array' OR unless = '[]' THEN
		RETURN NULL;
	END IF;
	SELECT * INTO m FROM notify.message x WHERE x.id = _step_stop.message;
	earlier := ARRAY(SELECT e.id FROM notify.message e
					 WHERE e.event = m.event AND e.id >= notify.time_id(notify.id_time(m.event) - interval '1 day')
					   AND e.rule = m.rule AND e.step < _step_stop.step AND e.verdict = 'send'
					   AND (e.recipient = m.recipient
							OR notify._person_now(e.recipient, e.event) = notify._person_now(m.recipient, m.event)));
	IF unless ? 'seen' AND EXISTS (SELECT FROM notify.inbox i WHERE i.message = ANY (earlier) AND i.read_at IS NOT NULL) THEN
		RETURN 'step_seen';
	ELSIF unless ? 'delivered' AND EXISTS (
			SELECT FROM unnest(earlier) AS e (id)
			WHERE (SELECT o.verdict FROM notify.outcome o WHERE o.message = e.id
				   ORDER BY o.at DESC, o.attempt DESC NULLS LAST LIMIT 1) = 'delivered') THEN
		RETURN 'step_delivered';
	END IF;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION notify._step_stop(bigint, bigint, integer) IS
'Why a step is not wanted any more: step_seen or step_delivered; NULL: it is. Internal.';

-- What these rows of notify.scheduled, steps that are due, ask for.
CREATE FUNCTION notify._step_candidates(due notify.scheduled[]) RETURNS notify.candidate[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
	RETURN (
		SELECT array_agg(ROW (m.event, m.event_xid, m.source, m.key, v.id, v.rule, m.recipient, v.template, v.category,
							  ARRAY(SELECT c #>> '{}' FROM jsonb_path_query(notify._step(v.id, s.step), '$.channels[*]') AS c),
							  v.priority, s.due_at, v.expires, m.dedupe_key, m.cancel_key, m.context - 'recipient',
							  CASE WHEN NOT EXISTS (SELECT FROM notify.rule r WHERE r.id = v.rule AND r.enabled) THEN 'rule_off'
								   ELSE notify._step_stop(m.id, v.id, s.step) END,
							  NULL, s.step)::notify.candidate ORDER BY s.due_at, s.message)
		FROM unnest(due) AS s
		JOIN notify.message m ON m.id = s.message
		JOIN notify.rule_version v ON v.id = m.rule);
END
$$;

COMMENT ON FUNCTION notify._step_candidates(notify.scheduled[]) IS
'Candidates of steps that have come due, with the reason where it is known already that they are not sent. Internal.';

-- Steps that waited and were taken out of notify.scheduled are decided: cancelled.
CREATE FUNCTION notify._cancel_steps(steps notify.scheduled[], detail text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO notify.message (id, event, event_xid, source, key, rule, recipient, category, priority, template,
								verdict, reason, detail, due_at, dedupe_key, cancel_key, step)
	SELECT notify._next_id(), m.event, m.event_xid, m.source, m.key, m.rule, m.recipient, m.category, m.priority, m.template,
		   'cancelled', 'cancelled', left(_cancel_steps.detail, 500), s.due_at, m.dedupe_key, m.cancel_key, s.step
	FROM unnest(steps) AS s
	JOIN notify.message m ON m.id = s.message;
$$;

COMMENT ON FUNCTION notify._cancel_steps(notify.scheduled[], text) IS
'Writes the decisions of steps that are cancelled before they are due. Internal.';
