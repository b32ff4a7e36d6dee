# Webhook receivers that behave well, badly and not at all: what each answer
# comes to, as docs/channels.md says; nobody waits for anybody else's trouble;
# attempts, waits and expiry on a clock the test moves; and secrets that are
# used on the wire and shown nowhere.
#
# Catches: an answer in the wrong class, a redirect followed, an ambiguous
# at-most-once message sent again, a Retry-After ignored or obeyed for a week,
# a retry before its time or never, an expired message sent, a reply that fills
# the worker's memory, a stalled provider that takes all the slots, a signature
# over other bytes than those sent, a secret in a log, a view or a dump.

use strict;
use warnings;
use Digest::SHA qw(hmac_sha256);
use Encode qw(encode);
use Encode ();
use List::Util qw(min);
use MIME::Base64 qw(encode_base64);
use NotifyTest;
use POSIX qw(strftime setlocale LC_ALL);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $key = 'a signing key of 32 bytes, 5ECRE7';
my $whsec = encode_base64($key, '');
my $token = 'token-5ECRE7-in-a-header';
my $node = notify_cluster('http', conf => "notify_pg.max_in_flight = 100\n");
my $http = http_sink();
my $other = http_sink();
my $fast = http_sink();

$node->safe_psql('postgres', qq{
	INSERT INTO notify.secret VALUES ('hook_key', 'whsec_$whsec'), ('api_token', '$token');
	INSERT INTO notify.provider (name, channel, preset, max_attempts, settings)
	VALUES ('hook', 'webhook', 'webhook', 2, '{"timeout_ms": 3000, "connect_timeout_ms": 3000,
		"signing_secret": {"secret": "hook_key"}, "headers": {"X-Token": {"secret": "api_token"}}}');
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'transactional', '{webhook}');
	INSERT INTO notify.category (name, class, channels, at_most_once) VALUES ('once', 'transactional', '{webhook}', true);
	INSERT INTO notify.category (name, class, channels, ttl) VALUES ('brief', 'transactional', '{webhook}', '10 minutes');
	INSERT INTO notify.template (name, channel, body) VALUES ('hello', 'webhook', '{"to": {{ event.id | json }}, "text": "您好"}');
});
# From here on the log tells as much as it can.
$node->append_conf('postgresql.conf',
	"log_statement = all\nlog_min_duration_statement = 0\nlog_min_messages = debug2\nlog_error_verbosity = verbose\n");
$node->reload;

my $offset = 0;

sub move_clock
{
	my ($seconds) = @_;
	$offset += $seconds;
	$node->safe_psql('postgres', "ALTER SYSTEM SET notify_pg.clock_offset = '$offset s'");
	$node->reload;
	return;
}

# Somebody whose address is that path (or URL).
sub person
{
	my ($id, $path) = @_;
	my $address = $path =~ /^http/ ? $path : $http->url($path);
	return "INSERT INTO notify.recipient (id) VALUES ('$id');"
	  . "INSERT INTO notify.address (recipient, channel, address) VALUES ('$id', 'webhook', '$address');";
}

sub sending
{
	my ($id, $category) = @_;
	$category //= 'news';
	return "SELECT notify.send('$id', 'hello', '{}', '$category');";
}

# Columns of a person's outcomes, oldest first.
sub outcomes
{
	my ($id, $columns) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT $columns FROM notify.outcome o JOIN notify.message m ON m.id = o.message
		WHERE m.recipient = '$id' ORDER BY o.at});
}

sub status_of
{
	my ($id) = @_;
	return $node->safe_psql('postgres',
		"SELECT status, coalesce(reason, ''), attempts FROM notify.delivery WHERE recipient = '$id' ORDER BY message DESC LIMIT 1");
}

sub wait_for_status
{
	my ($id, $status, $what) = @_;
	return ok(wait_for_sql($node,
		"SELECT status FROM notify.delivery WHERE recipient = '$id' ORDER BY message DESC LIMIT 1", $status), $what);
}

