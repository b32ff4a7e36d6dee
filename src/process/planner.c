/*
 * planner.c
 *		The worker that turns events into messages; one per database.
 *
 * The work itself is notify._plan() (src/plan/step.c), one transaction a call.
 * This file says when: at a writer's commit (latch), when the next schedule
 * falls due, and every poll_interval in any case; again at once while there is
 * more.  Once a minute notify._maintain() makes and drops partitions,
 * notify._look_at_queries() looks for rules that broke meanwhile, and
 * notify._reroute() moves what a provider left behind, some in each round; while
 * a provider's breaker is open, at every round.
 *
 * Planned rows are only derived from events, so a crash loses nothing by
 * synchronous_commit = off: the batch is planned again.  Dispatchers act on
 * them only after a flushed commit of their own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dispatch/gate.h"
#include "guc.h"
#include "process/nice.h"
#include "process/planner.h"
#include "process/worker.h"
#include "statement.h"
#include "ticks.h"

#define MAINTAIN_MS		60000
#define REROUTE_BATCH	1000
#define CLOCK_SET_MS	1000	/* the wall clock strayed more than it can by itself */
#define BACKOFF_LEAST	1000
#define BACKOFF_MOST	30000

/* When notify._maintain() ran last, by both clocks; 0: never */
typedef struct Upkeep
{
	TimestampTz at;
	int64		ticks;
	int64		set_ms;			/* how far the clock was set, not acted upon yet */
	bool		stranded;		/* messages may have a provider that is off */
	int64		moved;			/* to another one, just now */
} Upkeep;

/* What one call of notify._plan() answered. */
typedef struct PlanResult
{
	int32		planned;
	int32		readied;
	bool		more;
	bool		has_next_due;
	TimestampTz next_due;		/* in notify.now() time */
} PlanResult;

static Datum
column(const char *name, bool *isnull)
{
	int			number = SPI_fnumber(SPI_tuptable->tupdesc, name);

	if (number <= 0)
		elog(ERROR, "notify._plan() returns no column \"%s\"", name);
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number,
						 isnull);
}

static void
plan_once(void *arg)
{
	static SPIPlanPtr plan = NULL;
	PlanResult *result = arg;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(notify_batch_size)};
	bool		isnull;

	memset(result, 0, sizeof(*result));
	statement_plan(&plan, "SELECT * FROM notify._plan($1)", 1, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "notify._plan() did not return one row");
	result->planned = DatumGetInt32(column("planned", &isnull));
	result->readied = DatumGetInt32(column("readied", &isnull));
	result->more = DatumGetBool(column("more", &isnull));
	result->next_due = DatumGetTimestampTz(column("next_due", &isnull));
	result->has_next_due = !isnull;
}

static void
run(SPIPlanPtr *plan, const char *query, int nargs, Oid *types, Datum *values)
{
	statement_plan(plan, query, nargs, types);
	if (SPI_execute_plan(*plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "failed: %s", query);
}

/* With how far the clock was set, when it was */
static void
maintain_once(void *arg)
{
	static SPIPlanPtr clock_plan = NULL;
	static SPIPlanPtr plan = NULL;
	int64	   *set_ms = arg;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(*set_ms)};

	if (*set_ms != 0)
		run(&clock_plan, "SELECT notify._clock_was_set($1)", 1, types, values);
	run(&plan, "SELECT notify._maintain()", 0, NULL, NULL);
}

static void
look_once(void *arg)
{
	static SPIPlanPtr plan = NULL;

	run(&plan, "SELECT notify._look_at_queries()", 0, NULL, NULL);
}

static void
reroute_once(void *arg)
{
	static SPIPlanPtr plan = NULL;
	Upkeep	   *upkeep = arg;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(REROUTE_BATCH)};
	bool		isnull;

	run(&plan, "SELECT notify._reroute($1) AS moved", 1, types, values);
	upkeep->moved = DatumGetInt64(column("moved", &isnull));
	upkeep->stranded = upkeep->moved == REROUTE_BATCH;
}

