# The corpus of the Liquid fuzz target, replayed under AddressSanitizer and
# UndefinedBehaviorSanitizer.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my ($out, $err);
IPC::Run::run([ 'make', '-s', "PG_CONFIG=$ENV{PG_CONFIG}", 'build/fuzz/replay' ], '>', \$out, '2>&1')
  or BAIL_OUT("building the replay failed: $out");

my $known = PostgreSQL::Test::Utils::tempdir() . '/known';
append_to_file($known, qq({{ name | append: "!" }} {{ 0.1 | plus: 0.2 }}{% render "p", x: list %}\0{"name": "<ö>", "list": [1, 2]}\0{{ x | join: "+" }}));
IPC::Run::run([ 'build/fuzz/replay', '--show', $known ], '>', \$out, '2>', \$err);
is($out, "<ö>! 0.31+2\n&lt;ö&gt;! 0.31+2\n", 'what is replayed is rendered');
is($err, '', 'and nothing is wrong with it');

my @corpus = glob 'test/fuzz/corpus/*';
cmp_ok(scalar @corpus, '>', 100, 'there is a corpus');
ok(IPC::Run::run([ 'build/fuzz/replay', @corpus ], '>', \$out, '2>', \$err), 'it is replayed');
is($out, @corpus . " replayed\n", 'all of it');
is($err, '', 'clean');

done_testing();
