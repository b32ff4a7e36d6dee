# Liquid beside LiquidJS (npm), which people know as fast: renders a second of
# five kinds of templates (test/bench/liquid/kinds.mjs).
#
# Ours is notify.render() called in SQL, a statement that renders so often; the
# backend keeps the template compiled and finds it by its text each time, which
# is part of what is measured. Theirs is renderSync() of a template parsed once.
# The two take turns, for a quarter of a second each time; both must say the
# same words first.

use strict;
use warnings;
use IPC::Open2;
use NotifyBench;
use NotifyTest qw(decode_json);
use Test::More;
use Time::HiRes qw(time);

my $home = "$ENV{BENCH_DIR}/liquid";
my $slice = full() ? 0.25 : 0.02;

# LiquidJS as package-lock.json has it, from the registry; no scripts run.
system("mkdir -p '$home' && cp test/bench/liquid/* '$home' && cd '$home' && "
	  . "{ [ -d node_modules/liquidjs ] || npm ci --ignore-scripts >npm.log 2>&1; }") == 0
  or plan(skip_all => "no LiquidJS: node and npm ci are needed (see $home/npm.log)");
my $json = qx{node '$home/theirs.mjs' --kinds};
my $kinds = decode_json($json);

my $node = bench_cluster('liquid');
my $psql = start('psql', '-XAtq', '-d', $node->connstr('postgres'));
my $js = start('node', "$home/theirs.mjs");

sub start
{
	my $pid = open2(my $out, my $in, @_);
	$in->autoflush(1);
	return { in => $in, out => $out, pid => $pid };
}

# Sends a line, reads a line.
sub ask
{
	my ($process, $line) = @_;
	print { $process->{in} } "$line\n";
	my $answer = readline $process->{out};
	die "no answer to: $line\n" unless defined $answer;
	chomp $answer;
	return $answer;
}

# The kinds as a table, flat, so that no call decompresses what it renders.
ask($psql, q{CREATE TABLE kind (n integer, template text, data jsonb, format text, partials jsonb, words text);}
	  . q{ALTER TABLE kind ALTER template SET STORAGE EXTERNAL; SELECT 1;});
$json =~ s/'/''/g;
ask($psql, "INSERT INTO kind SELECT k.n - 1, k.v->>'template', k.v->'data', k.v->>'format', k.v->'partials', k.v->>'words' "
	  . "FROM jsonb_array_elements('$json'::jsonb) WITH ORDINALITY AS k (v, n); SELECT 1;");
ask($psql, q{PREPARE run (integer, integer) AS SELECT count(octet_length(notify.render(k.template, k.data, k.format, k.partials)))
	FROM (SELECT template || '' AS template, data || '{}' AS data, format, partials || '{}' AS partials FROM kind WHERE n = $1 OFFSET 0) AS k,
		generate_series(1, $2); SELECT 1;} =~ s/\n/ /gr);

# Renders a second, of one side, over so many renderings.
sub ours
{
	my ($kind, $count) = @_;
	my $begun = time;
	ask($psql, "EXECUTE run($kind, $count);");
	return $count / (time - $begun);
}

sub theirs
{
	my ($kind, $count) = @_;
	my ($seconds) = split ' ', ask($js, "$kind $count");
	return $count / $seconds;
}

# How many renderings fill a slice of time, and warms up on the way.
sub count_for
{
	my ($run, $kind) = @_;
	my $count = 10;
	my $rate = $run->($kind, $count);
	for (1 .. 3)
	{
		$count = int($rate * $slice) || 1;
		$rate = $run->($kind, $count);
	}
	return int($rate * $slice) || 1;
}

for my $kind (0 .. $#$kinds)
{
	my $name = $kinds->[$kind]{name};
	# LiquidJS writes a quotation mark as &#34;, the reference and we as &quot;
	is(ask($psql, "SELECT notify.render(template, data, format, partials) = replace(words, '&#34;', '&quot;') FROM kind WHERE n = $kind;"),
		't', "$name: both say the same");
	my ($our_count, $their_count) = (count_for(\&ours, $kind), count_for(\&theirs, $kind));
	my (@ours, @theirs);
	for my $round (1 .. rounds(9))
	{
		push @ours, ours($kind, $our_count);
		push @theirs, theirs($kind, $their_count);
	}
	result("Liquid, $name", unit => '/s', ours => \@ours, theirs => \@theirs, least => 3);
}
close $_->{in} for $psql, $js;
waitpid $_->{pid}, 0 for $psql, $js;
remark('theirs: LiquidJS ' . (decode_json(join '', do { open my $in, '<', "$home/node_modules/liquidjs/package.json" or die $!; <$in> })->{version})
	  . ', node ' . (qx{node --version} =~ s/\s//gr));
finish();
