# sql/upgrade/generate: what it derives from two versions of the SQL, and what it
# refuses, on small versions of its own. (322_upgrade runs what it makes of ours.)
# Would catch: an object that changed and is neither replaced nor complained of; a
# statement it does not understand let through; a later release's part run on
# objects that were made as they are now.

use strict;
use warnings;
use Cwd qw(getcwd);
use File::Copy qw(copy);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = getcwd() . '/sql/upgrade/generate';
my $first = <<'END';
\echo Use "CREATE EXTENSION" \quit
CREATE TABLE notify.a (id int PRIMARY KEY, name text DEFAULT 'x;y'); -- a comment; with a semicolon
CREATE INDEX a_name ON notify.a (name);
COMMENT ON TABLE notify.a IS 'A''s; words.';
COMMENT ON COLUMN notify.a.name IS 'Its name.';
/* a block; of comment */
CREATE FUNCTION notify.f(x int DEFAULT 1, y "char" DEFAULT ',') RETURNS text LANGUAGE sql AS $$ SELECT 'f;'; $$;
COMMENT ON FUNCTION notify.f(integer, "char") IS 'F.';
CREATE FUNCTION notify.c(x bigint) RETURNS int LANGUAGE c AS 'MODULE_PATHNAME', 'c_symbol';
CREATE TRIGGER t AFTER INSERT ON notify.a FOR EACH ROW EXECUTE FUNCTION notify.g();
ALTER TABLE notify.a ENABLE ALWAYS TRIGGER t;
CREATE VIEW notify.v AS SELECT * FROM notify.a;
COMMENT ON COLUMN notify.v.id IS 'Id.';
INSERT INTO notify.a VALUES (1, 'one');
CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION notify.e();
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notify FROM PUBLIC;
GRANT SELECT, INSERT ON notify.a, notify.v TO r, s;
GRANT EXECUTE ON FUNCTION notify.f(integer, "char") TO r;
END

