# Escalations with workers, a provider and its receipts: each step at its time,
# once, whoever dies in between.
#
# Catches: a step sent before its time or twice, one that is lost or planned again
# when the planner is killed, one sent although an earlier message was read, was
# reported as delivered or was cancelled, a report that waits for steps instead of
# being taken, a step that a clock set back puts off.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('steps', conf => "restart_after_crash = on\nnotify_pg.poll_interval = '50ms'\n");
my $sink = http_sink();
my $hour = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Lets hours pass for schedules.
sub elapse
{
	$hour += $_[0];
	sql("ALTER SYSTEM SET notify_pg.clock_offset = '$hour h'");
	$node->reload;
	return wait_for_sql($node, "SELECT notify.now() > clock_timestamp() + interval '@{[$hour * 60 - 5]} min'");
}

# How often the provider got something of a key.
sub got
{
	my ($key) = @_;
	return scalar grep { $_->{body} eq qq({"key": "$key"}) } $sink->entries('/line');
}

sub emit
{
	my ($type, @keys) = @_;
	return sql(join ';', map { "SELECT notify.emit('$type', 'ann', '{\"host\": \"$_\"}', '$_')" } @keys);
}

# Kills the planner, which takes the server down and up again.
sub kill_planner
{
	my $pid = sql(q{SELECT pid FROM notify._workers() WHERE kind = 'planner'});
	kill 'KILL', $pid;
	return wait_for_sql($node, "SELECT count(*) = 1 FROM notify._workers() WHERE kind = 'planner' AND pid <> $pid AND state = 'running'");
}

# Waits until so many decisions were made of a key, and nothing of it is under way.
sub wait_for_steps
{
	my ($key, $count) = @_;
	return wait_for_sql($node, "SELECT count(*) = $count AND count(*) FILTER (WHERE status IN ('ready', 'sending', 'retrying')) = 0 FROM notify.delivery WHERE key = '$key'");
}

sub statuses
{
	my ($key) = @_;
	return sql("SELECT string_agg(concat_ws(' ', step, channel, status, reason), ', ' ORDER BY message) FROM notify.delivery WHERE key = '$key'");
}

sql(qq{
	INSERT INTO notify.preset (name, channel, addressed, settings, receipt) VALUES
		('line', 'chat', false, '{"url": {"kind": "url", "required": true}}',
		 '{"message": "\$.id", "kinds": [{"kind": "delivered", "path": "\$.delivered"}]}');
	INSERT INTO notify.provider (name, preset, settings) VALUES ('line', 'line', '{"url": "@{[$sink->url('/line')]}"}'), ('inbox', 'inbox', '{}');
	INSERT INTO notify.category (name, class, channels) VALUES ('alarm', 'critical', '{inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES
		('down', 'inbox', 'down'), ('down', 'chat', '{"key": "{{ event.key }}"}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	INSERT INTO notify.rule (name, event_type, template, category, cancel_key) VALUES ('down', 'down', 'down', 'alarm', 'new ->> ''host''');
	INSERT INTO notify.rule (name, event_type, action, cancel_key) VALUES ('up', 'up', 'cancel', 'new ->> ''host''');
	INSERT INTO notify.rule_step VALUES ('down', 2, '{chat}', '1 hour', '{seen}'), ('down', 3, '{chat}', '2 hours', '{seen}');
});

# The whole of it, with a planner that dies while a step waits
emit('down', 'a');
wait_for_steps('a', 1);
is(statuses('a'), '1 inbox delivered', 'step 1 at once');
kill_planner();
is(got('a'), 0, 'nothing more before its time');
elapse(1);
wait_for_steps('a', 2);
is(got('a'), 1, 'step 2 an hour later');
elapse(1);
is(sql('SELECT count(*) FROM notify.scheduled WHERE step = 3'), '1', 'step 3 waits for two hours');
elapse(1);
wait_for_steps('a', 3);
is(got('a'), 2, 'and comes');
is(statuses('a'), '1 inbox delivered, 2 chat sent, 3 chat sent', 'each on record');
wait_for_drain($node);

# Read, or cancelled
emit('down', 'b', 'c', 'd');
wait_for_steps($_, 1) for 'b', 'c', 'd';
sql(q{UPDATE notify.inbox SET read_at = now() WHERE data ->> 'key' = 'b'});
emit('up', 'c');
ok(sql(q{SELECT notify.cancel((SELECT event FROM notify.delivery WHERE key = 'd'), 'enough')}) eq 't', 'cancel() finds the step that waits');
elapse(1);
wait_for_steps('b', 2);
wait_for_steps('c', 2);
elapse(2);
wait_for_drain($node);
is(statuses('b'), '1 inbox delivered, 2 skipped step_seen, 3 skipped step_seen', 'what was read is not repeated');
is(statuses('c'), '1 inbox delivered, 2 cancelled cancelled', 'what is over is not repeated');
is(statuses('d'), '1 inbox delivered, 2 cancelled cancelled', 'nor what was cancelled by hand');
is(join(' ', map { got($_) } qw(b c d)), '0 0 0', 'the provider got none of it');

# Delivered, as the provider reports
sql(q{BEGIN; TRUNCATE notify.rule_step; UPDATE notify.rule SET channels = '{chat}' WHERE name = 'down';
	INSERT INTO notify.rule_step VALUES ('down', 2, '{inbox}', '1 hour', '{delivered}'); COMMIT});
emit('down', 'e', 'f');
wait_for_steps($_, 1) for 'e', 'f';
is(sql(q{SELECT r.kind, r.state FROM notify.delivery d, notify.receipt('line', format('{"id": "%s", "delivered": true}', d.message)) AS r WHERE d.key = 'e'}),
	'delivered|applied', 'a report does not wait for steps');
elapse(1);
wait_for_drain($node);
is(statuses('e'), '1 chat delivered delivered, 2 skipped step_delivered', 'what arrived is not repeated');
is(statuses('f'), '1 chat sent, 2 inbox delivered', 'what is not known to have arrived is');

# The planner dies again and again while many steps come due.
sql(q{BEGIN; UPDATE notify.rule SET channels = '{inbox}' WHERE name = 'down';
	UPDATE notify.rule_step SET channels = '{chat}', unless = '{seen}'; COMMIT});
sql(q{SELECT count(notify.emit('down', 'ann', '{}', 'many')) FROM generate_series(1, 3000)});
wait_for_sql($node, q{SELECT count(*) = 3000 FROM notify.delivery WHERE key = 'many' AND status = 'delivered'});
$hour++;
sql("ALTER SYSTEM SET notify_pg.clock_offset = '$hour h'");
$node->reload;
for (1 .. 3)
{
	wait_for_sql($node, "SELECT count(*) > $_ * 500 FROM notify.message WHERE key = 'many' AND step = 2");
	kill_planner();
}
wait_for_drain($node);
is(sql(q{SELECT step, channel, status, count(*), count(DISTINCT event) FROM notify.delivery WHERE key = 'many' GROUP BY 1, 2, 3 ORDER BY 1}),
	"1|inbox|delivered|3000|3000\n2|chat|sent|3000|3000", 'each of 3,000 people gets step 2, decided once');
cmp_ok(got('many'), '>=', 3000, 'and the provider all of it');

$node->stop;
done_testing();
