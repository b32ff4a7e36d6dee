/*
 * shmem.c
 *		The shared memory of notify_pg's processes.  The locking protocol and the
 *		states of a slot are in shmem.h.
 *
 * Without shared_preload_libraries there is no shared memory: shmem_available()
 * is false, there are no slots, and waking anyone does nothing.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "process/shmem.h"
#include "ticks.h"

#define MAX_QUIET	64

/* "pid" wants no worker in "database" until its transaction ends. */
typedef struct QuietEntry
{
	Oid			database;
	int			pid;			/* 0: the entry is free */
} QuietEntry;

typedef struct ProcessShared
{
	slock_t		mutex;
	int			nrequests;
	bool		every_database;
	Oid			requests[MAX_PROBE_REQUESTS];
	QuietEntry	quiet[MAX_QUIET];
	pg_atomic_uint64 latest_ms;
	int			nslots;
	WorkerSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} ProcessShared;

static ProcessShared *shared = NULL;
static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

/*
 * More slots than workers can run, so that what is wanted and cannot start
 * has a place to say so.
 */
static int
slots_wanted(void)
{
	return 64 + 4 * max_worker_processes;
}

static Size
shared_size(void)
{
	return add_size(offsetof(ProcessShared, slots),
					mul_size(slots_wanted(), sizeof(WorkerSlot)));
}

static void
shared_request(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(shared_size());
}

static void
slot_initialize(WorkerSlot *slot)
{
	SpinLockInit(&slot->mutex);
	for (int i = 0; i < COUNT_KINDS; i++)
		pg_atomic_init_u64(&slot->counters[i], 0);
}

