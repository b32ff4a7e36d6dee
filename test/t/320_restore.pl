# A copy of a database sends nothing until it is armed, and then exactly what
# should go: pg_dump in every format, whole and by section, into the same
# cluster and another; CREATE DATABASE ... TEMPLATE; a copy of the files.
# Would catch: a restore that errors, that loses a rule, a version or an owner,
# that takes secrets or logs along, or a copy that sends.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $http = http_sink();
my $a = notify_cluster('a', conf => "notify_pg.poll_interval = '50ms'\nwal_level = replica\nmax_wal_senders = 4\n");
my $b = notify_cluster('b', extension => 0, conf => "notify_pg.poll_interval = '50ms'\n");
my $dir = PostgreSQL::Test::Utils::tempdir;

$a->safe_psql('postgres', 'CREATE DATABASE shop');
$a->safe_psql('shop', qq{
	CREATE EXTENSION notify_pg;
	CREATE ROLE author LOGIN;
	GRANT notify_admin TO author;
	CREATE TABLE orders (id int PRIMARY KEY, customer text, status text);
	GRANT ALL ON orders TO author;
	INSERT INTO notify.secret VALUES ('key', 'whsec_cGxhbnRlZF9zZWNyZXRfbWFya2Vy');
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}');
	INSERT INTO notify.preset (name, channel, settings, url, body) VALUES ('own', 'sms', '{"key": {"required": true}}', 'https://own.example/', '{"to": {{ address | json }}}');
	INSERT INTO notify.provider (name, preset, settings) VALUES ('own', 'own', '{"key": "k"}');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook',
		'{"url": "@{[$http->url('/hook')]}", "signing_secret": {"secret": "key"}}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', 'order {{ new.id }} {{ new.status }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('r', 'orders', 'new.id > 0', 't', 'c');
	UPDATE notify.rule SET condition = 'new.id > 1';
	SET ROLE author;
	INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('authors', 'orders', '{delete}', 't', 'c');
	INSERT INTO notify.rule_step VALUES ('authors', 2, '{webhook}', '1 hour', '{delivered}');
	INSERT INTO notify.budget (category, channel, period, amount, over, time_zone) VALUES ('c', 'webhook', 'month', 100, 'defer', 'Asia/Shanghai');
	UPDATE notify.provider SET cost = 0.01;
	RESET ROLE;
	INSERT INTO orders VALUES (1, 'ann', 'no'), (2, 'ann', 'original')});
wait_for_drain($a, 'shop');
is_deeply(bodies(), ['order 2 original'], 'the original sends');
my $want = $a->safe_psql('shop', configuration());

# Dumps
$a->run_log([ 'pg_dump', '-Fc', '-f', "$dir/custom", $a->connstr('shop') ]);
$a->run_log([ 'pg_dump', '-Fd', '-f', "$dir/directory", $a->connstr('shop') ]);
$a->run_log([ 'pg_dump', '-Ft', '-f', "$dir/tar", $a->connstr('shop') ]);
$a->run_log([ 'pg_dump', '-Fp', '-f', "$dir/plain", $a->connstr('shop') ]);
my $plain = slurp_file("$dir/plain");
unlike($plain, qr/cGxhbnRlZF9zZWNyZXRfbWFya2Vy/, 'no secret in the dump');
unlike($plain, qr/COPY notify\.(event|message|outcome|ready|scheduled|inbox|cursor|instance)/, 'no log and no queue in the dump');
like($plain, qr/COPY notify\.origin/, 'but where it was armed');

my $n = 10;
check($b, 'custom', sub { $b->run_log([ 'pg_restore', '-e', '-d', $b->connstr($_[0]), "$dir/custom" ]) });
check($a, 'directory', sub { $a->run_log([ 'pg_restore', '-e', '-d', $a->connstr($_[0]), "$dir/directory" ]) });
check($b, 'tar by sections', sub {
	my ($db) = @_;
	my $ok = 1;
	$ok &&= $b->run_log([ 'pg_restore', '-e', "--section=$_", '-d', $b->connstr($db), "$dir/tar" ]) for qw(pre-data data post-data);
	return $ok;
});
check($b, 'plain', sub { $b->run_log([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $b->connstr($_[0]), '-f', "$dir/plain" ]) });

# A clone in the same cluster; what was in its queue goes after arming, once.
$a->safe_psql('postgres', "ALTER SYSTEM SET notify_pg.mode = 'hold'");
$a->reload;
wait_for_sql($a, "SHOW notify_pg.mode", 'hold', 'shop');
$a->safe_psql('shop', "INSERT INTO orders VALUES (5, 'ann', 'queued')");
wait_for_sql($a, 'SELECT ready FROM notify.status()', '1', 'shop');
is($a->safe_psql('shop', 'SELECT state FROM notify.status()'), 'held', 'the setting holds every database');
stop_workers($a, 'shop');
$a->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE shop');
$a->safe_psql('postgres', 'ALTER DATABASE shop ALLOW_CONNECTIONS true');
$a->safe_psql('postgres', "ALTER SYSTEM RESET notify_pg.mode");
$a->reload;
wait_for_drain($a, 'shop');
held($a, 'clone', 'a clone');
is($a->safe_psql('clone', 'SELECT ready FROM notify.status()'), '1', 'its queue waits');
$a->safe_psql('clone', 'SELECT notify.arm()');
wait_for_drain($a, 'clone');
is(scalar(grep { $_ eq 'order 5 queued' } @{ bodies() }), 2, 'armed, both sent what they had');

