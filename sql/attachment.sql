/*
 * attachment.sql
 *		Files that e-mail carries, as bytea.
 *
 * A row never changes, so what a message names is what it was planned with; new
 * content is a new name. Templates name them (template.attachments), also by
 * Liquid over a message's data. The content is in no event, message or queue
 * row: the dispatcher reads it when it begins the letter. A file that belongs to
 * a person goes to nobody else, is erased with them, and is in no dump.
 */
CREATE TABLE notify.attachment (
	name		text PRIMARY KEY,
	content_type text NOT NULL DEFAULT 'application/octet-stream',
	filename	text,
	content		bytea NOT NULL,
	recipient	text REFERENCES notify.recipient ON UPDATE CASCADE ON DELETE CASCADE,
	expires_at	timestamptz,
	created_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	created_by	text NOT NULL DEFAULT session_user,
	sha256		bytea NOT NULL GENERATED ALWAYS AS (sha256(content)) STORED
);

CREATE INDEX attachment_recipient ON notify.attachment (recipient) WHERE recipient IS NOT NULL;
CREATE INDEX attachment_expires_at ON notify.attachment (expires_at) WHERE expires_at IS NOT NULL;

COMMENT ON TABLE notify.attachment IS
'Files that e-mail carries: what template.attachments names. A row does not change, but for recipient and expires_at; other content is another name. Rows without a recipient are dumped, with the templates that need them; a person''s are not.';
COMMENT ON COLUMN notify.attachment.name IS 'What templates call it by; up to 200 characters.';
COMMENT ON COLUMN notify.attachment.content_type IS 'The media type (RFC 2045), with parameters if need be: application/pdf, or text/calendar; method=REQUEST.';
COMMENT ON COLUMN notify.attachment.filename IS 'What the person sees, in any script; up to 200 characters. NULL: what stands after the last / of the name. A template may say another.';
COMMENT ON COLUMN notify.attachment.content IS 'Its bytes: 1 to 10 MB (10485760). A message carries 15 MB (15728640) and 20 files at most.';
COMMENT ON COLUMN notify.attachment.recipient IS 'Whose it is: no message to anybody else may carry it, and erase_recipient() deletes it. NULL: anybody''s.';
COMMENT ON COLUMN notify.attachment.expires_at IS 'From then on (notify.now() time) no message carries it, and the planner''s upkeep deletes it. NULL: it stays until it is deleted.';
COMMENT ON COLUMN notify.attachment.created_at IS 'When it was put in.';
COMMENT ON COLUMN notify.attachment.created_by IS 'The session''s role that put it in.';
COMMENT ON COLUMN notify.attachment.sha256 IS 'SHA-256 of its content.';

-- What is wrong with a row; NULL when nothing is.
CREATE FUNCTION notify._attachment_fault(a notify.attachment) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE
	WHEN a.name = '' OR length(a.name) > 200 OR a.name ~ '[\x01-\x1f\x7f]' OR a.name <> btrim(a.name)
		THEN 'Its name must have 1 to 200 characters, no control characters, and no blanks around.'
	WHEN a.filename = '' OR length(a.filename) > 200 OR a.filename ~ '[\x01-\x1f\x7f/\\]'
		THEN 'Its file name must have 1 to 200 characters, and neither control characters nor / or \.'
	WHEN length(a.content_type) > 200
		 OR a.content_type !~ '^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*(; ?[A-Za-z0-9-]+=([A-Za-z0-9!#$&^_.+-]+|"[^"\\\x01-\x1f\x7f-\xff]*"))*$'
		 OR a.content_type ~ '[^\x20-\x7e]'
		THEN format('"%s" is not a media type (RFC 2045), such as application/pdf.', left(a.content_type, 200))
	WHEN a.content_type ~* '^(multipart|message)/'
		THEN 'It is one file, not a message or parts of one.'
	WHEN octet_length(a.content) NOT BETWEEN 1 AND 10485760
		THEN format('It has %s bytes; 1 to 10485760 (10 MB) are possible.', octet_length(a.content))
END;

COMMENT ON FUNCTION notify._attachment_fault(notify.attachment) IS 'What is wrong with a row of notify.attachment; NULL when nothing is. Internal.';

CREATE FUNCTION notify._check_attachment() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fault text := notify._attachment_fault(NEW);
BEGIN
	IF fault IS NOT NULL THEN
		RAISE EXCEPTION 'attachment "%" cannot be used', left(NEW.name, 200)
			USING ERRCODE = CASE WHEN octet_length(NEW.content) > 10485760 THEN 'program_limit_exceeded' ELSE 'invalid_parameter_value' END,
				  DETAIL = fault;
	END IF;
	IF TG_OP = 'UPDATE' AND (NEW.name, NEW.content_type, NEW.filename, NEW.content) IS DISTINCT FROM
							(OLD.name, OLD.content_type, OLD.filename, OLD.content) THEN
		RAISE EXCEPTION 'attachment "%" does not change', OLD.name
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'Messages that were planned carry what it was.',
				  HINT = 'Insert the new content under another name, and name that one in the templates.';
	END IF;
	RETURN NEW;
END
$$;

COMMENT ON FUNCTION notify._check_attachment() IS 'Checks an attachment when it is saved, and keeps it as it is. Internal.';

