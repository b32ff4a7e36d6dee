/*
 * sink.c
 *		An HTTP receiver that is never the bottleneck: one thread, one epoll,
 *		connections kept alive, every request answered 200 with an empty body.
 *
 *	sink [--delay MS] [--arrivals]
 *
 * Prints "ready PORT" (127.0.0.1) and ends when its standard input does.
 *	POST anything	counted; answered MS later when --delay is given
 *	GET /stat		requests, body bytes, connections seen, first and last arrival
 *	GET /arrivals	"N STAMP" lines: the number after "n": in a body, and when it
 *					was read (--arrivals only)
 *	GET /reset		forgets all of it
 * A request must fit into BUFFER; there is no chunked encoding.  Anything else
 * ends the connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define BUFFER		65536
#define MAX_FDS		8192
#define EVENTS		256

typedef struct Connection
{
	unsigned	serial;			/* tells a file descriptor's users apart */
	size_t		used;
	char		data[BUFFER];
} Connection;

/* An answer that is to go out later */
typedef struct Pending
{
	int			fd;
	unsigned	serial;
	int64_t		due;
} Pending;

typedef struct Arrival
{
	int64_t		n;
	int64_t		at;
} Arrival;

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static Connection *connections[MAX_FDS];
static unsigned serials = 0;
static int	poller;
static int64_t delay = 0;
static int	keep_arrivals = 0;

static Pending *pending = NULL;		/* a ring: answers leave in the order they came */
static size_t pending_size = 0, pending_head = 0, pending_count = 0;

static Arrival *arrivals = NULL;
static size_t arrivals_count = 0, arrivals_size = 0;
static int64_t requests = 0, bytes = 0, accepted = 0, first = 0, last = 0;

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
hang_up(int fd)
{
	free(connections[fd]);
	connections[fd] = NULL;
	close(fd);
}

