# People follow a users table through real life: a person is deleted while a
# message to them is on the wire, a bulk load, a dump and its restore.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('people');
my $http = http_sink();
my $slow = $http->url('/slow?ms=3000');
my $db = 'postgres';

sub sql { return $node->safe_psql($db, join '', @_); }

sql(q{
	CREATE SCHEMA app;
	CREATE TABLE app."Users" ("Id" int PRIMARY KEY, "Hook" text, "Name" text);
	CREATE TABLE app.visits (id int PRIMARY KEY, who int, marker text);
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook,inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', '{{ new.marker }}'), ('t', 'inbox', '{{ new.marker }}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox'), ('hook', 'webhook', 'webhook');
	SELECT notify.attach_recipients('app."Users"', 'Id', name => 'Name', addresses => '{"webhook": "Hook"}');
	SELECT notify.attach('app.visits', recipient => 'new.who');
	INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'app.visits', 't', 'c');
	INSERT INTO app."Users" VALUES (1, '}, $slow, q{', 'PLANTED Ann'), (2, '}, $http->url('/two'), q{', 'Bob');
});

# Deleted while a request is on the wire: the sender is not in the way of the
# delete, nor the delete in the way of the sender.
sql(q{INSERT INTO app.visits VALUES (1, 1, 'PLANTED'), (2, 2, 'for Bob')});
wait_for_sql($node, q{SELECT count(*) = 1 FROM notify.ready WHERE owner IS NOT NULL});
my $begin = time;
sql(q{DELETE FROM app."Users" WHERE "Id" = 1});
cmp_ok(time - $begin, '<', 2, 'a delete does not wait for a transfer');
is(sql(q{SELECT count(*) FROM notify.recipient WHERE id = '1'}), '0', 'the person is gone at once');
is(sql(q{SELECT count(*) FROM notify.inbox WHERE recipient = '1'}), '0', 'and so is the inbox');
wait_for_drain($node);
is(sql(q{SELECT string_agg(status, ',' ORDER BY status) FROM notify.delivery WHERE channel = 'webhook'}), 'sent,sent',
	'what was on the wire is recorded as sent');
wait_for_sql($node, q{SELECT notify._finish_erasures() IS NOT NULL AND NOT EXISTS (SELECT FROM notify.erasure)});
for my $table (qw(event message outcome inbox idempotency recipient address recipient_problem erasure))
{
	is(sql("SELECT count(*) FROM notify.$table t WHERE t::text LIKE '%PLANTED%' OR t::text LIKE '%/slow%'"),
		'0', "nothing of the person is left in $table");
}
is(sql(q{SELECT body FROM notify.inbox}), 'for Bob', 'nobody else is touched');
is($http->arrivals('/two') && scalar(keys %{ $http->arrivals('/two') }), 1, 'and Bob was told');

# An event that is captured but not planned when the person goes.
sql(q{INSERT INTO app."Users" VALUES (3, NULL, 'PLANTED Cy')});
sql(q{BEGIN; INSERT INTO app.visits VALUES (3, 3, 'PLANTED'); DELETE FROM app."Users" WHERE "Id" = 3; COMMIT});
wait_for_drain($node);
wait_for_sql($node, q{SELECT notify._finish_erasures() IS NOT NULL AND NOT EXISTS (SELECT FROM notify.erasure)});
is(sql(q{SELECT count(*) FROM notify.event e WHERE e::text LIKE '%PLANTED%'}), '0', 'its event is emptied once it is planned');

# As many as you like, and two writers at the same time.
my $other = $node->background_psql($db);
$other->query_safe(q{BEGIN; UPDATE app."Users" SET "Name" = 'Robert' WHERE "Id" = 2});
sql(q{INSERT INTO app."Users" SELECT g, 'http://127.0.0.1/' || g, 'n' || g FROM generate_series(1001, 6000) AS g});
$other->query_safe('COMMIT');
$other->quit;
is(sql(q{SELECT count(*) FROM notify.address a JOIN app."Users" u ON a.recipient = u."Id"::text AND a.address = u."Hook"}),
	5001, 'everybody of a bulk load has an address');
is(sql(q{SELECT name FROM notify.recipient WHERE id = '2'}), 'Robert', 'a writer beside it did not wait');

