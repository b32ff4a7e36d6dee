# Files that e-mail carries: attached, and shown in the html, by a real SMTP
# server and read back with Python's email package; the same by the HTTP presets
# that can say it; and what happens to a letter whose file is not there.
#
# Catches: a file changed by one byte on its way, a name that is not what was
# said, a line too long, a letter sent without what belongs to it, a missing file
# that stops its neighbours, somebody else's file, a file left in the dump or in
# the logs, and megabytes held for letters that only wait.

use strict;
use warnings;
use utf8;
use Encode qw(encode);
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('attachments', conf => "notify_pg.poll_interval = '50ms'\n");
my $mail = smtp_sink();
my $web = http_sink();

sub sql { return $node->safe_psql('postgres', encode('UTF-8', join '', @_)) }
sub status { return "SELECT status || coalesce('/' || detail, '') FROM notify.delivery WHERE recipient = '$_[0]' ORDER BY message DESC LIMIT 1" }

# What an independent reader finds in the last mail to somebody: a line for each part.
my $reader = PostgreSQL::Test::Utils::tempdir . '/read.py';
append_to_file($reader, encode('UTF-8', q{
import email, email.policy, hashlib, re, sys
raw = open(sys.argv[1], "rb").read()
assert all(len(l) <= 78 for l in raw.split(b"\r\n")), "a line is too long"
assert b"\n" not in raw.replace(b"\r\n", b"") and max(raw) < 128, "not CRLF and ASCII"
message = email.message_from_bytes(raw, policy=email.policy.SMTP)
def show(part, depth):
    assert not part.defects, part.defects
    what = part.get_content_type()
    if part.is_multipart():
        print("  " * depth + what + ("" if what != "multipart/related" else " " + part.get_param("type")))
        for p in part.iter_parts():
            show(p, depth + 1)
    elif part.get_content_disposition():
        content = part.get_payload(decode=True)
        print("  " * depth + " ".join([what, part.get_content_disposition(), part.get_filename(), str(part["content-id"]), hashlib.sha256(content).hexdigest()]))
    else:
        print("  " * depth + what + " " + part.get_content().strip())
show(message, 0)
}));

sub parts
{
	my ($address) = @_;
	my ($found) = grep { $_->{rcpt_tos}[0] eq $address } reverse $mail->mails;
	return 'no mail' unless $found;
	my ($out, $err) = run_command([ '/usr/bin/env', 'PYTHONIOENCODING=utf-8', '/usr/bin/python3', $reader, "$mail->{dir}/$found->{file}" ]);
	return "$out$err\n";    # bytes
}

sub is_mail { my ($address, $expected, $name) = @_; return is(parts($address), encode('UTF-8', $expected), $name) }

sub digest { return sql("SELECT encode(sha256, 'hex') FROM notify.attachment WHERE name = '$_[0]'") }

sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('orders', 'transactional', '{email}');
	INSERT INTO notify.attachment (name, content_type, filename, content) VALUES
		('logo-1', 'image/png', 'logo.png', decode('89504e470d0a1a0a', 'hex') || (SELECT string_agg(sha256(n::text::bytea), '') FROM generate_series(1, 100) AS n)),
		('terms/agb.pdf', 'application/pdf', NULL, (SELECT string_agg(sha256(n::text::bytea), '') FROM generate_series(1, 999) AS n)),
		('invite', 'text/calendar; method=REQUEST; charset=UTF-8', '邀请.ics', convert_to('BEGIN:VCALENDAR', 'UTF8')),
		('every-byte', 'application/octet-stream', NULL, (SELECT string_agg(decode(lpad(to_hex(n), 2, '0'), 'hex'), '' ORDER BY n) FROM generate_series(0, 255) AS n));
	INSERT INTO notify.template (name, channel, subject, body, html, attachments) VALUES
		('plain', 'email', 'Terms', 'See the file.', NULL, '["terms/agb.pdf", "every-byte"]'),
		('shown', 'email', 'Logo', 'Text', '<p>Hi <img src="cid:logo"></p>', '[{"name": "logo-1", "cid": "logo"}]'),
		('both', 'email', 'Order {{ n }}', 'Text', '<p>Hi <img src="cid:logo"></p>',
			'[{"name": "logo-1", "cid": "logo"}, {"name": "invoice-{{ n }}", "filename": "发票 {{ n }} «für Müller» — Bestellung vom November.pdf"}, "{{ more | join: \\"\\n\\" }}"]'),
		('hostile', 'email', 'Hi', 'Text', NULL, '[{"name": "terms/agb.pdf", "filename": "{{ said }}"}]');
	INSERT INTO notify.provider (name, channel, preset, settings, priority) VALUES ('mail', 'email', 'smtp',
		'{"host": "127.0.0.1", "port": @{[$mail->port]}, "tls": "none", "from": "shop\@shop.example"}', 1);
	INSERT INTO notify.recipient (id) VALUES ('ann'), ('bob');
	INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'email', 'ann\@x.example'), ('bob', 'email', 'bob\@x.example');
	INSERT INTO notify.attachment (name, content_type, content, recipient) VALUES ('invoice-7', 'application/pdf', 'seven', 'ann');
});

