# E-mail that can be answered: one-click unsubscribing (RFC 8058) and return
# paths that say which message could not be delivered (VERP).
#
# Catches: a link on what nobody may leave, or none where there must be one; a
# token that another key, another category or a changed byte still opens; a
# person written to although they left while the letter waited; and an envelope
# a mail server would not take.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('mail');
my $sink = smtp_sink();

sub sql { return $node->safe_psql('postgres', join '', @_) }

sub mail_to
{
	my ($address) = @_;
	my ($mail) = grep { $_->{rcpt_tos}[0] eq $address } $sink->mails;
	return $mail // { content => '', mail_from => '' };
}

# The headers of a mail, unfolded.
sub headers
{
	my ($mail) = @_;
	my ($head) = split /\r\n\r\n/, $mail->{content};
	$head =~ s/\r\n[ \t]+/ /g;
	return { map { /^([^:]+): ?(.*)$/ ? (lc $1 => $2) : () } split /\r\n/, $head };
}

sub status { return "SELECT status || coalesce('/' || reason, '') FROM notify.delivery WHERE recipient = '$_[0]' ORDER BY message DESC LIMIT 1" }

sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('offers', 'marketing', '{email}'), ('orders', 'transactional', '{email}'),
		('alarms', 'critical', '{email}');
	INSERT INTO notify.template (name, channel, subject, body, html) VALUES ('note', 'email', 'Note', 'Hello', NULL), ('page', 'email', 'Page', NULL, '<p>Two<br>lines &amp; more</p>');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('mail', 'email', 'smtp',
		'{"host": "127.0.0.1", "port": @{[$sink->port]}, "tls": "none", "from": "shop\@shop.example", "envelope_from": "bounces+*\@shop.example", "unsubscribe_url": "https://shop.example/leave?from=mail"}');
	INSERT INTO notify.recipient (id) VALUES ('ann'), ('bob'), ('王芳/1');
	INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'email', 'ann\@x.example'), ('bob', 'email', 'bob\@x.example'), ('王芳/1', 'email', 'fang\@x.example');
});

