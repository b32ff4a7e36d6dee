# How providers are chosen and spared: rates that all dispatchers keep together.
#
# Catches: a rate kept by each dispatcher for itself, messages that wait for a
# token while their lease runs out and their attempts are counted, a limited
# provider that delays another.

use strict;
use warnings;
use List::Util qw(max sum0);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('providers', conf => "notify_pg.lease = 5\nnotify_pg.dispatchers = 2\n");
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

$node->stop;
done_testing();
