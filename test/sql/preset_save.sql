-- Presets and providers as their rows are saved: what cannot work is refused, and says why.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
SELECT name, channel, engine, shipped FROM notify.preset WHERE name IN ('inbox', 'smtp', 'webhook') ORDER BY 1;

-- one that works
INSERT INTO notify.preset (name, channel, settings, url, headers, body, auth, success, reference, errors, retry_after, rate, shipped) VALUES
    ('acme', 'sms', '{"account": {"required": true}, "token": {"required": true, "secret": true}, "endpoint": {"kind": "url", "default": "https://api.acme.example"}, "sender": {}}',
    '{{ settings.endpoint }}/v1/{{ settings.account }}/messages', '{"X-Sender": "{{ settings.sender }}"}',
    '{"to": {{ address | json }}, "text": {{ message.body | json }}{% if message.template %}, "template": {{ message.template.id | json }}{% endif %}}',
    '{"scheme": "bearer", "token": "{{ settings.token }}"}', '{"status": "2xx", "path": "$.code ? (@ == 0)"}', '{"path": "$.id"}',
    '[{"path": "$.code ? (@ == 7)", "class": "permanent_recipient"}, {"status": 400, "path": "$.error", "match": "^limit", "class": "defer"}]', '$.wait', 10, true);
SELECT channel, engine, method, shipped, version > 0 AS versioned FROM notify.preset WHERE name = 'acme';
-- the extension's own stay as they are
UPDATE notify.preset SET url = 'https://evil.example' WHERE name = 'webhook';
DELETE FROM notify.preset WHERE name = 'smtp';