/* Answers are small: a receiver that does not take one at once is gone. */
static void
answer(int fd, const char *text, size_t length)
{
	while (length > 0)
	{
		ssize_t		n = send(fd, text, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			return;
		text += n;
		length -= n;
	}
}

static void
answer_text(int fd, const char *text, size_t length)
{
	char		head[100];

	answer(fd, head, snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", length));
	answer(fd, text, length);
}

static void
answer_later(int fd, int64_t due)
{
	if (pending_count == pending_size)
	{
		size_t		size = pending_size ? pending_size * 2 : 1024;
		Pending    *ring = malloc(size * sizeof(Pending));

		for (size_t i = 0; i < pending_count; i++)
			ring[i] = pending[(pending_head + i) % pending_size];
		free(pending);
		pending = ring;
		pending_size = size;
		pending_head = 0;
	}
	pending[(pending_head + pending_count++) % pending_size] =
		(Pending) {fd, connections[fd]->serial, due};
}

/* Sends what is due; milliseconds until the next, or -1. */
static int
answer_pending(void)
{
	int64_t		now = stamp();

	while (pending_count > 0)
	{
		Pending    *p = &pending[pending_head];

		if (p->due > now)
			return (int) ((p->due - now) / 1000000) + 1;
		if (connections[p->fd] && connections[p->fd]->serial == p->serial)
			answer(p->fd, ok, sizeof(ok) - 1);
		pending_head = (pending_head + 1) % pending_size;
		pending_count--;
	}
	return -1;
}

static void
note_arrival(const char *body, int64_t at)
{
	const char *n = strstr(body, "\"n\":");

	if (n == NULL)
		return;
	if (arrivals_count == arrivals_size)
	{
		arrivals_size = arrivals_size ? arrivals_size * 2 : 4096;
		arrivals = realloc(arrivals, arrivals_size * sizeof(Arrival));
	}
	arrivals[arrivals_count++] = (Arrival) {strtoll(n + 4, NULL, 10), at};
}

static void
tell_arrivals(int fd)
{
	char	   *text = malloc(arrivals_count * 44 + 1);
	size_t		length = 0;

	for (size_t i = 0; i < arrivals_count; i++)
		length += sprintf(text + length, "%lld %lld\n", (long long) arrivals[i].n,
						  (long long) arrivals[i].at);
	answer_text(fd, text, length);
	free(text);
}

static void
reset(void)
{
	arrivals_count = 0;
	requests = bytes = accepted = first = last = 0;
}

static void
question(int fd, const char *request)
{
	char		text[200];

	if (strncmp(request, "GET /arrivals ", 14) == 0)
		tell_arrivals(fd);
	else if (strncmp(request, "GET /stat ", 10) == 0)
		answer_text(fd, text, snprintf(text, sizeof(text),
									   "requests=%lld bytes=%lld connections=%lld first=%lld last=%lld\n",
									   (long long) requests, (long long) bytes, (long long) accepted,
									   (long long) first, (long long) last));
	else
	{
		reset();
		answer_text(fd, "", 0);
	}
}

static void
delivery(int fd, const char *body, size_t length)
{
	last = stamp();
	if (requests++ == 0)
		first = last;
	bytes += length;
	if (keep_arrivals)
		note_arrival(body, last);
	if (delay > 0)
		answer_later(fd, last + delay);
	else
		answer(fd, ok, sizeof(ok) - 1);
}

/* The length of the request at the start of the buffer; 0 if it is not all there. */
static size_t
take_request(int fd, Connection *c)
{
	char	   *end = memmem(c->data, c->used, "\r\n\r\n", 4);
	char	   *line;
	size_t		head;
	size_t		body = 0;
	char		after;

	if (end == NULL)
		return 0;
	*end = '\0';
	line = strcasestr(c->data, "\r\nContent-Length:");
	if (line)
		body = strtoul(line + 17, NULL, 10);
	*end = '\r';
	head = end + 4 - c->data;
	if (c->used < head + body)
		return 0;
	after = c->data[head + body];
	c->data[head + body] = '\0';
	if (strncmp(c->data, "GET ", 4) == 0)
		question(fd, c->data);
	else
		delivery(fd, c->data + head, body);
	c->data[head + body] = after;
	return head + body;
}

static void
read_requests(int fd)
{
	Connection *c = connections[fd];
	ssize_t		n = recv(fd, c->data + c->used, BUFFER - 1 - c->used, 0);
	size_t		length;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || c->used + n >= BUFFER - 1)
	{
		hang_up(fd);
		return;
	}
	c->used += n;
	while ((length = take_request(fd, c)) > 0)
	{
		memmove(c->data, c->data + length, c->used - length);
		c->used -= length;
	}
}

static void
watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
}

static void
accept_all(int listener)
{
	int			fd;
	int			one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
	{
		if (fd >= MAX_FDS)
		{
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		connections[fd] = malloc(sizeof(Connection));
		connections[fd]->used = 0;
		connections[fd]->serial = serials++;
		accepted++;
		watch(fd);
	}
}

static int
listen_somewhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	length = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, length) < 0 || listen(fd, 1024) < 0 ||
		getsockname(fd, (struct sockaddr *) &address, &length) < 0)
		fail("listen");
	printf("ready %d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

/* Nobody writes to us: what can be read is the end. */
static void
end_with_input(void)
{
	char		c;

	if (read(STDIN_FILENO, &c, 1) <= 0)
		exit(0);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int			listener;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--arrivals") == 0)
			keep_arrivals = 1;
		else if (strcmp(argv[i], "--delay") == 0 && i + 1 < argc)
			delay = strtoll(argv[++i], NULL, 10) * 1000000;
	poller = epoll_create1(0);
	listener = listen_somewhere();
	watch(listener);
	watch(STDIN_FILENO);
	for (;;)
	{
		int			n = epoll_wait(poller, events, EVENTS, answer_pending());

		for (int i = 0; i < n; i++)
		{
			int			fd = events[i].data.fd;

			if (fd == listener)
				accept_all(fd);
			else if (fd == STDIN_FILENO)
				end_with_input();
			else if (connections[fd])
				read_requests(fd);
		}
	}
}
