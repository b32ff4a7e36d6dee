# Planner: events that become messages, per second of one core.
#
# notify._plan() is called as the planner calls it, chunk by chunk with a commit
# each, in a session without workers around; CPU time of that session. Beside
# it, by hand, chunk by chunk: INSERT ... SELECT of the same rows into a copy of
# notify.message and its indexes and into a copy of notify.ready, with the same
# lookups of recipient and address and nothing decided.

use strict;
use warnings;
use NotifyBench;
use Test::More;

my $events = size(20_000, 1_000);
my @rules = (1, 20, 200);
my @people = full() ? map { size($_, 100) } (1_000, 100_000, 1_000_000) : (100, 2_000);
my $node = bench_cluster('planner', conf => "notify_pg.query_timeout = 10min\nautovacuum = off\n");

for my $people (@people)
{
	my $db = "p$people";
	database($node, $db);
	sql($node, qq{
		CREATE FUNCTION bench_cpu() RETURNS float8 LANGUAGE c AS '$ENV{BENCH_DIR}/inside';
		INSERT INTO notify.provider (name, channel, preset, settings)
		VALUES ('mail', 'email', 'smtp', '{"host": "127.0.0.1", "from": "shop\@example.com"}');
		INSERT INTO notify.category (name, class, channels) VALUES ('orders', 'transactional', '{email}');
		INSERT INTO notify.template (name, channel, subject, body) VALUES ('moved', 'email', 'Order', 'Order {{ new.id }}');
		INSERT INTO notify.recipient (id, locale) SELECT 'c' || n, 'fr-FR' FROM generate_series(1, $people) AS n;
		INSERT INTO notify.address (recipient, channel, address)
		SELECT 'c' || n, 'email', 'c' || n || '\@example.com' FROM generate_series(1, $people) AS n;
		INSERT INTO notify.rule (name, event_type, template, category, audience)
		VALUES ('everyone', 'all', 'moved', 'orders', 'SELECT id AS recipient FROM notify.recipient');
		CREATE TABLE plain_message (LIKE notify.message INCLUDING ALL);
		CREATE INDEX ON plain_message (event);
		CREATE INDEX ON plain_message (left(key, 200), source) WHERE key IS NOT NULL;
		CREATE INDEX ON plain_message (recipient);
		CREATE TABLE plain_ready (LIKE notify.ready INCLUDING ALL);
		VACUUM ANALYZE;
		CREATE PROCEDURE plan_all(OUT messages bigint) LANGUAGE plpgsql AS \$\$
		DECLARE
			step record;
		BEGIN
			messages := 0;
			LOOP
				SELECT * INTO step FROM notify._plan(500);
				COMMIT;
				messages := messages + step.planned;
				EXIT WHEN NOT step.more;
			END LOOP;
		END \$\$;
		CREATE PROCEDURE plain_all(OUT messages bigint) LANGUAGE plpgsql AS \$\$
		DECLARE
			at bigint := 0;
			done bigint;
		BEGIN
			messages := 0;
			LOOP
				WITH chunk AS (
					SELECT * FROM notify.event e WHERE e.id > at ORDER BY e.id LIMIT 500
				), written AS (
					INSERT INTO plain_message (id, event, event_xid, source, key, rule, recipient, category, channel,
						address, priority, template, template_version, verdict, due_at, expires_at, context)
					SELECT notify._next_id(), c.id, c.xid, c.source, c.key, c.rules[1], r.id, 'orders', 'email', a.address, 1,
						'moved', 1, 'send', now(), now() + interval '3 days', jsonb_build_object('recipient',
							jsonb_build_object('id', r.id, 'name', r.name, 'locale', r.locale))
					FROM chunk c JOIN notify.recipient r ON r.id = c.recipient
					JOIN notify.address a ON a.recipient = r.id AND a.channel = 'email'
					RETURNING id
				), queued AS (
					INSERT INTO plain_ready (message, lane) SELECT w.id, 5 FROM written w
				)
				SELECT max(c.id), count(*) INTO at, done FROM chunk c;
				COMMIT;
				messages := messages + done;
				EXIT WHEN done < 500;
			END LOOP;
		END \$\$;
		@{[map { orders_with_rules($_) } @rules]}}, $db);
}

