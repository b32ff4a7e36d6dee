/*
 * mux.c
 *		Many transfers at once behind one file descriptor.
 *
 * libcurl tells what it waits for through two callbacks, sockets and one
 * timer; both feed one epoll instance (the timer as a timerfd), and only what
 * epoll reports is handed back.  So the cost of an event does not depend on
 * how many transfers there are.
 *
 * Requests with one answer (http) share a multi handle and its pool of
 * connections, one request at a time on each, with HTTP/2, too.  Streams that share
 * a connection end together when it breaks; libcurl keeps a connection whose
 * streams time out, and would put all later ones on it; and those sent before the
 * server's first settings arrive may be more than it allows (APNs: one), which we
 * could not tell from requests that broke off.  The price is a connection for each
 * request in flight.  Conversations (smtp) go the way talk.c tells; their sockets
 * are in the same epoll instance.  An event's tag says whose it is: a Talk's
 * address, or a file descriptor with the highest bit set.  A Talk is freed
 * only between calls of mux_run(), so a tag never points at nothing.
 *
 * All signals are blocked while libcurl works: it may start a thread that
 * resolves a name, and a thread that took a signal meant for the server would
 * run the server's handlers in the wrong place.  Adding a request only queues it.
 *
 * One mux belongs to one process and one thread.  Nothing here raises; memory
 * comes from malloc.  The callbacks do nothing but bookkeeping.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "net/mux.h"
#include "net/talk.h"
#include "net/wire.h"

#define MUX_EVENTS 256			/* taken from epoll at a time */
#define MUX_ROUNDS 8			/* then the caller gets a turn */
#define MUX_NEVER INT64_MAX		/* no deadline */
#define MUX_FIRED (-1)			/* the timer went off and is not set */
#define MUX_IDLE_TALK 30000		/* ms a conversation's connection is kept */
#define MUX_LOOK_INTERVAL 1000	/* ms between looks at kept connections */

#define TAG_TIMER UINT64_MAX
#define TAG_REQUEST (UINT64_C(1) << 63)

struct Mux
{
	CURLM	   *multi;			/* all requests */
	int64_t		wake;			/* ms on wire_clock(), when libcurl wants a call */
	dlist_head	talks;			/* conversations going on */
	dlist_head	over;			/* … ended and not yet returned */
	dlist_head	idle;			/* … returned, with a connection, oldest first */
	int64_t		talk_wake;		/* no conversation has to be called sooner */
	int64_t		looked;			/* when idle ones were looked at */
	int			epoll;
	int			timer;
	int64_t		armed;			/* what the timer is set to, or MUX_FIRED */
	bool		running;		/* the timer is set when mux_run() ends */
	struct epoll_event events[MUX_EVENTS];
};

static void
block_signals(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, before);
}

static void
restore_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/*
 * See that the timer fires no later than the earlier deadline of the two.  It
 * may fire sooner, for a deadline since put off; that spares many calls.
 */
static void
arm_timer(Mux *mux)
{
	int64_t		deadline = Min(mux->wake, mux->talk_wake);
	struct itimerspec spec;

	if (mux->armed != MUX_FIRED && mux->armed <= deadline)
		return;
	memset(&spec, 0, sizeof(spec));
	if (deadline != MUX_NEVER)
	{
		spec.it_value.tv_sec = deadline / 1000;
		spec.it_value.tv_nsec = deadline % 1000 * 1000000;
	}
	(void) timerfd_settime(mux->timer, TFD_TIMER_ABSTIME, &spec, NULL);
	mux->armed = deadline;
}

/* CURLMOPT_TIMERFUNCTION */
static int
on_timer(CURLM *multi, long timeout, void *data)
{
	Mux		   *mux = data;

	mux->wake = timeout < 0 ? MUX_NEVER : wire_clock() + timeout;
	if (!mux->running)
		arm_timer(mux);
	return 0;
}

/* CURLMOPT_SOCKETFUNCTION */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
	wire_watch(((Mux *) data)->epoll, fd, what, TAG_REQUEST | (uint64_t) fd);
	return 0;
}

