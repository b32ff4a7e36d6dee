# RENAME, SET TABLESPACE, DROP and CREATE DATABASE ... TEMPLATE need a database to
# themselves. Here they meet one whose workers are busy: thousands of messages wait,
# and as many transfers as a dispatcher holds hang. (001 has them idle.)
# Would catch: a statement that waits for a hanging transfer, or fails because
# workers are there, or came back too soon; one that fails and leaves the database
# without workers; work lost or done twice by any of it; a copy that takes part.

use strict;
use warnings;
use IPC::Run;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $limit = 10;
my $http = http_sink();
my $node = notify_cluster('main', extension => 0,
	conf => "notify_pg.poll_interval = '50ms'\nnotify_pg.dispatchers = 2\nnotify_pg.lease = '1h'\nmax_worker_processes = 30\n");
my $next = 1;
my $slowest = 0;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', qq{
	CREATE EXTENSION notify_pg;
	CREATE TABLE orders (id int PRIMARY KEY, customer text);
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/hook')]}"}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', '{{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann'), ('slow');
	INSERT INTO notify.address (recipient, channel, address) VALUES ('slow', 'webhook', '@{[$http->url('/stall')]}');
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'orders', 't', 'c')});

# Renamed there and back
for my $pair ([ 'shop', 'store' ], [ 'store', 'shop' ], [ 'shop', 'store' ])
{
	my ($from, $to) = @$pair;
	busy($from);
	timed("ALTER DATABASE $from RENAME TO $to");
	back($to, "renamed to $to");
}

# Moved
$node->safe_psql('postgres', q{SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''});
busy('store');
timed('ALTER DATABASE store SET TABLESPACE elsewhere');
back('store', 'moved');

# Copied
busy('store');
timed('CREATE DATABASE copy TEMPLATE store');
back('store', 'copied');
wait_for_sql($node, 'SELECT state FROM notify.status()', 'held', 'copy');
my $left = $node->safe_psql('copy', 'SELECT ready + sending + unplanned FROM notify.status()');
cmp_ok($left, '>', 0, "the copy holds what was waiting ($left)");

# What cannot be done is said, and the workers come back.
busy('store');
my $app = $node->background_psql('store');
my ($status, undef, $error) = $node->psql('postgres', 'ALTER DATABASE store RENAME TO shop');
isnt($status, 0, 'a database with another session cannot be renamed');
like($error, qr/database "store" is being accessed by other users/, 'and that is said');
back('store', 'after a statement that failed');
$app->quit;
busy('store');
($status, undef, $error) = $node->psql('postgres', "SET statement_timeout = '1ms'; ALTER DATABASE store RENAME TO shop");
like($error, qr/canceling statement due to statement timeout/, 'a statement is cancelled');
back('store', 'after one that was cancelled');

# Nothing of the original was lost or done twice: all but the hanging ones are sent.
wait_for_sql($node, q{SELECT count(*) FROM notify.ready r JOIN notify.message m ON m.id = r.message WHERE m.recipient = 'ann'}, '0', 'store');
is($node->safe_psql('store', q{SELECT count(*) - count(DISTINCT o.message) FROM notify.outcome o WHERE o.verdict = 'sent'}), '0', 'nothing was settled twice');
is($node->safe_psql('store', q{SELECT count(*) FROM orders x WHERE customer = 'ann' AND NOT EXISTS (
		SELECT FROM notify.message m JOIN notify.outcome o ON o.message = m.id AND o.verdict = 'sent' WHERE m.key = x.id::text)}), '0', 'nothing was lost');
my $seen = $http->arrivals('/hook');
my $again = 0;
$again += $_ - 1 for values %$seen;
cmp_ok($again, '<=', 50, "next to nothing arrived twice ($again)");

# The copy is its own: armed, it sends what it had.
my $before = $http->counts->{total};
$node->safe_psql('copy', 'SELECT notify.arm()');
wait_for_sql($node, q{SELECT count(*) FROM notify.ready r JOIN notify.message m ON m.id = r.message WHERE m.recipient = 'ann'}, '0', 'copy');
cmp_ok($http->counts->{total} - $before, '>', 0, 'armed, the copy sends what it had');

# Dropped, with the app at it and without
busy('copy');
timed('DROP DATABASE copy');
busy('store');
my @apps = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('store'), '-c',
		"DO \$\$ BEGIN LOOP INSERT INTO orders SELECT max(id) + 1, 'ann' FROM orders ON CONFLICT DO NOTHING; COMMIT; END LOOP; END \$\$" ],
	'<', '/dev/null', '>', '/dev/null', '2>', '/dev/null') } 1 .. 3;
wait_for_sql($node, q{SELECT count(*) >= 3 FROM pg_stat_activity WHERE datname = 'store' AND backend_type = 'client backend' AND query LIKE 'DO%'});
timed('DROP DATABASE store WITH (FORCE)');
$_->finish for @apps;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'notify_pg %' AND backend_type <> 'notify_pg launcher'}), '0', 'no worker is left');
note(sprintf('the slowest took %.1f s', $slowest));

done_testing();

# Thousands wait, and hanging transfers fill what a provider may have.
sub busy
{
	my ($db) = @_;
	$node->safe_psql($db, qq{
		INSERT INTO orders SELECT g, 'slow' FROM generate_series($next, $next + 19) AS g;
		INSERT INTO orders SELECT g, 'ann' FROM generate_series($next + 20, $next + 3019) AS g});
	$next += 3020;
	my $so_far = $http->counts->{total};
	wait_for_sql($node, q{SELECT sum(in_flight) >= 20 FROM notify._workers() WHERE kind = 'dispatcher'}, 't', $db);
	wait_until('some of it', sub { $http->counts->{total} > $so_far + 50 });
	return;
}

sub timed
{
	my ($statement) = @_;
	my $begin = time;
	my ($status, undef, $error) = $node->psql('postgres', $statement);
	my $took = time - $begin;
	is($status, 0, "$statement: works") or diag($error);
	cmp_ok($took, '<', $limit, sprintf('%s: in seconds (%.1f s)', $statement, $took));
	$slowest = $took if $took > $slowest;
	return;
}

# Its workers are back, soon, and at work.
sub back
{
	my ($db, $what) = @_;
	my $begin = time;
	wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND backend_type IN ('notify_pg planner', 'notify_pg dispatcher')", '3');
	my $so_far = $http->counts->{total};
	wait_until('work', sub { $http->counts->{total} > $so_far
		|| $node->safe_psql($db, q{SELECT count(*) FROM notify.ready r JOIN notify.message m ON m.id = r.message WHERE m.recipient = 'ann'}) eq '0' });
	cmp_ok(time - $begin, '<', $limit, sprintf('%s: its workers are back and at work (%.1f s)', $what, time - $begin));
	return;
}
