/*
 * send.c
 *		Claimed messages onto the wire and their answers back.
 *
 * A job is in exactly one list: its outlet's queue, "sending", "answered",
 * "suspects" or "unsent".  The unsent were claimed and not begun: they are given
 * back, and the attempt is not counted.
 *
 * What a crash can send twice is what went on the wire and is not settled.
 * That, not only what is being sent, is held to notify_pg.max_in_flight.
 *
 * When a message's lease ends somebody else may send it.  So a transfer is
 * given up before that, early enough for its answer to be settled.
 */
#include "postgres.h"

#include <poll.h>

#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "dispatch/attach.h"
#include "dispatch/backoff.h"
#include "dispatch/render.h"
#include "dispatch/send.h"
#include "guc.h"
#include "net/mux.h"
#include "ticks.h"

/* What is kept of the lease for settling the answer. */
#define PUMP_TURNS	2
#define MARGIN_SHARE	10
#define MARGIN_LEAST_MS	INT64CONST(1000)

static Mux *mux = NULL;
static SendTransaction transaction = NULL;
static int	capacity = 0;
static int	in_flight = 0;
static int	exposed = 0;		/* on the wire or answered from there, not settled */
static int	answers = 0;		/* answered, suspects and unsent */
static bool made_room = false;
static int64 render_us = 0;		/* spent filling templates */
static dlist_head sending = DLIST_STATIC_INIT(sending);
static dlist_head answered = DLIST_STATIC_INIT(answered);
static dlist_head suspects = DLIST_STATIC_INIT(suspects);
static dlist_head unsent = DLIST_STATIC_INIT(unsent);

bool
send_setup(int connections, SendTransaction run)
{
	capacity = connections;
	transaction = run;
	mux = mux_create(connections);
	return mux != NULL;
}

int
send_fd(void)
{
	return mux_fd(mux);
}

int
send_in_flight(void)
{
	return in_flight;
}

bool
send_made_room(void)
{
	bool		result = made_room;

	made_room = false;
	return result;
}

int64
send_render_us(void)
{
	return render_us;
}

dlist_head *
send_answers(void)
{
	return &answered;
}

dlist_head *
send_suspects(void)
{
	return &suspects;
}

dlist_head *
send_unsent(void)
{
	return &unsent;
}

int
send_answer_count(void)
{
	return answers;
}

void
send_answer_settled(Job *job)
{
	dlist_delete(&job->node);
	answers--;
	if (job->exposed)
		exposed--;
	job_free(job);
}

void
send_answer_suspect(Job *job)
{
	dlist_delete(&job->node);
	dlist_push_tail(&suspects, &job->node);
}

/* ------------------------------------------------------------- answers --- */

static bool
may_retry(SendClass class)
{
	return class == SEND_RETRY || class == SEND_DEFER ||
		class == SEND_PROVIDER_DOWN || class == SEND_AUTH;
}

static void
set_detail(SendResult *result, const char *prefix, const char *text)
{
	char		whole[2 * sizeof(result->detail)];
	int			length;

	snprintf(whole, sizeof(whole), "%s%s", prefix, text);
	length = pg_mbcliplen(whole, strlen(whole), sizeof(result->detail) - 1);
	whole[length] = '\0';
	strlcpy(result->detail, whole, sizeof(result->detail));
}

/* It may have arrived, and it may arrive only once: that was the last attempt. */
static void
forbid_repeat(SendResult *result)
{
	char		detail[sizeof(result->detail)];

	strlcpy(detail, result->detail, sizeof(detail));
	result->class = SEND_PERMANENT_MESSAGE;
	set_detail(result, "ambiguous: ", detail);
}

/* A provider that drops repeats may be asked again, and no other. */
static bool
must_not_repeat(const Job *job)
{
	return job->letter.at_most_once && !job->outlet->idempotent;
}

/* What it took on the wire is not held until it is settled. */
static void
drop_wire(Job *job)
{
	if (job->wire_cxt == NULL)
		return;
	job->outlet->wire_bytes -= job->wire_bytes;
	job->wire_bytes = 0;
	job->letter.files = NULL;
	job->letter.file_count = 0;
	MemoryContextDelete(job->wire_cxt);
	job->wire_cxt = NULL;
}

/* The result stands: decide what follows from it and queue it to be settled. */
static void
answer(Job *job)
{
	SendResult *result = &job->result;
	BackoffLimit limit = {job->max_attempts, job->expires_at, notify_now()};

	if (must_not_repeat(job) && result->ambiguous && result->class != SEND_OK)
		forbid_repeat(result);
	job->retry_ms = may_retry(result->class) ?
		backoff_ms(job->letter.attempt, result->retry_after, &limit) : -1;
	if (job->probe)
		outlet_probe_void(job->outlet);
	if (job->begun)
		outlet_not_begun(job->outlet);
	drop_wire(job);
	job->answered_at = ticks_us();
	dlist_push_tail(&answered, &job->node);
	answers++;
}

