/*
 * inbox.sql
 *		The in-app inbox: the one channel that is exactly-once, because the
 *		item is written in the transaction that settles its message.
 */
CREATE TABLE notify.inbox (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	recipient	text NOT NULL,
	message		bigint NOT NULL UNIQUE,
	subject		text,
	body		text NOT NULL,
	data		jsonb,
	created_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	read_at		timestamptz
);

CREATE INDEX inbox_recipient ON notify.inbox (recipient, id);

COMMENT ON TABLE notify.inbox IS 'What each person has in the app''s inbox. The app updates read_at and may delete rows.';
COMMENT ON COLUMN notify.inbox.id IS 'In order of arrival.';
COMMENT ON COLUMN notify.inbox.recipient IS 'notify.recipient.id.';
COMMENT ON COLUMN notify.inbox.message IS 'notify.message.id.';
COMMENT ON COLUMN notify.inbox.subject IS 'The title; NULL when the template has none.';
COMMENT ON COLUMN notify.inbox.body IS 'The words.';
COMMENT ON COLUMN notify.inbox.data IS 'For links in the app: {event, key, template}.';
COMMENT ON COLUMN notify.inbox.created_at IS 'When it arrived.';
COMMENT ON COLUMN notify.inbox.read_at IS 'When it was read; NULL: not yet.';
