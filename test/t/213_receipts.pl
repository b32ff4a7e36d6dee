# What providers report: deliveries, bounces, complaints, answers.
#
# Catches: a report believed although its signature is not the provider's, or
# that another's key made; one counted twice; a person written to after a
# bounce, a complaint or STOP; a person given up for the fault of a provider; a
# bounce undone by a delivery told late; a report lost because it overtook its
# message; and mail that is cut off or hostile.

use strict;
use warnings;
use Digest::SHA qw(hmac_sha1_base64 hmac_sha256 sha256_hex);
use MIME::Base64 qw(encode_base64 encode_base64url);
use NotifyTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notify_cluster('receipts');
my $sink = smtp_sink();
my $http = http_sink();

sub sql { return $node->safe_psql('postgres', join '', @_) }

sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'" }

# What receipt() gives, or the SQLSTATE it refuses with.
sub receipt
{
	my ($provider, $payload, $headers) = @_;
	my $json = encode_json($headers // {});
	my ($out, $err);
	my $rc = $node->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE notify_app; SELECT kind, state FROM notify.receipt('$provider', decode('" . unpack('H*', $payload)
		  . "', 'hex'), " . quoted($json) . ')', stdout => \$out, stderr => \$err);
	return $rc == 0 ? $out : $err =~ /ERROR:\s+(\w{5}):/ ? $1 : $err;
}

sub status { return sql("SELECT status || coalesce('/' || reason, '') FROM notify.delivery WHERE recipient = '$_[0]' ORDER BY message DESC LIMIT 1") }
sub message_of { return sql("SELECT max(message) FROM notify.delivery WHERE recipient = '$_[0]'") }
sub state_of { return sql("SELECT state FROM notify.address WHERE recipient = '$_[0]'") }

my @people = map { "m$_" } 1 .. 12;
my @phones = map { "p$_" } 1 .. 6;
sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('news', 'marketing', '{email}'), ('codes', 'transactional', '{sms}'), ('hooks', 'transactional', '{webhook}');
	INSERT INTO notify.template (name, channel, subject, body) VALUES ('note', 'email', 'Note', 'Hello'), ('note', 'sms', NULL, 'Hello'), ('note', 'webhook', NULL, '{}');
	INSERT INTO notify.secret VALUES ('twilio', 'tw1lio-5ECRE7'), ('receipts', 'whsec_@{[encode_base64('r' x 32, '')]}');
	-- as Twilio's, but content with what our server answers
	INSERT INTO notify.preset SELECT (jsonb_populate_record(t, '{"name": "sms_here", "success": {"status": 200}, "reference": null}')).* FROM notify.preset t WHERE name = 'twilio';
	INSERT INTO notify.provider (name, channel, preset, settings) VALUES
		('mail', 'email', 'smtp', '{"host": "127.0.0.1", "port": @{[$sink->port]}, "tls": "none", "from": "shop\@shop.example", "envelope_from": "bounces+*\@shop.example"}'),
		('sms', 'sms', 'sms_here', '{"account_sid": "AC1", "auth_token": {"secret": "twilio"}, "from": "+15005550006", "status_callback": "https://shop.example/twilio?x=1", "endpoint": "@{[$http->url('')]}"}'),
		('hook', 'webhook', 'webhook', '{"url": "@{[$http->url('/hook')]}", "receipt_secret": {"secret": "receipts"}}');
	INSERT INTO notify.recipient (id) SELECT unnest('{hook,@{[join ',', @people, @phones]}}'::text[]);
	INSERT INTO notify.address (recipient, channel, address) SELECT id, 'email', id || '\@x.example' FROM notify.recipient WHERE id LIKE 'm%'
		UNION ALL SELECT id, 'sms', '+4930123' || substr(id, 2) FROM notify.recipient WHERE id LIKE 'p%';
});
sql(join '', map { "SELECT notify.send('$_', 'note', '{}', 'news');" } @people);
wait_for_drain($node);
my %mail = map { $_->{rcpt_tos}[0] => $_ } $sink->mails;
is(scalar keys %mail, scalar @people, 'mails are out');

