# The wall clock is set: a first start after nine days without a server, a day
# ahead and back, an hour back while messages are being sent.
#
# Catches: a message on the wire twice because its lease seemed over, one kept by a
# dispatcher that is gone for as long as the clock was ahead, a schedule that fires
# twice or waits a day too long, an id that is lower than an older one of another
# session, an event that is in no day or never planned, a worker that does not start
# again before the time it left at comes back.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $day = 86400;
my $clock = movable_clock();
my $http = http_sink();
my $node = $clock->under(sub {
	return notify_cluster('clock', conf => "notify_pg.poll_interval = '100ms'\nnotify_pg.dispatchers = 2\n");
});
$node->safe_psql('postgres', qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{inbox}');
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES
		('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/slow?ms=2500')]}", "timeout_ms": 30000}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'inbox', '{{ new.id }}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	CREATE TABLE orders (id serial PRIMARY KEY, customer text, kind text);
	SELECT notify.attach('orders', 'new.customer');
	INSERT INTO notify.rule (name, source, condition, template, category, delay, expires, channels) VALUES
		('now', 'orders', 'new.kind = ''now''', 't', 'c', NULL, NULL, '{inbox}'),
		('hook', 'orders', 'new.kind = ''hook''', 't', 'c', NULL, NULL, '{webhook}'),
		('soon', 'orders', 'new.kind = ''soon''', 't', 'c', '10 minutes', NULL, '{inbox}'),
		('long', 'orders', 'new.kind = ''old''', 't', 'c', '2 days', '30 days', '{inbox}'),
		('short', 'orders', 'new.kind = ''old''', 't', 'c', '2 days', '1 day', '{inbox}'),
		('usual', 'orders', 'new.kind = ''old''', 't', 'c', '2 days', NULL, '{inbox}');
	INSERT INTO orders (customer, kind) VALUES ('ann', 'old')});
wait_for_sql($node, 'SELECT scheduled = 3 FROM notify.status()');

#
# Nine days later, further on than days were made. Rows come before the planner does.
#
$node->stop;
$clock->set(9 * $day);
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$clock->under(sub { $node->start });
$node->safe_psql('postgres', q{INSERT INTO orders (customer, kind) SELECT 'ann', 'now' FROM generate_series(1, 5)});
is($node->safe_psql('postgres', 'SELECT count(*) FROM notify.event_default'), '5', 'a day that was not made is in the default partition');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'notify_pg'");
$clock->under(sub { $node->restart });
wait_for_drain($node);
is($node->safe_psql('postgres', 'SELECT rule, status, count(*), count(DISTINCT key) FROM notify.delivery GROUP BY 1, 2 ORDER BY 1'),
	"long|delivered|1|1\nnow|delivered|5|5\nshort|expired|1|1\nusual|expired|1|1",
	'what came first is sent, what was due a week ago is sent if it may be so late');
# A lock that is not free in 20 ms is left for the next minute's upkeep; what is sent
# before that is in the default partition of the other logs too.
my $made = '';
my $week = qr/event 7\nmessage [78]\noutcome [78]$/;
wait_until('days are made', sub {
	$made = $node->safe_psql('postgres', q{SELECT notify._maintain();
		SELECT l || ' ' || count(*) FROM unnest(notify._logs()) AS l CROSS JOIN LATERAL notify._partitions(l) AS p
		WHERE p.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date GROUP BY l ORDER BY l});
	return $made =~ $week;
});
like($made, $week, 'days are made again, but for the one that has rows in the default partition');
$clock->set(10 * $day);
orders('now', 3);
is($node->safe_psql('postgres', 'SELECT count(*) FROM notify.event_default'), '5', 'the next day has its own');
delivered('now', 3, 'it is planned too');
$clock->set(41 * $day);
ok(wait_for_sql($node, 'SELECT count(*) = 0 FROM notify.event_default'), 'the day in the default partition goes with notify_pg.retention');
back_to(10 * $day);

