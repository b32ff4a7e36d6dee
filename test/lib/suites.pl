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
my @failures;		# which, told again at the end

# In the order they run: what takes longest to tell comes last.
my @suites = (
	[ regress => \&regress, 'test/sql/*.sql' ],
	[ isolation => \&isolation, 'test/specs/*.spec' ],
	[ pgtap => \&pgtap, 'test/pgtap/*.sql' ],
	[ tap => \&tap, 'test/t/*.pl' ],
	[ bench => \&bench, 'test/bench/*.pl' ],);

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
		fails($name, 1);
		next;
	}
	remove_tree("$out/$name");
	make_path("$out/$name");
	$run->("$out/$name", @files);
}
print map({ "FAILED $_\n" } @failures), "$passed passed, $failed failed\n";
exit($failed || !$passed ? 1 : 0);

# Counts what failed and keeps its name for the end.
sub fails
{
	my ($what, $count) = @_;
	$failed += $count;
	push @failures, $what;
	return;
}

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

# Prints the first (count > 0) or the last lines of a file that tells why
# something failed.
sub show
{
	my ($file, $count) = @_;
	open my $in, '<', $file or return;
	my @lines = <$in>;
	if (@lines > abs $count)
	{
		@lines = $count > 0 ? (@lines[ 0 .. $count - 1 ], "...\n") : ("...\n", @lines[ $count .. -1 ]);
	}
	print "---- $file\n", @lines if @lines;
	return;
}

