# The lives of a cluster: without preload, preloaded, stopped in all ways, with
# two databases, with transactions that commit in any order or not at all.
# Whatever happens: what committed is planned exactly once and sent, what did
# not is not.
#
# The table "truth" is the judge: an ordinary plpgsql trigger beside the
# captured one writes a row for each change, in the same transaction.
#
# Catches: events lost or invented by rollbacks, savepoints, COPY, upserts;
# events skipped because a transaction with an older id committed later, or
# planned again after a crash; a prepared transaction forgotten; a chunk or the
# backlog of a large transaction lost when the planner goes; messages lost or
# settled twice by an immediate stop; databases in each other's way.

use strict;
use warnings;
use IPC::Run;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $http = http_sink();
my $node = PostgreSQL::Test::Cluster->new('lives');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf',
	"log_statement = none\nmax_worker_processes = 20\nmax_prepared_transactions = 20\nrestart_after_crash = on\n"
	  . "deadlock_timeout = 50ms\nnotify_pg.allow_private_addresses = '127.0.0.0/8'\n");
$node->start;

# Slow enough that whoever stops the server finds it at work
sub hook { return "/slow/$_[0]?ms=100" }

sub set_up
{
	my ($database) = @_;
	$node->safe_psql($database, qq{
		CREATE EXTENSION notify_pg;
		INSERT INTO notify.provider (name, channel, preset, settings)
		VALUES ('hook', 'webhook', 'webhook', '{"url": "@{[$http->url(hook($database))]}"}'), ('box', 'inbox', 'inbox', '{}');
		INSERT INTO notify.category (name, class, channels) VALUES ('items', 'transactional', '{webhook,inbox}');
		INSERT INTO notify.template (name, channel, body)
		VALUES ('item', 'webhook', '{"db": "$database"}'), ('item', 'inbox', '{{ event.op }} {{ event.key }}');
		INSERT INTO notify.recipient (id) VALUES ('ann');
		CREATE TABLE item (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0);
		CREATE TABLE truth (op text, id integer, n integer);
		CREATE SEQUENCE fresh START 100000;
		CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS \$\$
		BEGIN
			INSERT INTO truth VALUES (left(TG_OP, 1), coalesce(NEW.id, OLD.id), coalesce(NEW.n, OLD.n));
			RETURN NULL;
		END \$\$;
		CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION witness();
		SELECT notify.attach('item', recipient => \$r\$'ann'::text\$r\$);
		INSERT INTO notify.rule (name, source, template, category) VALUES ('every', 'item', 'item', 'items');
	});
	return;
}

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# Of two multisets, what is in one and not in the other.
sub differ
{
	my ($one, $two) = @_;
	return "SELECT count(*) FROM (($one EXCEPT ALL $two) UNION ALL ($two EXCEPT ALL $one)) AS d";
}

my $truth = 'SELECT op, id::text, n FROM truth';
my $events = q{SELECT op::text, key, coalesce(new ->> 'n', old ->> 'n')::integer FROM notify.event WHERE source = 'item'::regclass};

# After a drain: truth, events, messages, what was received and the inbox agree.
# Gives how many requests came more than once.
sub all_agree
{
	my ($what, $database) = @_;
	$database //= 'postgres';
	ok(wait_for_drain($node, $database), "$what: the queue drains");
	my $check = sub { return $node->safe_psql($database, $_[0]) };
	my $count = $check->('SELECT count(*) FROM truth');
	is($check->(differ($truth, $events)), '0', "$what: the events are what committed ($count)");
	is($check->(q{SELECT count(*) FROM (SELECT e.id FROM notify.event e LEFT JOIN notify.message m ON m.event = e.id
			GROUP BY e.id HAVING string_agg(m.channel, ',' ORDER BY m.channel) IS DISTINCT FROM 'inbox,webhook') AS x}),
		'0', "$what: each is planned once, on both channels");
	is($check->('SELECT count(*) FROM notify.message m WHERE NOT EXISTS (SELECT FROM notify.event e WHERE e.id = m.event)'),
		'0', "$what: nothing else is");
	is($check->(q{SELECT count(*), count(DISTINCT message) FROM notify.outcome}), join('|', (2 * $count) x 2), "$what: each is settled once");
	is($check->('SELECT count(*), count(DISTINCT message) FROM notify.inbox'), "$count|$count", "$what: each is in the inbox once");
	my $seen = $http->arrivals(hook($database));
	my %wanted = map { $_ => 1 } split /\n/, $check->("SELECT 'msg_' || id FROM notify.message WHERE channel = 'webhook'");
	is(scalar(grep { !$seen->{$_} } keys %wanted), 0, "$what: each was received");
	is(scalar(grep { !$wanted{$_} } keys %$seen), 0, "$what: nothing else was");
	my $repeats = 0;
	$repeats += $_ - 1 for values %$seen;
	return $repeats;
}

