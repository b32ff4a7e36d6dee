# Writers unharmed: an application's throughput while a backlog drains.
#
# pgbench, two clients, half of its transactions change an order's status (a
# message each), half change what no rule wants. In turn: with the workers
# stopped (SIGSTOP, while they are idle), while a backlog of promotions drains as
# fast as it goes, and the same with notify_pg.nice = 0, the setting that trades
# the one for the other. Then what a commit costs: the same single-row change,
# with capture and with NOTIFY instead, four clients.

use strict;
use warnings;
use IPC::Run;
use NotifyBench;
use PostgreSQL::Test::Utils;

my $seconds = size(10, 1);
my $rounds = rounds(5);
my $backlog = size(3_000_000, 4_000);
my $node = bench_cluster('writers', preload => 1);
my $sink = sink();
shop($node, $sink->url, rows => 20_000);
sql($node, q{
	CREATE TABLE plain_orders (LIKE orders INCLUDING ALL);
	INSERT INTO plain_orders SELECT * FROM orders;
	VACUUM ANALYZE plain_orders;
	INSERT INTO notify.template (name, channel, body) VALUES ('news', 'webhook', '{"news": {{ k }}}');
	INSERT INTO notify.rule (name, event_type, template, category) VALUES ('news', 'news', 'news', 'news')});
my $dir = PostgreSQL::Test::Utils::tempdir();
my $pick = '\set id random(1, 20000)' . "\n";
my $move = "SET status = CASE status WHEN 'paid' THEN 'sent' ELSE 'paid' END, changed_at = now() WHERE id = :id;\n";
append_to_file("$dir/matched.sql", $pick . "UPDATE orders $move");
append_to_file("$dir/unmatched.sql", $pick . "UPDATE orders SET total = total + 1, changed_at = now() WHERE id = :id;\n");
append_to_file("$dir/bare.sql", $pick . "UPDATE plain_orders $move");
append_to_file("$dir/notify.sql", $pick . "BEGIN;\nUPDATE plain_orders $move" . "SELECT pg_notify('bench', :id::text);\nCOMMIT;\n");
append_to_file("$dir/captured.sql", $pick . "BEGIN;\nUPDATE orders $move" . "SELECT 1;\nCOMMIT;\n");

# Transactions per second.
sub tps
{
	my ($clients, @files) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', 1, '-T', $seconds,
			(map { ('-f', "$dir/$_.sql") } @files), $node->connstr('postgres') ],
		'>', \$out, '2>', \$err) or die $err;
	$out =~ /^tps = ([\d.]+)/m or die $out;
	return $1;
}

# Runs code while this database's workers stand still.
sub stopped
{
	my ($code) = @_;
	wait_sql($node, DRAINED);
	wait_sql($node, "SELECT bool_and(state = 'idle' OR wait_event_type = 'Extension') FROM pg_stat_activity
		WHERE pid IN (SELECT pid FROM notify._workers() WHERE kind <> 'launcher')");
	my @pids = map { workers($node, $_) } qw(planner dispatcher);
	kill 'STOP', @pids;
	my $result = eval { $code->() };
	my $error = $@;
	kill 'CONT', @pids;
	die $error if $error;
	wait_sql($node, DRAINED);
	return $result;
}

# Promotions that wait to be released; some of an earlier round may be left.
my $k = 0;

sub make_backlog
{
	sql($node, "SELECT notify.hold('benchmark')");
	my $wanted = int($backlog / $rounds / 2);
	sql($node, "SELECT count(notify.emit('news', 'c' || k % 1000, jsonb_build_object('k', k)))
		FROM generate_series(@{[$k + 1]}, @{[$k + $wanted]}) AS k");
	$k += $wanted;
	return wait_sql($node, 'SELECT unplanned = 0 FROM notify.status()');
}

# Workers that are as any session: they are new ones. And as they come again.
sub stand_up
{
	my @before = map { workers($node, $_) } qw(planner dispatcher);
	sql($node, 'ALTER SYSTEM SET notify_pg.nice = 0');
	sql($node, 'SELECT pg_reload_conf()');
	return wait_sql($node, 'SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type ~ \'^notify_pg (planner|dispatcher)\''
		. " AND pid <> ALL ('{@{[join ',', @before]}}')");
}

sub stand_back
{
	sql($node, 'ALTER SYSTEM RESET notify_pg.nice');
	return sql($node, 'SELECT pg_reload_conf()');
}

# Whether they are made and count for this process: it is in no CPU control group but the root's.
sub has_autogroups
{
	my ($made, $groups, $below) = map { -e $_ ? slurp_file($_) : '' }
	  qw(/proc/sys/kernel/sched_autogroup_enabled /proc/self/cgroup /sys/fs/cgroup/cgroup.subtree_control);
	return 0 if $made !~ /1/;
	return $1 eq '/' if $groups =~ /^\d+:cpu(?:,cpuacct)?:(.*)/m;
	return $groups !~ m{^0::/.}m || $below !~ /\bcpu\b/;
}

# Transactions and messages a second while the backlog drains.
my $short = 0;

sub draining
{
	make_backlog();
	my $before = $sink->stat->{requests};
	release($node);
	my $tps = tps(2, 'matched', 'unmatched');
	my $rate = ($sink->stat->{requests} - $before) / $seconds;
	$short++ if sql($node, 'SELECT NOT EXISTS (SELECT FROM notify.ready WHERE lane % 4 = 3)') eq 't';
	wait_sql($node, DRAINED);
	return ($tps, $rate);
}

my (@stopped, @draining, @rates, @equal, @equal_rates);
tps(2, 'matched', 'unmatched');
for (1 .. $rounds)
{
	push @stopped, stopped(sub { tps(2, 'matched', 'unmatched') });
	my ($tps, $rate) = draining();
	push @draining, $tps;
	push @rates, $rate;
	stand_up();
	($tps, $rate) = draining();
	push @equal, $tps;
	push @equal_rates, $rate;
	stand_back();
}
result('transactions while draining / with the workers stopped', unit => 'tx/s',
	ours => \@draining, theirs => \@stopped, least => 0.8);
result('transactions while draining, notify_pg.nice = 0 / with the workers stopped', unit => 'tx/s',
	ours => \@equal, theirs => \@stopped);
result('messages meanwhile / with notify_pg.nice = 0', unit => 'msg/s', ours => \@rates, theirs => \@equal_rates);
remark('Linux divides the CPU among sessions here: see docs/operations.md, CPU') if has_autogroups();
remark("the backlog was too short in $short of @{[2 * $rounds]} measurements") if $short;

my (@bare, @notify, @captured);
for (1 .. $rounds)
{
	push @bare, stopped(sub { tps(4, 'bare') });
	push @notify, stopped(sub { tps(4, 'notify') });
	push @captured, stopped(sub { tps(4, 'captured') });
}
result('commits with capture / with NOTIFY instead, 4 clients', unit => 'tx/s', ours => \@captured, theirs => \@notify);
result('commits with capture / without either, 4 clients', unit => 'tx/s', ours => \@captured, theirs => \@bare);
finish();
