# The cursor against a plain reference. Sessions do at random what transactions
# can do: savepoints rolled back, more subtransactions than a backend keeps at
# hand, errors, long pauses, PREPARE TRANSACTION and its end later and elsewhere,
# statements of many chunks; some read by a snapshot of their own. Meanwhile the
# planner is killed, which takes the server down and up again, and the server is
# restarted with transactions prepared. An ordinary trigger writes beside each
# event what is to be told. In the end the messages are those and no others, each
# once.
#
# TEST_SEED repeats what the sessions try (not how they meet); it is printed.
#
# Catches: an event that is skipped because its transaction committed late, was
# prepared, or was in progress when a batch began; one planned twice, at a chunk's
# end or after a crash; a large transaction forgotten half-way.

use strict;
use warnings;
use IPC::Run;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = $ENV{TEST_SEED} // 343;
note("TEST_SEED=$seed");
my ($sessions, $batch) = (6, 20);
my $large = 500 * $batch;
my $script = PostgreSQL::Test::Utils::tempdir('scripts');
my $node = notify_cluster('cursor', conf => "restart_after_crash = on\nmax_prepared_transactions = 60\nnotify_pg.batch_size = $batch\n");
$node->safe_psql('postgres', q{
	CREATE SEQUENCE n;
	CREATE TABLE a (id bigserial PRIMARY KEY, n bigint NOT NULL DEFAULT nextval('n'), who text NOT NULL DEFAULT 'ann');
	CREATE TABLE b (LIKE a INCLUDING ALL) PARTITION BY HASH (id);
	CREATE TABLE b0 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE b1 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 1);

	CREATE TABLE reference (source text, op text, n bigint);
	CREATE FUNCTION refer() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO reference VALUES (TG_ARGV[0], left(TG_OP, 1), coalesce(new.n, old.n));
		RETURN NULL;
	END $$;
	CREATE TRIGGER refer AFTER INSERT OR UPDATE OR DELETE ON a FOR EACH ROW EXECUTE FUNCTION refer('a');
	CREATE TRIGGER refer AFTER INSERT OR UPDATE OR DELETE ON b FOR EACH ROW EXECUTE FUNCTION refer('b');

	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', 'x');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	SELECT notify.attach('a', 'coalesce(new.who, old.who)'), notify.attach('b', 'coalesce(new.who, old.who)');
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES
		('a', 'a', NULL, 't', 'c'), ('b', 'b', NULL, 't', 'c'), ('even', 'a', 'coalesce(new.n, old.n) % 2 = 0', 't', 'c');

	CREATE VIEW wanted AS
		SELECT source AS rule, op, n FROM reference UNION ALL SELECT 'even', op, n FROM reference WHERE source = 'a' AND n % 2 = 0;
	CREATE VIEW planned AS
		SELECT v.name AS rule, e.op::text, coalesce(e.new ->> 'n', e.old ->> 'n')::bigint AS n
		FROM notify.message m JOIN notify.event e ON e.id = m.event LEFT JOIN notify.rule_version v ON v.id = m.rule});

my @session = map { { number => $_, random => random_numbers($seed * 100 + $_), scripts => 0 } } 1 .. $sessions;
my $driver = random_numbers($seed);

# The planner dies at random moments.
for (1 .. 3)
{
	go_on_for(1.5 + $driver->(2000) / 1000);
	kill_planner("SELECT true");
}

# It dies amid the chunks of a large transaction, others at work.
go_on_for(0.5);
$node->safe_psql('postgres', "INSERT INTO a (who) SELECT 'ann' FROM generate_series(1, $large)");
my $done = "SELECT count(*) FROM notify.message m JOIN notify.event e ON e.id = m.event
	WHERE e.xid = (SELECT xid FROM notify.event GROUP BY 1 HAVING count(*) = $large)";
kill_planner("SELECT ($done) BETWEEN 1 AND $large / 2 AND EXISTS (SELECT FROM notify.backlog)");
go_on_for(1);