sub workers
{
	my ($database) = @_;
	return "(SELECT count(*) FROM pg_stat_activity WHERE datname = '$database' AND backend_type LIKE 'notify_pg %')";
}

#
# Without preload: captured, and told what to do
#
set_up('postgres');
sql(q{
	INSERT INTO item SELECT n FROM generate_series(1, 300) AS n;
	BEGIN; INSERT INTO item VALUES (1001); ROLLBACK;
	BEGIN; INSERT INTO item VALUES (1002); SAVEPOINT a; INSERT INTO item VALUES (1003); ROLLBACK TO a; INSERT INTO item VALUES (1004); COMMIT;
	UPDATE item SET n = 1 WHERE id <= 10;
	DELETE FROM item WHERE id = 1});
is(sql(differ($truth, $events)), '0', 'without preload, changes are captured');
is(sql('SELECT state, unplanned FROM notify.status()'), 'stopped|313', 'status() says that nothing is sent');
like(sql('SELECT problems[1] FROM notify.status()'),
	qr/not preloaded.*shared_preload_libraries = 'notify_pg'.*postgresql\.conf.*restart/, 'and what to set, where, and what to do then');
like(sql("SELECT string_agg(concat_ws(' ', step, verdict), ', ') FROM notify.explain('item', '7')"),
	qr/captured.*waiting unplanned/, 'explain() says that it waits');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'notify_pg'\n");
$node->restart;
is(all_agree('preloaded'), 0, 'preloaded: all that was captured is sent, once');
is(sql('SELECT state, problems FROM notify.status()'), 'ok|{}', 'and status() is content');

#
# Stops in the middle
#
sub half_way
{
	my ($count) = @_;
	my $before = $http->counts->{total};
	sql("INSERT INTO item SELECT nextval('fresh') FROM generate_series(1, $count)");
	wait_until('a third of it', sub { $http->counts->{total} > $before + $count / 3 });
	return;
}

half_way(4500);
$node->stop('immediate');
cmp_ok($http->counts->{total}, '<', 313 + 4500, 'an immediate stop in the middle');
$node->start;
my $repeats = all_agree('immediate stop');
cmp_ok($repeats, '<=', 300, "immediate stop: no more than max_in_flight arrived twice ($repeats)");
half_way(4500);
$node->stop('fast');
cmp_ok($http->counts->{total}, '<', 313 + 9000, 'a fast stop in the middle');
$node->start;
my $more = all_agree('fast stop') - $repeats;
cmp_ok($more, '<=', 5, "fast stop: next to nothing arrived twice ($more)");
$repeats += $more;

#
# Two databases
#
$node->safe_psql('postgres', 'CREATE DATABASE second');
set_up('second');
ok(wait_for_sql($node, "SELECT @{[workers('postgres')]} = 2 AND @{[workers('second')]} = 2"), 'each database has its own workers');
for my $database ('postgres', 'second')
{
	$node->safe_psql($database, "INSERT INTO item SELECT nextval('fresh') FROM generate_series(1, 1000)");
}
is(all_agree('second', 'second'), 0, 'second: nothing arrived twice');
is(all_agree('first'), $repeats, 'first: nor here');
is($node->safe_psql('second', 'SELECT count(*) FROM notify.message'), '2000', 'each plans its own');
$node->safe_psql('second', "SELECT notify.send('ann', 'item', '{}', 'items', at => now() + interval '1 day'); DROP EXTENSION notify_pg CASCADE");
ok(wait_for_sql($node, "SELECT @{[workers('postgres')]} = 2 AND @{[workers('second')]} = 0"), 'one goes');
sql('INSERT INTO item VALUES (2001)');
is(all_agree('alone'), $repeats, 'the other goes on');

