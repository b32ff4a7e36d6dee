# Marked secrets, looked for wherever they must not be: the server's log at its
# most talkative with auto_explain, what sessions are seen to do, plans, errors,
# every table and view but their own, explain(), and dumps. Servers here repeat all
# they are sent, understood or not: as it was, %-encoded, escaped, in base64.
#
# Catches: a password in the detail of an answer that repeats the request, or in the
# reference such an answer gives, in what is kept of one that nobody understands, or
# in a mail server's words; a login in base64 shown for not being the secret itself;
# one behind a zero byte; a key in the text of a nested query, a token in an error.

use strict;
use warnings;
use MIME::Base64 qw(encode_base64);
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('secrets');
my $http = http_sink();
my ($cert, $cert_key) = certificate();
my $smtp = smtp_sink(tls => 'required', cert => $cert, key => $cert_key, auth => 'shop:MARK3R-smtp');
my $mark = 'MARK3R';

# The mark, and what of it is sure to be seen in base64: with no, one or two bytes before it in a group of three.
my @base64 = map { substr encode_base64('x' x $_ . $mark, ''), (0, 2, 3)[$_], (8, 7, 7)[$_] } 0 .. 2;
my $any = join '|', $mark, map { quotemeta } @base64;

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

#
# Servers that repeat what they are sent
#
sql(q{
	UPDATE notify.provider SET enabled = false;
	INSERT INTO notify.category (name, class, channels) SELECT c || 's', 'transactional', ARRAY[c] FROM unnest('{email,sms,webhook,chat,push}'::text[]) AS c;
	INSERT INTO notify.secret VALUES ('odd', 'MARK3R/"odd"&\x+é=='), ('number', '123456789'), ('grid', 'MARK3R-grid')});
my $dir = PostgreSQL::Test::Utils::tempdir;
system_or_bail('sh', '-c', "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out $dir/rsa 2>/dev/null");
my $tries = 0;

# What this test says itself is not to be found in the log.
sub quietly { return sql("SET log_statement = none; SET log_min_duration_statement = -1; SET auto_explain.log_min_duration = -1; $_[0]") }

# A message by a provider alone; its outcome.
sub by
{
	my ($channel, $preset, $settings, $to) = @_;
	my $name = 'p' . ++$tries;
	my $json = encode_json($settings) =~ s/'/''/gr;
	sql(qq{UPDATE notify.provider SET enabled = false;
		INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('$name', '$preset', 1, '$json');
		INSERT INTO notify.recipient (id) VALUES ('$name');
		INSERT INTO notify.address (recipient, channel, address) VALUES ('$name', '$channel', '$to');
		SELECT notify.send('$name', 'note', '{}', '${channel}s')});
	my $first = "FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$name' AND o.provider = '$name'";
	wait_for_sql($node, "SELECT count(*) > 0 $first");
	return sql("SELECT concat_ws(' ', o.class, o.reference, o.detail) $first ORDER BY o.at LIMIT 1");
}
my $starred = qr/\*{6}/;
my %twilio = (account_sid => 'AC1', from => '+15005550006');
for my $secret ('twilio', 'odd')
{
	my @login = (auth_token => { secret => $secret });
	like(by('sms', 'twilio', { %twilio, @login, endpoint => $http->url('/echo/503') }, '+4930123456'), qr/^provider_down HTTP 503: .*authorization.*$starred/, "an error that repeats the request ($secret)");
	like(by('sms', 'twilio', { %twilio, @login, endpoint => $http->url('/echo/401') }, '+4930123456'), qr/^auth HTTP 401: .*$starred/, 'a refusal of the login');
	like(by('sms', 'twilio', { %twilio, @login, endpoint => $http->url('/echo/200') }, '+4930123456'), qr/^retry not understood: HTTP 200: .*$starred/, 'an answer nobody understands');
	like(by('sms', 'twilio', { %twilio, @login, endpoint => $http->url('/echo/400-nul') }, '+4930123456'), qr/^permanent_message .*$starred/, 'a zero byte before it');
	like(by('sms', 'twilio', { %twilio, @login, endpoint => $http->url('/echo/201-sid') }, '+4930123456'), qr/^ok Basic .*$starred/, 'success, with the login for a reference');
	like(by('chat', 'dingtalk', { access_token => { secret => $secret }, endpoint => $http->url('/echo/200') }, '42'), qr/^retry not understood: .*access_token=$starred/, 'a secret in a URL');
	like(by('webhook', 'webhook', { headers => { 'X-Token' => { secret => $secret } } }, $http->url('/echo/200')), qr/^ok $starred/, 'one in a header of its own') if $secret ne 'odd';
}
like(by('email', 'sendgrid', { api_key => { secret => 'grid' }, from => 'shop@shop.example', endpoint => $http->url('/echo/202') }, 'ann@x.example'), qr/^ok Bearer $starred/, 'a reference in a header');
like(by('sms', 'twilio', { account_sid => 'AC1', auth_token => { secret => 'number' }, from => '+15005550006', endpoint => $http->url('/status/400?body={"code":21211,"n":123456789}&x=') }, '+4930123456'),
	qr/^permanent_recipient .*$starred/, 'a secret that is a number in the answer: it is starred, and the answer understood');
