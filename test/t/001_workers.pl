# The life of the workers: they start, stop and come back as databases,
# extensions and servers do, and stand in nobody's way.

use strict;
use warnings;
use List::Util qw(min);
use NotifyTest;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('workers', extension => 0, init => { allows_streaming => 1 },
	conf => "restart_after_crash = on\n");

# How many workers of a kind are connected to a database.
sub running
{
	my ($kind, $database) = @_;
	return "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'notify_pg $kind' AND datname = '$database')";
}

# Waits until a database has one planner and so many dispatchers, or none of either.
sub wait_for_workers
{
	my ($database, $dispatchers, $what) = @_;
	my $planners = $dispatchers > 0 ? 1 : 0;
	my $query = 'SELECT ' . running('planner', $database) . " = $planners AND "
	  . running('dispatcher', $database) . " = $dispatchers";
	ok(wait_for_sql($node, $query), $what);
	return;
}

sub worker
{
	my ($kind, $column) = @_;
	return $node->safe_psql('postgres',
		"SELECT $column FROM notify._workers() WHERE kind = '$kind' ORDER BY slot LIMIT 1");
}

# Ends a worker and waits for the one that takes its place.
sub replaced
{
	my ($kind, $how) = @_;
	my $pid = worker($kind, 'pid');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	return wait_for_sql($node,
		"SELECT EXISTS (SELECT FROM notify._workers() WHERE kind = '$kind' AND pid <> $pid AND state = 'running')");
}

