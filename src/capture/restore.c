/*
 * restore.c
 *		Whether this session loads a dump.
 *
 * A dump's rows happened long ago, and who was to hear of them has: loading them
 * into tables that have their triggers (pg_dump --data-only, --section=data) must
 * not make events, which notify.arm() would let go.  Nothing in a COPY says where it
 * comes from, but the session does: every script of pg_dump and every connection
 * of pg_restore begins by switching off check_function_bodies and row_security.
 * No application does both.  (pg_restore --enable-row-security is the exception;
 * such a restore needs --disable-triggers.)
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"
#include "utils/rls.h"

#include "capture/restore.h"

PG_FUNCTION_INFO_V1(notify_restoring);

bool
restore_session(void)
{
	return !check_function_bodies && !row_security;
}

Datum
notify_restoring(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(restore_session());
}
