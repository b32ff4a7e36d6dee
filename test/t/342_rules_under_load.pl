# Rules are edited, switched off, renamed, given to another owner, deleted and
# made again while writers write: the next statement of every session obeys, and
# what was captured keeps the version it matched.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('load', conf => "log_min_messages = warning\n");
my $flips = 40;

sub sql { return $node->safe_psql('postgres', join '', @_); }

sql(q{
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', 'x');
	CREATE TABLE items (id bigserial PRIMARY KEY, n integer NOT NULL);
	CREATE ROLE other;
	GRANT TRIGGER ON items TO other;
	SELECT notify.attach('items', $$'nobody'$$);
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('flips', 'items', 'new.n % 7 = 0', 't', 'c');
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('stays', 'items', 'new.n % 7 = 3', 't', 'c');
});
my $script = $node->basedir . '/write.sql';
append_to_file($script, q{
\set n random(0, 6)
INSERT INTO items (n) VALUES (:n);
BEGIN;
UPDATE items SET n = (n + 1) % 7 WHERE id = (SELECT max(id) FROM items);
SAVEPOINT s;
INSERT INTO items (n) VALUES (:n), (6 - :n);
ROLLBACK TO s;
COMMIT;
});
my ($out, $err) = ('', '');
my $bench = IPC::Run::start([ $node->installed_command('pgbench'), '-n', '-c', '3', '-T', '600', '-M', 'prepared', '-f', $script, '-d', $node->connstr('postgres') ],
	'<', '/dev/null', '>', \$out, '2>', \$err);
ok(wait_for_sql($node, 'SELECT count(*) > 20 FROM items'), 'writers write');

# A session of long standing, with its rules compiled and its statement prepared.
my $session = $node->background_psql('postgres');
$session->query_safe(q{PREPARE put (integer) AS INSERT INTO items (n) VALUES ($1)});

# What a row of this session matches: the names of the versions, as they were at that time, and their owners.
sub matched
{
	my ($n) = @_;
	$session->query_safe('BEGIN');
	$session->query_safe("EXECUTE put ($n)");
	my $found = $session->query_safe(q{SELECT coalesce((SELECT string_agg(v.name || ' ' || v.condition || ' ' || v.owner, ', ')
		FROM notify.event e, notify.rule_version v WHERE e.xid = pg_current_xact_id() AND v.id = ANY (e.rules) AND v.name <> 'stays'), 'none')});
	$session->query_safe('COMMIT');
	return $found;
}

my ($name, $wrong, $owner) = ('flips', 0, 'postgres');
sub expect
{
	my ($n, $expected) = @_;
	my $got = matched($n);
	return if $got eq $expected;
	diag("n = $n: got $got, expected $expected");
	$wrong++;
}
for my $flip (1 .. $flips)
{
	my $k = $flip % 7;
	my $condition = "new.n % 7 = $k";
	my $next = $flip % 5 == 0 ? "flips $flip" : $name;
	$owner = $flip % 4 == 0 ? 'other' : 'postgres';
	sql("UPDATE notify.rule SET name = '$next', condition = '$condition', owner = '$owner' WHERE name = '$name'");
	$name = $next;
	expect($k, "$name $condition $owner");
	expect(($k + 1) % 7, 'none');
	if ($flip % 6 == 0)
	{
		sql("UPDATE notify.rule SET enabled = false WHERE name = '$name'");
		expect($k, 'none');
		sql("UPDATE notify.rule SET enabled = true WHERE name = '$name'");
		expect($k, "$name $condition $owner");
	}
	next if $flip % 9;
	sql("DELETE FROM notify.rule WHERE name = '$name'");
	expect($k, 'none');
	sql("INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('$name', 'items', '$condition', 't', 'c')");
	expect($k, "$name $condition postgres");
}
is($wrong, 0, "$flips edits, each obeyed by the next statement of a session that had compiled the rule before");
$session->quit;
$bench->signal('INT');
$bench->finish;
unlike($err, qr/ERROR|aborted/, 'no writer was failed') or diag($err);

# What the writers' events name is what held of the row by that version; a rule nobody touched missed none.
my $versions = q{FROM notify.event e CROSS JOIN unnest(e.rules) AS r (id) JOIN notify.rule_version v ON v.id = r.id WHERE e.source = 'items'::regclass};
cmp_ok(sql("SELECT count(DISTINCT v.id) $versions AND v.name <> 'stays'"), '>', $flips / 2, 'events of many versions');
is(sql("SELECT count(*) $versions AND (e.new ->> 'n')::integer % 7 <> right(v.condition, 1)::integer"), '0', 'each true of its row');
is(sql("SELECT count(*) $versions AND v.name = 'stays' AND e.op = 'I'"), sql(q{SELECT count(*) FROM notify.event e WHERE op = 'I' AND (e.new ->> 'n')::integer = 3}),
	'every event that the other rule wanted names it');
is(sql(q{SELECT count(*) FROM notify.event WHERE undecided IS NOT NULL}), '0', 'no rule was undecided meanwhile');
is(sql(q{SELECT count(*) FROM items i WHERE n = 3 AND NOT EXISTS (SELECT FROM notify.event e WHERE e.key = i.id::text)}), '0', 'no row was missed');
$node->stop;
done_testing();
