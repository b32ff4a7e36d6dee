# Flat: a batch of 500 is claimed and settled as fast with a long future and a
# long past behind the queue as without.
#
# Two databases of one server, each with one shop: one has nothing else, the
# other gets 1 and 10 million messages due next year, then logs of 50 million rows:
# twenty days and today, made in bulk. After each step both are measured in
# turn. No workers: the batches are claimed and settled by a procedure
# (NotifyBench::claimer), timed without the commits.

use strict;
use warnings;
use NotifyBench;

my $batches = size(40, 4);
my $days = full() ? 20 : 2;
my $log_rows = size(50_000_000, 20_000);
my $node = bench_cluster('flat', conf => "autovacuum = off\nwal_level = minimal\nmax_wal_senders = 0\n");

for my $db ('bare', 'loaded')
{
	database($node, $db);
	shop($node, 'http://127.0.0.1:9/', db => $db, rows => $batches * 500);
	claimer($node, $db);
	sql($node, q{
		CREATE PROCEDURE plan_all() LANGUAGE plpgsql AS $$
		DECLARE
			more boolean := true;
		BEGIN
			WHILE more LOOP
				SELECT p.more INTO more FROM notify._plan(500) AS p;
				COMMIT;
			END LOOP;
		END $$}, $db);
}

# Milliseconds of the median batch, and of planning one order.
my $turn = 0;

sub measure
{
	my ($db) = @_;
	my $status = 's' . $turn++;
	my $out = sql($node, qq{
		SET synchronous_commit = off;
		SET jit = off;
		UPDATE orders SET status = '$status';
		CALL plan_all();
		UPDATE orders SET status = '$status again' WHERE id = 1;
		SELECT notify._plan(500) IS NULL;
		UPDATE orders SET status = '$status anew' WHERE id = 1;
		SELECT clock_timestamp() AS begun \\gset
		SELECT notify._plan(500) IS NULL;
		SELECT 'planned', extract(epoch FROM clock_timestamp() - :'begun') * 1000;
		CALL claim_and_settle(500, NULL);
		VACUUM notify.ready}, $db);
	my ($planned) = $out =~ /^planned\|([\d.]+)/m or die $out;
	my ($took) = $out =~ /^\{([\d.,e-]+)\}/m or die $out;
	my @took = split /,/, $took;
	die 'only ' . @took . ' batches' if @took < $batches;
	return (median(@took), $planned);
}

sub compare
{
	my ($what) = @_;
	my (%took, %planned);
	for (1 .. rounds(7))
	{
		for my $db ('bare', 'loaded')
		{
			my ($took, $planned) = measure($db);
			push @{ $took{$db} }, $took;
			push @{ $planned{$db} }, $planned;
		}
	}
	result("claim + settle a batch of 500, $what / nothing else", unit => 'ms',
		ours => $took{loaded}, theirs => $took{bare}, most => 1.2);
	result("plan one order, $what / nothing else", unit => 'ms', ours => $planned{loaded}, theirs => $planned{bare});
	return;
}

# Messages with ids of long ago, due next year.
sub schedule
{
	my ($from, $to) = @_;
	return sql($node, "INSERT INTO notify.scheduled (message, due_at)
		SELECT n, now() + interval '1 year' + n * interval '1 ms' FROM generate_series(${from}::bigint, $to) AS n;
		ANALYZE notify.scheduled", 'loaded');
}

# A day's rows: 2 of 5 are messages, as many outcomes, the rest events.
sub fill_day
{
	my ($ago, $rows) = @_;
	my $today = $ago == 0;
	my $each = int($rows * 2 / 5);
	my $sql = "BEGIN;\n";
	my %select = (
		event => [ int($rows / 5), q{id, xid, source, op, key, recipient, rules, new},
			q{i, '3'::xid8, 'orders'::regclass, 'U', n::text, 'c' || n % 1000, ARRAY[1], jsonb_build_object('id', n, 'status', 'old')} ],
		message => [ $each, q{id, event, event_xid, rule, recipient, category, channel, priority, template, template_version, verdict},
			q{i, i, '3'::xid8, 1, 'c' || n % 1000, 'orders', 'webhook', 1, 'moved', 1, 'send'} ],
		outcome => [ $each, q{message, at, verdict, attempt, provider, class, code},
			q{i, notify.id_time(i), 'sent', 1, 'hook', 'ok', 200} ]);
	for my $log ('event', 'message', 'outcome')
	{
		my ($count, $columns, $values) = @{ $select{$log} };
		my $key = $log eq 'outcome' ? 'message' : 'id';
		my $day = "((now() AT TIME ZONE 'UTC')::date - $ago)";
		$sql .= "SELECT notify._day_start($day) AS low, notify._day_start($day + 1) AS high,
			'${log}_' || to_char($day, 'YYYYMMDD') AS leaf \\gset\n";
		$sql .= "CREATE TABLE notify.:leaf (LIKE notify.$log INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE,
			CHECK ($key >= :low AND $key < :high));\n" unless $today;
		# Spread over the day; of today, over its first minutes.
		$sql .= "INSERT INTO notify.:leaf ($columns) SELECT $values FROM generate_series(1, $count) AS n
			CROSS JOIN LATERAL (SELECT :low + n * " . ($today ? "((600000::bigint << 20) / $count)" : "((:high - :low) / ($count + 1))") . " AS i) AS x;\n";
		$sql .= "ALTER TABLE notify.$log ATTACH PARTITION notify.:leaf FOR VALUES FROM (:low) TO (:high);\n" unless $today;
		$sql .= "ANALYZE notify.:leaf;\n";
	}
	sql($node, $sql . 'COMMIT', 'loaded');
	return;
}

measure($_) for 'bare', 'loaded';    # what is done once
my $due = size(1_000_000, 10_000);
compare('empty too');
schedule(1, $due);
compare("$due due later");
schedule($due + 1, $due * 10);
compare($due * 10 . ' due later');
my $per_day = int($log_rows / ($days + 1));
fill_day($_, $per_day) for reverse 0 .. $days;
sql($node, 'CHECKPOINT', 'loaded');
my $rows = sql($node, q{SELECT sum(reltuples)::bigint FROM pg_class
	WHERE relispartition AND relkind = 'r' AND relnamespace = 'notify'::regnamespace AND reltuples > 0}, 'loaded');
compare('and logs of ' . ($per_day * ($days + 1)) . ' rows');
remark('the log held about ' . $rows . ' rows, ' . sql($node, q{SELECT pg_size_pretty(pg_database_size('loaded'))}));
finish();
