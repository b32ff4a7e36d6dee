-- Files that e-mail carries, and templates that name them: what cannot work is refused when saved.
\set SHOW_CONTEXT never
\set VERBOSITY default
SET client_min_messages = notice;
INSERT INTO notify.attachment (name, content_type, content) VALUES ('logo-1.png', 'image/png', '\x89504e47'), ('terms/2026.pdf', 'application/pdf', 'terms');
INSERT INTO notify.attachment (name, content_type, filename, content) VALUES
    ('invite', 'text/calendar; method=REQUEST; charset="UTF-8"', 'Einladung.ics', 'BEGIN:VCALENDAR');
SELECT name, content_type, filename, octet_length(content), encode(sha256, 'hex') = encode(sha256(content), 'hex') AS digest FROM notify.attachment ORDER BY 1;

CREATE FUNCTION pg_temp.try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    EXECUTE command;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, ''));
END
$$;
\pset format unaligned
\pset tuples_only on
-- each part of a row that cannot be
SELECT pg_temp.try(format('INSERT INTO notify.attachment (name, content_type, filename, content) VALUES (%L, %L, %L, %s)',
                          coalesce(name, 'x'), coalesce(type, 'text/plain'), filename, coalesce(content, '''x''')))
FROM (VALUES ('', NULL, NULL, NULL), (' x', NULL, NULL, NULL), (E'a\nb', NULL, NULL, NULL), (repeat('x', 201), NULL, NULL, NULL),
    (NULL, 'pdf', NULL, NULL), (NULL, E'text/plain\r\nBcc: a@example.com', NULL, NULL), (NULL, 'text/plain; name="a"b"', NULL, NULL),
    (NULL, 'text/plain;', NULL, NULL), (NULL, 'multipart/mixed', NULL, NULL), (NULL, 'Message/rfc822', NULL, NULL), (NULL, 'text/plain; a=ü', NULL, NULL),
    (NULL, NULL, E'a\rb', NULL), (NULL, NULL, '../x', NULL), (NULL, NULL, 'a\b', NULL), (NULL, NULL, '', NULL), (NULL, NULL, repeat('x', 201), NULL),
    (NULL, NULL, NULL, ''''''), (NULL, NULL, NULL, 'convert_to(repeat(''x'', 10485761), ''UTF8'')')) AS t (name, type, filename, content);
-- it stays what it is
SELECT pg_temp.try(c) FROM unnest(ARRAY['UPDATE notify.attachment SET content = ''other'' WHERE name = ''logo-1.png''',
    'UPDATE notify.attachment SET content_type = ''image/gif'' WHERE name = ''logo-1.png''', 'UPDATE notify.attachment SET name = ''x'' WHERE name = ''logo-1.png''',
    'INSERT INTO notify.attachment (name, content) VALUES (''logo-1.png'', ''x'')']) AS c;

-- templates
CREATE FUNCTION pg_temp.save(attachments jsonb, html text DEFAULT NULL, channel text DEFAULT 'email') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text := pg_temp.try(format('INSERT INTO notify.template (name, channel, subject, body, html, attachments) VALUES (%L, %L, %L, %L, %L, %L)',
                                    'try', channel, 'Hi', 'Hello', html, attachments));
BEGIN
    DELETE FROM notify.template WHERE name = 'try';
    RETURN said;
END
$$;
SELECT a, pg_temp.save(a::jsonb) FROM unnest(ARRAY[
    '{}', '[]', '[1]', '[""]', '[" \n "]', '[null]', '[{"nam": "invite"}]', '[{"name": 1}]', '[{"filename": "x.pdf"}]', '[{"name": "invite", "cid": "a b"}]',
    '[{"name": "invite", "cid": "{{ a }}"}]', '[{"name": "invite", "cid": "a"}, {"name": "invite", "cid": "a"}]',
    '["invoice-{{ new.id }"]', '["{{ new.id | nofilter }}"]', '[{"name": "invite", "filename": "{% if %}"}]',
    '["invit"]', '["invite", "terms/2026.pdf"]', '["invite\nterms/2026.pdf\nnone"]', '["invoice-{{ new.id }}.pdf"]', '[{"name": "invite", "filename": "{{ new.id }}.ics"}]',
    '[{"name": "logo-1.png", "cid": "logo"}]']) AS a;
