# Every preset on the wire, against providers that check a request as the real
# one does (test/lib/provider_sink.py shares no code with us): method, path,
# headers, signature, body; and what their answers come to: success, each kind
# of error, 429 with Retry-After, an answer nobody understands, garbage, silence.
#
# Catches: a request the provider would refuse, words that break out of JSON or a
# form, an error inside a 200 taken for success, an error in the wrong class, a
# dead token that stays, a provider's id that is lost, a token fetched for every
# message or never again, HTTP/1.1 where HTTP/2 is asked for, a push to a host
# that is not on the list.

use strict;
use warnings;
use utf8;
use Encode qw(encode decode);
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('presets', conf => "notify_pg.poll_interval = '50ms'\nnotify_pg.breaker_pause = 0\n");
my ($cert, $key) = certificate();
my $plain = provider_sink();
my $tls = provider_sink(cert => $cert, key => $key);

# Keys: those of a service account and of APNs are made here; VAPID's and the
# subscription's are those of RFC 8291's example.
my $keys = PostgreSQL::Test::Utils::tempdir;
system_or_bail('sh', '-c', "cd $keys && openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa 2>/dev/null || openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa 2>/dev/null");
system_or_bail('sh', '-c', "cd $keys && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec 2>/dev/null");
system_or_bail('sh', '-c', "cd $keys && for k in rsa ec; do openssl pkey -in \$k -pubout -out \$k.pub; done");
my %pem = map { $_ => slurp_file("$keys/$_") } qw(rsa ec rsa.pub ec.pub);
my %known = (
	rsa => $pem{'rsa.pub'}, ec => $pem{'ec.pub'},
	vapid => 'BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8',
	push => { number => 'q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94', auth => 'BTBZMqHH6r4Tts7J_aSIgg' });
$_->put('keys.json', encode_json(\%known)) for $plain, $tls;

my $words = qq{Hi "Ann" & <b>\\100%</b>\t您好 {"a": 1}};

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

sub sql
{
	return $node->safe_psql('postgres', encode('UTF-8', join '', @_));
}

sub json
{
	return literal(decode('UTF-8', encode_json($_[0])));
}

sub secret
{
	my ($name, $value) = @_;
	return "INSERT INTO notify.secret VALUES (" . literal($name) . ', ' . literal($value) . ") ON CONFLICT (name) DO UPDATE SET value = excluded.value;";
}

