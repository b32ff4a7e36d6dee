# Days are made ahead and dropped without a writer waiting, whoever sits on
# the logs meanwhile; a day that the queue needs stays. Would catch: a lock on
# a parent or on the default partition that writers queue up behind (each wait
# over 50 ms is in the server's log), a dropped day that is still referred to.

use strict;
use warnings;
use IPC::Run;
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('main', conf => "log_lock_waits = on\ndeadlock_timeout = '50ms'\nmax_connections = 30\n"
	  . "notify_pg.retention = '60d'\n");
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id serial PRIMARY KEY, customer text);
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', 'order {{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('r', 'orders', '{insert}', 't', 'c')});

my $days = q{SELECT string_agg(l || ' ' || n, ', ' ORDER BY l) FROM unnest(notify._logs()) AS l
	CROSS JOIN LATERAL (SELECT count(*) AS n FROM notify._partitions(l) AS p WHERE p.day >= (now() AT TIME ZONE 'UTC')::date) AS x};
is($node->safe_psql('postgres', $days), 'event 8, message 8, outcome 8', 'today and a week ahead');

# Two days long past: one that nothing needs, one that a message in the queue does.
my $old = q{((now() AT TIME ZONE 'UTC')::date - %d)};
make_day($node, sprintf($old, $_)) for 50, 40;
$node->safe_psql('postgres', sprintf(q{
	INSERT INTO notify.message (id, event, event_xid, priority, verdict, channel)
	SELECT d + 1, d, '3', 3, 'send', 'sms' FROM notify._day_start(%s) AS d;
	INSERT INTO notify.scheduled (message, due_at) SELECT id, 'infinity' FROM notify.message WHERE channel = 'sms'}, sprintf($old, 40)));

# A reader of all the logs and a writer, both sitting in their transactions.
my $reader = sitting(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM notify.event, notify.message, notify.outcome;});
my $writer = sitting(q{BEGIN; INSERT INTO orders (customer) VALUES ('ann');});
# From here on those days are old: not before, or the planner's own upkeep could be first.
$node->append_conf('postgresql.conf', "notify_pg.retention = '30d'\n");
$node->reload;
my $script = PostgreSQL::Test::Utils::tempdir . '/insert.sql';
append_to_file($script, "INSERT INTO orders (customer) VALUES ('ann');\n");
my $offset = -s $node->logfile;
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '4', '-f', $script, $node->connstr('postgres') ],
	'>', \my $out, '2>', \my $err);
for my $i (1 .. 8)
{
	# what the planner does once a minute, and days beyond those that are there
	$node->safe_psql('postgres', 'SELECT notify._maintain()');
	$node->psql('postgres', sprintf(q{SELECT notify._make_partition(l, (now() AT TIME ZONE 'UTC')::date + %d) FROM unnest(notify._logs()) AS l}, 7 + $i));
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM notify._partitions('event') AS p WHERE p.day < now() - interval '31 days'}),
	'2', 'what is being read is not dropped');
$reader->finish;
wait_until('the old day is dropped', sub {
	$node->safe_psql('postgres', 'SELECT notify._maintain()');
	return $node->safe_psql('postgres', sprintf(q{SELECT count(*) FROM unnest(notify._logs()) AS l
		CROSS JOIN LATERAL notify._partitions(l) AS p WHERE p.day = %s}, sprintf($old, 50))) eq '0';
});
is($node->safe_psql('postgres', sprintf(q{SELECT count(*) FROM unnest(notify._logs()) AS l
	CROSS JOIN LATERAL notify._partitions(l) AS p WHERE p.day = %s}, sprintf($old, 40))), '3', 'the day the queue needs stays');
$load->finish;
$writer->finish;
is($load->result(0) // 0, 0, 'the writers went on') or diag($err);
my $log = slurp_file($node->logfile, $offset);
my @waits = $log =~ /(pgbench.*still waiting.*|still waiting.*\n.*INSERT INTO orders.*)/g;
is(scalar @waits, 0, 'no writer waited 50 ms for a lock') or diag(join "\n", @waits);
for my $locked (qw(message event_default))
{
	my $locker = sitting("BEGIN; LOCK TABLE notify.$locked;");
	is($node->safe_psql('postgres', 'SELECT notify._drop_partitions()'), '0', "$locked is locked: upkeep leaves it for the next time");
	$locker->finish;
}
wait_for_drain_but_one($node);
is($node->safe_psql('postgres', q{SELECT count(*) FROM orders}), $node->safe_psql('postgres', 'SELECT count(*) FROM notify.inbox'),
	'every order was told of');
$node->safe_psql('postgres', 'DELETE FROM notify.scheduled');
wait_until('the other day goes too', sub {
	$node->safe_psql('postgres', 'SELECT notify._maintain()');
	return $node->safe_psql('postgres', q{SELECT count(*) FROM notify._partitions('message') AS p WHERE p.day < now() - interval '31 days'}) eq '0';
});
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND c.relispartition AND c.relkind = 'r'}),
	$node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r' AND relnamespace = 'notify'::regnamespace}),
	'every partition is a member of the extension');

done_testing();

# A session that runs this and then waits until it is told to finish.
sub sitting
{
	my ($sql) = @_;
	my ($in, $out, $err) = ("$sql\n\\echo sitting\n", '', '');
	my $session = IPC::Run::start([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	$session->pump until $out =~ /sitting/;
	$in .= "COMMIT;\n";
	return $session;
}

sub wait_for_drain_but_one
{
	my ($n) = @_;
	return wait_for_sql($n, 'SELECT unplanned + ready + sending = 0 AND scheduled = 1 FROM notify.status()');
}
