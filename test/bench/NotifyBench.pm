# NotifyBench: what the benchmarks share. Sizes, a server with sane settings,
# the programs beside it, and results.
#
#   my $rows = size(100_000, 2_000);            full, quick
#   my $node = bench_cluster('drain', preload => 1);
#   my $sink = sink('--arrivals');              $sink->url, ->stat, ->arrivals, ->reset
#   for my $round (1 .. rounds(7)) { ... push @ours, ...; push @theirs, ...; }
#   result('what', unit => 'us', ours => \@ours, theirs => \@theirs, most => 1.10);
#   finish();
#
# The two sides of a ratio are measured in turn within each round, so that what
# disturbs the machine disturbs both; a ratio is made within a round and told as
# the median and the range over the rounds. A result is a line of TAP (it was
# measured at all) and, with BENCH=full, a line of the closing table.
#
# BENCH=full: full size. BENCH_SCALE: a factor on full sizes. BENCH_ROUNDS: how
# many rounds.

package NotifyBench;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use List::Util qw(max min sum);
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

our @EXPORT = qw(full size rounds bench_cluster database sink tool program sql wait_sql DRAINED median percentile result
  remark finish shop claimer hold_and_plan release workers cpu_of private_kb counter);

use constant DRAINED => 'SELECT unplanned + ready + sending + scheduled = 0 FROM notify.status()';

my $tools = $ENV{BENCH_DIR} // die "run it with: test/run bench\n";