-- each part that cannot work; the row above is the frame
CREATE FUNCTION pg_temp.try(change jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
    row notify.preset;
BEGIN
    SELECT * INTO row FROM notify.preset WHERE name = 'acme';
    row := jsonb_populate_record(row, '{"name": "try"}' || change);
    INSERT INTO notify.preset SELECT row.*;
    DELETE FROM notify.preset WHERE name = 'try';
    RETURN 'saved';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', sqlerrm, CASE WHEN sqlstate <> '23514' THEN detail END, hint);
END
$$;
\pset format unaligned
\pset tuples_only on
SELECT change, pg_temp.try(change::jsonb) FROM unnest(ARRAY[
    '{"channel": "fax"}', '{"engine": "carrier pigeon"}', '{"method": "BREW"}', '{"http_version": "3"}',
    -- Liquid
    '{"url": "https://api.acme.example/{{ settings.account"}', '{"body": "{\"a\": {{ message.body | jsn }}}"}', '{"headers": {"X-A": "{% if %}"}}',
    '{"url": "https://api.acme.example/{{ settings.acount }}"}', '{"body": "{{ message.boby | json }}"}', '{"headers": {"X-A": "{{ request.tine }}"}}', '{"body": "{\"a\": {{ signature | json }}}"}',
    -- words that would get out of their place
    '{"body": "{\"text\": \"{{ message.body }}\"}"}', '{"body": "{\"text\": {{ message.template.parameters.k }}}"}',
    '{"headers": {"Content-Type": "application/x-www-form-urlencoded"}, "body": "To={{ address | url_encode }}&Body={{ message.body }}"}',
    '{"headers": {"Content-Type": "application/x-www-form-urlencoded"}, "body": "To={{ address | url_encode }}&Body={{ message.body | url_encode }}"}',
    '{"headers": {"Content-Type": "text/xml"}, "body": "<to>{{ address }}</to>"}', '{"headers": {"Content-Type": "text/xml"}, "body": "<to>{{ address | escape }}</to>"}',
    '{"url": "https://api.acme.example/{{ address }}"}', '{"url": "https://api.acme.example/{{ address | url_encode }}"}',
    '{"url": "https://{{ address | url_encode }}.acme.example/"}', '{"url": "https://{{ message.data.host | url_encode }}/", "hosts": ["*.acme.example"]}', '{"url": "ftp:/x"}', '{"url": null}', '{"url": null, "hosts": ["*"]}',
    -- headers
    '{"headers": {"X A": "x"}}', '{"headers": {"Content-Length": "5"}}', '{"headers": {"Host": "x"}}', '{"headers": {"X-A": 5}}',
    -- settings
    '{"settings": {"account": 5}}', '{"settings": {"account": {"kind": "number"}}}', '{"settings": {"account": {"requird": true}}}', '{"settings": {"account": {"required": "yes"}}}',
    -- auth
    '{"auth": {}}', '{"auth": {"scheme": "telepathy"}}', '{"auth": {"scheme": "basic", "username": "x"}}', '{"auth": {"scheme": "bearer", "token": "x", "colour": "red"}}', '{"auth": {"scheme": "bearer", "token": 5}}',
    '{"auth": {"scheme": "hmac", "key": "{{ settings.token }}", "message": "{{ request.body }}"}}', '{"auth": {"scheme": "hmac", "key": "{{ settings.tokn }}", "message": "{{ request.body }}", "header": {"X-Sign": "{{ signature }}"}}}',
    '{"auth": {"scheme": "hmac", "key": "{{ settings.token }}", "message": "{{ request.body }}", "header": {"X-Sign": "{{ signature }}"}}}',
    -- answers
    '{"success": {"path": "$.code ? ("}}', '{"success": {"status": "2x"}}', '{"success": [{"status": 200}, {"staus": 201}]}', '{"success": {"status": 200, "match": "(("}}',
    '{"errors": [{"status": 400}]}', '{"errors": [{"class": "sad"}]}', '{"errors": [{"class": "retry"}, {"path": 5, "class": "retry"}]}', '{"errors": ["retry"]}', '{"reference": {"path": "id"}}', '{"reference": {"where": "$.id"}}', '{"retry_after": "$["}'
    ]) AS change;

-- a provider has what its preset needs, and its secrets exist
INSERT INTO notify.provider (name, preset) VALUES ('p', 'acne');
INSERT INTO notify.provider (name, channel, preset) VALUES ('p', 'email', 'acne');
INSERT INTO notify.provider (name, channel, preset) VALUES ('p', 'push', 'acme');
INSERT INTO notify.provider (name, preset) VALUES ('p', 'acme');
INSERT INTO notify.provider (name, preset, settings) VALUES ('p', 'acme', '{"account": "shop", "token": {"secret": "acme_token"}}');
INSERT INTO notify.secret VALUES ('acme_token', 'tok-123456');
INSERT INTO notify.provider (name, preset, settings) VALUES ('p', 'acme', '{"account": "shop", "token": {"secret": "acme_token"}, "sendr": "x"}');
INSERT INTO notify.provider (name, preset, settings) VALUES ('p', 'acme', '{"account": "shop", "token": {"secret": "acme_token"}, "headers": {"X-Key": {"secret": "other"}}}');
INSERT INTO notify.provider (name, preset, settings) VALUES ('p', 'acme', '{"account": "shop", "token": "x", "endpoint": "https://api acme"}');
INSERT INTO notify.provider (name, preset, settings) VALUES ('p', 'acme', E'{"account": "shop", "token": "a\\nb"}');
INSERT INTO notify.provider (name, preset, settings) VALUES ('p', 'acme', '{"account": "shop", "token": {"secret": "acme_token"}}') RETURNING channel, problem;
-- a preset in use cannot change so that its providers no longer fit, nor go
UPDATE notify.preset SET settings = settings || '{"region": {"required": true}}' WHERE name = 'acme';
DELETE FROM notify.preset WHERE name = 'acme';
-- when it changes, dispatchers hear of it
SELECT notify._config_version() AS before \gset
UPDATE notify.preset SET rate = 20 WHERE name = 'acme';
SELECT notify._config_version() <> :before;