/* An answer of our own making. */
static void
answer_with(Job *job, SendClass class, const char *detail)
{
	memset(&job->result, 0, sizeof(job->result));
	job->result.class = class;
	job->result.retry_after = -1;
	set_detail(&job->result, "", detail);
	answer(job);
}

/* ------------------------------------------------------------ starting --- */

/* A fault of this server rather than of the message: worth another attempt. */
static bool
is_passing(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_INSUFFICIENT_RESOURCES ||
		ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_OPERATOR_INTERVENTION;
}

/* How long its transfer may take: it must be answered while it is ours. */
static int64
time_limit_ms(const Job *job)
{
	int64		lease_ms = job->lease / 1000;
	int64		margin = Max(lease_ms / MARGIN_SHARE, MARGIN_LEAST_MS);
	int64		passed = (ticks_us() - job->claimed_at) / 1000;

	return Max(1, lease_ms - margin - passed);
}

/* The steps up to the wire that may raise */
static void
render(Job *job)
{
	render_job(job);
	render_us += ticks_us() - job->begun_at;
}

static void
make_transfer(Job *job)
{
	job->letter.time_limit_ms = time_limit_ms(job);
	job->transfer = transfer_begin(job->outlet->provider, &job->letter,
								   job->wire_cxt ? job->wire_cxt : job->cxt);
}

/*
 * Do a step; an error in it is the message's answer.  No SQL runs there, so it
 * is caught without a subtransaction; what it leaves is in the job's context.
 */
