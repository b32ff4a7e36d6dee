# What logical replication applies is captured only where asked; what a
# prepared transaction captured survives a crash; and what columns keep out of
# events is found nowhere.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $marker = 'planted7f3a';

my $schema = q{
	CREATE TABLE quiet (id integer PRIMARY KEY, status text);
	CREATE TABLE asked (id integer PRIMARY KEY, status text);
	CREATE TABLE parts (id integer, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
	CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
	CREATE TABLE clients (id text, region text, mail text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE clients_a PARTITION OF clients FOR VALUES IN ('a');
	CREATE TABLE clients_b PARTITION OF clients FOR VALUES IN ('b');
	CREATE TABLE guests (id text PRIMARY KEY, mail text);
};

my $rules = q{
	INSERT INTO notify.provider (name, channel, preset) VALUES ('box', 'inbox', 'inbox');
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES ('news', 'inbox', 'x {{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	SELECT notify.attach_recipients(t, 'id', addresses => '{"email": "mail"}') FROM unnest('{clients,guests}'::regclass[]) AS t;
	UPDATE notify.recipient_source SET on_replica = true, on_truncate = 'erase' WHERE relation = 'clients'::regclass;
	SELECT notify.attach('quiet', $$'ann'$$), notify.attach('asked', $$'ann'$$), notify.attach('parts', $$'ann'$$);
	INSERT INTO notify.rule (name, source, template, category)
	VALUES ('quiet', 'quiet', 'news', 'news'), ('asked', 'asked', 'news', 'news'), ('parts', 'parts', 'news', 'news');
};

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
$publisher->safe_psql('postgres', $schema);
$publisher->safe_psql('postgres', 'INSERT INTO asked VALUES (1, $$copied$$); CREATE PUBLICATION shop FOR ALL TABLES');

my $node = notify_cluster('subscriber', conf => "log_min_messages = debug1\nmax_logical_replication_workers = 4\n");
$node->safe_psql('postgres', $schema);
$node->safe_psql('postgres', $rules);
$node->safe_psql('postgres', q{UPDATE notify.source SET on_replica = true WHERE relation IN ('asked'::regclass, 'parts'::regclass)});
my $connection = $publisher->connstr . ' dbname=postgres';
$node->safe_psql('postgres', "CREATE SUBSCRIPTION shop CONNECTION '$connection' PUBLICATION shop");
$node->wait_for_subscription_sync if $node->can('wait_for_subscription_sync');

sub events
{
	my ($table) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(op::text || coalesce(' ' || key, ''), ', ' ORDER BY id) FROM notify.event WHERE source = '$table'::regclass");
}

# The copy of existing rows is replication too.
wait_for_sql($node, q{SELECT count(*) = 1 FROM asked});
wait_for_sql($node, q{SELECT every(srsubstate = 'r') FROM pg_subscription_rel});
is(events('asked'), 'I 1', 'rows of the first copy are captured where asked');

$publisher->safe_psql('postgres', q{
	INSERT INTO quiet VALUES (1, 'new');
	INSERT INTO asked VALUES (2, 'new');
	UPDATE asked SET status = 'paid' WHERE id = 2;
	DELETE FROM asked WHERE id = 1;
	INSERT INTO parts VALUES (1, 'a');
	UPDATE parts SET region = 'b';
	INSERT INTO parts VALUES (2, 'a'), (3, 'a');
	BEGIN; DELETE FROM parts WHERE id = 2; INSERT INTO parts VALUES (4, 'b'); COMMIT;
	DELETE FROM parts WHERE id = 4;
	BEGIN; INSERT INTO asked VALUES (4, 'new'); DELETE FROM parts WHERE id = 3; DELETE FROM asked WHERE id = 4; COMMIT;
	TRUNCATE asked;
	INSERT INTO guests VALUES ('guest', 'guest@example.com');
	INSERT INTO clients VALUES ('cy', 'a', 'cy@example.com'), ('dot', 'a', 'dot@example.com'), ('eve', 'a', 'eve@example.com'), ('fay', 'b', 'fay@example.com');
});
$publisher->wait_for_catchup('shop');
my $people = q{SELECT string_agg(recipient || ' ' || channel || ' ' || address, ', ' ORDER BY recipient, channel) FROM notify.address};
is($node->safe_psql('postgres', $people), join(', ', map { "$_ email $_\@example.com" } qw(cy dot eve fay)),
	'a users table that is replicated is followed where asked, row by row');
$node->safe_psql('postgres', q{INSERT INTO notify.address (recipient, channel, address) SELECT id, 'push', 'token' FROM notify.recipient WHERE id IN ('cy', 'dot')});
$publisher->safe_psql('postgres', q{
	UPDATE clients SET region = 'b', mail = 'cy@example.org' WHERE id = 'cy';
	BEGIN; DELETE FROM clients WHERE id = 'dot'; INSERT INTO clients VALUES ('gus', 'b', 'gus@example.com'); COMMIT;
	DELETE FROM clients WHERE id = 'eve';
});
$publisher->wait_for_catchup('shop');
is($node->safe_psql('postgres', $people), 'cy email cy@example.org, cy push token, fay email fay@example.com, gus email gus@example.com',
	'a move keeps the person, a delete erases them, also the last of a transaction');
$publisher->safe_psql('postgres', 'TRUNCATE clients');
$publisher->wait_for_catchup('shop');
is($node->safe_psql('postgres', 'SELECT string_agg(id, $$ $$ ORDER BY id) FROM notify.recipient'), 'ann', 'TRUNCATE too, where it is to erase');
is(events('asked'), 'I 1, I 2, U 2, D 1, I 4, D 4, T', 'every applied change is captured where asked');
is(events('quiet'), '', 'nothing is where not asked');
is($node->safe_psql('postgres', 'SELECT count(*) FROM quiet'), '1', '... though it was applied');
is(events('parts'), 'I 1|a, U 1|b, I 2|a, I 3|a, D 2|a, I 4|b, D 4|b, D 3|a',
	'an applied move is an UPDATE, though sent as DELETE and INSERT; other deletes are what they are');
is($node->safe_psql('postgres', q{SELECT string_agg(e.source::regclass || ' ' || e.op::text || ' ' || key, ', ' ORDER BY id) FROM notify.event e
	WHERE xid = (SELECT xid FROM notify.event WHERE key = '3|a' AND op = 'D')}), 'asked I 4, parts D 3|a, asked D 4', '... in their order');
wait_for_drain($node);
is( $node->safe_psql('postgres', q{SELECT count(*) FROM notify.inbox}), '14',
	'and what was captured is delivered, the commit of the apply worker waking the planner');

# Local writers are captured as ever; asked no more, the applied is not.
$node->safe_psql('postgres', q{INSERT INTO quiet VALUES (10, 'local')});
is(events('quiet'), 'I 10', 'a local writer is captured');
$node->safe_psql('postgres', q{UPDATE notify.source SET on_replica = false WHERE relation = 'asked'::regclass});
$publisher->safe_psql('postgres', q{INSERT INTO asked VALUES (3, 'new')});
$publisher->wait_for_catchup('shop');
is(events('asked'), 'I 1, I 2, U 2, D 1, I 4, D 4, T', 'switched off again');
$node->safe_psql('postgres', 'DROP SUBSCRIPTION shop');
$publisher->stop;

# A prepared transaction: its event is nobody's until it commits, crash or not.
$node->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO quiet VALUES (20, 'prepared');
	UPDATE parts SET region = 'a' WHERE id = 1;
	PREPARE TRANSACTION 'later';
});
$node->safe_psql('postgres', q{INSERT INTO quiet VALUES (21, 'meanwhile')});
wait_for_drain($node);
# A table that only an audience reads gets another name: the planner says so, no event needed.
$node->safe_psql('postgres', q{
	CREATE TABLE managers (name text);
	INSERT INTO notify.rule (name, source, condition, audience, template, category)
	VALUES ('told', 'quiet', 'new.id < 0', 'SELECT name AS recipient FROM managers', 'news', 'news');
	ALTER TABLE managers RENAME TO bosses;
});
is($node->safe_psql('postgres', q{SELECT problem FROM notify.rule WHERE name = 'told'}), '', 'a broken query is not noticed yet');
$node->stop('immediate');
$node->start;
wait_for_sql($node, q{SELECT problem FROM notify.rule WHERE name = 'told'}, 'relation "managers" does not exist');
is(events('quiet'), 'I 10, I 21', 'a prepared event is not seen');
$node->safe_psql('postgres', q{COMMIT PREPARED 'later'});
is(events('quiet'), 'I 10, I 20, I 21', 'it is there once committed, after a crash');
is(events('parts'), 'I 1|a, U 1|b, I 2|a, I 3|a, D 2|a, I 4|b, D 4|b, D 3|a, U 1|a', 'with the row that moved');
ok( wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.inbox i JOIN notify.message m ON m.id = i.message
		WHERE m.event IN (SELECT id FROM notify.event WHERE key = '20' OR (key = '1|a' AND op = 'U'))}),
	'and delivered');

