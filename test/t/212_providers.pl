# How providers are chosen and spared: rates that all dispatchers keep together,
# breakers, failing over and coming back.
#
# Catches: a rate kept by each dispatcher for itself, messages that wait for a
# token while their lease runs out and their attempts are counted, a limited
# provider that delays another; a provider that is down and goes on being asked,
# more than one probe, a probe that a stopped worker takes with it, a message
# that may have arrived sent again through another provider.

use strict;
use warnings;
use List::Util qw(max sum0);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('providers', conf => "notify_pg.lease = 5\nnotify_pg.dispatchers = 2\nnotify_pg.breaker_pause = '60s'\n");
my $sink = http_sink();

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(qq{
	INSERT INTO notify.preset (name, channel, addressed, settings) VALUES
		('line', 'chat', false, '{"url": {"kind": "url", "required": true}}');
	INSERT INTO notify.category (name, class, channels) VALUES
		('slow', 'transactional', '{webhook}'), ('fast', 'transactional', '{chat}'),
		('bulk', 'marketing', '{webhook}'), ('alarm', 'critical', '{webhook}');
	INSERT INTO notify.template (name, channel, body) VALUES ('hi', 'webhook', '{"n": {{ n }}}'), ('hi', 'chat', '{"n": {{ n }}}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	CREATE FUNCTION send_many(category text, how_many integer) RETURNS void LANGUAGE sql AS \$\$
		SELECT count(notify.send('ann', 'hi', jsonb_build_object('n', n), category)) FROM generate_series(1, how_many) AS n;
	\$\$;
});

sub provider
{
	my ($name, $preset, %columns) = @_;
	my $values = join ', ', map { $columns{$_} } sort keys %columns;
	sql(sprintf q{INSERT INTO notify.provider (name, preset, settings%s) VALUES ('%s', '%s', '{"url": "%s"}'%s)},
		join('', map { ", $_" } sort keys %columns), $name, $preset, $sink->url("/$name"), $values eq '' ? '' : ", $values");
	return;
}

# The most that came above rate * t + burst in any time t
sub excess
{
	my ($path, $rate, $burst) = @_;
	my @at = map { $_->{at} } $sink->entries($path);
	my $worst = 0;
	for my $i (0 .. $#at)
	{
		$worst = max($worst, map { $_ - $i + 1 - $burst - $rate * ($at[$_] - $at[$i]) } $i .. $#at);
	}
	return $worst;
}

#
# Rates
#
for my $bad ('rate = 0', 'rate = -1', q{rate = 'NaN'}, 'burst = 0')
{
	my ($status, undef, $err) = $node->psql('postgres',
		qq{INSERT INTO notify.provider (name, preset) VALUES ('bad', 'webhook'); UPDATE notify.provider SET $bad WHERE name = 'bad'});
	like($err, qr/violates check constraint/, "$bad is refused");
	sql(q{DELETE FROM notify.provider WHERE name = 'bad'});
}

provider('slow', 'webhook', rate => 20, burst => 5);
provider('fast', 'line');
is(sql(q{SELECT rate, burst, tokens FROM notify.stat_provider WHERE provider = 'fast'}), '||', 'without a rate there is no limit');
sql(q{SELECT send_many('slow', 60), send_many('fast', 200)});
wait_for_drain($node);
my @slow = map { $_->{at} } $sink->entries('/slow');
my @fast = map { $_->{at} } $sink->entries('/fast');
is(scalar @slow, 60, 'a limited provider gets all its messages, once');
is(scalar @fast, 200, 'and so does another');
# The sink sees them a little later than they were begun, now more, now less.
cmp_ok(excess('/slow', 20, 5), '<=', 3, 'two dispatchers together keep the rate and the burst');
cmp_ok($slow[-1] - $slow[0], '<', 10, 'and use it');
cmp_ok(max(@fast), '<', $slow[40], 'the other provider did not wait for it');
is(sql(q{SELECT rate, burst, waiting, sending, sent, failed, latency > 0 FROM notify.stat_provider WHERE provider = 'slow'}),
	'20|5|0|0|60|0|t', 'stat_provider counts over both');
is(sql(q{SELECT sum(attempt) FROM notify.outcome WHERE provider = 'slow'}), '60', 'none took more than one attempt');

# A rate so low that messages would outwait their lease.
sql(q{UPDATE notify.provider SET enabled = false WHERE name = 'slow'});
provider('slower', 'webhook', rate => 0.01, burst => 1);
sql(q{SELECT send_many('bulk', 1), send_many('slow', 1), send_many('alarm', 1)});
ok(wait_for_sql($node, q{SELECT count(*) = 1 FROM notify.outcome WHERE provider = 'slower'}), 'one message has a token');
is(sql(q{SELECT m.category FROM notify.outcome o JOIN notify.message m ON m.id = o.message ORDER BY o.at DESC LIMIT 1}),
	'alarm', 'the most urgent one');
ok(wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.ready WHERE owner IS NULL AND attempts = 0}),
	'the others are given back, and waiting was no attempt');
my $before = () = $sink->entries('/slower');
is($before, 1, 'nothing else went');
sql(q{ALTER SYSTEM SET notify_pg.clock_offset = 110});
$node->reload;
ok(wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.outcome WHERE provider = 'slower'}), 'a token comes with time');
is(sql('SELECT count(*) FROM notify.ready'), '1', 'one');
sql(q{UPDATE notify.provider SET rate = NULL WHERE name = 'slower'});
wait_for_drain($node);
is(sql(q{SELECT max(attempt), count(*) FROM notify.outcome WHERE provider = 'slower'}), '1|3', 'without a rate the rest goes at once');