#
# A day ahead while messages are on the wire, and back.
#
for my $offset (11 * $day, 10 * $day)
{
	my $before = keys %{ $http->arrivals };
	orders('hook', 4);
	wait_until('requests are on the wire', sub { keys %{ $http->arrivals } == $before + 4 });
	my $log = -s $node->logfile;
	$clock->set($offset);
	ok($node->wait_for_log(qr/the clock was set by -?\d+ ms/, $log), "the planner sees that the clock is at day " . $offset / $day);
	wait_for_drain($node);
}
my $arrivals = $http->arrivals;
is(join(' ', values %$arrivals), '1 1 1 1 1 1 1 1', 'nobody was told twice');
is($node->safe_psql('postgres', q{SELECT sum(refused) FROM notify._workers() WHERE kind = 'dispatcher'}), '0', 'and no answer came too late');

#
# Claimed by a dispatcher that is gone, with a lease of tomorrow's.
#
$node->safe_psql('postgres', 'SELECT notify.hold($$nobody claims$$)');
$node->append_conf('postgresql.conf', "notify_pg.lease = 5\n");
$node->reload;
$clock->set(11 * $day);
orders('now', 1);
wait_for_sql($node, 'SELECT ready = 1 FROM notify.status()');
$node->safe_psql('postgres', q{UPDATE notify.ready SET owner = 999, boot = 1, lease = clock_timestamp() + interval '5 s'});
back_to(10 * $day);
is($node->safe_psql('postgres', q{SELECT count(*) FROM notify.ready WHERE lease <= clock_timestamp() + interval '5 s'}), '1', 'it has a lease of now');
$node->safe_psql('postgres', 'SELECT notify.arm()');
wait_until('the lease to be over', sub {
	$node->safe_psql('postgres', 'SELECT notify._maintain()');
	return $node->safe_psql('postgres', 'SELECT count(*) FROM notify.ready') eq '0';
}, 20);
delivered('now', 4, 'a message is not kept until tomorrow');

#
# Schedules: what a clock that was ahead fired is not fired again, what was put off
# meanwhile is not put off by a day more.
#
orders('soon', 2);
wait_for_sql($node, 'SELECT scheduled = 2 FROM notify.status()');
$clock->set(11 * $day);
wait_for_drain($node);
orders('soon', 3);
$node->safe_psql('postgres', q{SELECT notify.send('ann', 't', '{}', 'c', at => clock_timestamp() + interval '2 hours')});
$http->behave({ '/slow?ms=2500' => ['/status/503?retry_after=7200'] });
orders('hook', 1);
wait_for_sql($node, 'SELECT scheduled = 5 AND ready + sending = 0 FROM notify.status()');
back_to(10 * $day);
is($node->safe_psql('postgres', q{SELECT coalesce(v.name, 'send'), count(*), min(s.due_at) > clock_timestamp() + interval '1 day', max(s.due_at) < clock_timestamp() + interval '121 minutes'
		FROM notify.scheduled s JOIN notify.message m ON m.id = s.message LEFT JOIN notify.rule_version v ON v.id = m.rule GROUP BY 1 ORDER BY 1}),
	"hook|1|f|t\nsend|1|t|f\nsoon|3|f|t", 'delays and retries go back with the clock, a time that was named does not');
delivered('soon', 2, 'what was fired is not fired again');
$clock->set(10 * $day + 11 * 60);
wait_for_sql($node, q{SELECT count(*) = 2 FROM notify.scheduled});
delivered('soon', 5, 'what was put off by ten minutes is sent in ten minutes');
$clock->set(10 * $day + 130 * 60);
wait_for_sql($node, q{SELECT count(*) = 1 FROM notify.scheduled});
ok(wait_until('the tenth request', sub { $http->entries('/slow?ms=2500') == 10 }), 'and what was tried again in two hours is tried again');
$clock->set(11 * $day + 130 * 60);
wait_for_drain($node);
back_to(10 * $day);

