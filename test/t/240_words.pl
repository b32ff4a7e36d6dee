# Words as the dispatcher fills them in: the partials a message was planned
# with, and templates that cannot be filled in for one message.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('words');

$node->safe_psql('postgres', q{
	INSERT INTO notify.provider (name, channel, preset) VALUES ('box', 'inbox', 'inbox');
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{inbox}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	INSERT INTO notify.partial (name, body) VALUES ('inner', 'one'), ('outer', '<{% render "inner" %}{{ n }}>');
	INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'inbox', '{% include "outer" %}'),
		('divide', 'inbox', '{{ 6 | divided_by: n }}'),
		('grow', 'inbox', '{% assign x = "12345678" %}{% for i in (1..n) %}{% assign x = x | append: x %}{% endfor %}{{ x.size }}');
});

sub send_to
{
	my ($template, $n, $at) = @_;
	$at //= 'NULL';
	return $node->safe_psql('postgres',
		"SELECT notify.send('ann', '$template', jsonb_build_object('n', $n), 'news', at => $at)");
}

sub body_of
{
	my ($event) = @_;
	return "SELECT i.body FROM notify.inbox i JOIN notify.message m ON m.id = i.message WHERE m.event = $event";
}

sub verdict_of
{
	my ($event) = @_;
	return "SELECT o.verdict FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.event = $event";
}

my $first = send_to('hello', 1);
ok(wait_for_sql($node, body_of($first), '<one1>'), 'partials are filled in');

# Planned now, due when the clock is moved on: by then the partial is another.
my $later = send_to('hello', 2, q{notify.now() + interval '1 hour'});
ok(wait_for_sql($node, "SELECT count(*) FROM notify.message WHERE event = $later", '1'), 'a message is planned');
$node->safe_psql('postgres', q{UPDATE notify.partial SET body = 'two' WHERE name = 'inner'});
my $newer = send_to('hello', 3);
ok(wait_for_sql($node, body_of($newer), '<two3>'), 'a new message says the new words');
$node->append_conf('postgresql.conf', 'notify_pg.clock_offset = 7200');
$node->reload;
ok(wait_for_sql($node, body_of($later), '<one2>'), 'and one planned before says the words it was planned with');
is($node->safe_psql('postgres', "SELECT (notify.content(m.id)).body FROM notify.message m WHERE m.event = $later"),
	'<one2>', 'which content() renders again');

# What is wrong with one message's data is that message's trouble alone.
my $zero = send_to('divide', 0);
my $three = send_to('divide', 3);
my $small = send_to('grow', 2);
my $huge = send_to('grow', 40);
ok(wait_for_sql($node, verdict_of($zero), 'failed'), 'a division by zero fails its message');
like($node->safe_psql('postgres', verdict_of($zero) =~ s/o\.verdict/o.detail/r), qr/division by zero/, 'and says so');
ok(wait_for_sql($node, body_of($three), '2'), 'the next one with the same template is sent');
ok(wait_for_sql($node, verdict_of($huge), 'failed'), 'a loop that would make terabytes fails its message');
like($node->safe_psql('postgres', verdict_of($huge) =~ s/o\.verdict/o.detail/r), qr/too much memory|too long/, 'and says so');
ok(wait_for_sql($node, body_of($small), '32'), 'the next one with the same template is sent');

done_testing();
