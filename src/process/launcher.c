/*
 * launcher.c
 *		The one worker that starts all the others.
 *
 * Each pass compares what should run with what does and closes the gap:
 *
 *		scan	which databases can have workers (pg_database)
 *		collect	which workers have gone, and what they found out
 *		dismiss	workers that should not be there
 *		want	give a slot to every worker that should be
 *		start	those whose time has come, probes included
 *
 * Where the extension is of another release than the library, the workers' slots
 * are given but wait: they say why, as the log does once.  ALTER EXTENSION
 * UPDATE asks for a fresh look at its commit (hooks.c).
 *
 * A pass runs at every wake-up (a worker attached or left, a commit concerned
 * the extension or a database) and every PASS_MS in any case.
 *
 * All state that must survive the launcher is in the slots (shmem.h).  Its own
 * memory holds a line per database (when to probe it next) and the handles of
 * workers it started itself; a successor finds running workers by their slots
 * and hears of their exit from slot_detach().
 *
 * The launcher is connected to no database, so it reads only shared catalogs.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "guc.h"
#include "process/launcher.h"
#include "process/worker.h"
#include "ticks.h"

#define PASS_MS				3000	/* between looks at pg_database */
#define REPROBE_MS			60000	/* a database without the extension */
#define RESTART_LEAST		500
#define RESTART_MOST		30000
#define LASTING_MS			10000	/* a worker that lived so long did not fail */
#define ATTACH_MS			15000	/* a start nobody answers for is given up */
#define NO_WORKER_MS		1000	/* until the next try for a free worker */
#define MAX_PROBES			3

typedef struct DatabaseLine
{
	Oid			oid;			/* hash key */
	bool		seen;			/* in this pass */
	ExtensionFinding finding;
	bool		asked;			/* someone asks for a fresh look */
	bool		told;			/* the log has that it is of another release */
	char		why[WORKER_ERROR_SIZE]; /* in words */
	int			failures;		/* probes in a row without an answer */
	int64		probe_at;		/* in ticks */
} DatabaseLine;

static HTAB *databases = NULL;
static BackgroundWorkerHandle **handles = NULL;
static Oid	worker_role = InvalidOid;
static bool shortage_logged = false;

static const char *const worker_names[] = {"launcher", "probe", "planner", "dispatcher"};
static const char *const worker_functions[] = {
	"notify_launcher_main", "notify_probe_main", "notify_planner_main",
	"notify_dispatcher_main"
};

/* ---------------------------------------------------------------- scan --- */

/* Whether workers may run there at all. */
static bool
may_hold_workers(Form_pg_database database)
{
	return database->datallowconn && !database->datistemplate &&
		database->datconnlimit != DATCONNLIMIT_INVALID_DB;
}

static void
see_database(Oid oid)
{
	bool		found;
	DatabaseLine *line = hash_search(databases, &oid, HASH_ENTER, &found);

	if (!found)
	{
		memset(line, 0, sizeof(*line));
		line->oid = oid;
	}
	line->seen = true;
}

static void
scan_databases(void)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (may_hold_workers(database))
			see_database(database->oid);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
}

static void
look_around(void)
{
	HASH_SEQ_STATUS status;
	DatabaseLine *line;

	hash_seq_init(&status, databases);
	while ((line = hash_seq_search(&status)) != NULL)
		line->seen = false;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	scan_databases();
	worker_role = get_role_oid(NOTIFY_WORKER_ROLE, true);
	CommitTransactionCommand();
	hash_seq_init(&status, databases);
	while ((line = hash_seq_search(&status)) != NULL)
		if (!line->seen)
			hash_search(databases, &line->oid, HASH_REMOVE, NULL);
}

static DatabaseLine *
find_database(Oid oid)
{
	return hash_search(databases, &oid, HASH_FIND, NULL);
}

