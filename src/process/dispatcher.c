/*
 * dispatcher.c
 *		The worker that sends; notify_pg.dispatchers of them per database.
 *
 * One loop: drive the transfers, run one SQL exchange if one is due, sleep
 * until the latch, the network or a deadline says otherwise.  An exchange is
 * one transaction that settles the answers at hand, looks whether providers
 * changed, and claims what there is room for: one flush for all of it.  It is
 * committed before anything it claimed is sent, and no transaction is open
 * while the network is waited for.
 *
 * Answers live in memory until a commit has recorded them.  When an exchange
 * fails its parts are tried apart, so a claim that cannot be made does not keep
 * answers from being settled, and the settled batch is halved down to the one
 * answer that may be at fault, which is then tried by itself, later and later.
 * It is given up only when its lease has ended: the message is someone else's.
 *
 * Stopping: nothing new is begun, what is answered within half a second is
 * settled, what is not is abandoned to the next dispatcher of the slot.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dispatch/claim.h"
#include "dispatch/render.h"
#include "dispatch/send.h"
#include "dispatch/settle.h"
#include "guc.h"
#include "net/guard.h"
#include "process/dispatcher.h"
#include "process/nice.h"
#include "process/worker.h"
#include "ticks.h"

#define SETTLE_MOST		500		/* answers in one transaction */
#define SETTLE_WAIT_US	20000	/* nor longer than this while others are sent */
#define CLAIM_GAP_US	20000	/* between claims when no provider runs dry */
#define CLAIM_LEAST_US	1000	/* between claims in any case while sending */
#define CLAIM_NEWS_US	2000	/* when new messages came: one may be urgent */
#define REFRESH_US		1000000 /* between looks at the configuration */
#define REFRESH_SOON_US	20000	/* after a wake-up: it may be about a new provider */
#define HELD_MOST		((Size) 16 * 1024 * 1024)	/* bytes of messages in memory */
#define BACKOFF_LEAST	50
#define BACKOFF_MOST	5000
#define HEAR_US			500000	/* for answers to what is on the wire, before the exit */
#define STOP_US			1000000 /* for that and for settling */
#define RESERVED_FILES	100		/* for tables, logs and libraries */
#define OWN_FILES		10		/* for event sets */

/* How often in a row something failed, and when to try again (ticks). */
typedef struct Setback
{
	int			failures;
	int64		until;
} Setback;

/* What one exchange is to do, and what it did. */
typedef struct Exchange
{
	bool		settle;
	bool		refresh;
	bool		claim;
	Job		   *suspect;		/* settle this one alone, and nothing else */
	Settlement	settlement;
	Claim		taken;
	int64		settle_us;		/* spent, without the commit */
	int64		claim_us;		/* likewise, looks at the configuration included */
} Exchange;

static int	slot;				/* the dispatcher's number */
static int64 boot;				/* this start of it */
static int	capacity;			/* transfers at a time */
static int	asked_capacity;		/* the setting it was made from */
static MemoryContext loop_cxt;	/* emptied in every round */
static MemoryContext jobs_cxt;
static WaitEventSet *events;
static bool may_have_work = true;
static bool woken = false;		/* since the last claim */
static bool apart = false;		/* settle and claim in separate transactions */
static bool unreported = false; /* statistics of an exchange */
static int	settle_most = SETTLE_MOST;
static Setback settling;
static Setback claiming;
static int64 claimed_at = 0;	/* ticks */
static int64 refreshed_at = 0;
static int64 refresh_soon = 0;	/* ticks; 0: at its time */
static Size usual_size = 8192;	/* bytes of a message, lately */

/* -------------------------------------------------------------- set-up --- */

/*
 * Each transfer may hold a socket and leave one idle behind it.  What we use
 * is reported to fd.c so that it leaves us that much.
 */