#
# Attached, shown, both; names in any script
#
sql(q{SELECT notify.send('ann', 'plain', '{}', 'orders')});
ok(wait_for_sql($node, status('ann'), 'sent'), 'a letter with files is taken');
is_mail('ann@x.example', "multipart/mixed\n  text/plain See the file.\n  application/pdf attachment agb.pdf None @{[digest('terms/agb.pdf')]}\n"
	. "  application/octet-stream attachment every-byte None @{[digest('every-byte')]}\n", 'text and files, byte for byte');
sql(q{SELECT notify.send('ann', 'shown', '{}', 'orders')});
wait_for_drain($node);
my $html = qq{  text/plain Text\n  multipart/related text/html\n    text/html <p>Hi <img src="cid:logo"></p>\n    image/png inline logo.png <logo> @{[digest('logo-1')]}\n};
is_mail('ann@x.example', "multipart/alternative\n$html", 'an image is related to the html that shows it');
sql(q{SELECT notify.send('ann', 'both', '{"n": 7, "more": ["invite", "every-byte"]}', 'orders')});
wait_for_drain($node);
(my $deeper = $html) =~ s/^/  /mg;
is_mail('ann@x.example', "multipart/mixed\n  multipart/alternative\n$deeper"
	. "  application/pdf attachment 发票 7 «für Müller» — Bestellung vom November.pdf None @{[digest('invoice-7')]}\n"
	. "  text/calendar attachment 邀请.ics None @{[digest('invite')]}\n"
	. "  application/octet-stream attachment every-byte None @{[digest('every-byte')]}\n", 'an event names an invoice, and more, in any script');
sql(q{INSERT INTO notify.attachment (name, content) VALUES ('invoice-8', 'eight'); SELECT notify.send('ann', 'both', '{"n": 8, "more": []}', 'orders')});
wait_for_drain($node);
my $eight = encode('UTF-8', 'attachment 发票 8 «für');
like(parts('ann@x.example'), qr/$eight[^\n]*\n\z/, 'an empty list carries nothing more');

