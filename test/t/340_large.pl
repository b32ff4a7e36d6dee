# One transaction of very many rows among small ones. It is planned in chunks, what
# commits after it goes first, several large ones go side by side, and neither the
# planner nor the session that writes needs memory for it.
#
# Catches: a queue in which everything waits for the largest, a transaction of two
# thousand rows that waits for one of millions, a chunk that searches from the
# start again, a leak per row or per event, an event planned twice or never.
#
# NOTIFY_LARGE_ROWS sets how many rows: 200,000 unless told.

use strict;
use warnings;
use IPC::Run;
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $rows = $ENV{NOTIFY_LARGE_ROWS} // 200_000;
my $chunk = 500;    # notify_pg.batch_size
my $node = notify_cluster('large', conf => "max_wal_size = 4GB\n");
$node->safe_psql('postgres', q{
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', 'order {{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	CREATE TABLE orders (id serial PRIMARY KEY, customer text, kind text);
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('r', 'orders', '{insert}', 't', 'c');
	SELECT notify.hold('only planning is measured')});
insert_orders('warm', 5000);
wait_until_planned();
my ($planner) = $node->safe_psql('postgres', 'SELECT planner FROM notify.status()');
my $planner_before = anonymous_memory($planner);

#
# The session that writes: as much memory after the last statement as after the second.
#
my $large = $node->background_psql('postgres');
my $backend = $large->query_safe('SELECT pg_backend_pid()');
$large->query_safe('BEGIN');
my @memory;
for my $part (1 .. 5)
{
	$large->query_safe(insert('large', $rows / 5));
	push @memory, anonymous_memory($backend);
}
cmp_ok($memory[-1] - $memory[1], '<', 1024, "capturing $rows rows leaves no memory taken (kB after each fifth: @memory)");

#
# What it has written so far is not searched again and again while it goes on
# and others, who have no events, come and go.
#
$node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
my $searched = index_entries(sub { $node->safe_psql('postgres', 'SELECT notify._plan(500)') for 1 .. 10 });
cmp_ok($searched, '<', 3 * $rows, "an idle planner looks through what is not committed once, not every time ($searched index entries in 10 looks)");

#
# Planned while others go on: one row at a time, and a transaction of four chunks.
#
$large->query_safe('COMMIT');
my $began = time;
$large->quit;
my $script = PostgreSQL::Test::Utils::tempdir('script') . '/small.sql';
append_to_file($script, insert('small', 1) . ";\n");
my $others = IPC::Run::start(
	[ 'pgbench', '-n', '-c', '2', '-R', '20', '-T', '36000', '-f', $script, $node->connstr('postgres') ],
	'>', \my $out, '2>', \my $err);
wait_for_sql($node, q{SELECT count(*) > 0 FROM notify.backlog});
insert_orders('medium', 4 * $chunk);
my $planner_most = 0;
my $limit = $PostgreSQL::Test::Utils::timeout_default + $rows / 1000;
ok(wait_until('the large transaction is planned', sub {
			my $now = anonymous_memory($planner);
			$planner_most = $now if $now > $planner_most;
			usleep(200_000);
			return $node->safe_psql('postgres', 'SELECT count(*) = 0 FROM notify.backlog') eq 't';
		}, $limit),
	'the large transaction is planned');
my $took = time - $began;
$others->signal('INT');
$others->finish;
wait_until_planned();
is($node->safe_psql('postgres', 'SELECT planner FROM notify.status()'), $planner, 'the planner is the one it was');
cmp_ok($planner_most - $planner_before, '<', 4096,
	"its memory stays as it was (kB before: $planner_before, at most: $planner_most)");

is($node->safe_psql('postgres', q{
		SELECT o.kind, count(*) = count(DISTINCT o.id) AS once FROM orders o
		LEFT JOIN notify.message m ON m.key = o.id::text AND m.verdict = 'send'
		GROUP BY 1 ORDER BY 1}),
	"large|t\nmedium|t\nsmall|t\nwarm|t", 'every row is planned once');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM orders) - (SELECT count(*) FROM notify.message)'), '0', 'and nothing else');

# How much of the large transaction is planned between a small event and its message
$node->safe_psql('postgres', q{
	CREATE TABLE seen AS SELECT o.kind, m.id, m.event, m.xmin::text AS planned_by
	FROM notify.message m JOIN orders o ON o.id::text = m.key;
	CREATE INDEX ON seen (id) WHERE kind = 'large';
	ANALYZE seen});
is($node->safe_psql('postgres', "SELECT max(n) FROM (SELECT count(*) AS n FROM seen GROUP BY planned_by) AS c"), $chunk, 'a transaction of the planner takes a chunk');
my ($between, $slowest) = split /\|/, $node->safe_psql('postgres', q{
	SELECT max((SELECT count(*) FROM seen l WHERE l.kind = 'large' AND l.id BETWEEN s.event AND s.id)),
		   max(extract(epoch FROM notify.id_time(s.id) - notify.id_time(s.event)))
	FROM seen s WHERE s.kind = 'small'
	  AND s.event BETWEEN (SELECT min(l.id) FROM seen l WHERE l.kind = 'large') AND (SELECT max(l.id) FROM seen l WHERE l.kind = 'large')});
cmp_ok($between, '<=', 10 * $chunk, "a small commit waits for a few chunks of the large one ($between messages)");
my ($ahead, $waited) = split /\|/, $node->safe_psql('postgres', q{
	SELECT count(*), extract(epoch FROM notify.id_time(m.last) - notify.id_time(m.event))
	FROM (SELECT max(id) AS last, min(event) AS event FROM seen WHERE kind = 'medium') AS m
	JOIN seen l ON l.kind = 'large' AND l.id BETWEEN m.event AND m.last GROUP BY 2});
cmp_ok($ahead, '<=', 30 * $chunk, "a transaction of four chunks waits for its turns, not for all of it ($ahead messages)");
note(sprintf('%d rows in %.1f s; a small commit waited %.2f s at most, %d messages; one of %d rows %.2f s',
		$rows, $took, $slowest, $between, 4 * $chunk, $waited));

$node->stop;
done_testing();

sub insert
{
	my ($kind, $count) = @_;
	return "INSERT INTO orders (customer, kind) SELECT 'ann', '$kind' FROM generate_series(1, $count)";
}

sub insert_orders
{
	my ($kind, $count) = @_;
	return $node->safe_psql('postgres', insert($kind, $count));
}

sub wait_until_planned
{
	return wait_for_sql($node, 'SELECT unplanned = 0 FROM notify.status()');
}

# Memory of its own, in kB; shared buffers do not count.
sub anonymous_memory
{
	my ($pid) = @_;
	slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m or die "no memory of $pid";
	return $1;
}

# How many entries of the events' indexes were read meanwhile, in this session or another
sub index_entries
{
	my ($code) = @_;
	my $read = q{SELECT pg_stat_clear_snapshot(), sum(idx_tup_read) FROM pg_stat_user_indexes WHERE indexrelname LIKE 'event%xid%'};
	my $before = $node->safe_psql('postgres', $read) =~ s/\|//r;
	$code->();
	return ($node->safe_psql('postgres', $read) =~ s/\|//r) - $before;
}
