/*
 * worker.h
 *		The life every worker of notify_pg leads: attach to a slot, connect, pin
 *		settings, run transactions that may fail, sleep, stop when told.
 */
#ifndef NOTIFY_PROCESS_WORKER_H
#define NOTIFY_PROCESS_WORKER_H

#include "executor/spi.h"

#include "process/shmem.h"

#define NOTIFY_EXTENSION	"notify_pg"
#define NOTIFY_SCHEMA		"notify"
#define NOTIFY_WORKER_ROLE	"notify_worker"

/* What the launcher hands a worker in bgw_extra; bgw_main_arg is the slot. */
typedef struct WorkerOrder
{
	uint64		generation;
	Oid			database;
	Oid			role;			/* InvalidOid: nobody in particular (probe) */
	int			number;
} WorkerOrder;

/* This process's slot, or -1. */
extern int	worker_slot;

/* Whether SIGTERM ends a running statement at once, or only an overdue one. */
typedef enum WorkerPatience
{
	WORKER_IMPATIENT,
	WORKER_PATIENT
} WorkerPatience;

extern void worker_attach(int index, uint64 generation);
/* slice_ms: see nice.h */
extern void worker_connect(const WorkerOrder *order, WorkerPatience patience, int slice_ms);
extern void worker_order(Datum main_arg, WorkerOrder *order);
extern void worker_handle_signals(WorkerPatience patience);
extern void worker_pin(const char *name, const char *value);
extern bool worker_stopping(void);
extern bool worker_reload(void);

/*
 * Run "work" in a transaction with SPI connected and a snapshot set.  On an
 * error: log it, note it in the slot, abort, return false.
 */
typedef void (*WorkerTask) (void *arg);
extern bool worker_transaction(WorkerTask work, void *arg);

/* After an error: exit if the extension has left the database, or is another release's. */
extern void worker_leave_if_dropped(void);

/* Doubling from "least" ms after the first failure to "most" ms. */
extern long worker_backoff(int failures, long least, long most);

/* Between transactions: a cancel has nothing to cancel and is forgotten. */
extern void worker_check_interrupts(void);

extern void worker_sleep(long timeout_ms);

#endif							/* NOTIFY_PROCESS_WORKER_H */