#
# Starting with the extension
#
ok(wait_for_sql($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'notify_pg launcher'"),
	'the launcher runs');
is($node->safe_psql('postgres', 'SELECT ' . running('planner', 'postgres')), '0', 'nothing runs without the extension');

my ($status) = $node->psql('postgres', "BEGIN; CREATE EXTENSION notify_pg; ROLLBACK");
is($status, 0, 'CREATE EXTENSION is rolled back');
$node->safe_psql('postgres', 'CREATE EXTENSION notify_pg');
wait_for_workers('postgres', 1, 'CREATE EXTENSION starts workers in a running server');
is($node->safe_psql('postgres', 'SELECT notify._preloaded()'), 't', 'the server says it is preloaded');
is( $node->safe_psql('postgres', "SELECT DISTINCT usename FROM pg_stat_activity
		WHERE backend_type IN ('notify_pg planner', 'notify_pg dispatcher')"),
	'notify_worker', 'workers run as notify_worker');

#
# A message goes its way
#
my $http = http_sink();
$node->safe_psql('postgres', qq{
	INSERT INTO notify.provider (name, channel, preset, settings)
	VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/hook')]}"}');
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{webhook}');
	INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'webhook', '{"hello": "world"}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'webhook', '@{[$http->url('/hook')]}');
});

sub send_one
{
	return $node->safe_psql('postgres', "SELECT notify.send('ann', 'hello', '{}', 'news')");
}

sub sent
{
	my ($count, $what) = @_;
	ok(wait_for_sql($node, "SELECT count(*) = $count FROM notify.outcome WHERE verdict = 'sent'"), $what);
	return;
}

send_one();
sent(1, 'a message is sent');
$node->safe_psql('postgres', q{
	ALTER DATABASE postgres SET default_transaction_isolation = serializable;
	ALTER DATABASE postgres SET search_path = nowhere;
	ALTER DATABASE postgres SET default_transaction_read_only = on});
ok(replaced('planner'), 'an ended planner is replaced');
ok(replaced('dispatcher'), 'an ended dispatcher is replaced');
$node->safe_psql('postgres', 'SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL');
send_one();
sent(2, 'settings of the database do not reach the workers');
cmp_ok(worker('dispatcher', 'generation'), '>=', 2, 'the new dispatcher has a new generation');
is(worker('dispatcher', 'settled'), '2', 'counters go on over restarts');

my $planner = worker('planner', 'pid');
ok(replaced('launcher'), 'an ended launcher is replaced');
is(worker('planner', 'pid'), $planner, 'and its workers go on meanwhile');
ok(replaced('planner'), 'the new launcher replaces workers it did not start');

#
# A message on its way when the dispatcher stops
#
sub stall
{
	$node->safe_psql('postgres', qq{UPDATE notify.address SET address = '@{[$http->url('/stall')]}'});
	send_one();
	ok(wait_for_sql($node, "SELECT in_flight = 1 FROM notify._workers() WHERE kind = 'dispatcher'"),
		'a transfer hangs');
	return;
}

sub rescued
{
	my ($attempts, $what) = @_;
	ok(wait_for_sql($node, "SELECT attempts = $attempts AND owner IS NOT NULL FROM notify.ready"), $what);
	return;
}

stall();
ok(replaced('dispatcher'), 'a dispatcher stops although a transfer hangs');
rescued(2, 'its successor frees the message and tries again');
$node->stop('immediate');
$node->start;
rescued(3, 'so does one after an immediate stop');
$node->safe_psql('postgres', 'DELETE FROM notify.ready');
$node->safe_psql('postgres', qq{UPDATE notify.address SET address = '@{[$http->url('/hook')]}'});
ok(replaced('dispatcher'), 'a fresh dispatcher');

my $dispatcher = worker('dispatcher', 'pid');
is(kill('KILL', $dispatcher), 1, 'a dispatcher is killed');
ok( wait_until('the server to restart after a crash',
		sub { ($node->psql('postgres', "SELECT 1 / (pid <> $dispatcher)::int FROM notify._workers() WHERE kind = 'dispatcher' AND state = 'running'"))[1] eq '1' }),
	'after a crash the workers are back');
send_one();
sent(3, 'and work');

#
# More dispatchers, fewer dispatchers
#
$node->safe_psql('postgres', 'ALTER SYSTEM SET notify_pg.dispatchers = 3');
$node->reload;
wait_for_workers('postgres', 3, 'a reload starts dispatchers');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET notify_pg.dispatchers');
$node->reload;
wait_for_workers('postgres', 1, 'and stops them');
is($node->safe_psql('postgres', 'SELECT count(*) FROM notify._workers()'), '3', 'and their rows go');

#
# Other databases
#
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION notify_pg');
wait_for_workers('shop', 1, 'another database gets its own workers');
is($node->safe_psql('plain', 'SELECT ' . running('planner', 'plain')), '0', 'one without the extension gets none');

$node->safe_psql('shop', 'BEGIN; DROP EXTENSION notify_pg; ROLLBACK');
wait_for_workers('shop', 1, 'workers are back after a DROP EXTENSION that was rolled back');
$node->safe_psql('shop', 'DROP EXTENSION notify_pg');
wait_for_workers('shop', 0, 'DROP EXTENSION stops them');
$node->safe_psql('shop', 'CREATE EXTENSION notify_pg');
wait_for_workers('shop', 1, 'CREATE EXTENSION starts them again');

$node->safe_psql('postgres', 'CREATE DATABASE branch TEMPLATE shop');
wait_for_workers('branch', 1, 'a database can be copied, and its copy gets workers');
wait_for_workers('shop', 1, 'and the original has its own again');
$node->safe_psql('postgres', 'ALTER DATABASE branch RENAME TO twig');
wait_for_workers('twig', 1, 'a database can be renamed');
$node->safe_psql('postgres', 'ALTER DATABASE twig WITH ALLOW_CONNECTIONS false');
wait_for_workers('twig', 0, 'one that allows no connections has no workers');
$node->safe_psql('postgres', 'ALTER DATABASE twig WITH ALLOW_CONNECTIONS true');
wait_for_workers('twig', 1, 'one that allows them again has');
$node->safe_psql('postgres', 'ALTER DATABASE twig WITH IS_TEMPLATE true');
wait_for_workers('twig', 0, 'a template database has none');
$node->safe_psql('postgres', 'ALTER DATABASE twig WITH IS_TEMPLATE false');
$node->safe_psql('postgres', 'DROP DATABASE twig');
$node->safe_psql('postgres', 'DROP DATABASE shop');
is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname IN ('shop', 'twig')"),
	'0', 'databases with workers can be dropped');