# The server restarts with transactions prepared, and they end in what follows.
$node->safe_psql('postgres', "BEGIN; INSERT INTO $_ (who) SELECT 'ann' FROM generate_series(1, 3 * $batch); PREPARE TRANSACTION 'over $_'") for 'a', 'b';
$node->restart;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'over _'"), '2', 'prepared transactions outlive the server');
go_on_for(2);
$node->safe_psql('postgres', q{COMMIT PREPARED 'over a'});
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'over b'});
go_on_for(2);

# All ends.
$_->{run} && $_->{run}->finish for @session;
my $ends = $node->safe_psql('postgres', q{SELECT format('%s PREPARED %L;', CASE WHEN row_number() OVER (ORDER BY gid) % 3 = 0 THEN 'ROLLBACK' ELSE 'COMMIT' END, gid) FROM pg_prepared_xacts});
$node->safe_psql('postgres', $_) for split /\n/, $ends;
wait_for_drain($node);
$node->safe_psql('postgres', 'INSERT INTO a DEFAULT VALUES');    # what is planned again is planned by now
wait_for_drain($node);

is($node->safe_psql('postgres', 'SELECT * FROM wanted EXCEPT ALL SELECT * FROM planned ORDER BY n LIMIT 20'), '', 'every committed event is planned');
is($node->safe_psql('postgres', 'SELECT * FROM planned EXCEPT ALL SELECT * FROM wanted ORDER BY n LIMIT 20'), '', 'once, and none else');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM wanted) - (SELECT count(DISTINCT message) FROM notify.inbox)'), '0', 'and delivered');

# It was no idle run.
my %seen = map { split / / } split /\n/, $node->safe_psql('postgres', q{
	SELECT 'events ' || count(*) FROM notify.event UNION ALL
	SELECT 'transactions ' || count(DISTINCT xid) FROM notify.event UNION ALL
	SELECT 'large ' || count(*) FROM (SELECT FROM notify.event GROUP BY xid HAVING count(*) > 40) AS x UNION ALL
	SELECT 'disorder ' || count(*) FROM (SELECT m.event < lag(m.event) OVER (ORDER BY m.id) AS back FROM notify.message m) AS x WHERE back UNION ALL
	SELECT 'updates ' || count(*) FROM notify.event WHERE op = 'U' UNION ALL
	SELECT 'deletes ' || count(*) FROM notify.event WHERE op = 'D'});
note(join ', ', map { "$_ $seen{$_}" } sort keys %seen);
cmp_ok($seen{transactions}, '>', 100, 'many transactions');
cmp_ok($seen{$_}, '>', 5, $_) for qw(large disorder updates deletes);
my @unexpected = grep { /ERROR:/ && !/an exception is wanted|division by zero|could not serialize|prepared transaction|deadlock|transaction is aborted|savepoint "s" does not exist/ }
  map { split /\n/, slurp_file($_) } glob "$script/*.err";
is(join("\n", @unexpected), '', 'no statement failed that should not');

$node->stop;
done_testing();

# A function that gives integers from 0 up to below its argument (a linear congruential generator).
sub random_numbers
{
	my ($state) = @_;
	return sub {
		$state = ($state * 1103515245 + 12345) % 2**31 for 1 .. 3;
		return ($state >> 8) % $_[0];
	};
}

# Sessions work for so many seconds: each runs script after script, also when the server is away.
sub go_on_for
{
	my ($seconds) = @_;
	my $end = time + $seconds;
	while (time < $end)
	{
		next_script($_) for grep { !$_->{run} || !$_->{run}->pumpable } @session;
		usleep(10_000);
	}
	return;
}

sub next_script
{
	my ($s) = @_;
	my $file = "$script/$s->{number}-" . ++$s->{scripts};
	$s->{run}->finish if $s->{run};
	append_to_file("$file.sql", 'SELECT setseed(' . $s->{random}->(1000) / 1000 . ");\n"
		  . join('', map { transaction($s->{random}, "$s->{number}-$s->{scripts}-$_") } 1 .. 5));
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', "$file.sql" ], '<', '/dev/null', '>', '/dev/null', '2>', "$file.err");
	return;
}

