-- The module's functions; the harness says where it is.
\set unit_dir `echo "${NOTIFY_UNIT_DIR:-$PWD/test/unit}"`
\set unit :unit_dir/channel_test.so
CREATE SCHEMA channel_test;
SET search_path = channel_test, pg_catalog;
--
-- channel: letters over a real wire to a server that follows a script
--
-- letters are sent one after the other; \n in a script is CRLF on the wire
CREATE FUNCTION exchange_by(preset jsonb, settings text, script text[], address text, subject text, body text, html text, letters int,
    at_most_once boolean, patience int) RETURNS text[] LANGUAGE c AS :'unit', 'test_exchange';
CREATE FUNCTION row_of(preset text) RETURNS jsonb LANGUAGE sql AS
    $$SELECT jsonb_strip_nulls(to_jsonb(p)) FROM notify.preset p WHERE p.name = row_of.preset$$;
CREATE FUNCTION exchange(preset text, settings text, script text[], address text DEFAULT '',
    subject text DEFAULT NULL, body text DEFAULT NULL, html text DEFAULT NULL, letters int DEFAULT 1,
    at_most_once boolean DEFAULT false, patience int DEFAULT 20000) RETURNS text[] LANGUAGE sql AS
    $$SELECT channel_test.exchange_by(channel_test.row_of(preset), settings, script, address, subject, body, html, letters, at_most_once, patience)$$;
-- what differs from run to run is masked
CREATE FUNCTION mask(text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
            replace($1, E'\r', '\r'), 'Date: [^\\]*', 'Date: …', 'g'), '127\.0\.0\.1:\d+', '127.0.0.1:PORT', 'g'),
            'webhook-timestamp: \d+', 'webhook-timestamp: …', 'g'), 'webhook-signature: v1,[\w+/=]+', 'webhook-signature: v1,…', 'g'),
            'EHLO [^\\]*', 'EHLO …', 'g'), 'after \d+ (ms|milliseconds)', 'after N ms'), 'errno: \d+', 'errno: N'),
            'Failed to connect to .* server', 'no connection'),
            'Timeout was reached|Operation timed out after .* received|server response timeout', 'timed out') $$;