/* Moved messages are the dispatchers' once that is committed. */
static bool
reroute(Upkeep *upkeep)
{
	upkeep->moved = 0;
	if (!worker_transaction(reroute_once, upkeep))
		return false;
	if (upkeep->moved > 0)
		wake_workers(WORKER_DISPATCHER, MyDatabaseId);
	return true;
}

/* Count, and hand over to the dispatchers.  Only after the commit. */
static void
publish(const PlanResult *result)
{
	slot_count(worker_slot, COUNT_LOOPS, 1);
	slot_count(worker_slot, COUNT_PLANNED, result->planned);
	slot_count(worker_slot, COUNT_READIED, result->readied);
	if (result->readied > 0)
		wake_workers(WORKER_DISPATCHER, MyDatabaseId);
}

/* How long to sleep: until the next schedule, but no longer than a poll. */
static long
nap(const PlanResult *result)
{
	long		due;

	if (result->more)
		return 0;
	if (!result->has_next_due)
		return notify_poll_interval;
	due = TimestampDifferenceMilliseconds(notify_now(), result->next_due);
	return Max(1, Min(due, notify_poll_interval));
}

/* How far the wall clock was set since then; 0 when it only went on. */
static int64
clock_set_ms(const Upkeep *since, const Upkeep *now)
{
	int64		set = (now->at - since->at) / 1000 - (now->ticks - since->ticks);

	return since->at == 0 || llabs(set) < CLOCK_SET_MS ? 0 : set;
}

/* False when upkeep was due and failed. */
static bool
maintain(Upkeep *last)
{
	Upkeep		now = {GetCurrentTimestamp(), ticks_ms()};
	int64		set = clock_set_ms(last, &now);

	if (last->at != 0 && set == 0 && now.ticks - last->ticks < MAINTAIN_MS)
		return true;
	if (set != 0)
		ereport(LOG,
				(errmsg("the clock was set by " INT64_FORMAT " ms; claims of messages get a whole lease from now on",
						set)));
	last->at = now.at;
	last->ticks = now.ticks;
	last->set_ms += set;
	if (!worker_transaction(maintain_once, &last->set_ms))
		return false;
	last->set_ms = 0;
	last->stranded = true;
	return worker_transaction(look_once, NULL);
}

/* One round; returns how long to sleep. */
static long
planner_round(Upkeep *upkeep, int *failures)
{
	PlanResult	result;
	bool		good;
	int64		begun;

	pgstat_report_activity(STATE_RUNNING, "notify_pg: planning");
	good = maintain(upkeep);
	if (upkeep->stranded || gates_any_open())
		good &= reroute(upkeep);
	begun = ticks_us();
	if (worker_transaction(plan_once, &result))
		publish(&result);
	else
		good = false;
	slot_count(worker_slot, COUNT_PLAN_US, ticks_us() - begun);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(!good || !result.more);
	*failures = good ? 0 : *failures + 1;
	if (good)
		return upkeep->stranded ? 0 : nap(&result);
	worker_leave_if_dropped();
	return worker_backoff(*failures, BACKOFF_LEAST, BACKOFF_MOST);
}

/* After an error, wake-ups do not shorten the wait. */
static void
planner_rest(long timeout_ms, int failures)
{
	int64		until = ticks_ms() + timeout_ms;

	do
	{
		worker_sleep(timeout_ms);
		timeout_ms = until - ticks_ms();
	} while (failures > 0 && timeout_ms > 0 && !worker_stopping());
}

void
notify_planner_main(Datum main_arg)
{
	WorkerOrder order;
	Upkeep		upkeep = {0};
	int			failures = 0;

	worker_order(main_arg, &order);
	worker_connect(&order, WORKER_IMPATIENT, PLANNER_SLICE_MS);
	worker_pin("synchronous_commit", "off");
	while (!worker_stopping())
	{
		long		timeout_ms;

		worker_reload();
		timeout_ms = planner_round(&upkeep, &failures);
		planner_rest(timeout_ms, failures);
	}
	proc_exit(0);
}
