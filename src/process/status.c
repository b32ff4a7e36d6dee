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

#define CELLS		(9 + COUNT_KINDS)

static const char *const kind_names[] = {"launcher", "probe", "planner", "dispatcher"};
static const char *const state_names[] = {"free", "waiting", "starting", "running", "exited"};

static const char *const counter_names[] = {
	[COUNT_LOOPS] = "loops",
	[COUNT_PLANNED] = "planned",
	[COUNT_READIED] = "readied",
	[COUNT_CLAIMED] = "claimed",
	[COUNT_SENT] = "sent",
	[COUNT_SETTLED] = "settled",
	[COUNT_REFUSED] = "refused",
	[COUNT_FAILED] = "failed",
	[COUNT_IN_FLIGHT] = "in_flight",
	[COUNT_MAX_IN_FLIGHT] = "max_in_flight",
	[COUNT_CLAIMS] = "claims",
	[COUNT_SETTLES] = "settles",
	[COUNT_PLAN_US] = "plan_us",
	[COUNT_CLAIM_US] = "claim_us",
	[COUNT_SETTLE_US] = "settle_us",
	[COUNT_COMMIT_US] = "commit_us",
	[COUNT_RENDER_US] = "render_us",
	[COUNT_WIRE_US] = "wire_us",
};

StaticAssertDecl(lengthof(counter_names) == COUNT_KINDS, "every counter has a name");

/* A value by its column's name. */
typedef struct Cell
{
	const char *name;
	Datum		value;
	bool		isnull;
} Cell;

static int
fill_cells(int index, const WorkerInfo *info, Cell *cells)
{
	bool		gone = info->pid == 0;
	bool		fine = info->last_error_at == 0;
	int			c = 0;

	cells[c++] = (Cell) {"kind", CStringGetTextDatum(kind_names[info->kind]), false};
	cells[c++] = (Cell) {"slot", Int32GetDatum(info->number), false};
	cells[c++] = (Cell) {"pid", Int32GetDatum(info->pid), gone};
	cells[c++] = (Cell) {"database", ObjectIdGetDatum(info->database), !OidIsValid(info->database)};
	cells[c++] = (Cell) {"state", CStringGetTextDatum(state_names[info->state]), false};
	cells[c++] = (Cell) {"started_at", TimestampTzGetDatum(info->started_at), gone};
	cells[c++] = (Cell) {"generation", Int64GetDatum(info->generation), false};
	cells[c++] = (Cell) {"last_error", CStringGetTextDatum(info->last_error), fine};
	cells[c++] = (Cell) {"last_error_at", TimestampTzGetDatum(info->last_error_at), fine};
	for (int k = 0; k < COUNT_KINDS; k++)
		cells[c++] = (Cell) {counter_names[k], Int64GetDatum(slot_counter(index, k)), false};
	Assert(c <= CELLS);
	return c;
}

/* The columns as declared here: an earlier release's function has fewer. */
static void
fill_row(TupleDesc desc, const Cell *cells, int ncells, Datum *values, bool *nulls)
{
	for (int a = 0; a < desc->natts; a++)
	{
		int			c = 0;

		while (c < ncells && strcmp(cells[c].name, NameStr(TupleDescAttr(desc, a)->attname)) != 0)
			c++;
		nulls[a] = c == ncells || cells[c].isnull;
		values[a] = nulls[a] ? (Datum) 0 : cells[c].value;
	}
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
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
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
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc0(desc->natts * sizeof(bool));

	for (int i = 0; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;
		Cell		cells[CELLS];

		slot_read(i, &info);
		if (i != 0 && (info.state == WORKER_FREE || info.database != MyDatabaseId))
			continue;
		fill_row(desc, cells, fill_cells(i, &info, cells), values, nulls);
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
