# A dump whose rows do not fit: a rule's column is gone, a template uses a filter
# of a newer version, a provider a preset, a category a channel; this machine
# does not know a time zone and takes an address for none. It is a good dump,
# doctored.
# Would catch: a restore that errors, or loses a whole table for one row; a problem
# that nobody is told of; arm() that arms all the same, or refuses without saying
# what to mend; one that still refuses when it is mended.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $http = http_sink();
my $node = notify_cluster('main', extension => 0, conf => "notify_pg.poll_interval = '50ms'\n");
my $dir = PostgreSQL::Test::Utils::tempdir;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', qq{
	CREATE EXTENSION notify_pg;
	CREATE TABLE orders (id int PRIMARY KEY, customer text);
	CREATE TABLE users (id text PRIMARY KEY, mail text);
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}'), ('other', 'marketing', '{push}');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES
		('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/hook')]}"}'), ('spare', 'inbox', 'inbox', '{}');
	INSERT INTO notify.partial (name, body) VALUES ('sign', 'the shop');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', 'order {{ new.id | plus: 0 }} {% render "sign" %}'),
		('letter', 'webhook', 'a letter');
	INSERT INTO notify.recipient (id, time_zone) VALUES ('ann', 'Asia/Shanghai'), ('bob', 'Asia/Tokyo');
	INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'email', 'ann\@example.com'), ('bob', 'email', 'bob\@example.com');
	SELECT notify.attach('orders', 'new.customer'), notify.attach_recipients('users', 'id', addresses => '{"sms": "mail"}');
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES
		('r', 'orders', 'new.id > 0', 't', 'c'), ('idle', 'orders', 'new.id < 0', 't', 'c'), ('writes', 'orders', 'new.id < -1', 'letter', 'c')});
$node->command_ok([ 'pg_dump', '-f', "$dir/good", $node->connstr('shop') ], 'dumps');

# Each change, and how often the dump has the words.
my $dump = slurp_file("$dir/good");
doctor('new.id > 0', 'new.gone > 0', 2);
doctor('new.id < 0', 'nosuch(new.id)', 2);
doctor('{id}', '{lost}', 1);
doctor('| plus: 0', '| sparkle', 2);
doctor('the shop', 'the {% nosuch %} shop', 2);
doctor("webhook\twebhook", "webhook\tpigeon", 1);
doctor('{push}', '{hologram}', 1);
doctor('Asia/Shanghai', 'Mars/Olympus', 1);
doctor('bob@example.com', 'bob at example', 1);
doctor('{"sms": "mail"}', '{"sms": "post"}', 1);
doctor("^letter\twebhook\tdefault\t[^\n]*\n", '', 1);
# The planner's upkeep may come when the rows are there and the triggers are not
# (and at the same moment as this, which then leaves it to that).
my $upkeep = 'DO $$ BEGIN PERFORM notify._recheck_all(); EXCEPTION WHEN OTHERS THEN RAISE LOG \'upkeep: %\', sqlerrm; END $$;';
ok($dump =~ s/^(?=CREATE TRIGGER )/$upkeep\n\n/m, 'the dump makes triggers after the rows');
append_to_file("$dir/doctored", $dump);

$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', "$dir/doctored" ],
	'the doctored dump restores without an error');
is(copy(q{SELECT (SELECT count(*) FROM notify.rule), (SELECT count(*) FROM notify.template), (SELECT count(*) FROM notify.partial),
		(SELECT count(*) FROM notify.provider), (SELECT count(*) FROM notify.category), (SELECT count(*) FROM notify.recipient),
		(SELECT count(*) FROM notify.address), (SELECT count(*) FROM notify.source), (SELECT count(*) FROM notify.recipient_source)}),
	'3|1|1|2|2|2|2|1|1', 'every row is there');
is(copy(q{SELECT r.id, r.time_zone, a.state, p.field, p.problem FROM notify.recipient r JOIN notify.address a ON a.recipient = r.id
		LEFT JOIN notify.recipient_problem p ON p.recipient = r.id ORDER BY 1}),
	"ann||active|time_zone|time zone \"Mars/Olympus\" is not known\nbob|Asia/Tokyo|invalid||", 'people are there, and what is wrong with them is noted');

