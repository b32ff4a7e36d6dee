# Dump and restore by the database's owner, who has notify_admin and is no
# superuser: docs/operations.md, "Without superuser rights", run to the letter.
# Would catch: a table or sequence the owner cannot dump or load; a restored copy
# that is not held because its owner may not say where it comes from; secrets or
# logs in the dump; a rule that runs as somebody else, or sees what its new owner
# may not; a restore that fails without saying what to do.

use strict;
use warnings;
use Cwd qw(getcwd);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $http = http_sink();
my $old = notify_cluster('old', extension => 0, conf => "notify_pg.poll_interval = '50ms'\n");
my $new = notify_cluster('new', extension => 0, conf => "notify_pg.poll_interval = '50ms'\n");
my $dir = PostgreSQL::Test::Utils::tempdir;
my @steps = procedure();
is(scalar @steps, 3, 'the procedure has three steps');
my $superuser = $old->safe_psql('postgres', 'SELECT current_user');

$_->safe_psql('postgres', 'CREATE ROLE shop_owner LOGIN; CREATE ROLE author LOGIN') for $old, $new;
$old->safe_psql('postgres', 'CREATE DATABASE shop OWNER shop_owner');
$old->safe_psql('shop', 'CREATE EXTENSION notify_pg; GRANT notify_admin TO author');

# Before it may, the owner is told that it may not.
as($old, 'shop_owner', 'fails', $steps[0], 'without notify_admin', qr/permission denied for (schema|sequence|table)/);

$old->safe_psql('shop', 'GRANT notify_admin TO shop_owner');
sql($old, 'shop_owner', qq{
	CREATE TABLE orders (id int PRIMARY KEY, customer text);
	CREATE TABLE users (id text PRIMARY KEY, mail text);
	GRANT TRIGGER ON orders TO author;
	INSERT INTO notify.secret VALUES ('smtp_password', 'cGxhbnRlZF9zZWNyZXRfbWFya2Vy');
	INSERT INTO notify.category (name, class, channels) VALUES ('c', 'transactional', '{webhook}');
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES ('hook', 'webhook', 'webhook',
		'{"url": "@{[$http->url('/hook')]}", "headers": {"X-Key": {"secret": "smtp_password"}}}');
	INSERT INTO notify.partial (name, body) VALUES ('sign', 'the shop'), ('all', '{% render "sign" %}');
	INSERT INTO notify.template (name, channel, body) VALUES ('t', 'webhook', 'order {{ new.id }} {% render "all" %}');
	SELECT notify.attach('orders', 'new.customer'), notify.attach_recipients('users', 'id', addresses => '{"email": "mail"}');
	INSERT INTO notify.rule (name, source, condition, template, category) VALUES ('r', 'orders', 'new.id > 0', 't', 'c');
	UPDATE notify.rule SET condition = 'new.id > 1';
	INSERT INTO users VALUES ('ann', 'ann\@example.com');
	INSERT INTO orders VALUES (1, 'ann'), (2, 'ann')});
sql($old, 'author', q{INSERT INTO notify.rule (name, source, ops, template, category) VALUES ('authors', 'orders', '{delete}', 't', 'c');
	INSERT INTO notify.rule_step VALUES ('authors', 2, '{webhook}', '1 hour', '{delivered}');
	INSERT INTO notify.budget (category, channel, period, amount, over, time_zone) VALUES ('c', 'webhook', 'month', 100, 'defer', 'Asia/Shanghai')});
wait_for_drain($old, 'shop');
is(join(',', bodies()), 'order 2 the shop', 'the original sends');

# What the owner may take along
as($old, 'shop_owner', 'works', $steps[0], 'the dump');
my $plain = `pg_restore -f - $dir/shop.dump`;
unlike($plain, qr/cGxhbnRlZF9zZWNyZXRfbWFya2Vy/, 'no secret in it');
unlike($plain, qr/COPY notify\.(event|message|outcome|ready|scheduled|inbox|cursor|instance)/, 'no log and no queue');
like($plain, qr/COPY notify\.origin/, 'but where it was armed');
my ($status, undef, $error) = $old->psql('shop', 'SELECT value FROM notify.secret', extra_params => [ '-U', 'shop_owner' ]);
like($error, qr/permission denied for table secret/, 'the owner cannot read secrets');

# Without the superuser's step
$new->safe_psql('postgres', 'CREATE DATABASE shop OWNER shop_owner');
as($new, 'shop_owner', 'fails', $steps[2], 'without the extension',
	qr/schema "notify" does not exist\nCommand was: CREATE EXTENSION IF NOT EXISTS notify_pg/);
$new->safe_psql('postgres', 'DROP DATABASE shop');

# To the letter
as($new, $superuser, 'works', $steps[1], 'the superuser\'s step');
$steps[2] =~ s/^psql.*notify\.arm\(\).*\n//m or die 'the procedure does not arm';
my $arm = $&;
as($new, 'shop_owner', 'works', $steps[2], 'the owner\'s step');
restored('the owner\'s');
as($new, 'shop_owner', 'works', $arm, 'arming');
sends(7, 'the owner\'s');

