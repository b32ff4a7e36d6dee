/*
 * mux.h
 *		Many transfers at once behind one file descriptor.
 */
#ifndef NOTIFY_NET_MUX_H
#define NOTIFY_NET_MUX_H

#include <curl/curl.h>

typedef struct Mux Mux;

/* NULL, with errno set, when it cannot be made */
extern Mux *mux_create(int max_connections);

/* One epoll descriptor: readable when mux_run() has something to do */
extern int	mux_fd(Mux *mux);

/*
 * Start a transfer.  The handle's options must be complete, and
 * CURLOPT_PRIVATE must point at a Talk (talk.h).  It goes on the wire at the
 * next mux_run(), which must follow: the descriptor does not call for it.
 */
extern bool mux_add(Mux *mux, CURL *easy);

/* Abandon a transfer; no harm if the handle is not in the mux */
extern void mux_remove(Mux *mux, CURL *easy);

/* Do what can be done now; never blocks */
extern void mux_run(Mux *mux);

/*
 * A finished transfer and how it ended, or NULL.  The handle is out of the mux
 * when it is returned.
 */
extern CURL *mux_next_done(Mux *mux, CURLcode *code);

/* Every handle must be out of it.  Idle connections are closed. */
extern void mux_destroy(Mux *mux);

#endif							/* NOTIFY_NET_MUX_H */
