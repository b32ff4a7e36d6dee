/*
 * attempt.c
 *		Run work whose error the surrounding statement must survive.
 *
 * An error can only be survived in a subtransaction, so that is what this is:
 * one internal subtransaction around one call.  Invariants: on return, by
 * either path, CurrentMemoryContext, CurrentResourceOwner, the user id, the
 * security context and the settings are what they were at the call.  The work
 * itself undoes its own changes of user id and settings when it succeeds (see
 * identity.c); rolling back undoes them when it does not.
 *
 * A cancel, a shutdown, a crash of the storage or a serialization failure is
 * not the fault of an expression: those leave this function as errors.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "capture/attempt.h"

static bool
must_propagate(int code)
{
	if (IsolationUsesXactSnapshot() && code == ERRCODE_T_R_SERIALIZATION_FAILURE)
		return true;
	if (code == ERRCODE_DATA_CORRUPTED || code == ERRCODE_INDEX_CORRUPTED ||
		code == ERRCODE_IO_ERROR)
		return true;
	return ERRCODE_TO_CATEGORY(code) == ERRCODE_OPERATOR_INTERVENTION;
}

ErrorData *
attempt(void (*work)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && must_propagate(error->sqlerrcode))
		ReThrowError(error);
	return error;
}
