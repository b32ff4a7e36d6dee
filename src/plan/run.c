/*
 * run.c
 *		Run a rule's audience or context over a batch of events, as its owner.
 *
 * Each run is an internal subtransaction: as the rule version's owner under
 * its search_path, security-restricted, read-only, with the statement timeout
 * armed.  When a run over several events fails it is repeated over halves, so
 * one bad event costs the others nothing but time; a single failing event is
 * answered with the reason and the error's text.
 *
 * A version never changes, so its prepared plan is kept for the session, up to
 * PLANS_MAX of them; then all are dropped and made again as needed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "capture/attempt.h"
#include "capture/identity.h"
#include "guc.h"
#include "plan/query.h"

PG_FUNCTION_INFO_V1(notify_run_query);

#define PLANS_MAX 500
#define DETAIL_MAX 500

typedef struct PlanKey
{
	int64		version;
	int64		kind;
} PlanKey;

typedef struct PlanEntry
{
	PlanKey		key;
	SPIPlanPtr	plan;
} PlanEntry;

typedef struct Run
{
	int64		version;
	QueryKind	kind;
	char	   *text;			/* the rule's query, its table, and who it runs as */
	Oid			relation;
	Identity	identity;
	Datum	   *columns[QUERY_NARGS];	/* of all events */
	bool	   *nulls[QUERY_NARGS];
	int			from;			/* the events of this attempt */
	int			to;
	Tuplestorestate *rows;		/* results */
	TupleDesc	desc;
	MemoryContext result_context;
	List	   *found;			/* of this attempt: pairs (id, data) */
} Run;

typedef struct Found
{
	int64		event;
	Datum		data;
	bool		isnull;
} Found;

static HTAB *plans = NULL;

static void
forget_plans(void)
{
	HASH_SEQ_STATUS scan;
	PlanEntry  *entry;

	hash_seq_init(&scan, plans);
	while ((entry = hash_seq_search(&scan)) != NULL)
		SPI_freeplan(entry->plan);
	hash_destroy(plans);
	plans = NULL;
}

static void
make_plans(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(PlanKey);
	ctl.entrysize = sizeof(PlanEntry);
	ctl.hcxt = TopMemoryContext;
	plans = hash_create("notify_pg rule queries", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static SPIPlanPtr
find_plan(Run *run)
{
	PlanKey		key = {run->version, run->kind};
	PlanEntry  *entry;
	SPIPlanPtr	plan;

	if (plans != NULL && hash_get_num_entries(plans) >= PLANS_MAX)
		forget_plans();
	if (plans == NULL)
		make_plans();
	entry = hash_search(plans, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->plan;
	plan = query_prepare(run->kind, run->text, run->relation);
	SPI_keepplan(plan);
	entry = hash_search(plans, &key, HASH_ENTER, NULL);
	entry->plan = plan;
	return plan;
}

static Datum
slice(Run *run, int column)
{
	int			dims[1];
	int			lower[1] = {1};

	dims[0] = run->to - run->from;
	return PointerGetDatum(construct_md_array(run->columns[column] + run->from,
											  run->nulls[column] + run->from, 1, dims, lower,
											  column == 0 ? INT8OID : JSONBOID,
											  column == 0 ? sizeof(int64) : -1,
											  column == 0 ? FLOAT8PASSBYVAL : false,
											  column == 0 ? TYPALIGN_DOUBLE : TYPALIGN_INT));
}

static void
keep_found(Run *run)
{
	MemoryContext before = MemoryContextSwitchTo(run->result_context);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		Found	   *found = palloc(sizeof(Found));
		bool		isnull;
		Datum		data = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &found->isnull);

		found->event = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		found->data = found->isnull ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(data));
		run->found = lappend(run->found, found);
	}
	MemoryContextSwitchTo(before);
}

/* The work of one attempt, in its subtransaction. */
static void
run_slice(void *arg)
{
	Run		   *run = arg;
	IdentityBefore before;
	Datum		values[QUERY_NARGS];
	int			code;

	SPI_connect();
	identity_assume(&run->identity, &before);
	XactReadOnly = true;		/* until the subtransaction ends */
	for (int i = 0; i < QUERY_NARGS; i++)
		values[i] = slice(run, i);
	code = SPI_execute_plan(find_plan(run), values, NULL, true, 0);
	if (code != SPI_OK_SELECT)
		elog(ERROR, "rule query failed: %s", SPI_result_code_string(code));
	keep_found(run);
	identity_restore(&before);
	SPI_finish();
}

/* attempt() throws a cancel on; one that our own timeout caused is an answer. */
static ErrorData *
attempt_in_time(Run *run)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz start = GetCurrentTimestamp();
	bool		armed = !get_timeout_active(STATEMENT_TIMEOUT);
	ErrorData  *volatile error = NULL;

	if (armed)
		enable_timeout_after(STATEMENT_TIMEOUT, notify_query_timeout);
	PG_TRY();
	{
		error = attempt(run_slice, run);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!armed || error->sqlerrcode != ERRCODE_QUERY_CANCELED ||
			!TimestampDifferenceExceeds(start, GetCurrentTimestamp(), notify_query_timeout))
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (armed)
		disable_timeout(STATEMENT_TIMEOUT, false);
	return error;
}