# Somebody gets another id while messages wait, one of them not planned yet: all
# reaches that person under the new id, and what was sent once is not sent again.
sql(q{
	INSERT INTO notify.rule (name, source, template, category, channels, dedupe_key) VALUES ('once', 'app.visits', 't', 'c', '{inbox}', 'new.marker');
	INSERT INTO app."Users" VALUES (5, NULL, 'Ed');
	SELECT notify.hold('a test');
	INSERT INTO app.visits VALUES (50, 5, 'same');
});
wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.message WHERE recipient = '5' AND channel = 'inbox' AND verdict = 'send'});
sql(q{
	BEGIN;
	INSERT INTO app.visits VALUES (51, 5, 'same');
	UPDATE app."Users" SET "Id" = 500 WHERE "Id" = 5;
	COMMIT;
	UPDATE app."Users" SET "Id" = 501 WHERE "Id" = 500;
	INSERT INTO app.visits VALUES (52, 501, 'same');
	SELECT notify.send('5', 't', '{"marker": "by the old id"}', 'c', '{inbox}');
});
wait_for_sql($node, q{SELECT count(*) = 1 FROM notify.message WHERE recipient = '501' AND rule IS NULL});
sql(q{
	INSERT INTO app."Users" VALUES (5, NULL, 'Eve');
	INSERT INTO app.visits VALUES (53, 5, 'for Eve');
	SELECT notify.arm();
});
wait_for_drain($node);
is(sql(q{SELECT string_agg(recipient || ' ' || body, ', ' ORDER BY id) FROM notify.inbox WHERE recipient ~ '^50?.?$'}),
	'501 same, 501 same, 501 same, 501 same, 501 by the old id, 5 for Eve, 5 for Eve', 'messages that waited go to the new id, later ones to whom they mean');
is(sql(q{SELECT string_agg(verdict || ' ' || coalesce(reason, ''), ', ' ORDER BY m.id) FROM notify.message m JOIN notify.rule_version v ON v.id = m.rule
	WHERE v.name = 'once' AND m.dedupe_key = 'same'}), 'send , skipped duplicate, skipped duplicate', 'a dedupe key knows the person by the new id');
sql(q{DELETE FROM app."Users" WHERE "Id" IN (5, 501)});

# A dump carries people and mapping; the restored table is followed again.
sql(q{SELECT notify.detach('app.visits')});
sql(q{DELETE FROM app."Users" WHERE "Id" > 2010; UPDATE app."Users" SET "Hook" = 'no url' WHERE "Id" = 1001});
my $dump = "$PostgreSQL::Test::Utils::tmp_check/people.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($db) ], 'pg_dump');
$node->safe_psql($db, 'CREATE DATABASE restored');
my @restore = ('pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump);
$node->command_ok([ @restore, '--section=pre-data', '--section=data' ], 'pg_restore of the rows');
# The planner's upkeep may come before the triggers do.
$node->safe_psql('restored', 'SELECT notify._maintain()');
$node->command_ok([ @restore, '--section=post-data' ], 'pg_restore of the rest');
my $people = q{SELECT md5(string_agg(r::text, ',' ORDER BY r::text)) || (SELECT md5(string_agg(a::text, ',' ORDER BY a::text)) FROM notify.address a)
	|| (SELECT string_agg(p::text, ',') FROM notify.recipient_problem p) FROM notify.recipient r};
is($node->safe_psql('restored', $people), sql($people), 'people, addresses and problems come back');
is($node->safe_psql('restored', 'SELECT problem FROM notify.recipient_source'), '', 'the mapping is sound');
$node->safe_psql('restored', q{INSERT INTO app."Users" VALUES (4, 'https://example.com/', 'Dora'); DELETE FROM app."Users" WHERE "Id" = 2});
is($node->safe_psql('restored', q{SELECT string_agg(id, ',' ORDER BY id) FROM notify.recipient WHERE length(id) = 1}), '4',
	'and is followed');
is($node->safe_psql('restored', 'SELECT count(*) FROM notify.source WHERE problem IS NOT NULL'), '0', 'nothing is said of the sources either');

# Without its triggers a table follows nobody, and status() says so until it is attached again.
sql(q{SELECT notify.attach('app.visits', recipient => 'new.who');
	DROP TRIGGER "00_notify_sync_recipients" ON app."Users"; DROP TRIGGER notify_capture ON app.visits});
sql('SELECT notify._maintain()');
like(sql('SELECT problems FROM notify.status()'), $_, 'lost triggers are told')
  for qr/source app\.visits: nothing is captured.*lost its triggers/, qr/Users.*lost its triggers/;
sql(q{SELECT notify.attach('app.visits', recipient => 'new.who')});
sql(q{SELECT notify.attach_recipients('app."Users"', 'Id', name => 'Name', addresses => '{"webhook": "Hook"}')});
is(sql('SELECT (SELECT count(*) FROM notify.recipient_source WHERE problem IS NOT NULL) + (SELECT count(*) FROM notify.source WHERE problem IS NOT NULL)'),
	'0', 'until the tables are attached again');

# The extension goes; the table stays and can be written.
sql('DROP EXTENSION notify_pg CASCADE');
is(sql(q{DELETE FROM app."Users" WHERE "Id" = 2 RETURNING "Name"}), 'Robert', 'the users table lives on without the extension');

$node->stop;
done_testing();