# What columns keep out is found nowhere: events, messages, logs, errors, dump.
$node->safe_psql('postgres', q{
	CREATE TABLE people (id integer PRIMARY KEY, name text, password text, extra jsonb);
	SELECT notify.attach('people', $$'ann'$$, columns => '{-password,-extra}');
	INSERT INTO notify.rule (name, source, condition, template, category)
	VALUES ('casts', 'people', 'new.password::integer > 0', 'news', 'news'),
		   ('casts json', 'people', $$(new.extra ->> 'pin')::integer > 0$$, 'news', 'news'),
		   ('whole row', 'people', 'new::text::integer > 0', 'news', 'news'),
		   ('plain', 'people', NULL, 'news', 'news');
	CREATE VIEW pins AS SELECT id, password::integer AS pin FROM people;
	INSERT INTO notify.rule (name, source, context, audience, template, category)
	VALUES ('context', 'people', 'SELECT pin FROM pins p WHERE p.id = new.id', NULL, 'news', 'news'),
		   ('audience', 'people', NULL, 'SELECT (p.extra ->> $$pin$$)::integer::text AS recipient FROM people p WHERE p.id = new.id', 'news', 'news');
	INSERT INTO notify.rule (name, source, template, category, dedupe_key)
	VALUES ('key', 'people', 'news', 'news', $$(new.password || 'x')::integer::text$$);
});
my ($said, $errors) = ('', '');
$node->psql('postgres', "SET client_min_messages = debug1;
	INSERT INTO people VALUES (1, 'a', '$marker', '{\"pin\": \"$marker\"}');
	UPDATE people SET name = 'b', password = password || '$marker';
	ALTER TABLE people RENAME COLUMN password TO secret;
	UPDATE people SET name = 'c', secret = secret || 'x';
	ALTER TABLE people RENAME COLUMN secret TO password;
	INSERT INTO people VALUES (2, 'z', '$marker', '{}');
	SELECT count(*) FROM notify.event; SELECT notify.replay('casts', now() - interval '1 hour');
	", stdout => \$said, stderr => \$errors);
wait_for_drain($node);
$node->safe_psql('postgres', 'DELETE FROM people');
wait_for_drain($node);
unlike($said . $errors, qr/$marker/, 'not in what the session was told');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT reason || ' ' || left(detail, 34), ', ') FROM notify.message WHERE reason IN ('context_error', 'audience_error')}),
	'audience_error SQLSTATE 22P02; the error is not s, context_error SQLSTATE 22P02; the error is not s', 'queries that failed on it do not tell either');