# A table whose rows each match one of that many rules.
sub orders_with_rules
{
	my ($count) = @_;
	return qq{
		CREATE TABLE orders_$count (id bigint PRIMARY KEY, number text, customer text, status text, total numeric, details jsonb);
		SELECT notify.attach('orders_$count', recipient => 'new.customer');
		INSERT INTO notify.rule (name, source, condition, template, category)
		SELECT format('r%s_%s', $count, n), 'orders_$count', format('new.id %% $count = %s', n), 'moved', 'orders'
		FROM generate_series(0, $count - 1) AS n;
	};
}

# Messages per second of CPU; dies when there are not that many.
sub rate
{
	my ($db, $what, $expected) = @_;
	my $out = sql($node, qq{
		SET synchronous_commit = off;
		SET jit = off;
		SELECT bench_cpu() AS cpu \\gset
		CALL $what(NULL);
		SELECT 'took', bench_cpu() - :cpu}, $db);
	my ($messages, $us) = $out =~ /^(\d+)\ntook\|([\d.]+)/m or die $out;
	die "$what planned $messages instead of $expected" if $messages != $expected;
	return $messages * 1e6 / $us;
}

sub forget
{
	my ($db) = @_;
	sql($node, 'TRUNCATE notify.event, notify.message, notify.ready, notify.outcome, plain_message, plain_ready', $db);
	return;
}

my (%ours, %theirs, %fan);
for my $round (1 .. rounds(5))
{
	for my $people (@people)
	{
		my $db = "p$people";
		for my $rules (@rules)
		{
			forget($db);
			sql($node, "INSERT INTO orders_$rules SELECT n, 'SO-' || n, 'c' || 1 + n * 7919 % $people, 'placed', n % 100,
				jsonb_build_object('sku', n) FROM generate_series(1, $events) AS n; TRUNCATE orders_$rules;
				DELETE FROM notify.event WHERE op = 'T'", $db);
			push @{ $theirs{$people}{$rules} }, rate($db, 'plain_all', $events);
			push @{ $ours{$people}{$rules} }, rate($db, 'plan_all', $events);
		}
	}
}
for my $people (@people)
{
	result("plan, $rules[$_] rules, $people recipients / plain INSERT ... SELECT", unit => 'msg/cpu s',
		ours => $ours{$people}{ $rules[$_] }, theirs => $theirs{$people}{ $rules[$_] }, ours_least => 20_000) for 0 .. $#rules;
}
# Tables and indexes that outgrow the caches slow everybody: linear is what slows no more than the plain statement.
sub slopes
{
	my ($rates) = @_;
	my ($small, $large) = ($rates->{ $people[0] }{ $rules[0] }, $rates->{ $people[-1] }{ $rules[-1] });
	return [ map { $large->[$_] / $small->[$_] } 0 .. $#$small ];
}
result("the largest of these / the smallest, ours / plain INSERT ... SELECT", unit => 'of it',
	ours => slopes(\%ours), theirs => slopes(\%theirs), least => 0.8);

# One event that names everybody.
for my $round (1 .. rounds(3))
{
	for my $people (@people)
	{
		my $db = "p$people";
		forget($db);
		sql($node, q{SELECT notify.emit('all', NULL, '{}')}, $db);
		push @{ $fan{$people} }, eval { rate($db, 'plan_all', $people) } // do { diag($@); 0 };
	}
}
result("one event to $_ people / one event to $people[0] people", unit => 'msg/cpu s',
	ours => $fan{$_}, theirs => $fan{ $people[0] }, least => 0.8, ours_least => 20_000) for @people[ 1 .. $#people ];
finish();
