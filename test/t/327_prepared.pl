# CREATE EXTENSION and DROP EXTENSION rolled back, prepared, and then committed or
# rolled back, while workers run and while the server restarts.
# Would catch: workers that start for an extension that is not there, or come back
# again and again to one that is going; that hold what a COMMIT PREPARED or a
# shutdown needs; that stay behind, or do not come; a prepared drop that stops other
# databases.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $http = http_sink();
my $node = notify_cluster('main', conf => "notify_pg.poll_interval = '50ms'\n");
configure('postgres');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
my $in_shop = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type LIKE 'notify_pg %'";

# Rolled back
for (1 .. 3)
{
	$node->safe_psql('shop', 'BEGIN; CREATE EXTENSION notify_pg; ROLLBACK');
}
launcher_passes();
is($node->safe_psql('postgres', $in_shop), '0', 'CREATE EXTENSION rolled back: no workers');

# Prepared, rolled back
$node->safe_psql('shop', q{BEGIN; CREATE EXTENSION notify_pg; PREPARE TRANSACTION 'create'});
launcher_passes();
is($node->safe_psql('postgres', $in_shop), '0', 'CREATE EXTENSION prepared: no workers yet');
$node->restart;
launcher_passes();
is($node->safe_psql('postgres', $in_shop), '0', 'nor after a restart');
$node->safe_psql('shop', q{ROLLBACK PREPARED 'create'});
launcher_passes();
is($node->safe_psql('postgres', $in_shop), '0', 'rolled back: none');

# Prepared, committed
$node->safe_psql('shop', q{BEGIN; CREATE EXTENSION notify_pg; PREPARE TRANSACTION 'create'});
$node->safe_psql('shop', q{COMMIT PREPARED 'create'});
within(5, 'CREATE EXTENSION committed: workers come', sub { wait_for_sql($node, $in_shop, '2') });
configure('shop');
sends('shop', 1, 'they work');

# DROP prepared, with work half done, rolled back
half_way(100);
prepare_drop();
stays_calm('DROP EXTENSION prepared');
sends('postgres', 2, 'another database goes on meanwhile');
within(10, 'DROP EXTENSION prepared: the server stops', sub { $node->stop('fast'); 1 });
$node->start;
stays_calm('after a restart');
within(5, 'DROP EXTENSION is rolled back at once', sub { $node->safe_psql('shop', q{ROLLBACK PREPARED 'drop'}); 1 });
sends('shop', 3, 'rolled back: all goes on');
wait_for_drain($node, 'shop');
is($node->safe_psql('shop', q{SELECT count(*), count(DISTINCT message) FROM notify.outcome WHERE verdict = 'sent'}), '1002|1002', 'nothing was lost, nothing settled twice');

# DROP prepared, with work half done, committed
half_way(2000);
prepare_drop();
stays_calm('prepared again');
within(5, 'DROP EXTENSION is committed at once', sub { $node->safe_psql('shop', q{COMMIT PREPARED 'drop'}); 1 });
within(5, 'and its workers go', sub { wait_for_sql($node, $in_shop, '0') });
my $errors = errors();
launcher_passes();
is($node->safe_psql('postgres', $in_shop) . ' ' . (errors() - $errors), '0 0', 'for good: none is started to find nothing');
$node->safe_psql('shop', 'CREATE EXTENSION notify_pg');
within(5, 'created again, they come', sub { wait_for_sql($node, $in_shop, '2') });
sends('postgres', 4, 'the other database never minded');

# Two databases at once: each is left alone until its own transaction ends.
my @open = map { $node->background_psql($_) } 'shop', 'postgres';
$_->query_safe('SET client_min_messages = error; BEGIN; DROP EXTENSION notify_pg CASCADE') for @open;
my $anywhere = "SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('notify_pg planner', 'notify_pg dispatcher')";
launcher_passes();
is($node->safe_psql('postgres', $anywhere), '0', 'two transactions keep workers away from two databases');
$open[1]->query_safe('ROLLBACK');
within(10, 'one is rolled back: its workers come', sub { wait_for_sql($node, $anywhere, '2') });
$open[0]->query_safe('ROLLBACK');
within(10, 'so are those of the other', sub { wait_for_sql($node, $anywhere, '4') });
$_->quit for @open;

