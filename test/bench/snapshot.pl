# Flat under a snapshot that somebody holds, and while days come and go.
#
# 2,000 orders a second change status, in transactions of 40, and everything
# runs: capture, planner, dispatcher, sink. First without the snapshot, then
# with a REPEATABLE READ transaction that stays open. Once a second the workers'
# counters are read (notify.stat_worker): what a claim and a settlement took.
#
# Then a client changes one order 200 times a second, in turn with nothing
# else going on and while partitions of days long past are made, filled and
# dropped without a pause; told is its slowest transaction.

use strict;
use warnings;
use IPC::Run;
use List::Util qw(max);
use NotifyBench;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $quiet = size(60, 2);       # seconds
my $held = size(300, 4);
my $minute = full() ? $held / 5 : 2;
my $each = 40;
my $rate = full() ? 2_000 : 400;
my $node = bench_cluster('snapshot', preload => 1);
my $sink = sink();
shop($node, $sink->url, rows => ($quiet + $held + 60) * $rate);

my $next = 0;    # chunk of orders
my $stamps = PostgreSQL::Test::Utils::tempdir() . '/stamps';    # a pipe nobody reads would stop the client

# Changes orders for that long; every second what claims, settlements and plans
# took since the last, and how many messages arrived.
sub run_for
{
	my ($seconds) = @_;
	my $chunks = $seconds * $rate / $each;
	my ($in, $err) = ('', '');
	my $load = IPC::Run::start([ tool('commit'), $node->connstr('postgres'), $next, $chunks, 1e6 * $each / $rate,
			"UPDATE orders SET status = 'sent', changed_at = now() WHERE id BETWEEN \$1::bigint * $each + 1 AND (\$1::bigint + 1) * $each" ],
		'<', \$in, '>', $stamps, '2>', \$err);
	$next += $chunks;
	my ($begun, @samples) = (time);
	my ($before, $arrived) = (counts(), $sink->stat->{requests});
	while (time < $begun + $seconds)
	{
		sleep($begun + @samples + 1 - time) if $begun + @samples + 1 > time;
		my ($after, $now) = (counts(), $sink->stat->{requests});
		my %d = map { $_ => $after->{$_} - $before->{$_} } keys %$after;
		push @samples, { arrived => $now - $arrived,
			batch_ms => $d{claims} && $d{settles} ? ($d{claim_us} / $d{claims} + $d{settle_us} / $d{settles}) / 1000 : undef,
			plan_us => $d{planned} ? $d{plan_us} / $d{planned} : undef };
		($before, $arrived) = ($after, $now);
	}
	$load->finish or die "commit: $err";
	return @samples;
}

sub counts { return counter($node, qw(claims claim_us settles settle_us planned plan_us)); }

sub p50
{
	my ($what, @samples) = @_;
	return median(grep { defined } map { $_->{$what} } @samples);
}

run_for(2);    # what workers do once
my @before = run_for($quiet);
wait_sql($node, DRAINED);
my ($in, $out) = ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'held', count(*) FROM notify.source;\n", '');
my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out);
$holder->pump until $out =~ /held/;
my @during = run_for($held);
my $unsent = sql($node, 'SELECT unplanned + ready + sending FROM notify.status()');
my @minutes = map { [ @during[ $_ * $minute .. $_ * $minute + $minute - 1 ] ] } 0 .. int(@during / $minute) - 1;
my @batch = map { p50('batch_ms', @$_) } @minutes;
my @plan = map { p50('plan_us', @$_) } @minutes;
result("messages/s under a snapshot held for $held s / changes/s", unit => 'msg/s',
	ours => [ map { p50('arrived', @$_) } @minutes ], theirs => [ ($rate) x @minutes ], least => 0.98);
result('claim + settle p50 of each minute of it / before it', unit => 'ms',
	ours => [ max(@batch) ], theirs => [ p50('batch_ms', @before) ], ratios => [ map { $_ / p50('batch_ms', @before) } @batch ],
	ours_most => 5);
result('the last minute / the first', unit => 'ms', ours => [ $batch[-1] ], theirs => [ $batch[0] ], most => 1.1);
result('planning a message, the last minute / the first', unit => 'us', ours => [ $plan[-1] ], theirs => [ $plan[0] ]);
remark("by minute, claim + settle: @{[map { sprintf '%.2f', $_ } @batch]} ms; $unsent messages were under way at the end");
wait_sql($node, DRAINED);
$in .= "COMMIT;\n";
$holder->finish;

#
# Days made and dropped
#
my $seconds = size(20, 1);
my $day = 40;

# The slowest of these transactions, in ms, while $meanwhile is called again and again.
sub slowest
{
	my ($meanwhile) = @_;
	my ($in, $err) = ('', '');
	my $load = IPC::Run::start([ tool('commit'), $node->connstr('postgres'), 1, 200 * $seconds, 5000,
			"UPDATE orders SET status = CASE status WHEN 'paid' THEN 'sent' ELSE 'paid' END WHERE id = \$1::bigint" ],
		'<', \$in, '>', $stamps, '2>', \$err);
	my $begun = time;
	$meanwhile->() while time < $begun + $seconds - 0.5;
	$load->finish or die "commit: $err";
	return max(map { my (undef, undef, $returned, $started) = split ' '; ($returned - $started) / 1e6 } split /\n/, slurp_file($stamps));
}

# A day of each log, long past: made, filled, dropped.
my $dropped = 0;

sub come_and_go
{
	$day++;
	my $at = "((now() AT TIME ZONE 'UTC')::date - $day)";
	# A lock it cannot have at once is left for the next time.
	$node->psql('postgres', "SELECT notify._make_partition('$_', $at)") for qw(event message outcome);
	sql($node, "INSERT INTO notify.message (id, event, event_xid, priority, verdict)
		SELECT notify._day_start($at) + n, n, '3', 1, 'skipped' FROM generate_series(1, 1000) AS n");
	$dropped += sql($node, 'SELECT notify._drop_partitions()');
	return;
}

my (@alone, @together);
for (1 .. rounds(5))
{
	push @alone, slowest(sub { sleep 0.1 });
	push @together, slowest(\&come_and_go);
}
result('slowest of ' . 200 * $seconds . ' transactions while days come and go / alone', unit => 'ms',
	ours => \@together, theirs => \@alone, ours_most => 50);
cmp_ok($dropped, '>', 0, "$dropped partitions were dropped meanwhile");
finish();
