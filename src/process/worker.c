/*
 * worker.c
 *		The life every worker of notify_pg leads.
 *
 * Stopping.  Until it is connected a worker dies of SIGTERM like any backend.
 * After that the handler only raises a flag that the loop reads between
 * transactions, unless a statement is running: an impatient worker (planner,
 * launcher) has nothing in memory to lose and dies at once; a patient one
 * (dispatcher, which has answers to settle) lets statements end, until a timer
 * sends it SIGUSR2, upon which it dies in whatever statement still runs.  (The
 * timer is the system's own: PostgreSQL's timeouts cannot be armed in a signal
 * handler, and armed for every statement they cost a wake-up each.)
 *
 * Errors.  emit_log_hook copies every ERROR and FATAL of this process into its
 * slot, so that status shows what the log shows, even for a connection that
 * was refused.
 *
 * Settings.  ALTER DATABASE SET and ALTER ROLE SET reach a worker too; what a
 * worker depends on is set with PGC_S_OVERRIDE, which they and a reload
 * cannot pass.
 */
#include "postgres.h"

#include <signal.h>
#include <time.h>

#include "access/xact.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "guc.h"
#include "process/nice.h"
#include "process/release.h"
#include "process/worker.h"

#define PATIENCE_MS		1500

int			worker_slot = -1;

static volatile sig_atomic_t stop_requested = false;
static volatile sig_atomic_t statement_running = false;
static WorkerPatience patience = WORKER_IMPATIENT;
static timer_t insist;			/* sends SIGUSR2 when patience ends */
static bool connected = false;
static emit_log_hook_type previous_log_hook = NULL;

typedef struct PinnedSetting
{
	const char *name;
	const char *value;
} PinnedSetting;

static const PinnedSetting pinned[] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"transaction_timeout", "0"},
	{"row_security", "on"},
	{"jit", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"plan_cache_mode", "auto"},
	{"default_table_access_method", "heap"},
	{"default_tablespace", ""},
	{"standard_conforming_strings", "on"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
};

static void
note_error(ErrorData *edata)
{
	if (worker_slot >= 0 && edata->elevel >= ERROR && edata->message)
		slot_error(worker_slot, edata->message);
	if (previous_log_hook)
		previous_log_hook(edata);
}

static void
leave_slot(int code, Datum arg)
{
	slot_detach(worker_slot);
	wake_launcher();
}

/* Own the slot or leave quietly: a newer process may have it by now. */
void
worker_attach(int index, uint64 generation)
{
	if (!slot_attach(index, generation))
		proc_exit(0);
	worker_slot = index;
	before_shmem_exit(leave_slot, (Datum) 0);
	previous_log_hook = emit_log_hook;
	emit_log_hook = note_error;
}

static void
handle_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;
	struct itimerspec again = {{1, 0}, {PATIENCE_MS / 1000, PATIENCE_MS % 1000 * 1000000L}};

	if (patience == WORKER_IMPATIENT && statement_running)
		die(postgres_signal_arg);
	else if (patience == WORKER_PATIENT && !stop_requested)
		(void) timer_settime(insist, 0, &again, NULL);
	stop_requested = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

static void
handle_insist(SIGNAL_ARGS)
{
	if (statement_running)
		die(SIGTERM);
}

static void
make_insist(void)
{
	struct sigevent event;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGUSR2;
	pqsignal(SIGUSR2, handle_insist);
	if (timer_create(CLOCK_MONOTONIC, &event, &insist) != 0)
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("notify_pg worker could not create a timer: %m")));
}

void
worker_handle_signals(WorkerPatience how)
{
	patience = how;
	if (how == WORKER_PATIENT)
		make_insist();
	pqsignal(SIGTERM, handle_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
}

void
worker_pin(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
worker_order(Datum main_arg, WorkerOrder *order)
{
	memcpy(order, MyBgworkerEntry->bgw_extra, sizeof(*order));
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	worker_attach(DatumGetInt32(main_arg), order->generation);
	/* Attached first, looked second: whoever asks for quiet sees us or we it. */
	if (quiet_now(order->database))
		proc_exit(0);
}

/* A worker whose nice value must fall ends; the launcher starts another. */
static void
stand_back(void)
{
	if (!nice_obey())
		stop_requested = true;
}

void
worker_connect(const WorkerOrder *order, WorkerPatience how, int slice_ms)
{
	nice_start(slice_ms);
	stand_back();
	BackgroundWorkerInitializeConnectionByOid(order->database, order->role, 0);
	for (int i = 0; i < lengthof(pinned); i++)
		worker_pin(pinned[i].name, pinned[i].value);
	worker_handle_signals(how);
	connected = true;
	slot_report_extension(worker_slot, EXTENSION_PRESENT);
	pgstat_report_activity(STATE_IDLE, NULL);
}

bool
worker_stopping(void)
{
	return stop_requested;
}

/* True when the configuration files were read again. */
bool
worker_reload(void)
{
	bool		pending = ConfigReloadPending;

	if (pending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (connected)
		stand_back();
	return pending;
}

static void
run_task(WorkerTask work, void *arg)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	work(arg);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

bool
worker_transaction(WorkerTask work, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	statement_running = true;
	if (stop_requested && patience == WORKER_IMPATIENT)
		die(SIGTERM);
	PG_TRY();
	{
		run_task(work, arg);
		done = true;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	statement_running = false;
	MemoryContextSwitchTo(caller);
	return done;
}

static void
look_for_extension(void *arg)
{
	char		why[WORKER_ERROR_SIZE];

	*(ExtensionFinding *) arg = release_find(why);
}

void
worker_leave_if_dropped(void)
{
	ExtensionFinding finding = EXTENSION_PRESENT;

	if (!worker_transaction(look_for_extension, &finding) || finding == EXTENSION_PRESENT)
		return;
	slot_report_extension(worker_slot, finding);
	proc_exit(0);
}

long
worker_backoff(int failures, long least, long most)
{
	if (failures <= 0)
		return 0;
	if (failures > 20)
		return most;
	return Min(most, least << (failures - 1));
}

void
worker_check_interrupts(void)
{
	QueryCancelPending = false; /* there is no statement to cancel */
	CHECK_FOR_INTERRUPTS();
}

void
worker_sleep(long timeout_ms)
{
	if (timeout_ms > 0)
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	worker_check_interrupts();
}
