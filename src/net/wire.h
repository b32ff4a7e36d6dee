/*
 * wire.h
 *		Sockets of deliveries: opened through the guard, watched through epoll.
 */
#ifndef NOTIFY_NET_WIRE_H
#define NOTIFY_NET_WIRE_H

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or later is needed"
#endif

/* What happened while one transfer looked for a connection */
typedef struct WireReport
{
	int			opened;			/* sockets opened */
	int			refused;		/* addresses the guard refused */
	int			error;			/* errno of the last socket() that failed */
	bool		stopped;		/* guard refused a connection already made */
	int			requests;		/* begun; libcurl may begin one again */
	char		address[64];	/* the address refused last */
} WireReport;

/*
 * Set the options every handle has in common: the guard, no signals, no
 * proxy, no redirects, no protocol but those named ("http,https").
 */
extern CURLcode wire_dress(CURL *easy, WireReport *report, const char *protocols);

/*
 * Register a socket for what libcurl waits for (CURL_POLL_…), with a tag that
 * comes back with its events.
 */
extern void wire_watch(int epoll, int fd, int what, uint64_t tag);

/* An event on it: is it one libcurl waits for?  If not, it is muted. */
extern bool wire_wanted(int epoll, int fd);

/* Does the guard still allow the peer of this socket? */
extern bool wire_peer_allowed(int fd);

/* ms on the monotonic clock */
extern int64_t wire_clock(void);

/* Is this process (or the machine) out of file descriptors right now? */
extern bool wire_out_of_files(void);

#endif							/* NOTIFY_NET_WIRE_H */
