# docs/reference.md is what the database says of itself, and the pages lead
# where they say: every link to a file and every name of ours is there.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('docs');
my ($page, $err) = ('', '');

# Is the committed reference current?
is($node->psql('postgres', '', extra_params => [ '-A', '-t', '-f', 'docs/reference.sql' ],
		on_error_stop => 1, stdout => \$page, stderr => \$err), 0, 'the generator runs') or diag($err);
my @now = split /\n/, $page;
my @then = split /\n/, slurp_file('docs/reference.md');
my ($at) = grep { ($now[$_] // '') ne ($then[$_] // '') } 0 .. ($#now > $#then ? $#now : $#then);
ok(!defined $at, 'docs/reference.md is current')
  or diag("run: make docs\nline " . ($at + 1) . " is    " . ($then[$at] // '(missing)') . "\nshould be " . ($now[$at] // '(missing)'));
unlike($page =~ s/^## Views.*?(?=^## )//msr, qr/\|  \|$/m, 'every column of a table and every setting says what it means');
unlike($page, qr/notify\._/, 'nothing internal is in the reference');

# Names in the pages.
my %known = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
	SELECT 'notify.' || relname FROM pg_class WHERE relnamespace = 'notify'::regnamespace
	UNION SELECT 'notify.' || proname FROM pg_proc WHERE pronamespace = 'notify'::regnamespace
	UNION SELECT name FROM pg_settings WHERE name LIKE 'notify_pg.%'
	UNION SELECT 'notify.' || c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'notify'::regnamespace AND a.attnum > 0});
for my $file (glob('docs/*.md'), 'README.md')
{
	my $text = slurp_file($file);
	my ($dir) = $file =~ m{^(.*/)?};
	$dir //= '';
	my @dead = grep { !/^(?:https?:|#)/ && !-e "$dir" . s/#.*//r } $text =~ /\]\(([^)]+)\)/g;
	is("@dead", '', "$file: every link leads to a file");
	next if $file =~ /reference/;
	my %unknown = map { $_ => 1 } grep { !$known{$_} } $text =~ /\b(notify(?:_pg)?\.[a-z_]+)\b(?!\.(?:conf|control|so))/g;
	is(join(' ', sort keys %unknown), '', "$file: every name is one the database knows");
}

# SQL in the pages marked as runnable runs, page by page, in a database of its own.
for my $file (sort glob('docs/*.md'))
{
	my @blocks = slurp_file($file) =~ /^```sql run\n(.*?)^```/msg or next;
	my ($name) = $file =~ m{(\w+)\.md$};
	$node->safe_psql('postgres', "CREATE DATABASE page_$name");
	$node->safe_psql("page_$name", 'CREATE EXTENSION notify_pg');
	$err = '';
	my $status = $node->psql("page_$name", join("\n", @blocks), on_error_stop => 1, stderr => \$err);
	is($status, 0, "$file: its SQL runs") or diag($err);
}

$node->stop;
done_testing();