/* The letter box: databases in which something may have changed. */
static void
read_requests(void)
{
	Oid			requests[MAX_PROBE_REQUESTS];
	bool		every;
	int			n = take_probe_requests(requests, MAX_PROBE_REQUESTS, &every);
	HASH_SEQ_STATUS status;
	DatabaseLine *line;

	for (int i = 0; i < n; i++)
		if ((line = find_database(requests[i])) != NULL)
			line->asked = true;
	if (!every)
		return;
	hash_seq_init(&status, databases);
	while ((line = hash_seq_search(&status)) != NULL)
		line->asked = true;
}

/* ------------------------------------------------------------- collect --- */

static bool
is_live(const WorkerInfo *info)
{
	return info->state == WORKER_STARTING || info->state == WORKER_RUNNING;
}

/* Whether a worker went before it could attach.  One that attached detaches. */
static bool
is_lost(int index, const WorkerInfo *info, int64 now)
{
	pid_t		pid;

	if (info->state != WORKER_STARTING)
		return false;
	if (handles[index])
		return GetBackgroundWorkerPid(handles[index], &pid) == BGWH_STOPPED;
	return now - info->launched_at >= ATTACH_MS;
}

static void
learn_from_probe(DatabaseLine *line, const WorkerInfo *info, int64 now)
{
	long		delay = REPROBE_MS;

	line->finding = info->extension;
	line->failures = info->extension == EXTENSION_UNKNOWN ? line->failures + 1 : 0;
	if (line->failures > 0)
		delay = worker_backoff(line->failures, RESTART_LEAST, RESTART_MOST);
	line->probe_at = now + delay;
	strlcpy(line->why, info->last_error, sizeof(line->why));
	if (line->finding != EXTENSION_OTHER_RELEASE)
		line->told = false;
}

/*
 * What a worker that has gone tells about its database.  Whatever a planner or
 * a dispatcher left for, it is replaced only after a fresh look: the extension
 * may have been the reason.
 */
static void
learn(const WorkerInfo *info, int64 now)
{
	DatabaseLine *line = find_database(info->database);

	if (line == NULL)
		return;
	if (info->kind == WORKER_PROBE)
		learn_from_probe(line, info, now);
	else
	{
		line->finding = EXTENSION_UNKNOWN;
		line->asked = true;
	}
}

/* One that lasted starts again at once; one that did not, later and later. */
static void
plan_restart(int index, const WorkerInfo *info, int64 now)
{
	bool		lasted = info->started_at != 0 &&
		now - info->launched_at >= LASTING_MS;
	int			failures = lasted ? 0 : info->failures + 1;
	long		delay = worker_backoff(failures, RESTART_LEAST, RESTART_MOST);

	slot_postpone(index, failures, now + delay);
}

static void
collect(void)
{
	int64		now = ticks_ms();

	for (int i = 1; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;

		slot_read(i, &info);
		if (info.state != WORKER_EXITED &&
			!(is_live(&info) && is_lost(i, &info, now)))
			continue;
		slot_read(i, &info);	/* it may have attached and left in between */
		if (handles[i])
			pfree(handles[i]);
		handles[i] = NULL;
		learn(&info, now);
		if (info.kind == WORKER_PROBE)
			slot_free(i);
		else
			plan_restart(i, &info, now);
	}
}

/* ------------------------------------------------------------- dismiss --- */

static bool
is_wanted(const WorkerInfo *info)
{
	DatabaseLine *line = find_database(info->database);

	if (line == NULL || quiet_now(info->database))
		return false;
	if (info->kind == WORKER_PROBE)
		return true;
	return line->finding != EXTENSION_ABSENT &&
		info->number <= (info->kind == WORKER_DISPATCHER ? notify_dispatchers : 0);
}

static void
dismiss(void)
{
	for (int i = 1; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;

		slot_read(i, &info);
		if (info.state == WORKER_FREE || is_wanted(&info))
			continue;
		if (info.state == WORKER_WAITING)
			slot_free(i);
		else if (handles[i])
			TerminateBackgroundWorker(handles[i]);
		else if (info.pid != 0)
			kill(info.pid, SIGTERM);
	}
}

