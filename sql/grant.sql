/*
 * grant.sql
 *		Who may do what, in one place, and what pg_dump takes along.
 *
 * notify_admin	configures; notify_app emits, sends and reads inboxes;
 * notify_report reads; notify_worker is the background workers' role.
 * A trigger fires without any grant, so nothing is granted to PUBLIC but the row
 * triggers' functions: PostgreSQL asks that of whoever makes or attaches a
 * partition of a table that has the triggers. Without USAGE on the schema nobody
 * can name them, and on a table that is not attached they do nothing. Functions
 * are granted by name, so that what is added later is nobody's until it is listed.
 */
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notify.capture(), notify._sync_recipient() TO PUBLIC;
GRANT USAGE ON SCHEMA notify TO notify_admin, notify_app, notify_report, notify_worker;

-- Configuration and people
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.source, notify.category, notify.rule, notify.template,
	notify.partial, notify.preset, notify.provider, notify.recipient, notify.address,
	notify.preference, notify.suppression, notify.rule_step, notify.budget, notify.attachment TO notify_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.recipient_source, notify.recipient_problem TO notify_admin;
GRANT SELECT ON notify.recipient_former, notify.erasure TO notify_admin;
GRANT INSERT, UPDATE, DELETE ON notify.secret TO notify_admin;
GRANT SELECT (name) ON notify.secret TO notify_admin;
GRANT SELECT ON notify.rule_version, notify.template_version, notify.partial_version, notify.reason TO notify_admin;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO notify_admin;
GRANT EXECUTE ON FUNCTION notify.attach(regclass, text, text[], text[]), notify.detach(regclass),
	notify.attach_recipients(regclass, text, text, text, text, jsonb, text[]), notify.detach_recipients(regclass),
	notify.erase_recipient(text), notify.export_recipient(text),
	notify.emit(text, text, jsonb, text), notify.send(text, text, jsonb, text, text[], text, timestamptz),
	notify.cancel(bigint, text), notify.redrive(timestamptz, timestamptz, text, text),
	notify.replay(text, timestamptz, timestamptz), notify.arm(), notify.hold(text), notify.render(text, jsonb, text, jsonb), notify.sms_length(text), notify.preview(text, jsonb, text), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify.status(), notify.explain(bigint), notify.explain(regclass, text), notify.content(bigint),
	notify._workers(), notify._preloaded(), notify._gates(), notify._period_start(text, text, timestamptz) TO notify_admin;
-- What the checks behind a save call with the saver's own rights
GRANT EXECUTE ON FUNCTION notify._check_channel(text), notify._saver(regrole, regrole, boolean),
	notify._is_superuser(), notify._primary_key(regclass), notify._check_columns(regclass, text[], text[]),
	notify._tree(regclass), notify._source_of(oid), notify._put_triggers(regclass), notify._drop_triggers(regclass),
	notify._drop_own_triggers(regclass, oid),
	notify._check_expression(regclass, text, text, regrole, text),
	notify._check_query(regclass, text, text, regrole, text),
	notify._check_rule_parts(notify.rule), notify._check_rule_sql(notify.rule),
	notify._steps(bigint), notify._check_steps(notify.rule), notify._check_step(notify.rule, notify.rule_step, text[]),
	notify._check_template_part(text, text), notify._check_liquid(text), notify._liquid_partials(text),
	notify._template_sources(notify.template), notify._strings(jsonb), notify._bind_partials(text[]),
	notify._check_attachments(notify.template, jsonb),
	notify._check_provider(jsonb, jsonb), notify._check_preset(jsonb), notify._check_receipt(notify.preset), notify._in_script(), notify._missing_secrets(jsonb), notify._check_address(text, text) TO notify_admin;
-- What attach_recipients() does with the attacher's own rights
GRANT EXECUTE ON FUNCTION notify._recipient_columns(notify.recipient_source),
	notify._check_recipient_column(regclass, text, text), notify._check_recipient_key(regclass, text),
	notify._check_recipient_mapping(notify.recipient_source), notify._backfill_recipients(notify.recipient_source),
	notify._put_recipient_triggers(regclass), notify._drop_recipient_triggers(), notify._recipient_source_of(oid),
	notify._save_people(notify.recipient_source, jsonb[], jsonb[]),
	notify._address_problem(text, text), notify._time_zone_problem(text) TO notify_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.recipient, notify.address, notify.preference, notify.suppression TO notify_app;
GRANT EXECUTE ON FUNCTION notify.unsubscribe(text), notify.unsubscribe_token(text, text), notify.address_hash(text),
	notify.receipt(text, bytea, jsonb), notify.receipt(text, text, jsonb)
	TO notify_app, notify_admin;
