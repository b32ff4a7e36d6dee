/*
 * talk.c
 *		A conversation on a connection that libcurl has made.
 *
 * libcurl's own SMTP waits for the answer to a message, and to QUIT, inside
 * one call, and nothing else moves meanwhile: one slow mail server would hold
 * up every delivery.  So for such protocols libcurl only connects: name,
 * addresses, TLS and login (CURLOPT_CONNECT_ONLY), which it does without
 * waiting.  What follows is said and heard here, through curl_easy_send() and
 * curl_easy_recv(), which do not wait either.
 *
 * Each conversation has a multi handle of its own (it outlives connections, for
 * the names and certificates it caches).  In a common one, libcurl would take a
 * connection that is in our hands for an idle one, and drop it when it finds
 * unread input on it.
 *
 * A connection may be kept for the next conversation of the same handle.  If
 * a kept one turns out to be dead before anything was heard on it, a new one
 * is made.
 *
 * Nothing here raises or uses palloc; signals are blocked by the mux.
 */
#include "postgres.h"

#include "net/talk.h"
#include "net/wire.h"

#define TALK_NEVER INT64_MAX
#define TALK_GRACE 1000			/* ms */

void
talk_say(Talk *talk, const char *text, size_t length)
{
	talk->say = text;
	talk->length = length;
	talk->said = 0;
}

void
talk_end(Talk *talk, CURLcode code, bool keep)
{
	talk->over = true;
	talk->code = code;
	talk->keep = keep;
}

static void
replace_waiting(Talk *talk, int old, int new)
{
	int			i;

	for (i = 0; i < TALK_SOCKETS; i++)
		if (talk->waiting[i] == old)
		{
			talk->waiting[i] = new;
			return;
		}
}

/* CURLMOPT_SOCKETFUNCTION */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
	Talk	   *talk = data;

	replace_waiting(talk, fd, -1);
	if (what != CURL_POLL_REMOVE)
		replace_waiting(talk, -1, fd);
	wire_watch(talk->epoll, fd, what, (uint64_t) (uintptr_t) talk);
	return 0;
}

/* CURLMOPT_TIMERFUNCTION */
static int
on_timer(CURLM *multi, long timeout, void *data)
{
	Talk	   *talk = data;

	talk->wake = timeout < 0 ? TALK_NEVER : wire_clock() + timeout;
	return 0;
}

