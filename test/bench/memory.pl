# Memory: what is a worker's alone (Private_* of /proc/PID/smaps, shared memory
# apart), with as many transfers under way as it may have, early on and after a
# million messages.
#
# The sink answers after 20 ms, so that transfers pile up to the limit. Messages
# come from one statement each round, captured, planned and sent by the workers.

use strict;
use warnings;
use List::Util qw(max);
use NotifyBench;
use Time::HiRes qw(sleep);

my $count = size(1_000_000, 4_000);
my $chunks = full() ? 10 : 2;
my $node = bench_cluster('memory', preload => 1);
my $sink = sink('--delay', 20);
shop($node, $sink->url, rows => $count / $chunks, concurrency => 100);

# The most each kind of worker had, in MB, while that many orders were told of.
sub run_chunk
{
	my ($status) = @_;
	my %most = (planner => 0, dispatcher => 0, in_flight => 0);
	my %pid = map { $_ => (workers($node, $_))[0] } qw(planner dispatcher);
	my $before = $sink->stat->{requests};
	sql($node, "UPDATE orders SET status = '$status'");
	while ($sink->stat->{requests} < $before + $count / $chunks)
	{
		$most{$_} = max($most{$_}, private_kb($pid{$_}) / 1024) for keys %pid;
		$most{in_flight} = max($most{in_flight}, counter($node, 'in_flight')->{in_flight});
		sleep(0.05);
	}
	wait_sql($node, DRAINED);
	die "$_ was started anew" for grep { (workers($node, $_))[0] != $pid{$_} } keys %pid;
	return \%most;
}

my @most = map { run_chunk("s$_") } 1 .. $chunks;
for my $kind (qw(dispatcher planner))
{
	result("private memory of the $kind, the last " . $count / $chunks . " of $count messages / the first", unit => 'MB',
		ours => [ $most[-1]{$kind} ], theirs => [ $most[0]{$kind} ], most => 1.1, ours_most => 48);
}
remark("in flight at most: $most[-1]{in_flight}; dispatcher by chunk: " . join(' ', map { sprintf '%.1f', $_->{dispatcher} } @most) . ' MB');
finish();
