# E-mail over real SMTP: with and without TLS, with a login that is right or
# wrong, to servers that accept, refuse, drop the line or never answer; and
# whatever they do, webhooks go on.
#
# Catches: a letter in clear where TLS is required, or to a server whose
# certificate does not hold; an address given up for a policy refusal or kept
# after "no such user"; an ambiguous at-most-once letter sent again; another
# Message-ID at the second attempt; words that arrive as other words; a
# password in a log; and above all a conversation that blocks the dispatcher,
# as libcurl's own SMTP does while it waits for the reply to a letter.

use strict;
use warnings;
use utf8;
use Encode qw(encode);
use IO::Socket::INET;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = notify_cluster('smtp');
my ($cert, $cert_key) = certificate();
my $plain = smtp_sink();
my $required = smtp_sink(tls => 'required', cert => $cert, key => $cert_key, auth => 'shop:Pa55-5ECRE7');
my $implicit = smtp_sink(tls => 'implicit', cert => $cert, key => $cert_key);
my $http = http_sink();

sub sql
{
	return $node->safe_psql('postgres', encode('UTF-8', join '', @_));
}

# The text of {{ tricky }}: what SMTP and MIME have to carry unharmed.
my $tricky = join "\n", '您好 Zoë, "quoted" & <b>', '.', '..two dots', '.leading dot', 'From here', 'ends in blanks  ',
  'x' x 2000, '长' x 700, '', 'the end';

sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{email}'), ('hooks', 'transactional', '{webhook}');
	INSERT INTO notify.category (name, class, channels, at_most_once) VALUES ('once', 'transactional', '{email}', true);
	INSERT INTO notify.template (name, channel, subject, body, html) VALUES
		('hello', 'email', 'Grüße an {{ recipient.name }} ✓: "您好", sagte er – {{ n }}', '{{ text }}', '<p>{{ text }}</p>'),
		('note', 'email', 'Note', 'Hello', NULL);
	INSERT INTO notify.template (name, channel, body) VALUES ('note', 'webhook', '{}');
	INSERT INTO notify.provider (name, channel, preset, settings)
	VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/hook')]}"}');
	INSERT INTO notify.recipient (id) VALUES ('hooked');
});

# The provider that serves e-mail from here on.
my $rank = 0;