static bool
open_multi(Mux *mux, long max_connections)
{
	mux->multi = curl_multi_init();
	if (mux->multi != NULL &&
		curl_multi_setopt(mux->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
		curl_multi_setopt(mux->multi, CURLMOPT_SOCKETDATA, mux) == CURLM_OK &&
		curl_multi_setopt(mux->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
		curl_multi_setopt(mux->multi, CURLMOPT_TIMERDATA, mux) == CURLM_OK &&
		curl_multi_setopt(mux->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) == CURLM_OK &&
		curl_multi_setopt(mux->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max_connections) == CURLM_OK &&
		curl_multi_setopt(mux->multi, CURLMOPT_MAXCONNECTS, max_connections) == CURLM_OK)
		return true;
	errno = ENOMEM;
	return false;
}

static bool
open_epoll(Mux *mux)
{
	struct epoll_event event;

	mux->epoll = epoll_create1(EPOLL_CLOEXEC);
	mux->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (mux->epoll < 0 || mux->timer < 0)
		return false;
	event.events = EPOLLIN;
	event.data.u64 = TAG_TIMER;
	return epoll_ctl(mux->epoll, EPOLL_CTL_ADD, mux->timer, &event) == 0;
}

Mux *
mux_create(int max_connections)
{
	Mux		   *mux = calloc(1, sizeof(Mux));
	int			error;

	if (mux == NULL)
		return NULL;
	mux->epoll = mux->timer = -1;
	mux->armed = mux->wake = mux->talk_wake = MUX_NEVER;
	dlist_init(&mux->talks);
	dlist_init(&mux->over);
	dlist_init(&mux->idle);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK &&
		open_epoll(mux) && open_multi(mux, Max(max_connections, 1)))
		return mux;
	error = errno ? errno : ENOMEM;
	mux_destroy(mux);
	errno = error;
	return NULL;
}

int
mux_fd(Mux *mux)
{
	return mux->epoll;
}

/* The conversation a handle is for, NULL when libcurl does it all */
static Talk *
talk_of(CURL *easy)
{
	char	   *talk = NULL;

	(void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &talk);
	return talk && ((Talk *) talk)->protocol ? (Talk *) talk : NULL;
}

static void
move_talk(Talk *talk, dlist_head *list)
{
	if (talk->linked)
		dlist_delete(&talk->node);
	dlist_push_tail(list, &talk->node);
	talk->linked = true;
}

/* After anything was done to a conversation */
static void
see_to_talk(Mux *mux, Talk *talk)
{
	if (talk->state == TALK_IDLE || (talk->state == TALK_CLOSED && !talk->over))
		return;
	if (talk->over)
		move_talk(talk, &mux->over);
	else
		mux->talk_wake = Min(mux->talk_wake, talk_next_tick(talk));
}

static bool
add_talk(Mux *mux, Talk *talk)
{
	if (!talk_start(talk, mux->epoll))
	{
		talk_close(talk);
		return false;
	}
	move_talk(talk, &mux->talks);
	see_to_talk(mux, talk);
	if (talk->over)
		mux->talk_wake = wire_clock();	/* somebody must come and see */
	arm_timer(mux);
	return true;
}

bool
mux_add(Mux *mux, CURL *easy)
{
	Talk	   *talk = talk_of(easy);
	sigset_t	before;
	bool		added;

	if (talk == NULL)
	{
		mux->running = true;
		added = curl_multi_add_handle(mux->multi, easy) == CURLM_OK;
		mux->running = false;
		return added;
	}
	block_signals(&before);
	added = add_talk(mux, talk);
	restore_signals(&before);
	return added;
}

void
mux_remove(Mux *mux, CURL *easy)
{
	Talk	   *talk = talk_of(easy);
	sigset_t	before;

	block_signals(&before);
	if (talk == NULL)
		(void) curl_multi_remove_handle(mux->multi, easy);
	else if (talk->state != TALK_IDLE)
		talk_close(talk);
	restore_signals(&before);
}

static void
deliver_request(Mux *mux, int fd, uint32_t events)
{
	int			mask = 0;
	int			running;

	if (!wire_wanted(mux->epoll, fd))
		return;					/* libcurl looks when it takes it up */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	(void) curl_multi_socket_action(mux->multi, fd, mask, &running);
}

static void
deliver(Mux *mux, const struct epoll_event *event)
{
	uint64_t	tag = event->data.u64;
	Talk	   *talk;

	if (tag == TAG_TIMER)
		mux->armed = MUX_FIRED;
	else if (tag & TAG_REQUEST)
		deliver_request(mux, (int) (tag & ~TAG_REQUEST), event->events);
	else
	{
		talk = (Talk *) (uintptr_t) tag;
		talk_turn(talk);
		see_to_talk(mux, talk);
	}
}

static int
deliver_events(Mux *mux)
{
	int			count = epoll_wait(mux->epoll, mux->events, MUX_EVENTS, 0);
	int			i;

	for (i = 0; i < count; i++)
		deliver(mux, &mux->events[i]);
	return count;
}

/* Make the call libcurl asked for, when it is time.  Was it? */
static bool
tick_requests(Mux *mux)
{
	int			running;

	if (mux->wake > wire_clock())
		return false;
	mux->wake = MUX_NEVER;
	(void) curl_multi_socket_action(mux->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	return true;
}

static bool
tick_talks(Mux *mux)
{
	int64_t		now = wire_clock();
	dlist_mutable_iter iter;

	if (mux->talk_wake > now)
		return false;
	mux->talk_wake = MUX_NEVER;
	dlist_foreach_modify(iter, &mux->talks)
	{
		Talk	   *talk = dlist_container(Talk, node, iter.cur);

		if (talk_next_tick(talk) <= now)
			talk_tick(talk, now);
		see_to_talk(mux, talk);
	}
	return true;
}

/* Close what has been kept for long */
static void
close_idle_talks(Mux *mux)
{
	int64_t		now = wire_clock();

	if (now - mux->looked < MUX_LOOK_INTERVAL)
		return;
	mux->looked = now;
	while (!dlist_is_empty(&mux->idle))
	{
		Talk	   *oldest = dlist_head_element(Talk, node, &mux->idle);

		if (now - oldest->idle_since < MUX_IDLE_TALK)
			break;
		talk_close(oldest);
	}
}

void
mux_run(Mux *mux)
{
	sigset_t	before;
	bool		more = true;
	int			round;

	block_signals(&before);
	mux->running = true;
	for (round = 0; more && round < MUX_ROUNDS; round++)
	{
		more = deliver_events(mux) == MUX_EVENTS;
		if (tick_requests(mux))
			more = true;
		if (tick_talks(mux))
			more = true;
	}
	close_idle_talks(mux);
	mux->running = false;
	arm_timer(mux);
	restore_signals(&before);
}

static CURL *
next_request(Mux *mux, CURLcode *code)
{
	CURLMsg    *message;
	int			left;
	CURL	   *easy;

	while ((message = curl_multi_info_read(mux->multi, &left)) != NULL)
	{
		if (message->msg != CURLMSG_DONE)
			continue;
		easy = message->easy_handle;
		*code = message->data.result;
		(void) curl_multi_remove_handle(mux->multi, easy);
		return easy;
	}
	return NULL;
}

static CURL *
next_talk(Mux *mux, CURLcode *code)
{
	Talk	   *talk;

	if (dlist_is_empty(&mux->over))
		return NULL;
	talk = dlist_head_element(Talk, node, &mux->over);
	*code = talk->code;
	talk_rest(talk);
	if (talk->state == TALK_IDLE)
		move_talk(talk, &mux->idle);
	return talk->easy;
}

CURL *
mux_next_done(Mux *mux, CURLcode *code)
{
	CURL	   *easy = next_request(mux, code);

	return easy ? easy : next_talk(mux, code);
}

static void
close_talks(dlist_head *list)
{
	while (!dlist_is_empty(list))
		talk_close(dlist_head_element(Talk, node, list));
}

void
mux_destroy(Mux *mux)
{
	sigset_t	before;

	mux->running = true;		/* the timer may be gone */
	block_signals(&before);
	close_talks(&mux->talks);
	close_talks(&mux->over);
	close_talks(&mux->idle);
	if (mux->multi)
		(void) curl_multi_cleanup(mux->multi);
	restore_signals(&before);
	if (mux->timer >= 0)
		close(mux->timer);
	if (mux->epoll >= 0)
		close(mux->epoll);
	free(mux);
}