static bool
make_multi(Talk *talk)
{
	if (talk->multi)
		return true;
	talk->multi = curl_multi_init();
	return talk->multi &&
		curl_multi_setopt(talk->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
		curl_multi_setopt(talk->multi, CURLMOPT_SOCKETDATA, talk) == CURLM_OK &&
		curl_multi_setopt(talk->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
		curl_multi_setopt(talk->multi, CURLMOPT_TIMERDATA, talk) == CURLM_OK;
}

static bool
connect_anew(Talk *talk)
{
	memset(talk->waiting, -1, sizeof(talk->waiting));
	talk->fd = -1;
	talk->reused = false;
	talk->state = TALK_CONNECTING;
	talk->wake = TALK_NEVER;
	return make_multi(talk) &&
		curl_multi_add_handle(talk->multi, talk->easy) == CURLM_OK;
}

/* Removing the handle closes the connection, without a word from libcurl. */
static void
drop_connection(Talk *talk)
{
	if (talk->state != TALK_CLOSED)
		(void) curl_multi_remove_handle(talk->multi, talk->easy);
	talk->state = TALK_CLOSED;
	talk->fd = -1;
}

static void
watch(Talk *talk)
{
	wire_watch(talk->epoll, talk->fd,
			   talk->said < talk->length ? CURL_POLL_INOUT : CURL_POLL_IN,
			   (uint64_t) (uintptr_t) talk);
}

/* The connection is gone.  A kept one is replaced, unless it had spoken. */
static void
lose_connection(Talk *talk, CURLcode code)
{
	bool		again = talk->reused;

	drop_connection(talk);
	if (!again || !connect_anew(talk))
		talk_end(talk, code, false);
}

/* Say what is to be said; false when the connection is gone */
static bool
speak(Talk *talk)
{
	while (talk->said < talk->length)
	{
		size_t		sent = 0;
		CURLcode	code = curl_easy_send(talk->easy, talk->say + talk->said,
										  talk->length - talk->said, &sent);

		if (code == CURLE_AGAIN)
			break;
		if (code != CURLE_OK)
		{
			lose_connection(talk, code);
			return false;
		}
		talk->said += sent;
	}
	return true;
}

/* Take in what is there; false when nothing more is, or the connection is gone */
static bool
listen_once(Talk *talk)
{
	char		buffer[4096];
	size_t		length = 0;
	CURLcode	code = curl_easy_recv(talk->easy, buffer, sizeof(buffer), &length);

	if (code == CURLE_AGAIN)
		return false;
	if (code != CURLE_OK || length == 0)
	{
		lose_connection(talk, CURLE_RECV_ERROR);
		return false;
	}
	talk->reused = false;
	talk->protocol->heard(talk, buffer, length);
	return true;
}

static void
converse(Talk *talk)
{
	do
	{
		if (!speak(talk))
			return;
	} while (listen_once(talk) && !talk->over);
	if (talk->state == TALK_OPEN && !talk->over)
		watch(talk);
}

static void
open_up(Talk *talk)
{
	talk->state = TALK_OPEN;
	talk_say(talk, NULL, 0);
	talk->protocol->opened(talk);
	converse(talk);
}

/* Let libcurl look at its timers and at every socket it waits on */
static void
let_connect(Talk *talk)
{
	int			waiting[TALK_SOCKETS];
	int			running;
	int			i;

	memcpy(waiting, talk->waiting, sizeof(waiting));
	talk->wake = TALK_NEVER;
	(void) curl_multi_socket_action(talk->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	for (i = 0; i < TALK_SOCKETS; i++)
		if (waiting[i] >= 0)
			(void) curl_multi_socket_action(talk->multi, waiting[i], 0, &running);
}

/* Go on connecting, and see whether that has come to an end */
static void
connect_on(Talk *talk)
{
	int			number;
	CURLMsg    *message;
	curl_socket_t fd = CURL_SOCKET_BAD;
	CURLcode	code;

	let_connect(talk);
	message = curl_multi_info_read(talk->multi, &number);
	if (message == NULL || message->msg != CURLMSG_DONE)
		return;
	code = message->data.result;
	if (code == CURLE_OK)
		code = curl_easy_getinfo(talk->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (code == CURLE_OK && fd == CURL_SOCKET_BAD)
		code = CURLE_COULDNT_CONNECT;
	talk->fd = fd;
	if (code == CURLE_OK)
		open_up(talk);
	else
	{
		drop_connection(talk);
		talk_end(talk, code, false);
	}
}

/* A kept connection is of use when the peer is allowed and has been silent. */
static bool
can_resume(Talk *talk)
{
	char		byte;
	size_t		length;

	return talk->state == TALK_IDLE && wire_peer_allowed(talk->fd) &&
		curl_easy_recv(talk->easy, &byte, 1, &length) == CURLE_AGAIN;
}

bool
talk_start(Talk *talk, int epoll)
{
	bool		resume = can_resume(talk);

	talk->epoll = epoll;
	talk->over = false;
	talk->deadline = wire_clock() + talk->timeout;
	talk->wake = TALK_NEVER;
	if (resume)
	{
		talk->reused = true;
		open_up(talk);
		return true;
	}
	if (talk->state == TALK_IDLE)
		drop_connection(talk);
	return connect_anew(talk);
}

void
talk_turn(Talk *talk)
{
	switch (talk->state)
	{
		case TALK_CONNECTING:
			connect_on(talk);
			break;
		case TALK_OPEN:
			if (!talk->over)
				converse(talk);
			break;
		case TALK_IDLE:			/* whatever it is, it is not for us */
			talk_close(talk);
			break;
		case TALK_CLOSED:
			break;
	}
}

/* While libcurl connects, it minds the time itself; the deadline is a net. */
int64_t
talk_next_tick(const Talk *talk)
{
	if (talk->state == TALK_CONNECTING)
		return Min(talk->wake, talk->deadline + TALK_GRACE);
	return talk->deadline;
}

void
talk_tick(Talk *talk, int64_t now)
{
	if (now >= talk->deadline + (talk->state == TALK_CONNECTING ? TALK_GRACE : 0))
	{
		drop_connection(talk);
		talk_end(talk, CURLE_OPERATION_TIMEDOUT, false);
	}
	else if (talk->state == TALK_CONNECTING && now >= talk->wake)
		connect_on(talk);
}

void
talk_rest(Talk *talk)
{
	if (talk->state != TALK_OPEN || !talk->keep)
	{
		talk_close(talk);
		return;
	}
	talk->over = false;
	talk->state = TALK_IDLE;
	talk->idle_since = wire_clock();
	talk_say(talk, NULL, 0);
	watch(talk);
}

void
talk_close(Talk *talk)
{
	bool		ended = talk->state == TALK_IDLE || (talk->state == TALK_OPEN && talk->over);
	size_t		sent;

	if (talk->linked)
		dlist_delete(&talk->node);
	talk->linked = talk->over = false;
	if (ended && talk->said == talk->length)
		(void) curl_easy_send(talk->easy, talk->protocol->farewell,
							  strlen(talk->protocol->farewell), &sent);
	drop_connection(talk);
}

void
talk_free(Talk *talk)
{
	talk_close(talk);
	if (talk->multi)
		(void) curl_multi_cleanup(talk->multi);
	talk->multi = NULL;
}
