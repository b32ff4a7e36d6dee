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

-- Requests: what a library sends for a message is what its preset sends. Fields are those of query and body together; a
-- field that is not the same would be named, with theirs and ours, and so would a header.
CREATE FUNCTION plain(v jsonb) RETURNS text LANGUAGE sql AS        -- scalars as a form has them; JSON within JSON in one spelling
    $$SELECT replace(replace(replace(CASE WHEN jsonb_typeof(v) IN ('object', 'array') THEN v::text ELSE v #>> '{}' END, '\": ', '\":'), ', \"', ',\"'), '": "', '":"')$$;
CREATE FUNCTION differences(theirs jsonb, ours jsonb) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(format('%s: %s / %s', key, plain(t.value), plain(o.value)), '; ' ORDER BY key)
      FROM jsonb_each(theirs) AS t FULL JOIN jsonb_each(ours) AS o USING (key) WHERE plain(t.value) IS DISTINCT FROM plain(o.value)$$;
SELECT differences('{"a": 1, "b": {"c": "{\"d\": 1}"}, "e": true}', '{"a": 2, "b": {"c": "{\"d\":1}"}, "e": "true", "f": null}');
CREATE TABLE made AS
    SELECT n, v, t.method, notify.render(t.url, d.data) AS url, notify.render(t.body, d.data) AS body,
        (SELECT jsonb_object_agg(lower(h.key), notify.render(h.value, d.data)) FROM jsonb_each_text('{"Content-Type": "application/json"}' || t.headers) AS h) AS headers,
        CASE WHEN t.auth ->> 'scheme' IN ('basic', 'bearer')
             THEN (SELECT substr(l, 16) FROM unnest(auth(notify.render(t.auth::text, d.data)::jsonb, 'POST', 'https://h.example/', '{}', '', 0, NULL, NULL)) AS l WHERE l LIKE 'Authorization: %') END AS authorization
    FROM vector JOIN notify.preset t ON t.name = v ->> 'preset'
    CROSS JOIN LATERAL (SELECT jsonb_object_agg(s.key, s.value -> 'default') FILTER (WHERE s.value ? 'default') FROM jsonb_each(t.settings) AS s) AS defaults (given)
    CROSS JOIN LATERAL (SELECT jsonb_build_object('settings', coalesce(given, '{}') || (v -> 'settings'), 'address', v -> 'address', 'message', v -> 'message') AS data) AS d;
SELECT v ->> 'library' AS library, v #>> '{request,headers,content-type}' AS their_type, headers ->> 'content-type' AS our_type,
    method = v #>> '{request,method}' AND regexp_replace(url, '^https?://[^/]+|\?.*', '', 'g') = v #>> '{request,path}' AS path,
    made.authorization = v #>> '{request,authorization}' AS authorized,
    differences((v #> '{request,headers}') - 'content-type', headers - '{content-type,accept}'::text[]) AS headers,
    CASE WHEN jsonb_typeof(v #> '{request,fields}') = 'object' THEN coalesce(differences(v #> '{request,fields}',
        notify._read_form(coalesce(substring(url FROM '\?(.*)'), '')) || CASE WHEN headers ->> 'content-type' LIKE '%json%' THEN body::jsonb ELSE notify._read_form(body) END), 'the same') END AS fields
FROM made WHERE v ? 'request' ORDER BY n;

-- Receipts: what a library takes for genuine is, and nothing else.
SELECT v ->> 'library' AS library, v #>> '{receipt,scheme}' AS scheme, count(*) FILTER (WHERE (v -> 'valid')::boolean) AS genuine, count(*) FILTER (WHERE NOT (v -> 'valid')::boolean) AS forged,
    bool_and(coalesce(notify._is_signed(v -> 'receipt', v ->> 'key', '{}', convert_to(v ->> 'payload', 'UTF8'), v -> 'headers'), false) = (v -> 'valid')::boolean) AS agreed
FROM vector WHERE v ? 'receipt' GROUP BY 1, 2 ORDER BY 1;
SELECT n, v - 'key' AS disagreed FROM vector WHERE v ? 'receipt'
    AND coalesce(notify._is_signed(v -> 'receipt', v ->> 'key', '{}', convert_to(v ->> 'payload', 'UTF8'), v -> 'headers'), false) <> (v -> 'valid')::boolean;
-- Nor with no header at all, another's key or none
SELECT v ->> 'library' AS library, bool_or(notify._is_signed(v -> 'receipt', k.key, '{}', convert_to(v ->> 'payload', 'UTF8'), k.headers)) AS believed
FROM vector CROSS JOIN LATERAL (VALUES (v ->> 'key', '{}'::jsonb), ('', v -> 'headers'), (NULL, v -> 'headers'), ('another', v -> 'headers')) AS k (key, headers)
WHERE (v -> 'valid')::boolean AND (k.key IS DISTINCT FROM v ->> 'key' OR v -> 'headers' <> '{}') GROUP BY 1 ORDER BY 1;

SET client_min_messages = warning;
DROP SCHEMA channel_auth CASCADE;