#
# An hour back, and a day, while messages are planned and sent.
#
my $count = 3;
for my $offset (10 * $day - 3600, 9 * $day, 10 * $day)
{
	orders('now', 1500);
	$count += 1500;
	wait_for_sql($node, "SELECT count(*) > $count - 1400 FROM notify.inbox");
	$clock->set($offset);
	orders('now', 1500);
	$count += 1500;
	delivered('now', $count + 1, "every message once, the clock set in the midst of them to day " . $offset / $day);
}
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT message) FROM notify.inbox WHERE message IN (SELECT message FROM notify.delivery WHERE rule = 'now' AND key::int > 6)}),
	join('|', ($count + 1) x 2), 'and in the inbox once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM notify.event e WHERE e.tableoid::regclass::text NOT IN
		('notify.event_' || to_char(notify.id_time(e.id) AT TIME ZONE 'UTC', 'YYYYMMDD'), 'notify.event_default')}),
	'0', 'each event is in its day');

#
# Ids of different sessions
#
my ($one, $two) = map { $node->background_psql('postgres') } 1 .. 2;
my @ids = ($one->query_safe('SELECT notify._next_id()'));
$clock->set(10 * $day - 1800);
push @ids, $two->query_safe('SELECT notify._next_id()');
$two->query_safe('SELECT setval($$notify.id_seq$$, ((last_value >> 20) + 1 << 20) - 2) IS NULL FROM notify.id_seq');
push @ids, map { $_->query_safe('SELECT notify._next_id()') } ($one, $two, $one, $two);
is("@ids", join(' ', sort { $a <=> $b } @ids), 'ids grow from session to session when the clock is set back and the sequence begins anew');
$clock->set(9 * $day);
cmp_ok($one->query_safe('SELECT notify._next_id()'), '<', $ids[0], 'but follow a clock that is set back by more than an hour');
$_->quit for ($one, $two);

#
# A worker that failed a moment ago, when it is yesterday again.
#
$node->safe_psql('postgres', q{ALTER ROLE notify_worker NOLOGIN});
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM notify._workers() WHERE kind = 'planner'});
wait_for_sql($node, q{SELECT count(*) > 0 FROM notify._workers() WHERE kind = 'planner' AND generation > 2});
$clock->set(8 * $day);
$node->safe_psql('postgres', q{ALTER ROLE notify_worker LOGIN});
ok(wait_for_sql($node, q{SELECT planner IS NOT NULL FROM notify.status()}), 'it is started again before tomorrow');
orders('now', 1);
delivered('now', $count + 2, 'and works');

$node->stop;
done_testing();

sub orders
{
	my ($kind, $count) = @_;
	return $node->safe_psql('postgres', "INSERT INTO orders (customer, kind) SELECT 'ann', '$kind' FROM generate_series(1, $count)");
}

# So many messages of a rule are delivered, each of a row of its own; but for the first
# six rows, whose day may have gone by notify_pg.retention since. Asked for until
# it is so: for a moment after the clock was set, an event may be in no count.
sub delivered
{
	my ($rule, $count, $what) = @_;
	wait_for_sql($node, 'SELECT unplanned + ready + sending = 0 FROM notify.status()');
	return ok(wait_for_sql($node, "SELECT status, count(*), count(DISTINCT key) FROM notify.delivery WHERE rule = '$rule' AND key::int > 6 AND status <> 'scheduled' GROUP BY 1",
			"delivered|$count|$count"), $what);
}

# Sets the clock back and waits until the planner has seen it.
sub back_to
{
	my ($offset) = @_;
	my $log = -s $node->logfile;
	$clock->set($offset);
	$node->wait_for_log(qr/the clock was set by -\d+ ms/, $log);
	return $node->safe_psql('postgres', 'SELECT notify._maintain()');
}