# By a superuser in the owner's name; what the roles' owner may not see is refused.
$new->safe_psql('postgres', 'DROP DATABASE shop');
as($new, $superuser, 'works', $steps[1], 'the superuser\'s step again');
$steps[2] =~ s/pg_restore -e/pg_restore -e --no-owner --role=shop_owner/;
as($new, $superuser, 'works', $steps[2], 'with --role');
restored('with --role');
as($new, $superuser, 'works', $arm, 'arming');
sends(8, 'with --role');

# A rule on somebody else's table
$new->safe_psql('postgres', 'DROP DATABASE shop');
as($new, $superuser, 'works', $steps[1], 'the superuser\'s step once more');
$new->safe_psql('shop', 'CREATE TABLE orders (id int PRIMARY KEY, customer text); CREATE TABLE users (id text, mail text)');
as($new, 'shop_owner', 'fails', "pg_restore -a -n notify -d shop shop.dump\n", 'tables of another',
	qr/COPY failed for table "rule": ERROR:  permission denied for table public\.orders\nDETAIL:  Role shop_owner needs TRIGGER/);
is($new->safe_psql('shop', 'SELECT count(*) FROM notify.rule'), '0', 'tables of another: no rule watches them');
like($new->safe_psql('shop', 'SELECT state FROM notify.status()'), qr/held|stopped/, 'tables of another: held');

done_testing();

# The commands of "Without superuser rights", a string a block.
sub procedure
{
	my $page = slurp_file(getcwd() . '/docs/operations.md');
	my ($section) = $page =~ /^### Without superuser rights\n(.*?)^(?=## |A \*\*base)/ms;
	return $section =~ /^```\n(.*?)^```/msg;
}

# Runs commands of the page as someone, in a directory of their own.
sub as
{
	my ($node, $user, $how, $commands, $what, $says) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGUSER => $user);
	my ($out, $err) = ('', '');
	my $worked = IPC::Run::run([ 'bash', '-c', "set -e -o pipefail; cd $dir; $commands" ], '<', '/dev/null', '>', \$out, '2>', \$err);
	ok($how eq 'works' ? $worked : !$worked, "$what: $how") or diag($err);
	like($err, $says, "$what: says why") if $says;
	return;
}

sub sql
{
	my ($node, $user, $sql) = @_;
	return $node->safe_psql('shop', $sql, extra_params => [ '-U', $user ]);
}

sub bodies
{
	return map { $_->{body} } $http->entries('/hook');
}

# Everything is there, it is the owner's, and held. A planner that looked in the midst of it looks again in a minute.
sub restored
{
	my ($what) = @_;
	ok(wait_for_sql($new, q{SELECT string_agg(name || ' ' || owner || ' ' || coalesce(problem, 'good'), ', ' ORDER BY name) FROM notify.rule},
		'authors shop_owner good, r shop_owner good', 'shop'), "$what: rules are the owner's");
	is(sql($new, 'shop_owner', q{SELECT owner, problem IS NULL, key FROM notify.source}), 'shop_owner|t|{id}', "$what: so is the source");
	is(sql($new, 'shop_owner', q{SELECT count(*) FROM notify.rule r JOIN notify.rule_version v
			ON (v.id, v.rule, v.owner, v.condition) IS NOT DISTINCT FROM (r.version, r.id, r.owner, r.condition)}), '2', "$what: with versions of their own");
	is(sql($new, 'shop_owner', q{SELECT s.step, s.after, v.steps = notify._steps(r.id), jsonb_array_length(v.steps)
			FROM notify.rule r JOIN notify.rule_version v ON v.id = r.version JOIN notify.rule_step s ON s.rule = r.name}),
		'2|01:00:00|t|1', "$what: that have their steps");
	is(sql($new, 'shop_owner', 'SELECT s.name, b.amount, b.over FROM notify.stat_budget s JOIN notify.budget b ON b.id = s.budget'), 'c webhook by month|100|defer',
		"$what: and a budget");
	is(sql($new, 'shop_owner', q{SELECT t.problem IS NULL, (SELECT count(*) FROM jsonb_object_keys(v.partials))
			FROM notify.template t JOIN notify.template_version v ON v.id = t.version}), 't|2', "$what: words with their partials");
	is(sql($new, 'shop_owner', 'SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM notify.recipient), (SELECT count(*) FROM notify.address)'),
		'2|1|1', "$what: orders and people");
	is($new->safe_psql('shop', 'SELECT count(*) FROM notify.event'), '0', "$what: nothing was captured");
	wait_for_sql($new, 'SELECT state FROM notify.status()', 'held', 'shop');
	return;
}

sub sends
{
	my ($id, $what) = @_;
	sql($new, 'shop_owner', "INSERT INTO orders VALUES ($id, 'ann')");
	wait_for_drain($new, 'shop');
	is(scalar(grep { $_ eq "order $id the shop" } bodies()), 1, "$what: armed, it sends once");
	is($new->safe_psql('shop', "SELECT notify._held() IS NULL"), 't', "$what: and is held no more");
	return;
}
