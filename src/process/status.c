/*
 * status.c
 *		What the workers are doing, as SQL: notify._workers(), notify._preloaded().
 *
 * Shows the launcher and the workers of the current database.  Rows are read
 * slot by slot, so they are each consistent but not all of one instant.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "process/shmem.h"

#define COLUMNS		(9 + COUNT_KINDS)	/* loops stands among the first */

static const char *const kind_names[] = {"launcher", "probe", "planner", "dispatcher"};
static const char *const state_names[] = {"free", "waiting", "starting", "running", "exited"};

static void
fill_row(int index, const WorkerInfo *info, Datum *values, bool *nulls)
{
	int			c = 0;

	values[c++] = CStringGetTextDatum(kind_names[info->kind]);
	values[c++] = Int32GetDatum(info->number);
	nulls[c] = info->pid == 0;
	values[c++] = Int32GetDatum(info->pid);
	nulls[c] = !OidIsValid(info->database);
	values[c++] = ObjectIdGetDatum(info->database);
	values[c++] = CStringGetTextDatum(state_names[info->state]);
	nulls[c] = info->pid == 0;
	values[c++] = TimestampTzGetDatum(info->started_at);
	values[c++] = Int64GetDatum(info->generation);
	values[c++] = Int64GetDatum(slot_counter(index, COUNT_LOOPS));
	nulls[c] = info->last_error_at == 0;
	values[c++] = CStringGetTextDatum(info->last_error);
	for (int k = COUNT_LOOPS + 1; k < COUNT_KINDS; k++)
		values[c++] = Int64GetDatum(slot_counter(index, k));
	nulls[c] = info->last_error_at == 0;
	values[c++] = TimestampTzGetDatum(info->last_error_at);
	Assert(c == COLUMNS);
}

static Tuplestorestate *
begin_result(FunctionCallInfo fcinfo, TupleDesc *desc)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		(rsinfo->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE ||
		(*desc)->natts != COLUMNS)
		elog(ERROR, "notify._workers() is declared with other columns");
	caller = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	*desc = CreateTupleDescCopy(*desc);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setDesc = *desc;
	rsinfo->setResult = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(caller);
	return rsinfo->setResult;
}

PG_FUNCTION_INFO_V1(notify_sql_workers);

Datum
notify_sql_workers(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *rows = begin_result(fcinfo, &desc);

	for (int i = 0; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;
		Datum		values[COLUMNS] = {0};
		bool		nulls[COLUMNS] = {0};

		slot_read(i, &info);
		if (i != 0 && (info.state == WORKER_FREE || info.database != MyDatabaseId))
			continue;
		fill_row(i, &info, values, nulls);
		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(notify_sql_preloaded);

Datum
notify_sql_preloaded(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(shmem_available());
}
