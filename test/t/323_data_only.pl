# A dump's rows alone, loaded into a database where the extension and the
# business tables are already: pg_dump --data-only and --section=data, custom and
# plain, with the triggers of the tables at work, switched off, or not there.
# Tables in a schema that sorts before "notify" and in one that sorts after it:
# the former are loaded before the rules are, the latter after.
# Would catch: the rows of a dump captured, held, and let go by arm(); a copy not
# held because its own row of notify.origin was there first; a sequence that gives
# ids again; a table or rule that lost its triggers and nobody says so; a restore
# into the same database that errors on triggers which are there already.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $http = http_sink();
my $a = notify_cluster('a', conf => "notify_pg.poll_interval = '50ms'\n");
my $b = notify_cluster('b', extension => 0, conf => "notify_pg.poll_interval = '50ms'\nmax_worker_processes = 40\n");
my $dir = PostgreSQL::Test::Utils::tempdir;
my $tables = q{
	CREATE SCHEMA app;
	CREATE TABLE app.payment (id int PRIMARY KEY, customer text);
	CREATE TABLE orders (id serial PRIMARY KEY, customer text);
	CREATE TABLE users (id text PRIMARY KEY, mail text)};
my $configured = qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/hook')]}"}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', '{{ event.source }} {{ new.id }} of {{ new.customer }}');
	SELECT notify.attach('orders', 'new.customer'), notify.attach('app.payment', 'new.customer'),
		notify.attach_recipients('users', 'id', addresses => '{"email": "mail"}');
	UPDATE notify.source SET on_replica = true WHERE relation = 'orders'::regclass;
	INSERT INTO notify.rule (name, source, condition, template, category)
	VALUES ('o', 'orders', 'new.id > 0', 't', 'c'), ('p', 'app.payment', NULL, 't', 'c')};

$a->safe_psql('postgres', 'CREATE DATABASE shop');
$a->safe_psql('shop', "CREATE EXTENSION notify_pg; $tables; $configured");
$a->safe_psql('shop', q{
	UPDATE notify.rule SET condition = 'new.id > 1' WHERE name = 'o';
	INSERT INTO users VALUES ('ann', 'ann@example.com'), ('bob', 'bob@example.com');
	UPDATE notify.address SET state = 'invalid' WHERE recipient = 'bob';
	INSERT INTO orders (customer) VALUES ('ann'), ('ann'), ('bob');
	INSERT INTO app.payment VALUES (1, 'ann')});
wait_for_drain($a, 'shop');
my $sent = count();
is($sent, 3, 'the original sends');
my $want = $a->safe_psql('shop', configuration());

$a->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/whole", $a->connstr('shop') ], 'dumps all');
for my $what ('--data-only', '--section=data')
{
	$a->command_ok([ 'pg_dump', $what, "-F$_", '-f', "$dir/$_$what", $a->connstr('shop') ], "dumps $what, -F$_") for 'c', 'p';
}
$a->command_ok([ 'pg_dump', '--data-only', '--disable-triggers', '-Fp', '-f', "$dir/p-disabled", $a->connstr('shop') ], 'dumps with --disable-triggers');
$a->command_ok([ 'pg_dump', '--schema-only', '-f', "$dir/schema", $a->connstr('shop') ], 'dumps the schema');

my $n = 0;
loads('-Fc --data-only', 'dumped', pg_restore("$dir/c--data-only"));
loads('-Fp --data-only', 'dumped', psql("$dir/p--data-only"));
loads('-Fc --section=data', 'dumped', pg_restore("$dir/c--section=data"));
loads('-Fp --section=data', 'own', psql("$dir/p--section=data"));
loads('-Fc --disable-triggers, four at a time', 'dumped', pg_restore("$dir/c--data-only", '--data-only', '--disable-triggers', '-j', 4));
loads('-Fp --disable-triggers', 'own', psql("$dir/p-disabled"));

# What is there already is not overwritten, and one table's refusal does not let the others go.
my $db = target('own');
$b->safe_psql($db, $configured);
$b->command_checks_all([ 'pg_restore', '-d', $b->connstr($db), "$dir/c--data-only" ], 1, [qr/^$/],
	[ map { qr/COPY failed for table "$_": ERROR:  duplicate key value/ } qw(category provider rule source template) ],
	'a configured database: each table that is taken says so');
is($b->safe_psql($db, 'SELECT count(*) FROM orders'), '3', 'the business rows are there');
is($b->safe_psql($db, 'SELECT count(*) FROM notify.event'), '0', 'and none was captured');
is($b->safe_psql($db, 'SELECT state FROM notify.status()'), 'held', 'and it is held');
armed($db, 'a configured database');

