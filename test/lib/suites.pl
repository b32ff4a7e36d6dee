# Runs the test suites one after another and adds up what passed and failed.
# Called by test/run, which has built everything and set bindir and pg_test.
#
# A suite that did not run, a test file that ran no test, and a test that died
# half-way each count as failed: the closing line never flatters.

use strict;
use warnings;
use Cwd qw(getcwd);
use File::Basename qw(basename);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use TAP::Harness;

my $top = getcwd();
my $out = "$top/build/test";
my ($bindir, $pg_test) = @ENV{qw(bindir pg_test)};
my ($passed, $failed) = (0, 0);

# In the order they run: what takes longest to tell comes last.
my @suites = (
	[ regress => \&regress, 'test/sql/*.sql' ],
	[ isolation => \&isolation, 'test/specs/*.spec' ],
	[ pgtap => \&pgtap, 'test/pgtap/*.sql' ],
	[ tap => \&tap, 'test/t/*.pl' ],);

$| = 1;
my ($only, @names) = @ARGV;
die "no suite $only\n" if defined $only && !grep { $_->[0] eq $only } @suites;
for my $suite (@suites)
{
	my ($name, $run, $glob) = @$suite;
	next if defined $only && $only ne $name;
	my @files = sort glob $glob;
	@files = grep { wanted($_) } @files if @names;
	print "== $name\n";
	if (!@files)
	{
		print "# suite $name did not run: no test found\n";
		$failed++;
		next;
	}
	remove_tree("$out/$name");
	make_path("$out/$name");
	$run->("$out/$name", @files);
}
print "$passed passed, $failed failed\n";
exit($failed || !$passed ? 1 : 0);

# Was the file named on the command line, as a path or by its stem?
sub wanted
{
	my ($file) = @_;
	my $stem = stem($file);
	return scalar grep { stem($_) eq $stem } @names;
}

sub stem
{
	return basename($_[0]) =~ s/\.\w+$//r;
}

# Prints the last lines of a file that tells why something failed.
sub show_tail
{
	my ($file, $count) = @_;
	open my $in, '<', $file or return;
	my @lines = <$in>;
	splice @lines, 0, @lines - $count, "...\n" if @lines > $count;
	print "---- $file\n", @lines;
	return;
}

# pg_regress and pg_isolation_regress share their command line and output.
sub regression
{
	my ($dir, $program, @files) = @_;
	my $ran = 0;
	my $bad = 0;

	# Golden files stand in the top directory, results under build/.
	# NOTIFY_UNIT_DIR is where tests find the modules built from test/unit/.
	local $ENV{NOTIFY_UNIT_DIR} = "$top/test/unit";
	symlink "$top/expected", "$dir/expected" or die "symlink: $!";
	open my $conf, '>', "$dir/temp.conf" or die $!;
	print $conf "fsync = off\nmax_prepared_transactions = 10\nstatement_timeout = '120s'\n";
	close $conf;
	open my $run, '-|', "$pg_test/$program", "--bindir=$bindir", '--inputdir=test',
	  "--outputdir=$dir", "--temp-instance=$dir/tmp", "--temp-config=$dir/temp.conf",
	  '--encoding=UTF8', '--no-locale', '--load-extension=notify_pg', map { stem($_) } @files
	  or die "$program: $!";
	while (my $line = <$run>)
	{
		print $line;
		# "test name ... ok" up to PostgreSQL 15, "ok 1 - name" after.
		next unless $line =~ /^(?:test .* \.\.\. |not )?(ok|FAILED)\b/;
		$ran++;
		$bad++ if $1 eq 'FAILED' || $line =~ /^not ok/;
	}
	close $run;
	my $status = $?;
	$passed += $ran - $bad;
	$failed += $bad + @files - $ran;
	$failed++ if $status && !$bad && $ran == @files;
	if ($status)
	{
		show_tail("$dir/log/initdb.log", 20) unless $ran;
		show_tail("$dir/log/postmaster.log", 100) if $ran < @files || -s "$dir/regression.diffs" == 0;
		show_tail("$dir/regression.diffs", 600);
	}
	return;
}

sub regress
{
	return regression(shift, 'regress/pg_regress', @_);
}

sub isolation
{
	return regression(shift, 'isolation/pg_isolation_regress', @_);
}

# Runs files that speak TAP and returns those that did not pass.
sub harness
{
	my ($command, @files) = @_;
	my @bad;
	my $harness = TAP::Harness->new(
		{ exec => [ 'timeout', '-k', '30', '900', @$command ], timer => 1, color => 0,
			# pgTAP says on stdout what it got and what it wanted.
			comments => $command->[0] eq 'psql', failures => 1 });
	my $all = $harness->runtests(@files);

	for my $file ($all->descriptions)
	{
		my ($test) = $all->parsers($file);
		my $troubles = $test->failed;
		$troubles++ if !$troubles && $test->has_problems;
		$troubles++ if !$troubles && !$test->passed;
		$passed += $test->passed;
		$failed += $troubles;
		push @bad, $file if $troubles;
	}
	return @bad;
}

sub tap
{
	my ($dir, @files) = @_;
	local $ENV{TESTDIR} = $dir;
	local $ENV{PG_REGRESS} = "$pg_test/regress/pg_regress";
	local $ENV{PERL5LIB} = join ':', "$pg_test/perl", "$top/test/lib", $ENV{PERL5LIB} // ();
	for my $file (harness([ $^X, '-w' ], @files))
	{
		my $stem = stem($file);
		show_tail($_, 80) for glob "$dir/tmp_check/log/${stem}_*.log $dir/tmp_check/log/regress_log_$stem";
	}
	return;
}

# pgTAP: each file in a database of its own, where the extension was created.
sub pgtap
{
	my ($dir, @files) = @_;
	my $socket = tempdir('notify_pg.XXXXXX', TMPDIR => 1, CLEANUP => 1);
	local @ENV{qw(PGHOST PGUSER PGDATABASE PGOPTIONS)} =
	  ($socket, 'postgres', 'postgres', '-c client_min_messages=warning');
	my @ctl = ('pg_ctl', '-w', '-D', "$dir/data", '-l', "$dir/server.log");

	if (system("initdb -U postgres -A trust -N --no-locale -E UTF8 -D '$dir/data' >'$dir/initdb.log' 2>&1")
		|| system(@ctl, '-s', '-o', "-F -k $socket -c listen_addresses=''", 'start'))
	{
		print "# no server for pgtap\n";
		show_tail($_, 40) for "$dir/initdb.log", "$dir/server.log";
		$failed += @files;
		return;
	}
	local $SIG{INT} = local $SIG{TERM} = sub { exit 1 };
	my $ok = eval {
		system('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-c', 'CREATE DATABASE pgtap') == 0
		  and system('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'pgtap', '-c',
			'CREATE EXTENSION notify_pg; CREATE SCHEMA tap; CREATE EXTENSION pgtap SCHEMA tap;'
			  . 'ALTER DATABASE pgtap SET search_path = public, tap') == 0
		  or die "no extension\n";
		harness([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', 'pgtap', '-f' ], @files)
		  and show_tail("$dir/server.log", 60);
		1;
	};
	if (!$ok)
	{
		print "# $@";
		show_tail("$dir/server.log", 60);
		$failed += @files;
	}
	system(@ctl, '-s', '-m', 'immediate', 'stop');
	return;
}
