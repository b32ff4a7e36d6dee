# ALTER EXTENSION UPDATE makes of an old database what a new one is, under load:
# every object of a fresh install, of one that was updated from each earlier
# release with a product's rules, people and messages in it, and of both after a
# dump and restore, is the same (test/lib/objects.sql says what is looked at);
# writers never wait long, and every event of theirs is delivered.
# Would catch: a table, index, constraint, grant, comment or column that only new
# databases have; a function that stayed as it was; a table that pg_dump forgets;
# a user's own grants lost; business writes that fail or stand still between the
# new library and the update; workers that crash there, or stay away after it.

use strict;
use warnings;
use Cwd qw(getcwd);
use File::Copy qw(copy);
use IPC::Run;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $top = getcwd();
my $dir = PostgreSQL::Test::Utils::tempdir;
my $extensions = installed_extensions();
my %releases = map { m{--([\d.]+)\.sql$} ? ($1 => $_) : () } glob "$top/sql/upgrade/notify_pg--*.sql";
my @placed;
END { unlink @placed; }
place("notify_pg--$_.sql", slurp_file($releases{$_})) for keys %releases;

my $http = http_sink();
my $node = notify_cluster('main', extension => 0,
	conf => "notify_pg.poll_interval = '50ms'\nmax_connections = 40\nautovacuum_naptime = 1\n");
$node->safe_psql('postgres', 'CREATE ROLE bob LOGIN; CREATE ROLE shop LOGIN; CREATE ROLE boss SUPERUSER LOGIN; CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION notify_pg');
my $current = $node->safe_psql('fresh', 'SELECT extversion FROM pg_extension WHERE extname = $$notify_pg$$');
my %fresh = objects('fresh');
cmp_ok(scalar keys %fresh, '>', 800, 'objects are looked at');
same_objects(restored('fresh'), 'restored from a dump of a fresh install');

sees_differences();
$node->safe_psql('postgres', 'CREATE DATABASE attached');
$node->safe_psql('attached', 'CREATE EXTENSION notify_pg');
attach('attached');

for my $release (sort keys %releases)
{
	my $db = "from_$release";
	$node->safe_psql('postgres', qq{CREATE DATABASE "$db"});
	$node->safe_psql($db, "CREATE EXTENSION notify_pg VERSION '$release'");
	attach($db);
	furnish($db);
	waits($db, $release);
	my %before = objects($db);
	$node->safe_psql($db, 'BEGIN; ALTER EXTENSION notify_pg UPDATE; ROLLBACK');
	is_deeply({ objects($db) }, \%before, 'an update that is rolled back leaves everything as it was');
	update_under_load($db, $release);
	same_objects($db, "updated from $release");
	same_rows($db, "updated from $release");
	is(triggers($db), triggers('attached'), 'attached tables have the triggers that attaching now gives');
	my $copy = restored($db);
	same_objects($copy, "restored from a dump of one updated from $release");
	$node->safe_psql($copy, q{INSERT INTO notify.secret VALUES ('key', 'whsec_cGxhbnRlZF9zZWNyZXRfbWFya2Vy')});    # no dump has it
	$node->safe_psql($copy, 'SELECT notify.arm()');    # looks at what could not be checked while it was restored
	for my $what (q{SELECT * FROM notify.rule}, q{SELECT * FROM notify.rule_version}, q{SELECT * FROM notify.template},
		q{SELECT * FROM notify.template_version}, q{SELECT to_jsonb(p) - 'problem' FROM notify.provider p}, q{SELECT * FROM notify.recipient},
		q{SELECT * FROM notify.address}, q{SELECT * FROM notify.recipient_source}, q{SELECT * FROM notify.source}, bobs_grants())
	{
		is(contents($copy, $what), contents($db, $what), "the copy has what the original has: $what");
	}
}
there_and_back("from_$_") for (sort keys %releases)[0];
refused();

done_testing();

# ------------------------------------------------------------------ objects ---

sub installed_extensions
{
	my ($share) = run_command([ 'pg_config', '--sharedir' ]);
	chomp $share;
	return "$share/extension";
}