# Runs code while a server of its own is up, without notify_pg preloaded so
# that no worker races with a test; false when there was no server to run it on.
sub with_server
{
	my ($dir, $code) = @_;
	my $socket = tempdir('notify_pg.XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my @ctl = ('pg_ctl', '-s', '-w', '-D', "$dir/data", '-l', "$dir/server.log");

	local @ENV{qw(PGHOST PGUSER PGDATABASE)} = ($socket, 'postgres', 'postgres');
	if (system("initdb -U postgres -A trust -N --no-locale -E UTF8 -D '$dir/data' >'$dir/initdb.log' 2>&1") == 0)
	{
		open my $conf, '>>', "$dir/data/postgresql.conf" or die $!;
		print $conf "listen_addresses = ''\nunix_socket_directories = '$socket'\nfsync = off\n",
		  "max_prepared_transactions = 10\nstatement_timeout = '120s'\n",
		  "log_autovacuum_min_duration = -1\nlog_checkpoints = off\n";
		close $conf;
		if (system(@ctl, 'start') == 0)
		{
			local $SIG{INT} = local $SIG{TERM} = sub { die "stopped\n" };
			my $ok = eval { $code->($socket); 1 };
			my $error = $@;
			system(@ctl, '-m', 'immediate', 'stop');
			remove_tree("$dir/data") if $ok;
			die $error unless $ok;
			return 1;
		}
	}
	show($_, -40) for "$dir/initdb.log", "$dir/server.log";
	return 0;
}

# pg_regress and pg_isolation_regress: each test in a database of its own, in
# which the extension was created.
sub regression
{
	my ($dir, $program, @files) = @_;

	# Where tests find the modules built from test/unit/.
	local $ENV{NOTIFY_UNIT_DIR} = "$top/test/unit";
	my $up = with_server($dir, sub {
		my ($socket) = @_;
		one_regression("$dir/" . stem($_), $program, $socket, stem($_)) for @files;
	});
	fails("$dir: no server", scalar @files) unless $up;
	return;
}

sub one_regression
{
	my ($dir, $program, $socket, $name) = @_;

	# Golden files stand in the top directory, results under build/.
	make_path($dir);
	symlink "$top/expected", "$dir/expected" or die "symlink: $!";
	open my $run, '-|', join(' ', map { "'$_'" } ("$pg_test/$program", "--bindir=$bindir", '--inputdir=test',
		"--outputdir=$dir", "--host=$socket", '--user=postgres', "--dbname=test_$name",
		'--encoding=UTF8', '--no-locale', '--load-extension=notify_pg', $name)) . ' 2>&1'
	  or die "$program: $!";
	my @said = <$run>;
	close $run;
	my $ok = $? == 0;
	# "test name ... ok" up to PostgreSQL 15, "ok 1 - name" after.
	my ($line) = grep { /^(?:test .* \.\.\. |not )?(?:ok|FAILED)\b/ } @said;
	print $line // "test $name ... did not run\n";
	if ($ok && $line)
	{
		$passed++;
		return;
	}
	fails($name, 1);
	print grep { !/^=|^$/ } @said unless $line;
	show("$dir/regression.diffs", 200);
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
	my ($options, @files) = @_;
	my @bad;
	my $all = TAP::Harness->new({ timer => 1, color => 0, %$options })->runtests(@files);

	for my $file ($all->descriptions)
	{
		my ($test) = $all->parsers($file);
		my $troubles = $test->failed;
		$troubles++ if !$troubles && $test->has_problems;
		$troubles++ if !$troubles && !$test->passed;
		$passed += $test->passed;
		next unless $troubles;
		fails("$file " . join(' ', $test->failed), $troubles);
		push @bad, $file;
	}
	return @bad;
}

# Perl files that start servers of their own.
sub perl_files
{
	my ($dir, $limit, $options, @files) = @_;

	# Up to PostgreSQL 15 the one, after it the others.
	local @ENV{qw(TESTDIR TESTDATADIR TESTLOGDIR)} = ($dir, "$dir/tmp_check", "$dir/tmp_check/log");
	local $ENV{PG_REGRESS} = "$pg_test/regress/pg_regress";
	local $ENV{PERL5LIB} = join ':', "$pg_test/perl", "$top/test/lib", "$top/test/bench", $ENV{PERL5LIB} // ();
	my $command = [ 'timeout', '--foreground', '-k', '30', $limit, $^X, '-w' ];
	for my $file (harness({ exec => $command, %$options }, @files))
	{
		my $stem = stem($file);
		show($_, -80) for glob "$dir/tmp_check/log/${stem}_*.log $dir/tmp_check/log/regress_log_$stem";
	}
	return;
}

sub tap
{
	my ($dir, @files) = @_;
	return perl_files($dir, 900, {}, @files);
}

# Small, to see that each of them runs; with BENCH=full at full size and told as
# a table (test/bench/README.md).
sub bench
{
	my ($dir, @files) = @_;
	my $full = ($ENV{BENCH} // '') eq 'full';
	local $ENV{BENCH_DIR} = "$top/build/bench";
	local $ENV{BENCH_TABLE} = "$dir/table";
	perl_files($dir, $full ? 7200 : 300, { verbosity => $full ? 1 : 0 }, @files);
	if ($full && open my $table, '<', "$dir/table")
	{
		print "\n", <$table>, "\n";
	}
	return;
}

# pgTAP: each file in a database of its own, where the extension was created.
sub pgtap
{
	my ($dir, @files) = @_;
	my $up = with_server($dir, sub {
		local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
		for my $name (map { stem($_) } @files)
		{
			system("psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE DATABASE test_$name' && "
				  . "psql -Xq -v ON_ERROR_STOP=1 -d test_$name -c 'CREATE EXTENSION notify_pg' "
				  . "-c 'CREATE SCHEMA tap' -c 'CREATE EXTENSION pgtap SCHEMA tap' "
				  . "-c 'ALTER DATABASE test_$name SET search_path = public, tap'");
		}
		my $psql = sub {
			my (undef, $file) = @_;
			return [ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', 'test_' . stem($file), '-f', $file ];
		};
		# pgTAP says on stdout what it got and what it wanted.
		harness({ exec => $psql, comments => 1, failures => 1 }, @files) and show("$dir/server.log", -60);
	});
	fails("$dir: no server", scalar @files) unless $up;
	return;
}
