/*
 * notify_pg.c
 *		Where the library enters a server.
 *
 * Preloaded by the postmaster it brings shared memory, the launcher and the
 * hooks.  Loaded on demand by a session it brings the settings and its
 * functions only: capture works, nothing is planned or sent.  The one hook
 * capture has is for both.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "capture/partner.h"
#include "channel/token.h"
#include "dispatch/gate.h"
#include "guc.h"
#include "process/hooks.h"
#include "process/launcher.h"
#include "process/shmem.h"
#include "process/wakeup.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	guc_define();
	partner_install();
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	shmem_install();
	token_install();
	gate_install();
	wakeup_install();
	hooks_install();
	launcher_register();
}
