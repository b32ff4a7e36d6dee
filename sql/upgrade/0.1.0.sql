/*
 * 0.1.0.sql
 *		What takes a database of 0.1.0 on, where replacing is not enough.
 *
 * Only ALTER, DROP (one object each, no CASCADE) and what moves data; sql/upgrade/generate
 * does the rest. ALTER TABLE of a log reaches its partitions by itself. A column that is
 * added comes last, so it stands last in sql/ too. 0.1.0.last.sql runs at the very end.
 */

ALTER TABLE notify.template ADD COLUMN provider_template jsonb CHECK (jsonb_typeof(provider_template) = 'object');
ALTER TABLE notify.template_version ADD COLUMN provider_template jsonb;
DROP FUNCTION notify._template(bigint);
ALTER TABLE notify.template ADD COLUMN problem text;
-- _workers() says more.
DROP VIEW notify.stat_worker;
DROP FUNCTION notify._workers();

ALTER TABLE notify.template_version ADD COLUMN partials jsonb NOT NULL DEFAULT '{}';
DROP FUNCTION notify._drop_own_triggers(regclass);
DROP FUNCTION notify._recipient_source_of(oid);
ALTER TABLE notify.recipient_source ADD COLUMN on_truncate text NOT NULL DEFAULT 'record' CHECK (on_truncate IN ('record', 'refuse', 'erase'));
ALTER TABLE notify.recipient_source ADD COLUMN on_replica boolean NOT NULL DEFAULT false;
\lock SELECT s.relation FROM notify.recipient_source s;	-- they get a trigger, at the end
DROP EVENT TRIGGER notify_watch_ddl;
DROP FUNCTION notify._check_lender(regrole, regclass);

-- The cursor's row is found by its step, the transactions of the backlog take turns.
ALTER TABLE notify.cursor DROP COLUMN one;
ALTER TABLE notify.cursor ADD COLUMN step bigint DEFAULT 0;
ALTER TABLE notify.cursor ADD CONSTRAINT cursor_pkey PRIMARY KEY (step);
ALTER TABLE notify.cursor ADD COLUMN backlog_first bigint NOT NULL DEFAULT 0;
ALTER TABLE notify.cursor ADD COLUMN backlog_next bigint NOT NULL DEFAULT 0;
ALTER TABLE notify.cursor ADD COLUMN due_from timestamptz NOT NULL DEFAULT '-infinity';
ALTER TABLE notify.cursor SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE notify.backlog ADD COLUMN turn bigint;
UPDATE notify.backlog b SET turn = (SELECT pg_catalog.count(*) FROM notify.backlog o WHERE o.xid < b.xid);
UPDATE notify.cursor SET backlog_next = (SELECT pg_catalog.count(*) FROM notify.backlog);
ALTER TABLE notify.backlog DROP CONSTRAINT backlog_pkey;
ALTER TABLE notify.backlog ADD CONSTRAINT backlog_pkey PRIMARY KEY (turn);
ALTER TABLE notify.backlog SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
DROP FUNCTION notify._backlog_chunk(integer);
DROP FUNCTION notify._batch_chunk(integer);
DROP FUNCTION notify._next_events(integer);
DROP FUNCTION notify._promote(integer);
DROP FUNCTION notify._reroute();
ALTER TABLE notify.backlog ADD COLUMN audience bigint;
ALTER TABLE notify.backlog ADD COLUMN at_n bigint NOT NULL DEFAULT 0;
ALTER TABLE notify.backlog ADD COLUMN last_n bigint NOT NULL DEFAULT 0;
DROP FUNCTION notify._gather(notify.event[]);
DROP FUNCTION notify._apply(notify.event[]);
DROP FUNCTION notify._apply_all(notify.event[]);
DROP FUNCTION notify._batch_events(notify.cursor, integer);
DROP FUNCTION notify._data(notify.event, jsonb);
DROP FUNCTION notify._event_meta(notify.event);
DROP FUNCTION notify._stop_claimed(bigint[]);
DROP FUNCTION notify._claim(integer, bigint, integer[], bigint[], integer[], interval, integer);

-- A provider names its preset; the three there were are called as their adapters.
ALTER TABLE notify.provider RENAME COLUMN adapter TO preset;
-- From PostgreSQL 18 on NOT NULL is a constraint with a name, which a column leaves behind.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_constraint AS c
			   WHERE c.conrelid = 'notify.provider'::pg_catalog.regclass AND c.conname = 'provider_adapter_not_null') THEN
		ALTER TABLE notify.provider RENAME CONSTRAINT provider_adapter_not_null TO provider_preset_not_null;
	END IF;
END
$$;
DROP FUNCTION notify._check_provider(text, jsonb);
DROP FUNCTION notify._providers();
ALTER TABLE notify.provider ADD COLUMN rate numeric CHECK (rate > 0 AND rate <= 1000000);
ALTER TABLE notify.provider ADD COLUMN burst integer CHECK (burst > 0);
DROP FUNCTION notify._settle(integer, bigint, tid[], bigint[], text[], integer[], text[], text[], bigint[], integer[], text[], text[]);
DROP FUNCTION notify._verdict(text, text, boolean);
ALTER TABLE notify.ready ADD COLUMN pinned boolean NOT NULL DEFAULT false;
ALTER TABLE notify.ready SET (fillfactor = 40);
ALTER TABLE notify.scheduled ADD COLUMN provider integer;
ALTER TABLE notify.provider ADD COLUMN cost numeric CHECK (cost >= 0 AND cost <= 1000000);
ALTER TABLE notify.outcome ADD COLUMN cost numeric;

-- Escalations: steps are versioned with their rule, and wait in notify.scheduled.
ALTER TYPE notify.candidate ADD ATTRIBUTE step integer;
ALTER TYPE notify.decision ADD ATTRIBUTE step integer;
ALTER TABLE notify.rule_version ADD COLUMN steps jsonb;
ALTER TABLE notify.message ADD COLUMN step integer;
ALTER TABLE notify.scheduled ADD COLUMN step integer DEFAULT 0;
ALTER TABLE notify.scheduled DROP CONSTRAINT scheduled_pkey;
ALTER TABLE notify.scheduled ADD CONSTRAINT scheduled_pkey PRIMARY KEY (message, step);
ALTER TABLE notify.template ADD COLUMN attachments jsonb CHECK (jsonb_typeof(attachments) = 'array');
ALTER TABLE notify.template_version ADD COLUMN attachments jsonb;
ALTER TABLE notify.category ADD COLUMN cheapest boolean NOT NULL DEFAULT false;
ALTER TABLE notify.provider ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1000000);

