# Roles that go: the owner of rules and sources, the owner of the extension; and
# what takes the extension along without naming it (DROP OWNED, DROP SCHEMA),
# while there is work.
# Would catch: a dropped role's rule that stops business statements, or the other
# rules, or breaks in silence; a worker that dies of it; an extension that no
# longer works under its new owner; a DROP that waits for workers, or deadlocks
# with them, or leaves them behind.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $http = http_sink();
my $node = notify_cluster('main', extension => 0, conf => "notify_pg.poll_interval = '50ms'\ndeadlock_timeout = 100ms\n");
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', 'CREATE ROLE manager LOGIN SUPERUSER; CREATE ROLE author LOGIN; CREATE ROLE heir LOGIN');
set_up('shop');
$node->safe_psql('shop', q{
	GRANT notify_admin TO author;
	GRANT SELECT, TRIGGER ON orders TO author;
	CREATE TABLE note (id int PRIMARY KEY, who text);
	ALTER TABLE note OWNER TO author;
	SET ROLE author;
	SELECT notify.attach('note', 'lower(new.who)');
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('condition', 'orders', 'new.id > 0', 't', 'c');
	INSERT INTO notify.rule (name, source, audience, template, category) VALUES ('audience', 'orders', 'SELECT new.customer AS recipient', 't', 'c');
	INSERT INTO notify.rule (name, source, template, category) VALUES ('notes', 'note', 't', 'c');
	RESET ROLE});
$node->safe_psql('shop', q{INSERT INTO orders VALUES (1, 'ann'); INSERT INTO note VALUES (1, 'Ann')});
wait_for_drain($node, 'shop');
is(sent('shop', 1), 4, 'every rule sends');

# The owner of rules
my $workers = pids('shop');
my ($status, undef, $error) = $node->psql('shop', 'DROP ROLE author');
like($error, qr/role "author" cannot be dropped because some objects depend on it/, 'the role still has something');
$node->safe_psql('shop', 'REASSIGN OWNED BY author TO heir; DROP OWNED BY author; DROP ROLE author');
$node->safe_psql('shop', q{INSERT INTO orders VALUES (2, 'ann'); INSERT INTO note VALUES (2, 'Ann')});
wait_for_sql($node, q{SELECT count(*) FROM notify.rule WHERE problem ~ 'role with OID \d+ does not exist'}, '3', 'shop');
wait_for_drain($node, 'shop');
is(sent('shop', 2), 1, 'what others own goes on, what was the role\'s does not');
is(pids('shop'), $workers, 'workers live');
my $told = $node->safe_psql('shop', 'SELECT problems FROM notify.status()');
like($told, qr/$_: role with OID \d+ does not exist/, "status() tells: $_") for 'rule condition', 'rule audience';
like($told, qr/(rule notes|source note|source public\.note): role with OID \d+ does not exist/, 'and of the source');
($status, undef, $error) = $node->psql('shop', 'SELECT notify.arm()');
like($error, qr/rule audience: .*\n(.*\n)*.*rule condition: /, 'arm() refuses and names them');

# Mended: who saves it owns it, and what was undecided is decided.
$node->safe_psql('shop', q{
	GRANT notify_admin TO heir; GRANT SELECT, TRIGGER ON orders TO heir;
	SET ROLE heir;
	SELECT notify.attach('note', 'lower(new.who)');
	UPDATE notify.rule SET condition = condition, audience = audience WHERE name IN ('condition', 'audience', 'notes')});
is($node->safe_psql('shop', q{SELECT string_agg(name || ' ' || owner || ' ' || coalesce(problem, 'good'), ', ' ORDER BY name) FROM notify.rule}),
	"audience heir good, condition heir good, mine $superuser good, notes heir good", 'saved again, they are good and the saver\'s');
$node->safe_psql('shop', q{SELECT notify.replay(name, now() - interval '1 hour') FROM notify.rule WHERE name IN ('condition', 'audience', 'notes')});
wait_for_drain($node, 'shop');
is(sent('shop', 2), 4, 'replayed, what they missed is sent');
is(sent('shop', 1), 4, 'and nothing twice');
$node->safe_psql('shop', 'SELECT notify.arm()');

