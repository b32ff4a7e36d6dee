# Capture: what a rule costs the statement that changes a row.
#
# Each case is a copy of the same table. Cases take turns within a round,
# beginning with another one each time; a table is vacuumed before its turn.
# CPU time of the backend, in one transaction, so that neither the disk nor
# other processes are in it. WAL is what the server wrote meanwhile; logs are
# truncated before, so no full page is in it.

use strict;
use warnings;
use NotifyBench;

my $rows = size(100_000, 2_000);
my $singles = size(20_000, 1_000);
my $node = bench_cluster('capture', conf => "autovacuum = off\n");
my $inside = "$ENV{BENCH_DIR}/inside";

# What a case does to its table, besides being one.
my $never = "new.status = '%s' AND old.status IS DISTINCT FROM '%s'";
my %cases = (
	none => [],
	empty => ["CREATE TRIGGER nothing AFTER UPDATE ON orders_empty FOR EACH ROW EXECUTE FUNCTION bench_nothing()"],
	plpgsql => ["CREATE TRIGGER audit AFTER UPDATE ON orders_plpgsql FOR EACH ROW EXECUTE FUNCTION audit()"],
	one => [ attach('one'), rule('one', 1, sprintf($never, 's1', 's1')) ],
	fifty => [ attach('fifty'), map { rule('fifty', $_, sprintf($never, "s$_", "s$_")) } 1 .. 50 ],
	risky => [ attach('risky'), rule('risky', 1, "(new.details ->> ''gone'')::int > 0") ],
	matched => [ attach('matched'), rule('matched', 1, 'new.total <> old.total') ],);
my @names = sort keys %cases;

sub attach
{
	my ($name) = @_;
	return "SELECT notify.attach('orders_$name', recipient => 'new.customer')";
}

sub rule
{
	my ($name, $n, $condition) = @_;
	$condition =~ s/'+/''/g;
	return "INSERT INTO notify.rule (name, source, condition, template, category)"
	  . " VALUES ('${name}_$n', 'orders_$name', '$condition', 'moved', 'orders')";
}

sql($node, qq{
	CREATE FUNCTION bench_nothing() RETURNS trigger LANGUAGE c AS '$inside';
	CREATE FUNCTION bench_cpu() RETURNS float8 LANGUAGE c AS '$inside';
	INSERT INTO notify.provider (name, channel, preset) VALUES ('inbox', 'inbox', 'inbox');
	INSERT INTO notify.category (name, class, channels) VALUES ('orders', 'transactional', '{inbox}');
	INSERT INTO notify.template (name, channel, body) VALUES ('moved', 'inbox', 'Order {{ new.number }}');
	CREATE TABLE audit_log (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), old jsonb, new jsonb);
	CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO audit_log (old, new) VALUES (to_jsonb(OLD), to_jsonb(NEW));
		RETURN NULL;
	END \$\$;});
for my $name (@names)
{
	sql($node, NotifyBench::orders("orders_$name", $rows) . join(';', @{ $cases{$name} }) . qq{;
		CREATE FUNCTION single_$name(n integer) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			FOR i IN 1 .. n LOOP
				UPDATE orders_$name SET total = total + 1 WHERE id = i;
			END LOOP;
		END \$\$;
		CREATE FUNCTION bulk_$name(n integer) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			UPDATE orders_$name SET total = total + 1 WHERE id <= n;
		END \$\$;});
}

# Microseconds of CPU and bytes of WAL a row.
sub measure
{
	my ($how, $name, $n) = @_;
	my $out = sql($node, qq{
		TRUNCATE notify.event, audit_log;
		VACUUM orders_$name;
		SET synchronous_commit = off;
		BEGIN;
		SELECT ${how}_$name(20);		-- what a session does once
		SELECT bench_cpu() AS cpu, pg_current_wal_insert_lsn() AS lsn \\gset
		SELECT ${how}_$name($n);
		SELECT 'took', (bench_cpu() - :cpu) / $n, (pg_current_wal_insert_lsn() - :'lsn') / $n;
		COMMIT});
	$out =~ /took\|([\d.]+)\|([\d.]+)/ or die $out;
	return ($1, $2);
}

my (%cpu, %wal);
for my $round (0 .. rounds(9) - 1)
{
	for my $how ('single', 'bulk')
	{
		for my $i (0 .. $#names)
		{
			my $name = $names[ ($i + $round) % @names ];
			my ($us, $bytes) = measure($how, $name, $how eq 'single' ? $singles : $rows);
			push @{ $cpu{$how}{$name} }, $us;
			push @{ $wal{$how}{$name} }, $bytes;
		}
	}
}

# By round, what a case has over another.
sub added
{
	my ($values, $name) = @_;
	return [ map { $values->{$name}[$_] - $values->{none}[$_] } 0 .. $#{ $values->{none} } ];
}

for my $how ('single', 'bulk')
{
	my $said = $how eq 'single' ? 'single-row UPDATE' : "UPDATE of $rows rows";
	my %side = (unit => 'us/row', theirs => $cpu{$how}{empty});
	result("$said no rule wants, 1 rule / empty C trigger", %side, ours => $cpu{$how}{one}, most => 1.10);
	result("$said no rule wants, 50 rules / empty C trigger", %side, ours => $cpu{$how}{fifty}, most => 1.25);
	result("$said, 1 rule in a subtransaction / empty C trigger", %side, ours => $cpu{$how}{risky});
	result("$said, matched, added / plpgsql to_jsonb, added", unit => 'us/row',
		ours => added($cpu{$how}, 'matched'), theirs => added($cpu{$how}, 'plpgsql'), most => 0.5);
	result("$said, matched, added WAL / plpgsql, added WAL", unit => 'bytes/row',
		ours => added($wal{$how}, 'matched'), theirs => added($wal{$how}, 'plpgsql'), most => 0.65);
}
finish();