# A script beside the installed ones, until the test ends.
sub place
{
	my ($name, $text) = @_;
	push @placed, "$extensions/$name";
	unlink $placed[-1];
	append_to_file($placed[-1], $text);
}

# name => definition of everything in a database, but for what was granted to bob;
# with $after, as it would be after that statement.
sub objects
{
	my ($db, $after) = @_;
	my $lines = $node->safe_psql($db, 'BEGIN; ' . ($after // '') . ";\n" . slurp_file("$top/test/lib/objects.sql") . "\nROLLBACK;");
	my %objects;
	for my $line (split /\n/, $lines)
	{
		my ($name, $definition) = split /\t/, $line, 2;
		$definition =~ s/(?<="acl": \[)([^\]]*)/join ', ', grep { !m{^"bob: } } split m{, (?=")}, $1/e;
		$definition =~ s/"acl": \[\]/"acl": null/;
		push @{ $objects{$name} }, $definition;    # day partitions that differ show as two
	}
	return map { $_ => join("\n", sort @{ $objects{$_} }) } keys %objects;
}

sub differences
{
	my (%objects) = @_;
	return grep { ($fresh{$_} // '') ne ($objects{$_} // '') } sort keys %{ { %fresh, %objects } };
}

sub same_objects
{
	my ($db, $what) = @_;
	my %objects = objects($db);
	my @differ = differences(%objects);

	is(scalar @differ, 0, "$what: everything is as in a fresh install");
	diag("$_\n    fresh: " . ($fresh{$_} // 'not there') . "\n    $db: " . ($objects{$_} // 'not there')) for @differ;
}

# One difference each, and whether it is seen.
sub sees_differences
{
	my ($day) = split /\n/, $node->safe_psql('fresh', q{SELECT 'notify.' || leaf FROM notify._partitions('event')});
	for my $case (
		[ 'column rule.stray' => 'ALTER TABLE notify.rule ADD COLUMN stray int' ],
		[ 'column address.created_at' => 'ALTER TABLE notify.address DROP COLUMN verified_at' ],
		[ 'column provider.max_attempts' => 'ALTER TABLE notify.provider ALTER max_attempts SET DEFAULT 11' ],
		[ 'column inbox.body' => 'ALTER TABLE notify.inbox ALTER body DROP NOT NULL' ],
		[ 'column rule.condition' => 'ALTER TABLE notify.rule ALTER condition SET STORAGE external' ],
		[ 'column rule.name' => q{COMMENT ON COLUMN notify.rule.name IS 'another'} ],
		[ 'column event_DAY.truncated' => "ALTER TABLE $day ALTER truncated DROP DEFAULT" ],
		[ 'column secret.name' => 'REVOKE SELECT (name) ON notify.secret FROM notify_admin' ],
		[ 'relation ready' => 'ALTER TABLE notify.ready SET (fillfactor = 61)' ],
		[ 'relation message_recipient' => 'DROP INDEX notify.message_recipient' ],
		[ 'relation stray' => 'CREATE TABLE notify.stray ()' ],
		[ 'relation id_seq' => 'ALTER SEQUENCE notify.id_seq INCREMENT 2' ],
		[ 'relation delivery' => 'ALTER VIEW notify.delivery OWNER TO bob' ],
		[ 'relation stat_worker' => 'CREATE OR REPLACE VIEW notify.stat_worker AS SELECT * FROM notify._workers() WHERE true' ],
		[ 'relation inbox' => 'ALTER TABLE notify.inbox ENABLE ROW LEVEL SECURITY' ],
		[ 'policy stray on inbox' => 'CREATE POLICY stray ON notify.inbox USING (true)' ],
		[ 'relation stat_queue' => 'ALTER EXTENSION notify_pg DROP VIEW notify.stat_queue' ],
		[ 'relation reason' => q{DELETE FROM pg_init_privs WHERE objoid = 'notify.reason'::regclass} ],
		[ 'constraint recipient_attributes_check on recipient' => 'ALTER TABLE notify.recipient DROP CONSTRAINT recipient_attributes_check' ],
		[ 'trigger rule_invalidate on rule' => 'ALTER TABLE notify.rule ENABLE TRIGGER rule_invalidate' ],
		[ 'function notify.cancel(bigint,text)' => 'ALTER FUNCTION notify.cancel(bigint, text) RESET search_path' ],
		[ 'function notify.emit(text,text,jsonb,text)' => 'ALTER FUNCTION notify.emit(text, text, jsonb, text) SECURITY INVOKER' ],
		[ 'function notify._plan(integer)' => 'GRANT EXECUTE ON FUNCTION notify._plan(integer) TO PUBLIC' ],
		[ 'column decision.stray' => 'ALTER TYPE notify.decision ADD ATTRIBUTE stray int' ],
		[ 'type decision' => 'REVOKE USAGE ON TYPE notify.decision FROM PUBLIC' ],
		[ 'event trigger notify_watch_ddl' => 'ALTER EVENT TRIGGER notify_watch_ddl DISABLE' ],
		[ 'dumped notify.rule' => q{UPDATE pg_extension SET extcondition = array_replace(extcondition, '', 'WHERE false') WHERE extname = 'notify_pg'} ],
		[ 'dumped notify.address' => q{UPDATE pg_extension SET extconfig = array_remove(extconfig, 'notify.address'::regclass),
			extcondition = extcondition[2:] WHERE extname = 'notify_pg'} ],
		[ 'schema notify' => 'GRANT USAGE ON SCHEMA notify TO PUBLIC' ],
		[ 'default privileges of postgres on f' => 'ALTER DEFAULT PRIVILEGES IN SCHEMA notify GRANT EXECUTE ON FUNCTIONS TO notify_app' ],
		[ 'role notify_report' => 'ALTER ROLE notify_report CREATEDB' ])
	{
		my ($object, $statement) = @$case;
		my @seen = differences(objects('fresh', $statement));
		ok((grep { $_ eq $object } @seen), "it is seen: $object") or diag("$statement; seen: @seen");
	}
}

# What a fresh install has in its tables, but for where it stands, an old one has too.
sub same_rows
{
	my ($db, $what) = @_;
	my @tables = split /\n/, $node->safe_psql('fresh', q{
		SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
		  AND c.relname NOT IN ('instance', 'origin', 'cursor', 'mark', 'backlog') ORDER BY 1});

	for my $table (@tables)
	{
		my $rows = $table eq 'notify.secret' ? "SELECT name FROM $table" : "SELECT * FROM $table";	# each has keys of its own
		my %has = map { $_ => 1 } split /\n/, contents($db, $rows);
		my @lacking = grep { !$has{$_} } split /\n/, contents('fresh', $rows);
		is("@lacking", '', "$what: $table has the rows of a fresh install") if @lacking || $table eq 'notify.reason';
	}
}

# Ours on the app's tables.
sub triggers
{
	my ($db) = @_;
	return $node->safe_psql($db, q{SELECT pg_get_triggerdef(t.oid), t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal ORDER BY 1});
}

sub contents
{
	my ($db, $query) = @_;
	return $node->safe_psql($db, "SELECT to_jsonb(q) FROM ($query) AS q ORDER BY 1");
}

# Dumps a database, restores it into a new one and gives its name. The planner's
# upkeep looks at it when rows are there and triggers are not.
sub restored
{
	my ($db) = @_;
	my $copy = "restored_$db";
	$node->safe_psql('postgres', qq{CREATE DATABASE "$copy"});
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$db", $node->connstr($db) ], "dumps $db");
	my @restore = ('pg_restore', '-e', '-d', $node->connstr($copy), "$dir/$db");
	$node->command_ok([ @restore, '--section=pre-data', '--section=data' ], "restores the rows of $db");
	$node->safe_psql($copy, 'SELECT notify._recheck_all()');
	$node->command_ok([ @restore, '--section=post-data' ], "restores $db");
	return $copy;
}

# ------------------------------------------------------------ an old database ---

# The app's tables, attached.
sub attach
{
	my ($db) = @_;
	$node->safe_psql($db, qq{
		CREATE TABLE orders (id bigserial PRIMARY KEY, customer text, status text);
		CREATE TABLE users (id text PRIMARY KEY, mail text, lang text);
		GRANT ALL ON orders, users, orders_id_seq TO shop;
		GRANT notify_app TO shop;
		INSERT INTO users SELECT 'u' || n, 'u' || n || '\@example.com', 'en' FROM generate_series(1, 20) AS n;
		INSERT INTO users VALUES ('gone', 'gone\@example.com', 'en');
		SELECT notify.attach('orders', 'new.customer', columns => '{-status}');
		SELECT notify.attach_recipients('users', id => 'id', addresses => '{"email": "mail"}', locale => 'lang')});
}

# A shop in production: everything the first release knew, and history.
sub furnish
{
	my ($db) = @_;
	$node->safe_psql($db, qq{
		INSERT INTO notify.secret VALUES ('key', 'whsec_cGxhbnRlZF9zZWNyZXRfbWFya2Vy');
		INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}'), ('in', 'transactional', '{inbox}');
		INSERT INTO notify.provider (name, channel, adapter, settings) VALUES ('inbox', 'inbox', 'inbox', '{}'),
			('hook', 'webhook', 'webhook', '{"url": "@{[$http->url("/$db")]}", "signing_secret": {"secret": "key"}}');
		INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', 'order {{ new.id }}'), ('e', 'webhook', '{{ new.fact }}'), ('t', 'inbox', 'order {{ new.id }}');
		INSERT INTO notify.rule (name, source, ops, condition, template, category) VALUES ('r', 'orders', '{insert}', 'new.id > 0', 't', 'c');
		INSERT INTO notify.rule (name, source, ops, template, category, priority, delay) VALUES ('late', 'orders', '{delete}', 't', 'in', 3, '1 day');
		UPDATE notify.rule SET condition = 'new.id > 0 AND new.customer IS NOT NULL' WHERE name = 'r';
		INSERT INTO notify.rule (name, event_type, template, category) VALUES ('facts', 'fact', 'e', 'c');
		INSERT INTO orders (customer, status) SELECT 'u' || 1 + n % 20, 'waiting' FROM generate_series(1, 50) AS n;
		DELETE FROM orders WHERE id = 7;
		SELECT notify.emit('fact', 'u1', '{"fact": "emitted before"}');
		SELECT notify._plan(1000);
		INSERT INTO orders (customer) VALUES ('u3');
		INSERT INTO notify.outcome (message, verdict, attempt, provider, class) SELECT id, 'retrying', 1, 'hook', 'retry' FROM notify.message LIMIT 5;
		INSERT INTO notify.inbox (recipient, message, body) VALUES ('u1', 1, 'of old');
		CREATE VIEW mine AS SELECT message, status, recipient FROM notify.delivery;
		GRANT USAGE ON SCHEMA notify TO bob;
		GRANT SELECT ON ALL TABLES IN SCHEMA notify TO bob;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA notify TO bob;
		GRANT SELECT (body) ON notify.inbox TO bob WITH GRANT OPTION});
	cmp_ok($node->safe_psql($db, 'SELECT ready FROM notify.status()'), '>=', 50, 'messages wait in the old database');
}

# Everything bob was given, on objects that a fresh install has.
sub bobs_grants
{
	return q{SELECT 'relation' AS kind, c.oid::regclass::text AS name, x.privilege_type, x.is_grantable
		FROM pg_class c, aclexplode(c.relacl) AS x WHERE c.relnamespace = 'notify'::regnamespace AND NOT c.relispartition AND x.grantee = 'bob'::regrole
		UNION ALL SELECT 'column', a.attrelid::regclass || '.' || a.attname, x.privilege_type, x.is_grantable
		FROM pg_attribute a, aclexplode(a.attacl) AS x WHERE x.grantee = 'bob'::regrole
		UNION ALL SELECT 'function', p.oid::regprocedure::text, x.privilege_type, x.is_grantable
		FROM pg_proc p, aclexplode(p.proacl) AS x WHERE p.pronamespace = 'notify'::regnamespace AND x.grantee = 'bob'::regrole};
}

# The new library over the old objects: the shop goes on, the workers wait and say so.
sub waits
{
	my ($db, $release) = @_;
	my $log = qr/notify_pg plans and sends nothing in database \d+\n.*DETAIL: .*of release \Q$current\E and .* of \Q$release\E/;

	ok(wait_for_sql($node, q{SELECT state = 'stopped' AND problems::text ~ 'ALTER EXTENSION notify_pg UPDATE' FROM notify.status()}, 't', $db),
		'status says that the update is missing');
	ok(wait_for_sql($node, q{SELECT string_agg(kind || ' ' || state, ', ' ORDER BY kind) FROM notify.stat_worker WHERE kind <> 'launcher'},
			'dispatcher waiting, planner waiting', $db), 'the workers wait');
	business($db, 'between the new library and the update');
	$node->safe_psql($db, q{
		INSERT INTO notify.rule (name, source, template, category, enabled) VALUES ('made between', 'orders', 't', 'c', false);
		UPDATE notify.provider SET priority = 1 WHERE name = 'hook';
		SELECT notify.explain('orders', '1'), notify.content((SELECT min(id) FROM notify.message))});
	my $passes = $node->safe_psql($db, q{SELECT loops FROM notify._workers() WHERE kind = 'launcher'});
	wait_for_sql($node, "SELECT loops >= $passes + 2 FROM notify._workers() WHERE kind = 'launcher'", 't', $db);
	is(scalar(() = slurp_file($node->logfile) =~ /$log/g), 1, 'the log has it once');
	is(scalar(grep { $_->{path} eq "/$db" } $http->entries), 0, 'nothing is sent');
}

# What the app does, as the app.
sub business
{
	my ($db, $when) = @_;
	my ($out, $err) = ('', '');
	my $status = $node->psql($db, q{
		SET ROLE shop;
		BEGIN; INSERT INTO orders (customer) VALUES ('u2'); UPDATE orders SET status = 'paid' WHERE id = 3; DELETE FROM orders WHERE id = 9; COMMIT;
		UPDATE users SET mail = 'new@example.com' WHERE id = 'u5'; INSERT INTO users VALUES ('late' || random(), 'late@example.com'); DELETE FROM users WHERE id = 'gone';
		SELECT notify.emit('fact', 'u1', '{"fact": "emitted between"}'), notify.send('u1', 't', '{"id": 1}', 'in');
		TRUNCATE users;
		INSERT INTO users SELECT 'u' || n, 'u' || n || '@example.com', 'en' FROM generate_series(1, 20) AS n},
		on_error_stop => 1, stdout => \$out, stderr => \$err);
	is($status, 0, "the shop goes on $when") or diag($err);
}

# ------------------------------------------------------------------ under load ---

# Writers that log how long each of their statements took.
sub writers
{
	my ($db, $seconds) = @_;
	my $prefix = "$dir/load_$db" . '_' . int(time * 1000);
	my %scripts = (
		order => "INSERT INTO orders (customer, status) VALUES ('u' || 1 + floor(random() * 20), 'new');\n",
		user => "UPDATE users SET mail = 'm' || floor(random() * 1000) || '\@example.com' WHERE id = 'u' || 1 + floor(random() * 20);\n",
		emit => "SELECT notify.emit('fact', 'u1', jsonb_build_object('fact', 'loaded'));\n");
	my @files;
	for my $name (sort keys %scripts)
	{
		append_to_file("$prefix.$name", $scripts{$name});
		push @files, '-f', "$prefix.$name" . ($name eq 'order' ? '@3' : '@1');
	}
	my $run = { prefix => $prefix, out => '', err => '' };
	$run->{pgbench} = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-R', '200', '-T', $seconds, '-l', "--log-prefix=$prefix",
		@files, $node->connstr($db) . ' user=shop' ], '>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

# Ends them: none may have failed, and the longest statement is bounded: not counted
# is how late pgbench came to it, which a machine that is busy elsewhere makes long.
sub end_writers
{
	my ($run, $what) = @_;
	$run->{pgbench}->finish;
	my $failed = () = $run->{err} =~ /ERROR|abort/g;
	is($failed, 0, "$what: no writer failed") or diag($run->{err});
	my @times = sort { $a <=> $b } map { my @field = split; $field[2] - $field[6] } map { split /\n/, slurp_file($_) } grep { /\.\d+$/ } glob "$run->{prefix}.*";
	cmp_ok(scalar @times, '>', 100, "$what: writers wrote");
	cmp_ok($times[-1] / 1e6, '<', 5, sprintf('%s: %d statements, the longest %.0f ms, the 99th percentile %.1f ms',
			$what, scalar @times, $times[-1] / 1e3, $times[ 0.99 * @times ] / 1e3));
}

# Runs psql beside the test.
sub beside
{
	my ($db, $sql) = @_;
	my $run = { out => '', err => '', begun => time };
	$run->{psql} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db) . ' user=boss', '-c', $sql ],
		'<', '/dev/null', '>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

sub finished
{
	my ($run, $what) = @_;
	$run->{psql}->finish;
	my $took = time - $run->{begun};
	is($run->{psql}->result(0) // 0, 0, sprintf('%s (%.2f s)', $what, $took)) or diag($run->{err});
	return $took;
}

# A transaction that has one of the tables the update needs: it waits for that
# one, and nobody waits behind it.
sub update_under_load
{
	my ($db, $release) = @_;
	my ($locked) = slurp_file("$extensions/notify_pg--$release--$current.sql") =~ /LOCK TABLE ([\w.]+)/;
	my $load = writers($db, 12);
	wait_for_sql($node, 'SELECT count(*) > 200 FROM orders', 't', $db);
	my $kept = contents($db, bobs_grants());
	# An autovacuum that will not end by itself soon.
	my $slow = 'autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1';
	$node->safe_psql($db, qq{
		INSERT INTO notify.template_version (id, name, channel, locale, variant, body) SELECT 1000000 + n, 'x', 'sms', 'x', n, repeat('x', 100) FROM generate_series(1, 20000) AS n;
		ALTER TABLE notify.template_version SET ($slow);
		DELETE FROM notify.template_version WHERE id > 1000000});
	ok(wait_for_sql($node, q{SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'notify.template_version'::regclass}, 1, $db), 'an autovacuum is at work');
	my $holder = $node->background_psql($db, on_error_stop => 1);
	$holder->query_safe("BEGIN; INSERT INTO orders (customer) VALUES ('u4');" . ($locked ? " LOCK TABLE $locked IN ROW EXCLUSIVE MODE;" : ''));
	my $count = $node->safe_psql($db, 'SELECT count(*) FROM orders');
	my $update = beside($db, 'ALTER EXTENSION notify_pg UPDATE');
	wait_for_sql($node, "SELECT count(*) > $count + 100 FROM orders", 't', $db);
	is($node->safe_psql($db, 'SELECT extversion FROM pg_extension WHERE extname = $$notify_pg$$'), $release,
		'it waits for a transaction that has what it needs, while others write') if $locked;
	$holder->query_safe('COMMIT');
	$holder->quit;
	my $rest = time;
	finished($update, "updated from $release under load, waiting for a transaction");
	cmp_ok(time - $rest, '<', 15, sprintf('%.2f s from its end, with a slow autovacuum in the way', time - $rest));
	$node->safe_psql($db, 'ALTER TABLE notify.template_version RESET (' . $slow =~ s/ = [^,]*//gr . ')');
	ok(wait_for_sql($node, q{SELECT planner IS NOT NULL AND dispatchers > 0 FROM notify.status()}, 't', $db), 'the workers go on with the new release');
	end_writers($load, "update from $release");
	delivered($db, "update from $release");
	ok(wait_for_sql($node, "SELECT state FROM notify.status()", 'ok', $db), 'all is well') or diag($node->safe_psql($db, 'SELECT * FROM notify.status()'));
	my %after = map { $_ => 1 } split /\n/, contents($db, bobs_grants());
	my %gone = map { $_ => 1 } grep { !$after{$_} } split /\n/, $kept;
	my @missing = grep { my ($name) = /"name": "([^"]*)"/; exists $fresh{"function $name"} || exists $fresh{ "relation " . $name =~ s/^notify\.//r } } keys %gone;
	is("@missing", '', 'who was granted something still has it');
	is($node->safe_psql($db, 'SELECT count(*) > 200 FROM mine'), 't', 'a view of the app\'s own on ours still works');
}

# Every order that committed arrived; how often one arrived twice is bounded by
# what was in flight whenever workers had to stop.
sub delivered
{
	my ($db, $what, $stops) = @_;
	ok(wait_for_sql($node, q{SELECT unplanned + ready + sending = 0 FROM notify.status()}, 't', $db), "$what: all is sent");
	my @orders = split /\n/, $node->safe_psql($db, q{SELECT e.new ->> 'id' FROM notify.event e WHERE e.op = 'I'
		AND e.source = 'orders'::regclass});
	my %arrived;
	$arrived{ $_->{body} }++ for $http->entries("/$db");
	my $messages = $node->safe_psql($db, q{SELECT count(*) FROM notify.message WHERE channel = 'webhook' AND verdict = 'send'});
	my @lost = grep { !$arrived{"order $_"} } @orders;
	is(scalar @lost, 0, "$what: each of " . @orders . ' orders was told of') or diag('lost: ' . join(' ', grep { defined } @lost[ 0 .. 9 ]));
	my $total = 0;
	$total += $_ for values %arrived;
	cmp_ok($total, '>=', $messages, "$what: every message was sent");
	cmp_ok($total - $messages, '<=', 100 * ($stops // 0), "$what: @{[$total - $messages]} of $messages were sent again");
	is($node->safe_psql($db, 'SELECT (SELECT count(*) FROM orders) <= ' . @orders), 't', "$what: every order has its event");
}

# ------------------------------------------------- with workers in full swing ---

# The scripts to a release that only has other objects, and back: made by the tool
# from sql/ and a copy of it with a column more in the log that writers write.
sub make_next
{
	my @order = map { "$_.sql" } split ' ', (slurp_file("$top/Makefile") =~ s/\\\n//gr =~ /^SQL_ORDER = (.*)/m)[0];
	my ($now, $next) = map { my $tree = "$dir/$_"; mkdir $tree; mkdir "$tree/upgrade"; copy("$top/sql/upgrade/generate", "$tree/upgrade"); $tree } qw(now next);
	my $installed = '';

	for my $file (grep { -e "$top/sql/$_" } @order)
	{
		my $text = slurp_file("$top/sql/$file");
		append_to_file("$now/$file", $text);
		$text =~ s/\binstruction\s+jsonb\n(?=\) PARTITION)/instruction jsonb,\n\tstray text\n/ or die 'no column to follow' if $file eq 'event.sql';
		$text =~ s/IF library <> wanted/IF false/ or die 'no check' if $file eq 'schema.sql';
		append_to_file("$next/$file", $text);
		$installed .= $text;
	}
	append_to_file("$next/upgrade/notify_pg--$current.sql", slurp_file("$extensions/notify_pg--$current.sql"));
	append_to_file("$next/upgrade/$current.sql", "ALTER TABLE notify.event ADD COLUMN stray text;\n");
	append_to_file("$now/upgrade/notify_pg--99.0.sql", $installed);
	append_to_file("$now/upgrade/99.0.sql", "ALTER TABLE notify.event DROP COLUMN stray;\n");
	for my $step ([ $next, $current, '99.0' ], [ $now, '99.0', $current ])
	{
		my ($tree, $from, $to) = @$step;
		my ($script, $err) = ('', '');
		IPC::Run::run([ '/usr/bin/perl', "$tree/upgrade/generate", $from, grep { -e } map { "$tree/$_" } @order ], '>', \$script, '2>', \$err)
		  or die "generate: $err";
		like($script, qr/LOCK TABLE notify\.event IN ACCESS EXCLUSIVE/, "from $from to $to the log itself is altered");
		place("notify_pg--$from--$to.sql", $script);
	}
}

# Updates while workers are in full swing and a transaction that wrote an event is open.
sub update_behind
{
	my ($db, $to) = @_;
	my $holder = $node->background_psql($db, on_error_stop => 1);
	$holder->query_safe("BEGIN; INSERT INTO orders (customer) VALUES ('u4')");
	my $count = $node->safe_psql($db, 'SELECT count(*) FROM orders');
	my $update = beside($db, "ALTER EXTENSION notify_pg UPDATE TO '$to'");
	wait_for_sql($node, "SELECT count(*) > $count + 50 FROM orders", 't', $db);
	isnt($node->safe_psql($db, 'SELECT extversion FROM pg_extension WHERE extname = $$notify_pg$$'), $to, "the update to $to waits");
	$holder->query_safe('COMMIT');
	$holder->quit;
	my $rest = time;
	finished($update, "updated to $to");
	cmp_ok(time - $rest, '<', 15, sprintf('%.2f s from the end of what it waited for', time - $rest));
}

# The workers leave what they do, wait, and go on.
sub there_and_back
{
	my ($db) = @_;
	make_next();
	my $load = writers($db, 12);
	my $sent = $node->safe_psql($db, q{SELECT sum(sent) FROM notify._workers()});
	wait_for_sql($node, "SELECT sum(sent) > $sent + 100 FROM notify._workers()", 't', $db);
	update_behind($db, '99.0');
	ok(wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.stat_worker WHERE kind <> 'launcher' AND state = 'waiting' AND last_error ~ 'of 99.0:'}, 't', $db),
		'the workers wait for the library');
	update_behind($db, $current);
	end_writers($load, 'there and back');
	delivered($db, 'there and back', 1);

	# An update that is killed on its way: nothing happened, and the workers come back.
	place("notify_pg--$current--stuck.sql", 'SELECT pg_sleep(600);');
	my $stuck = beside($db, q{ALTER EXTENSION notify_pg UPDATE TO 'stuck'});
	ok(wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^notify_pg (planner|dispatcher)' AND datname = current_database()}, '0', $db), 'no worker while it runs');
	$node->safe_psql($db, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^ALTER EXTENSION.*stuck'});
	$stuck->{psql}->finish;
	ok(wait_for_sql($node, q{SELECT state = 'ok' FROM notify.status()}, 't', $db), 'killed: the workers are back') or diag($node->safe_psql($db, 'SELECT * FROM notify.status()'));
	$node->safe_psql($db, q{INSERT INTO orders (customer) VALUES ('u4')});
	delivered($db, 'after an update that was killed', 1);
}

# New objects under an old library are refused, at an update and at an install.
sub refused
{
	my ($check) = slurp_file("$top/sql/schema.sql") =~ /^(CREATE FUNCTION notify._library_release.*?;\n.*?^DO .*?^\$\$;\n)/ms;
	ok($check, 'the check is there');
	place('notify_pg--9.9.sql', $check);
	place("notify_pg--$current--9.9.sql", $check =~ s/CREATE FUNCTION/CREATE OR REPLACE FUNCTION/r);
	for my $case ([ 'fresh', q{ALTER EXTENSION notify_pg UPDATE TO '9.9'} ], [ 'postgres', q{CREATE EXTENSION notify_pg VERSION '9.9'} ])
	{
		my ($db, $sql) = @$case;
		my ($out, $err) = ('', '');
		$node->psql($db, $sql, stdout => \$out, stderr => \$err);
		like($err, qr/another release of the library.*\n.*DETAIL:  The library is of \Q$current\E, the objects would be of 9\.9\.\nHINT:  Restart/s, "$sql is refused");
	}
	ok(wait_for_sql($node, q{SELECT planner IS NOT NULL FROM notify.status()}, 't', 'fresh'), 'and the workers go on as before');
}