static void
put_row(Run *run, int64 event, Datum data, bool isnull, const char *reason, const char *detail)
{
	Datum		values[4] = {Int64GetDatum(event), data, (Datum) 0, (Datum) 0};
	bool		nulls[4] = {false, isnull, reason == NULL, detail == NULL};

	if (reason != NULL)
		values[2] = CStringGetTextDatum(reason);
	if (detail != NULL)
		values[3] = CStringGetTextDatum(detail);
	tuplestore_putvalues(run->rows, run->desc, values, nulls);
}

static void
put_error(Run *run, const char *message)
{
	int			length = pg_mbcliplen(message, strlen(message), DETAIL_MAX);

	put_row(run, DatumGetInt64(run->columns[0][run->from]), (Datum) 0, true,
			run->kind == QUERY_AUDIENCE ? "audience_error" : "context_error",
			pnstrdup(message, length));
}

/* A context gives an event one row at most; "found" is in the order of events. */
static bool
has_extra_context(Run *run)
{
	int64		previous = -1;
	ListCell   *cell;

	if (run->kind != QUERY_CONTEXT)
		return false;
	foreach(cell, run->found)
	{
		Found	   *found = lfirst(cell);

		if (found->event == previous)
			return true;
		previous = found->event;
	}
	return false;
}

static void
put_found(Run *run)
{
	ListCell   *cell;

	foreach(cell, run->found)
	{
		Found	   *found = lfirst(cell);

		put_row(run, found->event, found->data, found->isnull, NULL, NULL);
	}
}

static void
run_range(Run *run, int from, int to)
{
	ErrorData  *error;
	const char *message;

	CHECK_FOR_INTERRUPTS();
	run->from = from;
	run->to = to;
	run->found = NIL;
	error = attempt_in_time(run);
	message = error != NULL ? error->message :
		has_extra_context(run) ? "context query returned more than one row" : NULL;
	if (message == NULL)
		put_found(run);
	else if (to - from == 1)
		put_error(run, message);
	else
	{
		run_range(run, from, from + (to - from) / 2);
		run_range(run, from + (to - from) / 2, to);
	}
}

/* The query and identity of a rule version. */
static void
load_version(Run *run)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[2] = {INT8OID, BOOLOID};
	Datum		values[2];
	HeapTuple	tuple;
	TupleDesc	desc;
	bool		isnull;
	Datum		relation;

	values[0] = Int64GetDatum(run->version);
	values[1] = BoolGetDatum(run->kind == QUERY_AUDIENCE);
	SPI_connect();
	SPI_execute_with_args("SELECT CASE WHEN $2 THEN v.audience ELSE v.context END, v.source,"
						  " v.owner::oid, v.search_path FROM notify.rule_version v"
						  " WHERE v.id OPERATOR(pg_catalog.=) $1", 2, types, values, NULL, true, 1);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("rule version " INT64_FORMAT " does not exist", run->version)));
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	MemoryContextSwitchTo(caller);
	run->text = SPI_getvalue(tuple, desc, 1);
	relation = SPI_getbinval(tuple, desc, 2, &isnull);
	run->relation = isnull ? InvalidOid : DatumGetObjectId(relation);
	run->identity.owner = DatumGetObjectId(SPI_getbinval(tuple, desc, 3, &isnull));
	run->identity.search_path = identity_path(SPI_getvalue(tuple, desc, 4));
	SPI_finish();
}

static void
open_result(Run *run, ReturnSetInfo *result)
{
	MemoryContext before = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);

	run->rows = tuplestore_begin_heap(true, false, work_mem);
	run->desc = CreateTupleDescCopy(result->expectedDesc);
	result->returnMode = SFRM_Materialize;
	result->setResult = run->rows;
	result->setDesc = run->desc;
	MemoryContextSwitchTo(before);
}

/* _run_query(version, kind, ids, new, old, event) */
Datum
notify_run_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Run			run = {0};
	int			count = 0;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	run.version = PG_GETARG_INT64(0);
	run.kind = query_kind(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	run.result_context = CurrentMemoryContext;
	open_result(&run, result);
	load_version(&run);
	for (int i = 0; i < QUERY_NARGS; i++)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(i + 2), i == 0 ? INT8OID : JSONBOID,
						  i == 0 ? sizeof(int64) : -1, i == 0 ? FLOAT8PASSBYVAL : false,
						  i == 0 ? TYPALIGN_DOUBLE : TYPALIGN_INT,
						  &run.columns[i], &run.nulls[i], &count);
	if (run.text != NULL && count > 0)
		run_range(&run, 0, count);
	return (Datum) 0;
}
