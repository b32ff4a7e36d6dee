/*
 * probe.c
 *		The short-lived worker that looks whether a database has notify_pg.
 *
 * Only a process connected to a database can read its pg_extension.  The
 * answer is left in the slot; the launcher reads it when the process is gone.
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
#include "process/worker.h"

void
notify_probe_main(Datum main_arg)
{
	WorkerOrder order;
	bool		present;

	worker_order(main_arg, &order);
	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, 0);
	StartTransactionCommand();
	present = OidIsValid(get_extension_oid(NOTIFY_EXTENSION, true));
	CommitTransactionCommand();
	slot_report_extension(worker_slot,
						  present ? EXTENSION_PRESENT : EXTENSION_ABSENT);
	proc_exit(0);
}