CREATE FUNCTION show(text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT line FROM unnest($1) AS item, regexp_split_to_table(mask(item), E'\n') AS line $$;
CREATE FUNCTION http(status text, headers text DEFAULT '', body text DEFAULT '') RETURNS text LANGUAGE sql AS
    $$SELECT 'HTTP/1.1 ' || status || E'\n' || headers || 'Content-Length: ' || octet_length(body) || E'\n\n' || body$$;

-- the guard is shut unless opened: nothing reaches a loopback server
SELECT show(exchange('webhook', '{"url": "http://127.0.0.1:PORT/hook"}', ARRAY[http('200 OK')]));
SELECT (exchange('webhook', '{}', ARRAY[http('200 OK')], 'http://localhost:1/'))[1] ~ '^permanent_message .* is private, and notify_pg.allow_private_addresses';
SELECT show(exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}', ARRAY['220 hi'], 'ann@example.org', 'Hi', 'x'));
-- from here on it is open (the module reads the setting as the workers do)
CREATE FUNCTION open_guard(setting text) RETURNS void LANGUAGE c STRICT AS :'unit', 'test_open_guard';
SELECT open_guard('127.0.0.0/8');

-- webhook: two letters over one connection, signed; the provider's id comes back
SELECT show(exchange('webhook', '{"url": "http://127.0.0.1:PORT/hook?x=1", "headers": {"X-Shop": "一"}, "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}',
    ARRAY[http('200 OK', E'X-Request-Id: req-1\n'), http('202 Accepted', E'X-Request-Id: req-2\nX-Message-ID: m-2\n', 'fine')], letters => 2));
-- a rendered body goes as it is; a letter sent at most once takes a connection of its own
SELECT show(exchange('webhook', '{"url": "http://127.0.0.1:PORT/", "headers": {"content-type": "text/plain"}}', ARRAY[http('200 OK'), http('200 OK')], body => '您好', letters => 2, at_most_once => true));
-- answers and what they mean
SELECT status, headers, (exchange('webhook', '{"url": "http://127.0.0.1:PORT/"}', ARRAY[http(status, headers, body)]))[1:2]
FROM (VALUES ('204 No Content', '', ''), ('301 Moved', E'Location: http://127.0.0.1:1/\n', ''), ('400 Bad', '', '{"error": "no\u0007\nsuch field"}'), ('401 Who', '', ''), ('410 Gone', '', ''),
    ('429 Slow', E'Retry-After: 7\n', ''), ('429 Slow', '', ''), ('503 Busy', E'retry-after:  120  \n', 'busy'), ('503 Busy', E'Retry-After: 9999999\n', ''), ('500 Oops', '', repeat('错', 400)), ('504 Late', '', '')) AS v(status, headers, body);
-- interim answers do not count
SELECT show(exchange('webhook', '{"url": "http://127.0.0.1:PORT/"}', ARRAY[E'HTTP/1.1 103 Early\nRetry-After: 5\n\n' || http('429 Slow')]));
-- an answer without end is cut off, its status counts; so does that of an answer that breaks off
SELECT (exchange('webhook', '{"url": "http://127.0.0.1:PORT/", "timeout_ms": 15000}', ARRAY['!flood']))[1] ~ '^retry code=500 ambiguous retry_after=-1 reference= detail=HTTP 500 \(the answer was too long and was cut off\): x{100}';
SELECT (exchange('webhook', '{"url": "http://127.0.0.1:PORT/", "timeout_ms": 300}', ARRAY[E'HTTP/1.1 200 OK\nContent-Length: 10\n\nabc']))[1:3];
-- no answer, garbage, a closed connection: sent, so ambiguous
SELECT step, mask((exchange('webhook', '{"url": "http://127.0.0.1:PORT/", "timeout_ms": 300}', ARRAY[step]))[1]) AS result
FROM unnest(ARRAY['!silent', 'SSH-2.0-OpenSSH_9.2', '!close']) AS step;
-- nobody there: the provider is down, or this letter's own address is to be tried again
SELECT mask((exchange('webhook', '{"url": "http://127.0.0.1:1/"}', '{}'))[1]);
SELECT mask((exchange('webhook', '{}', '{}', 'http://127.0.0.1:1/'))[1]);
-- TLS that is none
SELECT (exchange('webhook', '{"url": "https://127.0.0.1:PORT/", "timeout_ms": 300}', ARRAY['HTTP/1.1 400 Bad']))[1] ~ '^provider_down code=0 ';
-- a letter that is abandoned; the next goes its way
SELECT (exchange('webhook', '{"url": "http://127.0.0.1:PORT/"}', ARRAY['!silent', http('200 OK')], letters => 2, patience => 200))[1:4];
-- what cannot be put on the wire
SELECT exchange('webhook', '{}', '{}');
SELECT exchange('webhook', '{}', '{}', E'http://127.0.0.1/\r\nX: y');
SELECT exchange('webhook', '{"url": {"secret": "nobody"}}', '{}');
SELECT exchange('inbox', '{}', '{}');

-- smtp: two messages over one connection; dots are doubled; the queue id comes back
SELECT show(exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "Shop <shop@example.com>", "envelope_from": "bounce@example.com", "helo": "db1.example.com"}',
    ARRAY['220 mail.test ESMTP', E'250-mail.test\n250-SIZE 1000000\n250 8BITMIME', '250 2.1.0 Ok', '250 2.1.5 Ok', '354 Go', '250 2.0.0 Ok: queued as 4XyZ1', '250 Ok', '250 Ok', '354 Go', '250 2.0.0 Ok: queued as 4XyZ2'],
    'ann@example.org', 'Your order', E'.\n..two\nthree\n.', letters => 2));
-- after a refusal the connection serves the next message
SELECT show(exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}',
    ARRAY['220 hi', '250 hi', '250 ok', '550 5.1.1 unknown', '250 reset', '250 ok', '250 ok', '354 go', '250 ok'], 'ann@example.org', 'Hi', 'x', letters => 2));
