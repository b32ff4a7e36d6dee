/*
 * wire.c
 *		Sockets of deliveries: opened through the guard, watched through epoll.
 *
 * libcurl opens and closes its sockets through the two callbacks here.  The
 * table of open sockets, indexed by file descriptor, remembers what each is
 * registered for in the epoll set.  A socket libcurl stops waiting for stays
 * registered until it proves noisy, since it is most often wanted again for
 * the next request; that spares two system calls each time.
 *
 * State: the table, in malloc'd memory of this process; it only grows.  The
 * callbacks run inside libcurl, so nothing here raises or uses palloc.  The
 * pointer to a WireReport is used while its transfer runs and at no other
 * time; closing gets none, because a connection outlives the transfer that
 * opened it.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "net/guard.h"
#include "net/wire.h"

/* A socket we opened, by its number */
typedef struct WireSocket
{
	bool		open;			/* and have not closed */
	bool		wanted;			/* something is waited for on it */
	uint32_t	watched;		/* the epoll mask it is registered with, 0 none */
	uint64_t	tag;
} WireSocket;

static WireSocket *sockets = NULL;
static int	socket_limit = 0;

static bool
make_room(int fd)
{
	int			limit = socket_limit ? socket_limit : 64;
	WireSocket *larger;

	if (fd < socket_limit)
		return true;
	while (limit <= fd)
		limit *= 2;
	larger = realloc(sockets, limit * sizeof(WireSocket));
	if (larger == NULL)
		return false;
	memset(larger + socket_limit, 0, (limit - socket_limit) * sizeof(WireSocket));
	sockets = larger;
	socket_limit = limit;
	return true;
}

static WireSocket *
known_socket(int fd)
{
	return fd >= 0 && fd < socket_limit && sockets[fd].open ? &sockets[fd] : NULL;
}

static uint32_t
epoll_mask(int what)
{
	uint32_t	mask = 0;

	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		mask |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		mask |= EPOLLOUT;
	return mask;
}

static void
enlist(int epoll, int fd, uint32_t mask, uint64_t tag)
{
	struct epoll_event event;

	event.events = mask;
	event.data.u64 = tag;
	if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT)
		(void) epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

void
wire_watch(int epoll, int fd, int what, uint64_t tag)
{
	uint32_t	mask = epoll_mask(what);
	WireSocket *known = known_socket(fd);

	if (known)
	{
		known->wanted = mask != 0;
		if (mask == 0 || (known->watched == mask && known->tag == tag))
			return;
		known->watched = mask;
		known->tag = tag;
	}
	if (mask == 0)
		(void) epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
	else
		enlist(epoll, fd, mask, tag);
}

bool
wire_wanted(int epoll, int fd)
{
	WireSocket *known = known_socket(fd);

	if (known == NULL || known->wanted)
		return true;
	(void) epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
	known->watched = 0;
	return false;
}

bool
wire_peer_allowed(int fd)
{
	struct sockaddr_storage peer;
	socklen_t	length = sizeof(peer);

	return getpeername(fd, (struct sockaddr *) &peer, &length) == 0 &&
		guard_allows((struct sockaddr *) &peer);
}

int64_t
wire_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool
wire_out_of_files(void)
{
	int			fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE;
	close(fd);
	return false;
}

static void
note_refusal(WireReport *report, const struct sockaddr *address)
{
	const void *bytes = NULL;

	report->refused++;
	if (address->sa_family == AF_INET)
		bytes = &((const struct sockaddr_in *) address)->sin_addr;
	else if (address->sa_family == AF_INET6)
		bytes = &((const struct sockaddr_in6 *) address)->sin6_addr;
	if (bytes == NULL ||
		inet_ntop(address->sa_family, bytes, report->address, sizeof(report->address)) == NULL)
		report->address[0] = '\0';
}

/* CURLOPT_OPENSOCKETFUNCTION */
static curl_socket_t
wire_open(void *data, curlsocktype purpose, struct curl_sockaddr *to)
{
	WireReport *report = data;
	int			fd;

	if (!guard_allows(&to->addr))
	{
		note_refusal(report, &to->addr);
		return CURL_SOCKET_BAD;
	}
	fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	if (fd < 0 || !make_room(fd))
	{
		report->error = fd < 0 ? errno : ENOMEM;
		if (fd >= 0)
			close(fd);
		return CURL_SOCKET_BAD;
	}
	memset(&sockets[fd], 0, sizeof(WireSocket));
	sockets[fd].open = true;
	report->opened++;
	return fd;
}

/* CURLOPT_CLOSESOCKETFUNCTION */
static int
wire_close(void *unused, curl_socket_t fd)
{
	if (fd >= 0 && fd < socket_limit)
		sockets[fd].open = false;
	return close(fd);
}

/*
 * CURLOPT_PREREQFUNCTION: a connection is there, new or taken from the pool,
 * and the request is about to go.  The setting may have changed meanwhile.
 * When a kept connection breaks before a byte of the answer, libcurl sends the
 * request again, up to five times; the receiver may have had each.  Whether to
 * try again is for the caller to say.
 */
static int
wire_before_request(void *data, char *address, char *local, int port, int local_port)
{
	WireReport *report = data;

	if (guard_allows_text(address))
		return report->requests++ == 0 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
	report->stopped = true;
	strlcpy(report->address, address ? address : "", sizeof(report->address));
	return CURL_PREREQFUNC_ABORT;
}

typedef struct WireOption
{
	CURLoption	option;
	long		value;
} WireOption;

static CURLcode
set_numbers(CURL *easy)
{
	static const WireOption options[] = {
		{CURLOPT_NOSIGNAL, 1},
		{CURLOPT_QUICK_EXIT, 1},
		{CURLOPT_FOLLOWLOCATION, 0},
		{CURLOPT_NETRC, CURL_NETRC_IGNORED},
		{CURLOPT_SSL_VERIFYPEER, 1},
		{CURLOPT_SSL_VERIFYHOST, 2},
		{CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
		{CURLOPT_TCP_KEEPALIVE, 1}
	};
	size_t		i;
	CURLcode	code = CURLE_OK;

	for (i = 0; i < lengthof(options) && code == CURLE_OK; i++)
		code = curl_easy_setopt(easy, options[i].option, options[i].value);
	return code;
}

CURLcode
wire_dress(CURL *easy, WireReport *report, const char *protocols)
{
	CURLcode	code = set_numbers(easy);

	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, wire_open);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, report);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, wire_close);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, NULL);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, wire_before_request);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PREREQDATA, report);
	return code;
}
