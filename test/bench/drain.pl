# Drain: a backlog that is all due at once, to a receiver on the same machine.
#
# 1. Beside a plain libcurl-multi program (push.c, 50 in flight) that sends the
#    same bodies to the same sink and has no database. Ours: from the first
#    request's arrival to the last recorded outcome, so what is counted is
#    delivered and recorded. The messages are captured and planned before, by
#    the running planner, while the database is held.
# 2. What a message costs in CPU, and on what: processes by /proc, the parts of
#    the dispatcher by its own clock (notify.stat_worker), each part's share of
#    the clock applied to the CPU it used.
# 3. Claim and settle without sending, beside a queue by hand: SKIP LOCKED, a
#    committed claim, then DELETE and INSERT into a history, batch by batch.

use strict;
use warnings;
use NotifyBench;
use PostgreSQL::Test::Utils;

my $count = size(100_000, 2_000);
my $node = bench_cluster('drain', preload => 1);
my $sink = sink();
shop($node, $sink->url, rows => $count);
my $bodies = NotifyBench::bodies($node, 'packed', 1, $count);

# Sets a setting and waits for that many dispatchers.
sub dispatchers
{
	my ($number) = @_;
	sql($node, "ALTER SYSTEM SET notify_pg.dispatchers = $number");
	sql($node, 'SELECT pg_reload_conf()');
	wait_sql($node, "SELECT count(*) = $number FROM notify._workers() WHERE kind = 'dispatcher' AND state = 'running'");
	return;
}

# Messages per second without a database, and what it used.
sub push_all
{
	$sink->reset;
	my ($sent, $seconds, $cpu) = split ' ', program('push', $bodies, $sink->url, 50);
	die "pushed $sent of $count" if $sent != $count;
	return ($sent / $seconds, $cpu / $sent * 1e6, $sink->stat->{bytes});
}

my @parts = qw(claim_us settle_us commit_us render_us wire_us);
my $round = 0;