# Nothing changed: nothing is done but to keep the event triggers quiet.
is(lines($first), '', 'the same: nothing to do');
is(lines($first =~ s/-- a comment[^\n]*//r =~ s/\(id int/(\n\tid int/r), '', 'comments and line breaks are no difference');

# What travels by itself
derives(q{SELECT 'f;'} => q{SELECT 'g;'}, [qr/^CREATE OR REPLACE FUNCTION notify\.f\(x int DEFAULT 1, y "char" DEFAULT ','\) RETURNS text LANGUAGE sql AS \$\$ SELECT 'g;'; \$\$;$/], 'a body');
derives('DEFAULT 1' => 'DEFAULT 2', [qr/^CREATE OR REPLACE FUNCTION notify\.f/], 'a default');
derives(q{'Its name.'} => q{'Another.'}, [qr/^COMMENT ON COLUMN notify\.a\.name IS 'Another\.';$/], 'a comment');
derives(q{COMMENT ON COLUMN notify.a.name IS 'Its name.';} => '', [qr/^COMMENT ON COLUMN notify\.a\.name IS NULL;$/], 'a comment that is gone');
derives('AFTER INSERT ON' => 'AFTER UPDATE ON', [ qr/^LOCK notify\.a$/, qr/^CREATE OR REPLACE TRIGGER t AFTER UPDATE/, qr/^ALTER TABLE notify\.a ENABLE ALWAYS TRIGGER t;$/ ],
	'a trigger, with what says when it fires, the table locked first');
derives('SELECT * FROM' => 'SELECT *, 1 AS one FROM', [qr/^CREATE OR REPLACE VIEW notify\.v/], 'a view');
derives('SELECT, INSERT ON' => 'SELECT, UPDATE ON', [ map { my $o = $_; map { (qr/^REVOKE INSERT ON notify\.$o FROM $_;$/, qr/^GRANT UPDATE ON notify\.$o TO $_;$/) } qw(r s) } qw(a v) ], 'grants');
derives('"char") TO r' => '"char") TO s', [ qr/^REVOKE EXECUTE ON FUNCTION notify\.f\(integer, "char"\) FROM r;$/, qr/^GRANT EXECUTE .* TO s;$/ ], 'a grant to another');
derives('REVOKE ALL' => "CREATE TABLE notify.b (id int GENERATED ALWAYS AS IDENTITY);\nCREATE INDEX b_id ON notify.b (id);\nCOMMENT ON TABLE notify.b IS 'B.';\nINSERT INTO notify.b DEFAULT VALUES;\nGRANT USAGE ON ALL SEQUENCES IN SCHEMA notify TO s;\nREVOKE ALL",
	[ qr/^CREATE TABLE notify\.b /, qr/^CREATE INDEX b_id/, qr/^COMMENT ON TABLE notify\.b/, qr/^INSERT INTO notify\.b/, qr/^GRANT USAGE ON SEQUENCE notify\.b_id_seq TO s;$/ ], 'a new table and what belongs to it');
derives('REVOKE ALL' => "CREATE FUNCTION notify.n() RETURNS int LANGUAGE sql AS 'SELECT 1';\nREVOKE ALL",
	[ qr/^CREATE FUNCTION notify\.n/, qr/^REVOKE EXECUTE ON FUNCTION notify\.n\(\) FROM PUBLIC;$/ ], 'a new function, which is not left to PUBLIC');
derives('REVOKE ALL' => "INSERT INTO notify.a VALUES (2, 'two') ON CONFLICT (id) DO NOTHING;\nDO \$\$ BEGIN END \$\$;\nREVOKE ALL",
	[ qr/^INSERT INTO notify\.a VALUES \(2/, qr/^DO / ], 'what can run again does');

# What needs a line by hand, and what becomes of it
needs(q{name text DEFAULT 'x;y'} => q{name text DEFAULT 'x;y', age int}, qr/sql\/all\.sql:2: TABLE notify\.a differs from 1\.0 \(new: age int\)/,
	'ALTER TABLE notify.a ADD COLUMN age int;', [ qr/^LOCK notify\.a$/, qr/^ALTER TABLE notify\.a ADD COLUMN age int;$/ ], 'a column');
needs('notify.a (name)' => 'notify.a (name, id)', qr/INDEX notify\.a_name differs/, 'DROP INDEX notify.a_name;',
	[ qr/^LOCK notify\.a$/, qr/^DROP INDEX notify\.a_name;$/, qr/^CREATE INDEX a_name ON notify\.a \(name, id\);$/ ], 'an index');
needs('RETURNS text' => 'RETURNS json', qr/FUNCTION notify\.f\(integer, "char"\) has other arguments, names or results/, 'DROP FUNCTION notify.f(integer, "char");',
	[ qr/^DO /, qr/^DROP FUNCTION/, qr/^CREATE FUNCTION notify\.f/, qr/^COMMENT ON FUNCTION notify\.f/, qr/^REVOKE EXECUTE .* FROM PUBLIC;$/, qr/^GRANT EXECUTE .* TO r;$/, qr/^DO / ],
	'a function that is made anew, with its comment, its grants and others\' grants');
needs('f(x int' => 'f(z int', qr/has other arguments, names or results/, 'DROP FUNCTION notify.f(integer, "char");', undef, 'an argument\'s name');
needs(qr/CREATE VIEW.*?'Id.';\n/s => '', qr/VIEW notify\.v is gone from sql\/; DROP VIEW notify\.v;/, 'DROP VIEW notify.v;', [qr/^DROP VIEW notify\.v;$/], 'a view that is gone', qr/, notify\.v/);
needs("(1, 'one')" => "(1, 'eins')", qr/ROWS .* is new in a table that 1\.0 has/, undef, undef, 'rows');
needs('c(x bigint)' => 'c(x bigint, y int)', qr/the C function c_symbol is called with other arguments/, undef, undef, 'a C function that old objects call');
needs('ALTER TABLE notify.a ENABLE ALWAYS TRIGGER t;' => '', qr/FIRING t ON notify\.a is gone/, 'ALTER TABLE notify.a ENABLE TRIGGER t;',
	[ qr/^LOCK notify\.a$/, qr/^ALTER TABLE notify\.a ENABLE TRIGGER t;$/ ], 'when a trigger fires');
needs('sql_drop' => 'ddl_command_end', qr/EVENT TRIGGER e differs/, 'DROP EVENT TRIGGER e;', [ qr/^DROP EVENT TRIGGER e;$/, qr/^CREATE EVENT TRIGGER e/ ], 'an event trigger');

# Tables of the app's
is(lines($first, "\\lock SELECT x FROM notify.a;\nSELECT notify.f() FROM notify.a;\n"), "LOCK x FROM notify.a\nSELECT notify.f() FROM notify.a;", 'tables of the app\'s are locked first too');

# What runs last
is(chained('1.0', "$first\nCREATE TABLE notify.b (id int);", { '1.0' => $first }, { '1.0' => "UPDATE notify.a SET name = 'z';", '1.0.last' => 'INSERT INTO notify.b SELECT id FROM notify.a;' }),
	"UPDATE notify.a SET name = 'z';\nCREATE TABLE notify.b (id int);\nINSERT INTO notify.b SELECT id FROM notify.a;", 'what runs last finds new tables');

# What it does not understand
refuses("$first\nCREATE RULE r AS ON INSERT TO notify.a DO NOTHING;", '', qr/sql\/all\.sql:\d+: cannot be classed/, 'another kind of statement');
refuses("$first\nCREATE FUNCTION notify.n() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;", '', qr/BEGIN ATOMIC/, 'a body it cannot read');
refuses("$first\nSELECT 'open;", '', qr/does not end/, 'a quote that does not end');
refuses("$first\nGRANT ALL ON notify.a TO r;", '', qr/names each privilege/, 'GRANT ALL');
refuses($first, 'DROP VIEW notify.v CASCADE;', qr/1\.0\.sql:1: CASCADE and IF EXISTS/, 'CASCADE');
refuses($first, 'DROP VIEW IF EXISTS notify.v;', qr/CASCADE and IF EXISTS/, 'IF EXISTS');
refuses($first, 'CREATE TABLE notify.b (id int);', qr/what is made stands in sql/, 'making by hand');
refuses($first, 'ALTER TABLE notify.nothing ADD COLUMN x int;', qr/1\.0 has no TABLE notify\.nothing/, 'altering what is not there');

# Two releases on: a part each, from the first and from the second
my $second = $first =~ s/(age int)?\);/);/r . "CREATE TABLE notify.b (id int);\n";
my $third = ($second =~ s/'x;y'\)/'x;y', age int)/r) =~ s/notify\.b \(id int\)/notify.b (id int, name text)/r;
my %parts = ('1.0' => 'SELECT 1;', '2.0' => "ALTER TABLE notify.a ADD COLUMN age int;\nALTER TABLE notify.b ADD COLUMN name text;\nUPDATE notify.b SET name = '';\n");
like(chained('2.0', $third, { '1.0' => $first, '2.0' => $second }, \%parts), qr/\ALOCK notify\.a, notify\.b\nALTER TABLE notify\.a ADD COLUMN age int;\nALTER TABLE notify\.b ADD COLUMN name text;\nUPDATE notify\.b SET name = '';\z/,
	'from the second release: its part alone');
