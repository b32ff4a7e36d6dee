/*
 * event.sql
 *		What happened: the log that capture, emit and send write and the
 *		planner reads.
 *
 * Capture writes into a day's leaf directly (src/capture/event.c), so a leaf
 * has plain and partial indexes only. The index on (xid, id) is the planner's
 * way in: it follows commits, not ids (see plan.sql).
 */
CREATE TABLE notify.event (
	id			bigint NOT NULL,
	xid			xid8 NOT NULL,
	source		oid,
	op			"char" NOT NULL,
	type		text,
	key			text,
	recipient	text,
	rules		bigint[],
	recipients	text[],
	dedupe_keys	text[],
	cancel_keys	text[],
	cancel_key	text,
	new			jsonb,
	old			jsonb,
	truncated	boolean NOT NULL DEFAULT false,
	undecided	jsonb,
	instruction	jsonb
) PARTITION BY RANGE (id);

CREATE TABLE notify.event_default PARTITION OF notify.event DEFAULT;
CREATE INDEX event_xid ON notify.event (xid, id);
CREATE INDEX event_cancel_key ON notify.event (cancel_key) WHERE cancel_key IS NOT NULL;

COMMENT ON TABLE notify.event IS
'One row per captured change or emitted fact, written in the business transaction. Insert-only, partitioned by UTC day of id.';
COMMENT ON COLUMN notify.event.id IS 'Carries its time: notify.id_time(id).';
COMMENT ON COLUMN notify.event.xid IS 'The top-level transaction that wrote it.';
COMMENT ON COLUMN notify.event.source IS 'The attached table''s oid; NULL for emit, send and cancel.';
COMMENT ON COLUMN notify.event.op IS 'I, U, D: a captured INSERT, UPDATE, DELETE; T: a TRUNCATE, which no rule sees; E: emit(); S: send(); C: cancel().';
COMMENT ON COLUMN notify.event.type IS 'The type given to emit(); NULL otherwise.';
COMMENT ON COLUMN notify.event.key IS 'The source''s key columns as text, joined by |; or the key given to emit().';
COMMENT ON COLUMN notify.event.recipient IS 'What the source''s recipient expression gave; NULL when it gave NULL or there is none.';
COMMENT ON COLUMN notify.event.rules IS 'Ids of the rule versions that matched; NULL when none did.';
COMMENT ON COLUMN notify.event.recipients IS 'Parallel to rules: a rule''s own recipient. NULL, or a NULL element: event.recipient; an empty string: the rule''s expression gave NULL.';
COMMENT ON COLUMN notify.event.dedupe_keys IS 'Parallel to rules: the value of the rule''s dedupe_key. NULL: none.';
COMMENT ON COLUMN notify.event.cancel_keys IS 'Parallel to rules: the key that can cancel the rule''s message. NULL: none.';
COMMENT ON COLUMN notify.event.cancel_key IS 'Set when a cancel rule matched: older unsent messages with this key are cancelled.';
COMMENT ON COLUMN notify.event.new IS 'The row after the change (allowed columns), or the data given to emit() or send(). NULL on DELETE.';
COMMENT ON COLUMN notify.event.old IS 'UPDATE: only the columns that changed, as they were. DELETE: the row. NULL otherwise.';
COMMENT ON COLUMN notify.event.truncated IS 'True when the row was over notify_pg.event_row_limit: new and old hold the key columns only.';
COMMENT ON COLUMN notify.event.undecided IS 'Rules whose expressions raised an error on this row: an array of {rule, sqlstate, message}.';
COMMENT ON COLUMN notify.event.instruction IS 'send(): template, category, channels, at. TRUNCATE: relation, the table or partition that was named. What replay() wrote: replay_of, the event that was undecided.';
