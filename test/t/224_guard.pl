# Where messages may not go: private addresses, whatever they are called; servers
# whose certificates do not hold; proxies of the environment; other protocols.
#
# Catches: an address that is private by another spelling or by its name, a
# certificate for another name, out of date, or by nobody we know, taken all the
# same, TLS left out when the server does not speak it, a proxy that somebody's
# environment names, a protocol that reads files.

use strict;
use warnings;
use NotifyTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Certificates of an authority of our own, and one of another.
my $certs = PostgreSQL::Test::Utils::tempdir;
append_to_file("$certs/make.py", q{
import datetime, ipaddress, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
now = datetime.datetime.utcnow()
day = datetime.timedelta(days=1)
def make(name, names, issuer=None, begin=-day, end=30 * day):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[1].subject if issuer else subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now + begin).not_valid_after(now + end)
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer[0] if issuer else key, hashes.SHA256())
    with open(sys.argv[1] + "/" + name + ".crt", "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(sys.argv[1] + "/" + name + ".key", "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return key, certificate
here = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
ours = make("ours", None)
make("good", here, ours)
make("elsewhere", [x509.DNSName("shop.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))], ours)
make("over", here, ours, -30 * day, -day)
make("early", here, ours, day, 30 * day)
make("stranger", here, make("theirs", None))
make("own", here)
});
system_or_bail('/usr/bin/python3', "$certs/make.py", $certs);

my $proxy = http_sink();
$ENV{$_} = $proxy->url('') for qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY);
delete $ENV{$_} for qw(no_proxy NO_PROXY);
my $node = notify_cluster('guard', conf => "notify_pg.allow_private_addresses = '127.0.0.1/32'\nnotify_pg.breaker_pause = 0\n");
delete $ENV{$_} for qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY);
my $open = http_sink();
my %tls = map { $_ => http_sink(cert => "$certs/$_.crt", key => "$certs/$_.key") } qw(good elsewhere over early stranger own);
my %mail = map { $_ => smtp_sink(tls => 'required', cert => "$certs/$_.crt", key => "$certs/$_.key") } qw(good elsewhere over stranger);
my $bare = smtp_sink();

sub sql { return $node->safe_psql('postgres', join '', @_) }
my $port = $open->port;
sql(qq{
	INSERT INTO notify.category (name, class, channels) VALUES ('hooks', 'transactional', '{webhook}'), ('mails', 'transactional', '{email}');
	INSERT INTO notify.template (name, channel, subject, body) VALUES ('hi', 'webhook', NULL, '{}'), ('hi', 'email', 'Hi', 'Hello');
	INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('hook', 'webhook', 1, '{"ca_file": "$certs/ours.crt"}');
	CREATE FUNCTION try(who text, channel text, address text, category text) RETURNS void LANGUAGE sql AS \$\$
		INSERT INTO notify.recipient (id) VALUES (who);
		INSERT INTO notify.address (recipient, channel, address) VALUES (who, channel, address);
		SELECT notify.send(who, 'hi', '{}', category);
	\$\$;
});

sub secure { return "https://127.0.0.1:" . $tls{ $_[0] }->port . $_[1] }

