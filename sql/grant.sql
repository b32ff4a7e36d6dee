/*
 * grant.sql
 *		Who may do what, in one place, and what pg_dump takes along.
 *
 * notify_admin	configures; notify_app emits, sends and reads inboxes;
 * notify_report reads; notify_worker is the background workers' role.
 * Nothing is granted to PUBLIC: a trigger fires without any grant.
 */
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify FROM PUBLIC;
GRANT USAGE ON SCHEMA notify TO notify_admin, notify_app, notify_report, notify_worker;

-- Configuration and people
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.source, notify.category, notify.rule, notify.template,
	notify.provider, notify.recipient, notify.address TO notify_admin;
GRANT INSERT, UPDATE, DELETE ON notify.secret TO notify_admin;
GRANT SELECT (name) ON notify.secret TO notify_admin;
GRANT SELECT ON notify.rule_version, notify.template_version, notify.reason TO notify_admin;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO notify_admin;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify TO notify_admin;
REVOKE EXECUTE ON FUNCTION notify._write_event("char", text, text, text, jsonb, text, jsonb, boolean),
	notify._drop_partitions(), notify._make_partition(text, date), notify._make_partitions(),
	notify._with_secrets(jsonb), notify._providers(), notify._run_query(bigint, text, bigint[], jsonb[], jsonb[], jsonb[])
	FROM notify_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.recipient, notify.address TO notify_app;
GRANT SELECT, UPDATE, DELETE ON notify.inbox TO notify_app;
GRANT EXECUTE ON FUNCTION notify.emit(text, text, jsonb, text),
	notify.send(text, text, jsonb, text, text[], text, timestamptz),
	notify.cancel(bigint, text), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify._check_recipient(), notify._check_address_row(), notify._check_channel(text),
	notify._check_address(text, text) TO notify_app;

-- Logs and reports
GRANT SELECT ON notify.event, notify.message, notify.outcome, notify.ready, notify.scheduled, notify.inbox,
	notify.idempotency, notify.delivery, notify.failure, notify.delivery_report, notify.stat_queue,
	notify.stat_worker, notify.reason, notify.category, notify.rule, notify.source TO notify_report, notify_admin;
GRANT EXECUTE ON FUNCTION notify.status(), notify.explain(bigint), notify.explain(regclass, text),
	notify.content(bigint), notify.now(), notify.id_time(bigint), notify.time_id(timestamptz),
	notify._workers(), notify._preloaded() TO notify_report;

-- Workers
GRANT SELECT ON notify.event, notify.rule_version, notify.template_version, notify.template, notify.category,
	notify.recipient, notify.secret, notify.source, notify.rule TO notify_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.message, notify.outcome, notify.ready, notify.scheduled,
	notify.idempotency, notify.inbox, notify.cursor, notify.backlog, notify.mark TO notify_worker;
GRANT SELECT, UPDATE ON notify.address, notify.provider, notify.rule TO notify_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO notify_worker;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify TO notify_worker;
REVOKE EXECUTE ON FUNCTION notify._write_event("char", text, text, text, jsonb, text, jsonb, boolean),
	notify.attach(regclass, text, text[], text[]), notify.detach(regclass),
	notify.emit(text, text, jsonb, text), notify.send(text, text, jsonb, text, text[], text, timestamptz),
	notify.cancel(bigint, text), notify.redrive(timestamptz, timestamptz, text, text) FROM notify_worker;

-- The first days; members of the extension like those that follow.
SELECT notify._make_partitions();

-- Dumped: configuration and people. Not secrets, not logs, not the queue.
DO $$
DECLARE
	configuration regclass;
BEGIN
	FOREACH configuration IN ARRAY ARRAY[
		'notify.source', 'notify.category', 'notify.rule', 'notify.rule_version',
		'notify.template', 'notify.template_version', 'notify.provider',
		'notify.recipient', 'notify.address',
		'notify.rule_version_id_seq', 'notify.template_version_id_seq',
		'notify.rule_id_seq', 'notify.provider_id_seq']
	LOOP
		PERFORM pg_catalog.pg_extension_config_dump(configuration, '');
	END LOOP;
END
$$;