sub subscription
{
	my ($path, $url) = @_;
	$url //= $tls->url("/webpush/$path");
	return decode('UTF-8', encode_json({ endpoint => $url, keys => { auth => $known{push}{auth},
		p256dh => 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4' } }));
}

# A case: [what, answer, class, code]. An answer is [status, body, headers] or a
# word for a trouble.
my @common = (
	[ 'slow_down', [ 429, '{}', { 'Retry-After' => '3600' } ], 'defer', 429 ],
	[ 'riddle', [ 200, '{"hello": "there"}' ], 'retry', 200 ],
	[ 'no_json', [ 200, '<html>' ], 'retry', 200 ],
	[ 'oops', [ 500, 'oops' ], 'provider_down', 500 ],
	[ 'garbage', 'garbage', 'retry', undef ],
	[ 'silence', 'stall', 'retry', undef ],);

sub status_alone { return grep { $_->[0] !~ /riddle|no_json/ } @common; }

my %presets = (
	twilio => { channel => 'sms', secrets => { twilio => 'twilio-token-1234567890' },
		settings => { account_sid => 'AC0123456789', auth_token => { secret => 'twilio' }, from => '+15017122661' }, reference => 'SM0123',
		cases => [ @common,
			[ 'landline', [ 400, '{"code": 21614, "message": "not a mobile number"}' ], 'permanent_recipient', 400 ],
			[ 'stopped', [ 400, '{"code": 21610, "message": "unsubscribed"}' ], 'permanent_recipient', 400 ],
			[ 'empty', [ 400, '{"code": 21602, "message": "body required"}' ], 'permanent_message', 400 ],
			[ 'locked', [ 401, '{"code": 20003, "message": "Authenticate twilio-token-1234567890"}' ], 'auth', 401 ],
			# what is kept of it ends in the middle of the secret
			[ 'cut', [ 200, '{"hello": "' . 'x' x 8171 . 'twilio-token-1234567890"}' ], 'retry', 200 ] ] },
	vonage => { channel => 'sms', secrets => { vonage => 'vonage-secret-1234567890' },
		settings => { api_key => 'vonage-key', api_secret => { secret => 'vonage' }, from => 'Shop' }, reference => '0A0123',
		cases => [ (grep { $_->[0] ne 'oops' } @common),
			[ 'throttled', [ 200, '{"messages": [{"status": "1", "error-text": "Throughput"}]}' ], 'defer', 200 ],
			[ 'locked', [ 200, '{"messages": [{"status": "4", "error-text": "Bad Credentials"}]}' ], 'auth', 200 ],
			[ 'barred', [ 200, '{"messages": [{"status": "7", "error-text": "Number barred"}]}' ], 'permanent_recipient', 200 ],
			[ 'bad', [ 200, '{"messages": [{"status": "3", "error-text": "Invalid"}]}' ], 'permanent_message', 200 ],
			[ 'down', [ 200, '{"messages": [{"status": "5", "error-text": "Internal"}]}' ], 'provider_down', 200 ] ] },
	aliyun_sms => { channel => 'sms', secrets => { ali => 'ali-secret-1234567890' }, form => { id => 'SMS_154950909', parameters => { text => '{{ text }}' } },
		settings => { access_key_id => 'LTAIexample', access_key_secret => { secret => 'ali' }, sign_name => '商店' }, reference => '900619746936498440^0',
		cases => [ @common,
			[ 'limit', [ 200, '{"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "触发小时级流控Permits:5"}' ], 'defer', 200 ],
			[ 'illegal', [ 200, '{"Code": "isv.MOBILE_NUMBER_ILLEGAL"}' ], 'permanent_recipient', 200 ],
			[ 'template', [ 200, '{"Code": "isv.SMS_TEMPLATE_ILLEGAL"}' ], 'permanent_message', 200 ],
			[ 'arrears', [ 200, '{"Code": "isv.OUT_OF_SERVICE"}' ], 'auth', 200 ],
			[ 'signature', [ 400, '{"Code": "SignatureDoesNotMatch"}' ], 'auth', 400 ],
			[ 'system', [ 200, '{"Code": "isp.SYSTEM_ERROR"}' ], 'provider_down', 200 ] ] },
	tencent_sms => { channel => 'sms', secrets => { tencent => 'tencent-secret-1234567890' }, form => { id => '449739', parameters => ['{{ text }}'] },
		settings => { secret_id => 'AKIDtencent', secret_key => { secret => 'tencent' }, app_id => '1400006666', sign_name => '商店' }, reference => '5000:1045',
		cases => [ (grep { $_->[0] ne 'oops' } @common),
			[ 'daily', [ 200, '{"Response": {"SendStatusSet": [{"Code": "LimitExceeded.PhoneNumberDailyLimit"}]}}' ], 'defer', 200 ],
			[ 'wrong', [ 200, '{"Response": {"SendStatusSet": [{"Code": "InvalidParameterValue.IncorrectPhoneNumber"}]}}' ], 'permanent_recipient', 200 ],
			[ 'template', [ 200, '{"Response": {"SendStatusSet": [{"Code": "FailedOperation.TemplateIncorrectOrUnapproved"}]}}' ], 'permanent_message', 200 ],
			[ 'signature', [ 200, '{"Response": {"Error": {"Code": "AuthFailure.SignatureFailure"}}}' ], 'auth', 200 ],
			[ 'internal', [ 200, '{"Response": {"Error": {"Code": "InternalError"}}}' ], 'provider_down', 200 ] ] },
	aws_sns => { channel => 'sms', secrets => { aws => 'aws-secret/1234567890' },
		settings => { access_key_id => 'AKIDEXAMPLE', secret_access_key => { secret => 'aws' }, region => 'eu-west-1' }, reference => '567910cd-659e-55d4-8ccb-5aaf14679dc0',
		cases => [ status_alone(),
			[ 'throttled', [ 400, '<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>' ], 'defer', 400 ],
			[ 'opted_out', [ 400, '<Error><Code>OptedOut</Code><Message>phone number is opted out</Message></Error>' ], 'permanent_recipient', 400 ],
			[ 'key', [ 403, '<Error><Code>InvalidClientTokenId</Code></Error>' ], 'auth', 403 ],
			[ 'parameter', [ 400, '<Error><Code>InvalidParameter</Code><Message>Invalid parameter: Message</Message></Error>' ], 'permanent_message', 400 ] ] },
	aws_ses => { channel => 'email', secrets => { aws => 'aws-secret/1234567890', session => 'session-token-1234567890' },
		settings => { access_key_id => 'AKIDEXAMPLE', secret_access_key => { secret => 'aws' }, session_token => { secret => 'session' }, region => 'eu-west-1', from => 'Shop <shop@shop.example>' }, reference => '010001',
		cases => [ @common,
			[ 'rate', [ 400, '{"message": "Maximum sending rate exceeded.", "__type": "Throttling"}' ], 'defer', 400 ],
			[ 'unverified', [ 400, '{"message": "Email address is not verified."}' ], 'auth', 400 ],
			[ 'paused', [ 400, '{"__type": "SendingPausedException"}' ], 'auth', 400 ],
			[ 'bad', [ 400, '{"__type": "BadRequestException"}' ], 'permanent_message', 400 ] ] },
	sendgrid => { channel => 'email', secrets => { sendgrid => 'SG.sendgrid-key-1234567890' },
		settings => { api_key => { secret => 'sendgrid' }, from => 'shop@shop.example' }, reference => '14c5d75ce93',
		cases => [ @common,
			[ 'address', [ 400, '{"errors": [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email"}]}' ], 'permanent_recipient', 400 ],
			[ 'from', [ 400, '{"errors": [{"message": "The from email does not contain a valid address.", "field": "from.email"}]}' ], 'permanent_message', 400 ],
			[ 'key', [ 401, '{"errors": [{"message": "Permission denied"}]}' ], 'auth', 401 ] ] },
	fcm => { channel => 'push', secrets => { fcm => encode_json({ type => 'service_account', project_id => 'shop-1', private_key_id => 'key-1', private_key => $pem{rsa},
				client_email => 'sender@shop.example', token_uri => $plain->url('/oauth/token') }) },
		settings => { service_account => { secret => 'fcm' } }, reference => 'projects/shop-1/messages/0:1500',
		cases => [ @common,
			[ 'unregistered', [ 404, '{"error": {"status": "NOT_FOUND", "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}' ], 'permanent_recipient', 404 ],
			[ 'mismatch', [ 403, '{"error": {"details": [{"errorCode": "SENDER_ID_MISMATCH"}]}}' ], 'permanent_recipient', 403 ],
			[ 'argument', [ 400, '{"error": {"status": "INVALID_ARGUMENT", "details": [{"errorCode": "INVALID_ARGUMENT"}]}}' ], 'permanent_message', 400 ],
			[ 'token', [ 400, '{"error": {"details": [{"fieldViolations": [{"field": "message.token"}]}]}}' ], 'permanent_recipient', 400 ],
			[ 'quota', [ 429, '{"error": {"details": [{"errorCode": "QUOTA_EXCEEDED"}]}}' ], 'defer', 429 ],
			[ 'apns', [ 401, '{"error": {"details": [{"errorCode": "THIRD_PARTY_AUTH_ERROR"}]}}' ], 'auth', 401 ] ] },
	apns => { channel => 'push', sink => $tls, secrets => { apns => $pem{ec} },
		settings => { key => { secret => 'apns' }, key_id => 'ABC123DEFG', team_id => 'DEF123GHIJ', topic => 'example.shop' }, reference => qr/^[0-9a-f-]{36}$/,
		cases => [ status_alone(),
			[ 'gone', [ 410, '{"reason": "Unregistered", "timestamp": 1714566600}' ], 'permanent_recipient', 410 ],
			[ 'bad_token', [ 400, '{"reason": "BadDeviceToken"}' ], 'permanent_recipient', 400 ],
			[ 'too_many', [ 429, '{"reason": "TooManyRequests"}' ], 'defer', 429 ],
			[ 'provider', [ 403, '{"reason": "InvalidProviderToken"}' ], 'auth', 403 ],
			[ 'expired', [ 403, '{"reason": "ExpiredProviderToken"}' ], 'retry', 403 ],
			[ 'large', [ 413, '{"reason": "PayloadTooLarge"}' ], 'permanent_message', 413 ],
			[ 'shutdown', [ 503, '{"reason": "Shutdown"}' ], 'provider_down', 503 ],
			[ 'reset', 'close', 'retry', undef ] ] },
	jpush => { channel => 'push', secrets => { jpush => 'jpush-secret-1234567890' },
		settings => { app_key => 'jpush-key', master_secret => { secret => 'jpush' } }, reference => '18100287008546638',
		cases => [ @common,
			[ 'nobody', [ 400, '{"error": {"code": 1011, "message": "cannot find user by this audience"}}' ], 'permanent_recipient', 400 ],
			[ 'often', [ 429, '{"error": {"code": 2002, "message": "Rate limit exceeded"}}' ], 'defer', 429 ],
			[ 'key', [ 401, '{"error": {"code": 1004, "message": "Authentication failed"}}' ], 'auth', 401 ],
			[ 'internal', [ 200, '{"error": {"code": 1000, "message": "Internal error"}}' ], 'provider_down', 200 ] ] },
	webpush => { channel => 'webpush', sink => $tls, secrets => { vapid => 'yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw' },
		settings => { private_key => { secret => 'vapid' }, subject => 'mailto:ops@shop.example', hosts => ['127.0.0.1'] }, reference => 'https://push.example.net/message/abc',
		cases => [ status_alone(),
			[ 'missing', [ 404, '' ], 'permanent_recipient', 404 ],
			[ 'gone', [ 410, '' ], 'permanent_recipient', 410 ],
			[ 'unsigned', [ 401, '' ], 'auth', 401 ],
			[ 'vapid', [ 403, '' ], 'auth', 403 ],
			[ 'large', [ 413, '' ], 'permanent_message', 413 ] ] },
	slack => { channel => 'chat', secrets => { slack => 'xoxb-slack-1234567890' },
		settings => { token => { secret => 'slack' } }, reference => '1503435956.000247',
		cases => [ @common,
			[ 'nowhere', [ 200, '{"ok": false, "error": "channel_not_found"}' ], 'permanent_recipient', 200 ],
			[ 'key', [ 200, '{"ok": false, "error": "invalid_auth"}' ], 'auth', 200 ],
			[ 'limited', [ 200, '{"ok": false, "error": "rate_limited"}' ], 'defer', 200 ],
			[ 'long', [ 200, '{"ok": false, "error": "msg_too_long"}' ], 'permanent_message', 200 ],
			[ 'fatal', [ 200, '{"ok": false, "error": "fatal_error"}' ], 'provider_down', 200 ] ] },
	telegram => { channel => 'chat', secrets => { telegram => '123456:telegram-token' },
		settings => { token => { secret => 'telegram' } }, reference => '42',
		cases => [ (grep { $_->[0] ne 'slow_down' } @common),
			[ 'slow_down', [ 429, '{"ok": false, "parameters": {"retry_after": 3600}}' ], 'defer', 429 ],
			[ 'blocked', [ 403, '{"ok": false, "description": "Forbidden: bot was blocked by the user"}' ], 'permanent_recipient', 403 ],
			[ 'chat', [ 400, '{"ok": false, "description": "Bad Request: chat not found"}' ], 'permanent_recipient', 400 ],
			[ 'empty', [ 400, '{"ok": false, "description": "Bad Request: message text is empty"}' ], 'permanent_message', 400 ],
			[ 'key', [ 401, '{"ok": false, "description": "Unauthorized 123456:telegram-token"}' ], 'auth', 401 ] ] },
	dingtalk => { channel => 'chat', secrets => { dt => 'dingtalk-token-1234567890', dts => 'SECdingtalk-1234567890' },
		settings => { access_token => { secret => 'dt' }, secret => { secret => 'dts' } }, reference => '',
		cases => [ (grep { $_->[0] ne 'oops' } @common),
			[ 'fast', [ 200, '{"errcode": 130101, "errmsg": "send too fast"}' ], 'defer', 200 ],
			[ 'sign', [ 200, '{"errcode": 310000, "errmsg": "sign not match"}' ], 'auth', 200 ],
			[ 'system', [ 200, '{"errcode": -1, "errmsg": "system busy"}' ], 'provider_down', 200 ],
			[ 'type', [ 200, '{"errcode": 400105, "errmsg": "unsupported msgtype"}' ], 'permanent_message', 200 ] ] },
	feishu => { channel => 'chat', secrets => { fs => 'feishu-hook-1234567890', fss => 'feishu-secret-1234567890' },
		settings => { hook => { secret => 'fs' }, secret => { secret => 'fss' } }, reference => '',
		cases => [ @common,
			[ 'frequency', [ 200, '{"code": 11232, "msg": "frequency limited psm"}' ], 'defer', 200 ],
			[ 'sign', [ 200, '{"code": 19021, "msg": "sign match fail"}' ], 'auth', 200 ],
			[ 'bad', [ 200, '{"code": 19002, "msg": "params error"}' ], 'permanent_message', 200 ] ] },
	wecom => { channel => 'chat', secrets => { wc => 'wecom-key-1234567890' },
		settings => { key => { secret => 'wc' } }, reference => '',
		cases => [ (grep { $_->[0] ne 'oops' } @common),
			[ 'often', [ 200, '{"errcode": 45009, "errmsg": "api freq out of limit"}' ], 'defer', 200 ],
			[ 'key', [ 200, '{"errcode": 93000, "errmsg": "invalid webhook url"}' ], 'auth', 200 ],
			[ 'busy', [ 200, '{"errcode": -1, "errmsg": "system busy"}' ], 'provider_down', 200 ],
			[ 'long', [ 200, '{"errcode": 45002, "errmsg": "content size out of limit"}' ], 'permanent_message', 200 ] ] },
	acme => { channel => 'sms', secrets => { acme => 'acme-secret-1234567890' },
		settings => { account => 'shop', secret => { secret => 'acme' } }, reference => '77',
		cases => [ @common, [ 'unknown', [ 200, '{"code": 7}' ], 'permanent_recipient', 200 ], [ 'limit', [ 400, '{"error": "limit reached"}' ], 'defer', 400 ] ] });

# One that a user added
sql(q{INSERT INTO notify.preset (name, channel, method, settings, url, body, auth, success, reference, errors) VALUES
	('acme', 'sms', 'PUT', '{"account": {"required": true}, "secret": {"required": true, "secret": true}, "endpoint": {"kind": "url", "required": true}}',
	'{{ settings.endpoint }}/{{ settings.account }}/messages', '{"to": {{ address | json }}, "text": {{ message.body | json }}}',
	'{"scheme": "hmac", "key": "{{ settings.secret }}", "message": "{{ request.body }}", "encoding": "hex", "header": {"X-Sign": "{{ signature }}"}}',
	'{"status": "2xx", "path": "$.code ? (@ == 0)"}', '{"path": "$.id"}',
	'[{"path": "$.code ? (@ == 7)", "class": "permanent_recipient"}, {"path": "$.error", "match": "^limit", "class": "defer"}, {"status": "5xx", "class": "provider_down"}]');
	INSERT INTO notify.category (name, class) VALUES ('c', 'transactional')});

my $number = 0;

# An address of the channel, another for each case
sub address
{
	my ($channel, $case) = @_;
	$number++;
	return '+86138' . sprintf('%08d', $number) if $channel eq 'sms';
	return "a$number\@host.example" if $channel eq 'email';
	return subscription("s$number") if $channel eq 'webpush';
	return "token-$number";
}

sub answer
{
	my ($answer) = @_;
	return { do => $answer } unless ref $answer;
	return { status => $answer->[0], body => $answer->[1], headers => $answer->[2] // {} };
}

# What the sink calls an address
sub heard_as
{
	my ($address) = @_;
	return $address =~ m{/webpush/(s\d+)"} ? $1 : $address;
}

# Sends to each address and waits until all have an outcome.
sub send_all
{
	my ($preset, $channel, %addresses) = @_;
	my $count = keys %addresses;
	my @sends;
	for my $case (sort keys %addresses)
	{
		my $id = literal("$preset-$case");
		push @sends, "INSERT INTO notify.recipient (id) VALUES ($id); INSERT INTO notify.address (recipient, channel, address) VALUES ($id, '$channel', ", literal($addresses{$case}), ");",
		  "SELECT notify.send($id, '$preset', ", json({ text => heard_as($addresses{$case}) . " $words" }), ", 'c', '{$channel}');";
	}
	sql(@sends);
	return wait_for_sql($node, "SELECT count(DISTINCT m.id) FROM notify.message m JOIN notify.outcome o ON o.message = m.id WHERE m.template = '$preset' AND m.recipient IN ("
		  . join(', ', map { literal("$preset-$_") } keys %addresses) . ')', $count);
}

sub outcome
{
	my ($id, $columns) = @_;
	return decode('UTF-8', sql("SELECT $columns FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = ", literal($id), ' ORDER BY o.at LIMIT 1'));
}

sub use_preset
{
	my ($name, $p) = @_;
	my $sink = $p->{sink} // $plain;
	my %settings = (%{ $p->{settings} }, timeout_ms => 1500);
	$settings{endpoint} = $sink->url("/$name") if $name ne 'webpush';
	$settings{ca_file} = $cert if $sink == $tls;
	# What was to be tried again is not the next preset's to send.
	sql('DELETE FROM notify.scheduled; DELETE FROM notify.ready; DELETE FROM notify.provider;', (map { secret($_, $p->{secrets}{$_}) } sort keys %{ $p->{secrets} }),
		"INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('$name', '$name', 2, ", json(\%settings), ");",
		"INSERT INTO notify.template (name, channel, subject, body, html, provider_template) VALUES ('$name', '$p->{channel}', 'Your order', '{{ text }}', ",
		($p->{channel} eq 'email' ? "'<p>{{ text }}</p>'" : 'NULL'), ', ', ($p->{form} ? json($p->{form}) : 'NULL'), ')');
	return $sink;
}

for my $name (sort keys %presets)
{
	my $p = $presets{$name};
	my $sink = use_preset($name, $p);
	my %address = map { $_->[0] => address($p->{channel}, $_->[0]) } [ 'fine' ], @{ $p->{cases} };
	my %script = map { heard_as($address{ $_->[0] }) => [ answer($_->[1]) ] } @{ $p->{cases} };
	$sink->behave({ $name => \%script });
	send_all($name, $p->{channel}, %address);
	my @heard = grep { ($_->{provider} // '') eq $name } $sink->entries;
	is(join("\n", map { @{ $_->{faults} } } @heard), '', "$name: the provider finds no fault with any request");
	my ($fine) = grep { $_->{address} eq heard_as($address{fine}) } @heard;
	is($fine->{text}, heard_as($address{fine}) . " $words", "$name: the words arrive as they are");
	is(outcome("$name-fine", 'o.verdict, o.class'), 'sent|ok', "$name: success");
	my $reference = outcome("$name-fine", "coalesce(o.reference, '')");
	ref $p->{reference} ? like($reference, $p->{reference}, "$name: the provider's id") : is($reference, $p->{reference}, "$name: the provider's id");
	my %class = map { split /=/ } split /\n/, sql("SELECT DISTINCT ON (m.id) m.recipient || '=' || o.class || '|' || coalesce(o.code::text, '') FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.template = '$name' ORDER BY m.id, o.at");
	for my $case (@{ $p->{cases} })
	{
		my ($what, $answer, $class, $code) = @$case;
		is($class{"$name-$what"}, "$class|" . ($code // ''), "$name: $what");
	}
	like(outcome("$name-riddle", 'o.detail'), qr/^not understood: HTTP 200: \{"hello": "there"\}/, "$name: what is not understood is kept")
	  if grep { $_->[0] eq 'riddle' } @{ $p->{cases} };
	ok(wait_for_sql($node, "SELECT count >= 2 AND sample ~ '^HTTP 200: .' FROM notify.unclassified WHERE provider = '$name' AND what = 'answer'"), "$name: and counted")
	  if grep { $_->[0] eq 'riddle' } @{ $p->{cases} };
	is(outcome("$name-slow_down", 'o.verdict, round(extract(epoch FROM o.next_at - o.at))'), 'retrying|3600', "$name: Retry-After");
	my @gone = sort map { "$name-$_->[0]" } grep { $_->[2] eq 'permanent_recipient' } @{ $p->{cases} };
	is(sql("SELECT string_agg(recipient, ',' ORDER BY recipient) FROM notify.address WHERE state = 'invalid' AND recipient LIKE '$name-%'"),
		join(',', @gone), "$name: addresses that are gone, and no others, are given up");
	my @shown = map { ref $_ ? () : $_ } grep { !/-----/ && !/service_account/ } values %{ $p->{secrets} };
	my $logged = sql("SELECT string_agg(o::text, ' ') FROM notify.outcome o") . sql('SELECT string_agg(p::text, $$ $$) FROM notify.provider p')
	  . sql('SELECT string_agg(u::text, $$ $$) FROM notify.unclassified u');
	unlike($logged, qr/twilio-tok/, "$name: not even the beginning of one");
	is(join(',', grep { index($logged, $_) >= 0 } @shown), '', "$name: no secret is repeated");
}

#
# HTTP/2
#
my @streams = grep { ($_->{provider} // '') =~ /apns|webpush/ } $tls->entries;
is(scalar(grep { $_->{http} ne '2' } @streams), 0, 'APNs and web push speak HTTP/2');
my %tokens = map { $_->{headers}{authorization} => 1 } grep { ($_->{provider} // '') eq 'apns' } $tls->entries;
is(scalar keys %tokens, 1, 'and one provider token');

# A connection is kept for the next message.
sql('DELETE FROM notify.scheduled; DELETE FROM notify.ready; DELETE FROM notify.provider;', "INSERT INTO notify.provider (name, preset, settings) VALUES ('apns', 'apns', ",
	json({ %{ $presets{apns}{settings} }, endpoint => $tls->url('/apns'), ca_file => $cert }), ')');
$tls->behave({});
send_all('apns', 'push', 'kept0' => address('push', 0));
my $before = () = $tls->entries;
send_all('apns', 'push', "kept$_" => address('push', $_)) for 1 .. 5;
my @kept = splice @{ [ $tls->entries ] }, $before;
is(scalar(grep { ($_->{provider} // '') eq 'apns' } @kept), 5, 'one message after another');
is(scalar(grep { $_->{connection} } @kept), 0, 'goes over the connection that is there');

# Two dispatchers: the same token, however many sign
sql('ALTER SYSTEM SET notify_pg.dispatchers = 2');
$node->reload;
ok(wait_for_sql($node, "SELECT count(*) FROM notify.stat_worker WHERE kind = 'dispatcher' AND state = 'running'", 2), 'a second dispatcher');
my $since = sql("SELECT jsonb_object_agg(slot, sent) FROM notify.stat_worker WHERE kind = 'dispatcher'");
my $round = 0;
ok(wait_until('both dispatchers to send', sub {
	$round++;
	send_all('apns', 'push', map { ("both$round-$_" => address('push', $_)) } 1 .. 40);
	return sql("SELECT bool_and(sent > coalesce(('$since'::jsonb ->> slot::text)::bigint, 0)) FROM notify.stat_worker WHERE kind = 'dispatcher'") eq 't';
}), 'both have sent');
my @by_both = grep { ($_->{provider} // '') eq 'apns' } $tls->entries;
cmp_ok(scalar @by_both, '>=', 40, 'and APNs has heard them');
$tokens{ $_->{headers}{authorization} }++ for @by_both;
is(scalar keys %tokens, 1, 'with the token that was made before');
sql('ALTER SYSTEM RESET notify_pg.dispatchers');
$node->reload;
ok(wait_for_sql($node, "SELECT count(*) FROM notify.stat_worker WHERE kind = 'dispatcher' AND state = 'running'", 1), 'one goes');

#
# Web push: only to push services
#
sql('DELETE FROM notify.provider;', "INSERT INTO notify.provider (name, preset, settings) VALUES ('webpush', 'webpush', ",
	json({ private_key => { secret => 'vapid' }, subject => 'mailto:ops@shop.example', ca_file => $cert }), ')');
send_all('webpush', 'webpush', elsewhere => subscription('x'), lookalike => subscription('x', 'https://evil-push.apple.com.example/x'));
for my $case (qw(elsewhere lookalike))
{
	is(outcome("webpush-$case", 'o.class'), 'permanent_message', "a subscription $case is not posted to");
	like(outcome("webpush-$case", 'o.detail'), qr/host of the message's URL is not one the provider may send to/, 'and it says why');
}

#
# Access tokens: one for many messages; when it does not come, messages are answered
#
is(scalar(grep { ($_->{provider} // '') eq 'oauth' } $plain->entries), 1, 'one access token served all messages of FCM');
my $fcm = $presets{fcm};
sub token_trouble
{
	my ($what, $answer, $class, $detail) = @_;
	my $address = address('push', $what);
	$plain->behave({ oauth => { token => [ $answer ] } });
	sql('DELETE FROM notify.provider;', "INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('fcm', 'fcm', 2, ",
		json({ %{ $fcm->{settings} }, endpoint => $plain->url('/fcm'), timeout_ms => 1500 }), ')');
	send_all('fcm', 'push', $what => $address);
	is(outcome("fcm-$what", 'o.class'), $class, "token service: $what");
	like(outcome("fcm-$what", 'o.detail'), qr/^no access token: $detail/, 'and it says why');
	is(scalar(grep { ($_->{provider} // '') eq 'fcm' && $_->{address} eq $address } $plain->entries), 0, 'nothing was sent without a token');
	return;
}
token_trouble('refused', { status => 400, body => '{"error": "invalid_grant"}' }, 'auth', 'HTTP 400: \{"error": "invalid_grant"\}');
like(sql("SELECT problem FROM notify.provider WHERE name = 'fcm'"), qr/invalid_grant/, 'a provider that refuses us is flagged');
token_trouble('broken', { status => 500, body => 'oops' }, 'provider_down', 'HTTP 500: oops');
token_trouble('silent', { do => 'stall' }, 'provider_down', '.*time');
token_trouble('nonsense', { status => 200, body => '{"hello": 1}' }, 'provider_down', 'the answer of the token service holds none');
token_trouble('evil', { status => 200, body => '{"access_token": "x\r\nX-Evil: 1"}' }, 'provider_down', 'the answer of the token service holds none');
$plain->behave({});
sql("UPDATE notify.provider SET priority = 1");
send_all('fcm', 'push', again => address('push'));
ok(wait_for_sql($node, "SELECT status FROM notify.delivery WHERE recipient = 'fcm-again'", 'sent'), 'when the service is well again, messages go');

# Nothing of the keys is in the log.
my $log = slurp_file($node->logfile);
unlike($log, qr/BEGIN PRIVATE KEY|ya29\.token|yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ/, 'no key and no token in the server log');
done_testing();
