/*
 * message.sql
 *		Decisions and what became of them (logs), and the queue (hot).
 *
 * message and outcome are insert-only, partitioned by the day of the message's
 * id. ready and scheduled hold only what is still to be sent: a row is deleted
 * when its message is settled. Only the planner inserts into ready, in commit
 * order of seq, so a claim may keep a bound below which nothing is left.
 */
CREATE TABLE notify.message (
	id			bigint NOT NULL,
	event		bigint NOT NULL,
	event_xid	xid8 NOT NULL,
	source		oid,
	key			text,
	rule		bigint,
	recipient	text,
	category	text,
	channel		text,
	address		text,
	priority	smallint NOT NULL,
	template	text,
	template_version bigint,
	verdict		text NOT NULL CHECK (verdict IN ('send', 'skipped', 'suppressed', 'cancelled')),
	reason		text,
	detail		text,
	due_at		timestamptz,
	expires_at	timestamptz,
	dedupe_key	text,
	cancel_key	text,
	context		jsonb,
	step		integer,
	PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE notify.message_default PARTITION OF notify.message DEFAULT;
CREATE INDEX message_event ON notify.message (event);
-- A key has no bound, an index entry has.
CREATE INDEX message_key ON notify.message (left(key, 200), source) WHERE key IS NOT NULL;
CREATE INDEX message_recipient ON notify.message (recipient);

COMMENT ON TABLE notify.message IS
'Every decision, sent or not: one notification for one recipient on one channel. Insert-only, partitioned by UTC day of id. The planner writes rows directly: triggers and constraints of the app''s own on it are not looked at, its indexes are.';
COMMENT ON COLUMN notify.message.id IS 'Carries the time of the decision: notify.id_time(id).';
COMMENT ON COLUMN notify.message.event IS 'notify.event.id.';
COMMENT ON COLUMN notify.message.event_xid IS 'notify.event.xid, to find the event by its index.';
COMMENT ON COLUMN notify.message.source IS 'notify.event.source.';
COMMENT ON COLUMN notify.message.key IS 'notify.event.key.';
COMMENT ON COLUMN notify.message.rule IS 'The notify.rule_version that decided; NULL for send().';
COMMENT ON COLUMN notify.message.recipient IS 'notify.recipient.id; NULL when nobody was named.';
COMMENT ON COLUMN notify.message.category IS 'notify.category.name.';
COMMENT ON COLUMN notify.message.channel IS 'The channel; NULL when the decision was made before one was chosen.';
COMMENT ON COLUMN notify.message.address IS 'Where it goes; NULL for the inbox and for a webhook provider''s own URL.';
COMMENT ON COLUMN notify.message.priority IS '0 urgent to 3 bulk.';
COMMENT ON COLUMN notify.message.template IS 'notify.template.name.';
COMMENT ON COLUMN notify.message.template_version IS 'The words: notify.template_version.id. NULL for a webhook without a template: it carries the data.';
COMMENT ON COLUMN notify.message.verdict IS 'send, or our own decision not to: skipped, suppressed, cancelled.';
COMMENT ON COLUMN notify.message.reason IS 'notify.reason.code; NULL when it is sent, unless it was put off (budget_deferred).';
COMMENT ON COLUMN notify.message.detail IS 'More on the reason, such as an error''s text, or the budget''s name.';
COMMENT ON COLUMN notify.message.due_at IS 'When it is to be sent (notify.now() time).';
COMMENT ON COLUMN notify.message.expires_at IS 'After this it is not sent any more.';
COMMENT ON COLUMN notify.message.dedupe_key IS 'The value of the rule''s dedupe_key.';
COMMENT ON COLUMN notify.message.cancel_key IS 'A later event with this cancel_key cancels the message.';
COMMENT ON COLUMN notify.message.step IS 'Which step of its rule''s escalation: notify.rule_step. NULL: the rule has no steps.';
COMMENT ON COLUMN notify.message.context IS 'What the rule''s queries gave for the template, and the recipient as it was. NULL after erasure.';

CREATE TABLE notify.outcome (
	message		bigint NOT NULL,
	at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	verdict		text NOT NULL CHECK (verdict IN ('sent', 'delivered', 'retrying', 'failed', 'dead', 'cancelled', 'expired')),
	attempt		integer,
	provider	text,
	class		text,
	code		integer,
	reason		text,
	detail		text,
	reference	text,
	next_at		timestamptz,
	latency		integer,
	cost		numeric
) PARTITION BY RANGE (message);

CREATE TABLE notify.outcome_default PARTITION OF notify.outcome DEFAULT;
CREATE INDEX outcome_message ON notify.outcome (message, at);

COMMENT ON TABLE notify.outcome IS
'What became of a message: attempts, receipts and late decisions. Insert-only, partitioned by UTC day of the message''s id. Dispatchers write rows directly: triggers and constraints of the app''s own on it are not looked at, its indexes are.';
COMMENT ON COLUMN notify.outcome.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.outcome.at IS 'When it was recorded.';
COMMENT ON COLUMN notify.outcome.verdict IS 'sent: the provider took it; delivered: it reached the person; retrying: it will be tried again at next_at; failed: the provider''s final no; dead: attempts or time ran out; cancelled, expired: our late decisions.';
COMMENT ON COLUMN notify.outcome.attempt IS 'Which attempt, from 1; NULL for a late decision.';
COMMENT ON COLUMN notify.outcome.provider IS 'notify.provider.name.';
COMMENT ON COLUMN notify.outcome.class IS 'How the answer was taken: ok, retry, defer, permanent_message, permanent_recipient, provider_down, auth.';
COMMENT ON COLUMN notify.outcome.code IS 'HTTP status (RFC 9110) or SMTP reply code (RFC 5321); NULL when there was no answer.';
COMMENT ON COLUMN notify.outcome.reason IS 'notify.reason.code of a late decision.';
COMMENT ON COLUMN notify.outcome.detail IS 'The provider''s words or the error, bounded.';
COMMENT ON COLUMN notify.outcome.reference IS 'The provider''s id of the message.';
COMMENT ON COLUMN notify.outcome.next_at IS 'retrying: when (notify.now() time).';
COMMENT ON COLUMN notify.outcome.cost IS 'provider.cost when it took the message; NULL: not known, or it did not take it.';
COMMENT ON COLUMN notify.outcome.latency IS 'Milliseconds from the start of the transfer to its end.';

CREATE SEQUENCE notify.ready_seq;
COMMENT ON SEQUENCE notify.ready_seq IS 'The order of notify.ready.';

CREATE TABLE notify.ready (
	message		bigint PRIMARY KEY,
	seq			bigint NOT NULL DEFAULT nextval('notify.ready_seq'),
	lane		integer NOT NULL,
	attempts	integer NOT NULL DEFAULT 0,
	redriven	boolean NOT NULL DEFAULT false,
	owner		integer,
	boot		bigint,
	lease		timestamptz,
	pinned		boolean NOT NULL DEFAULT false
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
		autovacuum_vacuum_insert_scale_factor = 0, autovacuum_analyze_scale_factor = 0,
		autovacuum_analyze_threshold = 100000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX ready_lane ON notify.ready (lane, seq);

COMMENT ON TABLE notify.ready IS 'Messages due now: the hot queue. Only the planner inserts; settling deletes. Triggers and constraints of the app''s own on it are not looked at.';
COMMENT ON COLUMN notify.ready.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.ready.seq IS 'Order within the lane.';
COMMENT ON COLUMN notify.ready.lane IS 'provider.id * 4 + priority.';
COMMENT ON COLUMN notify.ready.attempts IS 'Attempts begun; counted before the work.';
COMMENT ON COLUMN notify.ready.redriven IS 'True after redrive(): it is sent although it expired.';
COMMENT ON COLUMN notify.ready.owner IS 'The dispatcher slot that has it; NULL: free.';
COMMENT ON COLUMN notify.ready.boot IS 'Which start of that dispatcher; with owner it fences late settles.';
COMMENT ON COLUMN notify.ready.lease IS 'After this another may take it.';
COMMENT ON COLUMN notify.ready.pinned IS 'True when its provider may have it already: no other gets it while that one is enabled.';

CREATE TABLE notify.scheduled (
	message		bigint,
	due_at		timestamptz NOT NULL,
	attempts	integer NOT NULL DEFAULT 0,
	redriven	boolean NOT NULL DEFAULT false,
	provider	integer,
	step		integer DEFAULT 0,
	PRIMARY KEY (message, step)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
		autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
		autovacuum_vacuum_cost_delay = 0);

CREATE INDEX scheduled_due ON notify.scheduled (due_at);

COMMENT ON TABLE notify.scheduled IS 'What is due later: messages (delays and retries), which the planner moves to notify.ready, and steps of an escalation, which it decides then.';
COMMENT ON COLUMN notify.scheduled.message IS 'notify.message.id: what is to be sent, or a message of the step before.';
COMMENT ON COLUMN notify.scheduled.step IS '0: the message; above: this step of its rule (notify.rule_step) for its event and person.';
COMMENT ON COLUMN notify.scheduled.due_at IS 'When (notify.now() time).';
COMMENT ON COLUMN notify.scheduled.attempts IS 'Attempts made so far.';
COMMENT ON COLUMN notify.scheduled.redriven IS 'As in notify.ready.';
COMMENT ON COLUMN notify.scheduled.provider IS 'The provider.id that may have it already: no other gets it while that one is enabled. NULL: none has.';

CREATE TABLE notify.idempotency (
	key			text PRIMARY KEY,
	event		bigint NOT NULL,
	hash		bigint NOT NULL
);

CREATE INDEX idempotency_event ON notify.idempotency (event);

COMMENT ON TABLE notify.idempotency IS
'Keys that make something happen once: send()''s idempotency keys and rules'' dedupe keys. Kept for notify_pg.retention.';
COMMENT ON COLUMN notify.idempotency.key IS 'send/<key>, rule/<rule id>/<recipient>/<dedupe key>, or replay/<rule id>/<event>.';
COMMENT ON COLUMN notify.idempotency.event IS 'The event that had it first.';
COMMENT ON COLUMN notify.idempotency.hash IS 'Of what send() was called with; 0 for rules.';