# A copy of the files, told apart by the host
$a->append_conf('postgresql.conf', "notify_pg.guard = host\nnotify_pg.host_id = 'first'\n");
$a->reload;
wait_for_sql($a, 'SELECT state FROM notify.status()', 'held', 'shop');
$a->safe_psql('shop', 'SELECT notify.arm()');
is($a->safe_psql('shop', 'SELECT state FROM notify.status()'), 'ok', 'the first host is armed');

# A pair of hosts is armed once each, and fails over and back.
for my $host ([ 'standby', 'held' ], [ 'first', 'ok' ], [ 'standby', 'ok' ], [ 'first', 'ok' ])
{
	my ($name, $state) = @$host;
	$a->append_conf('postgresql.conf', "notify_pg.host_id = '$name'\n");
	$a->reload;
	wait_for_sql($a, 'SHOW notify_pg.host_id', $name, 'shop');
	is($a->safe_psql('shop', 'SELECT state FROM notify.status()'), $state, "on host $name: $state");
	$a->safe_psql('shop', 'SELECT notify.arm()') if $state eq 'held';
}
$a->backup('files');
my $c = PostgreSQL::Test::Cluster->new('c');
$c->init_from_backup($a, 'files');
$c->append_conf('postgresql.conf', "notify_pg.host_id = 'second'\n");
$c->start;
wait_for_sql($c, 'SELECT state FROM notify.status()', 'held', 'shop');
$c->safe_psql('shop', "INSERT INTO orders VALUES (6, 'ann', 'on the copy')");
wait_for_sql($c, 'SELECT ready FROM notify.status()', '1', 'shop');
$c->safe_psql('shop', 'SELECT notify.arm()');
wait_for_drain($c, 'shop');
is(scalar(grep { $_ eq 'order 6 on the copy' } @{ bodies() }), 1, 'sent when armed, not before');

# hold and arm by hand
$a->safe_psql('shop', "SELECT notify.hold('an incident')");
like($a->safe_psql('shop', 'SELECT state, problems FROM notify.status()'), qr/^held\|.*an incident/, 'held, and why');
$a->safe_psql('shop', "UPDATE notify.rule SET problem = 'broken' WHERE name = 'r'");
$a->safe_psql('shop', 'SELECT notify.arm()');
is($a->safe_psql('shop', "SELECT problem IS NULL FROM notify.rule WHERE name = 'r'"), 't', 'arm() looks again at what had a problem');
is($a->safe_psql('shop', 'SELECT state FROM notify.status()'), 'ok', 'and lets it send');

done_testing();

# What arrived, in order.
sub bodies
{
	return [ sort map { $_->{body} } $http->entries('/hook') ];
}

sub held
{
	my ($node, $db, $what) = @_;
	is($node->safe_psql($db, 'SELECT state FROM notify.status()'), 'held', "$what is held")
	  or diag($node->safe_psql($db, 'SELECT * FROM notify.status()'));
}

# Restores a dump, sees that it is the same and sends nothing, then arms it.
sub check
{
	my ($node, $what, $restore) = @_;
	my $db = 'copy' . $n;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->psql('postgres', 'CREATE ROLE author') if $node == $b;
	ok($restore->($db), "$what: restores without an error");
	is($node->safe_psql($db, configuration()), $want, "$what: the same configuration");
	is($node->safe_psql($db, "SELECT owner FROM notify.rule WHERE name = 'authors'"), 'author', "$what: an owner stays");
	wait_for_sql($node, 'SELECT planner IS NOT NULL AND dispatchers > 0 FROM notify.status()', 't', $db);
	held($node, $db, $what);
	$node->safe_psql($db, "INSERT INTO orders VALUES ($n, 'ann', 'restored')");
	wait_for_sql($node, 'SELECT ready FROM notify.status()', '1', $db);
	is(scalar(grep { /^order $n / } @{ bodies() }), 0, "$what: sends nothing");
	$node->safe_psql($db, "INSERT INTO notify.secret VALUES ('key', 'whsec_AAAA')");
	$node->safe_psql($db, 'SELECT notify.arm()');
	is($node->safe_psql($db, 'SELECT count(*) FROM notify.rule WHERE problem IS NOT NULL'), '0',
		"$what: what could not be checked during the restore is checked");
	wait_for_drain($node, $db);
	is(scalar(grep { $_ eq "order $n restored" } @{ bodies() }), 1, "$what: armed, it sends once");
	$n++;
}

# A database can be a template only while nobody is in it.
sub stop_workers
{
	my ($node, $db) = @_;
	$node->safe_psql('postgres', "ALTER DATABASE $db ALLOW_CONNECTIONS false");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$db'");
	wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = '$db'", '0');
}