#
# The order of commits
#
sub planned
{
	my ($condition) = @_;
	return sql("SELECT count(DISTINCT m.key) FROM notify.message m WHERE m.key::integer BETWEEN $condition");
}

my $long = $node->background_psql('postgres');
$long->query_safe(q{BEGIN; INSERT INTO item VALUES (3001); SAVEPOINT a; INSERT INTO item VALUES (3002); ROLLBACK TO a;
	SAVEPOINT b; INSERT INTO item VALUES (3003); RELEASE b});
sql("INSERT INTO item VALUES ($_)") for 3101 .. 3110;
sql(q{BEGIN; INSERT INTO item SELECT generate_series(3301, 3310); PREPARE TRANSACTION 'kept';
	BEGIN; INSERT INTO item SELECT generate_series(3401, 3410); PREPARE TRANSACTION 'dropped'});
sql("INSERT INTO item VALUES ($_)") for 3111 .. 3120;
ok(wait_for_drain($node), 'short transactions do not wait for long ones');
is(planned('3101 AND 3200'), '20', 'they are planned');
is(planned('3001 AND 3100') + planned('3301 AND 3500'), '0', 'the long and the prepared ones are not yet');
$long->query_safe('INSERT INTO item VALUES (3004); UPDATE item SET n = 5 WHERE id = 3001');
sql("INSERT INTO item VALUES (3121)");
$long->query_safe('COMMIT');
$long->quit;
is(all_agree('long'), $repeats, 'long: once');
is(planned('3001 AND 3100'), '3', 'long: all that was not rolled back');

my $pid = sql("SELECT pid FROM notify.stat_worker WHERE kind = 'planner'");
is(kill('KILL', $pid), 1, 'the planner is killed while transactions are prepared');
ok(wait_for_sql($node, "SELECT pid <> $pid AND state = 'running' FROM notify.stat_worker WHERE kind = 'planner'"), 'the server is back');
sql("INSERT INTO item VALUES (3131)");
ok(wait_for_drain($node), 'work goes on');
is(planned('3131 AND 3131'), '1', 'beside the prepared transactions');
sql(q{COMMIT PREPARED 'kept'; ROLLBACK PREPARED 'dropped'});
is(all_agree('prepared'), $repeats, 'prepared: once');
is(planned('3301 AND 3310') . planned('3401 AND 3410'), '100', 'the one that was committed, not the other');

# A large transaction is planned bit by bit; what commits after it does not wait for all of it.
$node->append_conf('postgresql.conf', "notify_pg.batch_size = 20\nnotify_pg.dispatchers = 2\n");
$node->reload;
sql("INSERT INTO item SELECT nextval('fresh') FROM generate_series(1, 3000); INSERT INTO item VALUES (3500)");
ok(wait_for_sql($node, "SELECT count(*) = 2 FROM notify.message WHERE key = '3500'"), 'what comes after a large transaction is planned');
cmp_ok(sql('SELECT unplanned FROM notify.status()'), '>', 0, 'before all of it is');
is(all_agree('large'), $repeats, 'large: once');

#
# At random: sessions that insert, update, delete, copy, upsert, in savepoints
# and without, fail, deadlock, commit, roll back, prepare; while the planner
# and the dispatchers are ended, and in the second round the server crashes.
#
my $seed = $ENV{NOTIFY_SEED} // time;
srand($seed);
note("NOTIFY_SEED=$seed");

sub one_of { return $_[ rand @_ ]; }