/* ------------------------------------------------------- want and start --- */

static int
want(WorkerKind kind, Oid database, int number)
{
	int			index = slot_find(kind, database, number);

	if (index >= 0)
		return index;
	index = slot_give(kind, database, number);
	if (index < 0)
		slot_error(worker_slot, "no slot left for another worker; raise max_worker_processes");
	return index;
}

/* One at a time: an answer older than the question is asked for again. */
static bool
probe_due(DatabaseLine *line, int64 now)
{
	return line->finding != EXTENSION_PRESENT &&
		(line->asked || line->probe_at <= now) &&
		slot_find(WORKER_PROBE, line->oid, 0) < 0;
}

static int
count_probes(void)
{
	int			probes = 0;

	for (int i = 1; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;

		slot_read(i, &info);
		if (info.state != WORKER_FREE && info.kind == WORKER_PROBE)
			probes++;
	}
	return probes;
}

static void
want_in_database(DatabaseLine *line)
{
	want(WORKER_PLANNER, line->oid, 0);
	for (int number = 1; number <= notify_dispatchers; number++)
		want(WORKER_DISPATCHER, line->oid, number);
}

/* Slots that say what they wait for. */
static void
want_later(DatabaseLine *line)
{
	want_in_database(line);
	for (int i = 1; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;

		slot_read(i, &info);
		if (info.state == WORKER_WAITING && info.kind != WORKER_PROBE &&
			info.database == line->oid && strcmp(info.last_error, line->why) != 0)
			slot_error(i, line->why);
	}
	if (!line->told)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("notify_pg plans and sends nothing in database %u", line->oid),
				 errdetail_internal("%s.", line->why)));
	line->told = true;
}

static void
want_for(DatabaseLine *line, int *probes, int64 now)
{
	if (quiet_now(line->oid))
	{
		line->finding = EXTENSION_UNKNOWN;
		line->asked = true;		/* look again afterwards */
		return;
	}
	if (line->finding == EXTENSION_PRESENT)
	{
		line->asked = false;
		want_in_database(line);
		return;
	}
	if (line->finding == EXTENSION_OTHER_RELEASE)
		want_later(line);
	if (*probes < MAX_PROBES && probe_due(line, now) &&
		want(WORKER_PROBE, line->oid, 0) >= 0)
	{
		line->asked = false;
		(*probes)++;
	}
}

static void
want_workers(void)
{
	int64		now = ticks_ms();
	int			probes = count_probes();
	HASH_SEQ_STATUS status;
	DatabaseLine *line;

	hash_seq_init(&status, databases);
	while ((line = hash_seq_search(&status)) != NULL)
		want_for(line, &probes, now);
}

static void
describe_worker(BackgroundWorker *worker, int index, const WorkerInfo *info,
				uint64 generation)
{
	WorkerOrder order;

	memset(&order, 0, sizeof(order));
	order.generation = generation;
	order.database = info->database;
	order.role = info->kind == WORKER_PROBE ? InvalidOid : worker_role;
	order.number = info->number;

	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_main_arg = Int32GetDatum(index);
	worker->bgw_notify_pid = MyProcPid;
	StaticAssertStmt(sizeof(order) <= BGW_EXTRALEN, "bgw_extra is too small");
	memcpy(worker->bgw_extra, &order, sizeof(order));
	snprintf(worker->bgw_library_name, sizeof(worker->bgw_library_name), "notify_pg");
	snprintf(worker->bgw_function_name, sizeof(worker->bgw_function_name), "%s",
			 worker_functions[info->kind]);
	snprintf(worker->bgw_type, BGW_MAXLEN, "notify_pg %s", worker_names[info->kind]);
	snprintf(worker->bgw_name, BGW_MAXLEN, "notify_pg %s for database %u",
			 worker_names[info->kind], info->database);
}

