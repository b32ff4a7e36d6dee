# examples/orders, end to end over real HTTP and SMTP: what arrives is exactly
# what the committed changes call for, in the customer's language, and can be
# read and verified by others' code (Perl's MIME decoders, an HMAC of our own).

use strict;
use warnings;
use utf8;
use Digest::SHA qw(hmac_sha256);
use Encode qw(decode);
use MIME::Base64 qw(decode_base64 encode_base64);
use NotifyTest;
use Test::More;

my $node = notify_cluster('orders');
my $http = http_sink();
my $smtp = smtp_sink();

load_example($node, [ 'schema.sql', 'notify.sql' ],
	smtp_port => $smtp->port, webhook_url => $http->url('/orders'),
	webhook_secret => 'whsec_' . encode_base64('the secret of this test', ''));
load_example($node, ['run.sql']);
wait_for_drain($node);

# Four orders in four stages; Bob has no e-mail address.
is($node->safe_psql('postgres',
		'SELECT channel, status, reason, count(*) FROM notify.delivery GROUP BY 1, 2, 3 ORDER BY 1, 2'),
	"email|sent||12\nemail|skipped|no_address|4\ninbox|delivered||16\nwebhook|sent||16",
	'every message has the status it should');
is($node->safe_psql('postgres',
		'SELECT recipient, count(*), min(subject), max(subject) FROM notify.inbox GROUP BY 1 ORDER BY 1'),
	Encode::encode('UTF-8', join("\n",
		'1|4|订单 SO-1001 已发货|订单 SO-1001 正在派送',
		'2|4|订单 SO-1002 已发货|订单 SO-1002 正在派送',
		'3|4|Order SO-1003 arrives today|Order SO-1003 was delivered',
		'4|4|Order SO-1004 arrives today|Order SO-1004 was delivered')),
	'inbox rows in each language');
is($node->safe_psql('postgres', "SELECT count(*) FROM notify.message WHERE key = '1005' OR context::text LIKE '%1005%'"),
	'0', 'nothing of the order that was rolled back');

# E-mail
my @mails = map { read_mail($_->{content}) } $smtp->mails;
is(scalar @mails, 12, 'twelve mails arrived');
is(scalar(keys %{ { map { $_->{'message-id'} => 1 } @mails } }), 12, 'each with a Message-ID of its own');
is_deeply([ sort map { @{ $_->{rcpt_tos} } } $smtp->mails ],
	[ map { ($_) x 4 } 'alice@example.com', 'liwei@example.cn', 'wangfang@example.cn' ], 'to the right addresses');
my ($zh) = grep { $_->{subject} eq '订单 SO-1001 已提交' } @mails;
ok($zh, 'a Chinese subject');
like($zh->{from}, qr/小店 Shop.*<orders\@shop\.example>/, 'sender');
like($zh->{'text/plain'}, qr/王芳,您好!.*龙井茶 250克 × 2.*168\.00.*青花瓷茶杯.*428\.00/s, 'Chinese text');
like($zh->{'text/html'}, qr/<td>龙井茶 250克<\/td>/, 'Chinese html');
my ($en) = grep { $_->{subject} eq 'Order SO-1003 received' } @mails;
like($en->{'text/plain'}, qr/Dear Alice Johnson.*Teapot <blue>.*\$39\.90.*\$64\.90/s, 'English text');
like($en->{'text/html'}, qr/Teapot &lt;blue&gt;/, 'html escapes what the app stored');

# Webhook
my @requests = $http->entries('/orders');
is(scalar @requests, 16, 'sixteen requests arrived');
is(scalar(keys %{ { map { $_->{headers}{'webhook-id'} => 1 } @requests } }), 16, 'each with an id of its own');
is(scalar(grep { !signed($_) } @requests), 0, 'each signed as Standard Webhooks says');
my ($shipped) = grep { $_->{type} eq 'order_shipped' && $_->{order} eq 'SO-1002' }
  map { decode_json(Encode::encode('UTF-8', $_->{body})) } @requests;
is($shipped->{items}[0]{product}, '降噪耳机 "静" & 收纳盒', 'quotes and ampersands come through');
is($shipped->{text}, '订单 SO-1002 已发货', 'words in the customer\'s language');

done_testing();

# Headers (decoded, names in lower case) and text parts of a mail, by type.
sub read_mail
{
	my ($bytes) = @_;
	my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
	my %mail;
	$head =~ s/\r\n[ \t]+/ /g;
	for my $line (split /\r\n/, $head)
	{
		my ($name, $value) = split /:\s*/, $line, 2;
		$mail{ lc $name } = decode('MIME-Header', $value);
	}
	if (($mail{'content-type'} // '') =~ m{^multipart/.*boundary="?([^";]+)}i)
	{
		my @parts = split /(?:^|\r\n)--\Q$1\E(?:--)?[ \t]*(?:\r\n|\z)/, $body;
		my @inner = map { read_mail($_) } grep { /\S/ } @parts[ 1 .. $#parts ];
		%mail = (%$_{ grep { m{/} } keys %$_ }, %mail) for @inner;
		return \%mail;
	}
	my ($type) = ($mail{'content-type'} // 'text/plain') =~ m{^([^;\s]+)};
	my $encoding = lc($mail{'content-transfer-encoding'} // '8bit');
	require MIME::QuotedPrint;
	$body = $encoding eq 'base64' ? decode_base64($body)
	  : $encoding eq 'quoted-printable' ? MIME::QuotedPrint::decode_qp($body)
	  : $body;
	$mail{$type} = decode('UTF-8', $body, Encode::FB_CROAK);
	return \%mail;
}

# Does the signature hold for the id, the timestamp and the body as received?
sub signed
{
	my ($request) = @_;
	my $h = $request->{headers};
	my $content = join '.', $h->{'webhook-id'}, $h->{'webhook-timestamp'}, Encode::encode('UTF-8', $request->{body});
	my $want = 'v1,' . encode_base64(hmac_sha256($content, 'the secret of this test'), '');
	return $h->{'webhook-signature'} eq $want && abs($h->{'webhook-timestamp'} - time) < 300;
}
