/*
 * probe.c
 *		The short-lived worker that looks whether a database has notify_pg.
 *
 * Only a process connected to a database can read its pg_extension.  The
 * answer is left in the slot, the words for it where errors stand; the launcher
 * reads both when the process is gone.
 * It connects as nobody in particular because the role notify_worker need not
 * exist in a cluster without the extension; it reads one catalog and runs
 * nothing that a user wrote.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "postmaster/bgworker.h"

#include "compat.h"
#include "process/probe.h"
#include "process/release.h"
#include "process/worker.h"

void
notify_probe_main(Datum main_arg)
{
	WorkerOrder order;
	ExtensionFinding finding;
	char		why[WORKER_ERROR_SIZE];

	worker_order(main_arg, &order);
	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, 0);
	StartTransactionCommand();
	finding = release_find(why);
	CommitTransactionCommand();
	if (finding == EXTENSION_OTHER_RELEASE)
		slot_error(worker_slot, why);
	slot_report_extension(worker_slot, finding);
	proc_exit(0);
}