# Nobody else can stop workers by trying.
$dispatcher = worker('dispatcher', 'pid');
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
($status) = $node->psql('plain', 'DROP DATABASE postgres', extra_params => [ '-U', 'stranger' ]);
isnt($status, 0, 'a stranger cannot drop a database');
($status) = $node->psql('postgres', 'DROP EXTENSION notify_pg', extra_params => [ '-U', 'stranger' ]);
isnt($status, 0, 'nor the extension');
is(worker('dispatcher', 'pid'), $dispatcher, 'and the workers did not notice');

#
# Nice: workers stand back, by as much as they are told, both ways; at 20 as the
# idle class does; in their autogroup, where there are such; with long
# slices, where the system lets them choose (Linux 6.12). The idle class knows
# neither nice values nor slices.
#
my $getattr = { x86_64 => 315, aarch64 => 275 }->{ (POSIX::uname())[4] };

sub slice_of
{
	my ($pid) = @_;
	my $attr = "\0" x 48;
	return 0 unless defined $getattr && syscall($getattr, 0 + $pid, $attr, 48, 0) == 0;
	return (unpack 'LLQlLQQQ', $attr)[5];
}

# Class, nice value, slice, and the group's nice value; of a process that is gone: nothing.
sub stands
{
	my ($pid) = @_;
	return eval {
		my @stat = split ' ', slurp_file("/proc/$pid/stat") =~ s/^.*\) //sr;
		my $group = -e "/proc/$pid/autogroup" ? slurp_file("/proc/$pid/autogroup") : '';
		join ' ', $stat[38], $stat[38] == 5 ? () : ($stat[16], slice_of($pid)), $group =~ /nice (-?\d+)/;
	} // '';
}

my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
my ($server_class, $server_nice, $server_slice, $group) = split ' ', stands($postmaster);
for my $nice (10, 20, 15, 0, 19, 20)
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET notify_pg.nice = $nice; SELECT pg_reload_conf()");
	my $as_told = sub {
		my ($kind, $slice_ms) = @_;
		my @share = $nice == 20 ? 5 : ($server_class, min($server_nice + $nice, 19),
			$server_slice && $nice ? $slice_ms * 1_000_000 : $server_slice);
		return stands(worker($kind, 'pid')) eq join ' ', @share, defined $group ? min($nice, 19) : ();
	};
	ok(wait_until("nice $nice", sub { $as_told->('planner', 10) && $as_told->('dispatcher', 100) }),
		"planner and dispatcher are $nice nicer than the server");
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET notify_pg.nice; SELECT pg_reload_conf()');

#
# Standby and promotion
#
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'notify_pg %'"),
	'0', 'nothing runs on a standby');
$standby->promote;
ok($standby->poll_query_until('postgres', 'SELECT ' . running('planner', 'postgres') . ' = 1'),
	'promotion starts workers');
$standby->stop;

#
# Too few worker processes
#
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
ok( wait_for_sql($node, "SELECT count(*) = 1 FROM notify._workers()
		WHERE kind = 'dispatcher' AND state = 'waiting' AND last_error LIKE '%max\\_worker\\_processes%'"),
	'a dispatcher that cannot start says what is short');
ok(wait_for_sql($node, "SELECT state = 'running' FROM notify._workers() WHERE kind = 'planner'"),
	'and what can start runs');
$node->stop;

#
# Without preload
#
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
$bare->safe_psql('postgres', 'CREATE EXTENSION notify_pg');
is($bare->safe_psql('postgres', 'SELECT notify._preloaded()'), 'f', 'without preload, the server says so');
is($bare->safe_psql('postgres', 'SELECT count(*) FROM notify._workers()'), '0', 'there are no workers');
is($bare->safe_psql('postgres', "SELECT notify.now() < 'infinity'; SHOW notify_pg.batch_size"),
	"t\n500", 'settings are there once the library is loaded');
$bare->safe_psql('postgres', q{
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'inbox', 'Hello');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	SELECT notify.send('ann', 'hello', '{}', 'news')});
is($bare->safe_psql('postgres', 'SELECT planned FROM notify._plan(10)'), '1', 'events are captured and wait');
$bare->stop;

done_testing();