my $account = encode_json({ project_id => 'shop', private_key_id => 'k1', private_key => slurp_file("$dir/rsa"), client_email => 'sender@shop.example',
	token_uri => $http->url('/status/200?body=%7B%22access_token%22:%22MARK3R-access%22%7D') });
quietly("INSERT INTO notify.secret VALUES ('account', \$a\$$account\$a\$)");
like(by('push', 'fcm', { service_account => { secret => 'account' }, endpoint => $http->url('/echo/500') }, 'device'), qr/^provider_down HTTP 500: .*Bearer $starred/, 'a token that was fetched');
is(sql("SELECT count(*) FROM notify.unclassified WHERE sample LIKE '%******%'"), 6, 'riddles are kept, starred');

# A mail server's words, on the way to a recipient and after a login
my $auth = encode_base64("\0shop\0$mark-smtp", '');
my %mail = (host => '127.0.0.1', port => $smtp->port + 0, from => 'shop@shop.example', ca_file => $cert, username => 'shop', password => { secret => 'smtp' });
$smtp->behave({ rcpt => { 'bob@x.example' => "550 5.1.1 you said AUTH PLAIN $auth and $mark-smtp" }, data => "250 2.0.0 queued as $mark-smtp" });
like(by('email', 'smtp', \%mail, 'bob@x.example'), qr/^permanent_recipient 550 to RCPT TO: 5\.1\.1 you said AUTH PLAIN \S*$starred\S* and $starred/, 'a mail server that repeats the login');
like(by('email', 'smtp', \%mail, 'cy@x.example'), qr/$starred/, 'and one that gives it for a reference');

# A report that repeats it: one that is understood, one that waits, one that is not
sql(q{INSERT INTO notify.preset (name, channel, url, body, settings, receipt) VALUES ('chatty', 'sms', 'http://127.0.0.1:1/', '{}', '{"key": {"secret": true}}',
	'{"message": "$.message", "reference": "$.reference", "code": "$.code", "detail": "$.detail", "kinds": [{"kind": "failed", "path": "$.failed"}]}');
	INSERT INTO notify.provider (name, preset, settings) VALUES ('chatty', 'chatty', '{"key": {"secret": "odd"}}')});
my $message = sql(q{SELECT message FROM notify.outcome WHERE provider = 'p1' LIMIT 1});
my $odd = sql(q{SELECT to_json(value) FROM notify.secret WHERE name = 'odd'});
for my $report (qq({"message": "$message", "failed": true, "code": "1", "detail": $odd}), qq({"reference": "none", "failed": true, "detail": $odd}), qq({"what": $odd}))
{
	quietly(q{SELECT notify.receipt('chatty', } . "\$r\$$report\$r\$" . ')');
}
quietly("SELECT notify.receipt('mail', 'no report, but $mark-smtp')");
is(sql(q{SELECT count(*) FROM notify.unclassified WHERE provider IN ('chatty', 'mail') AND what = 'receipt' AND sample LIKE '%***%'}), 2, 'reports nobody understands are kept, starred');
is(sql(q{SELECT count(*) FROM notify.outcome WHERE provider = 'chatty' AND detail LIKE '%***%'}), 1, 'so is what one says that is understood');
is(sql(q{SELECT count(*) FROM notify.receipt_waiting WHERE provider = 'chatty' AND entry::text LIKE '%***%'}), 1, 'and one that waits');

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
	is(sql("SELECT count(*) FROM $table AS t WHERE t::text ~ '$any'"), 0, "nothing in $table");
}
is(sql("SELECT count(*) FROM notify.message AS m, notify.explain(m.id) AS e WHERE e::text ~ '$any'"), 0, 'nothing in explain() of any message');
is(sql("SELECT count(*) FROM notify.message AS m, notify.content(m.id) AS c WHERE c::text ~ '$any'"), 0, 'nor in content()');
is(sql("SELECT count(*) FROM notify.recipient AS r, notify.export_recipient(r.id) AS x WHERE x::text ~ '$any'"), 0, 'nor in what is handed out to a person');
cmp_ok(sql("SELECT count(*) FROM notify.failure WHERE detail LIKE '%******%'"), '>', 5, 'failures say that something was there');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE query ~ '$any' AND pid <> pg_backend_pid()"), 0, 'nothing in pg_stat_activity');
is(sql("SELECT count(*) FROM notify.status() AS s WHERE s::text ~ '$any'"), 0, 'nor in status()');
for my $program ([ 'pg_dump', 'postgres' ], [ 'pg_dump', '--data-only', 'postgres' ], [ 'pg_dumpall' ])
{
	my ($name, @what) = @$program;
	my ($dump) = run_command([ $name, '-h', $node->host, '-p', $node->port, @what ]);
	like($dump, qr/COPY notify\.provider/, "@$program has the providers");
	unlike($dump, qr/$any/, 'and no secret');
}
$node->stop;
my $log = slurp_file($node->logfile);
$log =~ s/^.*(?:INSERT INTO notify\.secret|LIKE '%MARK).*$//mg;		# what this test says itself
my @found = grep { /$any/ && !/LIKE|~/ } split /\n/, $log;
is(scalar @found, 0, 'nothing in the log') or diag(join "\n", map { substr $_, 0, 300 } @found[0 .. ($#found > 4 ? 4 : $#found)]);
like($log, qr/Query Text: .*_settle/, 'which says a lot otherwise');
done_testing();
