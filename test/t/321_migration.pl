# One transaction that creates the extension, configures it and already writes
# events, as migration tools do, while others commit. Would catch: events of
# the creating transaction taken for planned.

use strict;
use warnings;
use NotifyTest;
use Test::More;

my $node = notify_cluster('main', extension => 0);
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$node->safe_psql('postgres', q{
	BEGIN;
	CREATE EXTENSION notify_pg;
	CREATE TABLE orders (id int PRIMARY KEY, customer text);
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', 'order {{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, template, category) VALUES ('r', 'orders', 't', 'c');
	\! psql -X -q -d postgres -c 'CREATE TABLE of_another (a int)' -c 'INSERT INTO of_another VALUES (1)'
	INSERT INTO orders VALUES (1, 'ann');
	COMMIT;
	INSERT INTO orders VALUES (2, 'ann')});
wait_for_sql($node, 'SELECT count(*) = 2 FROM notify.inbox');
is($node->safe_psql('postgres', 'SELECT string_agg(body, $$, $$ ORDER BY body) FROM notify.inbox'),
	'order 1, order 2', 'the creating transaction\'s event is planned too');

done_testing();