like(chained('1.0', $third, { '1.0' => $first, '2.0' => $second }, \%parts), qr/\ALOCK notify\.a\nSELECT 1;\nALTER TABLE notify\.a ADD COLUMN age int;\nCREATE TABLE notify\.b \(id int, name text\);\z/,
	'from the first: both parts, but what the second alters is made as it is now');

done_testing();

# (exit status, output, complaints) of a build.
sub run_tool
{
	my ($from, $sql, $releases, $parts) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;

	mkdir "$dir/sql";
	mkdir "$dir/sql/upgrade";
	copy($tool, "$dir/sql/upgrade/generate");
	chmod 0755, "$dir/sql/upgrade/generate";
	append_to_file("$dir/sql/all.sql", $sql);
	append_to_file("$dir/sql/upgrade/notify_pg--$_.sql", $releases->{$_}) for keys %$releases;
	append_to_file("$dir/sql/upgrade/$_.sql", "$parts->{$_}\n") for keys %$parts;
	my ($out, $err) = ('', '');
	IPC::Run::run([ "$dir/sql/upgrade/generate", $from, "$dir/sql/all.sql" ], '>', \$out, '2>', \$err);
	return ($?, $out, $err);
}

# The script's own lines: without what stands around every script, blocks as their first line.
sub bare
{
	my ($script) = @_;
	$script =~ s/^\\echo [^\n]*\n.*?^WHERE e\.extname[^\n]*\n//ms;
	$script =~ s/^ALTER EVENT TRIGGER e (?:DISABLE|ENABLE);\n//mg;
	$script =~ s/^DO \$\$\nDECLARE\n\tof_app (.*?)^\$\$;\n/'LOCK ' . locked($1) . "\n"/mse;
	$script =~ s/^DO \$\$\n.*?^\$\$;\n/DO block\n/msg;
	$script =~ s/^UPDATE pg_catalog\.pg_init_privs.*?;\n//ms;
	$script =~ s/\s+\z//;
	return $script;
}