#
# Mail: bounces
#
sub bounce
{
	my ($person, %is) = @_;
	my $about = $mail{"$person\@x.example"};
	my ($id) = $about->{content} =~ /^Message-ID: (\S+)/mi;
	my $fields = $is{feedback}
	  ? "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: $is{feedback}\r\nUser-Agent: x\r\nOriginal-Rcpt-To: $person\@x.example\r\n"
	  : "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.x.example\r\n\r\nFinal-Recipient: rfc822;\r\n $person\@x.example\r\nAction: $is{action}\r\n"
	  . "Status: $is{status}\r\nDiagnostic-Code: smtp; $is{words}\r\n";
	my $to = exists $is{to} ? $is{to} : $about->{mail_from};
	return "From: MAILER-DAEMON\@x.example\r\nTo: <$to>\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
	  . "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"=_b/1\"\r\n\r\nwords\r\n--=_b/1\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
	  . "--=_b/1\r\n$fields\r\n--=_b/1\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Note\r\nMessage-ID: " . ($is{id} // $id) . "\r\n\r\n--=_b/1--\r\n";
}

my %gone = (action => 'failed', status => '5.1.1', words => '550 5.1.1 no such user');
is(receipt('mail', bounce('m1', %gone)), 'bounced|applied', 'a bounce');
is(status('m1'), 'failed/bounced', 'its mail failed');
is(state_of('m1'), 'invalid', 'its address is used no more');
is(receipt('mail', bounce('m1', %gone)), 'bounced|repeated', 'the same again changes nothing');
is(receipt('mail', bounce('m1', %gone, action => 'delivered', status => '2.0.0', words => '250 ok')), 'delivered|ignored', 'a delivery told late does not undo it');
is(status('m1'), 'failed/bounced', 'nor shows');
is(receipt('mail', bounce('m2', action => 'delayed', status => '4.4.7', words => '451 later')), 'ignored|ignored', 'a delay is none');
is(status('m2'), 'sent', 'it is still sent');
is(receipt('mail', bounce('m2', %gone, action => 'delivered', status => '2.0.0', words => '250 ok')), 'delivered|applied', 'a delivery');
is(status('m2'), 'delivered/delivered', 'it is delivered');
is(receipt('mail', bounce('m2', %gone)), 'bounced|applied', 'that bounces after all');
is(status('m2'), 'failed/bounced', 'is failed');
is(receipt('mail', bounce('m3', action => 'failed', status => '5.2.2', words => '552 5.2.2 mailbox full')), 'failed|applied', 'a full box');
is(state_of('m3'), 'active', 'is no reason to give up its owner');
is(receipt('mail', bounce('m4', action => 'failed', status => '5.7.1', words => '550 5.7.1 looks like spam')), 'failed|applied', 'a policy against the letter');
is(state_of('m4'), 'active', 'neither');
is(receipt('mail', bounce('m5', action => 'failed', status => '5.7.26', words => '550 5.7.26 unauthenticated mail is not accepted, relay denied')), 'refused|applied', 'a policy against us');
is(state_of('m5'), 'active', 'is not the person\'s fault');
like(sql("SELECT problem FROM notify.provider WHERE name = 'mail'"), qr/5\.7\.26/, 'but the provider\'s problem');
sql("UPDATE notify.provider SET settings = settings WHERE name = 'mail'");

# Who says so
is(receipt('mail', bounce('m6', %gone, to => 'shop@shop.example')), 'bounced|applied', 'without the return path, our Message-ID and the address say which it was');
is(receipt('mail', bounce('m7', %gone, to => 'shop@shop.example', id => '<1234.5678@shop.example>')), 'bounced|unknown_message', 'another id says nothing');
(my $forged = $mail{'m7@x.example'}{mail_from}) =~ s/(.)@/($1 eq '0' ? '1' : '0') . '@'/e;
is(receipt('mail', bounce('m7', %gone, to => $forged, id => '<x@y>')), 'bounced|unknown_message', 'nor a return path we did not make');
is(state_of('m7'), 'active', 'nobody is hurt');

# Complaints
is(receipt('mail', bounce('m8', feedback => 'abuse')), 'complained|applied', 'a complaint');
is(status('m8'), 'delivered/complained', 'it had arrived');
sql("SELECT notify.send('m8', 'note', '{}', 'news')");
ok(wait_for_sql($node, "SELECT status || '/' || reason FROM notify.delivery WHERE recipient = 'm8' ORDER BY message DESC LIMIT 1", 'suppressed/complained'), 'nothing more is sent there');

# Cut and hostile mail
my $whole = bounce('m9', %gone);
my $before = sql("SELECT coalesce(sum(count), 0) FROM notify.unclassified");
is(sql("SELECT count(*) FROM generate_series(0, " . length($whole) . ", 1) AS n, LATERAL (SELECT jsonb_typeof(notify._read_report(substr(decode('" . unpack('H*', $whole) . "', 'hex'), 1, n))) AS t) AS r WHERE t = 'array'"),
	length($whole) + 1, 'cut anywhere, a report is still read');
for my $odd ("\0" x 1000, "\xff\xfe" x 500, "Content-Type: multipart/report; boundary=\r\n\r\n--\r\n" x 100, 'Content-Type: multipart/report; boundary="' . 'b' x 5000,
	"Content-Type: multipart/report; boundary=x\r\n\r\n" . "--x\r\nContent-Type: message/delivery-status\r\n\r\nAction: \xff\xff\r\n\r\n" x 5000, "\n" x 100000, ' ' x 100000)
{
	like(receipt('mail', $odd), qr/^(unclassified\|ignored\n?)+$/, 'mail that is no report: ' . substr(unpack('H*', $odd), 0, 40));
}
cmp_ok(sql("SELECT sum(count) FROM notify.unclassified"), '>', $before + 6, 'is counted');
is(receipt('mail', 'x' x 1048577), '54000', 'too much is refused');
is(state_of('m9'), 'active', 'and none of it hurt');

#
# SMS: signed by HMAC-SHA1 over the URL and the form
#
sub twilio
{
	my ($form, $url, $key) = @_;
	my $body = join '&', map { my $v = $form->{$_}; $v =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge; "$_=$v" } sort { $b cmp $a } keys %$form;
	my $said = hmac_sha1_base64($url . join('', map { "$_$form->{$_}" } sort keys %$form), $key // 'tw1lio-5ECRE7');
	return ($body, { 'X-Twilio-Signature' => "$said=", url => $url });
}

# https://www.twilio.com/docs/usage/security: the example there
is(sql(q{SELECT notify._is_signed('{"scheme": "twilio"}', '12345', '{}', 'CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212', '{"X-Twilio-Signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "url": "https://mycompany.com/myapp.php?foo=1&bar=2"}')}),
	't', 'the example of Twilio\'s documentation');
sql("INSERT INTO notify.outcome (message, verdict, attempt, provider, class, reference) SELECT 0, 'sent', 1, 'none', 'ok', 'SM9'");
sql(join '', map { "SELECT notify.send('$_', 'note', '{}', 'codes');" } @phones);
wait_for_drain($node);
my $callback = 'https://shop.example/twilio?x=1';
sql("INSERT INTO notify.outcome (message, verdict, attempt, provider, class, reference) SELECT message, 'sent', 1, 'sms', 'ok', 'SM' || substr(recipient, 2) FROM notify.delivery WHERE channel = 'sms'");
is(receipt('sms', twilio({ MessageSid => 'SM1', MessageStatus => 'delivered', To => '+49301231' }, $callback)), 'delivered|applied', 'an SMS was delivered');
is(status('p1'), 'delivered/delivered', 'and shows as such');
is(receipt('sms', twilio({ MessageSid => 'SM2', MessageStatus => 'delivered' }, $callback, 'another')), '28000', 'another key signs nothing');
my ($body, $headers) = twilio({ MessageSid => 'SM2', MessageStatus => 'delivered' }, $callback);
is(receipt('sms', $body =~ s/SM2/SM3/r, $headers), '28000', 'nor does it sign another body');
is(receipt('sms', $body, { %$headers, url => 'https://evil.example/' }), '28000', 'nor another URL');
is(receipt('sms', $body, {}), '28000', 'nor nothing at all');
is(receipt('sms', $body, { 'x-twilio-signature' => $headers->{'X-Twilio-Signature'} }), 'delivered|applied', 'headers in any case; the URL is the status_callback');
is(receipt('sms', twilio({ MessageSid => 'SM9', MessageStatus => 'delivered' }, $callback)), 'delivered|unknown_message', 'the reference of another provider is not this one\'s');
is(receipt('sms', twilio({ MessageSid => 'SM3', MessageStatus => 'undelivered', ErrorCode => '30005' }, $callback)), 'bounced|applied', 'a number nobody has');
is(state_of('p3'), 'invalid', 'is used no more');
is(receipt('sms', twilio({ MessageSid => 'SM4', MessageStatus => 'teleported' }, $callback)), 'unclassified|ignored', 'an unknown status');
like(sql("SELECT sample FROM notify.unclassified WHERE provider = 'sms'"), qr/teleported/, 'is kept, so that the map can grow');
for my $word ('STOP', ' stop ', '退订', 'Unsubscribe', 'T')
{
	is(receipt('sms', twilio({ MessageSid => 'SMin', Body => $word, From => '+49301235' }, 'https://shop.example/inbound')), $word eq 'STOP' ? 'stopped|applied' : 'stopped|repeated', "the answer $word")
	  unless $word =~ /[^\x00-\x7f]/;
}
is(sql(q{SELECT notify._read_entry(t.receipt, '{"phone_number": "13900000000", "content": "退订"}', 'sms') FROM notify.preset t WHERE t.name = 'aliyun_sms'}) =~ /"address": "\+8613900000000"/ ? 1 : 0, 1, 'a number in China');
is(sql(q{SELECT notify._read_entry(t.receipt, '{"phone_number": "13900000000", "content": "退订"}', 'sms') ->> 'kind' FROM notify.preset t WHERE t.name = 'aliyun_sms'}), 'stopped', 'who answers 退订');
sql("SELECT notify.send('p5', 'note', '{}', 'codes')");
ok(wait_for_sql($node, "SELECT status || '/' || reason FROM notify.delivery WHERE recipient = 'p5' ORDER BY message DESC LIMIT 1", 'suppressed/stopped'), 'is not written to');
is(receipt('sms', twilio({ MessageSid => 'SMin', Body => 'START', From => '+49301235' }, 'https://shop.example/inbound')), 'resumed|applied', 'until they come back');
is(sql('SELECT count(*) FROM notify.suppression WHERE reason = $$stopped$$'), 0, 'then they are');

# Before its message is known
is(receipt('sms', twilio({ MessageSid => 'SM77', MessageStatus => 'delivered' }, $callback)), 'delivered|unknown_message', 'a report comes first');
is(receipt('sms', twilio({ MessageSid => 'SM77', MessageStatus => 'delivered' }, $callback)), 'delivered|unknown_message', 'twice');
sql("INSERT INTO notify.outcome (message, verdict, attempt, provider, class, reference) SELECT message, 'sent', 1, 'sms', 'ok', 'SM77' FROM notify.delivery WHERE recipient = 'p6'");
sql(q{UPDATE notify.receipt_waiting SET next_at = '-infinity'; SELECT notify._retry_receipts()});
is(status('p6'), 'delivered/delivered', 'and is remembered');
is(sql("SELECT count(*) FROM notify.receipt_waiting WHERE about = 'SM77'"), 0, 'until it has been used');

#
# The app's own service: Standard Webhooks
#
sub hook
{
	my ($body, $at, $key) = @_;
	return ($body, { 'Webhook-Id' => 'msg_1', 'Webhook-Timestamp' => "$at", 'Webhook-Signature' => 'v1,xxxx v1,' . encode_base64(hmac_sha256("msg_1.$at.$body", $key // 'r' x 32), '') });
}
sql("SELECT notify.send('hook', 'note', '{}', 'hooks')");
wait_for_drain($node);
my $id = message_of('hook');
is(receipt('hook', hook(qq([{"message": "$id", "kind": "delivered"}, {"message": "x", "kind": "ignored"}, {"kind": "sung"}]), time)), "delivered|applied\nignored|ignored\nunclassified|ignored", 'several at once');
is(receipt('hook', hook(qq({"message": "$id", "kind": "delivered"}), time)), 'delivered|repeated', 'or one alone');
is(receipt('hook', hook(qq({"message": "$id", "kind": "delivered"}), time - 400)), '28000', 'not an old one');
is(receipt('hook', hook(qq({"message": "$id", "kind": "delivered"}), time, 'x' x 32)), '28000', 'nor by another key');

# Delivered although the answer never came: what was to be sent again is not.
sub explained { return sql("SELECT detail ->> 'answer' FROM notify.explain($_[0]) WHERE step = 'receipt'") }
sub stuck
{
	my (@answers) = @_;
	$http->behave({ '/hook' => [@answers] });
	my $since = sql('SELECT count(*) FROM notify.outcome');
	sql("SELECT notify.send('hook', 'note', '{}', 'hooks')");
	ok(wait_for_sql($node, "SELECT verdict FROM notify.outcome WHERE message = (SELECT max(id) FROM notify.message) ORDER BY at DESC LIMIT 1", 'retrying'), 'an answer that never came');
	return message_of('hook');
}
sub asked { return scalar(() = $http->entries('/hook')) }
my $lost = stuck(('/reset') x 3);		# however late this comes to report
is(receipt('hook', hook(qq({"message": "$lost", "kind": "delivered"}), time)), 'delivered|applied', 'and a report that it arrived');
my $asked = asked();
is(status('hook'), 'delivered/delivered', 'it is delivered');
is(sql("SELECT count(*) FROM notify.scheduled") . sql('SELECT count(*) FROM notify.ready'), '00', 'nothing waits to be sent');
is(explained($lost), 'it was to be sent again and is not', 'explain() says so');
is(receipt('hook', hook(qq({"message": "$lost", "kind": "delivered"}), time)), 'delivered|repeated', 'once');
$lost = stuck('/reset', '/reset', '/reset');
sql(q{SELECT notify.hold('test'); UPDATE notify.scheduled SET due_at = notify.now()});
ok(wait_for_sql($node, 'SELECT count(*) FROM notify.ready WHERE owner IS NULL', 1), 'when it is due already');
is(receipt('hook', hook(qq({"message": "$lost", "kind": "delivered"}), time)), 'delivered|applied', 'a report');
is(sql('SELECT count(*) FROM notify.ready'), 0, 'takes it out');
sql('SELECT notify.arm()');
$lost = stuck('/reset', '/stall');
sql("UPDATE notify.provider SET settings = settings || '{\"timeout_ms\": 3000}' WHERE name = 'hook'");
sql(q{UPDATE notify.scheduled SET due_at = notify.now()});
ok(wait_for_sql($node, 'SELECT count(*) FROM notify.ready WHERE owner IS NOT NULL', 1), 'when it is on the wire again');
is(receipt('hook', hook(qq({"message": "$lost", "kind": "delivered"}), time)), 'delivered|waiting', 'it waits for the answer');
ok(wait_for_sql($node, "SELECT count(*) FROM notify.outcome WHERE message = $lost AND attempt = 2", 1), 'which does not come');
sql(q{UPDATE notify.receipt_waiting SET next_at = '-infinity'; SELECT notify._retry_receipts()});
is(status('hook'), 'delivered/delivered', 'and is not tried a third time');
$asked = asked();
sql(q{SELECT notify.send('hook', 'note', '{}', 'hooks', at => notify.now() + interval '1 h')});
ok(wait_for_sql($node, 'SELECT count(*) FROM notify.scheduled', 1), 'one that was never sent');
is(receipt('hook', hook(qq({"message": "@{[message_of('hook')]}", "kind": "delivered"}), time)), 'delivered|waiting', 'is delivered by nobody');
is(sql('SELECT count(*) FROM notify.scheduled'), 1, 'and stays');
sql('SELECT notify.cancel(message, $$enough$$) FROM notify.scheduled');
is(asked(), $asked, 'nothing was sent twice');

# A flood of reports about messages there never were
sql(q{DELETE FROM notify.receipt_waiting;
	INSERT INTO notify.receipt_waiting (provider, about, kind, entry) SELECT 'hook', 'x' || n, 'delivered', '{"kind": "delivered", "reference": "x"}' FROM generate_series(1, 100000) AS n});
my $flood = join ',', map { qq({"reference": "unknown-$_", "kind": "delivered"}) } 1 .. 2500;
is(scalar(split /\n/, receipt('hook', hook("[$flood]", time))), 2500, 'a flood');
is(sql(q{SELECT count(*) <= 100000, count(*) FILTER (WHERE about LIKE 'unknown-%') FROM notify.receipt_waiting}), 't|2500', 'is kept within bounds, the newest of it');
is(sql(q{SELECT provider, count FROM notify.receipt_dropped}), 'hook|2500', 'what made room is counted');
like(sql('SELECT problems FROM notify.status()'), qr/provider hook: 2500 reports about messages that are not known were dropped/, 'and told of');
is(receipt('hook', hook("[$flood]", time)) =~ s/delivered\|unknown_message\n?//gr, '', 'the same again');
is(sql(q{SELECT count FROM notify.receipt_dropped}), 2500, 'pushes nothing out');
my $late = sql(q{INSERT INTO notify.receipt_waiting (provider, about, kind, entry) SELECT 'hook', m.id, 'complained', jsonb_build_object('kind', 'complained', 'message', m.id) FROM notify.message m WHERE m.id = } . $id . q{ RETURNING id});
my $tries = 0;
ok(wait_until('its turn', sub { $tries++; sql('SELECT notify._retry_receipts()'); return sql("SELECT count(*) FROM notify.receipt_waiting WHERE id = $late") eq '0' }), 'and one that can be used has its turn');
cmp_ok($tries, '<=', 104, 'those before it are not tried over and over');
sql(q{DELETE FROM notify.receipt_waiting; DELETE FROM notify.receipt_dropped});

sql("UPDATE notify.provider SET settings = settings - 'receipt_secret' WHERE name = 'hook'");
is(receipt('hook', hook(qq({"message": "$id", "kind": "bounced"}), time)), '55000', 'what cannot be checked is refused');
is(receipt('none', '{}'), '42704', 'an unknown provider');

#
# The other signatures, made by OpenSSL
#
my $dir = $node->basedir;
system_or_bail('openssl', 'ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', "$dir/ec.pem");
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=sns', '-keyout', "$dir/rsa.pem", '-out', "$dir/cert.pem");
my ($public) = run_command([ 'openssl', 'ec', '-in', "$dir/ec.pem", '-pubout', '-outform', 'PEM' ]);
$public =~ s/-----[^-]+-----|\s//g;

sub signed_by
{
	my ($key, $digest, $text) = @_;
	append_to_file("$dir/text", '');
	open(my $file, '>', "$dir/text") or die;
	print $file $text;
	close($file);
	system_or_bail('openssl', 'dgst', "-$digest", '-sign', $key, '-out', "$dir/signature", "$dir/text");
	return encode_base64(slurp_file("$dir/signature"), '');
}
my $events = '[{"event": "bounce", "message": "1"}]';
my $said = signed_by("$dir/ec.pem", 'sha256', "1700000000$events");
my $check = sub {
	my ($scheme, $key, $text, $heads) = @_;
	return sql("SELECT coalesce(notify._is_signed('{\"scheme\": \"$scheme\"}', " . quoted($key) . ", '{}', convert_to(" . quoted($text) . ", 'UTF8'), " . quoted(encode_json($heads)) . '), false)');
};
my %grid = ('X-Twilio-Email-Event-Webhook-Signature' => $said, 'X-Twilio-Email-Event-Webhook-Timestamp' => '1700000000');
is($check->('ecdsa', $public, $events, \%grid), 't', 'SendGrid: ECDSA');
is($check->('ecdsa', $public, "$events ", \%grid), 'f', 'not of another body');
is($check->('ecdsa', 'no key', $events, \%grid), 'f', 'nor with a key that is none');
my %sns = (Type => 'Notification', MessageId => 'm', TopicArn => 't', Timestamp => '2024-01-01T00:00:00Z', Message => '{"a": 1}', SignatureVersion => '2');
$sns{Signature} = signed_by("$dir/rsa.pem", 'sha256', join '', map { "$_\n$sns{$_}\n" } qw(Message MessageId Timestamp TopicArn Type));
is($check->('sns', slurp_file("$dir/cert.pem"), encode_json(\%sns), {}), 't', 'SNS: RSA');
is($check->('sns', slurp_file("$dir/cert.pem"), encode_json({ %sns, Message => '{}' }), {}), 'f', 'not of another message');
my $jwt = encode_base64url('{"alg":"HS256"}') . '.' . encode_base64url('{"payload_hash":"' . sha256_hex('{"a":1}') . '"}');
my $none = encode_base64url('{"alg":"none"}') . '.' . encode_base64url('{"payload_hash":"' . sha256_hex('{"a":1}') . '"}');
is($check->('jwt_hs256', 'key', '{"a":1}', { Authorization => "Bearer $jwt." . encode_base64url(hmac_sha256($jwt, 'key')) }), 't', 'Vonage: JWT');
is($check->('jwt_hs256', 'key', '{"a":2}', { Authorization => "Bearer $jwt." . encode_base64url(hmac_sha256($jwt, 'key')) }), 'f', 'not of another body');
is($check->('jwt_hs256', 'key', '{"a":1}', { Authorization => "Bearer $none." }), 'f', 'nor without one');

# Maps that cannot work are refused when saved.
for my $bad ([ '{"kinds": [], "shoe": 1}', qr/shoe/ ], [ '{}', qr/no array "kinds"/ ], [ '{"kinds": [{"kind": "lost", "path": "$"}]}', qr/kind is one of/ ],
	[ '{"kinds": [{"kind": "failed", "path": "$["}]}', qr/jsonpath/ ], [ '{"kinds": [{"kind": "failed", "path": "$", "match": "("}]}', qr/regular expression/ ],
	[ '{"kinds": [], "signature": {"scheme": "rot13"}}', qr/scheme is one of/ ], [ '{"kinds": [], "signature": {"scheme": "hmac", "secret": "nowhere"}}', qr/settings/ ])
{
	my (undef, undef, $error) = $node->psql('postgres', "INSERT INTO notify.preset (name, channel, url, body, receipt) VALUES ('try', 'sms', 'https://h.example/', '{}', '$bad->[0]')");
	like($error, $bad->[1], "refused: $bad->[0]");
}
done_testing();
