# Which of a channel's providers a message goes to: weight, cost, health; limits
# that two dispatchers keep together; and what may be asked again after an answer
# that never came.
#
# Catches: a share that is not as the weights say, a retry that goes to another
# provider, a provider whose coming and going moves other providers' messages, a
# limit of transfers that each dispatcher keeps for itself, a dispatcher that never
# gets a turn, a provider asked again while it said to wait, and a message that may
# go only once sent twice, or by two providers.

use strict;
use warnings;
use List::Util qw(max);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('choice', conf => "notify_pg.lease = 10\nnotify_pg.dispatchers = 2\nnotify_pg.poll_interval = '50ms'\n");
my $sink = http_sink();

sub sql { return $node->safe_psql('postgres', join '', @_); }

sql(q{
	INSERT INTO notify.preset (name, channel, addressed, settings, hosts, headers, idempotent) VALUES
		('line', 'chat', false, '{"url": {"kind": "url", "required": true}}', NULL, '{"Key": "{{ message.uuid }}"}', true);
	INSERT INTO notify.category (name, class, channels, at_most_once, cheapest) VALUES
		('work', 'transactional', '{webhook}', false, false), ('cheap', 'marketing', '{webhook}', false, true),
		('once', 'transactional', '{webhook}', true, false), ('once_chat', 'transactional', '{chat}', true, false);
	INSERT INTO notify.template (name, channel, body) VALUES ('hi', 'webhook', '{"n": {{ n }}}'), ('hi', 'chat', '{"n": {{ n }}}');
	INSERT INTO notify.recipient (id) SELECT 'p' || n FROM generate_series(1, 20) AS n;
	CREATE FUNCTION send_many(category text, how_many integer) RETURNS void LANGUAGE sql AS $$
		SELECT count(notify.send('p' || 1 + n % 20, 'hi', jsonb_build_object('n', n), category)) FROM generate_series(1, how_many) AS n;
	$$;
});

sub provider
{
	my ($name, $preset, %columns) = @_;
	my $values = join ', ', map { $columns{$_} } sort keys %columns;
	sql(sprintf q{INSERT INTO notify.provider (name, preset, settings%s) VALUES ('%s', '%s', '{"url": "%s"}'%s)},
		join('', map { ", $_" } sort keys %columns), $name, $preset, $sink->url("/$name"), $values eq '' ? '' : ", $values");
	return;
}

sub arrived { return scalar(() = $sink->entries("/$_[0]")) }
sub shares { return sql(q{SELECT string_agg(provider || ' ' || n, ', ' ORDER BY provider) FROM (SELECT provider, count(*) AS n FROM notify.outcome WHERE message > } . $_[0] . q{ GROUP BY 1) AS o}) }
sub last_message { return sql('SELECT coalesce(max(id), 0) FROM notify.message'); }

#
# Weight
#
for my $bad ('weight = -1', 'weight = NULL')
{
	my (undef, undef, $err) = $node->psql('postgres', qq{INSERT INTO notify.provider (name, preset) VALUES ('bad', 'webhook'); UPDATE notify.provider SET $bad WHERE name = 'bad'});
	like($err, qr/violates/, "$bad is refused");
	sql(q{DELETE FROM notify.provider WHERE name = 'bad'});
}
provider('a', 'webhook', weight => 3);
provider('b', 'webhook', weight => 1);
provider('idle', 'webhook', weight => 0);
provider('spare', 'webhook', priority => 1, weight => 100);
sql(q{SELECT send_many('work', 1000)});
wait_for_drain($node);
my ($first, $second) = (arrived('a'), arrived('b'));
is($first + $second, 1000, 'those of the lowest priority share the channel, one of weight 0 has none');
# 750 of 1000 with a standard deviation of 14: five of them
ok($first > 680 && $first < 820, "three of four to the one with weight 3: $first");

# The same message again: where it was.
my $since = last_message();
$sink->behave({ '/a' => [ ('/status/500') x 5 ], '/b' => [ ('/status/500') x 3 ] });
sql(q{SELECT send_many('work', 60)});
ok(wait_for_sql($node, "SELECT count(*) FROM notify.outcome WHERE message > $since AND verdict = 'sent'", 60), 'sixty go, some at the second attempt');
is(sql("SELECT count(*) > 0, bool_and(n = 1) FROM (SELECT count(DISTINCT provider) AS n FROM notify.outcome WHERE message > $since GROUP BY message HAVING count(*) > 1) AS o"), 't|t', 'a retry goes to the same provider');
is(sql(q{SELECT count(*) FROM notify.stat_provider WHERE breaker <> 'closed'}), 0, 'none was left alone for it');