# The planner's upkeep looks at what a held copy has.
copy("SELECT pg_terminate_backend(pid) FROM notify.stat_worker WHERE kind = 'planner'");
my $status = '';
my @told = (qr/rule r: column .*gone.* does not exist/, qr/rule idle: function nosuch\(integer\) does not exist/, qr/rule writes: template \\"letter\\" does not exist/,
	qr/source public\.orders: column \\"lost\\"/, qr/template t .*sparkle/, qr/provider hook: preset \\"pigeon\\"/,
	qr/category other: unknown channel \\"hologram\\"/, qr/partial sign: .*nosuch/, qr/users table public\.users: column \\"post\\"/);
wait_until('the upkeep', sub {
	$status = copy('SELECT problems FROM notify.status()');
	return @told == grep { $status =~ $_ } @told;
});
like($status, $_, "status() tells: $_") for @told;
ok(wait_for_sql($node, 'SELECT state FROM notify.status()', 'held', 'copy'), 'and it is held');

my $wrong = refuses('all of it');
like($wrong, $_, "arm() tells: $_")
  for qr/^rule r: column .*gone.* does not exist$/m, qr/^rule idle: function nosuch\(integer\) does not exist$/m, qr/^rule writes: template "letter" does not exist$/m,
  qr/^source public\.orders: column "lost" of table public\.orders does not exist$/m, qr/^template t \(webhook, default\): body: .*sparkle/m,
  qr/^provider hook: preset "pigeon" does not exist$/m, qr/^category other: unknown channel "hologram"$/m,
  qr/^partial sign: .*nosuch/m;

# Mended one by one
copy('INSERT INTO orders VALUES (7, $$ann$$)');
mend('rule r', q{UPDATE notify.rule SET condition = 'new.id > 0' WHERE name = 'r'}, 'source');
mend('source', q{SELECT notify.attach('orders', 'new.customer')}, 'rule r');
copy(q{UPDATE notify.rule SET condition = 'new.id > 0' WHERE name = 'r'});
unlike(refuses('rule r is mended'), qr/rule r:/, 'rule r is mended');
mend('rule idle', q{UPDATE notify.rule SET enabled = false WHERE name = 'idle'});
mend('rule writes', q{DELETE FROM notify.rule WHERE name = 'writes'});
mend('partial', q{UPDATE notify.partial SET body = 'the shop'});
mend('template', q{UPDATE notify.template SET body = 'order {{ new.id }} {% render "sign" %}' WHERE name = 't'});
mend('category', q{UPDATE notify.category SET channels = '{push}' WHERE name = 'other'});
is(refuses('the last'), 'provider hook: preset "pigeon" does not exist', 'the provider is left');
copy(q{UPDATE notify.provider SET enabled = false WHERE name = 'hook'});
copy('SELECT notify.arm()');
is(copy('SELECT notify._held() IS NULL'), 't', 'a provider that is switched off is no obstacle');
copy(qq{UPDATE notify.provider SET enabled = true, preset = 'webhook' WHERE name = 'hook'});
copy('INSERT INTO orders VALUES (8, $$ann$$)');
wait_for_drain($node, 'copy');
is(join(',', sort map { $_->{body} } $http->entries('/hook')), 'order 8 the shop', 'and then it sends what it should');

done_testing();

sub copy
{
	return $node->safe_psql('copy', $_[0]);
}

sub doctor
{
	my ($from, $to, $count) = @_;
	my $pattern = $from =~ /\[/ ? qr/$from/m : qr/\Q$from\E/;
	my $done = $dump =~ s/$pattern/$to/g;
	is($done, $count, 'the dump has: ' . ($from =~ s/\t/ /gr));
	return;
}

# What arm() says is wrong; it arms nothing.
sub refuses
{
	my ($what) = @_;
	my ($status, undef, $error) = $node->psql('copy', 'SELECT notify.arm()');
	like($error, qr/ERROR:  this database cannot be armed while there are problems in its configuration\nDETAIL:  /, "$what: arm() refuses");
	is(copy('SELECT notify._held() IS NULL'), 'f', "$what: still held");
	return $error =~ /DETAIL:  (.*?)\nHINT:/s ? $1 : '';
}

# Mends something; arm() no longer speaks of it. What it depends on may keep it from being saved.
sub mend
{
	my ($what, $sql, $blocked_by) = @_;
	my ($status, undef, $error) = $node->psql('copy', $sql);
	return if $blocked_by && $status != 0;
	is($status, 0, "$what can be mended") or diag($error);
	unlike(refuses("$what is mended"), qr/^$what\b/m, "$what is mended");
	return;
}