SELECT pg_temp.save((SELECT jsonb_agg('invite'::text) FROM generate_series(1, 21)));
SELECT pg_temp.save('["invite"]', channel => 'sms'), pg_temp.save('["invite"]', channel => 'inbox');
-- what the html shows
SELECT pg_temp.save(NULL, '<img src="cid:logo">');
SELECT pg_temp.save('[{"name": "logo-1.png", "cid": "logo"}]', '<img src="cid:logo"> <img src=''cid:other''>');
SELECT pg_temp.save('[{"name": "logo-1.png", "cid": "logo"}]', '<img src="cid:logo"> <td background=cid:logo> cid:words are only words');
INSERT INTO notify.partial (name, body) VALUES ('head', '<img src="cid:head">');
SELECT pg_temp.save(NULL, '{% render "head" %}');
SELECT pg_temp.save('[{"name": "logo-1.png", "cid": "head"}]', '{% render "head" %}');
-- too much for one message
INSERT INTO notify.attachment (name, content) SELECT 'big-' || n, convert_to(repeat('x', 8000000), 'UTF8') FROM generate_series(1, 2) AS n;
SELECT pg_temp.save('["big-1", "big-2"]');
-- a person's file, or one that goes, is no template's
INSERT INTO notify.recipient (id) VALUES ('ann'), ('bob');
INSERT INTO notify.attachment (name, content, recipient) VALUES ('anns', 'x', 'ann');
INSERT INTO notify.attachment (name, content, expires_at) VALUES ('brief', 'x', notify.now() + interval '1 h');
SELECT pg_temp.save('["anns"]'), pg_temp.save('["brief"]');
SELECT pg_temp.try('INSERT INTO notify.attachment (name, content, recipient) VALUES (''x'', ''x'', ''nobody'')');

-- a template keeps what it names; each save is a version
INSERT INTO notify.template (name, channel, subject, body, attachments) VALUES ('keeps', 'email', 'Hi', 'Hello', '["invite", "anns-{{ a }}"]');
SELECT pg_temp.try('DELETE FROM notify.attachment WHERE name = ''invite''');
UPDATE notify.template SET attachments = '["terms/2026.pdf"]' WHERE name = 'keeps';
SELECT pg_temp.try('DELETE FROM notify.attachment WHERE name = ''invite''');
SELECT attachments FROM notify.template_version WHERE name = 'keeps' ORDER BY id;

-- what a message would carry
SELECT a, x.problem, x.filename, x.content_type, x.cid, octet_length(x.content)
FROM unnest(ARRAY['[]', '["", " \n "]', '["terms/2026.pdf\nlogo-1.png\n"]', '[{"name": " logo-1.png\n", "cid": "logo", "filename": "a/b\\c.png"}]', '["terms/2026.pdf", "gone"]',
    '["anns"]', '["brief"]', '["big-1\nbig-2"]']) AS a
CROSS JOIN LATERAL notify._attachments(a::jsonb, 'ann', 1) AS x;
SELECT problem FROM notify._attachments('["anns"]', 'bob', 1);
SELECT problem FROM notify._attachments((SELECT jsonb_agg('brief'::text) FROM generate_series(1, 21)), 'bob', 1);
INSERT INTO notify.template (name, channel, subject, body, attachments) VALUES ('shown', 'email', 'Hi', 'Hello', '["invoice-{{ id }}.pdf"]');
SELECT problems FROM notify.preview('shown', '{"id": 7}');
SELECT problems FROM notify.preview('shown', '{}');
-- a person's goes with the person
UPDATE notify.recipient SET id = 'anna' WHERE id = 'ann';
SELECT jsonb_path_query_array(notify.export_recipient('anna'), '$.attachments[*].name'), notify.erase_recipient('anna') -> 'attachments';
SELECT name FROM notify.attachment ORDER BY 1;
-- what expired goes by itself
UPDATE notify.attachment SET expires_at = notify.now() WHERE name = 'brief';
SELECT problem FROM notify._attachments('["brief"]', 'bob', 1);
SELECT notify._drop_attachments();
SELECT count(*) FROM notify.attachment WHERE name = 'brief';
-- whose it is to do what
SELECT r, t.p, has_table_privilege(r, 'notify.attachment', t.p) FROM unnest('{notify_app,notify_report,notify_worker}'::text[]) AS r, unnest('{SELECT,INSERT,DELETE}'::text[]) AS t (p) ORDER BY 1, 2;
SELECT extcondition FROM (SELECT unnest(extconfig) AS relation, unnest(extcondition) AS extcondition FROM pg_extension WHERE extname = 'notify_pg') AS c
WHERE c.relation = 'notify.attachment'::regclass;
SET ROLE notify_app;
INSERT INTO notify.attachment (name, content) VALUES ('by-the-app', 'x');
RESET ROLE;
DELETE FROM notify.template WHERE name IN ('keeps', 'shown');
DELETE FROM notify.attachment;
DELETE FROM notify.partial WHERE name = 'head';
