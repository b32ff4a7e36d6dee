# Latency: from a business transaction's commit to the arrival at the receiver.
#
# A client changes one order in a transaction, so many times a second. The
# message counts as arrived when the sink has read the request. Beside it, in
# turn: the same UPDATE on a table without capture, with NOTIFY in the same
# transaction, and a client that LISTENs. Both are timed from the moment the
# client has read the answer to COMMIT; told as well from the moment it sent
# COMMIT, in which the commit's own flush and round trip are contained.
# All stamps are of one clock on one machine (clock.h).

use strict;
use warnings;
use IPC::Run;
use NotifyBench;
use Test::More;

my $rate = 20;
my $singles = size(200, 20);
my $rounds = rounds(5);
my $node = bench_cluster('latency', preload => 1, conf => "notify_pg.poll_interval = 1000\n");
my $sink = sink('--arrivals');
shop($node, $sink->url, rows => 1000);
sql($node, q{
	CREATE TABLE plain_orders (LIKE orders INCLUDING ALL);
	INSERT INTO plain_orders SELECT * FROM orders;
	VACUUM ANALYZE plain_orders;
	INSERT INTO notify.template (name, channel, body) VALUES ('news', 'webhook', '{"news": {{ k }}}');
	INSERT INTO notify.rule (name, event_type, template, category) VALUES ('news', 'news', 'news', 'news')});
my $change = "UPDATE %s SET status = CASE status WHEN 'paid' THEN 'sent' ELSE 'paid' END, changed_at = now() WHERE id = \$1::bigint";

# The stamps of that many commits: n => [sent, returned].
sub commits
{
	my ($count, @statements) = @_;
	my $out = program('commit', '', $node->connstr('postgres'), 1, $count, 1e6 / $rate, @statements);
	return { map { my ($n, @at) = split ' '; ($n => \@at) } split /\n/, $out };
}

# Milliseconds each, from the answer to COMMIT and from its sending.
sub waits
{
	my ($commits, $arrivals) = @_;
	my @lost = grep { !$arrivals->{$_} } keys %$commits;
	die scalar(@lost) . " did not arrive" if @lost;
	return map {
		my $which = $_;
		[ map { ($arrivals->{$_} - $commits->{$_}[$which]) / 1e6 } keys %$commits ]
	} (1, 0);
}

sub through_us
{
	$sink->reset;
	my $commits = commits($singles, sprintf($change, 'orders'));
	wait_sql($node, "SELECT unplanned = 0 AND NOT EXISTS (SELECT FROM notify.ready WHERE lane % 4 < 3) FROM notify.status()");
	my $arrivals = $sink->arrivals;
	return waits($commits, $arrivals);
}

sub through_notify
{
	my ($in, $out) = ('', '');
	my $listener = IPC::Run::start([ tool('listen'), $node->connstr('postgres'), 'bench', $singles ], '<', \$in, '>', \$out);
	$listener->pump until $out =~ /^ready/;
	my $commits = commits($singles, sprintf($change, 'plain_orders'), q{SELECT pg_notify('bench', $1)});
	$listener->finish;
	$out =~ s/^ready\n//;
	return waits($commits, { map { split ' ' } split /\n/, $out });
}

# Told over all rounds, compared by round.
sub compare
{
	my ($share, $name, $ours, $theirs, %target) = @_;
	result($name, unit => 'ms', ours => [ percentile($share, map { @$_ } @$ours) ],
		theirs => [ percentile($share, map { @$_ } @$theirs) ],
		ratios => [ map { percentile($share, @{ $ours->[$_] }) / percentile($share, @{ $theirs->[$_] }) } 0 .. $#$ours ], %target);
	return;
}

my (@ours, @theirs, @ours_sent, @theirs_sent);
commits(20, sprintf($change, 'orders'));    # what workers do once
wait_sql($node, DRAINED);
for (1 .. $rounds)
{
	my ($returned, $sent) = through_us();
	push @ours, $returned;
	push @ours_sent, $sent;
	($returned, $sent) = through_notify();
	push @theirs, $returned;
	push @theirs_sent, $sent;
}
my $all = $singles * $rounds;
compare(0.5, "commit to arrival, p50 of $all at $rate/s / LISTEN", \@ours, \@theirs, ours_most => 1.5);
compare(0.99, "commit to arrival, p99 of $all at $rate/s / LISTEN", \@ours, \@theirs, ours_most => 4.5);
compare(0.5, 'the same from the sending of COMMIT, p50 / LISTEN', \@ours_sent, \@theirs_sent);
compare(0.99, 'the same from the sending of COMMIT, p99 / LISTEN', \@ours_sent, \@theirs_sent);

#
# While a backlog of promotions drains
#
my $backlog = size(1_000_000, 3_000);
sql($node, "SELECT notify.hold('benchmark')");
sql($node, "SELECT count(notify.emit('news', 'c' || k % 1000, jsonb_build_object('k', k))) FROM generate_series(1, $backlog) AS k");
wait_sql($node, 'SELECT unplanned = 0 FROM notify.status()');
$sink->reset;
release($node);
wait_sql($node, 'SELECT EXISTS (SELECT FROM notify.outcome WHERE message IN (SELECT id FROM notify.message WHERE category = \'news\' LIMIT 1))');
my @busy;
for (1 .. $rounds)
{
	push @busy, (through_us())[0];
	last if sql($node, 'SELECT NOT EXISTS (SELECT FROM notify.ready)') eq 't';
}
my $left = sql($node, 'SELECT count(*) FROM notify.ready');
my $done = scalar map { @$_ } @busy;
remark("of $backlog promotions $left were left after $done orders");
$#ours = $#busy;
compare(0.5, "while $backlog promotions drain, p50 of $done / quiet", \@busy, \@ours);
compare(0.99, "while $backlog promotions drain, p99 of $done / quiet", \@busy, \@ours, ours_most => 13.5);
finish();