# What became of a message to an address: its class and the detail.
my $people = 0;
sub try
{
	my ($address, $category) = @_;
	my $who = 'p' . ++$people;
	sql(sprintf q{SELECT try('%s', '%s', '%s', '%s')}, $who, ($category // 'hooks') eq 'hooks' ? 'webhook' : 'email', $address, $category // 'hooks');
	wait_for_sql($node, "SELECT count(*) > 0 FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$who'");
	return sql("SELECT concat_ws(' ', o.class, o.detail) FROM notify.outcome o JOIN notify.message m ON m.id = o.message WHERE m.recipient = '$who' ORDER BY o.at LIMIT 1");
}

#
# Proxies of the environment
#
is(try($open->url('/direct')), 'ok', 'it goes');
is(scalar(() = $open->entries('/direct')), 1, 'to where it should');
like(try(secure('good', '/direct')), qr/^ok/, 'by TLS, too, to a server our authority vouches for');
is(scalar(() = $tls{good}->entries('/direct')), 1, 'directly');
is($proxy->counts->{total}, 0, 'and nothing of it through the proxy the environment names');

#
# Certificates
#
my %why = (elsewhere => qr/certificate|name|subject/i, over => qr/certificate.*expired|expired/i, early => qr/not yet valid|certificate/i,
	stranger => qr/certificate/i, own => qr/self.signed|certificate/i);
for my $case (sort keys %why)
{
	my $said = try(secure($case, '/secret'));
	unlike($said, qr/^ok/, "HTTPS, certificate $case: not sent");
	like($said, $why{$case}, 'because of it');
	is(scalar(() = $tls{$case}->entries), 0, 'and the server has heard nothing');
}
unlike(try("https://127.0.0.1:$port/plain"), qr/^ok/, 'a server without TLS is not spoken to in clear');
is(scalar(() = $open->entries('/plain')), 0, 'nothing reached it');
for my $case (qw(good elsewhere over stranger bare))
{
	my $server = $case eq 'bare' ? $bare : $mail{$case};
	sql(qq{DELETE FROM notify.provider WHERE channel = 'email';
		INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('mail_$case', 'smtp', 1,
			'{"host": "127.0.0.1", "port": @{[$server->port]}, "from": "shop\@shop.example", "ca_file": "$certs/ours.crt"}')});
	my $said = try("$case\@x.example", 'mails');
	$case eq 'good' ? like($said, qr/^ok/, 'SMTP with STARTTLS, good certificate: sent') : unlike($said, qr/^ok/, "SMTP, $case: not sent");
	is(scalar($server->mails), $case eq 'good' ? 1 : 0, 'as the server says');
}

#
# Private addresses by another spelling, or by name
#
sql(q{ALTER SYSTEM SET notify_pg.allow_private_addresses = '10.0.0.0/8'});
$node->restart;
for my $host ('127.0.0.1', 'localhost', 'LOCALHOST', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '127.0.0.1.', '[::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '0.0.0.0', '[::]')
{
	my ($status, undef, $error) = $node->psql('postgres', "SELECT notify._check_address('webhook', 'http://$host:$port/private')");
	$status != 0 ? like($error, qr/address|URL|host/, "http://$host is no address at all")
	  : like(try("http://$host:$port/private"), qr/^permanent_message .*is private|^retry .*[Rr]esolv/, "http://$host is not posted to");
}
is(scalar(() = $open->entries('/private')), 0, 'nothing reached it');
sql(qq{DELETE FROM notify.provider WHERE channel = 'email';
	INSERT INTO notify.provider (name, preset, max_attempts, settings) VALUES ('mail', 'smtp', 1, '{"host": "localhost", "port": @{[$bare->port]}, "tls": "none", "from": "shop\@shop.example"}')});
like(try('x@x.example', 'mails'), qr/is private/, 'nor is a mail server of that name');
is(scalar($bare->mails), 0, 'nothing reached it');

#
# Other protocols
#
for my $scheme (qw(file gopher ftp ftps dict ldap ldaps smb telnet tftp imap pop3 rtsp scp sftp ws mqtt javascript data))
{
	my (undef, undef, $error) = $node->psql('postgres', "SELECT notify._check_address('webhook', '$scheme://127.0.0.1/etc/passwd')");
	like($error, qr/ERROR/, "$scheme: refused as an address");
	(undef, undef, $error) = $node->psql('postgres', "UPDATE notify.provider SET settings = settings || '{\"url\": \"$scheme://127.0.0.1/etc/passwd\"}' WHERE name = 'hook'");
	like($error, qr/ERROR.*url/s, 'and as a setting');
}
$node->stop;
done_testing();