static int
affordable(int wanted)
{
	struct rlimit limit;
	int			most = wanted;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
		limit.rlim_cur < (rlim_t) wanted * 2 + RESERVED_FILES)
		most = Max(1, ((int) limit.rlim_cur - RESERVED_FILES) / 2);
	if (most < wanted)
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("notify_pg dispatcher runs %d transfers at a time instead of %d",
						most, wanted),
				 errdetail("The server may open %lu files per process.",
						   (unsigned long) limit.rlim_cur),
				 errhint("Raise the limit of open files (ulimit -n, LimitNOFILE) or lower notify_pg.max_in_flight.")));
	/* Beyond a third of its own, fd.c refuses the event sets of this process. */
	for (int i = 0; i < Min(most, max_safe_fds / 3 - OWN_FILES); i++)
		ReserveExternalFD();
	return most;
}

static void
set_up_network(void)
{
	asked_capacity = notify_max_in_flight;
	capacity = affordable(asked_capacity);
	slot_gauge(worker_slot, COUNT_MAX_IN_FLIGHT, capacity);
	guard_configure(notify_allow_private_addresses);
	if (!send_setup(capacity, worker_transaction))
		ereport(FATAL,
				(errcode_for_file_access(),
				 errmsg("notify_pg could not set up its network loop: %m")));
	events = compat_create_wait_event_set(3);
	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, send_fd(), NULL, NULL);
}

static void
set_up_memory(void)
{
	loop_cxt = AllocSetContextCreate(TopMemoryContext, "notify_pg dispatcher round",
									 ALLOCSET_DEFAULT_SIZES);
	jobs_cxt = AllocSetContextCreate(TopMemoryContext, "notify_pg messages",
									 ALLOCSET_SMALL_SIZES);
	render_setup(TopMemoryContext);
	MemoryContextSwitchTo(loop_cxt);
}

