# Names that change what they stand for (DNS rebinding): allowed when first asked,
# private the next time, or both in one answer. The servers' resolver is a library
# of ours (test/lib/names.c); libcurl, its cache of names and its kept connections
# are what they are.
#
# Here 127.0.0.1, where our sinks are, is allowed; 127.0.0.2 is private, and a
# socket of ours listens there at the same ports, so that the very attempt to
# connect is seen.
#
# Catches: an address checked when a name is looked up and not when the socket is
# opened; a name's second address not checked, or not in its other spelling (IPv6);
# a cached or kept thing that saves an attacker the check; an allowed address not
# tried because a private one stands before it; a token's URL or a mail server's
# name that goes unchecked.

use strict;
use warnings;
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $names = PostgreSQL::Test::Utils::tempdir('names');
my $library = "$names/names.so";
system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', $library, dirname($INC{'NotifyTest.pm'}) . '/names.c');
my $node;
{
	local @ENV{qw(LD_PRELOAD TEST_NAMES)} = ($library, $names);
	$node = notify_cluster('rebinding', conf => "notify_pg.allow_private_addresses = '127.0.0.1/32'\nnotify_pg.breaker_pause = 0\nnotify_pg.dispatchers = 1\n");
}

sub sql { return $node->safe_psql('postgres', join '', @_) }

sub put
{
	my ($file, $text) = @_;
	append_to_file("$names/$file.new", "$text\n");
	rename "$names/$file.new", "$names/$file" or die $!;
}

# A name and its answers, one for each time it is asked; the last one stays.
sub name
{
	my ($name, $first, $next) = @_;
	put("$name.next", $next) if $next;
	put($name, $first);
}

# How often it has been asked, and by how many processes
sub asked
{
	my ($name) = @_;
	my %who = map { /^(\d+) \Q$name\E$/ ? ($1 => 1) : () } my @all = -e "$names/asked" ? split /\n/, slurp_file("$names/asked") : ();
	return scalar(grep { / \Q$name\E$/ } @all) . ' by ' . keys %who;
}

# Sockets that wait at the private address
my @traps;
sub trap
{
	my ($port) = @_;
	my $trap = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => $port // 0, Listen => 10, ReuseAddr => 1) or die "127.0.0.2: $!";
	push @traps, $trap;
	return $trap->sockport;
}

sub untouched
{
	my ($what) = @_;
	is(scalar(IO::Select->new(@traps)->can_read(0)), undef, "$what: nobody has knocked at the private address");
}

# An answer is left out where the system has no IPv6 to ask for it.
my $ipv6 = defined IO::Socket::IP->new(LocalHost => '::', Listen => 1);
note('no IPv6 here') unless $ipv6;
sub can { return grep { $ipv6 || !/:/ } @_ }

my ($http, $other, $mail) = (http_sink(), http_sink(), smtp_sink());
my ($port, $other_port) = map { trap($_->port) } $http, $other;
my $mail_port = trap($mail->port);
my $lone = trap();
my $private = qr/^permanent_message .*address 127\.0\.0\.2 is private/;

sql(q{
	INSERT INTO notify.category (name, class, channels) VALUES ('hooks', 'transactional', '{webhook}'), ('mails', 'transactional', '{email}'), ('pushes', 'transactional', '{push}');
	INSERT INTO notify.template (name, channel, subject, body) VALUES ('hi', 'webhook', NULL, '{}'), ('hi', 'email', 'Hi', 'Hello'), ('hi', 'push', 'Hi', 'Hello');
	INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('hook', 'webhook', 1, '{"timeout_ms": 5000}');
});

# What became of a message to an address: its class and the detail.
my $people = 0;
sub try
{
	my ($channel, $address) = @_;
	my $who = 'p' . ++$people;
	my $category = { webhook => 'hooks', email => 'mails', push => 'pushes' }->{$channel};
	sql(qq{INSERT INTO notify.recipient (id) VALUES ('$who');
		INSERT INTO notify.address (recipient, channel, address) VALUES ('$who', '$channel', '$address');
		SELECT notify.send('$who', 'hi', '{}', '$category')});
	wait_for_sql($node, "SELECT count(*) > 0 FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$who'");
	return sql("SELECT concat_ws(' ', o.class, o.detail) FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$who' ORDER BY o.at LIMIT 1");
}

sub hook { return try('webhook', "http://$_[0]") }
sub arrived { return scalar(() = $http->entries($_[0])) }

#
# Allowed when first asked, private the next time
#
name('shop.example', '127.0.0.1', '127.0.0.2');
is(hook("shop.example:$port/first"), 'ok', 'a name that stands for an allowed address is posted to');
is(asked('shop.example'), '1 by 1', 'after one look-up, which is the one that counts');
is(slurp_file("$names/shop.example"), "127.0.0.2\n", 'now it stands for a private one');
like(hook("shop.example:$other_port/private"), $private, 'at another port, it is looked up again and not posted to');
is(asked('shop.example'), '2 by 1', 'by the same process');
untouched('looked up again');

is(hook("shop.example:$port/kept"), 'ok', 'the connection that is kept goes where it went');
is(arrived('/kept'), 1, 'as the allowed address says');
is(asked('shop.example'), '2 by 1', 'without a look-up');
$http->behave({ '/cut' => ['/reset'] });
unlike(hook("shop.example:$port/cut"), qr/^ok/, 'it breaks');
is(hook("shop.example:$port/cached"), 'ok', 'what libcurl remembers of the name is the allowed address');
is(arrived('/cached'), 1, 'which is where it goes');
is(asked('shop.example'), '2 by 1', 'without a look-up');
untouched('kept and cached');