static bool
try_step(Job *job, void (*step) (Job *))
{
	MemoryContext caller = MemoryContextSwitchTo(job->cxt);
	volatile bool good = false;

	PG_TRY();
	{
		step(job);
		good = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(job->cxt);
		edata = CopyErrorData();
		FlushErrorState();
		answer_with(job, is_passing(edata->sqlerrcode) ? SEND_RETRY : SEND_PERMANENT_MESSAGE,
					edata->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return good;
}

/* The files it names, if any */
static bool
fetch_files(Job *job)
{
	Attaching	attaching = {job, NULL};

	if (job->letter.attachments == NULL)
		return true;
	job->wire_cxt = AllocSetContextCreate(job->cxt, "notify_pg files", ALLOCSET_DEFAULT_SIZES);
	if (!transaction(attach_files, &attaching))
		answer_with(job, SEND_RETRY, "its attachments could not be read; the server's log says why");
	else if (attaching.problem)
		answer_with(job, SEND_PERMANENT_MESSAGE, attaching.problem);
	else
		return true;
	return false;
}

/* Render it and make its transfer; false: it is answered. */
static bool
prepare(Job *job)
{
	if (!try_step(job, render) || !fetch_files(job))
		return false;
	if (job->outlet->inbox)
		return true;
	if (!try_step(job, make_transfer))
		return false;
	if (job->wire_cxt)
	{
		job->wire_bytes = MemoryContextMemAllocated(job->wire_cxt, true);
		job->outlet->wire_bytes += job->wire_bytes;
	}
	return true;
}

/* Seen by its recipient in the very transaction that settles it. */
static void
deliver_to_inbox(Job *job)
{
	if (job->letter.body == NULL)
		answer_with(job, SEND_PERMANENT_MESSAGE, "the template has no body for the inbox");
	else
		answer_with(job, SEND_OK, "");
}

static void
put_on_wire(Job *job)
{
	transfer_set_owner(job->transfer, job);
	if (!mux_add(mux, transfer_easy(job->transfer)))
	{
		transfer_end(job->transfer, CURLE_FAILED_INIT, &job->result);
		job->transfer = NULL;
		answer_with(job, SEND_RETRY, "the transfer could not be started");
		return;
	}
	dlist_push_tail(&sending, &job->node);
	in_flight++;
	exposed++;
	job->exposed = true;
	outlet_began(job->outlet);
}

/* The answer is the provider's own. */
static void
judge(Job *job)
{
	outlet_judge(job->outlet, &job->result, job->probe);
	job->probe = false;
}

/* The provider could not get what its messages need: that is their answer. */
static bool
refused(Job *job)
{
	if (job->outlet->provider == NULL ||
		provider_state(job->outlet->provider, &job->result) != PROVIDER_REFUSED)
		return false;
	judge(job);
	answer(job);
	return true;
}

static void
start_job(Job *job)
{
	job->begun_at = ticks_us();
	if (refused(job))
		return;
	else if (!prepare(job))
		return;
	else if (job->outlet->inbox)
		deliver_to_inbox(job);
	else
		put_on_wire(job);
}

/* ------------------------------------------------------------- errands --- */

static void
finish_errand(Outlet *outlet, CURLcode code)
{
	SendResult	unused;

	transfer_end(outlet->errand, code, &unused);
	outlet->errand = NULL;
}

/* An errand that cannot begin leaves its provider refusing, so this ends. */
static bool
start_errands(void)
{
	Outlet	   *outlet;
	bool		any = false;

	while ((outlet = outlets_wanting_errand()) != NULL)
	{
		outlet->errand = errand_begin(outlet->provider);
		if (outlet->errand == NULL)
			continue;
		any = true;
		transfer_set_owner(outlet->errand, outlet);
		if (!mux_add(mux, transfer_easy(outlet->errand)))
			finish_errand(outlet, CURLE_FAILED_INIT);
	}
	return any;
}

static void
abandon_errands(void)
{
	Outlet	   *outlet;

	while ((outlet = outlets_with_errand()) != NULL)
	{
		mux_remove(mux, transfer_easy(outlet->errand));
		finish_errand(outlet, CURLE_ABORTED_BY_CALLBACK);
	}
}

/* ------------------------------------------------------------- pumping --- */

static void
finish(CURL *easy, CURLcode code)
{
	Transfer   *transfer = transfer_of(easy);
	Job		   *job = transfer_owner(transfer);

	if (transfer_is_errand(transfer))
	{
		finish_errand(transfer_owner(transfer), code);
		return;
	}
	transfer_end(transfer, code, &job->result);
	job->transfer = NULL;
	dlist_delete(&job->node);
	in_flight--;
	job->begun = false;
	if (outlet_finished(job->outlet, &job->result, (ticks_us() - job->begun_at) / 1000))
		made_room = true;
	judge(job);
	answer(job);
}

static bool
finish_done(void)
{
	CURLcode	code;
	CURL	   *easy;
	bool		any = false;

	while ((easy = mux_next_done(mux, &code)) != NULL)
	{
		finish(easy, code);
		any = true;
	}
	return any;
}

static bool
start_waiting(void)
{
	Job		   *job;
	bool		any = start_errands();

	outlets_end_waits();
	while ((job = outlets_stale()) != NULL)
	{
		dlist_push_tail(&unsent, &job->node);
		answers++;
	}
	while (exposed < capacity && (job = outlets_next(capacity)) != NULL)
	{
		start_job(job);
		any = true;
	}
	return any;
}

/*
 * A message that has room must not wait for an event when all that was on the
 * wire is answered; nor must a claim wait for a whole queue to be sent.
 */
bool
send_pump(void)
{
	mux_run(mux);
	finish_done();
	for (int turn = 0; turn < PUMP_TURNS; turn++)
	{
		if (!start_waiting())
			return false;
		mux_run(mux);
		if (!finish_done())
			return false;
	}
	return true;
}

/* How many transfers have been under way since then or longer. */
int
send_slow(int64 since)
{
	int			slow = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &sending)
	{
		if (dlist_container(Job, node, iter.cur)->begun_at > since)
			break;
		slow++;
	}
	return slow;
}

/* Take the answers that come before the deadline; nothing new is begun. */
void
send_finish(int64 deadline)
{
	struct pollfd readable = {mux_fd(mux), POLLIN, 0};
	int64		left;

	mux_run(mux);
	finish_done();
	while (in_flight > 0 && (left = deadline - ticks_us()) > 0)
	{
		(void) poll(&readable, 1, (int) (left / 1000) + 1);
		mux_run(mux);
		finish_done();
	}
}

/*
 * What has no answer yet is dropped; its rows stay claimed, and the next
 * dispatcher of this slot frees them.  Answers remain to be settled.
 */
void
send_abandon(void)
{
	mux_run(mux);
	finish_done();
	while (!dlist_is_empty(&sending))
	{
		Job		   *job = dlist_container(Job, node, dlist_pop_head_node(&sending));

		mux_remove(mux, transfer_easy(job->transfer));
		transfer_end(job->transfer, CURLE_ABORTED_BY_CALLBACK, &job->result);
		job->transfer = NULL;
		in_flight--;
		outlet_abandoned(job->outlet);
		job->begun = false;
		drop_wire(job);
		if (must_not_repeat(job))
			answer_with(job, SEND_PERMANENT_MESSAGE,
						"ambiguous: the dispatcher stopped while it was being sent");
		else
			job_free(job);
	}
	abandon_errands();
	mux_destroy(mux);
	mux = NULL;
}
