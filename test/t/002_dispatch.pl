# What the dispatcher does when things go wrong around it: nothing is lost,
# nobody's trouble is his neighbour's, and a crash repeats no more than was
# on its way.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('dispatch',
	conf => "restart_after_crash = on\nnotify_pg.lease = 5\nnotify_pg.max_in_flight = 100\n");
my $http = http_sink();

$node->safe_psql('postgres', qq{
	INSERT INTO notify.provider (name, channel, preset, settings, max_attempts) VALUES ('hook', 'webhook', 'webhook', '{}', 2);
	INSERT INTO notify.provider (name, channel, preset) VALUES ('box', 'inbox', 'inbox');
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{webhook}');
	INSERT INTO notify.category (name, class, channels, at_most_once) VALUES ('once', 'transactional', '{webhook}', true);
	INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'webhook', '{"n": {{ n }}}'), ('hello', 'inbox', 'Hello {{ n }}');
	CREATE FUNCTION add_recipient(id text, path text) RETURNS void LANGUAGE sql AS \$\$
		INSERT INTO notify.recipient (id) VALUES (id);
		INSERT INTO notify.address (recipient, channel, address) VALUES (id, 'webhook', '@{[$http->url]}' || path);
	\$\$;
	SELECT add_recipient('ann', 'ann');
});

sub send_to
{
	my ($recipient, $n, $category) = @_;
	$category //= 'news';
	return $node->safe_psql('postgres',
		"SELECT notify.send('$recipient', 'hello', jsonb_build_object('n', $n), '$category')");
}

# Waits until the last outcome of an event's message has a verdict.
sub verdict
{
	my ($event, $verdict, $what) = @_;
	return ok(wait_for_sql($node, qq{
		SELECT (SELECT o.verdict FROM notify.outcome o JOIN notify.message m ON m.id = o.message
				WHERE m.event = $event ORDER BY o.at DESC LIMIT 1) = '$verdict'}), $what);
}

sub outcome
{
	my ($event, $columns) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT $columns FROM notify.outcome o JOIN notify.message m ON m.id = o.message
		WHERE m.event = $event ORDER BY o.at DESC LIMIT 1});
}

sub counter
{
	my ($column) = @_;
	return $node->safe_psql('postgres', "SELECT $column FROM notify._workers() WHERE kind = 'dispatcher'");
}

#
# Replies
#
verdict(send_to('ann', 1), 'sent', 'a message is sent');
$http->behave({ '/ann' => ['/status/503'] });
my $event = send_to('ann', 2);
verdict($event, 'sent', 'a message is tried again after a 503');
is(outcome($event, 'o.attempt'), '2', 'and went at the second attempt');
my @tries = grep { $_->{body} eq '{"n": 2}' } $http->entries('/ann');
is(scalar @tries, 2, 'the sink saw both');
is($tries[0]{headers}{'webhook-id'}, $tries[1]{headers}{'webhook-id'}, 'under one id');
$http->behave({ '/ann' => [ '/status/503', '/status/503' ] });
verdict(send_to('ann', 3), 'dead', 'it is given up after the last attempt');

$event = send_to('ann', 4, 'once');
verdict($event, 'sent', 'an at-most-once message is sent');
$http->behave({ '/ann' => ['/reset'] });
$event = send_to('ann', 5, 'once');
verdict($event, 'failed', 'an at-most-once message that may have arrived is not repeated');
like(outcome($event, 'o.detail'), qr/^ambiguous: /, 'and says why');

#
# A provider that cannot be opened holds up nobody
#
$node->safe_psql('postgres', q{
	INSERT INTO notify.secret VALUES ('gone', 'whsec_' || encode('0123456789abcdef01234567', 'base64'));
	INSERT INTO notify.provider (name, channel, preset, priority, settings)
	VALUES ('signed', 'webhook', 'webhook', -1, '{"signing_secret": {"secret": "gone"}}')});
verdict(send_to('ann', 6), 'sent', 'a provider with a secret works');
$node->safe_psql('postgres', q{UPDATE notify.secret SET value = 'no key' WHERE name = 'gone'});
ok(wait_for_sql($node, "SELECT problem IS NOT NULL FROM notify.provider WHERE name = 'signed'"),
	'a provider whose secret is bad has a problem');
