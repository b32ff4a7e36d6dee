# A transaction that goes on for ten hours, one that is prepared as long, and one
# that only reads, among thousands of short ones. The day changes meanwhile, and
# changes again: what they wrote early is in a day that is due to be dropped when
# they commit.
#
# Catches: an event that is skipped or planned twice because its transaction is
# older than what is planned; a day dropped before its events are planned; a
# planner that searches past all that died since the oldest snapshot began.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $day = 86400;
my $clock = movable_clock();
my $offset = (20 * 3600 - time) % $day;    # eight in the evening, UTC
$clock->set($offset);
my $node = $clock->under(sub {
	return notify_cluster('long', conf => "notify_pg.retention = 1d\nnotify_pg.batch_size = 20\nautovacuum_naptime = 1\n");
});
$node->safe_psql('postgres', q{
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', '{{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	CREATE TABLE orders (id serial PRIMARY KEY, customer text, kind text);
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, condition, template, category, delay) VALUES
		('now', 'orders', 'new.kind <> ''later''', 't', 'c', NULL),
		('later', 'orders', 'new.kind = ''later''', 't', 'c', '1 minute');
	CREATE VIEW leaf AS SELECT l, p.leaf FROM unnest(notify._logs()) AS l CROSS JOIN LATERAL notify._partitions(l) AS p});
my $first_day = $node->safe_psql('postgres', q{SELECT 'event_' || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD')});

#
# They begin.
#
my $long = $node->background_psql('postgres');
$long->set_query_timer_restart;
$long->query_safe(q{BEGIN; INSERT INTO orders (customer, kind) SELECT 'ann', 'long' FROM generate_series(1, 5)});
$long->query_safe(q{DO $$ BEGIN
	FOR i IN 1..100 LOOP    -- more subtransactions than a backend keeps at hand
		BEGIN
			INSERT INTO orders (customer, kind) VALUES ('ann', 'long');
			IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END $$});
$node->safe_psql('postgres', q{BEGIN; INSERT INTO orders (customer, kind) SELECT 'ann', 'prepared' FROM generate_series(1, 3); PREPARE TRANSACTION 'p'});
my $reader = $node->background_psql('postgres');
$reader->set_query_timer_restart;
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders');

#
# Ten hours of short transactions.
#
my $script = PostgreSQL::Test::Utils::tempdir('script') . '/short.sql';
append_to_file($script, "INSERT INTO orders (customer, kind) VALUES ('ann', 'short');\nINSERT INTO orders (customer, kind) VALUES ('ann', 'later');\n");
my @cost;
for my $hour (1 .. 10)
{
	$clock->set($offset + 3600 * $hour);
	$node->command_ok([ 'pgbench', '-n', '-c', '4', '-t', '150', '-f', $script, $node->connstr('postgres') ], "hour $hour");
	wait_for_sql($node, "SELECT unplanned = 0 AND scheduled = 600 FROM notify.status()");
	$clock->set($offset + 3600 * $hour + 120);
	wait_for_drain($node);
	push @cost, plan_cost();
}
cmp_ok($cost[-1], '<=', 1.5 * $cost[0] + 30, "planning touches as many pages in the tenth hour as in the first (@cost)");
is($node->safe_psql('postgres', q{SELECT kind, count(*), count(DISTINCT m.event) FROM orders o LEFT JOIN notify.message m ON m.key = o.id::text GROUP BY 1 ORDER BY 1}),
	"later|6000|6000\nshort|6000|6000", 'the short ones are all planned');
is($long->query_safe(q{SELECT DISTINCT tableoid::regclass FROM notify.event e WHERE e.new ->> 'kind' = 'long'}),
	"notify.$first_day", 'the long one has written into yesterday');
$long->query_safe(q{INSERT INTO orders (customer, kind) SELECT 'ann', 'long' FROM generate_series(1, 5)});

#
# Yesterday is older than notify_pg.retention, but not planned.
#
$offset += 3 * $day;
$clock->set($offset);
orders('short', 1);
wait_for_drain($node);
$node->safe_psql('postgres', 'SELECT notify._maintain()');
is(is_there(), 't', 'the day in which the long one began is there');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE notify.mark IN SHARE ROW EXCLUSIVE MODE');    # the planner waits
$long->query_safe('COMMIT');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
$node->safe_psql('postgres', 'SELECT notify._drop_partitions()');
is(is_there(), 't', 'and when it has committed and is not planned, nobody locking it any more');
$holder->query_safe('COMMIT');
wait_for_drain($node);
is($node->safe_psql('postgres', q{SELECT kind, count(*), count(DISTINCT m.event), count(DISTINCT i.message) FROM orders o
		JOIN notify.message m ON m.key = o.id::text LEFT JOIN notify.inbox i ON i.message = m.id
		WHERE kind IN ('long', 'prepared') GROUP BY 1 ORDER BY 1}),
	"long|60|60|60\nprepared|3|3|3", 'what they wrote is planned once and delivered');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM orders) - (SELECT count(*) FROM notify.inbox)'), '0', 'nothing else is');
$reader->query_safe('COMMIT');
ok(wait_until('the first day is dropped', sub {
			orders('short', 1);
			$node->safe_psql('postgres', 'SELECT notify._maintain()');
			return is_there() eq 'f';
		}),
	'then its day goes');

$_->quit for ($long, $reader, $holder);
$node->stop;
done_testing();

sub orders
{
	my ($kind, $count) = @_;
	return $node->safe_psql('postgres', "INSERT INTO orders (customer, kind) SELECT 'ann', '$kind' FROM generate_series(1, $count)");
}

# Is the day in which it began there?
sub is_there
{
	return $node->safe_psql('postgres', "SELECT count(*) > 0 FROM leaf WHERE leaf = '$first_day'");
}

# Pages touched by a look for events that finds none, in a session that is warm
sub plan_cost
{
	my $out = $node->safe_psql('postgres', q{SELECT FROM notify._plan(500) UNION ALL SELECT FROM notify._plan(500);
		EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM notify._plan(500)});
	my $plan = decode_json($out =~ s/^.*?\[/[/sr)->[0]{Plan};
	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
}
