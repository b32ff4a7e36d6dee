# Budgets with workers and a provider: not a cent too much, whoever dies.
#
# Catches: money that is asked for message by message, so that what is planned at
# once exceeds it; dispatchers that forget each other's; money that a killed worker,
# a failure or a cancelled campaign keeps; money spent twice by retries; a dearer
# provider that takes over at the old price; a period that does not begin, begins
# twice when the clock is moved, or forgets what was spent.

use strict;
use warnings;
use List::Util qw(uniq);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('budgets', conf => "restart_after_crash = on\nnotify_pg.poll_interval = '50ms'\nnotify_pg.dispatchers = 2\nnotify_pg.lease = 5\nnotify_pg.breaker_pause = 0\n");
my $sink = http_sink();

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub campaign
{
	my ($category, $count) = @_;
	return sql("SELECT count(notify.send('r' || n, 'hi', jsonb_build_object('n', n), '$category')) FROM generate_series(1, $count) AS n");
}

# spent, reserved, remaining
sub money
{
	my ($category) = @_;
	return sql("SELECT trim_scale(spent), trim_scale(reserved), trim_scale(remaining) FROM notify.stat_budget WHERE name LIKE '$category %'");
}

# What the log says was paid
sub paid
{
	my ($category) = @_;
	return sql("SELECT coalesce(trim_scale(sum(o.cost)), 0) FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.category = '$category'");
}