static void
rescue_once(void *arg)
{
	Oid			types[] = {INT4OID, INT8OID};
	Datum		values[] = {Int32GetDatum(slot), Int64GetDatum(boot)};

	if (SPI_execute_with_args("SELECT notify._rescue($1, $2)", 2, types, values,
							  NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._rescue() failed");
}

/* Free what an earlier start of this dispatcher had claimed. */
static void
rescue(void)
{
	int			failures = 0;

	while (!worker_stopping() && !worker_transaction(rescue_once, NULL))
	{
		worker_leave_if_dropped();
		worker_sleep(worker_backoff(++failures, BACKOFF_LEAST, BACKOFF_MOST));
	}
}

/* ------------------------------------------------------------ what is due --- */

static void
set_back(Setback *setback, int64 now)
{
	setback->failures++;
	setback->until = now + worker_backoff(setback->failures, BACKOFF_LEAST, BACKOFF_MOST) * 1000;
}

static Job *
oldest_answer(void)
{
	return dlist_head_element(Job, node, send_answers());
}

/* Messages claimed and without an answer. */
static int
unanswered(void)
{
	return jobs_count() - send_answer_count();
}

/* When to settle: a time in ticks, PG_INT64_MAX if there is nothing to. */
static int64
settle_time(void)
{
	int			brisk;

	if (!dlist_is_empty(send_unsent()))
		return settling.until;
	if (dlist_is_empty(send_answers()))
		return PG_INT64_MAX;
	/* Those that hang leave fewer to make up a batch. */
	brisk = capacity - send_slow(ticks_us() - SETTLE_WAIT_US);
	if (unanswered() == 0 || send_answer_count() >= Min(Max(1, brisk - brisk / 5), settle_most))
		return settling.until;
	return Max(settling.until, oldest_answer()->answered_at + SETTLE_WAIT_US);
}

/* The suspect whose turn comes first, or NULL. */
static Job *
next_suspect(void)
{
	Job		   *next = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, send_suspects())
	{
		Job		   *job = dlist_container(Job, node, iter.cur);

		if (next == NULL || job->record_at < next->record_at)
			next = job;
	}
	return next;
}

/*
 * Providers that have all they can send for a while are not asked for, but what
 * is more urgent than that must not wait for it to go.
 */
static int64
claim_time(void)
{
	Hunger		hunger = HUNGER_FULL;
	int64		gap = CLAIM_GAP_US;

	if (jobs_bytes() >= HELD_MOST)
		return PG_INT64_MAX;
	if (may_have_work)
		hunger = outlets_hunger(capacity);
	if (hunger == HUNGER_URGENT)
		gap = CLAIM_LEAST_US;
	else if (woken && outlets_urgent_room(capacity))
		gap = CLAIM_NEWS_US;
	else if (hunger == HUNGER_FULL)
		return Max(claiming.until, outlets_room_time());
	if (unanswered() == 0)
		return claiming.until;
	return Max(claiming.until, claimed_at + gap);
}

static int64
refresh_time(void)
{
	return Max(claiming.until, refresh_soon ? refresh_soon : refreshed_at + REFRESH_US);
}

/* ------------------------------------------------------------ an exchange --- */

static void
claim_with_words(Claim *claim)
{
	dlist_iter	iter;

	claim_run(claim, jobs_cxt);
	dlist_foreach(iter, &claim->jobs)
		render_load(dlist_container(Job, node, iter.cur));
}

static void
exchange_task(void *arg)
{
	Exchange   *x = arg;
	int64		begun = ticks_us();
	int64		settled;

	if (x->settle)
		settle_run(&x->settlement);
	settled = ticks_us();
	if (x->refresh)
		outlets_refresh();
	if (x->claim)
		claim_with_words(&x->taken);
	x->settle_us = settled - begun;
	x->claim_us = ticks_us() - settled;
}

/* What a transaction cost; its parts are known when it went well. */
static void
count_time(const Exchange *x, int64 total)
{
	slot_count(worker_slot, COUNT_CLAIMS, x->taken.njobs > 0);
	slot_count(worker_slot, COUNT_SETTLES, x->settle);
	slot_count(worker_slot, COUNT_SETTLE_US, x->settle_us);
	slot_count(worker_slot, COUNT_CLAIM_US, x->claim_us);
	slot_count(worker_slot, COUNT_COMMIT_US, total - x->settle_us - x->claim_us);
}

static void
prepare_claim(Claim *claim)
{
	Size		space = HELD_MOST - Min(jobs_bytes(), HELD_MOST);

	claim->slot = slot;
	claim->boot = boot;
	claim->max = Max(1, Min((Size) notify_batch_size, space / Max(usual_size, 1)));
	outlets_fill_claim(claim, capacity);
}

static void
prepare_exchange(Exchange *x)
{
	memset(x, 0, sizeof(*x));
	dlist_init(&x->taken.jobs);
	x->settlement.slot = slot;
	x->settlement.boot = boot;
}

static void
after_settling(Settlement *settlement)
{
	slot_count(worker_slot, COUNT_SETTLED, settlement->accepted);
	slot_count(worker_slot, COUNT_REFUSED, settlement->njobs - settlement->accepted);
	slot_count(worker_slot, COUNT_SENT, settlement->sent);
	slot_count(worker_slot, COUNT_FAILED, settlement->njobs - settlement->sent);
	for (int i = 0; i < settlement->njobs; i++)
		send_answer_settled(settlement->jobs[i]);
	for (int i = 0; i < settlement->nunsent; i++)
		send_answer_settled(settlement->unsent[i]);
	if (settlement->again > 0)
		wake_workers(WORKER_PLANNER, MyDatabaseId);
	settling.failures = 0;
	settle_most = Min(SETTLE_MOST, settle_most * 2);
}

/* Follow what messages weigh: upwards at once, downwards slowly. */
static void
weigh(Claim *claim)
{
	Size		total = 0;
	dlist_iter	iter;

	if (claim->njobs == 0)
		return;
	dlist_foreach(iter, &claim->jobs)
		total += dlist_container(Job, node, iter.cur)->size;
	usual_size = Max(total / claim->njobs, usual_size - usual_size / 8);
}

static void
after_claiming(Claim *claim, int64 now)
{
	slot_count(worker_slot, COUNT_CLAIMED, claim->njobs);
	may_have_work = claim->any;
	woken = false;
	weigh(claim);
	outlets_take_claim(claim);
	claimed_at = now;
}

/* The lease has ended, so the message is not ours any more. */
static void
give_up(Job *job)
{
	ereport(LOG,
			(errmsg("the answer to message " INT64_FORMAT " could not be recorded before its lease ended",
					job->letter.message),
			 errdetail("The answer was \"%s\" (%d).", send_class_name(job->result.class),
					   job->result.code)));
	slot_count(worker_slot, COUNT_REFUSED, 1);
	send_answer_settled(job);
}

/* It could not be recorded although it was alone. */
static void
suspect(Job *job, int64 now)
{
	job->refusals++;
	job->record_at = now + worker_backoff(job->refusals, BACKOFF_LEAST, BACKOFF_MOST) * 1000;
	if (now - job->claimed_at >= (int64) notify_lease * 1000000)
		give_up(job);
	else
		send_answer_suspect(job);
}

static void
after_failure(Exchange *x, int64 now)
{
	bool		together = x->settle && (x->claim || x->refresh);

	claim_discard(&x->taken);
	worker_leave_if_dropped();
	apart = true;
	if (together)
		return;
	if (!x->settle)
	{
		set_back(&claiming, now);
		return;
	}
	if (x->suspect == NULL)
	{
		set_back(&settling, now);
		settle_most = Max(1, x->settlement.njobs / 2);
	}
	if (x->settlement.njobs == 1)
		suspect(x->settlement.jobs[0], now);
}

static void
run_exchange(Exchange *x)
{
	bool		good;
	int64		begun;
	int64		now;

	if (x->suspect)
		settle_take_one(&x->settlement, x->suspect);
	else if (x->settle)
	{
		settle_take(&x->settlement, send_answers(), settle_most);
		settle_take_unsent(&x->settlement, send_unsent(), settle_most);
	}
	if (x->claim)
		prepare_claim(&x->taken);
	pgstat_report_activity(STATE_RUNNING, "notify_pg: settling and claiming");
	begun = ticks_us();
	good = worker_transaction(exchange_task, x);
	now = ticks_us();
	count_time(x, now - begun);
	slot_count(worker_slot, COUNT_LOOPS, 1);
	unreported = true;
	if (!good)
	{
		after_failure(x, now);
		return;
	}
	if (x->settle)
		after_settling(&x->settlement);
	if (x->claim)
		after_claiming(&x->taken, now);
	if (x->refresh)
	{
		may_have_work |= outlets_open();
		refreshed_at = now;
		refresh_soon = 0;
	}
	if (x->claim || x->refresh)
	{
		claiming.failures = 0;
		apart = false;
	}
}

/* A suspect alone is due when nothing else is. */
static bool
settle_suspect_if_due(int64 now)
{
	Exchange	x;

	prepare_exchange(&x);
	x.suspect = next_suspect();
	if (x.suspect == NULL || x.suspect->record_at > now)
		return false;
	x.settle = true;
	run_exchange(&x);
	return true;
}

/* Runs what is due; false when nothing is. */
static bool
exchange_if_due(int64 now)
{
	Exchange	x;

	prepare_exchange(&x);
	x.settle = settle_time() <= now;
	x.claim = refreshed_at != 0 && claim_time() <= now;
	x.refresh = (x.claim || x.settle || unanswered() == 0) && refresh_time() <= now;
	if (!x.settle && !x.claim && !x.refresh)
		return settle_suspect_if_due(now);
	if (apart && x.settle)
		x.claim = x.refresh = false;
	else if (x.claim && !dlist_is_empty(send_answers()) && settling.until <= now && !apart)
		x.settle = true;		/* the flush is paid for */
	run_exchange(&x);
	return true;
}

/* -------------------------------------------------------------- the loop --- */

static void
report_idle(void)
{
	if (unanswered() > 0 || !unreported)
		return;
	pgstat_report_stat(true);
	unreported = false;
}

/* Until the next deadline, at most a poll; rounded up. */
static long
time_to_sleep(int64 now)
{
	int64		next = now + (int64) notify_poll_interval * 1000;
	Job		   *waiting = next_suspect();

	next = Min(next, Min(settle_time(), outlets_start_time()));
	if (waiting)
		next = Min(next, waiting->record_at);
	if (refreshed_at != 0)
		next = Min(next, claim_time());
	if (refreshed_at == 0 || refresh_soon != 0)
		next = Min(next, refresh_time());
	return (long) Max(0, (next - now + 999) / 1000);
}

static void
wait_for_something(void)
{
	WaitEvent	happened[3];

	slot_gauge(worker_slot, COUNT_IN_FLIGHT, send_in_flight());
	pgstat_report_activity(STATE_IDLE, NULL);
	report_idle();
	(void) WaitEventSetWait(events, time_to_sleep(ticks_us()), happened, lengthof(happened),
							PG_WAIT_EXTENSION);
}

/* In every round, for one that has work to do does not wait. */
static void
heed_latch(void)
{
	if (!MyLatch->is_set)
		return;
	ResetLatch(MyLatch);
	may_have_work = woken = true;
	if (unanswered() == 0 && refresh_soon == 0)
		refresh_soon = ticks_us() + REFRESH_SOON_US;
}

/* False when the dispatcher has to start anew to obey the settings. */
static bool
obey_settings(void)
{
	if (!worker_reload())
		return true;
	guard_configure(notify_allow_private_addresses);
	return notify_max_in_flight == asked_capacity;
}

static bool
pump(void)
{
	int64		begun = ticks_us();
	int64		rendered = send_render_us();
	bool		more = send_pump();

	rendered = send_render_us() - rendered;
	slot_count(worker_slot, COUNT_RENDER_US, rendered);
	slot_count(worker_slot, COUNT_WIRE_US, ticks_us() - begun - rendered);
	return more;
}

static void
dispatcher_round(void)
{
	int64		now;
	bool		more;

	MemoryContextReset(loop_cxt);
	worker_check_interrupts();
	heed_latch();
	more = pump();
	outlets_sweep();
	if (outlets_news())
	{
		wake_workers(WORKER_PLANNER, MyDatabaseId);
		wake_workers(WORKER_DISPATCHER, MyDatabaseId);
	}
	now = ticks_us();
	if (send_made_room() || now - claimed_at >= (int64) notify_poll_interval * 1000)
		may_have_work = true;
	if (exchange_if_due(now))
		pgstat_report_stat(false);
	else if (!more)
		wait_for_something();
}

/* Hear what is being answered, settle it, for a second at most, and go. */
static void
dispatcher_stop(void)
{
	int64		deadline = ticks_us() + STOP_US;

	send_finish(ticks_us() + HEAR_US);
	send_abandon();
	while (!dlist_is_empty(send_answers()) && ticks_us() < deadline && settling.failures < 3)
	{
		Exchange	x;

		MemoryContextReset(loop_cxt);
		prepare_exchange(&x);
		x.settle = true;
		run_exchange(&x);
	}
	proc_exit(0);
}

void
notify_dispatcher_main(Datum main_arg)
{
	WorkerOrder order;

	worker_order(main_arg, &order);
	worker_connect(&order, WORKER_PATIENT, DISPATCHER_SLICE_MS);
	worker_pin("synchronous_commit", "on");
	worker_pin("lock_timeout", "1s");
	slot = order.number;
	gates_begin(slot);
	boot = GetCurrentTimestamp();
	set_up_memory();
	set_up_network();
	rescue();
	while (!worker_stopping() && obey_settings())
		dispatcher_round();
	dispatcher_stop();
}