verdict(send_to('ann', 7), 'sent', 'and its messages go by another');
$node->safe_psql('postgres', q{DELETE FROM notify.provider WHERE name = 'signed'});

#
# An answer that cannot be recorded
#
$node->safe_psql('postgres', q{
	CREATE FUNCTION refuse(message bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT m.recipient = 'poison' FROM notify.message m WHERE m.id = message) THEN
			RAISE EXCEPTION 'poison';
		END IF;
		RETURN message;
	END $$;
	CREATE INDEX refuse ON notify.outcome (public.refuse(message));
	SELECT add_recipient('poison', 'poison');
	SELECT notify.send(CASE n WHEN 20 THEN 'poison' ELSE 'ann' END, 'hello', jsonb_build_object('n', 100 + n), 'news')
	FROM generate_series(1, 40) AS n});
ok( wait_for_sql($node, q{SELECT count(*) = 39 FROM notify.outcome o JOIN notify.message m ON m.id = o.message
		JOIN notify.event e ON e.id = m.event WHERE e.new ->> 'n' BETWEEN '101' AND '140' AND o.verdict = 'sent'}),
	'an answer that cannot be recorded does not keep the others from it');
verdict(send_to('ann', 8), 'sent', 'and work goes on');
like(counter('last_error'), qr/poison/, 'the worker tells what is wrong');
ok(wait_for_sql($node, "SELECT refused > 0 FROM notify._workers() WHERE kind = 'dispatcher'"),
	'it is given up when its lease has ended');
$node->safe_psql('postgres', q{
	DROP INDEX notify.refuse;
	DELETE FROM notify.ready r USING notify.message m WHERE m.id = r.message AND m.recipient = 'poison'});
verdict(send_to('ann', 9), 'sent', 'nothing is left of it');

#
# Too few files
#
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');
$postmaster =~ s/\n.*//s;
is(system('prlimit', "--pid=$postmaster", '--nofile=160:160'), 0, 'the server may open fewer files');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM notify._workers() WHERE kind = 'dispatcher'");
ok(wait_for_sql($node, "SELECT max_in_flight = 30 FROM notify._workers() WHERE kind = 'dispatcher' AND state = 'running'"),
	'a dispatcher keeps within its files');
like(slurp_file($node->logfile), qr/runs 30 transfers at a time instead of 100/, 'and says so');
verdict(send_to('ann', 10), 'sent', 'and works');
$node->restart;

#
# A crash in the middle of a drain
#
my $total = 4000;
$node->safe_psql('postgres', "SELECT add_recipient('r' || n, 'crash') FROM generate_series(1, 50) AS n");
$node->safe_psql('postgres', qq{
	SELECT count(notify.send('r' || (1 + n % 50), 'hello', jsonb_build_object('n', n), 'news'))
	FROM generate_series(1, $total) AS n});
ok(wait_until('a quarter to arrive', sub { ($http->counts->{paths}{'/crash'} // 0) > $total / 4 }), 'a drain is under way');
my $pid = counter('pid');
is(kill('KILL', $pid), 1, 'the dispatcher is killed');
ok(wait_until('the server to be back', sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 }), 'the server is back');
ok( wait_until('the drain to end',
		sub { ($node->psql('postgres', "SELECT count(*) FROM notify.outcome o JOIN notify.message m ON m.id = o.message
			WHERE m.recipient LIKE 'r%' AND o.verdict = 'sent'"))[1] eq $total }),
	'every message is settled, once');
my %seen;
$seen{ $_->{headers}{'webhook-id'} }++ for $http->entries('/crash');
my $repeated = grep { $_ > 1 } values %seen;
is(scalar keys %seen, $total, 'every message arrived');
cmp_ok($repeated, '<=', 100, "no more than were on their way arrived twice ($repeated)");
is($node->safe_psql('postgres', 'SELECT count(*) FROM notify.ready'), '0', 'nothing is left in the queue');

$node->stop;
done_testing();
