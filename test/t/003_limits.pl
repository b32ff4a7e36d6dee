# Limits of time: a transfer is over before its message's lease is, one slow
# query does not keep other rules from being planned, and ids go on growing
# when the clock is set back.
#
# Catches: a message on the wire twice at a time, an at-most-once message freed
# under its transfer, a chunk that costs a query timeout per event, a lock that
# was gone a moment later taken for a broken query.

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use NotifyTest;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# First without workers, and with a clock that can be set.
my $clock = movable_clock();
my $offset = $clock->{file};
my $node = $clock->under(sub {
	return notify_cluster('limits',
		conf => "shared_preload_libraries = ''\nnotify_pg.lease = 5\nnotify_pg.dispatchers = 2\n"
		  . "notify_pg.query_timeout = 200ms\n");
});

#
# Ids
#
is( $node->safe_psql('postgres', qq{
		SELECT notify._next_id() AS a \\gset
		COPY (SELECT -600) TO '$offset';
		SELECT notify._next_id() AS b \\gset
		SELECT :b > :a, notify.id_time(:b) - clock_timestamp() BETWEEN '9 min' AND '11 min';
		COPY (SELECT -7200) TO '$offset';
		SELECT notify._next_id() AS c \\gset
		SELECT :c > :a, abs(extract(epoch FROM notify.id_time(:c) - clock_timestamp())) < 60;
		COPY (SELECT 0) TO '$offset'}),
	"t|t\nf|t", 'ids grow when the clock is set back, but not for more than an hour');
is( $node->safe_psql('postgres', q{
		SELECT setval('notify.id_seq', (1 << 20) - 1000) IS NULL;
		SELECT count(*), bool_and(id > before) FROM (
			SELECT id, lag(id) OVER (ORDER BY n) AS before
			FROM (SELECT n, notify._next_id() AS id FROM generate_series(1, 20000) AS n OFFSET 0) AS made) AS pairs}),
	"f\n20000|t", 'and when the sequence begins anew');

#
# Queries
#
$node->safe_psql('postgres', q{
	INSERT INTO notify.provider (name, channel, preset) VALUES ('box', 'inbox', 'inbox');
	INSERT INTO notify.category (name, class, channels) VALUES ('box', 'transactional', '{inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'inbox', 'Hello');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	-- Raises the first time a session calls it.
	CREATE FUNCTION locked_once() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		IF NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) THEN
			PERFORM pg_advisory_lock(1);
			RAISE EXCEPTION 'locked' USING ERRCODE = 'lock_not_available';
		END IF;
		RETURN 'ann';
	END $$;
	CREATE FUNCTION always_locked() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'locked for long' USING ERRCODE = 'lock_not_available';
	END $$;
	CREATE FUNCTION planned(rule text) RETURNS SETOF text LANGUAGE sql AS $$
		SELECT concat_ws(' ', count(*), d.verdict, d.reason, d.detail) FROM notify.message d
		JOIN notify.rule_version v ON v.id = d.rule
		WHERE v.name = planned.rule GROUP BY d.verdict, d.reason, d.detail ORDER BY 1;
	$$;
	INSERT INTO notify.rule (name, event_type, template, category, audience) VALUES
		('slow', 't', 'hello', 'box', 'SELECT ''ann'' AS recipient FROM pg_sleep(0.3)'),
		('locked', 'lock', 'hello', 'box', 'SELECT locked_once() AS recipient'),
		('always', 'lock', 'hello', 'box', 'SELECT always_locked() AS recipient');
	INSERT INTO notify.rule (name, event_type, template, category) VALUES ('fast', 't', 'hello', 'box');
});
is( $node->safe_psql('postgres', q{
		SELECT count(notify.emit('t', 'ann', jsonb_build_object('n', n))) FROM generate_series(1, 16) AS n;
		SELECT clock_timestamp() AS began \gset
		SELECT planned FROM notify._plan(500);
		SELECT clock_timestamp() - :'began' < '2 s';
		SELECT planned('slow');
		SELECT planned('fast');

		-- The next events do not wait for it.
		SELECT notify.emit('t', 'ann', '{}') IS NULL;
		SELECT planned FROM notify._plan(500);
		SELECT planned('slow');
		SELECT planned('fast');

		-- A new version is another query.
		DELETE FROM notify.message;
		UPDATE notify.rule SET audience = 'SELECT ''ann'' AS recipient' WHERE name = 'slow';
		SELECT notify.emit('t', 'ann', '{}') IS NULL;
		SELECT planned FROM notify._plan(500);
		SELECT planned('slow')}),
	join("\n", 16, 32, 't', '16 skipped audience_error not run: the query took too long for other events of this batch', '16 send',
		'f', 2, '1 skipped audience_error not run: the query took too long less than 60 s ago',
		'16 skipped audience_error not run: the query took too long for other events of this batch', '17 send',
		'f', 2, '1 send'),
	'a slow query costs its own rule, and only a moment');
like(slurp_file($node->logfile), qr/audience query of rule version \d+ took too long and is not run for 60 s/, 'the log says so');
is( $node->safe_psql('postgres', q{
		SELECT notify.emit('lock', NULL, '{}') IS NULL;
		SELECT planned FROM notify._plan(500);
		SELECT planned('locked');
		SELECT planned('always')}),
	"f\n2\n1 send\n1 skipped audience_error locked for long", 'a query that met a lock is tried once more');