# One transaction at random, or the end of one that was prepared.
sub transaction
{
	my ($random, $name) = @_;
	my $kind = $random->(100);
	return change($random, 3) if $kind < 10;
	return change($random, 400) if $kind < 17;
	return end_prepared($random) if $kind < 32;
	my $begin = $random->(5) ? 'BEGIN' : 'BEGIN ISOLATION LEVEL ' . ('REPEATABLE READ', 'SERIALIZABLE')[ $random->(2) ];
	my $body = join '', map { piece($random) } 0 .. $random->(4);
	$body = change($random, 3) . 'SELECT pg_sleep(' . $random->(15) / 10 . ");\n" . $body if $kind < 45;
	$body .= subtransactions(64 + $random->(60)) if $kind >= 90;
	my $end = $kind < 80 || !$random->(3) ? 'COMMIT' : $kind < 88 ? 'ROLLBACK' : "PREPARE TRANSACTION '$name'";
	return "$begin;\n$body$end;\n";
}

# A change, or some under a savepoint that are kept, rolled back, or fail.
sub piece
{
	my ($random) = @_;
	my $kind = $random->(8);
	return change($random, $kind ? 4 : 60) if $kind < 4;
	my $inner = join '', map { $random->(4) ? change($random, 4) : piece($random) } 0 .. $random->(2);
	return "SAVEPOINT s;\n${inner}RELEASE s;\n" if $kind == 4;
	return "SAVEPOINT s;\n${inner}SELECT 1 / 0;\nROLLBACK TO s;\nRELEASE s;\n" if $kind == 5;
	return "SAVEPOINT s;\n${inner}ROLLBACK TO s;\n" . change($random, 2) . "RELEASE s;\n";
}

# An INSERT, UPDATE or DELETE of up to so many rows, none of which another session holds.
sub change
{
	my ($random, $most) = @_;
	my ($table, $rows, $op) = (('a', 'b')[ $random->(2) ], 1 + $random->($most), $random->(10));
	return "INSERT INTO $table (who) SELECT 'ann' FROM generate_series(1, $rows);\n" if $op < 5;
	my $some = "WHERE id IN (SELECT id FROM $table ORDER BY id DESC OFFSET floor(random() * 50) LIMIT $rows FOR UPDATE SKIP LOCKED)";
	return "UPDATE $table SET n = nextval('n') $some;\n" if $op < 8;
	return "DELETE FROM $table $some;\n";
}

# So many subtransactions, every third of which fails.
sub subtransactions
{
	my ($count) = @_;
	return qq{DO \$\$ BEGIN
	FOR i IN 1..$count LOOP
		BEGIN
			INSERT INTO a DEFAULT VALUES;
			IF i % 3 = 0 THEN RAISE EXCEPTION 'an exception is wanted'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END \$\$;
};
}

# Whoever's it is, but for those that wait for the restart.
sub end_prepared
{
	my ($random) = @_;
	my $how = $random->(3) ? 'COMMIT' : 'ROLLBACK';
	return "SELECT format('$how PREPARED %L', gid) FROM pg_prepared_xacts WHERE gid NOT LIKE 'over _' ORDER BY random() LIMIT 1 \\gexec\n";
}

# kill -9 when the query gives true, the sessions at work; then until another plans.
sub kill_planner
{
	my ($when) = @_;
	my $pid;
	my $running = "SELECT pid FROM notify._workers() WHERE kind = 'planner' AND state = 'running'";
	wait_until('the moment to kill the planner', sub {
		go_on_for(0.001);
		$pid = $node->safe_psql('postgres', "$running AND ($when)");
		return $pid;
	}) or return;
	ok(kill('KILL', $pid), 'the planner dies');
	return wait_for_sql($node, "SELECT count(*) = 1 FROM ($running) AS p WHERE pid <> $pid");
}