GRANT SELECT, UPDATE, DELETE ON notify.inbox TO notify_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.attachment TO notify_app;
GRANT EXECUTE ON FUNCTION notify._attachment_fault(notify.attachment) TO notify_app, notify_admin;
GRANT EXECUTE ON FUNCTION notify.emit(text, text, jsonb, text),
	notify.send(text, text, jsonb, text, text[], text, timestamptz),
	notify.cancel(bigint, text), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify._check_channel(text),
	notify._check_address(text, text) TO notify_app;

-- Logs and reports
GRANT SELECT ON notify.event, notify.message, notify.outcome, notify.ready, notify.scheduled, notify.inbox,
	notify.idempotency, notify.delivery, notify.failure, notify.delivery_report, notify.stat_queue,
	notify.stat_worker, notify.stat_provider, notify.stat_budget, notify.budget, notify.spent, notify.reason, notify.category, notify.rule, notify.rule_step, notify.source TO notify_report, notify_admin;
GRANT EXECUTE ON FUNCTION notify.status(), notify.explain(bigint), notify.explain(regclass, text),
	notify.content(bigint), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify._workers(), notify._preloaded(), notify._gates(), notify._period_start(text, text, timestamptz) TO notify_report;

GRANT SELECT ON notify.recipient_source, notify.recipient_problem, notify.erasure TO notify_report;
GRANT SELECT ON notify.receipt_waiting, notify.receipt_dropped, notify.unclassified TO notify_report, notify_admin;
GRANT DELETE ON notify.receipt_dropped, notify.unclassified TO notify_admin;
GRANT SELECT, INSERT, UPDATE ON notify.unclassified TO notify_worker;
GRANT EXECUTE ON FUNCTION notify._count_unclassified(text, text, bigint, text) TO notify_worker;

-- What dumping and restoring takes, of an owner who is no superuser too
GRANT SELECT, UPDATE ON SEQUENCE notify.rule_id_seq, notify.rule_version_id_seq, notify.template_version_id_seq,
	notify.partial_version_id_seq, notify.provider_id_seq, notify.budget_id_seq, notify.budget_counter_seq TO notify_admin;
GRANT INSERT ON notify.rule_version, notify.template_version, notify.partial_version, notify.origin TO notify_admin;
GRANT EXECUTE ON FUNCTION notify._restoring(), notify._is_orphan(regrole) TO notify_admin, notify_app, notify_worker;
GRANT EXECUTE ON FUNCTION notify._address_fault(text, text) TO notify_admin, notify_app;
GRANT EXECUTE ON FUNCTION notify._recheck_all(), notify._recheck_triggers() TO notify_worker;
GRANT EXECUTE ON FUNCTION notify._take_over(notify.source), notify._take_over(notify.rule), notify._check_version(),
	notify._check_watcher(notify.rule), notify._check_source_sql(notify.source), notify._check_words(notify.template),
	notify._words_fault(notify.template), notify._check_provider_settings(notify.provider),
	notify._provider_fault(notify.provider) TO notify_admin;

-- Workers
GRANT SELECT ON notify.event, notify.rule_version, notify.template_version, notify.partial_version, notify.template, notify.category,
	notify.recipient, notify.secret, notify.source, notify.rule, notify.preset, notify.erasure TO notify_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.message, notify.outcome, notify.ready, notify.scheduled,
	notify.idempotency, notify.inbox, notify.cursor, notify.backlog, notify.audience, notify.mark TO notify_worker;
GRANT SELECT, UPDATE ON notify.address, notify.provider, notify.rule TO notify_worker;
GRANT SELECT ON notify.recipient_former TO notify_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO notify_worker;
GRANT EXECUTE ON FUNCTION notify._plan(integer), notify._maintain(), notify._clock_was_set(bigint), notify._look_at_queries(), notify._claim(integer, bigint, integer[], bigint[], integer[], interval, integer),
	notify._settle(integer, bigint, tid[], bigint[], text[], integer[], text[], text[], bigint[], integer[], text[], text[], boolean[]),
	notify._rescue(integer, bigint), notify._give_back(integer, bigint, tid[], bigint[]), notify._providers(), notify._config_version(), notify._template(bigint), notify._partials(jsonb),
	notify._attachments(jsonb, text, bigint), notify._drop_attachments() TO notify_worker;
GRANT SELECT ON notify.attachment TO notify_worker;
GRANT SELECT ON notify._serving, notify.budget, notify.stat_budget TO notify_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.spent TO notify_worker;
GRANT EXECUTE ON FUNCTION notify._serving_providers(), notify._choose(integer[], integer[], numeric[], bigint, text, text), notify._fail_doubtful(bigint[], boolean) TO notify_worker;
GRANT SELECT ON notify.preference, notify.suppression TO notify_worker;
GRANT EXECUTE ON FUNCTION notify._refusal(text, text, text, text), notify._refused(text, text, text, text), notify.address_hash(text), notify._token_key(), notify._retry_receipts(),
	notify._return_tag(bigint, text), notify._make_token(text, text, bigint, text) TO notify_worker;
