# ALTER EXTENSION UPDATE makes of an old database what a new one is: every object
# of a fresh install, of one that was updated from each earlier release with
# a product's rules, people and messages in it, and of both after a dump and
# restore, is the same (test/lib/objects.sql says what is looked at).
# Would catch: a table, index, constraint, grant, comment or column that only new
# databases have; a function that stayed as it was; a table that pg_dump forgets.

use strict;
use warnings;
use Cwd qw(getcwd);
use File::Copy qw(copy);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = getcwd();
my $extensions = installed_extensions();
my %releases = map { m{--([\d.]+)\.sql$} ? ($1 => $_) : () } glob "$top/sql/upgrade/notify_pg--*.sql";
my @installed;
for my $release (sort keys %releases)
{
	push @installed, "$extensions/notify_pg--$release.sql";
	copy($releases{$release}, $installed[-1]) or die "$installed[-1]: $!";
}
END { unlink @installed; }

my $node = notify_cluster('main', extension => 0, conf => "notify_pg.poll_interval = '50ms'\n");
my $dir = PostgreSQL::Test::Utils::tempdir;
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION notify_pg');
my %fresh = objects('fresh');
cmp_ok(scalar keys %fresh, '>', 800, 'objects are looked at');
same_objects('fresh', restored('fresh'), 'restored from a dump of a fresh install');

for my $release (sort keys %releases)
{
	my $db = "from_$release";
	$node->safe_psql('postgres', qq{CREATE DATABASE "$db"});
	$node->safe_psql($db, "CREATE EXTENSION notify_pg VERSION '$release'");
	$node->safe_psql($db, 'ALTER EXTENSION notify_pg UPDATE');
	same_objects('fresh', $db, "updated from $release");
	same_objects('fresh', restored($db), "restored from a dump of one updated from $release");
}

done_testing();

sub installed_extensions
{
	my ($share) = run_command([ 'pg_config', '--sharedir' ]);
	chomp $share;
	return "$share/extension";
}

# name => definition of everything in a database.
sub objects
{
	my ($db) = @_;
	my $lines = $node->safe_psql($db, slurp_file("$top/test/lib/objects.sql"));
	my %objects;
	for my $line (split /\n/, $lines)
	{
		my ($name, $definition) = split /\t/, $line, 2;
		push @{ $objects{$name} }, $definition;    # day partitions that differ show as two
	}
	return map { $_ => join("\n", sort @{ $objects{$_} }) } keys %objects;
}

sub same_objects
{
	my ($one, $other, $what) = @_;
	my %one = objects($one);
	my %other = objects($other);
	my @differ = grep { ($one{$_} // '') ne ($other{$_} // '') } sort keys %{ { %one, %other } };

	is(scalar @differ, 0, "$what: everything is as in a fresh install");
	diag("$_\n    $one: " . ($one{$_} // 'not there') . "\n    $other: " . ($other{$_} // 'not there')) for @differ;
}

# Dumps a database, restores it into a new one and gives its name.
sub restored
{
	my ($db) = @_;
	my $copy = "restored_$db";
	$node->safe_psql('postgres', qq{CREATE DATABASE "$copy"});
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$db", $node->connstr($db) ], "dumps $db");
	$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr($copy), "$dir/$db" ], "restores $db");
	return $copy;
}