# Messages per second; CPU microseconds a message by process and part.
sub drain_all
{
	my $status = $round++ % 2 ? 'packed' : 'posted';
	$sink->reset;
	my $cpu_before = cpu_of(workers($node, 'planner'));
	hold_and_plan($node, $status, 1, $count);
	my %us = (plan => (cpu_of(workers($node, 'planner')) - $cpu_before) / $count * 1e6);
	my @pids = workers($node, 'dispatcher');
	my $before = counter($node, @parts);
	$cpu_before = cpu_of(@pids);
	release($node);
	wait_sql($node, DRAINED);
	my $stat = $sink->stat;
	die "sent $stat->{requests} instead of $count" if $stat->{requests} != $count;
	my ($seconds, $recorded) = split /\|/, sql($node, "SELECT extract(epoch FROM max(at)) - $stat->{first} / 1e9::numeric,
		count(*) FROM notify.outcome WHERE verdict = 'sent'");
	die "recorded $recorded instead of $count" if $recorded != $count;
	my $cpu = (cpu_of(@pids) - $cpu_before) / $count * 1e6;
	my $after = counter($node, @parts);
	my $clock = 0;
	$clock += $after->{$_} - $before->{$_} for @parts;
	$us{$_} = $cpu * ($after->{$_} - $before->{$_}) / $clock for @parts;
	$us{dispatch} = $cpu;
	sql($node, 'TRUNCATE notify.event, notify.message, notify.outcome, notify.ready');
	return ($count / $seconds, \%us, $stat->{bytes});
}

my (@push, @one, @two, @push_cpu, %us);
for (1 .. rounds(5))
{
	my ($rate, $cpu, $bytes) = push_all();
	push @push, $rate;
	push @push_cpu, $cpu;
	dispatchers(1);
	my ($ours, $parts, $our_bytes) = drain_all();
	die "bodies of $our_bytes bytes instead of $bytes" if $bytes != $our_bytes;
	push @one, $ours;
	push @{ $us{$_} }, $parts->{$_} for keys %$parts;
	dispatchers(2);
	push @two, (drain_all())[0];
}
result("$count webhook messages, one dispatcher / libcurl without a database", unit => 'msg/s',
	ours => \@one, theirs => \@push, least => 0.4);
result('the same, two dispatchers', unit => 'msg/s', ours => \@two, theirs => \@push);
result('CPU a message, dispatcher / libcurl without a database', unit => 'us',
	ours => $us{dispatch}, theirs => \@push_cpu);
my %said = (plan => 'plan', claim_us => 'claim', settle_us => 'settle', commit_us => 'commit', render_us => 'render', wire_us => 'curl');
result("  of it, $said{$_}" . ($_ eq 'plan' ? ' (planner)' : ''), unit => 'us', ours => $us{$_})
  for qw(plan claim_us render_us wire_us settle_us commit_us);

#
# Without sending
#
dispatchers(0);
claimer($node);
my $queue = $count;
my $batch = 500;
sql($node, q{
	SELECT notify.arm();
	CREATE TABLE hand_queue (id bigint PRIMARY KEY, seq bigint NOT NULL, lane integer NOT NULL, owner integer,
		lease timestamptz, attempts integer NOT NULL DEFAULT 0, payload jsonb NOT NULL) WITH (fillfactor = 60);
	CREATE INDEX ON hand_queue (lane, seq);
	CREATE TABLE hand_history (id bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), verdict text NOT NULL,
		attempt integer, provider text, class text, code integer, detail text);
	CREATE INDEX ON hand_history (id, at);
	CREATE SEQUENCE hand_slot;
	CREATE PROCEDURE hand_claim_and_record(batch integer) LANGUAGE plpgsql AS $$
	DECLARE
		slot integer := nextval('hand_slot');
		ids bigint[];
		data jsonb[];
	BEGIN
		LOOP
			WITH taken AS (
				UPDATE hand_queue q SET owner = slot, lease = clock_timestamp() + interval '1 min', attempts = attempts + 1
				WHERE q.ctid = ANY (ARRAY(SELECT r.ctid FROM hand_queue r WHERE r.lane = 5 AND r.owner IS NULL
										  ORDER BY r.seq LIMIT batch FOR UPDATE SKIP LOCKED))
				RETURNING q.id, q.payload)
			SELECT array_agg(t.id), array_agg(t.payload) INTO ids, data FROM taken t;
			COMMIT;
			EXIT WHEN ids IS NULL;
			WITH gone AS (DELETE FROM hand_queue q WHERE q.id = ANY (ids) AND q.owner = slot RETURNING q.id, q.attempts)
			INSERT INTO hand_history (id, verdict, attempt, provider, class, code)
			SELECT g.id, 'sent', g.attempts, 'hook', 'ok', 200 FROM gone g;
			COMMIT;
		END LOOP;
	END $$;});

# Both queues as full as one another; ours with planned messages and their events.
sub fill_queues
{
	sql($node, "TRUNCATE hand_queue, hand_history, notify.event, notify.message, notify.outcome, notify.ready;
		INSERT INTO hand_queue (id, seq, lane, payload) SELECT n, n, 5, jsonb_build_object('new', to_jsonb(o))
		FROM generate_series(1, $queue) AS n JOIN orders o ON o.id = n");
	my $status = $round++ % 2 ? 'packed' : 'posted';
	sql($node, "UPDATE orders SET status = '$status' WHERE id <= $queue");
	wait_sql($node, "SELECT unplanned = 0 AND ready = $queue FROM notify.status()");
	return sql($node, 'VACUUM ANALYZE hand_queue');
}

# Messages per second through a procedure called by that many clients at once.
sub through
{
	my ($procedure, $clients) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/call.sql';
	append_to_file($script, "CALL $procedure;\n");
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'pgbench', '-n', '-c', $clients, '-j', $clients, '-t', 1, '-f', $script, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err) or die $err;
	my ($ms) = $out =~ /latency average = ([\d.]+) ms/ or die $out;
	return $queue / $ms * 1000;
}

my (%claim, %hand);
for (1 .. rounds(5))
{
	for my $clients (1, 2)
	{
		fill_queues();
		push @{ $hand{$clients} }, through("hand_claim_and_record($batch)", $clients);
		push @{ $claim{$clients} }, through("claim_and_settle($batch, NULL)", $clients);
		my $left = sql($node, 'SELECT count(*) + (SELECT count(*) FROM hand_queue) FROM notify.ready');
		die "$left messages are left" if $left != 0;
	}
}
result("claim + settle without sending, $_ at once / SKIP LOCKED by hand", unit => 'msg/s',
	ours => $claim{$_}, theirs => $hand{$_}, least => 1) for 1, 2;
finish();