/* No process to be had: say so once in the log, always in the slots. */
static void
note_shortage(int index, const WorkerInfo *info, int64 now)
{
	char		text[WORKER_ERROR_SIZE];

	snprintf(text, sizeof(text), "no background worker is free for the %s of database %u; raise max_worker_processes",
			 worker_names[info->kind], info->database);
	slot_error(index, text);
	slot_error(worker_slot, text);
	slot_postpone(index, info->failures, now + NO_WORKER_MS);
	if (!shortage_logged)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("notify_pg could not start a %s for database %u",
						worker_names[info->kind], info->database),
				 errdetail("No background worker is free."),
				 errhint("Raise max_worker_processes; notify_pg needs two and one for each database that uses it, and one for each dispatcher.")));
	shortage_logged = true;
}

static bool
start(int index, const WorkerInfo *info, int64 now)
{
	BackgroundWorker worker;

	if (info->kind != WORKER_PROBE && !OidIsValid(worker_role))
	{
		slot_error(index, "role \"" NOTIFY_WORKER_ROLE "\" does not exist");
		slot_postpone(index, info->failures, now + NO_WORKER_MS);
		return true;
	}
	describe_worker(&worker, index, info, slot_begin_start(index));
	if (RegisterDynamicBackgroundWorker(&worker, &handles[index]))
		return true;
	handles[index] = NULL;
	note_shortage(index, info, now);
	return false;
}

static bool
planner_lives(Oid database)
{
	WorkerInfo	planner;
	int			index = slot_find(WORKER_PLANNER, database, 0);

	if (index < 0)
		return false;
	slot_read(index, &planner);
	return is_live(&planner);
}

/*
 * Probes at any time; others only where the extension was seen to be, and the
 * planner first: a dispatcher alone would have nothing to do.
 */
static bool
may_start(const WorkerInfo *info)
{
	DatabaseLine *line = find_database(info->database);

	if (info->state != WORKER_WAITING || line == NULL)
		return false;
	if (info->kind == WORKER_PROBE)
		return true;
	return line->finding == EXTENSION_PRESENT &&
		(info->kind == WORKER_PLANNER || planner_lives(info->database));
}

/* Returns the time the next start is due, or 0. */
static int64
start_workers(void)
{
	int64		now = ticks_ms();
	int64		next = 0;
	bool		enough = true;

	for (int i = 1; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;

		slot_read(i, &info);
		if (!may_start(&info))
			continue;
		if (info.restart_at <= now)
			enough &= start(i, &info, now);
		else if (next == 0 || info.restart_at < next)
			next = info.restart_at;
	}
	if (enough && next == 0)
		shortage_logged = false;
	return next;
}

/* -------------------------------------------------------------- the loop --- */

static long
launcher_pass(void)
{
	int64		next;

	look_around();
	read_requests();
	collect();
	dismiss();
	want_workers();
	next = start_workers();
	slot_count(worker_slot, COUNT_LOOPS, 1);
	if (next == 0)
		return PASS_MS;
	return Max(1, Min(PASS_MS, next - ticks_ms()));
}

static void
launcher_memory(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(DatabaseLine)};

	databases = hash_create("notify_pg databases", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	handles = MemoryContextAllocZero(TopMemoryContext,
									 shmem_slot_count() * sizeof(*handles));
}

void
notify_launcher_main(Datum main_arg)
{
	WorkerInfo	info;

	BackgroundWorkerUnblockSignals();
	slot_read(0, &info);
	worker_attach(0, info.generation);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	worker_handle_signals(WORKER_IMPATIENT);
	MemoryContextSwitchTo(TopMemoryContext);
	launcher_memory();
	while (!worker_stopping())
	{
		worker_reload();
		worker_sleep(launcher_pass());
	}
	proc_exit(1);				/* 0 would mean: never again */
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "notify_pg");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "notify_launcher_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "notify_pg launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "notify_pg launcher");
	RegisterBackgroundWorker(&worker);
}
