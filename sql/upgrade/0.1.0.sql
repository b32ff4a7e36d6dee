/*
 * 0.1.0.sql
 *		What takes a database of 0.1.0 on, where replacing is not enough.
 *
 * Only ALTER, DROP (one object each, no CASCADE) and what moves data; sql/upgrade/generate
 * does the rest. ALTER TABLE of a log reaches its partitions by itself. A column that is
 * added comes last, so it stands last in sql/ too. Lines after "\then" run at the very end.
 */

ALTER TABLE notify.template ADD COLUMN provider_template jsonb CHECK (jsonb_typeof(provider_template) = 'object');
ALTER TABLE notify.template_version ADD COLUMN provider_template jsonb;
DROP FUNCTION notify._template(bigint);
-- _workers() says more.
DROP VIEW notify.stat_worker;
DROP FUNCTION notify._workers();

ALTER TABLE notify.template_version ADD COLUMN partials jsonb NOT NULL DEFAULT '{}';
DROP FUNCTION notify._drop_own_triggers(regclass);
DROP FUNCTION notify._recipient_source_of(oid);
ALTER TABLE notify.recipient_source ADD COLUMN on_truncate text NOT NULL DEFAULT 'record' CHECK (on_truncate IN ('record', 'refuse', 'erase'));
ALTER TABLE notify.recipient_source ADD COLUMN on_replica boolean NOT NULL DEFAULT false;