put('later', 100);
$http->behave({ '/cut' => ['/reset'] });
hook("shop.example:$port/cut");
like(hook("shop.example:$port/private"), $private, 'when that is forgotten, the private address is not posted to');
is(asked('shop.example'), '3 by 1', 'after another look-up by the same process');
untouched('forgotten');

#
# Both in one answer
#
name('mixed.example', '127.0.0.2 127.0.0.1');
is(hook("mixed.example:$port/mixed"), 'ok', 'a private address before an allowed one: sent');
is(arrived('/mixed'), 1, 'to the allowed one');
name('mixed6.example', '::ffff:127.0.0.2 127.0.0.1');
is(hook("mixed6.example:$port/mixed6"), 'ok', 'so it is in IPv6');
is(arrived('/mixed6'), 1, 'to the allowed one');
untouched('mixed');
for my $answer (can('127.0.0.1 127.0.0.2', '127.0.0.1 ::ffff:127.0.0.2', '::ffff:127.0.0.1 ::ffff:127.0.0.2 127.0.0.2'))
{
	(my $name = "after $answer.example") =~ s/[ :]+/-/g;
	name($name, $answer);
	my $said = hook("$name:$lone/private");
	like($said, qr/^retry .*address (::ffff:)?127\.0\.0\.2 is private/, "an allowed one, where nobody answers, before a private one ($answer): not sent, and why");
}
untouched('tried in turn');
for my $answer (can('127.0.0.2', '::ffff:127.0.0.2', '127.0.0.2 ::ffff:7f00:2 ::1 0.0.0.0 169.254.169.254'))
{
	(my $name = "only $answer.example") =~ s/[ :]+/-/g;
	name($name, $answer);
	like(hook("$name:$port/private"), qr/^permanent_message .* is private/, "none but private ones ($answer)");
}
untouched('none allowed');
is(arrived('/private') + (() = $other->entries), 0, 'and the sinks have heard no more than they should');

#
# A mail server's name
#
sub mail_server
{
	my ($host) = @_;
	sql(qq{DELETE FROM notify.provider WHERE channel = 'email';
		INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('$host', 'smtp', 1,
			'{"host": "$host", "port": $mail_port, "tls": "none", "from": "shop\@shop.example", "timeout_ms": 5000}')});
}
name('mx.example', '127.0.0.1', '127.0.0.2');
mail_server('mx.example');
like(try('email', 'ann@x.example'), qr/^ok/, 'a mail server that stands for an allowed address is given mail');
like(try('email', 'bob@x.example'), qr/^ok/, 'and again, by the connection that is kept');
is(asked('mx.example'), '1 by 1', 'which was looked up once');
unlike(try('email', 'drop@x.example'), qr/^ok/, 'it breaks');
like(try('email', 'cy@x.example'), qr/^ok/, 'by what libcurl remembers it is connected to again');
is(asked('mx.example'), '1 by 1', 'without a look-up');
unlike(try('email', 'drop@y.example'), qr/^ok/, 'it breaks again');
put('later', 200);
like(try('email', 'dan@x.example'), $private, 'when that is forgotten, the private address is given nothing');
is(asked('mx.example'), '2 by 1', 'after another look-up by the same process');
name('mixed-mx.example', '127.0.0.2 ::ffff:127.0.0.2 127.0.0.1');
mail_server('mixed-mx.example');
like(try('email', 'eve@x.example'), qr/^ok/, 'private addresses before an allowed one: mail goes to that');
untouched('mail');
is(scalar($mail->mails), 6, 'and has arrived there');

#
# Where tokens come from
#
my $key = PostgreSQL::Test::Utils::tempdir . '/rsa';
system_or_bail('sh', '-c', "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out $key 2>/dev/null");
my $account = encode_json({ project_id => 'shop', private_key_id => 'k1', private_key => slurp_file($key), client_email => 'sender@shop.example', token_uri => "http://token.example:$other_port/token" });
name('token.example', '127.0.0.2');
sql(qq{INSERT INTO notify.secret VALUES ('account', \$a\$$account\$a\$);
	INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('fcm', 'fcm', 1, '{"service_account": {"secret": "account"}, "endpoint": "@{[$other->url('/fcm')]}"}')});
like(try('push', 'a-device'), qr/address 127\.0\.0\.2 is private/, 'nor are tokens fetched from there');
untouched('tokens');
is(scalar(() = $other->entries), 0, 'and without a token nothing is sent');

#
# An address that is allowed no more: kept connections end with it
#
is(hook("mixed.example:$port/still"), 'ok', 'a connection is kept');
like(try('email', 'fay@x.example'), qr/^ok/, 'and one to a mail server');
sql(q{ALTER SYSTEM SET notify_pg.allow_private_addresses = '10.0.0.0/8'});
$node->reload;
wait_for_sql($node, "SELECT setting FROM pg_settings WHERE name = 'notify_pg.allow_private_addresses'", '10.0.0.0/8');
wait_until('the dispatcher has read it', sub { hook("mixed.example:$port/later") =~ /^permanent_message .*127\.0\.0\.1 is private/ });
my $then = arrived('/later');
like(hook("mixed.example:$port/later"), qr/is private/, 'the setting changes: the kept connection is of no use');
like(try('email', 'gus@x.example'), qr/is private/, 'nor is the one to the mail server');
is(arrived('/later'), $then, 'nothing has reached the one');
is(scalar($mail->mails), 7, 'nor the other');

$node->stop;
done_testing();