# The choice itself: only the messages of one that goes away move, and they come back.
my $choose = sub { return "notify._choose('{$_[0]}', '{$_[1]}', '{$_[2]}', n, 'ann', 'work')" };
is(sql("SELECT count(*) FILTER (WHERE was <> less AND was <> 2), count(*) FILTER (WHERE less = 2), count(*) FILTER (WHERE was = 2) > 200, count(*) FILTER (WHERE was <> again)
	FROM (SELECT @{[$choose->('1,2,3', '1,1,1', 'NULL,NULL,NULL')]} AS was, @{[$choose->('1,3', '1,1', 'NULL,NULL')]} AS less, @{[$choose->('1,2,3', '1,1,1', 'NULL,NULL,NULL')]} AS again FROM generate_series(1, 1000) AS n) AS c"),
	'0|0|t|0', 'one that goes away moves its own messages alone');
is(sql("SELECT string_agg(n || ':' || c, ' ' ORDER BY n) FROM (SELECT c AS n, count(*) AS c FROM (SELECT @{[$choose->('1,2', '0,0', 'NULL,NULL')]} AS c FROM generate_series(1, 1000) AS n) AS x GROUP BY 1) AS y") =~ /^1:(\d+) 2:\d+$/ && $1 > 400 && $1 < 600, 1, 'weights of 0 alone share alike');

# Priority before all; then the next ones.
$since = last_message();
sql(q{UPDATE notify.provider SET enabled = false WHERE name IN ('a', 'b')});
sql(q{SELECT send_many('work', 20)});
wait_for_drain($node);
is(shares($since), 'idle 20', 'one of weight 0 serves when no other of its priority can');
sql(q{UPDATE notify.provider SET enabled = true WHERE name IN ('a', 'b')});

#
# Cost, where the category asks for it
#
$since = last_message();
sql(q{UPDATE notify.provider SET cost = CASE name WHEN 'a' THEN 2 WHEN 'b' THEN 1 WHEN 'spare' THEN 0 END});
sql(q{SELECT send_many('cheap', 20)});
wait_for_drain($node);
is(shares($since), 'b 20', 'the cheapest of the lowest priority');
$since = last_message();
sql(q{SELECT send_many('work', 20)});
wait_for_drain($node);
like(shares($since), qr/^a \d+, b \d+$/, 'other categories by weight');
$since = last_message();
sql(q{UPDATE notify.provider SET enabled = false WHERE name = 'b'; SELECT send_many('cheap', 20)});
wait_for_drain($node);
is(shares($since), 'a 20', 'the next cheapest when it is off; one without a cost comes last');
is(sql(q{SELECT string_agg(DISTINCT p.name, ',') FROM generate_series(1, 20) AS n, notify.provider p WHERE p.id = (SELECT notify._choose(choices, weights, costs, n, 'ann', 'cheap') FROM notify._serving WHERE channel = 'webhook')}), 'a', 'as the view says');
sql(q{DELETE FROM notify.provider});

#
# A limit of transfers over both dispatchers
#
my $delay = 200;
provider("slow?ms=$delay", 'webhook', concurrency => 3);
$since = last_message();
sql(q{SELECT send_many('work', 60)});
is(sql(q{SELECT concurrency FROM notify.stat_provider WHERE provider LIKE 'slow%'}), 3, 'stat_provider shows the limit');
my $most = 0;
ok(wait_until('sixty', sub { $most = max($most, sql(q{SELECT sending FROM notify.stat_provider WHERE provider LIKE 'slow%'})); return arrived('slow?ms=200') == 60 }), 'all arrive');
wait_for_drain($node);
my @at = sort { $a <=> $b } map { $_->{at} } $sink->entries("/slow?ms=$delay");
# A fourth that arrives before the first is answered: the sink answers after $delay ms, no sooner.
is(scalar(grep { $at[ $_ + 3 ] - $at[$_] < $delay / 1000 - 0.01 } 0 .. $#at - 3), 0, 'never more than three at a time');
cmp_ok($most, '<=', 3, 'nor by stat_provider');
cmp_ok($at[-1] - $at[0], '<', 60 / 3 * $delay / 1000 * 2, 'and the places are used');
is(sql("SELECT count(*), max(attempt) FROM notify.outcome WHERE message > $since"), '60|1', 'one attempt each');

# A single place: both dispatchers get it in turn.
$since = last_message();
sql(q{DELETE FROM notify.provider});
provider('slow?ms=30', 'webhook', concurrency => 1);
sql('SELECT notify.hold(\'test\')');
sql(q{SELECT send_many('work', 60)});
ok(wait_for_sql($node, 'SELECT count(*) FROM notify.ready', 60), 'sixty wait');
sql('SELECT notify.arm()');
wait_for_drain($node);
@at = sort { $a <=> $b } map { $_->{at} } $sink->entries('/slow?ms=30');
is(scalar(grep { $at[ $_ + 1 ] - $at[$_] < 0.025 } 0 .. $#at - 1), 0, 'one at a time');
is(sql("SELECT count(*), max(attempt) FROM notify.outcome WHERE message > $since"), '60|1', 'each once');
is(sql(q{SELECT bool_and(sent > 10) FROM notify.stat_worker WHERE kind = 'dispatcher'}), 't', 'by both dispatchers');
# A worker killed with a place gives it back.
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
sql(q{DELETE FROM notify.provider});
provider('killed', 'webhook', concurrency => 1);
sql(q{UPDATE notify.provider SET settings = settings || '{"timeout_ms": 60000}'});
$sink->behave({ '/killed' => ['/stall'] });
sql(q{SELECT send_many('work', 1)});
ok(wait_until('it hangs', sub { arrived('killed') == 1 }, 10), 'one has the only place');
kill 'TERM', sql(q{SELECT pid FROM notify._workers() WHERE kind = 'dispatcher' AND in_flight > 0});
ok(wait_until('again', sub { arrived('killed') == 2 }), 'its worker stops, and the place is free');
wait_for_drain($node);
sql(q{DELETE FROM notify.provider});

#
# 429 and Retry-After: the whole provider rests
#
provider('tired', 'webhook');
provider('other', 'line');
$sink->behave({ '/tired' => ['/status/429?retry_after=3'] });
sql(q{SELECT send_many('work', 1)});
ok(wait_for_sql($node, q{SELECT paused_until - notify.now() BETWEEN '1 s' AND '3 s' FROM notify.stat_provider WHERE provider = 'tired'}), 'stat_provider shows until when');
my $asked = ($sink->entries('/tired'))[0]{at};
sql(q{SELECT send_many('work', 20)});
ok(wait_for_sql($node, q{SELECT count(*) FROM notify.outcome WHERE provider = 'tired' AND verdict = 'sent'}, 21), 'all go after it');
@at = sort { $a <=> $b } map { $_->{at} } $sink->entries('/tired');
cmp_ok($at[1] - $asked, '>=', 2.9, 'none of either dispatcher before');
is(sql(q{SELECT paused_until IS NULL FROM notify.stat_provider WHERE provider = 'tired'}), 't', 'then it is over');
is(sql(q{SELECT max(attempt) FROM notify.outcome WHERE verdict = 'sent' AND provider = 'tired'}), 2, 'waiting was no attempt');
$sink->behave({ '/tired' => ['/status/429?retry_after=80000'] });
sql(q{SELECT send_many('work', 1)});
ok(wait_for_sql($node, q{SELECT paused_until - notify.now() BETWEEN '280 s' AND '300 s' FROM notify.stat_provider WHERE provider = 'tired'}), 'five minutes at most');
sql(q{INSERT INTO notify.category (name, class, channels) VALUES ('chat', 'transactional', '{chat}'); SELECT send_many('chat', 5)});
ok(wait_for_sql($node, q{SELECT count(*) FROM notify.outcome WHERE provider = 'other' AND verdict = 'sent'}, 5), 'others do not rest');
sql(q{UPDATE notify.provider SET settings = settings || '{"timeout_ms": 9000}' WHERE name = 'tired'; SELECT send_many('work', 3)});
ok(wait_for_sql($node, q{SELECT count(*) FROM notify.outcome WHERE provider = 'tired' AND verdict = 'sent'}, 24), 'nor does one that was changed');
sql(q{SELECT notify.cancel(message, 'enough') FROM notify.scheduled; DELETE FROM notify.provider});

#
# What may go only once
#
for my $bad ([ '{"X-A": "b"}', 'headers' ])
{
	my (undef, undef, $err) = $node->psql('postgres', qq{INSERT INTO notify.preset (name, channel, url, headers, idempotent) VALUES ('bad', 'chat', 'https://x.example', '$bad->[0]', true)});
	like($err, qr/is not idempotent.*which message it is/s, 'a preset that sends no key is not idempotent');
}
sub outcomes { return sql(q{SELECT string_agg(concat_ws(':', provider, verdict, reason), ' ' ORDER BY at) FROM notify.outcome WHERE message > } . $_[0]) }
provider('plain', 'webhook');
$sink->behave({ '/plain' => ['/reset'] });
$since = last_message();
sql(q{SELECT send_many('once', 1)});
wait_for_drain($node);
is(outcomes($since), 'plain:failed', 'an answer that never came ends it');
provider('keyed', 'line');
$sink->behave({ '/keyed' => ['/reset'] });
$since = last_message();
sql(q{SELECT send_many('once_chat', 1)});
ok(wait_for_sql($node, "SELECT count(*) FROM notify.outcome WHERE message > $since AND verdict = 'sent'", 1), 'a provider that drops repeats is asked again');
is(outcomes($since), 'keyed:retrying keyed:sent', 'and no other');
my @keys = map { $_->{headers}{key} } $sink->entries('/keyed');
is($keys[0], $keys[1], 'with the same key');
# ... not by another provider, when its own is switched off before the retry
provider('stranger', 'line', priority => 1);
for my $late ('scheduled', 'ready')
{
	my $strangers = arrived('stranger');
	$sink->behave({ '/keyed' => [ ('/reset') x 3 ] });
	$since = last_message();
	sql(q{SELECT send_many('once_chat', 1)});
	ok(wait_for_sql($node, "SELECT count(*) > 0 FROM notify.outcome WHERE message > $since AND verdict = 'retrying'"), "$late: it may have arrived");
	sql(q{SELECT notify.hold('test')});
	wait_for_sql($node, 'SELECT count(*) FROM notify.ready WHERE owner IS NOT NULL', 0);
	sql(q{UPDATE notify.provider SET enabled = false WHERE name = 'keyed'}) if $late eq 'scheduled';
	sql(q{UPDATE notify.scheduled SET due_at = notify.now()});
	ok(wait_for_sql($node, q{SELECT p.name, r.pinned FROM notify.ready r JOIN notify.provider p ON p.id = r.lane / 4}, 'keyed|t'), "$late: it is due, with its own provider");
	sql(q{UPDATE notify.provider SET enabled = false WHERE name = 'keyed'}) if $late eq 'ready';
	sql(q{SELECT notify._reroute(100)});
	like(outcomes($since), qr/ failed:ambiguous$/, "$late: its own is off, so it fails");
	is(arrived('stranger'), $strangers, "$late: nobody else gets it");
	sql(q{UPDATE notify.provider SET enabled = true WHERE name = 'keyed'});
	sql('SELECT notify.arm()');
	$sink->behave({ '/keyed' => [] });
}
# ... nor after its dispatcher died
$sink->behave({ '/keyed' => ['/stall'] });
$since = last_message();
my $seen = arrived('keyed');
sql(q{UPDATE notify.provider SET settings = settings || '{"timeout_ms": 60000}' WHERE name = 'keyed'});
sql(q{SELECT send_many('once_chat', 1)});
ok(wait_until('it hangs', sub { arrived('keyed') == $seen + 1 }), 'its dispatcher has it on the wire');
kill 'TERM', sql(q{SELECT pid FROM notify._workers() WHERE kind = 'dispatcher' AND in_flight > 0});
ok(wait_for_sql($node, "SELECT count(*) FROM notify.outcome WHERE message > $since AND verdict = 'sent'", 1), 'the next one sends it again');
is(outcomes($since), 'keyed:sent', 'to the provider that knows its key');

$node->stop;
done_testing();