# In place: the very database, not a copy of it.
my $before = count();
$a->command_ok([ 'pg_restore', '-e', '--clean', '--if-exists', '-d', $a->connstr('shop'), "$dir/whole" ], 'restored in place, without an error');
is($a->safe_psql('shop', configuration()), $want, 'in place: the same configuration');
is($a->safe_psql('shop', 'SELECT count(*) FROM notify.event'), '0', 'in place: nothing was captured');
wait_for_sql($a, 'SELECT state FROM notify.status()', 'ok', 'shop');
$a->safe_psql('shop', q{INSERT INTO orders (customer) VALUES ('ann')});
wait_for_drain($a, 'shop');
is(count() - $before, 1, 'in place: what comes then is sent once');

# A session that has only one of a dump's settings is an application.
$a->safe_psql('shop', q{
	SET check_function_bodies = off; INSERT INTO orders (customer) VALUES ('ann');
	RESET check_function_bodies; SET row_security = off; INSERT INTO orders (customer) VALUES ('ann')});
wait_for_drain($a, 'shop');
is(count() - $before, 3, 'half the signs of a dump are none');

done_testing();

# Requests so far.
sub count
{
	return scalar(my @all = $http->entries('/hook'));
}

sub pg_restore
{
	my ($file, @options) = @_;
	return sub { return [ 'pg_restore', '-e', @options, '-d', $b->connstr($_[0]), $file ] };
}

sub psql
{
	my ($file) = @_;
	return sub { return [ 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $b->connstr($_[0]), '-f', $file ] };
}

# A database to load into. dumped: with the tables and triggers of the dump;
# own: with the tables as the app makes them.
sub target
{
	my ($tables_from) = @_;
	my $name = 'copy' . ++$n;
	$b->safe_psql('postgres', "CREATE DATABASE $name");
	if ($tables_from eq 'own') { $b->safe_psql($name, "CREATE EXTENSION notify_pg; $tables"); }
	else { $b->command_ok(psql("$dir/schema")->($name), 'the schema restores'); }
	return $name;
}

sub loads
{
	my ($what, $tables_from, $command) = @_;
	my $name = target($tables_from);
	wait_for_sql($b, 'SELECT state FROM notify.status()', 'ok', $name);
	$b->command_ok($command->($name), "$what: loads");
	is($b->safe_psql($name, configuration()), $want, "$what: the same configuration and people");
	is($b->safe_psql($name, 'SELECT count(*) FROM notify.event'), '0', "$what: no row of the dump is captured");
	is($b->safe_psql($name, 'SELECT state FROM notify.status()'), 'held', "$what: held");
	is($b->safe_psql($name, q{SELECT count(*), count(*) FILTER (WHERE (o.system_identifier, o.database) = (h.system_identifier, h.database))
			FROM notify.origin o, notify._here() AS h}), '2|1', "$what: where it comes from stands beside where it is");
	if ($tables_from eq 'own')
	{
		end_worker($name, 'planner');    # upkeep, at once
		wait_for_sql($b, q{SELECT count(*) FROM notify.status(), unnest(problems) AS p
			WHERE p ~ 'source (public.orders|app.payment): nothing is captured' OR p ~ 'users table public.users: people are not followed'}, '3', $name);
	}
	armed($name, $what);
	is($b->safe_psql($name, q{
			SELECT count(*) FROM pg_trigger t WHERE t.tgenabled <> 'A'
			AND (t.tgrelid = 'orders'::regclass AND t.tgfoid = 'notify.capture()'::regprocedure
				 OR t.tgfoid = 'notify._invalidate()'::regprocedure)}),
		'0', "$what: triggers fire as they did");
	return;
}

# Ends a worker; another takes its place.
sub end_worker
{
	my ($name, $kind) = @_;
	$b->safe_psql($name, "SELECT pg_terminate_backend(pid) FROM notify.stat_worker WHERE kind = '$kind'");
	return;
}

# What comes while it is held goes when it is armed, and nothing else does.
sub armed
{
	my ($name, $what) = @_;
	my $so_far = count();
	my $captured = $b->safe_psql($name, q{SELECT count(*) FROM pg_trigger WHERE tgname = 'notify_capture'}) > 0;
	my $held = "INSERT INTO orders (customer) VALUES ('ann'); INSERT INTO app.payment VALUES (${n}00, 'ann')";
	if ($captured)
	{
		$b->safe_psql($name, $held);
		wait_for_sql($b, 'SELECT ready FROM notify.status()', '2', $name);
	}
	is(count(), $so_far, "$what: nothing is sent");
	$b->safe_psql($name, 'SELECT notify.arm()');
	$b->safe_psql($name, $held) unless $captured;
	wait_for_drain($b, $name);
	is(count() - $so_far, 2, "$what: armed, it sends the two changes made here");
	is($b->safe_psql($name, q{
			INSERT INTO notify.rule (name, event_type, recipient, template, category) VALUES ('new', 'e', $$'ann'$$, 't', 'c');
			SELECT count(*) FROM notify.rule r JOIN notify.rule_version v ON v.id = r.version AND v.rule = r.id WHERE r.name = 'new'}),
		'1', "$what: sequences go on");
	return;
}
