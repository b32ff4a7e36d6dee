# notify_pg.retention shortened and lengthened by reload: the running planner drops
# the days that are over, whole ones and no others, and what is needed stays.
# Catches: a planner that goes by the value it started with; a day too few or too
# many; logs that do not go together; a value taken that would drop today.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clock = movable_clock();
my $offset = (43200 - time) % 86400;    # the next noon, UTC: no day ends under the test
$clock->set($offset);
my $node = $clock->under(sub { notify_cluster('retention', conf => "notify_pg.retention = '60d'\nnotify_pg.poll_interval = '20ms'\n") });
my $today = "(clock_timestamp() AT TIME ZONE 'UTC')::date";
my $low = "notify._day_start($today - age)";
my @ages = (50, 20, 16, 15, 5);
make_days(@ages);
is(days(), '5 15 16 20 50', 'sixty days: all stay');

# Shortened, while a message made twenty days ago is not sent
$node->safe_psql('postgres', "INSERT INTO notify.scheduled (message, due_at) SELECT $low, 'infinity' FROM (VALUES (20)) AS v (age)");
retention('15d');
drops_to('5 15 16 20', 'shortened: the day before what is needed goes, what is needed and later stays');
$node->safe_psql('postgres', 'DELETE FROM notify.scheduled');
drops_to('5 15', 'not needed any more: what is older than fifteen days goes, a day of just fifteen does not');
is($node->safe_psql('postgres', q{SELECT string_agg(key, ' ' ORDER BY key::int) FROM notify.idempotency}), '5', 'keys go by the hour');

# Lengthened
retention('40d');
make_days(45, 30);
drops_to('5 15 30', 'lengthened: a day of thirty stays');

# Refused: the value before stays, and it is said.
my ($rc, $out, $err) = $node->psql('postgres', q{ALTER SYSTEM SET notify_pg.retention = '1h'});
like($err, qr/60 min is outside the valid range for parameter "notify_pg.retention" \(1440 /, 'less than a day is refused');
($rc, $out, $err) = $node->psql('postgres', q{SET notify_pg.retention = '2d'});
like($err, qr/parameter "notify_pg.retention" cannot be changed now/, 'a session cannot set it');
for my $bad ('1h', '-1', 'a while', '15 days', '0')
{
	my $told = -s $node->logfile;
	$node->append_conf('postgresql.conf', "notify_pg.retention = '$bad'\n");
	$node->reload;
	ok(wait_until("the log tells of $bad", sub {
				slurp_file($node->logfile, $told) =~ /(outside the valid range for|invalid value for) parameter "notify_pg.retention"/
			}),
		"'$bad' is said to be wrong");
}
is($node->safe_psql('postgres', q{SELECT current_setting('notify_pg.retention'), bool_or(error IS NOT NULL) FROM pg_file_settings WHERE name = 'notify_pg.retention'}),
	'40d|t', 'the value before stays');
upkeep();
is(days(), '5 15 30', 'and nothing is dropped');
retention('1d');
drops_to('', 'the least there is: today stays alone');
is($node->safe_psql('postgres', "SELECT count(*) FROM unnest(notify._logs()) AS l CROSS JOIN LATERAL notify._partitions(l) AS p WHERE p.day = $today"),
	'3', 'today stays');

$node->stop;
done_testing();

# Days so many days ago, in every log, each with a row, and a key of that day.
sub make_days
{
	my $days = join ', ', map { "($_)" } @_;
	make_day($node, "$today - $_") for @_;
	$node->safe_psql('postgres', qq{
		INSERT INTO notify.event (id, xid, op) SELECT $low, '3', 'I' FROM (VALUES $days) AS v (age);
		INSERT INTO notify.message (id, event, event_xid, priority, verdict, channel) SELECT $low, $low, '3', 3, 'send', 'sms' FROM (VALUES $days) AS v (age);
		INSERT INTO notify.outcome (message, verdict) SELECT $low, 'sent' FROM (VALUES $days) AS v (age);
		INSERT INTO notify.idempotency (key, event, hash) SELECT age, $low, 0 FROM (VALUES $days) AS v (age)});
	return;
}

# How old the past days are; a log that has other days, or rows, than the others says so.
sub days
{
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(age || CASE n WHEN 3 THEN '' ELSE '!' END, ' ' ORDER BY age) FROM (
			SELECT age, count(*) AS n FROM (
				SELECT $today - p.day AS age FROM unnest(notify._logs()) AS l CROSS JOIN LATERAL notify._partitions(l) AS p WHERE p.day < $today
			) AS p
			JOIN LATERAL (SELECT (SELECT count(*) FROM notify.event WHERE id = $low) + (SELECT count(*) FROM notify.message WHERE id = $low)
						  + (SELECT count(*) FROM notify.outcome WHERE message = $low) AS rows) AS r ON r.rows = 3
			GROUP BY age) AS q});
}

sub drops_to
{
	my ($expected, $what) = @_;
	wait_until($what, sub { upkeep(); days() eq $expected });
	return is(days(), $expected, $what);
}

# The running planner looks after the days: at once when the clock is set.
sub upkeep
{
	$offset += 2;
	$clock->set($offset);
	return planner_passes();
}

sub planner_passes
{
	my $loops = $node->safe_psql('postgres', "SELECT loops FROM notify._workers() WHERE kind = 'planner'");
	return wait_for_sql($node, "SELECT loops >= $loops + 3 FROM notify._workers() WHERE kind = 'planner'");
}

# Reloads; when sessions show the value, the planner has been told.
sub retention
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "notify_pg.retention = '$value'\n");
	$node->reload;
	wait_for_sql($node, "SELECT current_setting('notify_pg.retention') = '$value'");
	return planner_passes();
}
