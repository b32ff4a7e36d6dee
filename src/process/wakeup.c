/*
 * wakeup.c
 *		How a writer's commit wakes the planner of its database.
 *
 * The callback is registered while the postmaster preloads the library, so
 * every backend inherits exactly one and a session never collects more.  The
 * mark belongs to the top transaction: a rolled-back savepoint leaves it set,
 * which costs a planner one look for nothing.  PREPARE TRANSACTION forgets it;
 * COMMIT PREPARED wakes the planner from hooks.c, whoever issues it.
 *
 * The callback runs after the transaction is visible to others and may not
 * raise: it takes spinlocks and sets latches, nothing else.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "process/shmem.h"
#include "process/wakeup.h"

static bool marked = false;

static void
wake_at_commit(XactEvent event, void *arg)
{
	bool		wake = marked && event == XACT_EVENT_COMMIT;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			marked = false;
			break;
		default:
			break;
	}
	if (wake)
		wake_workers(WORKER_PLANNER, MyDatabaseId);
}

void
wakeup_install(void)
{
	RegisterXactCallback(wake_at_commit, NULL);
}

void
notify_wake_planner(void)
{
	marked = shmem_available();
}