#
# Which letters have a link
#
sql(q{SELECT notify.send('ann', 'page', '{}', 'offers'), notify.send('bob', 'note', '{}', 'orders'), notify.send('王芳/1', 'note', '{}', 'offers')});
wait_for_drain($node);
my $ann = headers(mail_to('ann@x.example'));
like($ann->{'list-unsubscribe'}, qr{^<https://shop\.example/leave\?from=mail&token=[A-Za-z0-9_-]+>$}, 'marketing has a link');
is($ann->{'list-unsubscribe-post'}, 'List-Unsubscribe=One-Click', 'for one click');
my $bob = headers(mail_to('bob@x.example'));
is($bob->{'list-unsubscribe'} // 'none', 'none', 'what a person asked for has none');
like(mail_to('ann@x.example')->{content}, qr/Content-Type: text\/plain.*?\r\n\r\nTwo\r\nlines & more\r\n.*Content-Type: text\/html/s, 'html alone gets a text beside it');
unlike(mail_to('ann@x.example')->{content}, qr/[^\r\n]{999}|\*/, 'lines as SMTP wants them, and no place without its tag');

#
# The token
#
my ($token) = $ann->{'list-unsubscribe'} =~ /token=([^>]+)/;
my ($fang) = headers(mail_to('fang@x.example'))->{'list-unsubscribe'} =~ /token=([^>]+)/;
for my $bad ('', 'x', 'AQ', substr($token, 0, -1), $token . 'AAAA', "$token ", 'A' x 20000,
	map { my $t = $token; substr($t, $_, 1) = substr($t, $_, 1) eq 'Q' ? 'g' : 'Q'; $t } (0, 1, 5, 12, 16, 18, length($token) - 8))
{
	is(sql("SELECT notify.unsubscribe('$bad')"), 'f', 'not a token of ours: ' . substr($bad, 0, 60));
}
is(sql('SELECT count(*) FROM notify.preference'), 0, 'none of them changed anything');
is(sql("SELECT notify.unsubscribe(notify._make_token('ann', 'offers', 0, 'another key'))"), 'f', 'another key opens nothing');
is(sql("SET ROLE notify_app; SELECT notify.unsubscribe('$token')"), 't', 'the app hands a token in');
is(sql("SELECT notify.unsubscribe('$token')"), 't', 'a second click is fine');
is(sql('SELECT recipient, category, channel, allowed, source FROM notify.preference'), 'ann|offers|email|f|unsubscribe', 'one row says so');
is(sql("SELECT notify.unsubscribe('$fang')"), 't', 'ids in any script');
is(sql("SELECT recipient FROM notify.preference WHERE recipient <> 'ann'"), '王芳/1', 'are read as they were');

# docs/receipts.md has the format: made here from its words.
my ($made) = run_command([ '/usr/bin/python3', '-c', q{
import base64, hashlib, hmac, sys
key, recipient, category = (a.encode() for a in sys.argv[1:])
body = bytes([1]) + (0).to_bytes(8, "big") + len(category).to_bytes(2, "big") + category + recipient
mac = hmac.new(key, b"unsubscribe:" + body, hashlib.sha256).digest()[:16]
print(base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode())
}, sql("SELECT value FROM notify.secret WHERE name = 'notify:key'"), 'bob', 'orders' ]);
is(sql("SET ROLE notify_app; SELECT notify.unsubscribe_token('bob', 'orders')"), $made, 'the format is the documented one');

#
# What it does
#
sql(q{SELECT notify.send('ann', 'note', '{}', 'offers')});
ok(wait_for_sql($node, status('ann'), 'suppressed/unsubscribed'), 'nothing more of that category');
sql(q{SELECT notify.send('ann', 'note', '{}', 'orders')});
ok(wait_for_sql($node, status('ann'), 'sent'), 'other categories go on');
sql(q{SELECT notify.hold('test')});
sql(q{SELECT notify.send('bob', 'note', '{}', 'orders')});
ok(wait_for_sql($node, 'SELECT count(*) FROM notify.ready', '1'), 'a letter waits');
is(sql("SELECT notify.unsubscribe('$made')"), 't', 'and its person leaves');
is(sql("SELECT channel FROM notify.preference WHERE recipient = 'bob'"), '*', 'by a link of the app\'s: on every channel');
sql('SELECT notify.arm()');
ok(wait_for_sql($node, status('bob'), 'cancelled/unsubscribed'), 'it is not sent');
sql(q{SELECT notify.send('bob', 'note', '{}', 'alarms')});
ok(wait_for_sql($node, status('bob'), 'sent'), 'what is critical goes all the same');
sql(q{UPDATE notify.preference SET allowed = true WHERE recipient = 'bob'; SELECT notify.send('bob', 'note', '{}', 'orders')});
ok(wait_for_sql($node, status('bob'), 'sent'), 'who comes back is written to');
sql(q{INSERT INTO notify.suppression (channel, address_hash, reason) VALUES ('email', notify.address_hash('BOB@x.example'), 'blocked'); SELECT notify.send('bob', 'note', '{}', 'orders')});
ok(wait_for_sql($node, status('bob'), 'suppressed/blocked'), 'an address that is blocked is not');
sql(q{UPDATE notify.suppression SET until = notify.now() - interval '1 s'; SELECT notify.send('bob', 'note', '{}', 'orders')});
ok(wait_for_sql($node, status('bob'), 'sent'), 'until it is no more');
is(sql(q{SELECT jsonb_path_query_first(notify.export_recipient('ann'), '$.preferences[0].category') #>> '{}'}), 'offers', 'it is in what a person can ask for');
sql(q{SELECT notify.erase_recipient('ann')});
is(sql("SELECT notify.unsubscribe('$token')"), 't', 'who is gone wants nothing either');
is(sql("SELECT count(*) FROM notify.preference WHERE recipient = 'ann'"), 0, 'and nothing is kept of them');

#
# The return path
#
my ($tag) = mail_to('fang@x.example')->{mail_from} =~ /^bounces\+([0-9]+-[0-9a-f]{16})\@shop\.example$/;
ok($tag, 'the return path has a tag') or diag(mail_to('fang@x.example')->{mail_from});
my $message = sql(q{SELECT message FROM notify.delivery WHERE recipient = '王芳/1'});
my $key = q{(SELECT value FROM notify.secret WHERE name = 'notify:key')};
is(sql("SELECT notify._returned_message('$tag', $key)"), $message, 'that says which message it was');
is(sql("SELECT notify._returned_message(upper('$tag'), $key)"), $message, 'also after a server that changes case');
(my $other = $tag) =~ s/^(.)/$1 eq '1' ? 2 : 1/e;
for my $bad ($other, substr($tag, 0, -1) . ($tag =~ /0$/ ? '1' : '0'), substr($tag, 0, -1), "${tag}0", '', '-', $message, "$message-", '9' x 30 . '-' . '0' x 16)
{
	is(sql("SELECT notify._returned_message('$bad', $key) IS NULL"), 't', "not a tag of ours: $bad");
}
for my $bad ([ '{"envelope_from": "b*c*@shop.example"}', qr/more than one/ ], [ '{"envelope_from": "' . 'x' x 40 . '*@shop.example"}', qr/longer than 64/ ],
	[ '{"unsubscribe_url": "http://shop.example/leave"}', qr/https/ ], [ qq({"unsubscribe_url": "https://shop.example/\\r\\nBcc: x"}), qr/unsubscribe_url/ ])
{
	my (undef, undef, $error) = $node->psql('postgres', "UPDATE notify.provider SET settings = settings || '$bad->[0]'");
	like($error, $bad->[1], "refused when saved: $bad->[0]");
}
done_testing();