sub statuses
{
	my ($category) = @_;
	return sql("SELECT string_agg(concat_ws(' ', channel, status, reason, count), ', ' ORDER BY channel, status)
		FROM (SELECT channel, status, reason, count(*) FROM notify.delivery WHERE category = '$category' GROUP BY 1, 2, 3) AS d");
}

sub kill_worker
{
	my ($kind) = @_;
	my ($pid) = split /\n/, sql("SELECT pid FROM notify._workers() WHERE kind = '$kind' AND pid IS NOT NULL");
	kill 'KILL', $pid;
	return wait_for_sql($node, "SELECT count(*) FILTER (WHERE pid = $pid) = 0 AND count(*) = 3 FROM notify._workers() WHERE kind <> 'launcher' AND state = 'running'");
}

sub move_clock
{
	my ($hours) = @_;
	sql("ALTER SYSTEM SET notify_pg.clock_offset = '$hours h'");
	$node->reload;
	return wait_for_sql($node, "SELECT abs(extract(epoch FROM notify.now() - clock_timestamp()) - $hours * 3600) < 60");
}

sql(qq{
	INSERT INTO notify.preset (name, channel, addressed, settings) VALUES
		('texts', 'sms', false, '{"url": {"kind": "url", "required": true}}'), ('mails', 'email', false, '{"url": {"kind": "url", "required": true}}');
	INSERT INTO notify.provider (name, preset, settings, cost, priority) VALUES
		('texts', 'texts', '{"url": "@{[$sink->url('/texts')]}"}', 0.05, 1),
		('dear', 'texts', '{"url": "@{[$sink->url('/dear')]}"}', 0.50, 2),
		('mails', 'mails', '{"url": "@{[$sink->url('/mails')]}"}', 0.001, 1);
	UPDATE notify.provider SET enabled = false WHERE name = 'dear';
	INSERT INTO notify.category (name, class, channels) VALUES ('sale', 'marketing', '{sms}'), ('late', 'marketing', '{sms}'),
		('flaky', 'marketing', '{sms}'), ('over', 'marketing', '{sms}'), ('two', 'marketing', '{sms}');
	INSERT INTO notify.template (name, channel, subject, body) VALUES ('hi', 'sms', NULL, '{"n": {{ n }}}'), ('hi', 'email', 'hi', '{"n": {{ n }}}');
	INSERT INTO notify.recipient (id) SELECT 'r' || n FROM generate_series(1, 6000) AS n;
	INSERT INTO notify.address (recipient, channel, address) SELECT 'r' || n, 'sms', '+49151' || 10000000 + n FROM generate_series(1, 6000) AS n;
	INSERT INTO notify.address (recipient, channel, address) SELECT 'r' || n, 'email', n || '\@x.example' FROM generate_series(1, 6000) AS n;
	INSERT INTO notify.budget (category, channel, period, amount) VALUES ('sale', 'sms', 'month', 123.45);
});

# Six thousand at once, slowly enough that workers can die meanwhile
sql("UPDATE notify.provider SET rate = 300, burst = 20 WHERE name = 'texts'");
campaign('sale', 6000);
for my $kind (qw(dispatcher planner dispatcher))
{
	my $sent = $sink->counts->{total};
	wait_until('some more', sub { $sink->counts->{total} > $sent + 200 });
	kill_worker($kind);
}
sql("UPDATE notify.provider SET rate = NULL, burst = NULL WHERE name = 'texts'");
wait_for_drain($node);
is(statuses('sale'), 'sms sent 2469, sms suppressed budget 3531', 'as many are sent as the money pays for, no more and no less');
is(paid('sale'), '123.45', 'to the cent');
is(money('sale'), '123.45|0|0', 'and it says so');
is(scalar(uniq map { $_->{headers}{'webhook-id'} // $_->{body} } $sink->entries('/texts')), 2469, 'the provider got those');
like(sql('SELECT array_to_string(problems, E\'\\n\') FROM notify.status()'), qr/budget \d+ \(sale sms by month\) is exhausted until/, 'status() tells');

# What failed, and what was cancelled, leaves its money to others.
sql(q{INSERT INTO notify.budget (category, channel, period, amount) VALUES ('flaky', 'sms', 'day', 5)});
$sink->behave({ '/texts' => [ ('/status/400') x 60, ('/status/503') x 20 ] });
campaign('flaky', 100);
wait_for_sql($node, q{SELECT count(*) FILTER (WHERE status = 'failed') = 60 AND count(*) FILTER (WHERE status IN ('ready', 'sending')) = 0 FROM notify.delivery WHERE category = 'flaky'});
campaign('flaky', 100);
wait_for_sql($node, 'SELECT unplanned + ready + sending = 0 FROM notify.status()');
sql(q{UPDATE notify.scheduled SET due_at = notify.now()});
wait_for_drain($node);
is(paid('flaky'), '5', 'failures and retries cost nothing: all of it is spent in the end');
is(money('flaky'), '5|0|0', 'and it says so');
$node->stop;
$node->start;
sql(q{UPDATE notify.budget SET amount = 10 WHERE category = 'flaky'});
sql('SELECT notify.hold($$$$)');
campaign('flaky', 200);
wait_for_sql($node, q{SELECT count(*) = 100 FROM notify.ready});
sql(q{SELECT count(notify.cancel(message, 'no')) FROM notify.ready});
campaign('flaky', 150);
wait_for_sql($node, q{SELECT unplanned = 0 AND ready = 100 FROM notify.status()});
sql('SELECT notify.arm()');
wait_for_drain($node);
is(paid('flaky'), '10', 'nor does what was cancelled');
is(money('flaky'), '10|0|0', 'and it says so');

# A dearer provider takes over what waits.
sql(q{INSERT INTO notify.budget (category, channel, period, amount, over) VALUES ('over', 'sms', 'week', 5, 'cheaper');
	UPDATE notify.category SET channels = '{sms}' WHERE name = 'over'; SELECT notify.hold('')});
campaign('over', 100);
wait_for_sql($node, q{SELECT count(*) = 100 FROM notify.ready});
sql(q{UPDATE notify.category SET channels = '{sms,email}' WHERE name = 'over';
	UPDATE notify.provider SET enabled = true WHERE name = 'dear'; UPDATE notify.provider SET enabled = false WHERE name = 'texts'});
sql('SELECT notify._reroute(1000)');		# as the planner does, once a minute
wait_for_sql($node, q{SELECT count(*) = 90 FROM notify.delivery WHERE category = 'over' AND reason = 'budget'});
sql('SELECT notify.arm()');
wait_for_drain($node);
is(statuses('over'), 'email sent 90, sms cancelled budget 90, sms sent 10', 'the dear one takes what it can be paid for; the others go by e-mail');
is(money('over'), '5|0|0', 'to the cent');
sql(q{UPDATE notify.provider SET enabled = (name <> 'dear')});

# What is put off goes in the next period, and no more of it than that pays for; the clock may go back.
sql(q{UPDATE notify.category SET ttl = '30 days' WHERE name = 'late';
	INSERT INTO notify.budget (category, channel, period, amount, over) VALUES ('late', 'sms', 'day', 1, 'defer')});
campaign('late', 50);
wait_for_sql($node, 'SELECT unplanned + ready + sending = 0 AND scheduled = 30 FROM notify.status()');
is(statuses('late'), 'sms scheduled budget_deferred 30, sms sent 20', 'the rest waits for tomorrow');
move_clock(24);
wait_for_sql($node, 'SELECT unplanned + ready + sending = 0 AND scheduled = 10 FROM notify.status()');
is(paid('late'), '2', 'tomorrow as much again');
move_clock(0);
campaign('late', 5);
wait_for_sql($node, 'SELECT unplanned + ready + sending = 0 AND scheduled = 15 FROM notify.status()');
is(paid('late'), '2', 'a clock set back begins no new period: what was sent by the true one today counts');
move_clock(48);
sql('SELECT notify._look_back()');		# likewise
wait_for_drain($node);
is(paid('late'), '2.75', 'the day after, all that is left');
move_clock(0);

# Saved anew midway it counts what was spent before.
sql(q{UPDATE notify.budget SET period = 'month', amount = 123.5 WHERE category = 'sale'; DELETE FROM notify.budget WHERE category <> 'sale'});
sql(q{INSERT INTO notify.budget (class, period, amount) VALUES ('marketing', 'month', 1000)});
campaign('sale', 3);
wait_for_drain($node);
is(money('sale'), '123.5|0|0', 'an edited row goes on from what was spent');
is(sql(q{SELECT spent = (SELECT sum(cost) FROM notify.outcome) FROM notify.stat_budget WHERE name LIKE 'marketing%'}), 't', 'a new one begins with it');
is(sql('SELECT count(DISTINCT budget) FROM notify.spent'), '2', 'nothing is left of those that are gone');

$node->stop;
done_testing();