sub provider
{
	my ($name, $port, $settings, $more) = @_;
	$rank--;
	my $json = encode_json({ host => '127.0.0.1', port => $port + 0, tls => 'none', from => 'orders@shop.example',
		timeout_ms => 3000, %$settings });
	utf8::decode($json);
	my %columns = (max_attempts => 2, %{ $more // {} });
	return "INSERT INTO notify.provider (name, channel, preset, priority, settings, @{[join ', ', sort keys %columns]}) "
	  . "VALUES ('$name', 'email', 'smtp', $rank, '$json', @{[join ', ', map { $columns{$_} } sort keys %columns]});";
}

sub person
{
	my ($address, $name) = @_;
	my $id = ($name // '') eq '' ? $address : $name;
	return "INSERT INTO notify.recipient (id, name) VALUES ('$address', '$id');"
	  . "INSERT INTO notify.address (recipient, channel, address) VALUES ('$address', 'email', '$address');";
}

sub note_to
{
	my ($address, $category) = @_;
	$category //= 'news';
	return "SELECT notify.send('$address', 'note', '{}', '$category');";
}

sub outcomes
{
	my ($address, $columns) = @_;
	return sql("SELECT $columns FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$address' ORDER BY o.at");
}

sub wait_for_status
{
	my ($address, $status, $what) = @_;
	return ok(wait_for_sql($node,
		"SELECT status FROM notify.delivery WHERE recipient = '$address' ORDER BY message DESC LIMIT 1", $status), $what);
}

# A mail as Python's e-mail package reads it.
sub read_mail
{
	my ($sink, $mail) = @_;
	my ($out, $err) = run_command([ '/usr/bin/python3', '-c', q{
import email, email.policy, json, sys
mail = email.message_from_file(open(sys.argv[1], newline="", encoding="ascii"), policy=email.policy.default)
print(json.dumps({"headers": {k.lower(): str(v) for k, v in mail.items()}, "defects": [str(d) for p in mail.walk() for d in p.defects],
    "parts": {p.get_content_type(): p.get_content().replace("\\r\\n", "\\n") for p in mail.walk() if not p.is_multipart()}}))
}, $sink->dir . '/' . $mail->{file} ]);
	return decode_json($out) if $out;
	diag($err);
	return {};
}

sub mails_to
{
	my ($sink, $address) = @_;
	return grep { $_->{rcpt_tos}[0] eq $address } $sink->mails;
}

#
# Plain, and words
#
(my $quoted = encode_json({ text => $tricky, n => 7 })) =~ s/'/''/g;
utf8::decode($quoted);
sql(provider('plain', $plain->port, { from => '小店 "Größe" <orders@shop.example>', reply_to => 'Hilfe für Sie <help@shop.example>' }),
	person('zoe@x.example', 'Zoë 王芳'), "SELECT notify.send('zoe\@x.example', 'hello', '$quoted', 'news')");
wait_for_status('zoe@x.example', 'sent', 'a mail is sent');
my ($mail) = mails_to($plain, 'zoe@x.example');
is($mail->{mail_from}, 'orders@shop.example', 'envelope sender');
is($mail->{tls} ? 1 : 0, 0, 'in clear, as asked');
unlike($mail->{content}, qr/[^\r\n\t -~]/, 'nothing but ASCII on the wire');
unlike($mail->{content}, qr/(?<!\r)\n|\r(?!\n)|[^\r\n]{999}/, 'in lines as SMTP wants them');
my $read = read_mail($plain, $mail);
is_deeply($read->{defects}, [], 'well-formed');
is($read->{headers}{subject}, 'Grüße an Zoë 王芳 ✓: "您好", sagte er – 7', 'subject');
is($read->{headers}{from}, '"小店 \"Größe\"" <orders@shop.example>', 'sender');
like($read->{headers}{'reply-to'}, qr/Hilfe für Sie.* <help\@shop\.example>/, 'reply-to');
is($read->{headers}{to}, 'zoe@x.example', 'recipient');
is($read->{parts}{'text/plain'}, "$tricky\n", 'text, every dot and blank of it');
(my $escaped = $tricky) =~ s/([&<>"])/{'&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;'}->{$1}/ge;
is($read->{parts}{'text/html'}, "<p>$escaped</p>\n", 'html, escaped');
like(outcomes('zoe@x.example', "o.class || ' ' || o.code || ' ' || o.reference"), qr/^ok 250 000001$/, 'the server\'s id is kept');

#
# Answers
#
my @cases = (
	# address, category, class, code, verdict of the first attempt, status, mails kept, state of the address, detail
	[ 'good1@x.example', 'news', 'ok', 250, 'sent', 'sent', 1, 'active', qr/^$/ ],
	[ 'rcpt-550-5.1.1@x.example', 'news', 'permanent_recipient', 550, 'failed', 'failed', 0, 'invalid', qr/RCPT TO: 5\.1\.1/ ],
	[ 'rcpt-551@x.example', 'news', 'permanent_recipient', 551, 'failed', 'failed', 0, 'invalid', qr/RCPT TO/ ],
	[ 'rcpt-550-5.7.1@x.example', 'news', 'permanent_message', 550, 'failed', 'failed', 0, 'active', qr/5\.7\.1/ ],
	[ 'rcpt-552-5.2.2@x.example', 'news', 'permanent_message', 552, 'failed', 'failed', 0, 'active', qr/5\.2\.2/ ],
	[ 'rcpt-450-4.2.1@x.example', 'news', 'retry', 450, 'retrying', 'dead', 0, 'active', qr/4\.2\.1/ ],
	[ 'rcpt-451-4.3.0@x.example', 'news', 'retry', 451, 'retrying', 'dead', 0, 'active', qr/4\.3\.0/ ],
	[ 'data-451-4.3.0@x.example', 'news', 'retry', 451, 'retrying', 'dead', 0, 'active', qr/4\.3\.0/ ],
	[ 'data-452@x.example', 'news', 'retry', 452, 'retrying', 'dead', 0, 'active', qr/452/ ],
	[ 'data-552-5.3.4@x.example', 'news', 'permanent_message', 552, 'failed', 'failed', 0, 'active', qr/5\.3\.4/ ],
	[ 'data-554-5.7.1@x.example', 'news', 'permanent_message', 554, 'failed', 'failed', 0, 'active', qr/5\.7\.1/ ],
	[ 'data-550-5.1.1@x.example', 'news', 'permanent_recipient', 550, 'failed', 'failed', 0, 'invalid', qr/5\.1\.1/ ],
	[ 'slow-300@x.example', 'news', 'ok', 250, 'sent', 'sent', 1, 'active', qr/^$/ ],
	[ 'drop@x.example', 'news', 'retry', '', 'retrying', 'dead', 2, 'active', qr/no answer to message/ ],
	[ 'stall@x.example', 'news', 'retry', '', 'retrying', 'dead', 0, 'active', qr/no answer to message/ ],
	[ 'drop@once.example', 'once', 'permanent_message', '', 'failed', 'failed', 1, 'active', qr/^ambiguous: / ],
	[ 'stall@once.example', 'once', 'permanent_message', '', 'failed', 'failed', 0, 'active', qr/^ambiguous: / ],
	[ 'rcpt-451-4.3.0@once.example', 'once', 'retry', 451, 'retrying', 'dead', 0, 'active', qr/4\.3\.0/ ],
	[ 'good2@x.example', 'once', 'ok', 250, 'sent', 'sent', 1, 'active', qr/^$/ ],
	[ 'good3@x.example', 'news', 'ok', 250, 'sent', 'sent', 1, 'active', qr/^$/ ],);
sql(map { person($_->[0]) } @cases);
sql(map { note_to($_->[0], $_->[1]) } @cases);
ok(wait_for_sql($node, "SELECT ready + sending + scheduled + unplanned = 0 FROM notify.status()"), 'every mail comes to an end');
for my $case (@cases)
{
	my ($address, $category, $class, $code, $verdict, $status, $kept, $state, $detail) = @$case;
	is((split /\n/, outcomes($address, 'o.class, o.code, o.verdict'))[0], "$class|$code|$verdict", "$address: what the answer comes to");
	like((split /\n/, outcomes($address, "coalesce(o.detail, '')"))[0] // '', $detail, "$address: and why");
	is(sql("SELECT status FROM notify.delivery WHERE recipient = '$address'"), $status, "$address: in the end");
	is(scalar mails_to($plain, $address), $kept, "$address: mails taken");
	is(sql("SELECT state FROM notify.address WHERE recipient = '$address'"), $state, "$address: the address");
}
my @twice = map { read_mail($plain, $_) } mails_to($plain, 'drop@x.example');
is($twice[0]{headers}{'message-id'}, $twice[1]{headers}{'message-id'}, 'the Message-ID is the same at each attempt');
my %ids = map { read_mail($plain, $_)->{headers}{'message-id'} => 1 } $plain->mails;
is(scalar keys %ids, scalar($plain->mails) - 1, 'and another for each message');
sql(note_to('rcpt-550-5.1.1@x.example'));
wait_for_status('rcpt-550-5.1.1@x.example', 'skipped', 'nothing more goes to an address that is gone');

#
# TLS
#
sub tries
{
	my ($provider, $address, $sink) = @_;
	sql($provider, person($address), note_to($address));
	wait_for_status($address, 'dead', "$address: it is not sent");
	is(scalar mails_to($sink, $address), 0, "$address: nothing was taken");
	return outcomes($address, "o.class || ' ' || o.detail");
}

my %login = (username => 'shop', password => { secret => 'mail_password' });
sql("INSERT INTO notify.secret VALUES ('mail_password', 'Pa55-5ECRE7')");
$node->append_conf('postgresql.conf', "log_min_messages = debug2\nlog_statement = all\n");
$node->reload;
sql(provider('required', $required->port, { tls => 'required', ca_file => $cert, %login }),
	person('required@x.example'), note_to('required@x.example'));
wait_for_status('required@x.example', 'sent', 'STARTTLS with a CA of our own, and a login');
($mail) = mails_to($required, 'required@x.example');
is($mail->{tls} ? 1 : 0, 1, 'it was encrypted');
is($mail->{user}, 'shop', 'and logged in');
sql(provider('implicit', $implicit->port, { tls => 'implicit', ca_file => $cert }), person('implicit@x.example'), note_to('implicit@x.example'));
wait_for_status('implicit@x.example', 'sent', 'TLS from the start');
is(scalar mails_to($implicit, 'implicit@x.example'), 1, 'arrived');
sql(provider('starttls', $plain->port, { tls => 'starttls' }), person('starttls@x.example'), note_to('starttls@x.example'));
wait_for_status('starttls@x.example', 'sent', 'STARTTLS when offered: here it is not');
like(tries(provider('untrusted', $required->port, { tls => 'required', %login }), 'untrusted@x.example', $required),
	qr/^provider_down .*certificate/m, 'a certificate nobody vouches for is not trusted');
like(tries(provider('untrusted_implicit', $implicit->port, { tls => 'implicit' }), 'untrusted2@x.example', $implicit),
	qr/^provider_down .*certificate/m, 'nor when TLS is there from the start');
like(tries(provider('stripped', $plain->port, { tls => 'required' }), 'stripped@x.example', $plain),
	qr/^provider_down /m, 'a server that offers no TLS gets no letter');

#
# A login that is refused: the provider has a problem until it works again.
# There is no other provider, to which its mail would go meanwhile.
#
sql("UPDATE notify.provider SET enabled = false WHERE channel = 'email'; UPDATE notify.secret SET value = 'wr0ng-5ECRE7';",
	provider('login', $required->port, { tls => 'required', ca_file => $cert, %login }, { max_attempts => 1000 }),
	person('login@x.example'), note_to('login@x.example'));
ok(wait_for_sql($node, "SELECT problem IS NOT NULL FROM notify.provider WHERE name = 'login'"), 'a refused login is the provider\'s problem');
like((split /\n/, outcomes('login@x.example', "o.class || ' ' || o.code || ' ' || o.verdict || ' ' || o.detail"))[0],
	qr/^auth 535 retrying .*AUTH/, 'class auth, and tried again');
like(sql('SELECT problems FROM notify.status()'), qr/provider login: /, 'status() shows it');
sql("UPDATE notify.secret SET value = 'Pa55-5ECRE7'");
sql("ALTER SYSTEM SET notify_pg.clock_offset = '2 h'");
$node->reload;
wait_for_status('login@x.example', 'sent', 'with the right password it is sent');
is(sql("SELECT problem IS NULL FROM notify.provider WHERE name = 'login'"), 't', 'and the problem is gone');
$node->append_conf('postgresql.conf', "log_min_messages = warning\nlog_statement = none\n");
$node->reload;

#
# Slow servers, servers that never answer, servers that do not even greet:
# sixty conversations hang, and webhooks go on. They hang for as long as the
# test wants: with a dispatcher that waits for any of them not one webhook
# would arrive.
#
my $mute = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die $!;
my %patience = (timeout_ms => 300000, connect_timeout_ms => 300000);
my $twenty = "SELECT count(notify.send('stall\@x.example', 'note', '{}', 'news')) FROM generate_series(1, 20);";
sql(provider('sleepy', $plain->port, \%patience, { concurrency => 20 }), $twenty);
sql(provider('mute', $mute->sockport, \%patience, { concurrency => 20 }), $twenty);
sql(provider('mute_tls', $mute->sockport, { tls => 'implicit', %patience }, { concurrency => 20 }), $twenty);
ok(wait_for_sql($node, "SELECT in_flight = 60 FROM notify.stat_worker WHERE kind = 'dispatcher'"), 'sixty conversations hang');
ok(wait_until('twenty letters at the server', sub { (grep { $_->{reply} eq 'stalled' } $plain->entries) >= 20 }), 'twenty of them after the letter');
my $start = time;
sql("SELECT count(notify.send('hooked', 'note', '{}', 'hooks')) FROM generate_series(1, 2000)");
ok(wait_until('2000 webhooks', sub { $http->counts->{total} >= 2000 }), 'webhooks arrive meanwhile');
my @at = sort { $a <=> $b } map { $_->{at} } $http->entries('/hook');
my $gap = 0;
for (1 .. $#at) { $gap = $at[$_] - $at[ $_ - 1 ] if $at[$_] - $at[ $_ - 1 ] > $gap; }
note sprintf('2000 webhooks in %.2f s, the longest gap %.3f s', $at[-1] - $start, $gap);
cmp_ok($gap, '<', 1.5, 'without a stop');
is(sql("SELECT in_flight = 60 FROM notify.stat_worker WHERE kind = 'dispatcher'"), 't', 'and the sixty still hang');

# One by one, each answered before the next begins: a webhook's round trip.
my @trips;
for my $n (1 .. 10)
{
	my $sent = time;
	sql("SELECT notify.send('hooked', 'note', '{}', 'hooks')");
	wait_until('a webhook', sub { $http->counts->{total} >= 2000 + $n });
	push @trips, time - $sent;
}
my $median = (sort { $a <=> $b } @trips)[5];
cmp_ok($median, '<', 0.5, sprintf('a single webhook takes its usual time (%.0f ms, psql included)', $median * 1000));

# Slow mails beside them: side by side, not one after the other.
sql(provider('slow', $plain->port, \%patience, { concurrency => 20 }), person('slow-500@x.example'),
	"SELECT count(notify.send('slow-500\@x.example', 'note', '{}', 'news')) FROM generate_series(1, 20)");
ok(wait_for_sql($node, "SELECT count(*) = 20 FROM notify.delivery WHERE recipient = 'slow-500\@x.example' AND status = 'sent'"), 'slow mails are sent');
@at = sort { $a <=> $b } map { $_->{at} } mails_to($plain, 'slow-500@x.example');
cmp_ok($at[-1] - $at[0], '<', 5, sprintf('side by side: twenty of half a second within %.1f s', $at[-1] - $at[0]));

# With sixty conversations open the server still stops at once.
$start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 15, sprintf('a fast shutdown does not wait for them (%.1f s)', time - $start));
my $log = slurp_file($node->logfile);
$log =~ s/statement: .*(notify\.secret|mail_password).*//g;
unlike($log, qr/5ECRE7|NUVDUkU3/, 'no password in the log');
done_testing();