#
# Breakers
#
sub breaker
{
	my ($name) = @_;
	return sql("SELECT breaker FROM notify.stat_provider WHERE provider = '$name'");
}

sub ahead
{
	my ($seconds) = @_;
	our $offset = ($offset // 110) + $seconds;
	sql("ALTER SYSTEM SET notify_pg.clock_offset = $offset");
	$node->reload;
	return;
}

# provider:class:attempt of all outcomes of the messages of one send_many()
sub story
{
	my ($since) = @_;
	return sql(qq{SELECT string_agg(concat_ws(':', o.provider, o.class, o.attempt), ' ' ORDER BY o.at)
		FROM notify.outcome o WHERE o.message > $since});
}

sub last_message { return sql('SELECT coalesce(max(id), 0) FROM notify.message'); }

sql(q{DELETE FROM notify.provider});
my ($a, $b) = (http_sink(), http_sink());
my ($port_a, $port_b) = ($a->port, $b->port);
sub two_providers
{
	sql(qq{
		DELETE FROM notify.provider WHERE channel = 'webhook';
		INSERT INTO notify.provider (name, preset, settings, priority) VALUES
			('a', 'webhook', '{"url": "http://127.0.0.1:$port_a/a", "timeout_ms": 1500}', 1),
			('b', 'webhook', '{"url": "http://127.0.0.1:$port_b/b", "timeout_ms": 1500}', 2)});
	return;
}
two_providers();
sql(q{SELECT send_many('slow', 10)});
wait_for_drain($node);
is(scalar(() = $a->entries('/a')), 10, 'the first by priority serves');

# What a message costs, when it is taken and as it was then.
like(($node->psql('postgres', q{UPDATE notify.provider SET cost = -1 WHERE name = 'a'}))[2], qr/violates check constraint/, 'a cost below zero is refused');
sql(q{UPDATE notify.provider SET cost = 0.05 WHERE name = 'a'});
$a->behave({ '/a' => [ '/status/503', '/status/400' ] });
my $paid_since = last_message();
sql(q{SELECT send_many('slow', 10)});
ahead(4);
wait_for_drain($node);
sql(q{UPDATE notify.provider SET cost = 7 WHERE name = 'a'});
is(sql(qq{SELECT class, count(*), sum(cost) FROM notify.outcome WHERE message > $paid_since GROUP BY 1 ORDER BY 1}),
	"ok|9|0.45\npermanent_message|1|\nretry|1|", 'what was taken has its cost');
is(sql(q{SELECT cost_today FROM notify.stat_provider WHERE provider = 'a'}), '0.45', 'stat_provider adds it up');

# Nobody listens.
$a->stop;
my $since = last_message();
sql(q{SELECT send_many('slow', 50)});
ok(wait_for_sql($node, q{SELECT breaker = 'open' FROM notify.stat_provider WHERE provider = 'a'}), 'a provider that is down is left alone');
ahead(4);    # retries are due, the probe is not
wait_for_drain($node);
my $came = $b->arrivals('/b');
is(join(' ', scalar keys %$came, max(values %$came)), '50 1', 'the next provider got all its messages, once');
is(breaker('b'), 'closed', 'and is well');
like(sql('SELECT array_to_string(problems, E\'\n\') FROM notify.status()'), qr/provider a is left alone since .*: .*127\.0\.0\.1/, 'status() says so, and why');
cmp_ok(sql(qq{SELECT count(*) FROM notify.outcome WHERE message > $since AND provider = 'a'}), '<=', 100, 'what was in flight failed, the rest was not tried there');
is(sql(qq{SELECT max(attempt) <= 2 FROM notify.outcome WHERE message > $since}), 't', 'messages that were given back lost no attempt');
$since = last_message();
sql(q{SELECT send_many('slow', 10)});
wait_for_drain($node);
is(sql(qq{SELECT DISTINCT provider || ':' || attempt FROM notify.outcome WHERE message > $since}), 'b:1', 'while it is open new messages do not go there');

# It is still down when it is tried again.
ahead(70);
$since = last_message();
sql(q{SELECT send_many('slow', 10)});
ok(wait_for_sql($node, qq{SELECT count(*) = 1 FROM notify.outcome WHERE message > $since AND provider = 'a'}), 'a probe');
ahead(4);
wait_for_drain($node);
is(sql(qq{SELECT count(*) FROM notify.outcome WHERE message > $since AND provider = 'a'}), '1', 'only one');
is(sql(q{SELECT breaker, openings, probe_at > notify.now() + interval '60 s' FROM notify.stat_provider WHERE provider = 'a'}),
	'open|1|t', 'it goes on being left alone, for longer');

# It hangs, and the probe may have arrived.
$a = http_sink(port => $port_a);
$a->behave({ '/a' => ['/stall'] });
ahead(130);
$since = last_message();
sql(q{SELECT send_many('slow', 20)});
ok(wait_for_sql($node, qq{SELECT count(*) = 19 FROM notify.outcome WHERE message > $since AND provider = 'b'}), 'the others do not wait for the probe');
is(scalar(() = $a->entries('/a')), 1, 'one probe, of both dispatchers');
ok(wait_for_sql($node, q{SELECT (SELECT count(*) FROM notify.scheduled WHERE provider IS NOT NULL)
	+ (SELECT count(*) FROM notify.ready WHERE pinned AND owner IS NULL) = 1}), 'it is not answered');
ahead(5);
ok(wait_for_sql($node, q{SELECT count(*) = 1 FROM notify.ready WHERE pinned AND owner IS NULL}), 'its message may have arrived and waits for the same provider');
is(breaker('a'), 'open', 'which is still left alone');
ahead(250);
wait_for_drain($node);
is(story($since) =~ /a:retry:1 a:ok:2$/ ? 't' : story($since), 't', 'it is sent there, not elsewhere');
is(breaker('a'), 'closed', 'a probe that is taken closes the breaker');
is(sql('SELECT problems FROM notify.status()'), '{}', 'status() is content');
$since = last_message();
sql(q{SELECT send_many('slow', 10)});
wait_for_drain($node);
is(sql(qq{SELECT DISTINCT provider FROM notify.outcome WHERE message > $since}), 'a', 'and the provider serves again');

# It refuses our credentials.
$a->behave({ '/a' => ['/status/401'] });
$since = last_message();
sql(q{SELECT send_many('slow', 1)});
ok(wait_for_sql($node, q{SELECT breaker = 'open' FROM notify.stat_provider WHERE provider = 'a'}), 'one refusal of our credentials is enough');
like(sql('SELECT array_to_string(problems, E\'\n\') FROM notify.status()'), qr/provider a: HTTP 401/, 'status() says so');
ahead(4);
wait_for_drain($node);
is(story($since), 'a:auth:1 b:ok:2', 'the next provider sends it');
ahead(70);
sql(q{SELECT send_many('slow', 1)});
ok(wait_for_sql($node, q{SELECT breaker = 'closed' AND problem IS NULL FROM notify.stat_provider WHERE provider = 'a'}), 'a probe that is taken takes the problem back');

# All are down.
$_->stop for $a, $b;
$since = last_message();
sql(q{SELECT send_many('slow', 20)});
for (1 .. 3)
{
	wait_for_sql($node, q{SELECT bool_or(breaker = 'open') FROM notify.stat_provider});
	ahead(4);
}
ok(wait_for_sql($node, q{SELECT bool_and(breaker <> 'closed') FROM notify.stat_provider}), 'all are left alone');
$a = http_sink(port => $port_a);
$b = http_sink(port => $port_b);
for (1 .. 4)
{
	ahead(60);
	last if wait_until('messages', sub { sql('SELECT ready + sending + scheduled = 0 FROM notify.status()') eq 't' }, 15);
}
is(sql(qq{SELECT count(*), count(DISTINCT message) FROM notify.outcome WHERE message > $since AND verdict = 'sent'}), '20|20', 'messages wait for the first that is back');

# A worker is stopped, or killed, while it has the probe.
for my $signal ('TERM', 'KILL')
{
	$node->append_conf('postgresql.conf', 'restart_after_crash = on');
	two_providers();
	$a->stop;
	sql(q{SELECT send_many('slow', 20)});
	ok(wait_for_sql($node, q{SELECT breaker = 'open' FROM notify.stat_provider WHERE provider = 'a'}), "$signal: it is down");
	ahead(4);
	wait_for_drain($node);
	$a = http_sink(port => $port_a);
	$a->behave({ '/a' => ['/stall'] });
	sql(q{UPDATE notify.provider SET settings = settings || '{"timeout_ms": 60000}' WHERE name = 'b'});
	ahead(70);
	sql(q{SELECT send_many('slow', 1)});
	ok(wait_until('the probe', sub { scalar(() = $a->entries('/a')) == 1 }), "$signal: a probe hangs");
	my $pid = sql(q{SELECT pid FROM notify._workers() WHERE kind = 'dispatcher' AND in_flight > 0});
	kill $signal, $pid;
	ok(wait_for_sql($node, qq{SELECT count(*) = 2 AND bool_and(pid <> $pid) FROM notify._workers() WHERE kind = 'dispatcher' AND state = 'running'}), "$signal: its worker is replaced");
	ahead(5);
	wait_for_drain($node);
	ok(wait_for_sql($node, q{SELECT breaker = 'closed' FROM notify.stat_provider WHERE provider = 'a'}), "$signal: another probe is taken");
	is(scalar(() = $a->entries('/a')), 2, "$signal: it was the same message");
}

# A provider is deleted while it is open.
two_providers();
$a->stop;
sql(q{SELECT send_many('slow', 20)});
ok(wait_for_sql($node, q{SELECT breaker = 'open' FROM notify.stat_provider WHERE provider = 'a'}), 'open again');
sql(q{DELETE FROM notify.provider WHERE name = 'a'});
ahead(4);
wait_for_drain($node);
is(sql(q{SELECT string_agg(provider || ' ' || breaker, ',') FROM notify.stat_provider WHERE channel = 'webhook'}), 'b closed', 'a provider deleted while open is gone');
is(sql('SELECT problems FROM notify.status()'), '{}', 'without a trace in status()');

$node->stop;
done_testing();