like($node->safe_psql('postgres', q{SELECT string_agg(undecided::text, '') FROM notify.event}), qr/is not shown/, '... where errors there were');
is( $node->safe_psql('postgres', q{SELECT problem IS NOT NULL FROM notify.rule WHERE name = 'casts'}), 't', '... of which the rule tells');
my $tables = $node->safe_psql('postgres', q{
	SELECT string_agg(format('SELECT %L, x.* FROM (SELECT to_jsonb(t)::text FROM %s t) x (row)', c.oid::regclass, c.oid::regclass), ' UNION ALL ')
	FROM pg_class c WHERE c.relnamespace = 'notify'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition});
is($node->safe_psql('postgres', "SELECT count(*) FROM ($tables) AS a (t, r) WHERE r LIKE '%$marker%'"), '0', 'not in any table of the extension');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM ($tables) AS a (t, r) WHERE r LIKE '%people%'"), '>', 0, '... which were searched');
is($node->safe_psql('postgres', "SELECT count(*) FROM notify.status() s WHERE s::text LIKE '%$marker%'"), '0', 'not in status()');
unlike(slurp_file($node->logfile), qr/$marker/, 'not in the server log');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
unlike(slurp_file($dump), qr/$marker/, 'not in a dump');

# A restore puts back the triggers that were there, without our doing.
$node->safe_psql('postgres', q{
	CREATE TABLE places (id integer PRIMARY KEY);
	CREATE TABLE towns (twin integer, PRIMARY KEY (id)) INHERITS (places);
	SELECT notify.attach('places', $$'ann'$$);
	UPDATE notify.source SET on_replica = true WHERE relation IN ('places'::regclass, 'parts'::regclass);
	ALTER TABLE towns ADD FOREIGN KEY (twin) REFERENCES places;
});
my $triggers = q{SELECT string_agg(format('%s %s %s', tgrelid::regclass, tgname, tgenabled), ', ' ORDER BY tgrelid::regclass::text, tgname)
	FROM pg_trigger WHERE tgfoid = 'notify.capture'::regproc};
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', "$dump.c" ], 'pg_dump -Fc');
for my $sections ([], [ '--section=pre-data', '--section=data' ], [ '--section=post-data' ])
{
	my $db = @$sections ? 'parted' : 'whole';
	$node->safe_psql('postgres', "CREATE DATABASE $db") if @$sections != 1;
	$node->command_ok([ 'pg_restore', '--exit-on-error', @$sections, '-d', $node->connstr($db), "$dump.c" ], "pg_restore @$sections");
}
is($node->safe_psql($_, $triggers), $node->safe_psql('postgres', $triggers), "triggers in $_") for qw(whole parted);
like($node->safe_psql('whole', $triggers), qr/towns notify_truncate A/, 'all of them');
$node->stop;

done_testing();
