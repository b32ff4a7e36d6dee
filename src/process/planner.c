/*
 * planner.c
 *		The worker that turns events into messages; one per database.
 *
 * The work itself is notify._plan() in sql/plan.sql, one transaction a call.
 * This file says when: at a writer's commit (latch), when the next schedule
 * falls due, and every poll_interval in any case; again at once while there is
 * more.  Once a minute notify._maintain() makes and drops partitions, and
 * notify._look_at_queries() looks for rules that broke meanwhile.
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
#include "guc.h"
#include "process/planner.h"
#include "process/worker.h"

#define MAINTAIN_MS		60000
#define BACKOFF_LEAST	1000
#define BACKOFF_MOST	30000

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
	worker_plan(&plan, "SELECT * FROM notify._plan($1)", 1, types);
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
maintain_once(void *arg)
{
	static SPIPlanPtr plan = NULL;

	worker_plan(&plan, "SELECT notify._maintain()", 0, NULL);
	if (SPI_execute_plan(plan, NULL, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._maintain() failed");
}

static void
look_once(void *arg)
{
	static SPIPlanPtr plan = NULL;

	worker_plan(&plan, "SELECT notify._look_at_queries()", 0, NULL);
	if (SPI_execute_plan(plan, NULL, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._look_at_queries() failed");
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

/* True when notify._maintain() need not run for a while. */
static bool
maintain(TimestampTz *last)
{
	TimestampTz now = GetCurrentTimestamp();

	if (*last != 0 && now >= *last &&
		!TimestampDifferenceExceeds(*last, now, MAINTAIN_MS))
		return true;
	*last = now;
	return worker_transaction(maintain_once, NULL) && worker_transaction(look_once, NULL);
}

/* One round; returns how long to sleep. */
static long
planner_round(TimestampTz *maintained, int *failures)
{
	PlanResult	result;
	bool		good;
	TimestampTz begun;

	pgstat_report_activity(STATE_RUNNING, "notify_pg: planning");
	good = maintain(maintained);
	begun = GetCurrentTimestamp();
	if (worker_transaction(plan_once, &result))
		publish(&result);
	else
		good = false;
	slot_count(worker_slot, COUNT_PLAN_US, Max(0, GetCurrentTimestamp() - begun));
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(!good || !result.more);
	*failures = good ? 0 : *failures + 1;
	if (good)
		return nap(&result);
	worker_leave_if_dropped();
	return worker_backoff(*failures, BACKOFF_LEAST, BACKOFF_MOST);
}

/* After an error, wake-ups do not shorten the wait. */
static void
planner_rest(long timeout_ms, int failures)
{
	TimestampTz until;

	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	do
	{
		worker_sleep(timeout_ms);
		timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	} while (failures > 0 && timeout_ms > 0 && !worker_stopping());
}

void
notify_planner_main(Datum main_arg)
{
	WorkerOrder order;
	TimestampTz maintained = 0;
	int			failures = 0;

	worker_order(main_arg, &order);
	worker_connect(&order, WORKER_IMPATIENT);
	worker_pin("synchronous_commit", "off");
	while (!worker_stopping())
	{
		long		timeout_ms;

		worker_reload();
		timeout_ms = planner_round(&maintained, &failures);
		planner_rest(timeout_ms, failures);
	}
	proc_exit(0);
}
