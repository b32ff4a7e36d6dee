/*
 * talk.h
 *		A conversation on a connection that libcurl has made.
 */
#ifndef NOTIFY_NET_TALK_H
#define NOTIFY_NET_TALK_H

#include <curl/curl.h>

#include "lib/ilist.h"

#define TALK_SOCKETS 4			/* a resolver's and two of connections, and one to spare */

typedef struct Talk Talk;

/*
 * The protocol's side.  Both functions may set what to say next, or end the
 * conversation with talk_end(); they run while the mux works and must not raise.
 */
typedef struct TalkProtocol
{
	const char *farewell;		/* said before the connection is closed */
	void		(*opened) (Talk *talk);
	void		(*heard) (Talk *talk, const char *data, size_t length);
} TalkProtocol;

typedef enum TalkState
{
	TALK_CLOSED,				/* no connection */
	TALK_CONNECTING,			/* libcurl is at it */
	TALK_OPEN,					/* the protocol's turn */
	TALK_IDLE					/* over; the connection is kept for the next */
} TalkState;

/*
 * What CURLOPT_PRIVATE of every handle given to a mux points at (it may be the
 * beginning of something larger).  Without a protocol, libcurl does it all and
 * the rest is unused.
 */
struct Talk
{
	/* set by the owner */
	CURL	   *easy;
	const TalkProtocol *protocol;
	int64_t		timeout;		/* ms for all of it */

	/* what to say, and how much of it has been said */
	const char *say;
	size_t		length;
	size_t		said;

	/* how it ended */
	bool		over;
	bool		keep;			/* the connection is good for another */
	CURLcode	code;

	/* talk.c's and mux.c's own */
	TalkState	state;
	dlist_node	node;			/* in a list of the mux, when linked */
	bool		linked;
	CURLM	   *multi;			/* has this one handle, and its connection */
	int			epoll;
	int			waiting[TALK_SOCKETS];	/* what libcurl waits on, -1 none */
	int			fd;				/* of the connection, once open */
	bool		reused;			/* and nothing heard on it yet this time */
	int64_t		deadline;		/* ms on wire_clock() */
	int64_t		wake;			/* when libcurl wants a call */
	int64_t		idle_since;
};

/* For the protocol */
extern void talk_say(Talk *talk, const char *text, size_t length);
extern void talk_end(Talk *talk, CURLcode code, bool keep);

/* For the mux.  After each, over may be set. */
extern bool talk_start(Talk *talk, int epoll);
extern void talk_turn(Talk *talk);	/* something happened on a socket of it */
extern void talk_tick(Talk *talk, int64_t now);	/* its time has come */
extern int64_t talk_next_tick(const Talk *talk);
extern void talk_rest(Talk *talk);	/* it is over: keep the connection or close */

/* Close the connection, with a farewell if it is over; leave the mux's list */
extern void talk_close(Talk *talk);

/* Close, and give back what is kept for another connection */
extern void talk_free(Talk *talk);

#endif							/* NOTIFY_NET_TALK_H */