static void
shared_startup(void)
{
	bool		found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("notify_pg", shared_size(), &found);
	if (!found)
	{
		memset(shared, 0, shared_size());
		SpinLockInit(&shared->mutex);
		pg_atomic_init_u64(&shared->latest_ms, 0);
		shared->nslots = slots_wanted();
		for (int i = 0; i < shared->nslots; i++)
			slot_initialize(&shared->slots[i]);
		shared->slots[0].info.kind = WORKER_LAUNCHER;
		shared->slots[0].info.state = WORKER_WAITING;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init while preloading. */
void
shmem_install(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = shared_request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = shared_startup;
}

bool
shmem_available(void)
{
	return shared != NULL;
}

int
shmem_slot_count(void)
{
	return shared ? shared->nslots : 0;
}

int64
shared_latest_ms(int64 ms, int64 ahead, bool next)
{
	uint64		latest;
	int64		wanted;

	if (shared == NULL)
		return ms;
	latest = pg_atomic_read_u64(&shared->latest_ms);
	do
	{
		wanted = (int64) latest > ms && (int64) latest - ms < ahead ? (int64) latest : ms;
		wanted += next ? 1 : 0;
	} while (wanted != (int64) latest &&
			 !pg_atomic_compare_exchange_u64(&shared->latest_ms, &latest, wanted));
	return wanted;
}

void
slot_read(int index, WorkerInfo *copy)
{
	WorkerSlot *slot = &shared->slots[index];

	SpinLockAcquire(&slot->mutex);
	*copy = slot->info;
	SpinLockRelease(&slot->mutex);
}

uint64
slot_counter(int index, WorkerCounter counter)
{
	return pg_atomic_read_u64(&shared->slots[index].counters[counter]);
}

void
slot_count(int index, WorkerCounter counter, int64 by)
{
	if (by != 0)
		pg_atomic_fetch_add_u64(&shared->slots[index].counters[counter], by);
}

void
slot_gauge(int index, WorkerCounter counter, int64 value)
{
	pg_atomic_write_u64(&shared->slots[index].counters[counter], value);
}

void
slot_error(int index, const char *message)
{
	WorkerSlot *slot = &shared->slots[index];
	TimestampTz now = GetCurrentTimestamp();
	char		text[WORKER_ERROR_SIZE];
	int			length = pg_mbcliplen(message, strlen(message), sizeof(text) - 1);

	memcpy(text, message, length);
	memset(text + length, 0, sizeof(text) - length);
	SpinLockAcquire(&slot->mutex);
	memcpy(slot->info.last_error, text, sizeof(text));
	slot->info.last_error_at = now;
	SpinLockRelease(&slot->mutex);
}

/* The slot of that worker, or -1.  For the launcher, who alone gives slots. */
int
slot_find(WorkerKind kind, Oid database, int number)
{
	for (int i = 1; i < shared->nslots; i++)
	{
		WorkerInfo *info = &shared->slots[i].info;

		if (info->state != WORKER_FREE && info->kind == kind &&
			info->database == database && info->number == number)
			return i;
	}
	return -1;
}

/* A slot for a new worker, in state WAITING and due at once; -1 if none is free. */
int
slot_give(WorkerKind kind, Oid database, int number)
{
	for (int i = 1; i < shared->nslots; i++)
	{
		WorkerSlot *slot = &shared->slots[i];
		uint64		generation = slot->info.generation;

		if (slot->info.state != WORKER_FREE)
			continue;
		for (int c = 0; c < COUNT_KINDS; c++)
			pg_atomic_write_u64(&slot->counters[c], 0);
		SpinLockAcquire(&slot->mutex);
		memset(&slot->info, 0, sizeof(slot->info));
		slot->info.generation = generation;
		slot->info.state = WORKER_WAITING;
		slot->info.kind = kind;
		slot->info.database = database;
		slot->info.number = number;
		SpinLockRelease(&slot->mutex);
		return i;
	}
	return -1;
}

void
slot_free(int index)
{
	WorkerSlot *slot = &shared->slots[index];

	SpinLockAcquire(&slot->mutex);
	slot->info.state = WORKER_FREE;
	slot->info.database = InvalidOid;
	slot->info.generation++;
	SpinLockRelease(&slot->mutex);
}

/* The launcher is about to ask for a process; returns the new generation. */
uint64
slot_begin_start(int index)
{
	WorkerSlot *slot = &shared->slots[index];
	int64		now = ticks_ms();
	uint64		generation;

	SpinLockAcquire(&slot->mutex);
	generation = ++slot->info.generation;
	slot->info.state = WORKER_STARTING;
	slot->info.launched_at = now;
	slot->info.started_at = 0;
	slot->info.extension = EXTENSION_UNKNOWN;
	SpinLockRelease(&slot->mutex);
	return generation;
}

/* The worker has gone or could not be had: try again at restart_at. */
void
slot_postpone(int index, int failures, int64 restart_at)
{
	WorkerSlot *slot = &shared->slots[index];

	SpinLockAcquire(&slot->mutex);
	slot->info.state = WORKER_WAITING;
	slot->info.failures = failures;
	slot->info.restart_at = restart_at;
	SpinLockRelease(&slot->mutex);
}

/* False when the slot was meanwhile given to another process. */
bool
slot_attach(int index, uint64 generation)
{
	WorkerSlot *slot = &shared->slots[index];
	TimestampTz now = GetCurrentTimestamp();
	bool		mine;

	SpinLockAcquire(&slot->mutex);
	mine = slot->info.generation == generation && slot->info.pid == 0;
	if (mine)
	{
		slot->info.state = WORKER_RUNNING;
		slot->info.pid = MyProcPid;
		slot->info.latch = MyLatch;
		slot->info.started_at = now;
	}
	SpinLockRelease(&slot->mutex);
	return mine;
}

void
slot_detach(int index)
{
	WorkerSlot *slot = &shared->slots[index];

	slot_gauge(index, COUNT_IN_FLIGHT, 0);
	SpinLockAcquire(&slot->mutex);
	slot->info.state = WORKER_EXITED;
	slot->info.pid = 0;
	slot->info.latch = NULL;
	SpinLockRelease(&slot->mutex);
}

void
slot_report_extension(int index, ExtensionFinding finding)
{
	WorkerSlot *slot = &shared->slots[index];

	SpinLockAcquire(&slot->mutex);
	slot->info.extension = finding;
	SpinLockRelease(&slot->mutex);
}

/* The latch of that worker if it is one of those meant, else NULL. */
static Latch *
slot_latch(int index, WorkerKind kind, Oid database)
{
	WorkerSlot *slot = &shared->slots[index];
	Latch	   *latch = NULL;

	/* Unlocked look first: most slots are someone else's. */
	if (slot->info.database != database || slot->info.kind != kind)
		return NULL;
	SpinLockAcquire(&slot->mutex);
	if (slot->info.database == database && slot->info.kind == kind)
		latch = slot->info.latch;
	SpinLockRelease(&slot->mutex);
	return latch;
}

void
wake_workers(WorkerKind kind, Oid database)
{
	for (int i = 0; i < shmem_slot_count(); i++)
	{
		Latch	   *latch = slot_latch(i, kind, database);

		if (latch)
			SetLatch(latch);
	}
}

void
wake_launcher(void)
{
	Latch	   *latch = shared ? slot_latch(0, WORKER_LAUNCHER, InvalidOid) : NULL;

	if (latch)
		SetLatch(latch);
}

/* Have the launcher look into a database soon. */
void
request_probe(Oid database)
{
	if (!shared)
		return;
	SpinLockAcquire(&shared->mutex);
	if (!OidIsValid(database) || shared->nrequests == MAX_PROBE_REQUESTS)
		shared->every_database = true;
	else
		shared->requests[shared->nrequests++] = database;
	SpinLockRelease(&shared->mutex);
	wake_launcher();
}

/* Empties the letter box; "databases" has room for MAX_PROBE_REQUESTS. */
int
take_probe_requests(Oid *databases, int size, bool *every)
{
	int			n;

	SpinLockAcquire(&shared->mutex);
	n = Min(shared->nrequests, size);
	memcpy(databases, shared->requests, n * sizeof(Oid));
	*every = shared->every_database;
	shared->nrequests = 0;
	shared->every_database = false;
	SpinLockRelease(&shared->mutex);
	return n;
}

/* This backend wants no workers there.  False when the list is full. */
bool
quiet_begin(Oid database)
{
	bool		noted = false;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_QUIET && !noted; i++)
	{
		QuietEntry *entry = &shared->quiet[i];

		if (entry->pid != 0 &&
			(entry->pid != MyProcPid || entry->database != database))
			continue;
		entry->pid = MyProcPid;
		entry->database = database;
		noted = true;
	}
	SpinLockRelease(&shared->mutex);
	return noted;
}

/* This backend's transaction is over. */
void
quiet_end(void)
{
	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_QUIET; i++)
		if (shared->quiet[i].pid == MyProcPid)
			shared->quiet[i].pid = 0;
	SpinLockRelease(&shared->mutex);
}

bool
quiet_now(Oid database)
{
	bool		quiet = false;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_QUIET && !quiet; i++)
		quiet = shared->quiet[i].pid != 0 &&
			shared->quiet[i].database == database;
	SpinLockRelease(&shared->mutex);
	return quiet;
}