#
# What a word of an event's may not do
#
sql(q{SELECT notify.send('ann', 'hostile', '{"said": "a\r\nBcc: eve@x.example\r\n\r\nboo"}', 'orders')});
ok(wait_for_sql($node, status('ann'), "failed/the attachment's file name of a message contains a control character"), 'begin a header');
sql(q{SELECT notify.send('ann', 'hostile', '{"said": "../..\\\\etc/pass\"wd;x="}', 'orders')});
wait_for_drain($node);
like(parts('ann@x.example'), qr/attachment \.\._\.\._etc_pass"wd;x= None/, 'name a path, or leave its quotes');
sql(q{SELECT notify.send('bob', 'both', '{"n": 7, "more": []}', 'orders')});
ok(wait_for_sql($node, status('bob'), 'failed/attachment "invoice-7" belongs to another recipient'), 'get somebody else\'s file');

#
# What is not there fails its letter alone
#
my $before = scalar $mail->mails;
sql(q{SELECT notify.hold('test')});
sql(q{SELECT notify.send('ann', 'both', jsonb_build_object('n', CASE WHEN g = 5 THEN 99 ELSE 7 END, 'more', '[]'::jsonb), 'orders') FROM generate_series(1, 9) AS g});
ok(wait_for_sql($node, 'SELECT count(*) FROM notify.ready', 9), 'nine letters wait together');
sql('SELECT notify.arm()');
wait_for_drain($node);
is(sql(q{SELECT string_agg(status || coalesce('/' || detail, ''), ' ' ORDER BY message) FROM (SELECT * FROM notify.delivery ORDER BY message DESC LIMIT 9) AS d}),
	join(' ', ('sent') x 4, 'failed/attachment "invoice-99" does not exist', ('sent') x 4), 'one fails with its reason, the others go');
is(scalar $mail->mails, $before + 8, 'and no letter goes without its file');
is(sql(q{SELECT coalesce(problem, 'fine') FROM notify.provider}), 'fine', 'which says nothing of the provider');
sql(q{ALTER TABLE notify.attachment RENAME TO mislaid; SELECT notify.send('ann', 'plain', '{}', 'orders')});
ok(wait_for_sql($node, status('ann'), 'retrying/its attachments could not be read; the server\'s log says why'), 'a fault of the database is tried again');
sql(q{ALTER TABLE notify.mislaid RENAME TO attachment});
sql(q{UPDATE notify.scheduled SET due_at = notify.now()});
ok(wait_for_sql($node, status('ann'), 'sent'), 'and goes when it is mended');

#
# Megabytes: the limit of a message, and how much is held at a time
#
sql(q{INSERT INTO notify.attachment (name, content) SELECT 'mega-' || n, (SELECT string_agg(sha256((n * 1000000 + i)::text::bytea), '') FROM generate_series(1, 5242880 / 32) AS i) FROM generate_series(1, 4) AS n;
	INSERT INTO notify.template (name, channel, subject, body, attachments) VALUES ('mega', 'email', 'Mega', 'See the file.', '["{{ names | join: \"\\n\" }}"]')});
sql(q{SELECT notify.send('ann', 'mega', '{"names": ["mega-1", "mega-2", "mega-3"]}', 'orders')});
ok(wait_for_sql($node, status('ann')  , 'sent'), '15 MB go');
is_mail('ann@x.example', join("\n  ", 'multipart/mixed', 'text/plain See the file.', map { "application/octet-stream attachment mega-$_ None " . digest("mega-$_") } 1 .. 3) . "\n", 'whole');
sql(q{SELECT notify.send('ann', 'mega', '{"names": ["mega-1", "mega-2", "mega-3", "every-byte"]}', 'orders')});
ok(wait_for_sql($node, status('ann'), 'failed/a message carries 15728640 bytes (15 MB) of attachments at most, not 15728896'), 'one byte more does not');
$mail->behave({ data => '451 4.3.0 later' });
my $pid = sql(q{SELECT pid FROM notify.stat_worker WHERE kind = 'dispatcher'});
sub resident { my ($kb) = slurp_file("/proc/$_[0]/status") =~ /$_[1]:\s+(\d+) kB/; return $kb / 1024 }
sql(q{SELECT notify.send('bob', 'mega', '{"names": ["mega-1", "mega-2"]}', 'orders') FROM generate_series(1, 12)});
ok(wait_for_sql($node, q{SELECT count(DISTINCT message) FROM notify.outcome WHERE verdict = 'retrying' AND message IN (SELECT id FROM notify.message WHERE recipient = 'bob')}, 12), 'twelve letters of 10 MB are tried');
cmp_ok(resident($pid, 'VmHWM'), '<', 300, 'without holding them all: at most ' . int(resident($pid, 'VmHWM')) . ' MB');
is(sql(q{SELECT pid FROM notify.stat_worker WHERE kind = 'dispatcher'}), $pid, 'by the same dispatcher');
sql(q{SELECT notify.cancel(message, 'enough') FROM notify.scheduled});
$mail->behave({});

#
# By HTTP
#
$web->behave({ '/v3/mail/send' => ['/status/202'], '/v2/email/outbound-emails' => ['/status/200'], '/own' => ['/status/200'] });
sql(qq{
	INSERT INTO notify.secret VALUES ('key', 'SG.1234567890');
	UPDATE notify.provider SET enabled = false;
	INSERT INTO notify.provider (name, preset, settings) VALUES ('sendgrid', 'sendgrid', '{"api_key": {"secret": "key"}, "from": "shop\@shop.example", "endpoint": "@{[$web->url('')]}"}');
	SELECT notify.send('ann', 'both', '{"n": 7, "more": ["terms/agb.pdf"]}', 'orders');
});
ok(wait_for_sql($node, status('ann'), 'sent'), 'SendGrid takes files');
my $body = NotifyTest::decode_json(encode('UTF-8', ($web->entries('/v3/mail/send'))[-1]{body}));
sub base64 { return sql("SELECT translate(encode(content, 'base64'), E'\\n', '') FROM notify.attachment WHERE name = '$_[0]'") }
is_deeply($body->{attachments}, [
	{ filename => 'logo.png', type => 'image/png', disposition => 'inline', content_id => 'logo', content => base64('logo-1') },
	{ filename => '发票 7 «für Müller» — Bestellung vom November.pdf', type => 'application/pdf', disposition => 'attachment', content => base64('invoice-7') },
	{ filename => 'agb.pdf', type => 'application/pdf', disposition => 'attachment', content => base64('terms/agb.pdf') } ], 'each as its page says');
sql(qq{
	UPDATE notify.provider SET enabled = false;
	INSERT INTO notify.provider (name, preset, settings) VALUES ('ses', 'aws_ses', '{"access_key_id": "AKIA", "secret_access_key": {"secret": "key"}, "region": "eu-west-1", "from": "shop\@shop.example", "endpoint": "@{[$web->url('')]}"}');
	SELECT notify.send('ann', 'both', '{"n": 7, "more": ["terms/agb.pdf"]}', 'orders');
});
ok(wait_until('SES was asked', sub { $web->entries('/v2/email/outbound-emails') }), 'SES is asked');
$body = NotifyTest::decode_json(encode('UTF-8', ($web->entries('/v2/email/outbound-emails'))[-1]{body}));
is_deeply($body->{Content}{Simple}{Attachments}, [
	{ FileName => 'logo.png', ContentType => 'image/png', ContentDisposition => 'INLINE', ContentId => 'logo', ContentTransferEncoding => 'BASE64', RawContent => base64('logo-1') },
	{ FileName => '发票 7 «für Müller» — Bestellung vom November.pdf', ContentType => 'application/pdf', ContentDisposition => 'ATTACHMENT', ContentTransferEncoding => 'BASE64', RawContent => base64('invoice-7') },
	{ FileName => 'agb.pdf', ContentType => 'application/pdf', ContentDisposition => 'ATTACHMENT', ContentTransferEncoding => 'BASE64', RawContent => base64('terms/agb.pdf') } ], 'each as its page says');
sql(q{SELECT notify.cancel(message, 'enough') FROM notify.scheduled});
sql(qq{
	UPDATE notify.provider SET enabled = false;
	INSERT INTO notify.preset (name, channel, settings, url, body) VALUES ('own', 'email', '{"endpoint": {"kind": "url", "required": true}}', '{{ settings.endpoint }}/own', '{"to": {{ address | json }}, "text": {{ message.body | json }}}');
	INSERT INTO notify.provider (name, preset, settings) VALUES ('own', 'own', '{"endpoint": "@{[$web->url('')]}"}');
	SELECT notify.send('ann', 'plain', '{}', 'orders');
});
ok(wait_for_sql($node, status('ann'), 'failed/preset "own" does not say how to carry attachments'), 'a preset that cannot carry files sends no letter without them');
is(scalar $web->entries('/own'), 0, 'not at all');

#
# Where a file may be found afterwards
#
my $mark = 'seven';
is(sql(qq{SELECT count(*) FROM notify.event e, notify.message m WHERE (e::text || m::text) LIKE '%' || encode('$mark'::bytea, 'hex') || '%'}), 0, 'no content is in events or messages');
my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr('postgres') ]);
like($dump, qr/\tevery-byte|every-byte\t/, 'a dump has the files of templates');
unlike($dump, qr/invoice-7\t/, 'and no person\'s');
append_to_file("$reader.sql", $dump);
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'psql', '-XAq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('copy'), '-f', "$reader.sql" ], 'it is restored');
is($node->safe_psql('copy', q{SELECT string_agg(name, ' ' ORDER BY name) FROM notify.attachment WHERE name !~ 'mega'}), 'every-byte invite invoice-8 logo-1 terms/agb.pdf', 'with its files');
is($node->safe_psql('copy', q{SELECT count(*) FROM notify.attachment a WHERE sha256 <> sha256(content)}), 0, 'byte for byte');
is($node->safe_psql('copy', q{SELECT notify.arm(); SELECT count(*) FILTER (WHERE problem IS NOT NULL), count(*) FILTER (WHERE attachments IS NOT NULL) > 3 FROM notify.template}), "\n0|t", 'and nothing is wrong with the templates that name them');
is(sql(q{SELECT notify.erase_recipient('ann') ->> 'attachments'}), 1, 'who is erased takes theirs along');
done_testing();