sub full { return ($ENV{BENCH} // '') eq 'full'; }

sub size
{
	my ($full, $quick) = @_;
	return $quick unless full();
	return max($quick, int($full * ($ENV{BENCH_SCALE} // 1)));
}

sub rounds
{
	my ($full) = @_;
	return full() ? $ENV{BENCH_ROUNDS} // $full : 1;
}

# Durable, with the statistics collector and autovacuum as they come, and no
# checkpoint in the middle of a measurement unless a benchmark asks for one.
sub bench_cluster
{
	my ($name, %opt) = @_;
	return notify_cluster($name, %opt,
		conf => ($opt{preload} ? '' : "shared_preload_libraries = ''\n")
		  . "fsync = on\nshared_buffers = 1GB\nmax_wal_size = 32GB\ncheckpoint_timeout = 1d\n"
		  . "log_min_duration_statement = -1\nlog_checkpoints = off\nlog_autovacuum_min_duration = -1\n"
		  . "max_connections = 50\nnotify_pg.poll_interval = 100\n"
		  . ($opt{conf} // ''));
}

# Another database of the node, with the extension.
sub database
{
	my ($node, $name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION notify_pg');
	return;
}

# A query's answer; dies when it fails.
sub sql
{
	my ($node, $query, $db) = @_;
	return $node->safe_psql($db // 'postgres', $query);
}

# Until a query is true; dies when it is not in time. Asked by one session, a
# twentieth of the time: a psql every few milliseconds would take a third of a
# machine of two cores from what is measured.
sub wait_sql
{
	my ($node, $query, $db) = @_;
	sql($node, qq{DO \$wait\$
		DECLARE
			until timestamptz := clock_timestamp() + $PostgreSQL::Test::Utils::timeout_default * interval '1 second';
			asked timestamptz;
			done boolean;
		BEGIN
			LOOP
				asked := clock_timestamp();
				EXECUTE \$query\$$query\$query\$ INTO done;
				EXIT WHEN done;
				COMMIT;
				IF asked > until THEN
					RAISE EXCEPTION 'waited too long for: %', \$query\$$query\$query\$;
				END IF;
				PERFORM pg_sleep(greatest(0.01, 20 * extract(epoch FROM clock_timestamp() - asked)));
			END LOOP;
		END \$wait\$}, $db);
	return;
}

sub tool { return "$tools/$_[0]"; }

# Runs one of our programs to its end; its output.
sub program
{
	my ($name, $in, @args) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ tool($name), @args ], '<', \($in // ''), '>', \$out, '2>', \$err)
	  or die "$name: $err";
	return $out;
}

#
# Numbers
#

sub median { return percentile(0.5, @_); }

sub percentile
{
	my ($share, @values) = @_;
	@values = sort { $a <=> $b } @values;
	return $values[ min($#values, int(@values * $share)) ] if @values % 2 || $share != 0.5;
	return ($values[ @values / 2 - 1 ] + $values[ @values / 2 ]) / 2;
}

sub number
{
	my ($value) = @_;
	return '-' unless defined $value;
	my $size = abs $value;
	return sprintf($size >= 1000 ? '%.0f' : $size >= 10 ? '%.1f' : '%.2f', $value);
}

# A line of the table. ours, theirs: values by round; ratios: ours / theirs
# unless given. What must be so, or nothing: most, least (of the median
# ratio), ours_most, ours_least (of the median of ours).
sub result
{
	my ($name, %r) = @_;
	my @ours = @{ $r{ours} };
	my @theirs = @{ $r{theirs} // [] };
	my @ratios = $r{ratios} ? @{ $r{ratios} } : map { $theirs[$_] ? $ours[$_] / $theirs[$_] : () } 0 .. $#theirs;
	my $ratio = @ratios ? median(@ratios) : undef;
	my @targets = map { defined $r{ $_->[0] } ? [ $_->[1], $r{ $_->[0] }, $_->[2], $_->[3] ] : () } (
		[ 'most', 'ratio <=', $ratio, 1 ], [ 'least', 'ratio >=', $ratio, -1 ],
		[ 'ours_most', 'ours <=', median(@ours), 1 ], [ 'ours_least', 'ours >=', median(@ours), -1 ]);
	my $met = @targets ? 'met' : '';
	for my $t (@targets)
	{
		$met = 'NOT MET' if !defined $t->[2] || $t->[2] * $t->[3] > $t->[1] * $t->[3];
	}
	my $range = @ratios ? number($ratio) . ' [' . number(min @ratios) . '..' . number(max @ratios) . ']' : '';
	my @line = ($name, number(median(@ours)), @theirs ? number(median(@theirs)) : '', $r{unit} // '', $range,
		join(', ', map { "$_->[0] $_->[1]" } @targets), $met);
	ok(@ours && !grep({ !defined } @ours, @ratios), "$name: " . join(' | ', @line[ 1 .. $#line ]));
	table(@line) if full();
	return;
}

# A line of the table without numbers to compare.
sub remark
{
	my ($text) = @_;
	note($text);
	table("  $text") if full();
	return;
}

sub table
{
	my (@line) = @_;
	open my $out, '>>', $ENV{BENCH_TABLE} or die $!;
	print $out @line == 1 ? "$line[0]\n" : sprintf("%-80s %9s %9s %-9s %-22s %-32s %s\n", @line);
	close $out;
	return;
}

sub finish
{
	done_testing();
	return;
}

#
# The shop: orders whose status change is one webhook message each
#

# orders (8 columns, one index, a jsonb column), in the current search path.
sub orders
{
	my ($name, $rows) = @_;
	return qq{
		CREATE TABLE $name (id bigint PRIMARY KEY, number text NOT NULL, customer text NOT NULL, status text NOT NULL,
			total numeric(12, 2) NOT NULL, currency text NOT NULL, details jsonb NOT NULL, changed_at timestamptz NOT NULL);
		INSERT INTO $name SELECT n, 'SO-' || 1000000 + n, 'c' || n % 1000, 'placed', n % 500 + 0.5, 'EUR',
			jsonb_build_object('items', jsonb_build_array(jsonb_build_object('sku', 'A-' || n, 'quantity', 2)),
				'address', jsonb_build_object('city', 'Paris', 'street', 'Rue ' || n), 'gift', n % 7 = 0), now()
		FROM generate_series(1, $rows) AS n;
		VACUUM (ANALYZE) $name;};
}

sub shop
{
	my ($node, $url, %opt) = @_;
	my $rows = $opt{rows} // 1000;
	my $db = $opt{db} // 'postgres';
	sql($node, orders('orders', $rows), $db);
	sql($node, qq{
		INSERT INTO notify.provider (name, channel, preset, settings@{[$opt{concurrency} ? ', concurrency' : '']})
		VALUES ('hook', 'webhook', 'webhook', '{"url": "$url"}'@{[$opt{concurrency} ? ", $opt{concurrency}" : '']});
		INSERT INTO notify.category (name, class, channels)
		VALUES ('orders', 'transactional', '{webhook}'), ('news', 'marketing', '{webhook}');
		INSERT INTO notify.template (name, channel, body) VALUES ('moved', 'webhook', '{"n": {{ new.id }}, '
			'"type": "order_moved", "order": {{ new.number | json }}, "status": {{ new.status | json }}, '
			'"total": {{ new.total | json }}, "customer": {{ recipient.id | json }}, '
			'"text": "Your order {{ new.number }} is now {{ new.status }}."}');
		INSERT INTO notify.recipient (id) SELECT 'c' || n FROM generate_series(0, 999) AS n;
		SELECT notify.attach('orders', recipient => 'new.customer');
		INSERT INTO notify.rule (name, source, ops, condition, template, category) VALUES ('moved', 'orders', '{update}',
			'new.status IS DISTINCT FROM old.status', 'moved', 'orders');}, $db);
	return;
}

# The bodies that template makes of these orders, a line each.
sub bodies
{
	my ($node, $status, $first, $last, $db) = @_;
	return sql($node, qq{
		SELECT format('{"n": %s, "type": "order_moved", "order": "%s", "status": "%s", "total": %s, "customer": "%s", '
					  '"text": "Your order %s is now %s."}', id, number, '$status', trim_scale(total), customer, number, '$status')
		FROM orders WHERE id BETWEEN $first AND $last}, $db) . "\n";
}

# Changes these orders while nothing may be sent, and waits until their
# messages are planned; the seconds that took.
sub hold_and_plan
{
	my ($node, $status, $first, $last) = @_;
	sql($node, "SELECT notify.hold('benchmark')");
	my $begun = time;
	sql($node, "UPDATE orders SET status = '$status', changed_at = now() WHERE id BETWEEN $first AND $last");
	wait_sql($node, 'SELECT unplanned = 0 AND ready > 0 FROM notify.status()');
	return time - $begun;
}

sub release
{
	my ($node) = @_;
	return sql($node, 'SELECT notify.arm()');
}

# A dispatcher without a wire, as a procedure: claims, commits, settles all as
# sent, commits, until nothing is left. "took": the milliseconds of each claim
# and settlement, without the commits.
sub claimer
{
	my ($node, $db) = @_;
	return sql($node, q{
		CREATE SEQUENCE bench_slot START 1000;
		CREATE PROCEDURE claim_and_settle(batch integer, INOUT took float8[]) LANGUAGE plpgsql AS $$
		DECLARE
			lane integer := (SELECT p.id * 4 + 1 FROM notify.provider p);
			slot integer := nextval('bench_slot');
			bound bigint := 0;
			begun timestamptz;
			spent interval;
			tids tid[];
			ids bigint[];
			n integer;
			next bigint;
		BEGIN
			took := '{}';
			LOOP
				begun := clock_timestamp();
				SELECT array_agg(c.ready_tid) FILTER (WHERE c.message IS NOT NULL),
					   array_agg(c.message) FILTER (WHERE c.message IS NOT NULL), max(c.seq) FILTER (WHERE c.message IS NULL)
				INTO tids, ids, next
				FROM notify._claim(slot, 1, ARRAY[lane], ARRAY[bound], ARRAY[batch], '1 min', batch) AS c;
				spent := clock_timestamp() - begun;
				COMMIT;
				bound := coalesce(next, bound);
				n := cardinality(ids);
				EXIT WHEN n IS NULL;
				begun := clock_timestamp();
				PERFORM notify._settle(slot, 1, tids, ids, array_fill('ok'::text, ARRAY[n]), array_fill(200, ARRAY[n]),
					array_fill(''::text, ARRAY[n]), array_fill(''::text, ARRAY[n]), array_fill(-1::bigint, ARRAY[n]),
					array_fill(1, ARRAY[n]), array_fill(NULL::text, ARRAY[n]), array_fill(NULL::text, ARRAY[n]));
				took := took || extract(epoch FROM clock_timestamp() - begun + spent)::float8 * 1000;
				COMMIT;
			END LOOP;
		END $$}, $db);
}

#
# Workers
#

# Pids of the running workers of a kind.
sub workers
{
	my ($node, $kind) = @_;
	return split /\n/, sql($node, "SELECT pid FROM notify._workers() WHERE kind = '$kind' AND state = 'running'");
}

# Seconds of CPU these processes have used.
sub cpu_of
{
	my (@pids) = @_;
	return sum(0, map { (split ' ', slurp_file("/proc/$_/schedstat"))[0] / 1e9 } @pids);
}

# Kilobytes that are this process's alone. Not the server's shared memory, of
# which the kernel calls private what only one process has looked at so far.
sub private_kb
{
	my ($pid) = @_;
	my ($total, $shared) = (0, 0);
	for (split /\n/, slurp_file("/proc/$pid/smaps"))
	{
		$shared = /zero|SYSV|shm/ if /^[0-9a-f]+-[0-9a-f]+ /;
		$total += $1 if !$shared && /^Private_\w+:\s+(\d+) kB/;
	}
	return $total;
}

# The sums of these columns of notify.stat_worker, as a hash.
sub counter
{
	my ($node, @columns) = @_;
	my @values = split /\|/, sql($node,
		'SELECT ' . join(', ', map { "coalesce(sum($_), 0)" } @columns) . ' FROM notify.stat_worker');
	my %result;
	@result{@columns} = @values;
	return \%result;
}

sub sink
{
	my (@args) = @_;
	return NotifyBench::Sink->start(@args);
}

package NotifyBench::Sink;

sub start
{
	my ($class, @args) = @_;
	my $self = bless { in => '', out => '' }, $class;
	$self->{run} = IPC::Run::start([ NotifyBench::tool('sink'), @args ], '<', \$self->{in}, '>', \$self->{out});
	$self->{run}->pump until $self->{out} =~ /^ready (\d+)/m || !$self->{run}->pumpable;
	($self->{port}) = $self->{out} =~ /^ready (\d+)/m or die "sink: $self->{out}";
	return $self;
}

sub url { return "http://127.0.0.1:$_[0]->{port}/"; }

sub ask
{
	my ($self, $what) = @_;
	require HTTP::Tiny;
	my $reply = HTTP::Tiny->new(timeout => 60)->get($self->url . $what);
	die "sink: $reply->{status} $reply->{content}" unless $reply->{success};
	return $reply->{content};
}

sub reset { return $_[0]->ask('reset'); }

# {requests, bytes, connections, first, last}; times in nanoseconds
sub stat
{
	my ($self) = @_;
	return { $self->ask('stat') =~ /(\w+)=(\d+)/g };
}

# n => when it arrived first
sub arrivals
{
	my ($self) = @_;
	my %at;
	for (split /\n/, $self->ask('arrivals'))
	{
		my ($n, $at) = split ' ';
		$at{$n} //= $at;
	}
	return \%at;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->{run}->kill_kill if $self->{run};
	return;
}

1;
