/*
 * shmem.h
 *		What the processes of notify_pg share: a slot per worker, the launcher's
 *		letter box, and the databases that are being kept quiet.
 *
 * Locking protocol
 * ----------------
 * Two kinds of spinlock, never both held, nothing that can raise, allocate or
 * wait done under either (the commit callback takes them when an error would
 * be a PANIC):
 *
 * ProcessShared.mutex	guards the requests and the quiet list.
 * WorkerSlot.mutex		guards every plain field of that slot.
 *
 * Only the launcher gives a slot away (kind, database, number) or takes it
 * back, and only it raises the generation, when it asks the postmaster for a
 * new process.  A worker owns its slot from slot_attach(), which refuses any
 * generation but the current one, until slot_detach() at its exit.  A worker
 * writes pid, latch, started_at, extension, the error fields and the counters
 * of its own slot and nothing else.  Counters are atomics with one writer.
 *
 * latest_ms is an atomic that every session moves.
 *
 * slots[0] is the launcher's own and is never given away.
 *
 * "latch" points into shared memory (a PGPROC's latch), so it is valid in all
 * processes; after a worker's exit it may belong to another process, and
 * setting it is then a harmless early wake-up.
 *
 * States: FREE -> WAITING (wanted, to be started at restart_at) -> STARTING
 * (asked for) -> RUNNING (attached) -> EXITED (the launcher has yet to look)
 * -> WAITING or FREE.
 */
#ifndef NOTIFY_PROCESS_SHMEM_H
#define NOTIFY_PROCESS_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"

typedef enum WorkerKind
{
	WORKER_LAUNCHER,
	WORKER_PROBE,
	WORKER_PLANNER,
	WORKER_DISPATCHER
} WorkerKind;

typedef enum WorkerState
{
	WORKER_FREE,
	WORKER_WAITING,
	WORKER_STARTING,
	WORKER_RUNNING,
	WORKER_EXITED
} WorkerState;

/* What a worker found out about its database. */
typedef enum ExtensionFinding
{
	EXTENSION_UNKNOWN,
	EXTENSION_PRESENT,
	EXTENSION_OTHER_RELEASE,	/* last_error says which */
	EXTENSION_ABSENT
} ExtensionFinding;

typedef enum WorkerCounter
{
	COUNT_LOOPS,
	COUNT_PLANNED,
	COUNT_READIED,
	COUNT_CLAIMED,
	COUNT_SENT,
	COUNT_SETTLED,
	COUNT_REFUSED,
	COUNT_FAILED,
	COUNT_IN_FLIGHT,			/* a gauge */
	COUNT_MAX_IN_FLIGHT,		/* a gauge: the limit in force */
	COUNT_CLAIMS,				/* claims that took something */
	COUNT_SETTLES,				/* settlements */
	COUNT_PLAN_US,				/* from here on: microseconds spent */
	COUNT_CLAIM_US,
	COUNT_SETTLE_US,
	COUNT_COMMIT_US,
	COUNT_RENDER_US,
	COUNT_WIRE_US,
	COUNT_KINDS
} WorkerCounter;

#define WORKER_ERROR_SIZE	256

/* The plain fields, copied as a whole to look at them without the lock. */
typedef struct WorkerInfo
{
	WorkerState state;
	WorkerKind	kind;
	Oid			database;
	int			number;			/* 1 .. dispatchers; 0 for the other kinds */
	uint64		generation;
	int64		launched_at;	/* in ticks */
	int64		restart_at;		/* in ticks */
	int			failures;		/* starts in a row that did not last */
	int			pid;			/* 0 when not attached */
	Latch	   *latch;
	TimestampTz started_at;
	ExtensionFinding extension;
	TimestampTz last_error_at;	/* 0 when none */
	char		last_error[WORKER_ERROR_SIZE];
} WorkerInfo;

typedef struct WorkerSlot
{
	slock_t		mutex;
	WorkerInfo	info;
	pg_atomic_uint64 counters[COUNT_KINDS];
} WorkerSlot;

extern void shmem_install(void);
extern bool shmem_available(void);
extern int	shmem_slot_count(void);

/*
 * The latest millisecond that any session made an id in: "ms", or what was given
 * before if that is later, but by less than "ahead".  next: the one after it, for
 * all.  Without shared memory it is "ms".
 */
extern int64 shared_latest_ms(int64 ms, int64 ahead, bool next);

/* slots, by index */
extern void slot_read(int index, WorkerInfo *copy);
extern uint64 slot_counter(int index, WorkerCounter counter);
extern void slot_error(int index, const char *message);
extern void slot_count(int index, WorkerCounter counter, int64 by);
extern void slot_gauge(int index, WorkerCounter counter, int64 value);

/* the launcher's side */
extern int	slot_find(WorkerKind kind, Oid database, int number);
extern int	slot_give(WorkerKind kind, Oid database, int number);
extern void slot_free(int index);
extern uint64 slot_begin_start(int index);
extern void slot_postpone(int index, int failures, int64 restart_at);

/* the worker's side */
extern bool slot_attach(int index, uint64 generation);
extern void slot_detach(int index);
extern void slot_report_extension(int index, ExtensionFinding finding);

/* waking one another; safe without shared memory and in commit callbacks */
extern void wake_workers(WorkerKind kind, Oid database);
extern void wake_launcher(void);

/* the launcher's letter box; InvalidOid stands for every database */
extern void request_probe(Oid database);
extern int	take_probe_requests(Oid *databases, int size, bool *every);

/* databases in which no worker may run while a backend's transaction lasts */
extern bool quiet_begin(Oid database);
extern void quiet_end(void);
extern bool quiet_now(Oid database);

#define MAX_PROBE_REQUESTS	32

#endif							/* NOTIFY_PROCESS_SHMEM_H */
