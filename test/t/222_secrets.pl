# Marked secrets, looked for wherever they must not be: the server's log at its
# most talkative with auto_explain, what sessions are seen to do, plans, errors,
# every table but their own, and dumps.
#
# Catches: a password in the detail of an answer that repeats the request, a
# key in the text of a nested query, a token in an error.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('secrets');
my $http = http_sink();
my ($cert, $cert_key) = certificate();
my $smtp = smtp_sink(tls => 'required', cert => $cert, key => $cert_key, auth => 'shop:MARK3R-smtp');
my $mark = 'MARK3R';

sub sql { return $node->safe_psql('postgres', join '', @_) }

sql(qq{
	INSERT INTO notify.secret VALUES ('smtp', '$mark-smtp'), ('twilio', '$mark-twilio'), ('hook', 'whsec_@{[substr 'MARK3R' x 8, 0, 44]}'), ('token', '$mark-token'), ('bot', '$mark-bot');
	UPDATE notify.secret SET value = '$mark-key' WHERE name = 'notify:key';
});
is(sql("SELECT count(*) FROM notify.secret WHERE value LIKE '%$mark%'"), 6, 'the secrets are marked');
$node->append_conf('postgresql.conf', "log_min_messages = debug1\nlog_statement = all\nlog_min_duration_statement = 0\nlog_parameter_max_length_on_error = -1\n"
	  . "shared_preload_libraries = 'notify_pg, auto_explain'\nauto_explain.log_min_duration = 0\nauto_explain.log_nested_statements = on\nauto_explain.log_verbose = on\n");
$node->restart;
sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('all', 'marketing', '{email,sms,webhook,chat,push}');
	INSERT INTO notify.template (name, channel, subject, body) SELECT 'note', c, CASE c WHEN 'email' THEN 'Note' END, 'Hello' FROM unnest('{email,sms,webhook,chat,push}'::text[]) AS c;
	INSERT INTO notify.provider (name, channel, preset, max_attempts, settings) VALUES
		('mail', 'email', 'smtp', 2, '{"host": "127.0.0.1", "port": @{[$smtp->port]}, "from": "shop\@shop.example", "ca_file": "$cert", "username": "shop", "password": {"secret": "smtp"}, "envelope_from": "b+*\@shop.example", "unsubscribe_url": "https://shop.example/x"}'),
		('sms', 'sms', 'twilio', 2, '{"account_sid": "AC1", "auth_token": {"secret": "twilio"}, "from": "+15005550006", "status_callback": "https://shop.example/t", "endpoint": "@{[$http->url('/status/401')]}"}'),
		('hook', 'webhook', 'webhook', 2, '{"url": "@{[$http->url('/status/500')]}", "signing_secret": {"secret": "hook"}, "receipt_secret": {"secret": "hook"}, "headers": {"X-Token": {"secret": "token"}}}'),
		('bot', 'chat', 'telegram', 2, '{"token": {"secret": "bot"}, "endpoint": "http://127.0.0.1:1"}'),
		('push', 'push', 'jpush', 2, '{"app_key": "k", "master_secret": {"secret": "token"}, "endpoint": "@{[$http->url('/garbage')]}"}');
	INSERT INTO notify.recipient (id) VALUES ('ann');
	INSERT INTO notify.address (recipient, channel, address) VALUES ('ann', 'email', 'ann\@x.example'), ('ann', 'sms', '+4930123456'), ('ann', 'chat', '42'), ('ann', 'push', 'device');
	SELECT notify.send('ann', 'note', '{}', 'all');
});
ok(wait_for_sql($node, 'SELECT count(DISTINCT message) FROM notify.outcome', 5), 'all five were tried');
is(scalar $smtp->mails, 1, 'the mail went, with its password');
like(join('', map { $_->{body} } grep { $_->{path} =~ m{401} } $http->entries), qr/To=/, 'others were refused');

# What is refused when saved or handed in says nothing of it either.
for my $statement (q{UPDATE notify.provider SET settings = settings || '{"auth_token": {"secret": "no such"}}' WHERE name = 'sms'},
	q{UPDATE notify.provider SET settings = settings || '{"shoe": 1}'}, q{SELECT notify.receipt('sms', 'MessageSid=x', '{"X-Twilio-Signature": "eA=="}')},
	q{SELECT notify.receipt('hook', '{}', '{"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,eA=="}')}, q{SELECT notify.receipt('sms', '[', '{}')},
	q{SELECT notify.unsubscribe('x')}, q{SELECT notify.receipt('mail', 'x')}, q{UPDATE notify.preset SET url = '{{ settings.nope }}'},
	q{EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM notify._providers()}, q{EXPLAIN (ANALYZE, VERBOSE) SELECT notify.unsubscribe('x')})
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	unlike("$out$err", qr/$mark/, "nothing of a secret: $statement");
}
for my $role (qw(notify_admin notify_app notify_report))
{
	my (undef, $out, $err) = $node->psql('postgres', "SET ROLE $role; SELECT value FROM notify.secret");
	like("$out$err", qr/permission denied/, "$role reads no secret");
	(undef, $out, $err) = $node->psql('postgres', "SET ROLE $role; SELECT notify._providers()");
	like("$out$err", qr/permission denied/, "$role sees no settings with secrets in them");
	(undef, $out, $err) = $node->psql('postgres', "SET ROLE $role; SELECT notify._token_key()");
	like("$out$err", qr/permission denied/, "nor the key of links");
}

# Everywhere else
for my $table (split /\n/, sql(q{SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'notify' AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relname <> 'secret' AND NOT c.relispartition}))
{
	is(sql("SELECT count(*) FROM $table AS t WHERE t::text LIKE '%$mark%'"), 0, "nothing in $table");
}
is(sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%MARK' || '3R%'"), 0, 'nothing in pg_stat_activity');
is(sql("SELECT count(*) FROM notify.status() AS s WHERE s::text LIKE '%MARK' || '3R%'"), 0, 'nor in status()');
my ($dump) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
like($dump, qr/COPY notify\.provider/, 'a dump has the providers');
unlike($dump, qr/$mark/, 'and no secret');
$node->stop;
my $log = slurp_file($node->logfile);
$log =~ s/^.*(?:INSERT INTO notify\.secret|LIKE '%MARK).*$//mg;		# what this test says itself
my @found = grep { /$mark/ && !/LIKE|~~/ } split /\n/, $log;
is(scalar @found, 0, 'nothing in the log') or diag(join "\n", map { substr $_, 0, 300 } @found[0 .. ($#found > 4 ? 4 : $#found)]);
like($log, qr/Query Text: .*_settle/, 'which says a lot otherwise');
done_testing();