#
# Transfers
#
my $sink = start_sink();
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'notify_pg'\n");
$node->restart;
$node->safe_psql('postgres', qq{
	INSERT INTO notify.provider (name, channel, preset, settings, max_attempts) VALUES
		('hook', 'webhook', 'webhook', '{"timeout_ms": 60000}', 2),
		('mail', 'email', 'smtp', '{"host": "127.0.0.1", "port": $sink->{smtp}, "tls": "none", "from": "a\@shop.example"}', 2);
	INSERT INTO notify.category (name, class, channels, at_most_once) VALUES
		('often', 'transactional', '{webhook,email}', false), ('once', 'transactional', '{webhook,email}', true);
	INSERT INTO notify.template (name, channel, subject, body) VALUES ('hi', 'webhook', NULL, '{}'), ('hi', 'email', 'Hi', 'Hi');
	INSERT INTO notify.address (recipient, channel, address) VALUES
		('ann', 'webhook', 'http://127.0.0.1:$sink->{http}/'), ('ann', 'email', 'ann\@shop.example');
	SELECT notify.send('ann', 'hi', jsonb_build_object('n', n), CASE WHEN n > 3 THEN 'once' ELSE 'often' END)
	FROM generate_series(1, 4) AS n});

# The planner frees messages whose lease is over once a minute; here, at once.
ok( wait_until('all transfers to end', sub {
			$node->safe_psql('postgres', q{
				SELECT notify._maintain();
				SELECT count(*) = 8 FROM notify.outcome WHERE verdict IN ('dead', 'failed')}) =~ /t$/;
		}),
	'messages whose receiver hangs come to an end');
is( $node->safe_psql('postgres', q{
		SELECT m.category, m.channel, o.verdict, o.attempt, count(*), min(o.reason), bool_and(o.latency BETWEEN 1000 AND 5000),
			   bool_and(o.detail LIKE 'ambiguous: %')
		FROM notify.outcome o JOIN notify.message m ON m.id = o.message
		WHERE m.channel <> 'inbox' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 4}),
	join("\n", 'often|email|retrying|1|3||t|f', 'often|email|dead|2|3|attempts|t|f',
		'often|webhook|retrying|1|3||t|f', 'often|webhook|dead|2|3|attempts|t|f',
		'once|email|failed|1|1||t|t', 'once|webhook|failed|1|1||t|t'),
	'each attempt was answered within its lease, and an at-most-once message failed as ambiguous, once');
is($node->safe_psql('postgres', q{SELECT sum(refused) FROM notify._workers() WHERE kind = 'dispatcher'}),
	'0', 'no answer came too late');
my %seen;
ok( wait_until('all connections to end', sub {
			%seen = ();
			my @lines = split /\n/, slurp_file($sink->{log});
			for my $line (@lines)
			{
				my ($what, $id) = split / /, $line;
				push @{ $seen{$id} }, $what;
			}
			return 28 == @lines;
		}, 20),
	'the receiver saw every transfer begin and end');
is(scalar(grep { "@$_" eq 'open close open close' } values %seen),
	6, 'a message goes on the wire again only after the transfer before was given up');
is(scalar(grep { "@$_" eq 'open close' } values %seen), 2, 'an at-most-once message went on the wire once');

$node->stop;
kill 'TERM', $sink->{pid};
done_testing();

# A receiver of webhooks and mail that never answers. Its log has a line
# "open ID" when it has all of a message and "close ID" when the sender hung up.
sub start_sink
{
	my %listen = map { $_ => IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1') || die $! } qw(http smtp);
	my %sink = (log => PostgreSQL::Test::Utils::tempdir('sink') . '/log', map { $_ => $listen{$_}->sockport } keys %listen);
	pipe my $alive, $sink{test} or die $!;    # ends with the test
	append_to_file($sink{log}, '');
	$sink{pid} = fork // die $!;
	return \%sink if $sink{pid};
	close $sink{test};
	$SIG{TERM} = 'DEFAULT';
	eval { serve($alive, $sink{log}, %listen) };
	POSIX::_exit(0);
}

sub serve
{
	my ($alive, $log, %listen) = @_;
	my $select = IO::Select->new($alive, values %listen);
	my %told;
	open my $out, '>>', $log or die $!;
	$out->autoflush;
	for (;;)
	{
		my %ready = map { $_ => $_ } $select->can_read;
		return if $ready{$alive};
		for my $socket (grep { $told{$_} } values %ready)
		{
			my $peer = $told{$socket};
			if (sysread $socket, $peer->{text}, 65536, length $peer->{text})
			{
				$peer->{smtp} ? hear_mail($socket, $peer) : hear_request($peer);
				print $out "open $peer->{id}\n" if $peer->{id} && !$peer->{logged}++;
				next;
			}
			print $out "close $peer->{id}\n" if $peer->{id};
			$select->remove($socket);
			delete $told{$socket};
			close $socket;
		}
		for my $kind (grep { $ready{ $listen{$_} } } keys %listen)
		{
			my $socket = $listen{$kind}->accept or next;
			$select->add($socket);
			$told{$socket} = { smtp => $kind eq 'smtp', text => '' };
			print $socket "220 sink\r\n" if $kind eq 'smtp';
		}
	}
	return;
}

sub hear_request
{
	my ($peer) = @_;
	$peer->{id} = $1 if $peer->{text} =~ /^webhook-id: (\S+)\r\n.*\r\n\r\n/ims;
	return;
}

sub hear_mail
{
	my ($socket, $peer) = @_;
	while (!$peer->{data} && $peer->{text} =~ s/^(.*?)\r\n//)
	{
		$peer->{data} = $1 eq 'DATA';
		print $socket $peer->{data} ? "354 go on\r\n" : "250 ok\r\n";
	}
	$peer->{id} = $1 if $peer->{data} && $peer->{text} =~ /^Message-ID: <([^>]+)>.*\r\n\.\r\n/ims;
	return;
}