-- A template's own files stay as long as it names them. A person's, and what expired, go in any case.
CREATE FUNCTION notify._check_attachment_unused() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	users text;
BEGIN
	PERFORM notify._check_trigger_table(TG_RELID, 'notify.attachment');
	IF OLD.recipient IS NULL AND OLD.expires_at IS NULL THEN
		SELECT string_agg(DISTINCT format('"%s"', t.name), ', ') INTO users
		FROM notify.template t CROSS JOIN LATERAL notify._attachment_names(t.attachments) AS n
		WHERE t.attachments IS NOT NULL AND n = OLD.name;
	END IF;
	IF users IS NOT NULL THEN
		RAISE EXCEPTION 'attachment "%" is in use', OLD.name
			USING ERRCODE = 'dependent_objects_still_exist',
				  DETAIL = format('Templates: %s.', users),
				  HINT = 'Change what uses it first.';
	END IF;
	RETURN OLD;
END
$$;

COMMENT ON FUNCTION notify._check_attachment_unused() IS 'Refuses to delete an attachment that a template names. Internal.';

CREATE TRIGGER attachment_check BEFORE INSERT OR UPDATE ON notify.attachment
	FOR EACH ROW EXECUTE FUNCTION notify._check_attachment();
CREATE TRIGGER attachment_used BEFORE DELETE ON notify.attachment
	FOR EACH ROW EXECUTE FUNCTION notify._check_attachment_unused();

/*
 * What a message carries: a row for each file, or one row with what is wrong. wanted
 * is template.attachments with its Liquid filled in; a string there may hold several
 * names, on lines of their own, or none. Contents are read for nobody else.
 */
CREATE FUNCTION notify._attachments(wanted jsonb, recipient text, event bigint)
RETURNS TABLE (problem text, filename text, content_type text, cid text, content bytea)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
	person text := notify._person_now(_attachments.recipient, _attachments.event);
	names text[];
	named text[];
	cids text[];
BEGIN
	SELECT array_agg(x.name ORDER BY x.n, x.k), array_agg(x.filename ORDER BY x.n, x.k), array_agg(x.cid ORDER BY x.n, x.k)
	INTO names, named, cids
	FROM (SELECT e.n, l.k, btrim(l.name, E' \t\r\n') AS name, nullif(btrim(e.item ->> 'filename'), '') AS filename, e.item ->> 'cid' AS cid
		  FROM jsonb_array_elements(wanted) WITH ORDINALITY AS e (item, n)
		  CROSS JOIN LATERAL regexp_split_to_table(e.item #>> '{}', '\n') WITH ORDINALITY AS l (name, k)
		  WHERE jsonb_typeof(e.item) = 'string'
		  UNION ALL
		  SELECT e.n, 1, btrim(e.item ->> 'name', E' \t\r\n'), nullif(btrim(e.item ->> 'filename'), ''), e.item ->> 'cid'
		  FROM jsonb_array_elements(wanted) WITH ORDINALITY AS e (item, n)
		  WHERE jsonb_typeof(e.item) = 'object') AS x
	WHERE x.name <> '';
	IF names IS NULL THEN
		RETURN;
	END IF;
	SELECT coalesce(
		CASE WHEN cardinality(names) > 20 THEN format('a message carries 20 attachments at most, not %s', cardinality(names)) END,
		(SELECT CASE WHEN a.name IS NULL OR a.expires_at <= notify.now() THEN format('attachment "%s" does not exist', left(u.name, 200))
					 ELSE format('attachment "%s" belongs to another recipient', u.name) END
		 FROM unnest(names) WITH ORDINALITY AS u (name, n)
		 LEFT JOIN notify.attachment a ON a.name = u.name
		 WHERE a.name IS NULL OR a.expires_at <= notify.now() OR a.recipient <> person
		 ORDER BY u.n LIMIT 1),
		(SELECT format('a message carries 15728640 bytes (15 MB) of attachments at most, not %s', sum(octet_length(a.content)))
		 FROM unnest(names) AS u (name) JOIN notify.attachment a ON a.name = u.name
		 HAVING sum(octet_length(a.content)) > 15728640))
	INTO problem;
	IF problem IS NOT NULL THEN
		RETURN NEXT;
		RETURN;
	END IF;
	RETURN QUERY
	SELECT NULL::text, left(translate(coalesce(u.named, a.filename, regexp_replace(a.name, '^.*/', ''), a.name), '/\', '__'), 200),
		   a.content_type, u.cid, a.content
	FROM unnest(names, named, cids) WITH ORDINALITY AS u (name, named, cid, n)
	JOIN notify.attachment a ON a.name = u.name
	ORDER BY u.n;
END
$$;

COMMENT ON FUNCTION notify._attachments(jsonb, text, bigint) IS
'The files a message carries, or a problem alone: wanted is template.attachments, rendered. recipient NULL: whose they are is not looked at. Internal.';

-- Some at a time; what the planner's upkeep does about expires_at.
CREATE FUNCTION notify._drop_attachments() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped integer;
BEGIN
	DELETE FROM notify.attachment a
	WHERE a.ctid = ANY (ARRAY(SELECT x.ctid FROM notify.attachment x WHERE x.expires_at <= notify.now()
							  ORDER BY x.expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS dropped = ROW_COUNT;
	RETURN dropped;
END
$$;

COMMENT ON FUNCTION notify._drop_attachments() IS 'Deletes attachments that expired; gives how many. Internal.';