# What the block that takes locks takes: tables of ours, queries for the app's.
sub locked
{
	my ($block) = @_;
	my ($apps) = $block =~ /ARRAY\(SELECT (?!NULL::regclass WHERE false)([^\n]*)\);\n/;
	my ($ours) = $block =~ /LOCK TABLE ([^\n]*) IN ACCESS EXCLUSIVE/;
	return join ', ', grep { defined } $ours, $apps;
}

sub chained
{
	my ($status, $out, $err) = run_tool(@_);
	is($status, 0, 'the build succeeds') or diag($err);
	return bare($out);
}

sub lines
{
	my ($sql, $part) = @_;
	return chained('1.0', $sql, { '1.0' => $first }, { '1.0' => $part // '' });
}

sub are
{
	my ($script, $patterns, $what) = @_;
	my @lines = split /\n/, $script;
	my @strange = grep { my $line = $_; !grep { $line =~ $_ } @$patterns } @lines;
	my @missing = grep { my $pattern = $_; !grep { $_ =~ $pattern } @lines } @$patterns;

	ok(!@strange && !@missing, $what) or diag("the script:\n$script\nnot expected: @strange\nmissing: @missing");
}

sub changed
{
	my ($old, $new, $too) = @_;
	my $sql = $first;
	$old = quotemeta $old unless ref $old;
	$sql =~ s/$old/$new/ or die "nothing to change: $old";
	$sql =~ s/$too// if $too;
	return $sql;
}

sub derives
{
	my ($old, $new, $patterns, $what) = @_;
	are(lines(changed($old, $new)), $patterns, "$what travels by itself");
}

sub needs
{
	my ($old, $new, $complaint, $part, $patterns, $what, $too) = @_;
	my $sql = changed($old, $new, $too);
	refuses($sql, '', $complaint, "$what without a line by hand");
	are(lines($sql, $part), $patterns, "$what: with it") if $patterns;
}

sub refuses
{
	my ($sql, $part, $complaint, $what) = @_;
	my ($status, $out, $err) = run_tool('1.0', $sql, { '1.0' => $first }, { '1.0' => $part });
	isnt($status, 0, "refused: $what");
	like($err, $complaint, 'and says so');
	is($out, '', 'and writes nothing');
}
