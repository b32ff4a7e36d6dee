# NotifyTest: what TAP tests share. A preloaded cluster, the loopback sinks,
# and waiting for a condition instead of for a time.
#
#   my $node = notify_cluster('main', conf => "notify_pg.dispatchers = 2\n");
#   my $http = http_sink();                     my $smtp = smtp_sink(tls => 'starttls');
#   ... 'url' of a provider: $http->url('/hook')     'port': $smtp->port
#   wait_for_drain($node);
#   my @requests = $http->entries;              my @mails = $smtp->mails;
#
# Sinks end with the test: each one watches a pipe that the test holds open.

package NotifyTest;

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use IPC::Run;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

our @EXPORT = qw(notify_cluster http_sink smtp_sink postfix_sink provider_sink certificate wait_until wait_for_sql wait_for_drain configuration
  decode_json encode_json load_example make_day movable_clock);

my $lib = dirname(__FILE__);
my $json = JSON::PP->new->utf8->canonical;

# decode_json and encode_json: bytes of JSON to a value and back.
sub decode_json { return $json->decode($_[0]); }
sub encode_json { return $json->encode($_[0]); }

# A running cluster with notify_pg preloaded and, unless extension => 0,
# created in database postgres.
sub notify_cluster
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ], %{ $opt{init} // {} });
	$node->append_conf('postgresql.conf',
		    "shared_preload_libraries = 'notify_pg'\n"
		  . "notify_pg.allow_private_addresses = '127.0.0.0/8'\n"
		  . "max_worker_processes = 16\nmax_prepared_transactions = 10\n"
		  . "log_statement = none\n"
		  . ($opt{conf} // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION notify_pg') if $opt{extension} // 1;
	return $node;
}

# Polls until the code is true; fails the test and returns false after the limit.
sub wait_until
{
	my ($what, $code, $limit) = @_;
	$limit //= $PostgreSQL::Test::Utils::timeout_default;
	my $end = time + $limit;
	while (time < $end)
	{
		return 1 if $code->();
		usleep(10_000);
	}
	fail("waited $limit s for: $what");
	return 0;
}

# Polls a query until it prints $expected ("t" by default), also while the
# server is down: the query is an argument of psql, since writing to a psql that
# found no server would kill us.
sub wait_for_sql
{
	my ($node, $query, $expected, $db) = @_;
	my @psql = ($node->installed_command('psql'), '-XAtq', '-d', $node->connstr($db // 'postgres'), '-c', $query);
	my ($out, $err) = ('', '');
	$expected //= 't';
	utf8::encode($psql[-1]) if utf8::is_utf8($psql[-1]);
	my $reached = wait_until("$query\nto print: $expected", sub {
		IPC::Run::run(\@psql, '<', '/dev/null', '>', \$out, '2>', \$err);
		chomp $out;
		return $out eq $expected && $err eq '';
	});
	diag("it printed: $out\n$err") unless $reached;
	return $reached;
}

# Until every event is planned and nothing is left to send, now or later.
sub wait_for_drain
{
	my ($node, $db) = @_;
	return wait_for_sql($node, 'SELECT unplanned + ready + sending + scheduled = 0 FROM notify.status()', 't', $db);
}

# A query that gives one value for all that is configured, the same in a copy.
sub configuration
{
	return q{
	SELECT md5(string_agg(x::text, ',' ORDER BY x::text)) FROM (
		SELECT to_jsonb(r) - 'problem' AS x FROM notify.rule r UNION ALL
		SELECT to_jsonb(v) FROM notify.rule_version v UNION ALL SELECT to_jsonb(s) FROM notify.rule_step s UNION ALL SELECT to_jsonb(b) - 'counter' FROM notify.budget b UNION ALL SELECT to_jsonb(t) FROM notify.template t UNION ALL
		SELECT to_jsonb(v) FROM notify.template_version v UNION ALL SELECT to_jsonb(s) - 'problem' FROM notify.source s UNION ALL
		SELECT to_jsonb(c) FROM notify.category c UNION ALL SELECT to_jsonb(p) - 'problem' FROM notify.provider p UNION ALL
		SELECT to_jsonb(p) - 'version' FROM notify.preset p UNION ALL
		SELECT to_jsonb(r) FROM notify.recipient r UNION ALL SELECT to_jsonb(a) FROM notify.address a UNION ALL
		SELECT to_jsonb(s) - 'problem' FROM notify.recipient_source s) AS q};
}

# A wall clock that a test sets, for servers that are started under it: ids, days
# and schedules follow it, timers do not.
#
#   my $clock = movable_clock();   $clock->under(sub { $node->start });   $clock->set(-3600);
sub movable_clock { return NotifyTest::Clock->new; }

# Loads files of examples/orders, with psql variables for where providers are.
sub load_example
{
	my ($node, $files, %variables) = @_;
	my $example = dirname(dirname($lib)) . '/examples/orders';
	my ($out, $err) = ('', '');
	my $status = $node->psql('postgres', '', on_error_stop => 1,
		extra_params => [ (map { ('-v', "$_=$variables{$_}") } sort keys %variables),
			map { ('-f', "$example/$_") } @$files ],
		stdout => \$out, stderr => \$err);
	is($status, 0, "loads @$files") or diag($err);
	return $out;
}

# A day's partition of each log. The planner may be making one just now: neither waits long for the other.
sub make_day
{
	my ($node, $day) = @_;
	return wait_until("partitions of $day", sub {
		my ($status) = $node->psql('postgres', "SELECT notify._make_partition(l, $day) FROM unnest(notify._logs()) AS l");
		return $status == 0;
	});
}

# A self-signed certificate for localhost and 127.0.0.1: (cert file, key file).
sub certificate
{
	my $dir = PostgreSQL::Test::Utils::tempdir("cert");
	system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30',
		'-keyout', "$dir/key.pem", '-out', "$dir/cert.pem", '-subj', '/CN=localhost',
		'-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-batch');
	return ("$dir/cert.pem", "$dir/key.pem");
}

sub http_sink
{
	my (%opt) = @_;
	my @tls = $opt{cert} ? ('--tls', $opt{cert}, $opt{key}) : ();
	return NotifyTest::Sink->start('http', $opt{port}, @tls);
}

# Providers that check requests as the real ones do (provider_sink.py); with a
# certificate over TLS, where they speak HTTP/2.
sub provider_sink
{
	my (%opt) = @_;
	my @tls = $opt{cert} ? ('--tls', $opt{cert}, $opt{key}) : ();
	my $sink = NotifyTest::Sink->start('provider', $opt{port}, @tls);
	@{$sink}{qw(cert tls)} = ($opt{cert}, scalar @tls);
	return $sink;
}

# tls => none|starttls|required|implicit (makes a certificate unless given),
# auth => "user:password"
sub smtp_sink
{
	my (%opt) = @_;
	my @args;
	if (($opt{tls} // 'none') ne 'none')
	{
		@opt{qw(cert key)} = certificate() unless $opt{cert};
		@args = ('--tls', $opt{tls}, '--cert', $opt{cert}, '--key', $opt{key});
	}
	push @args, '--auth', $opt{auth} if $opt{auth};
	my $sink = NotifyTest::Sink->start('smtp', $opt{port}, @args);
	$sink->{cert} = $opt{cert};
	return $sink;
}

# Postfix's own SMTP server (postfix_sink.py); undef and why not when there is none.
# cert, key: it offers STARTTLS; auth => "user:password": and a login.
sub postfix_sink
{
	my (%opt) = @_;
	my @more = (($opt{cert} ? ('--tls', $opt{cert}, $opt{key}) : ()), ($opt{auth} ? ('--auth', $opt{auth}) : ()));
	my ($out, $err) = ('', '');
	my $build = dirname(dirname($lib)) . '/build/postfix';
	IPC::Run::run([ "$lib/postfix", $build ], '<', '/dev/null', '>', \$out, '2>', \$err) or return (undef, $err);
	chomp $out;
	return NotifyTest::Sink->start('postfix', undef, '--postfix', $out, @more);
}

package NotifyTest::Clock;

# {library} to preload, and {file} with the seconds to add
sub new
{
	my ($class) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir('clock');
	my $self = bless { library => "$dir/clock.so", file => "$dir/offset" }, $class;
	PostgreSQL::Test::Utils::append_to_file("$dir/clock.c", <<'END');
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	char		text[32] = "";
	const char *name = getenv("TEST_CLOCK_OFFSET");
	int			fd = name ? open(name, O_RDONLY) : -1;
	struct timespec now;

	if (fd >= 0)
	{
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(fd);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	tv->tv_sec = now.tv_sec + atol(text);
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
END
	PostgreSQL::Test::Utils::system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', $self->{library}, "$dir/clock.c");
	return $self->set(0);
}

# Calls code that starts a server.
sub under
{
	my ($self, $code) = @_;
	local @ENV{qw(LD_PRELOAD TEST_CLOCK_OFFSET)} = @$self{qw(library file)};
	return $code->();
}

# From now on the clock is so many seconds ahead of the true one.
sub set
{
	my ($self, $seconds) = @_;
	PostgreSQL::Test::Utils::append_to_file("$self->{file}.new", "$seconds\n");
	rename "$self->{file}.new", $self->{file} or die $!;
	return $self;
}

package NotifyTest::Sink;

use Test::More;

# Starts test/lib/NAME_sink.py and returns when it listens.
sub start
{
	my ($class, $name, $port, @args) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir("${name}_sink");
	my $self = bless { name => $name, dir => $dir, in => '', out => '' }, $class;
	$self->{run} = IPC::Run::start(
		[ '/usr/bin/python3', "$lib/${name}_sink.py", $dir, '--port', $port // 0, @args ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', "$dir/stderr",
		my $timer = IPC::Run::timeout(60));
	$self->{run}->pump until $self->{out} =~ /^ready (\d+)/m || !$self->{run}->pumpable;
	$self->{out} =~ /^ready (\d+)/m or die "$name sink: " . PostgreSQL::Test::Utils::slurp_file("$dir/stderr");
	$timer->reset;
	$self->{port} = $1;
	return $self;
}

sub port { return $_[0]->{port}; }
sub dir { return $_[0]->{dir}; }
sub cert { return $_[0]->{cert}; }

# http://127.0.0.1:PORT/path, https where it speaks TLS
sub url
{
	my ($self, $path) = @_;
	my $scheme = $self->{tls} ? 'https' : 'http';
	return "$scheme://127.0.0.1:$self->{port}" . ($path // '/');
}

# Everything logged so far, oldest first; for http only of one path when given.
sub entries
{
	my ($self, $path) = @_;
	my $file = "$self->{dir}/$self->{name}.jsonl";
	return () unless -e $file;
	my $lines = PostgreSQL::Test::Utils::slurp_file($file);
	$lines =~ s/[^\n]*\z//;    # a line being written just now
	my @entries = map { NotifyTest::decode_json($_) } split /\n/, $lines;
	return grep { !defined $path || $_->{path} eq $path } @entries;
}

# How often each webhook-id arrived, {msg_1 => 1, ...}, optionally of one path
# only. Reads the log as text: twenty thousand requests take no time.
sub arrivals
{
	my ($self, $path) = @_;
	my %seen;
	open my $log, '<', "$self->{dir}/$self->{name}.jsonl" or return {};
	while (my $line = <$log>)
	{
		next if defined $path && index($line, qq{"path": "$path"}) < 0;
		$seen{$1}++ if $line =~ /"webhook-id": "(msg_\d+)"/;
	}
	return \%seen;
}

# The mails received, each log entry with its bytes as {content}.
sub mails
{
	my ($self) = @_;
	my @mails = grep { $_->{file} } $self->entries;
	$_->{content} = PostgreSQL::Test::Utils::slurp_file("$self->{dir}/$_->{file}") for @mails;
	return @mails;
}

# How an http sink answers, by path: {'/hook' => ['/status/503', '/reset']}; an
# smtp sink: {rcpt => {'a@b' => '550 5.1.1 no'}, data => '451 4.3.0 later'}.
sub behave
{
	my ($self, $what) = @_;
	my $bytes = NotifyTest::encode_json($what);
	if ($self->{name} eq 'provider')
	{
		$self->put('script.json', $bytes);
		return;
	}
	if ($self->{name} eq 'http')
	{
		$self->request('PUT', '/_behave', $bytes);
		return;
	}
	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/smtp.behave.new", $bytes);
	rename "$self->{dir}/smtp.behave.new", "$self->{dir}/smtp.behave.json" or die $!;
	return;
}

# Replace a file the sink reads.
sub put
{
	my ($self, $name, $bytes) = @_;
	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/$name.new", $bytes);
	rename "$self->{dir}/$name.new", "$self->{dir}/$name" or die $!;
	return;
}

# {total, connections, paths} of an http sink.
sub counts
{
	my ($self) = @_;
	return NotifyTest::decode_json($self->request('GET', '/_counts', ''));
}

sub request
{
	my ($self, $method, $path, $body) = @_;
	require HTTP::Tiny;
	my $reply = HTTP::Tiny->new(timeout => 60)->request($method, $self->url($path), { content => $body });
	die "sink: $reply->{status} $reply->{content}" unless $reply->{success};
	return $reply->{content};
}

sub stop
{
	my ($self) = @_;
	$self->{run}->kill_kill if $self->{run};
	delete $self->{run};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->stop;
	return;
}

1;
