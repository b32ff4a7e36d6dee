-- Signatures, tokens and encryption, held against what the official libraries make (test/interop/vectors.mjs).
\set SHOW_CONTEXT never
\set unit_dir `echo "${NOTIFY_UNIT_DIR:-$PWD/test/unit}"`
\set unit :unit_dir/channel_test.so
\set vectors `cat "${NOTIFY_UNIT_DIR:-$PWD/test/unit}/../interop/vectors.json"`
CREATE SCHEMA channel_auth;
SET search_path = channel_auth, pg_catalog;
CREATE FUNCTION auth(auth jsonb, method text, url text, headers jsonb, body text, now bigint, id text, nonce text) RETURNS text[] LANGUAGE c AS :'unit', 'test_auth';
CREATE FUNCTION jwt(pem text, algorithm text, header text, claims text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_jwt';
CREATE FUNCTION check_jwt(pem text, token text) RETURNS boolean LANGUAGE c STRICT AS :'unit', 'test_check_jwt';
CREATE FUNCTION webpush(address text, sender text, salt text, body text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_webpush';
CREATE FUNCTION part(token text, n int) RETURNS text LANGUAGE sql AS
    $$SELECT convert_from(decode(rpad(p, (length(p) + 3) / 4 * 4, '='), 'base64'), 'UTF8') FROM (SELECT translate(split_part(token, '.', n), '-_', '+/') AS p) AS x$$;
CREATE TABLE vector AS SELECT ordinality AS n, value AS v FROM jsonb_array_elements(:'vectors') WITH ORDINALITY;

-- requests: the header (or URL) is, byte for byte, the library's
WITH signed AS (
    SELECT n, v, auth(v -> 'auth', v ->> 'method', v ->> 'url', v -> 'headers', v ->> 'body', (v ->> 'now')::bigint, v ->> 'id', v ->> 'nonce') AS lines
    FROM vector WHERE v ? 'auth' AND NOT v ? 'p256dh')
SELECT v ->> 'library' AS library, v #>> '{auth,scheme}' AS scheme, count(*),
    bool_and(NOT v ? 'expect' OR (SELECT bool_and(e.key || ': ' || e.value = ANY (lines)) FROM jsonb_each_text(v -> 'expect') AS e)) AS headers,
    bool_and(NOT v ? 'expect_url' OR v ->> 'expect_url' = lines[1]) AS url
FROM signed GROUP BY 1, 2 ORDER BY 1, 2;
-- one changed byte changes each of them
WITH signed AS (
    SELECT n, v, auth(v -> 'auth', v ->> 'method', v ->> 'url', v -> 'headers', v ->> 'body' || ' ', (v ->> 'now')::bigint + 86400, v ->> 'id', v ->> 'nonce') AS lines
    FROM vector WHERE v ? 'auth' AND v #>> '{auth,scheme}' <> 'hmac' AND NOT v ? 'p256dh')
SELECT bool_or((SELECT bool_and(e.key || ': ' || e.value = ANY (lines)) FROM jsonb_each_text(v -> 'expect') AS e)) AS same FROM signed;

-- tokens: RS256 comes out the same, ES256 verifies both ways
SELECT v ->> 'library' AS library, part(v ->> 'token', 1) AS header, part(v ->> 'token', 2) AS claims, check_jwt(v ->> 'public', v ->> 'token') AS theirs,
    check_jwt(v ->> 'public', jwt(v ->> 'key', v ->> 'jwt', part(v ->> 'token', 1), part(v ->> 'token', 2))) AS ours,
    jwt(v ->> 'key', v ->> 'jwt', part(v ->> 'token', 1), part(v ->> 'token', 2)) = v ->> 'token' AS same,
    check_jwt(v ->> 'public', overlay(v ->> 'token' PLACING 'x' FROM 30)) AS forged
FROM vector WHERE v ? 'jwt' ORDER BY 1;
-- a key of another kind is none
SELECT v ->> 'jwt' AS kind, jwt(v ->> 'key', CASE v ->> 'jwt' WHEN 'RS256' THEN 'ES256' ELSE 'RS256' END, '{}', '{}') IS NULL AS refused FROM vector WHERE v ? 'jwt' ORDER BY 1;
SELECT jwt('-----BEGIN PRIVATE KEY-----' || E'\nAAAA\n' || '-----END PRIVATE KEY-----', 'RS256', '{}', '{}');
-- APNs: one token for 40 minutes, then another, with what node-apn says in it
WITH es AS (SELECT v ->> 'key' AS key, v ->> 'public' AS public FROM vector WHERE v ->> 'jwt' = 'ES256'),
at AS (SELECT s, public, (regexp_match(array_to_string(auth(jsonb_build_object('scheme', 'jwt_es256', 'key', key, 'key_id', 'ABC123DEFG', 'issuer', 'DEF123GHIJ'),
        'POST', 'https://api.push.apple.com/3/device/x', '{}', '', 1714566600 + s, NULL, NULL), E'\n'), 'authorization: bearer (\S+)'))[1] AS token
    FROM es, unnest(ARRAY[0, 1200, 2399, 2400, 4000]) AS s)
SELECT s, check_jwt(public, token) AS good, token = lag(token) OVER (ORDER BY s) AS as_before, part(token, 1) AS header, part(token, 2) AS claims FROM at ORDER BY s;

-- web push: the same bytes as http_ece with the same keys, and as in RFC 8291
SELECT v ->> 'library' AS library, length(v ->> 'text') AS length,
    webpush(jsonb_build_object('endpoint', 'https://push.example.net/x', 'keys', jsonb_build_object('p256dh', v ->> 'p256dh', 'auth', v ->> 'auth'))::text, v ->> 'sender', v ->> 'salt', v ->> 'text') = v ->> 'body' AS same
FROM vector WHERE v ? 'p256dh' ORDER BY n;
SELECT webpush(jsonb_build_object('endpoint', 'https://push.example.net/x', 'keys', jsonb_build_object('p256dh', v ->> 'p256dh', 'auth', v ->> 'auth'))::text, v ->> 'sender', v ->> 'salt', repeat('x', 3994))
FROM vector WHERE v ->> 'library' LIKE 'RFC%';
-- VAPID: the key's point as web-push has it, the claims too; a token for each origin
WITH ours AS (SELECT v, e.url, (regexp_match(array_to_string(auth(jsonb_build_object('scheme', 'vapid', 'private_key', v ->> 'vapid', 'subject', 'mailto:ops@shop.example'),
        'POST', e.url, '{}', '', 1714566600, NULL, NULL), E'\n'), 'Authorization: vapid t=(\S+), k=(\S+)')) AS found
    FROM vector, unnest(ARRAY['https://push.example.net/push/abc?x=1', 'https://push.example.net/other', 'https://other.example:8443/x']) AS e (url) WHERE v ? 'vapid')
SELECT url, found[2] = v ->> 'public_point' AS same_key, part(found[1], 2) AS claims,
    part(found[1], 2)::jsonb = part(substr(v ->> 'authorization', 9), 2)::jsonb AS as_theirs FROM ours;

-- what cannot be a key
SELECT auth('{"scheme": "jwt_es256", "key": "secret", "key_id": "a", "issuer": "b"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "oauth2_jwt_bearer", "key": "secret", "issuer": "b", "token_url": "https://h.example/"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "standard_webhooks", "secret": "whsec_?"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "vapid", "private_key": "AAAA", "subject": "mailto:a@b"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "vapid", "private_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "subject": "mailto:a@b"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "vapid", "private_key": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw", "subject": "ops"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "hmac", "key": "k", "message": "m", "algorithm": "crc32", "header": {"X": "{{ signature }}"}}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "hmac", "key": "k", "message": "m", "encoding": "morse", "header": {"X": "{{ signature }}"}}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "hmac", "key": "xyz", "key_encoding": "hex", "message": "m", "header": {"X": "{{ signature }}"}}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
SELECT auth('{"scheme": "bearer", "token": "a\nX-Evil: 1"}', 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL);
-- what Twilio's library posts is what the preset posts
SELECT v ->> 'library' AS library, notify.render(t.url, d.data) = v ->> 'url' AS url, t.method = v ->> 'method' AS method,
    notify._read_form(notify.render(t.body, d.data)) = v -> 'form' AS form,
    'Authorization: ' || (v ->> 'authorization') = ANY (auth(jsonb_build_object('scheme', 'basic', 'username', v #>> '{settings,account_sid}', 'password', v #>> '{settings,auth_token}'),
        'POST', v ->> 'url', '{}', '', 0, NULL, NULL)) AS authorization
FROM vector JOIN notify.preset t ON t.name = v ->> 'preset'
CROSS JOIN LATERAL (SELECT jsonb_build_object('settings', '{"endpoint": "https://api.twilio.com"}' || (v -> 'settings'), 'address', v -> 'address', 'message', jsonb_build_object('body', v -> 'body')) AS data) AS d;

SET client_min_messages = warning;
DROP SCHEMA channel_auth CASCADE;