# The owner of the extension
is($node->safe_psql('shop', q{SELECT extowner::regrole FROM pg_extension WHERE extname = 'notify_pg'}), 'manager', 'the extension is the manager\'s');
($status, undef, $error) = $node->psql('shop', 'DROP ROLE manager');
like($error, qr/cannot be dropped because some objects depend on it/, 'who cannot go');
($status, undef, $error) = $node->psql('shop', 'REASSIGN OWNED BY manager TO heir');
isnt($status, 0, 'nor leave it to one who is no superuser');
like($error, qr/permission denied to change owner of event trigger/, 'and that is said');
$node->safe_psql('shop', "REASSIGN OWNED BY manager TO \"$superuser\"");
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'notify'::regnamespace AND relowner = 'manager'::regrole}), '0', 'left to a superuser');
$node->safe_psql('postgres', 'DROP ROLE manager');
$node->safe_psql('shop', q{INSERT INTO orders VALUES (3, 'ann'); INSERT INTO note VALUES (3, 'Ann')});
wait_for_drain($node, 'shop');
is(sent('shop', 3), 4, 'it works under the new owner');
is($node->safe_psql('shop', 'SELECT state, problems FROM notify.status()'), 'ok|{}', 'and is content');
$node->safe_psql('shop', 'CREATE TABLE later () INHERITS (orders); INSERT INTO later VALUES (4, $$ann$$)');
wait_for_drain($node, 'shop');
is(sent('shop', 4), 3, 'event triggers too');

# What takes it along, while workers are busy
$node->safe_psql('postgres', 'CREATE ROLE manager LOGIN SUPERUSER');
my $n = 0;
for my $drop ('DROP OWNED BY manager CASCADE', 'DROP SCHEMA notify CASCADE', 'DROP EXTENSION notify_pg CASCADE')
{
	my $db = 'busy' . ++$n;
	set_up($db);
	$node->safe_psql($db, q{INSERT INTO orders SELECT g, 'ann' FROM generate_series(1, 3000) AS g});
	wait_for_sql($node, q{SELECT count(*) > 100 FROM notify.outcome}, 't', $db);
	my $deadlocks = deadlocks();
	my $begin = time;
	$node->safe_psql($db, $drop);
	my $took = time - $begin;
	cmp_ok($took, '<', 10, sprintf('%s: done in seconds (%.1f s)', $drop, $took));
	is(deadlocks(), $deadlocks, "$drop: no deadlock");
	ok(wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND backend_type LIKE 'notify_pg %'", '0'), "$drop: workers go");
	is($node->safe_psql($db, q{INSERT INTO orders VALUES (0, 'ann'); SELECT count(*) FROM orders}), '3001', "$drop: business goes on");
	$node->safe_psql($db, 'CREATE EXTENSION notify_pg');
	wait_for_sql($node, 'SELECT state FROM notify.status()', 'ok', $db);
}

# A stranger's DROP OWNED stops nobody.
set_up('calm');
wait_for_sql($node, 'SELECT state FROM notify.status()', 'ok', 'calm');
$workers = pids('calm');
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
($status) = $node->psql('calm', 'DROP OWNED BY manager CASCADE', extra_params => [ '-U', 'stranger' ]);
isnt($status, 0, 'a stranger cannot drop what the owner has');
($status) = $node->psql('calm', 'DROP SCHEMA notify CASCADE', extra_params => [ '-U', 'stranger' ]);
isnt($status, 0, 'nor the schema');
is(pids('calm'), $workers, 'and the workers did not notice');

done_testing();

# A database whose extension belongs to the manager.
sub set_up
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION notify_pg', extra_params => [ '-U', 'manager' ]);
	$node->safe_psql($db, qq{
		CREATE TABLE orders (id int PRIMARY KEY, customer text);
		INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}');
		INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url("/$db")]}"}');
		INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', '{{ new.id }}');
		INSERT INTO notify.recipient (id) VALUES ('ann');
		SELECT notify.attach('orders', 'new.customer');
		INSERT INTO notify.rule (name, source, template, category) VALUES ('mine', 'orders', 't', 'c')});
	return;
}

# How often a row of that id was told of.
sub sent
{
	my ($db, $id) = @_;
	return scalar grep { $_->{body} eq $id } $http->entries("/$db");
}

sub pids
{
	my ($db) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity
		WHERE datname = '$db' AND backend_type LIKE 'notify_pg %'");
}

sub deadlocks
{
	return scalar(my @found = slurp_file($node->logfile) =~ /deadlock detected/g);
}