sub statement
{
	my $id = 1 + int rand 150;
	my $to = $id + int rand 8;
	my $some = 1 + int rand 60;
	return one_of(
		"INSERT INTO item VALUES ($id) ON CONFLICT (id) DO UPDATE SET n = item.n + 1;",
		"INSERT INTO item VALUES ($id) ON CONFLICT DO NOTHING;",
		"INSERT INTO item VALUES ($id);",
		"UPDATE item SET n = n + 1 WHERE id BETWEEN $id AND $to;",
		"UPDATE item SET n = n WHERE id = $id;",
		"DELETE FROM item WHERE id = $id;",
		"MERGE INTO item USING (VALUES ($id), ($id + 200)) AS v (id) ON item.id = v.id WHEN MATCHED THEN UPDATE SET n = n + 2 WHEN NOT MATCHED THEN INSERT VALUES (v.id);",
		"INSERT INTO item SELECT nextval('fresh') FROM generate_series(1, $some);",
		"COPY item FROM stdin;\n" . join('', map { 1_000_000 + int(rand 100_000_000) . "\t1\n" } 1 .. 5) . "\\.\n",
		"DO \$\$ BEGIN INSERT INTO item VALUES ($id); UPDATE item SET n = 1 / (n - n); EXCEPTION WHEN OTHERS THEN INSERT INTO item VALUES (nextval('fresh')); END \$\$;",
		"SELECT pg_sleep(random() * 0.005);",
		rand() < 0.2 ? 'SELECT 1 / 0;' : 'SELECT 1;') . "\n";
}

sub transaction
{
	my ($gid) = @_;
	return statement() if rand() < 0.3;
	my $sql = "BEGIN;\n";
	for (1 .. 1 + rand 6)
	{
		my $body = join '', map { statement() } 1 .. 1 + rand 3;
		$sql .= rand() < 0.4 ? "SAVEPOINT s;\n$body" . one_of('ROLLBACK TO s; RELEASE s;', 'RELEASE s;', 'ROLLBACK TO s;', '') . "\n" : $body;
	}
	return $sql . one_of('COMMIT;', 'COMMIT;', 'COMMIT;', 'ROLLBACK;',
		"PREPARE TRANSACTION '$gid'; COMMIT PREPARED '$gid';", "PREPARE TRANSACTION '$gid'; ROLLBACK PREPARED '$gid';") . "\n";
}

# Runs five sessions side by side, and code beside them.
sub at_random
{
	my ($what, $transactions, $beside) = @_;
	my @sessions;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	for my $session (1 .. 5)
	{
		# Files, since nobody feeds pipes meanwhile.
		append_to_file("$dir/$session.sql", join '', map { transaction("$what.$session.$_") } 1 .. $transactions);
		push @sessions, IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', "$dir/$session.sql" ],
			'<', '/dev/null', '>', '/dev/null', '2>', "$dir/$session.err", IPC::Run::timeout(180));
	}
	$beside->();
	$_->finish for @sessions;
	ok(wait_for_sql($node, 'SELECT true'), "$what: the server is up");
	# What a crash left prepared is committed now.
	sql(join '', map { "COMMIT PREPARED '$_';" } split /\n/, sql('SELECT gid FROM pg_prepared_xacts'));
	my %errors;
	$errors{$_}++ for slurp_errors($dir);
	note(join ', ', map { "$_: $errors{$_}" } sort keys %errors);
	return all_agree($what);
}

# What the sessions were told: that there was something to survive.
sub slurp_errors
{
	my ($dir) = @_;
	return map { slurp_file($_) =~ /(?:ERROR|FATAL|PANIC|connection):?  ?([a-z ]+)/g } glob "$dir/*.err";
}

# Ends a worker and waits for the next one.
sub replace
{
	my ($kind, $signal) = @_;
	$pid = sql("SELECT min(pid) FROM notify.stat_worker WHERE kind = '$kind' AND state = 'running'");
	kill($signal, $pid) or diag("there is no $kind");
	return wait_for_sql($node,
		"SELECT bool_and(pid IS NOT NULL AND pid <> $pid AND state = 'running') FROM notify.stat_worker WHERE kind = '$kind'");
}

$more = at_random('restless', 120, sub {
	for (1 .. 3) { replace('planner', 'TERM'); replace('dispatcher', 'TERM'); }
}) - $repeats;
cmp_ok($more, '<=', 5, "restless: next to nothing arrived twice ($more)");
$repeats += $more;
$more = at_random('crash', 200, sub {
	my $before = $http->counts->{total};
	wait_until('some work', sub { $http->counts->{total} > $before + 300 });
	replace('dispatcher', 'KILL');
}) - $repeats;
cmp_ok($more, '<=', 200, "crash: no more than two dispatchers had in flight arrived twice ($more)");
cmp_ok(sql('SELECT count(*) FROM truth'), '>', 14_000, 'there was something to agree about');

$node->stop;
done_testing();
