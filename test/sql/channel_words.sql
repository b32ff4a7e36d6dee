-- The module's functions; the harness says where it is.
\set unit_dir `echo "${NOTIFY_UNIT_DIR:-$PWD/test/unit}"`
\set unit :unit_dir/channel_test.so
CREATE SCHEMA channel_test;
SET search_path = channel_test, pg_catalog;
--
-- channel: what does not need a wire: mail, classes, guard, signatures, checks
--
CREATE FUNCTION mime(from_name text, sender text, recipient text, reply_to text,
    subject text, body text, html text, date bigint) RETURNS text LANGUAGE c AS :'unit', 'test_mime';
CREATE FUNCTION mime_file(filename text, type text, cid text, content bytea) RETURNS text LANGUAGE c AS :'unit', 'test_mime_file';
CREATE FUNCTION row_of(preset text) RETURNS jsonb LANGUAGE sql AS
    $$SELECT coalesce((SELECT jsonb_strip_nulls(to_jsonb(p)) FROM notify.preset p WHERE p.name = row_of.preset), jsonb_build_object('engine', preset))$$;
CREATE FUNCTION html(text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_html';
CREATE FUNCTION http_class(int) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_http_class';
CREATE FUNCTION smtp_class(stage text, code int, reply text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_smtp_class';
CREATE FUNCTION retry_after(value text, now bigint) RETURNS bigint LANGUAGE c STRICT AS :'unit', 'test_retry_after';
CREATE FUNCTION reference(text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_reference';
CREATE FUNCTION clean(bytea, int) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_clean';
CREATE FUNCTION guard(setting text, address text) RETURNS boolean LANGUAGE c STRICT AS :'unit', 'test_guard';
CREATE FUNCTION guard_error(setting text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_guard_error';
CREATE FUNCTION sign(secret text, id text, at bigint, body text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_sign';
-- one row a line, so that the expected file shows line ends and blanks
CREATE FUNCTION lines(text) RETURNS SETOF text LANGUAGE sql AS
    $$SELECT replace(line, E'\r', '\r') FROM regexp_split_to_table($1, E'\n') AS line$$;

-- mail: plain text that can go as it is
SELECT lines(mime('Shop', 'shop@example.com', 'ann@example.org', NULL,
                  'Order 4711 placed', E'Hello Ann,\nthank you.\n', NULL, 1714566600));
-- encoded subject and name, split at characters; base64 for Chinese
SELECT lines(mime('好物商店', 'shop@example.com', 'wang@example.cn', 'help@example.com',
                  '您的订单 4711 已经发货，预计明天送达，请保持电话畅通，谢谢您的惠顾和支持',
                  E'王芳，您好：\n您的订单已经发货。\n', NULL, 1714566600));
-- quoted-printable: long lines, trailing blanks, From at a line's beginning, equals
SELECT lines(mime('Müller, "Chef"', 'shop@example.com', 'ann@example.org', NULL,
                  'Grüße', E'From here = there  \nübrig \n' || repeat('long line ', 20) || E'\n.\n..dots', NULL, 0));
-- names that need quotes; a long ASCII subject is folded
SELECT lines(mime('Shop, Inc. "The"', 'shop@example.com', 'ann@example.org', NULL,
                  'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen', 'x', NULL, 0));
-- a subject that looks encoded, or has two blanks, is encoded
SELECT lines(mime('', 'shop@example.com', 'ann@example.org', NULL, '=?UTF-8?Q?no?=', 'x', NULL, 0));
SELECT lines(mime('', 'shop@example.com', 'ann@example.org', NULL, 'two  blanks', NULL, NULL, 0));
-- both parts; the text made from HTML
SELECT lines(mime('Shop', 'shop@example.com', 'ann@example.org', NULL, 'Hi', 'text', '<p>html</p>', 0));
SELECT lines(mime('Shop', 'shop@example.com', 'ann@example.org', NULL, 'Hi', NULL,
                  '<p>Dear Ann</p><p>See <a href="https://example.com/o/1">your order</a></p>', 0));
-- the boundary is another when the content has it
SELECT line FROM lines(mime('Shop', 'shop@example.com', 'ann@example.org', NULL, 'Hi',
                            '--=_notify_42_0', '<p>=_notify_42_1</p>', 0)) AS line WHERE line LIKE '%=\_notify%';
-- files: names in ASCII, with quotes, in Chinese, and too long for a line; base64 in lines
SELECT lines(mime_file('invoice.pdf', 'application/pdf', NULL, convert_to(repeat('%PDF-1.7 ', 10), 'UTF8')));
SELECT lines(mime_file('a "b" c.txt', 'text/plain; charset=UTF-8', 'logo', '\x00ff'));
SELECT lines(mime_file('发票 二〇二六年十一月 (王芳).pdf', 'application/pdf', NULL, '\x00'));
SELECT lines(mime_file(repeat('long-name_', 15) || '.pdf', 'application/pdf', NULL, '\x00'));
-- what would begin another header
SELECT mime_file(E'a\r\nBcc: x@example.com', 'application/pdf', NULL, '\x00');
SELECT mime_file('a', E'application/pdf\nX: y', NULL, '\x00');
SELECT mime_file('a', 'application/pdf', E'x>\r\nX: y', '\x00');
-- whatever goes in, no line is longer than 76 and all is ASCII
SELECT max(length(line) - 2) <= 76 AS short, bool_and(line ~ '^[\x01-\x7e]*$') AS ascii, count(*) > 100 AS many
FROM generate_series(1, 200) AS n,
     lines(mime(repeat('名', n % 40), 'shop@example.com', 'ann@example.org', NULL,
                repeat(substr('é=订 x', n % 5 + 1, 1), n), repeat(substr('é=订 x' || E'\t\r', n % 7 + 1, 2), n * 3), NULL, 0)) AS line;
-- a line break in a header field is refused
SELECT mime('Shop', 'shop@example.com', 'ann@example.org', NULL, E'Hi\r\nBcc: eve@example.net', 'x', NULL, 0);
SELECT mime(E'Shop\nBcc: eve@example.net', 'shop@example.com', 'ann@example.org', NULL, 'Hi', 'x', NULL, 0);
SELECT mime('Shop', 'shop@example.com', 'ann@example.org', NULL, E'bell\x07', 'x', NULL, 0);

-- text from HTML
SELECT lines(html('<html><head><title>No</title><style>p { color: red }</style></head><body>
  <h1>Order &amp; receipt</h1><p>Dear <b>Ann</b>,<br>line&nbsp;two &euro;5 &#8594; &#x4e2d; &unknown; &#7; R&D</p>
  <ul><li>one<li>two</ul><table><tr><td>a<td>b</tr><tr><td>c</td></tr></table><!-- <b>hidden</b> -->
  <a href="https://example.com/?a=1&amp;b=2">open</a> <a href="https://example.com">https://example.com</a> <a href="#x">here</a>
  <script>alert("<p>")</script> 1 < 2 <unclosed </body></html>'));
SELECT html(''), html('<'), html('<p'), html('&'), html('<a href="http://x">'), html('<script>x'), html('<!--x');

-- classes of HTTP statuses
SELECT http_class(status) AS class, string_agg(status::text, ' ' ORDER BY status) AS statuses
FROM unnest(ARRAY[200,201,202,204,301,302,304,307,308,400,401,402,403,404,405,406,407,408,409,410,411,413,415,
                  421,422,423,425,429,431,451,500,501,502,503,504,505,507,511,520,529,599]) AS status GROUP BY 1 ORDER BY 1;

-- classes of SMTP replies
SELECT stage, code, reply, smtp_class(stage, code, reply) AS class FROM (VALUES
    ('connect', 421, 'too busy'), ('connect', 554, 'no service here'), ('connect', 550, '5.7.1 listed'),
    ('auth', 454, '4.7.0 temporary authentication failure'), ('auth', 535, '5.7.8 authentication failed'), ('auth', 504, 'unknown mechanism'),
    ('mail', 530, '5.7.0 must issue STARTTLS first'), ('mail', 550, '5.7.1 sender rejected'), ('mail', 553, 'sender not owned'),
    ('mail', 550, '5.1.8 bad sender domain'), ('mail', 552, '5.3.4 message too big'), ('mail', 550, '5.1.1 user unknown'), ('mail', 451, '4.3.0 later'),
    ('rcpt', 550, '5.1.1 <a@b>: user unknown'), ('rcpt', 550, '5.1.2 no such domain'), ('rcpt', 550, '5.1.10 null MX'),
    ('rcpt', 550, '5.1.7 bad sender address'), ('rcpt', 550, '5.1.0 address rejected'), ('rcpt', 550, '5.2.1 mailbox disabled'),
    ('rcpt', 552, '5.2.2 mailbox full'), ('rcpt', 452, '4.2.2 mailbox full'), ('rcpt', 450, '4.7.1 greylisted'), ('rcpt', 421, '4.7.0 slow down'),
    ('rcpt', 550, '5.7.1 user unknown by policy'), ('rcpt', 550, '5.7.1 blocked'), ('rcpt', 554, '5.7.1 relay access denied'),
    ('rcpt', 550, '5.7.26 unauthenticated'), ('rcpt', 550, '5.7.8 bad credentials'), ('rcpt', 550, 'no such user here'), ('rcpt', 550, 'user unknown, blocked by spam filter'),
    ('rcpt', 550, 'mailbox unavailable'), ('rcpt', 551, 'user not local'), ('rcpt', 556, 'domain does not take mail'), ('rcpt', 553, 'not allowed'),
    ('rcpt', 550, 'sender domain does not exist'), ('rcpt', 550, '5.4.1 access denied'), ('rcpt', 503, 'bad sequence'), ('rcpt', 530, 'authentication required'),
    ('data', 552, '5.3.4 too big'), ('data', 554, '5.7.1 spam'), ('data', 550, '5.6.0 bad content'), ('data', 451, 'try later'), ('data', 550, '5.1.1 unknown'),
    ('rcpt', 554, '5.7.1 <a@b>: Sender address rejected: Access denied'), ('rcpt', 554, '5.7.1 <db.b>: Helo command rejected: Access denied'),
    ('rcpt', 554, '5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example'), ('rcpt', 554, '5.7.1 <relay-client host@b>: Recipient address rejected: Access denied'),
    ('rcpt', 554, '5.7.1 <relay@b: Access denied'), ('rcpt', 550, '<no such user@b>: try elsewhere'), ('rcpt', 550, '<unlimited@b>: no such user'), ('data', 554, '5.7.1 Sender address rejected'),
    ('data', 354, 'odd'), ('data', 250, 'ok')) AS v(stage, code, reply);

-- Retry-After: seconds or a date, at most a day; 1714566600 is 2024-05-01 12:30:00 UTC
SELECT value, retry_after(value, 1714566600) FROM unnest(ARRAY['0', '7', '86400', '86401', '999999', '99999999999999999999', '-1', '+5', '1.5', '', 'soon', '5 s',
    'Wed, 01 May 2024 12:30:30 GMT', 'Wed, 01 May 2024 12:29:00 GMT', 'Fri, 01 May 2099 12:30:30 GMT', 'Wednesday, 01-May-24 12:31:00 GMT', 'Wed May  1 12:32:00 2024']) AS value;

-- the id in a server's last words
SELECT reference(reply) FROM unnest(ARRAY['2.0.0 Ok: queued as 4XyZ12', 'OK id=1abcDE-0001', '2.0.0 44BCUlM3 Message accepted for delivery', 'Ok 0102018f-aaaa-000000',
    '2.0.0 OK  1714566600 d2e1a72-gsmtp', 'Ok', '2.6.0 <x@y> [InternalId=1] Queued mail for delivery']) AS reply;

-- text from outside: valid, one line, bounded, cut at a character
SELECT clean('\x6100620d0a09637f64', 100), clean('\xe8aea2e58d95', 100), clean('\xe8aea2e58d95', 6), clean('\xff61c0afeda080', 100), clean('\xc28561c2a0', 100), clean('  x  ', 100), clean('abcdef', 4);

-- secrets in answers: as they are, %-encoded, as JSON, in base64 whatever is around them; behind a zero byte, more than once, cut off
CREATE FUNCTION redact(secret text, said bytea, cut boolean) RETURNS bytea LANGUAGE c STRICT AS :'unit', 'test_redact';
SELECT convert_from(redact('s3cret/"&', convert_to(said, 'UTF8'), cut), 'UTF8') FROM (VALUES ('s3cret/"& and s3cret/"&s3cret/"&', false), ('u=s3cret%2F%22%26&x', false), ('{"k": "s3cret/\"&"}', false),
    ('ends s3cret/', false), ('ends s3cret/', true), ('ends s', true), ('s3cret', true), ('', true), ('S3CRET/"&', false)) AS v (said, cut);
SELECT redact('s3cret/"&', convert_to('a', 'UTF8') || '\x00' || convert_to('s3cret/"&', 'UTF8') || '\x00', false), redact('short', 'short', false);
SELECT b AS before, e AS after, encode(convert_to(repeat('<', b) || 's3cret/"&' || repeat('>', e), 'UTF8'), 'base64') AS said,
    convert_from(redact('s3cret/"&', convert_to(encode(convert_to(repeat('<', b) || 's3cret/"&' || repeat('>', e), 'UTF8'), 'base64'), 'UTF8'), false), 'UTF8') AS shown
FROM generate_series(0, 3) AS b, generate_series(0, 2) AS e ORDER BY 1, 2;

-- the guard
SELECT address, guard('off', address) AS off, guard('on', address) AS on, guard('10.0.0.0/8, fd00::/8,192.168.1.5', address) AS list
FROM unnest(ARRAY['8.8.8.8', '1.1.1.1', '0.0.0.0', '10.0.0.1', '100.64.0.1', '100.100.100.200', '100.128.0.1', '127.0.0.1', '127.255.255.255', '168.63.129.16', '169.254.169.254',
    '172.15.0.1', '172.16.0.1', '172.31.255.255', '172.32.0.1', '192.0.0.192', '192.0.2.1', '192.88.99.1', '192.168.1.4', '192.168.1.5', '198.18.0.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '240.0.0.1', '255.255.255.255',
    '2606:4700::1111', '::', '::1', '::ffff:8.8.8.8', '::ffff:10.0.0.1', '::ffff:127.0.0.1', '::10.0.0.1', '64:ff9b::8.8.8.8', '64:ff9b::10.0.0.1', '64:ff9b::169.254.169.254', '64:ff9b:1::1',
    '2002:808:808::1', '2002:a00:1::1', '2002:7f00:1::1', '2001:0:4136::1', '2001:db8::1', '3fff::1', '2606::5efe:7f00:1', '2606::200:5efe:a00:1', '100::1', 'fc00::1', 'fd00:ec2::254', 'fe80::1', 'fec0::1', 'ff02::1', '5f00::1',
    'localhost', '', '127.1', '0x7f.0.0.1', 'fe80::1%1']) AS address;
SELECT setting, guard_error(setting) FROM unnest(ARRAY['on', 'off', 'ON', 'true', '', '10.0.0.0/8', ' 10.0.0.0/8 , ::1 ', '10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'yes', '10.0.0.0/8,', ',', '10.0.0.0/8 ::1', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8a']) AS setting;
SELECT guard('nonsense', '10.0.0.1'), guard('0.0.0.0/0', '10.0.0.1'), guard('::/0', '10.0.0.1'), guard('10.0.0.1/32', '10.0.0.1'), guard('10.0.0.1/32', '10.0.0.2'), guard('10.0.0.0/9', '10.127.0.1'), guard('10.0.0.0/9', '10.128.0.1');

-- Standard Webhooks: the specification's own example, and keys that are none
SELECT sign('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}');
SELECT sign('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}');
SELECT sign(secret, 'id', 1, '') FROM unnest(ARRAY['whsec_', 'whsec_x', 'whsec_====', 'whsec_a b=', 'whsec_YQ==', 'whsec_YQ=a']) AS secret;

-- providers as their rows are saved
\set VERBOSITY default
SELECT notify._check_provider(row_of('webhook'), '{}');
SELECT notify._check_provider(row_of('webhook'), '{"url": "https://example.com/hook", "headers": {"X-Key": {"secret": "key"}, "Content-Type": "text/plain"}, "signing_secret": {"secret": "hook"}, "timeout_ms": 5000, "connect_timeout_ms": 1000, "ca_file": "/etc/ca.pem"}');
SELECT notify._check_provider(row_of('inbox'), '{}');
SELECT notify._check_provider(row_of('smtp'), '{"host": "localhost", "port": 2525, "tls": "none", "from": "Shop <shop@example.com>", "envelope_from": "<>", "reply_to": "help@example.com", "helo": "db1.example.com", "username": "u", "password": {"secret": "smtp"}, "timeout_ms": 1000}');
DO $$
DECLARE
    bad record;
    detail text;
    hint text;
BEGIN
    FOR bad IN SELECT * FROM (VALUES
        ('fax', '{}'), ('webhook', '[]'), ('webhook', '"x"'), ('inbox', '{"a": 1}'),
        ('webhook', '{"uri": "https://example.com"}'), ('webhook', '{"url": 5}'), ('webhook', '{"url": ""}'), ('webhook', '{"url": {"secret": ""}}'), ('webhook', '{"url": {"secret": "a", "b": "c"}}'),
        ('webhook', '{"url": "ftp://example.com"}'), ('webhook', '{"url": "example.com/hook"}'), ('webhook', '{"url": "https://"}'), ('webhook', '{"url": "http://u:p@example.com/"}'), ('webhook', '{"url": "http://u@example.com/"}'),
        ('webhook', '{"url": "https://example.com/a b"}'), ('webhook', '{"url": "https://example.com/\r\nX: y"}'), ('webhook', '{"url": "https://bücher.example/"}'), ('webhook', '{"url": "https://example.com:99999/"}'),
        ('webhook', '{"headers": []}'), ('webhook', '{"headers": {"A": 1}}'), ('webhook', '{"headers": {"A B": "x"}}'), ('webhook', '{"headers": {"": "x"}}'), ('webhook', '{"headers": {"A": "x\r\nB: y"}}'), ('webhook', '{"headers": {"Webhook-Id": "x"}}'), ('webhook', '{"headers": {"Content-Length": "1"}}'),
        ('webhook', '{"signing_secret": "whsec_not base64"}'), ('webhook', '{"timeout_ms": "5"}'), ('webhook', '{"timeout_ms": 0}'), ('webhook', '{"timeout_ms": 1.5}'), ('webhook', '{"timeout_ms": 1e30}'),
        ('smtp', '{}'), ('smtp', '{"host": "h"}'), ('smtp', '{"host": "h/x", "from": "a@b"}'), ('smtp', '{"host": "h", "from": "Shop"}'), ('smtp', '{"host": "h", "from": "Shop <a@b> x"}'), ('smtp', '{"host": "h", "from": "Shop\n <a@b>"}'), ('smtp', '{"host": "h", "from": "a@b", "tls": "yes"}'),
        ('smtp', '{"host": "h", "from": "a@b", "port": 70000}'), ('smtp', '{"host": "h", "from": "a@b", "username": "u"}'), ('smtp', '{"host": "h", "from": "a@b", "password": "p"}'), ('smtp', '{"host": "h", "from": "a@b", "tls": "starttls", "username": "u", "password": "p"}'),
        ('smtp', '{"host": "h", "from": "a@b", "envelope_from": "x"}'), ('smtp', '{"host": "h", "from": "a@b", "helo": "a b"}')) AS v(preset, settings)
    LOOP
        BEGIN
            PERFORM notify._check_provider(channel_test.row_of(bad.preset), bad.settings::jsonb);
            RAISE NOTICE '% %: accepted', bad.preset, bad.settings;
        EXCEPTION WHEN invalid_parameter_value THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
            RAISE NOTICE '% %: % | % | %', bad.preset, bad.settings, sqlerrm, detail, hint;
        END;
    END LOOP;
END
$$;

-- addresses
SELECT notify._check_address('email', address) FROM unnest(ARRAY['a@b', 'ann.lee+shop@example.co.uk', 'o''brien@example.com', 'x@[192.0.2.1]', 'x@[IPv6:2001:db8::1]', 'a@xn--fiqs8s']) AS address;
SELECT notify._check_address('webhook', 'https://example.com:8443/hook?a=b'), notify._check_address('webhook', 'http://[2001:db8::1]/'), notify._check_address('sms', '+8613800138000'), notify._check_address('inbox', 'ann'), notify._check_address('chat', '@ann 一'),
    notify._check_address('push', 'bk3RNwTe3H0:CI2k_HHwgIpoDKCIZvvDMExUdFQ3P1'),
    notify._check_address('webpush', '{"endpoint": "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV", "expirationTime": null, "keys": {"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}');
DO $$
DECLARE
    bad record;
    detail text;
BEGIN
    FOR bad IN SELECT * FROM (VALUES
        ('email', ''), ('email', 'ann'), ('email', '@b'), ('email', 'a@'), ('email', 'a b@c'), ('email', '.a@b'), ('email', 'a.@b'), ('email', 'a..b@c'), ('email', 'a@b..c'), ('email', 'a@-b'), ('email', 'a@b.'), ('email', 'a@b_c'),
        ('email', 'Ann <a@b>'), ('email', 'a@b,c@d'), ('email', E'a@b\r\nRCPT TO:<c@d>'), ('email', E'a@b\n'), ('email', 'a@b>'), ('email', 'ü@b'), ('email', 'a@bücher.example'), ('email', '"a b"@c'), ('email', 'a@[x]'), ('email', 'a@b@c'),
        ('email', repeat('a', 65) || '@b'), ('email', 'a@' || repeat('b', 64)), ('email', 'a@' || repeat('b.', 150) || 'c'),
        ('webhook', ''), ('webhook', 'mailto:a@b'), ('webhook', 'https://user:pw@example.com/'), ('webhook', 'https://example.com/' || repeat('x', 2048)), ('webhook', 'javascript:alert(1)'), ('webhook', 'file:///etc/passwd'),
        ('sms', ''), ('sms', E'+1\n2'), ('sms', '13800138000'), ('sms', '+86 138 0013 8000'), ('sms', '+0441234567'), ('sms', '+12345'), ('sms', '+1234567890123456'),
        ('push', ''), ('push', 'a b'), ('push', '{"endpoint": "https://push.example.net/"}'), ('push', 'a"b'), ('chat', E'a\nb'), ('chat', repeat('x', 4097)),
        ('webpush', 'https://push.example.net/'), ('webpush', '{'), ('webpush', '[]'), ('webpush', '{"endpoint": "http://push.example.net/"}'), ('webpush', '{"endpoint": "https://push.example.net/ x"}'),
        ('webpush', '{"endpoint": "https://push.example.net/"}'), ('webpush', '{"endpoint": "https://push.example.net/", "keys": {"p256dh": "BCVxsr7N", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}'),
        ('webpush', '{"endpoint": "https://push.example.net/", "keys": {"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw5", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}'),
        ('webpush', '{"endpoint": "https://push.example.net/", "keys": {"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "auth": "BTBZMqHH6r4Tts7J"}}')) AS v(channel, address)
    LOOP
        BEGIN
            PERFORM notify._check_address(bad.channel, bad.address);
            RAISE NOTICE '% %: accepted', bad.channel, bad.address;
        EXCEPTION WHEN invalid_parameter_value THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            RAISE NOTICE '% | %', sqlerrm, detail;
        END;
    END LOOP;
END
$$;
SET client_min_messages = warning;
DROP SCHEMA channel_test CASCADE;