GRANT SELECT ON notify.instance, notify.origin TO notify_worker, notify_report, notify_admin;
-- and what these call with the worker's own rights
GRANT EXECUTE ON FUNCTION notify._is_superuser(), notify._held(), notify._is_copy(), notify._here(), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz), notify._next_id(),
	notify._person_now(text, bigint), notify._source_of(oid), notify._cursor(),
	notify._worth_closing(pg_snapshot, pg_snapshot), notify._backlog_chunk(bigint, bigint, integer),
	notify._add_to_backlog(bigint, xid8, bigint), notify._mark(pg_snapshot), notify._low_id(xid8),
	notify._look_back(),
	notify._event_not_planned(text, notify.event[]), notify._person_not_planned(text, notify.candidate[]), notify._people_now(notify.candidate[]), notify._apply_rest(bigint[], notify.decision[]), notify._ask(bigint, notify.candidate[], notify.event[]), notify._undecided(notify.event[]),
	notify._audience_chunk(notify.backlog, bigint, integer), notify._add_audience(bigint, notify.event[]),
	notify._flag_rules(notify.event[]), notify.decide(notify.candidate[]), notify._decide(notify.candidate[]), notify._dedupe_key(bigint, text, text),
	notify._event_cancel_key(bigint), notify._find_cancels(text[], bigint),
	notify._locale_chain(text), notify._event_meta(bigint, "char", text, text),
	notify._event_old(notify.event), notify._run_query(bigint, text, bigint[], jsonb[], jsonb[], jsonb[]),
	notify._promote(timestamptz, timestamptz, integer), notify._step(bigint, integer), notify._step_stop(bigint, bigint, integer),
	notify._step_candidates(notify.scheduled[]), notify._book(integer, bigint[], numeric[], boolean[]), notify._reserve(bigint[]),
	notify._count_queue(bigint[]), notify._count_spent(bigint[]), notify._look_at_budgets(bigint), notify._afford(notify.scheduled[]),
	notify._by_other_channels(notify.decision[], notify.decision[]), notify._within_budgets(notify.decision[]),
	notify._budget_applies(notify.budget, text, text, text), notify._period_start(text, text, timestamptz), notify._data(bigint, "char", text, text, jsonb, jsonb, jsonb), notify._stop_claimed(bigint[]),
	notify._settle_rest(timestamptz, bigint[], integer[], boolean[], integer[], text[], text[], text[], text[], bigint[], text[], text[]), notify._day_start(date),
	notify._release(bigint[]), notify._lanes(), notify._overdue(), notify._reroute(integer), notify._gates(), notify._probe_due(), notify._offer_probes(),
	notify._make_partitions(), notify._drop_partitions(), notify._finish_erasures(), notify._with_secrets(jsonb) TO notify_worker;

-- Rows of days that no partition was made for, empty in practice
COMMENT ON TABLE notify.event_default IS 'Events of days without a partition of their own; empty in practice.';
COMMENT ON TABLE notify.message_default IS 'Messages of days without a partition of their own; empty in practice.';
COMMENT ON TABLE notify.outcome_default IS 'Outcomes of days without a partition of their own; empty in practice.';

-- The first days; members of the extension like those that follow.
SELECT notify._make_partitions();

-- Dumped: configuration and people. Not secrets, not logs, not the queue.
DO $$
DECLARE
	configuration regclass;
BEGIN
	FOREACH configuration IN ARRAY ARRAY[
		'notify.source', 'notify.category', 'notify.rule', 'notify.rule_version', 'notify.rule_step', 'notify.budget', 'notify.budget_id_seq', 'notify.budget_counter_seq',
		'notify.template', 'notify.template_version', 'notify.partial', 'notify.partial_version', 'notify.provider',
		'notify.recipient', 'notify.address', 'notify.preference', 'notify.suppression', 'notify.recipient_source', 'notify.recipient_problem', 'notify.origin',
		'notify.rule_version_id_seq', 'notify.template_version_id_seq', 'notify.partial_version_id_seq',
		'notify.rule_id_seq', 'notify.provider_id_seq']
	LOOP
		PERFORM pg_catalog.pg_extension_config_dump(configuration, '');
	END LOOP;
	PERFORM pg_catalog.pg_extension_config_dump('notify.preset', 'WHERE NOT shipped');
	PERFORM pg_catalog.pg_extension_config_dump('notify.attachment', 'WHERE recipient IS NULL');
END
$$;