# A planner that was ordered before the drop began, and comes when the launcher cannot
# call it back, finds out by itself.
my $drop = $node->background_psql('shop');
$drop->query_safe('SET client_min_messages = error');
my $shop = $drop->query_safe(q{SELECT oid FROM pg_database WHERE datname = 'shop'});
my $launcher = $node->safe_psql('shop', "SELECT pid FROM notify._workers() WHERE kind = 'launcher'");
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ s/\n.*//sr;
$node->append_conf('postgresql.conf', "post_auth_delay = 2\n");    # of a process, before it attaches
$node->reload;
wait_for_sql($node, 'SHOW post_auth_delay', '2s');
$drop->query_safe(q{SELECT pg_terminate_backend(pid) FROM notify._workers() WHERE kind = 'planner'});
wait_until('a planner is ordered', sub {
	$drop->query_safe(q{SELECT count(*) FROM notify._workers() WHERE kind = 'planner' AND state = 'starting'}) eq '1' && planner_processes();
});
kill 'STOP', $launcher;
$drop->query_safe('BEGIN; DROP EXTENSION notify_pg CASCADE');
ok(wait_until('the planner leaves', sub { !planner_processes() }), 'a planner that comes after the drop has begun leaves');
kill 'CONT', $launcher;
$drop->query_safe('ROLLBACK');
$drop->quit;
$node->append_conf('postgresql.conf', "post_auth_delay = 0\n");
$node->reload;
within(15, 'rolled back: workers come', sub { wait_for_sql($node, $in_shop, '2') });

done_testing();

# The planners of database shop, also those that have not attached yet.
sub planner_processes
{
	my @ps = split /\n/, `ps -o args= --ppid $postmaster`;
	return scalar grep { /notify_pg planner for database $shop\b/ } @ps;
}

sub configure
{
	my ($db) = @_;
	$node->safe_psql($db, qq{
		CREATE TABLE orders (id int PRIMARY KEY, customer text);
		INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}');
		INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url("/$db")]}"}');
		INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', '{{ new.id }}');
		INSERT INTO notify.recipient (id) VALUES ('ann');
		SELECT notify.attach('orders', 'new.customer');
		INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'orders', 't', 'c')});
	return;
}

# Until the launcher has looked around again.
sub launcher_passes
{
	my $loops = $node->safe_psql('postgres', "SELECT loops FROM notify._workers() WHERE kind = 'launcher'");
	wait_for_sql($node, "SELECT loops >= $loops + 2 FROM notify._workers() WHERE kind = 'launcher'");
	return;
}

sub sends
{
	my ($db, $id, $what) = @_;
	$node->safe_psql($db, "INSERT INTO orders VALUES ($id, 'ann')");
	ok(wait_until($what, sub { 1 == grep { $_->{body} eq $id } $http->entries("/$db") }), $what);
	return;
}

# A thousand to send, some of them sent.
sub half_way
{
	my ($from) = @_;
	my $before = $http->counts->{total};
	$node->safe_psql('shop', "INSERT INTO orders SELECT g, 'ann' FROM generate_series($from, $from + 999) AS g");
	wait_until('some of it', sub { $http->counts->{total} > $before + 50 });
	return;
}

sub prepare_drop
{
	within(10, 'DROP EXTENSION prepares', sub { $node->safe_psql('shop', q{BEGIN; DROP EXTENSION notify_pg CASCADE; PREPARE TRANSACTION 'drop'}); 1 });
	return;
}

sub errors
{
	return scalar(my @found = slurp_file($node->logfile) =~ /(?:ERROR|FATAL):/g);
}

# While a drop is prepared, workers wait for what it has locked: no more than one
# process comes and goes, and the log does not fill.
sub stays_calm
{
	my ($what) = @_;
	wait_for_sql($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'notify_pg planner'");
	my $pids = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type LIKE 'notify_pg %'";
	launcher_passes();
	my ($before, $told) = ($node->safe_psql('postgres', $pids), errors());
	launcher_passes();
	is($node->safe_psql('postgres', $pids), $before, "$what: no worker comes and goes");
	cmp_ok(errors() - $told, '<=', 20, "$what: the log does not fill");
	return;
}

sub within
{
	my ($seconds, $what, $code) = @_;
	my $begin = time;
	my $done = $code->();
	my $took = time - $begin;
	ok($done && $took < $seconds, sprintf('%s (%.1f s)', $what, $took));
	return;
}
