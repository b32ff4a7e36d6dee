# Mail to Postfix: whether its SMTP server takes what we say, and what it took is
# what was meant, read back with Python's email package; and what we make of its
# own words when it takes nothing, of its STARTTLS and its AUTH (who asks for the
# password in Dovecot's place is the sink, so that no SASL package is needed).
#
# Catches: a command that a strict server does not take, a line, a dot or a line end
# changed on the way, a header that means something else to another reader, letters
# mixed up on a kept connection; an address given up because of a policy, or kept
# after "User unknown"; letters burnt one by one on a server that refuses us as
# sender, and only says so at the recipient's turn; a provider paused because of one
# person's server, or because a person is called "relay"; a letter over TLS that
# nobody vouches for, a password that goes there.

use strict;
use warnings;
use utf8;
use Encode qw(encode);
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($cert, $cert_key) = certificate();
my ($other_cert) = certificate();
my ($postfix, $why_not) = postfix_sink(cert => $cert, key => $cert_key, auth => 'shop:Pa55-5ECRE7');
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
		INSERT INTO notify.address (recipient, channel, address) SELECT '$local', 'email', '$local\@x.example' WHERE NOT EXISTS (SELECT FROM notify.address WHERE recipient = '$local');
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
like(sql('SELECT reference FROM notify.outcome'), qr/^[0-9A-F]{6,}$/, 'its queue id is kept');
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


#
# Not taken
#
my $settings = { host => '127.0.0.1', port => $postfix->port + 0, tls => 'none', from => 'shop@shop.example' };

# Another provider in place of the one there is
sub provider
{
	my ($name, %more) = @_;
	my $json = encode_json({ %$settings, %more });
	sql(qq{UPDATE notify.provider SET enabled = false WHERE channel = 'email';
		INSERT INTO notify.provider (name, preset, settings, max_attempts) VALUES ('$name', 'smtp', '$json', 3)});
}

sub problem { return sql("SELECT problem FROM notify.provider WHERE enabled AND channel = 'email'") }
sub state_of { return sql("SELECT state FROM notify.address WHERE recipient = '$_[0]'") }
sub status_of { return sql("SELECT status FROM notify.delivery WHERE recipient = '$_[0]' ORDER BY message DESC LIMIT 1") }

# What the first answer came to. The status is another by the time one asks: a letter may be tried again at once.
sub verdict_of { return sql("SELECT o.verdict FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$_[0]' ORDER BY o.at LIMIT 1") }
sub mails_to { my ($local) = @_; return scalar grep { $_->{rcpt_tos}[0] =~ /^\Q$local\E@/ } $postfix->mails }

sql(q{INSERT INTO notify.template (name, channel, subject, body) VALUES ('win', 'email', 'Our lottery', 'Hello');
	INSERT INTO notify.attachment (name, content_type, content) VALUES ('huge', 'application/octet-stream', (SELECT string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 150000) AS i));
	INSERT INTO notify.template (name, channel, subject, body, attachments) VALUES ('heavy', 'email', 'Heavy', 'Hello', '[{"name": "huge"}]')});
provider('refusing');
for my $case (
	# recipient, template, outcome, verdict, state of the address
	[ 'gone', 'plain', qr/^permanent_recipient\|550\|550 to RCPT TO: 5\.1\.1 .*User unknown in local recipient table/, 'failed', 'invalid' ],
	[ 'private', 'plain', qr/^permanent_message\|554\|554 to RCPT TO: 5\.7\.1 .*Recipient address rejected: Access denied/, 'failed', 'active' ],
	[ 'private+relay', 'plain', qr/^permanent_message\|554\|554 to RCPT TO: 5\.7\.1 <private\+relay\@x\.example>: Recipient address rejected/, 'failed', 'active' ],
	[ 'win', 'win', qr/^permanent_message\|550\|.*5\.7\.1 no lotteries here/, 'failed', 'active' ],
	[ 'heavy', 'heavy', qr/^permanent_message\|552\|552 to MAIL FROM: 5\.3\.4 Message size exceeds/, 'failed', 'active' ],
	[ 'busy', 'plain', qr/^retry\|450\|450 to RCPT TO: 4\.2\.1 .*The mailbox is busy/, 'retrying', 'active' ],
	[ 'cy', 'plain', qr/^ok\|250/, 'sent', 'active' ])
{
	my ($local, $template, $outcome, $verdict, $state) = @$case;
	like(send_to($local, $template), $outcome, "$local: what Postfix says, and what that comes to");
	is(verdict_of($local), $verdict, 'its letter');
	is(state_of($local), $state, 'and the address');
	is(mails_to($local), $verdict eq 'sent' ? 1 : 0, 'as Postfix has it');
	is(problem(), '', 'the provider has no problem');
}
is(sql('SELECT count(*) FROM notify.suppression'), 0, 'nobody is suppressed');
sql(q{SELECT notify.send('gone', 'plain', '{}', 'c')});
wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.delivery WHERE recipient = 'gone'});
is(status_of('gone'), 'skipped', 'nothing more goes to who is gone');

