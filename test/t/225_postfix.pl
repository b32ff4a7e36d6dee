# Mail to Postfix: whether its SMTP server takes what we say, and what it took is
# what was meant, read back with Python's email package. What refusals mean is
# shown in 220_smtp.pl.
#
# Catches: a command that a strict server does not take, a line, a dot or a line end
# changed on the way, a header that means something else to another reader, letters
# mixed up on a kept connection.

use strict;
use warnings;
use utf8;
use Encode qw(encode);
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($postfix, $why_not) = postfix_sink();
plan skip_all => "no Postfix here: $why_not" unless $postfix;
my $node = notify_cluster('postfix', conf => "notify_pg.breaker_pause = 0\n");

sub sql { return $node->safe_psql('postgres', encode('UTF-8', join '', @_)) }

my $body = join "\n", 'Hello.', '.', '..two dots', '.one', 'From here', 'trailing blank ', 'a' x 1200, '您好，您的订单已发货。', "tab\there", '';
my $html = '<p>Grüße <img src="cid:logo"></p>';
sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{email}'), ('offers', 'marketing', '{email}');
	INSERT INTO notify.attachment (name, content_type, content) VALUES ('logo.png', 'image/png', '\\x89504e470d0a1a0a'),
		('large', 'application/octet-stream', (SELECT string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 50000) AS i));

	INSERT INTO notify.template (name, channel, subject, body, html, attachments) VALUES
		('plain', 'email', '订单 4711 已发货 — “Größe” & ' || repeat('lang ', 30), \$b\$$body\$b\$, NULL, NULL),
		('all', 'email', 'All', \$b\$$body\$b\$, '$html', '[{"name": "logo.png", "cid": "logo"}, {"name": "large", "filename": "Rechnung für 王芳.pdf"}]');
	INSERT INTO notify.provider (name, preset, settings, max_attempts) VALUES ('mail', 'smtp', '{"host": "127.0.0.1", "port": @{[$postfix->port]}, "tls": "none", "helo": "db.shop.example",
		"from": "Möbel & Co, \\"Shop\\" <shop\@shop.example>", "reply_to": "Hilfe <hilfe\@shop.example>", "envelope_from": "bounces+*\@shop.example", "unsubscribe_url": "https://shop.example/leave"}', 1);
});

sub send_to
{
	my ($local, $template, $category) = @_;
	sql(qq{INSERT INTO notify.recipient (id) VALUES ('$local') ON CONFLICT DO NOTHING;
		INSERT INTO notify.address (recipient, channel, address) VALUES ('$local', 'email', '$local\@x.example') ON CONFLICT DO NOTHING;
		SELECT notify.send('$local', '$template', '{}', '@{[$category // 'c']}')});
	wait_for_sql($node, "SELECT count(*) FROM notify.ready", 0);
	wait_for_sql($node, "SELECT o.class IS NOT NULL FROM notify.outcome o WHERE o.message = (SELECT max(message) FROM notify.delivery WHERE recipient = '$local') ORDER BY o.at LIMIT 1");
	return sql("SELECT concat_ws('|', o.class, o.code, o.detail) FROM notify.outcome o WHERE o.message = (SELECT max(message) FROM notify.delivery WHERE recipient = '$local') ORDER BY o.at LIMIT 1");
}

my $reader = PostgreSQL::Test::Utils::tempdir . '/read.py';
append_to_file($reader, encode('UTF-8', q{
import email, email.policy, hashlib, json, sys
raw = open(sys.argv[1], "rb").read()
m = email.message_from_bytes(raw, policy=email.policy.SMTP)
parts = [p for p in m.walk() if not p.is_multipart()]
print(json.dumps({
    "subject": m["subject"], "from": [[a.display_name, a.addr_spec] for a in m["from"].addresses], "reply": m["reply-to"].addresses[0].addr_spec, "list": m["list-unsubscribe"],
    "defects": [str(d) for p in m.walk() for d in p.defects], "longest": max(len(l) for l in raw.split(b"\r\n")),
    "types": [p.get_content_type() for p in m.walk()], "text": m.get_body(("plain",)).get_content().replace("\r\n", "\n"),
    "files": [[p.get_filename(), hashlib.sha256(p.get_payload(decode=True)).hexdigest()] for p in parts if p.get_content_disposition()]}))
}));

sub read_mail
{
	my ($local) = @_;
	my ($found) = grep { $_->{rcpt_tos}[0] eq "$local\@x.example" } reverse $postfix->mails;
	my ($out, $err) = run_command([ '/usr/bin/python3', $reader, "$postfix->{dir}/$found->{file}" ]);
	my $mail = NotifyTest::decode_json($out);
	$mail->{mail_from} = $found->{mail_from};
	return $mail;
}

# Taken
like(send_to('ann', 'plain', 'offers'), qr/^ok\|250/, 'Postfix takes a letter');
my $mail = read_mail('ann');
is($mail->{text}, $body, 'the words are what they were, dots, blanks and long lines among them');
is($mail->{subject}, '订单 4711 已发货 — “Größe” & ' . 'lang ' x 30, 'and the subject');
is_deeply($mail->{from}, [ [ 'Möbel & Co, "Shop"', 'shop@shop.example' ] ], 'and the sender');
is($mail->{reply}, 'hilfe@shop.example', 'and whom to answer');
like($mail->{list}, qr{^ *<https://shop\.example/leave\?token=}, 'and how to leave');
like($mail->{mail_from}, qr/^bounces\+\d+-[0-9a-f]{16}\@shop\.example$/, 'the return path says which it was');
is_deeply($mail->{defects}, [], 'nothing is wrong with its form');
cmp_ok($mail->{longest}, '<=', 998, 'no line is too long');
like(sql('SELECT reference FROM notify.outcome'), qr/^[0-9]+$/, 'its queue id is kept');
like(send_to('bob', 'all'), qr/^ok\|250/, 'a letter with files, over a kept connection');
$mail = read_mail('bob');
is_deeply($mail->{types}, [qw(multipart/mixed multipart/alternative text/plain multipart/related text/html image/png application/octet-stream)], 'is made as it should be');
is_deeply($mail->{files}, [ map { [ $_->[0], sql("SELECT encode(sha256, 'hex') FROM notify.attachment WHERE name = '$_->[1]'") ] } [ 'logo.png', 'logo.png' ], [ 'Rechnung für 王芳.pdf', 'large' ] ], 'its files are whole');
is($mail->{text}, $body, 'its words, too');
my $many = 40;
sql(qq{INSERT INTO notify.recipient (id) SELECT 'm' || n FROM generate_series(1, $many) AS n; INSERT INTO notify.address (recipient, channel, address) SELECT id, 'email', id || '\@x.example' FROM notify.recipient WHERE id LIKE 'm%';
	SELECT notify.send(id, 'plain', '{}', 'c') FROM notify.recipient WHERE id LIKE 'm%'});
wait_for_drain($node);
is(scalar(grep { $_->{rcpt_tos}[0] =~ /^m\d/ } $postfix->mails), $many, 'many at once, each to its own');

$node->stop;
done_testing();