-- a kept connection that turns out to be dead is replaced: closed meanwhile, closed at the first command, closed with a word
SELECT step, (exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}',
    ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go'] || step || ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go', '250 ok'], 'ann@example.org', 'Hi', 'x', letters => 2))[1:4]
FROM (VALUES (ARRAY['!last 250 ok']), (ARRAY['250 ok', '!close']), (ARRAY[E'!last 250 ok\n421 idle'])) AS v(step);
-- AUTH; the password is not in what is told
SELECT show((exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com", "username": "shop", "password": "hunter2"}',
    ARRAY['220 hi', E'250-hi\n250 AUTH PLAIN LOGIN', step, '535 5.7.8 no', '535 5.7.8 no', '535 5.7.8 no'], 'ann@example.org', 'Hi', 'x'))[1:2])
FROM unnest(ARRAY['535 5.7.8 Authentication failed', '454 4.7.0 Temporary failure', '!close']) AS step;
-- each stage may refuse; a server that is silent after that holds up nobody
SELECT step[array_upper(step, 1)] AS refusal, (exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}', step, 'ann@example.org', 'Hi', 'x'))[1:3] AS result
FROM (VALUES (ARRAY['554 go away']), (ARRAY['421 busy']), (ARRAY['220 hi', '502 what', '502 what']),
    (ARRAY['220 hi', '250 hi', '550 5.7.1 you are blocked']), (ARRAY['220 hi', '250 hi', '451 4.3.0 later']),
    (ARRAY['220 hi', '250 hi', '250 ok', E'550-5.1.1 <ann@example.org>:\n550 5.1.1 user unknown']), (ARRAY['220 hi', '250 hi', '250 ok', '452 4.2.2 mailbox full']),
    (ARRAY['220 hi', '250 hi', '250 ok', '550 5.7.1 policy']), (ARRAY['220 hi', '250 hi', '250 ok', '421 4.7.0 too fast']),
    (ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '554 5.7.1 no data']), (ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go', '552 5.3.4 too big']),
    (ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go', '451 4.3.0 try later'])) AS v(step);
-- the connection breaks: ambiguous only when the whole message was out
SELECT step, show((exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com", "timeout_ms": 400}', step, 'ann@example.org', 'Hi', 'x'))[1:3])
FROM (VALUES (ARRAY['!silent']), (ARRAY['!close']), (ARRAY['220 hi', '250 hi', '250 ok', '!close']), (ARRAY['220 hi', '250 hi', '250 ok', '!silent']), (ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go', '!close']),
    (ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go', '!silent'])) AS v(step);
-- a letter that is abandoned at any stage; the next goes its way
SELECT step, (exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}',
    step || ARRAY['!silent', '220 hi', '250 hi', '250 ok', '250 ok', '354 go', '250 ok'], 'ann@example.org', 'Hi', 'x', letters => 2, patience => 200))[1:4]
FROM (VALUES ('{}'::text[]), (ARRAY['220 hi']), (ARRAY['220 hi', '250 hi', '250 ok']), (ARRAY['220 hi', '250 hi', '250 ok', '250 ok', '354 go'])) AS v(step);
-- encryption is required and not offered; offered and declined when optional
SELECT show(exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "required", "from": "shop@example.com"}', ARRAY['220 hi', E'250-hi\n250 SIZE'], 'ann@example.org', 'Hi', 'x'));
SELECT show((exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "starttls", "from": "shop@example.com"}', ARRAY['220 hi', E'250-hi\n250 STARTTLS', '454 not now', '250 ok', '250 ok', '354 go', '250 ok'], 'ann@example.org', 'Hi', 'x'))[1:2]);
-- what cannot be put on the wire
SELECT exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}', '{}', E'ann@example.org>\r\nRCPT TO:<eve@example.net', 'Hi', 'x');
SELECT exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}', '{}', '', 'Hi', 'x');
SELECT exchange('smtp', '{"host": "127.0.0.1", "port": PORT, "tls": "none", "from": "shop@example.com"}', '{}', 'ann@example.org', E'Hi\nBcc: eve@example.net', 'x');

SET client_min_messages = warning;
DROP SCHEMA channel_test CASCADE;