# We are refused: the provider has a problem, what it was given waits, people are left alone.
# Who waits is tried by the next provider, too: none of them may take a letter of those before, which ends its problem.
my @ours = (
	[ 'relaying', {}, 'fay', qr/^auth\|554\|554 to RCPT TO: 5\.7\.1 .*Relay access denied/ ],
	[ 'sender', { from => 'shop@refused.example' }, 'dan', qr/^auth\|554\|554 to RCPT TO: 5\.7\.1 .*Sender address rejected: Access denied/ ],
	[ 'greeting', { helo => 'refused.example' }, 'eve', qr/^auth\|554\|554 to RCPT TO: 5\.7\.1 .*Helo command rejected: Access denied/ ]);
sql(q{INSERT INTO notify.recipient (id) VALUES ('fay'); INSERT INTO notify.address (recipient, channel, address) VALUES ('fay', 'email', 'fay@y.example')});
for my $case (@ours)
{
	my ($name, $more, $local, $outcome) = @$case;
	provider($name, %$more);
	like(send_to($local, 'plain'), $outcome, "$name refused, said at the recipient's turn");
	like(problem(), qr/5\.7\.1/, 'is the provider\'s problem');
	is(verdict_of($local), 'retrying', 'its letter waits');
	is(state_of($local), 'active', 'the address is left alone');
}

# TLS and a login
sql("INSERT INTO notify.secret VALUES ('mail_password', 'Pa55-5ECRE7')");
provider('safe', tls => 'required', ca_file => $cert, username => 'shop', password => { secret => 'mail_password' });
like(send_to('gus', 'plain'), qr/^ok\|250/, 'STARTTLS, whose certificate our authority signed, and a login');
my ($letter) = grep { $_->{rcpt_tos}[0] eq 'gus@x.example' } $postfix->mails;
like($letter->{content}, qr/^Received: .*\(using TLSv1\.[23] with cipher.*\(Authenticated sender: shop\).*with ESMTPSA/s, 'Postfix saw both');
provider('unsafe', tls => 'required', ca_file => $other_cert, username => 'shop', password => { secret => 'mail_password' });
like(send_to('hal', 'plain'), qr/^provider_down\|.*certificate/, 'a certificate that another authority signed');
is(mails_to('hal'), 0, 'is given nothing');
provider('unknown', tls => 'required', username => 'shop', password => { secret => 'mail_password' });
like(send_to('ida', 'plain'), qr/^provider_down\|.*certificate/, 'nor is one that the system does not know');
is(mails_to('ida'), 0, 'is given nothing');
my $log = slurp_file("$postfix->{dir}/log");
is(scalar(() = $log =~ /disconnect from .* auth=/g), scalar(() = $log =~ /disconnect from .* ehlo=2 starttls=1 auth=/g), 'no password but where it was safe');
provider('wrong', tls => 'required', ca_file => $cert, username => 'shop', password => { secret => 'mail_password' });
sql("UPDATE notify.secret SET value = 'wr0ng-5ECRE7'");
like(send_to('jan', 'plain'), qr/^auth\|535\|535 to AUTH: 5\.7\.8 Error: authentication failed/, 'a wrong password');
like(problem(), qr/5\.7\.8/, 'is the provider\'s problem');
is(verdict_of('jan'), 'retrying', 'its letter waits');
unlike(sql("SELECT string_agg(o::text, ' ') FROM notify.outcome o"), qr/5ECRE7|NVDUkU3/, 'what is kept of all that holds no password');

$node->stop;
done_testing();