sub requests
{
	my ($path, $sink) = @_;
	return ($sink // $http)->counts->{paths}{$path} // 0;
}

#
# What answers come to. Every case at once: those that stall must not matter
# to the others.
#
setlocale(LC_ALL, 'C');
my $next_week = strftime('%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT', gmtime(time + 7 * 86400));
my $tomorrow = strftime('%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT', gmtime(time + 7200));
my @cases = (
	# id, path, category, class, code, the verdict of the first attempt, requests in the end, detail
	[ 'fine', '/fine', 'news', 'ok', 200, 'sent', 1, qr/^$/ ],
	[ 'empty_answer', '/status/204', 'news', 'ok', 204, 'sent', 1, qr/^$/ ],
	[ 'accepted', '/status/202', 'news', 'ok', 202, 'sent', 1, qr/^$/ ],
	[ 'moved', '/status/301', 'news', 'permanent_message', 301, 'failed', 1, qr/redirects are not followed/ ],
	[ 'redirect', '/redirect?to=/trap', 'news', 'permanent_message', 302, 'failed', 1, qr/redirects are not followed/ ],
	[ 'bad', '/status/400?body=no%20such%20field', 'news', 'permanent_message', 400, 'failed', 1, qr/HTTP 400: no such field/ ],
	[ 'missing', '/status/404', 'news', 'permanent_message', 404, 'failed', 1, qr/HTTP 404/ ],
	[ 'late', '/status/408', 'news', 'retry', 408, 'retrying', 2, qr/HTTP 408/ ],
	[ 'gone', '/status/410', 'news', 'permanent_recipient', 410, 'failed', 1, qr/HTTP 410/ ],
	[ 'too_early', '/status/425', 'news', 'retry', 425, 'retrying', 2, qr/HTTP 425/ ],
	[ 'slow_down', '/status/429', 'news', 'defer', 429, 'retrying', 2, qr/HTTP 429/ ],
	[ 'in_an_hour', '/status/429?retry_after=3600', 'news', 'defer', 429, 'retrying', 1, qr/HTTP 429/ ],
	[ 'in_two_hours', "/status/503?retry_after=$tomorrow", 'news', 'retry', 503, 'retrying', 1, qr/HTTP 503/ ],
	[ 'next_week', "/status/503?retry_after=$next_week", 'news', 'retry', 503, 'retrying', 1, qr/HTTP 503/ ],
	[ 'long_ago', '/status/503?retry_after=Thu,%2001%20Jan%201970%2000:00:00%20GMT', 'news', 'retry', 503, 'retrying', 2, qr/HTTP 503/ ],
	[ 'oops', '/status/500', 'news', 'retry', 500, 'retrying', 2, qr/HTTP 500/ ],
	[ 'busy', '/status/503', 'news', 'retry', 503, 'retrying', 2, qr/HTTP 503/ ],
	[ 'stall', '/stall', 'news', 'retry', '', 'retrying', 2, qr/time/i ],
	[ 'drip', '/drip?ms=50', 'news', 'ok', 200, 'sent', 1, qr/the answer broke off/ ],
	[ 'reset', '/reset', 'news', 'retry', '', 'retrying', 2, qr/reset|broke/i ],
	[ 'reset_early', '/reset-early', 'news', 'retry', '', 'retrying', 0, qr/reset|broke/i ],
	[ 'closed', '/empty', 'news', 'retry', '', 'retrying', 2, qr/\w/ ],
	[ 'garbage', '/garbage', 'news', 'retry', '', 'retrying', 2, qr/\w/ ],
	[ 'huge', '/huge?bytes=300000000', 'news', 'ok', 200, 'sent', 1, qr/too long and was cut off/ ],
	[ 'bomb', '/gzip?bytes=500000000', 'news', 'ok', 200, 'sent', 1, qr/^$|too long/ ],
	[ 'refused', 'http://127.0.0.1:1/', 'news', 'retry', '', 'retrying', 0, qr/connect/i ],
	[ 'unresolvable', 'http://nowhere.invalid/', 'news', 'retry', '', 'retrying', 0, qr/resolv/i ],
	[ 'private', 'http://10.1.2.3/', 'news', 'permanent_message', '', 'failed', 0, qr/10\.1\.2\.3 is private/ ],
	[ 'metadata', 'http://169.254.169.254/', 'news', 'permanent_message', '', 'failed', 0, qr/is private/ ],
	# at most once: only what certainly did not arrive is tried again
	[ 'once_fine', '/fine?once', 'once', 'ok', 200, 'sent', 1, qr/^$/ ],
	[ 'once_oops', '/status/500?once', 'once', 'permanent_message', 500, 'failed', 1, qr/^ambiguous: / ],
	[ 'once_busy', '/status/503?once', 'once', 'retry', 503, 'retrying', 2, qr/^HTTP 503/ ],
	[ 'once_slow_down', '/status/429?once', 'once', 'defer', 429, 'retrying', 2, qr/^HTTP 429/ ],
	[ 'once_stall', '/stall?once', 'once', 'permanent_message', '', 'failed', 1, qr/^ambiguous: / ],
	[ 'once_reset', '/reset?once', 'once', 'permanent_message', '', 'failed', 1, qr/^ambiguous: / ],
	[ 'once_closed', '/empty?once', 'once', 'permanent_message', '', 'failed', 1, qr/^ambiguous: / ],
	[ 'once_garbage', '/garbage?once', 'once', 'permanent_message', '', 'failed', 1, qr/^ambiguous: / ],
	[ 'once_refused', 'http://127.0.0.1:1/?once', 'once', 'retry', '', 'retrying', 0, qr/connect/i ],);
my $waiting = "'in_an_hour', 'in_two_hours', 'next_week'";

my $pid = $node->safe_psql('postgres', "SELECT pid FROM notify.stat_worker WHERE kind = 'dispatcher'");
my $memory = peak_memory();
$node->safe_psql('postgres', join '', map { person($_->[0], $_->[1]) } @cases);
$node->safe_psql('postgres', join '', map { sending($_->[0], $_->[2]) } @cases);
ok( wait_for_sql($node, qq{SELECT count(*) FROM notify.delivery WHERE status IN ('sent', 'failed', 'dead')
		OR recipient IN ($waiting) AND status = 'retrying'}, scalar @cases),
	'every message comes to an end or waits for its time');
for my $case (@cases)
{
	my ($id, $path, $category, $class, $code, $verdict, $count, $detail) = @$case;
	my @answers = split /\n/, outcomes($id, 'o.class, o.code, o.verdict, o.attempt');
	is($answers[0], "$class|$code|$verdict|1", "$id: what the answer comes to");
	like((split /\n/, outcomes($id, "coalesce(o.detail, '')"))[0] // '', $detail, "$id: and why");
	is(requests($path), $count, "$id: requests") unless $path =~ /^http/;
	next if $verdict ne 'retrying' || $waiting =~ /'$id'/;
	is(status_of($id), 'dead|attempts|2', "$id: dead when the attempts are used up");
}
is(requests('/trap'), 0, 'nothing followed a redirect');
cmp_ok(peak_memory() - $memory, '<', 64 * 1024, 'huge answers do not stay in memory');
is($node->safe_psql('postgres', "SELECT string_agg(recipient, ',') FROM notify.address WHERE state = 'invalid'"),
	'gone', 'only an address that is gone becomes invalid');
$node->safe_psql('postgres', sending('gone'));
wait_for_status('gone', 'skipped', 'nothing more is sent there');
is(status_of('gone'), 'skipped|address_invalid|0', 'and it says why');

# 401, 403: shown as the provider's problem until it takes something again.
for my $code (401, 403)
{
	$http->behave({ "/door$code" => ["/status/$code"] });
	$node->safe_psql('postgres', person("door$code", "/door$code") . sending("door$code"));
	wait_for_status("door$code", 'sent', "$code: tried again, and taken");
	is(outcomes("door$code", 'o.class, o.code, o.verdict'), "auth|$code|retrying\nok|200|sent", "$code: class auth");
	like($node->safe_psql('postgres', "SELECT message FROM (SELECT o.detail AS message FROM notify.outcome o WHERE o.code = $code) AS x"),
		qr/HTTP $code/, "$code: its words are kept");
}
is($node->safe_psql('postgres', "SELECT problem IS NULL FROM notify.provider WHERE name = 'hook'"),
	't', 'a success takes the problem back');
$node->safe_psql('postgres', person('locked', '/status/401') . sending('locked'));
ok(wait_for_sql($node, "SELECT problem LIKE 'HTTP 401%' FROM notify.provider WHERE name = 'hook'"), '401: a problem is shown');
ok(wait_for_sql($node, "SELECT array_to_string(problems, ' ') LIKE '%provider hook: HTTP 401%' FROM notify.status()"), 'also by status()');
wait_for_status('locked', 'dead', 'but it pauses nothing');
$node->safe_psql('postgres', "UPDATE notify.provider SET priority = 0 WHERE name = 'hook'");

#
# Waits
#
my $wait = "round(extract(epoch FROM o.next_at - o.at))";
is(outcomes('in_an_hour', $wait), '3600', 'Retry-After in seconds is obeyed');
cmp_ok(abs(outcomes('in_two_hours', $wait) - 7200), '<', 120, 'Retry-After as a date is obeyed');
is(outcomes('next_week', $wait), '86400', 'but for no longer than a day');
cmp_ok((split /\n/, outcomes('long_ago', "extract(epoch FROM o.next_at - o.at)"))[0], '<=', 2.5, 'a date in the past is now');
is($node->safe_psql('postgres', "SELECT count(*) FROM notify.scheduled"), '3', 'they wait');
move_clock(3700);
wait_for_status('in_an_hour', 'dead', 'when an hour has passed the next attempt is made');
is(requests('/status/429?retry_after=3600'), 2, 'it arrived');
is(requests("/status/503?retry_after=$next_week"), 1, 'the other waits on');
move_clock(86400);
wait_for_status('next_week', 'dead', 'until its day has passed');
wait_for_status('in_two_hours', 'dead', 'and that of two hours');

# Pure backoff, attempt by attempt: up to 2 s, 4 s, ... an hour.
$node->safe_psql('postgres', "UPDATE notify.provider SET max_attempts = 14 WHERE name = 'hook'");
$node->safe_psql('postgres', person('patient', '/status/503?patient') . sending('patient'));
my @waits;
for my $attempt (1 .. 13)
{
	ok(wait_for_sql($node, qq{SELECT count(*) >= $attempt FROM notify.outcome o JOIN notify.message m ON m.id = o.message
		WHERE m.recipient = 'patient'}), "attempt $attempt") or last;
	# outcome.at is the wall clock's, next_at the moved one's.
	push @waits, (split /\n/, outcomes('patient', "extract(epoch FROM o.next_at - o.at) - $offset"))[ $attempt - 1 ];
	# A dispatcher may have settled before it read the last move.
	$waits[-1] += 3600 while $waits[-1] < 0;
	move_clock(3600);
}
wait_for_status('patient', 'dead', 'attempt 14 is the last');
is(scalar(grep { $waits[$_] > 0.5 + (2 * 2**$_ < 3600 ? 2 * 2**$_ : 3600) } 0 .. $#waits), 0, "no wait is too long (@waits)");
cmp_ok(scalar(grep { $_ > 60 } @waits[ 6 .. $#waits ]), '>', 0, 'they grow');
is($node->safe_psql('postgres', q{SELECT string_agg(o.attempt::text, ',' ORDER BY o.at) FROM notify.outcome o
	JOIN notify.message m ON m.id = o.message WHERE m.recipient = 'patient'}), join(',', 1 .. 14), 'no attempt is skipped or made twice');
is(requests('/status/503?patient'), 14, 'each of them arrived');
$node->safe_psql('postgres', "UPDATE notify.provider SET max_attempts = 2 WHERE name = 'hook'");

#
# Dead, and driven again
#
$http->behave({ '/flaky' => [ '/status/503', '/status/503' ] });
my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', person('flaky', '/flaky') . sending('flaky'));
wait_for_status('flaky', 'dead', 'a message is dead');
is($node->safe_psql('postgres', "SELECT notify.redrive('$since')"), '1', 'it is driven again');
wait_for_status('flaky', 'sent', 'and sent');
is(outcomes('flaky', "o.verdict, coalesce(o.reason, '')"), "retrying|\ndead|attempts\nretrying|redriven\nsent|", 'all of it is on record');
is(scalar(grep { $_ == 3 } values %{ $http->arrivals('/flaky') }), 1, 'three times under one id');

#
# Expiry: ten minutes
#
$http->behave({ '/wait5' => ['/status/429?retry_after=300'], '/wait20' => ['/status/429?retry_after=1200'] });
$since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', person('wait5', '/wait5') . person('wait20', '/wait20') . sending('wait5', 'brief') . sending('wait20', 'brief'));
wait_for_status('wait20', 'dead', 'a retry that would come too late is not waited for');
is(status_of('wait20'), 'dead|late|1', 'and it says so');
wait_for_status('wait5', 'retrying', 'one that comes in time is');
# The planner must not hand it on before the dispatcher knows what time it is:
# it waits for a lock until a new dispatcher runs.
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE notify.cursor IN SHARE ROW EXCLUSIVE MODE');
move_clock(1200);
$pid = $node->safe_psql('postgres', "SELECT pid FROM notify.stat_worker WHERE kind = 'dispatcher'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_for_sql($node, "SELECT pid <> $pid AND state = 'running' FROM notify.stat_worker WHERE kind = 'dispatcher'"), 'a new dispatcher');
$lock->query_safe('COMMIT');
$lock->quit;
wait_for_status('wait5', 'expired', 'when its time has passed it is not sent');
is(requests('/wait5'), 1, 'indeed not');
is($node->safe_psql('postgres', "SELECT notify.redrive('$since')"), '2', 'both are driven again');
wait_for_status('wait5', 'sent', 'and sent, expired or not');
wait_for_status('wait20', 'sent', 'and sent, late or not');

#
# A provider that stalls has half of the free slots and no more; others go on. It is
# stalled for as long as the test wants, so this is no matter of time: all of
# the others' messages arrive while its own hang.
#
sub provider
{
	my ($name, $priority, $url) = @_;
	return qq{INSERT INTO notify.provider (name, channel, preset, priority, settings)
		VALUES ('$name', 'webhook', 'webhook', $priority, '{"url": "$url", "timeout_ms": 120000}');};
}

sub many
{
	my ($count) = @_;
	my $start = time;
	my $before = requests('/fast', $fast);
	$node->safe_psql('postgres', "SELECT count(notify.send('anyone', 'hello', '{}', 'news')) FROM generate_series(1, $count)");
	ok(wait_until("$count requests", sub { requests('/fast', $fast) >= $before + $count }), "$count messages arrive");
	return time - $start;
}

$node->append_conf('postgresql.conf', "log_min_messages = warning\nlog_statement = none\nlog_min_duration_statement = -1\n");
$node->reload;
$node->safe_psql('postgres', "INSERT INTO notify.recipient (id) VALUES ('anyone');" . provider('fast', -2, $fast->url('/fast')));
many(1000);
my $usual = min(many(3000), many(3000));
$node->safe_psql('postgres', "UPDATE notify.provider SET enabled = false WHERE name = 'fast';" . provider('stalled', -1, $other->url('/stall')));
$node->safe_psql('postgres', "SELECT count(notify.send('anyone', 'hello', '{}', 'news')) FROM generate_series(1, 200)");
ok(wait_for_sql($node, "SELECT in_flight = 50 FROM notify.stat_worker WHERE kind = 'dispatcher'"), 'fifty transfers hang');
$node->safe_psql('postgres', "UPDATE notify.provider SET enabled = true WHERE name = 'fast'");
my $meanwhile = min(many(3000), many(3000));
is($node->safe_psql('postgres', "SELECT count(*) FROM notify.outcome WHERE provider = 'stalled'"), '0', 'while the stalled ones hang');
is($other->counts->{total}, 50, 'all fifty of them');
note sprintf('3000 messages took %.2f s, beside a stalled provider %.2f s', $usual, $meanwhile);
cmp_ok($meanwhile, '<', 5 * $usual + 1, 'at the speed they had, as far as one can tell beside other processes');

# Another one that stalls has half of what the first left, and others still go on.
$node->safe_psql('postgres', "UPDATE notify.provider SET priority = 5 WHERE name = 'stalled'; UPDATE notify.provider SET enabled = false WHERE name = 'fast';"
	. provider('stalled too', -1, $other->url('/stall')));
$node->safe_psql('postgres', "SELECT count(notify.send('anyone', 'hello', '{}', 'news')) FROM generate_series(1, 200)");
ok(wait_for_sql($node, "SELECT in_flight = 75 FROM notify.stat_worker WHERE kind = 'dispatcher'"), 'seventy-five transfers hang');
$node->safe_psql('postgres', "UPDATE notify.provider SET enabled = true WHERE name = 'fast'");
many(1000);
is($other->counts->{total}, 75, 'while both still hang');

# The stalled providers die: their connections break, then they refuse them. What
# was not begun goes by the provider that works; what was may have arrived, and
# is not given to another unless its own is switched off.
$other->stop;
ok(wait_for_sql($node, q{SELECT count(*) = 75 FROM notify.delivery WHERE recipient = 'anyone' AND status <> 'sent'}),
	'messages that were not begun go by another provider');
is($node->safe_psql('postgres', q{SELECT count(*) FROM notify.delivery WHERE recipient = 'anyone' AND status = 'sent' AND attempts > 1}),
	'0', 'at their first attempt');
ok(wait_for_sql($node, q{SELECT string_agg(DISTINCT class, ',' ORDER BY class) = 'provider_down,retry' FROM notify.outcome WHERE provider = 'stalled'}),
	'a provider that refuses connections is down');
is($node->safe_psql('postgres', q{SELECT count(*) FROM notify.delivery WHERE recipient = 'anyone' AND status <> 'sent'}), '75', 'the others wait for it');
$node->safe_psql('postgres', q{UPDATE notify.provider SET enabled = false WHERE name LIKE 'stalled%'});
ok(wait_until('all messages', sub { $node->safe_psql('postgres', q{
	SELECT notify._reroute(1000);
	SELECT count(*) FROM notify.delivery WHERE recipient = 'anyone' AND status <> 'sent'}) =~ /\n0$/ }), 'until it is switched off');
$node->safe_psql('postgres', "DELETE FROM notify.provider WHERE name IN ('fast', 'stalled', 'stalled too')");

#
# Signatures, and secrets
#
my @requests = grep { ($_->{headers}{'x-token'} // '') ne '' } $http->entries;
cmp_ok(scalar @requests, '>', 50, 'there are requests to look at');
is(scalar(grep { !signed($_) } @requests), 0, 'each is signed as Standard Webhooks says, with the secret');
is(scalar(grep { $_->{headers}{'x-token'} ne $token } @requests), 0, 'a header can be a secret');
is(scalar(grep { $_->{body} !~ /"text": "您好"/ } map { { body => encode('UTF-8', $_->{body}) } } @requests), 0, 'over what was really sent');

# A secret that is no key makes a problem that does not quote it.
$node->append_conf('postgresql.conf', "log_min_messages = debug2\n");
$node->reload;
$node->safe_psql('postgres', q{UPDATE notify.secret SET value = 'wrong-5ECRE7' WHERE name = 'hook_key'});
ok(wait_for_sql($node, "SELECT problem IS NOT NULL FROM notify.provider WHERE name = 'hook'"), 'a bad key is noticed');

my %shown = (
	'the server log' => slurp_file($node->logfile),
	'pg_stat_activity' => $node->safe_psql('postgres', "SELECT string_agg(a::text, '') FROM pg_stat_activity a WHERE pid <> pg_backend_pid()"),
	'EXPLAIN' => $node->safe_psql('postgres', 'EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM notify._providers()'),
	'explain()' => $node->safe_psql('postgres', 'SELECT x FROM notify.message m CROSS JOIN LATERAL notify.explain(m.id) AS x LIMIT 400'),
	'status()' => $node->safe_psql('postgres', 'SELECT * FROM notify.status()'),
	'stat_worker' => $node->safe_psql('postgres', 'SELECT * FROM notify.stat_worker'),
	'provider' => $node->safe_psql('postgres', 'SELECT * FROM notify.provider'),
	'delivery' => $node->safe_psql('postgres', 'SELECT * FROM notify.delivery'),
	'outcome' => $node->safe_psql('postgres', 'SELECT * FROM notify.outcome'),
	'a dump' => join('', run_command([ 'pg_dump', '-d', $node->connstr('postgres') ])));
for my $where (sort keys %shown)
{
	cmp_ok(length $shown{$where}, '>', 50, "$where says something");
	unlike($shown{$where}, qr/5ECRE7|\Q$whsec\E|\Q$key\E/, "$where shows no secret");
}
like($shown{'a dump'}, qr/"secret": "hook_key"/, 'a dump has the name of the secret');
like($shown{'the server log'}, qr/"hook" cannot be used/, 'the log has the problem');
for my $role ('notify_admin', 'notify_app', 'notify_report')
{
	for my $query ('SELECT value FROM notify.secret', 'SELECT s FROM notify.secret s',
		'SELECT * FROM notify._providers()', q{SELECT notify._with_secrets('{"secret": "api_token"}')},
		'COPY notify.secret TO STDOUT')
	{
		my ($status, $out, $err) = $node->psql('postgres', "SET ROLE $role; $query");
		ok($status != 0 && $err =~ /permission denied/ && $out !~ /5ECRE7/, "$role cannot read secrets: $query");
	}
}

$node->stop;
done_testing();

# Does the signature hold for the id, the timestamp and the body as received?
sub signed
{
	my ($request) = @_;
	my $h = $request->{headers};
	my $content = join '.', $h->{'webhook-id'}, $h->{'webhook-timestamp'}, encode('UTF-8', $request->{body});
	return $h->{'webhook-signature'} eq 'v1,' . encode_base64(hmac_sha256($content, $key), '')
	  && abs($h->{'webhook-timestamp'} - time) < 600;
}

# Of the dispatcher, in kB.
sub peak_memory
{
	return slurp_file("/proc/$pid/status") =~ /VmHWM:\s+(\d+)/ ? $1 : die 'no VmHWM';
}
