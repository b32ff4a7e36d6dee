# Workers die in the middle of 20,000 webhook messages and 2,000 inbox items.
# By kill -9, which takes the whole server down and up again: nothing may be
# lost, and what arrives twice is bounded by what was on the wire. By SIGTERM:
# nothing need arrive twice.
#
# Catches: a queue that does not survive a crash, planned rows acted on before
# they are durable, claims nobody frees, a message settled twice or never, a
# dispatcher that puts on the wire more than max_in_flight that is not
# settled, one that stops without waiting for the answers it is owed, inbox
# items written outside the settling transaction, events planned twice or not
# at all when the planner goes.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $in_flight = 100;
my $node = notify_cluster('kill', conf => "restart_after_crash = on\nnotify_pg.max_in_flight = $in_flight\n");
my $http = http_sink();

$node->safe_psql('postgres', qq{
	INSERT INTO notify.provider (name, channel, preset, settings)
	VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/slow?ms=25')]}"}'), ('box', 'inbox', 'inbox', '{}');
	INSERT INTO notify.category (name, class, channels) VALUES ('jobs', 'transactional', '{webhook}');
	INSERT INTO notify.template (name, channel, body)
	VALUES ('job', 'webhook', '{"n": {{ new.id }}}'), ('job', 'inbox', 'Job {{ new.id }}');
	INSERT INTO notify.recipient (id) SELECT 'r' || n FROM generate_series(0, 49) AS n;
	CREATE TABLE job (id integer PRIMARY KEY, who text);
	SELECT notify.attach('job', recipient => 'new.who');
	INSERT INTO notify.rule (name, source, template, category) VALUES ('every', 'job', 'job', 'jobs');
	INSERT INTO notify.rule (name, source, condition, template, category, channels)
	VALUES ('tenth', 'job', 'new.id % 10 = 0', 'job', 'jobs', '{inbox}');
});

# Inserts that many jobs, a transaction for every 2,000; gives what the query prints that follows.
my $jobs = 0;

sub add_jobs
{
	my ($count, $then) = @_;
	my $sql = '';
	for (my $from = $jobs + 1; $from <= $jobs + $count; $from += 2000)
	{
		my $to = $from + 1999 < $jobs + $count ? $from + 1999 : $jobs + $count;
		$sql .= "INSERT INTO job SELECT n, 'r' || n % 50 FROM generate_series($from, $to) AS n;\n";
	}
	$jobs += $count;
	return $node->safe_psql('postgres', $sql . ($then // ''));
}

sub arrived
{
	return $http->counts->{total};
}

sub wait_for_arrivals
{
	my ($count) = @_;
	return wait_until("$count requests", sub { arrived() >= $count });
}

sub worker
{
	my ($kind) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM notify._workers() WHERE kind = '$kind'");
}

sub wait_for_successor
{
	my ($kind, $pid) = @_;
	return wait_for_sql($node,
		"SELECT count(*) = 1 FROM notify._workers() WHERE kind = '$kind' AND pid <> $pid AND state = 'running'");
}

# Requests beyond the first of each message.
sub repeats
{
	my $seen = $http->arrivals;
	my $extra = 0;
	$extra += $_ - 1 for values %$seen;
	return $extra;
}

# Everything is where it should be; gives how many requests came too often.
sub all_is_well
{
	my ($what) = @_;
	ok(wait_for_drain($node), "$what: the queue drains");
	my %planned = map { $_ => 1 } split /\n/,
	  $node->safe_psql('postgres', "SELECT 'msg_' || id FROM notify.message WHERE channel = 'webhook'");
	my $seen = $http->arrivals;
	is(scalar keys %planned, $jobs, "$what: each event is planned once");
	is(scalar(grep { !$seen->{$_} } keys %planned), 0, "$what: no message is lost");
	is(scalar(grep { !$planned{$_} } keys %$seen), 0, "$what: nothing arrived that is not on record");
	is($node->safe_psql('postgres', 'SELECT channel, status, count(*), count(DISTINCT key) FROM notify.delivery GROUP BY 1, 2 ORDER BY 1'),
		"inbox|delivered|@{[$jobs / 10]}|@{[$jobs / 10]}\nwebhook|sent|$jobs|$jobs",
		"$what: every message is sent, one for each row");
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT message) FROM notify.outcome"),
		$jobs * 1.1 . '|' . $jobs * 1.1, "$what: and settled once");
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT message), count(DISTINCT data ->> 'key') FROM notify.inbox"),
		join('|', ($jobs / 10) x 3), "$what: inbox items are there exactly once");
	is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM notify.ready), (SELECT count(*) FROM notify.scheduled)'),
		'0|0', "$what: ready and scheduled are empty");
	return repeats();
}

#
# kill -9, twice. A kill takes the whole cluster through crash recovery: the
# planner's unflushed transactions are gone as well.
#
# The bound: a message counts against max_in_flight from the moment its
# transfer starts until its answer is committed (src/dispatch/send.c,
# "exposed"), so at any time at most max_in_flight messages may have been seen
# by the receiver and not be settled. Those, and of those only what really
# went out, are sent again by the next dispatcher; what is claimed and not
# begun was seen by nobody. Two kills: twice that.
#
add_jobs(20_000);
for my $stage (5_000, 12_000)
{
	wait_for_arrivals($stage);
	my $pid = worker('dispatcher');
	cmp_ok(arrived(), '<', 20_000, 'in the middle of it');
	is(kill('KILL', $pid), 1, "the dispatcher is killed after $stage requests");
	ok(wait_for_successor('dispatcher', $pid), 'the server comes back and goes on');
}
my $repeated = all_is_well('kill -9');
cmp_ok($repeated, '<=', 2 * $in_flight, "kill -9: no more than was in flight arrived twice ($repeated)");

#
# SIGTERM to the dispatcher, three times: what is on the wire is answered in a
# moment here, so a dispatcher that waits for that moment repeats nothing.
#
add_jobs(8_000);
for my $stage (1_500, 3_500, 5_500)
{
	wait_for_arrivals(20_000 + $repeated + $stage);
	my $pid = worker('dispatcher');
	cmp_ok(arrived(), '<', 28_000, 'in the middle of it');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok(wait_for_successor('dispatcher', $pid), "after $stage more requests the dispatcher is replaced");
}
my $more = all_is_well('SIGTERM') - $repeated;
cmp_ok($more, '<=', 5, "SIGTERM: next to nothing arrived twice ($more)");
$repeated += $more;

#
# SIGTERM to the planner, whenever it is back, while it plans: in the session
# whose commit has just given it work.
#
for (1 .. 4)
{
	my ($pid, $unplanned) = split /\|/, add_jobs(3_000,
		q{SELECT pid, (SELECT unplanned FROM notify.status()), pg_terminate_backend(pid) FROM notify._workers() WHERE kind = 'planner' AND state = 'running'});
	cmp_ok($unplanned, '>', 0, 'the planner is stopped with events still to be planned');
	ok(wait_for_successor('planner', $pid), 'and replaced');
}
$more = all_is_well('planner') - $repeated;
is($more, 0, 'planner: nothing arrived twice');

$node->stop;
done_testing();
