/*
 * run.c
 *		Run a rule's audience or context over a batch of events, as its owner.
 *
 * Each run is an internal subtransaction: as the rule version's owner under
 * its search_path, security-restricted, read-only, with the statement timeout
 * armed.  When a run over several events fails it is repeated over halves, so
 * one bad event costs the others nothing but time; a single failing event is
 * answered with the reason and the error's text.  A lock or a conflict that may
 * be over in a moment is given one more chance first.
 *
 * All runs of a call together have a budget; when it is used up nothing more
 * is begun, and the query rests for a minute: its events are answered with
 * that at once, so that one slow rule does not keep all others from being
 * planned.  Which queries rest is known to this process alone.
 *
 * What a query finds goes to disk beyond work_mem: an audience of a million is
 * no matter of memory.  The stores are made outside the subtransactions, which
 * would take their files with them.
 *
 * A version never changes, so its prepared plan is kept for the session, up to
 * PLANS_MAX of them; then all are dropped and made again as needed.  One that is
 * not valid any more is made again too, and checked as it was at first.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timeout.h"
#include "utils/tuplestore.h"

#include "capture/attempt.h"
#include "capture/identity.h"
#include "guc.h"
#include "plan/query.h"
#include "ticks.h"

PG_FUNCTION_INFO_V1(notify_run_query);
PG_FUNCTION_INFO_V1(notify_query_problem);

#define PLANS_MAX 500
#define DETAIL_MAX 500
#define FETCH_ROWS 1000
#define RUN_BUDGET 3			/* query timeouts that a call's runs may cost together */
#define REST_MS 60000			/* of a query that used up its budget */
#define RESTS_MAX 100

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

/* A query that used up its budget */
typedef struct Rest
{
	PlanKey		key;
	int64		until;			/* in ticks */
} Rest;

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
	int64		deadline;		/* in ticks: nothing is begun after it */
	Tuplestorestate *rows;		/* results */
	TupleDesc	desc;
	Tuplestorestate *found;		/* of this attempt */
	int64		last_found;		/* its last event */
	bool		has_extra;		/* a context of two rows */
} Run;

static HTAB *plans = NULL;
static HTAB *rests = NULL;

static HTAB *
make_table(const char *name, Size entry_size)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(PlanKey);
	ctl.entrysize = entry_size;
	ctl.hcxt = TopMemoryContext;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

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

static SPIPlanPtr
find_plan(Run *run)
{
	PlanKey		key = {run->version, run->kind};
	PlanEntry  *entry;
	SPIPlanPtr	plan;

	if (plans != NULL && hash_get_num_entries(plans) >= PLANS_MAX)
		forget_plans();
	if (plans == NULL)
		plans = make_table("notify_pg rule queries", sizeof(PlanEntry));
	entry = hash_search(plans, &key, HASH_FIND, NULL);
	if (entry != NULL && SPI_plan_is_valid(entry->plan))
		return entry->plan;
	plan = query_prepare(run->kind, run->text, run->relation);
	SPI_keepplan(plan);
	if (entry != NULL)
		SPI_freeplan(entry->plan);
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
put_row(Tuplestorestate *rows, TupleDesc desc, int64 event, Datum data, bool isnull,
		const char *reason, const char *detail)
{
	Datum		values[4] = {Int64GetDatum(event), data, (Datum) 0, (Datum) 0};
	bool		nulls[4] = {false, isnull, reason == NULL, detail == NULL};

	if (reason != NULL)
		values[2] = CStringGetTextDatum(reason);
	if (detail != NULL)
		values[3] = CStringGetTextDatum(detail);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* One result of the query: (id, data).  A context gives an event one row at most. */
static void
keep_found(Run *run, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	bool		no_data;
	int64		event = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
	Datum		data = SPI_getbinval(tuple, desc, 2, &no_data);

	if (run->kind == QUERY_CONTEXT && event == run->last_found)
		run->has_extra = true;
	run->last_found = event;
	put_row(run->found, run->desc, event, data, no_data, NULL, NULL);
}

/* However many rows there are, memory holds FETCH_ROWS of them. */
static void
keep_all_found(Run *run, Portal portal)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
			keep_found(run, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
}

/* The work of one attempt, in its subtransaction. */
static void
run_slice(void *arg)
{
	Run		   *run = arg;
	IdentityBefore before;
	Datum		values[QUERY_NARGS];

	SPI_connect();
	identity_assume(&run->identity, &before);
	XactReadOnly = true;		/* until the subtransaction ends */
	for (int i = 0; i < QUERY_NARGS; i++)
		values[i] = slice(run, i);
	keep_all_found(run, SPI_cursor_open(NULL, find_plan(run), values, NULL, true));
	identity_restore(&before);
	SPI_finish();
}

/* attempt() throws a cancel on; one that our own timeout caused is an answer. */
static ErrorData *
attempt_in_time(Run *run)
{
	MemoryContext context = CurrentMemoryContext;
	int64		start = ticks_ms();
	bool		armed = !get_timeout_active(STATEMENT_TIMEOUT);
	ErrorData  *volatile error = NULL;

	tuplestore_clear(run->found);
	run->has_extra = false;
	run->last_found = -1;
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
			ticks_ms() - start < notify_query_timeout)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (armed)
		disable_timeout(STATEMENT_TIMEOUT, false);
	return error;
}

/* The same error for some events */
static void
put_error(Run *run, int from, int to, const char *message)
{
	int			length = pg_mbcliplen(message, strlen(message), DETAIL_MAX);
	char	   *detail = pnstrdup(message, length);

	for (int i = from; i < to; i++)
		put_row(run->rows, run->desc, DatumGetInt64(run->columns[0][i]), (Datum) 0, true,
				run->kind == QUERY_AUDIENCE ? "audience_error" : "context_error", detail);
}

/* What an attempt found becomes part of the result. */
static void
put_found(Run *run)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(run->desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(run->found, true, false, slot))
		tuplestore_puttupleslot(run->rows, slot);
	ExecDropSingleTupleTableSlot(slot);
}

/* Others were in the way, and may not be any more. */
static bool
is_passing(int code)
{
	return code == ERRCODE_LOCK_NOT_AVAILABLE || code == ERRCODE_T_R_DEADLOCK_DETECTED ||
		code == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/* The relations the prepared query reads, views expanded */
static Datum
relations_read(const Run *run)
{
	PlanKey		key = {run->version, run->kind};
	PlanEntry  *entry = plans == NULL ? NULL : hash_search(plans, &key, HASH_FIND, NULL);
	CachedPlanSource *source;
	Datum	   *oids;
	int			count = 0;
	ListCell   *cell;

	if (entry == NULL)
		return PointerGetDatum(construct_empty_array(OIDOID));
	source = linitial(SPI_plan_get_plan_sources(entry->plan));
	oids = palloc(Max(list_length(source->relationOids), 1) * sizeof(Datum));
	foreach(cell, source->relationOids)
		oids[count++] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(construct_array(oids, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* Does it read an attached table with columns that are kept out of events? */
static bool
reads_secret(const Run *run)
{
	Oid			types[1] = {OIDARRAYOID};
	Datum		values[1] = {relations_read(run)};
	bool		result;

	SPI_connect();
	SPI_execute_with_args("SELECT FROM pg_catalog.unnest($1) AS o JOIN notify.source AS s"
						  " ON s.relation OPERATOR(pg_catalog.=) notify._source_of(o)"
						  " WHERE s.columns IS NOT NULL", 1, types, values, NULL, true, 1);
	result = SPI_processed > 0;
	SPI_finish();
	return result;
}

/* What may be told of an error: its text may show what the query read. */
static const char *
message_of(const Run *run, const ErrorData *error)
{
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		error->sqlerrcode == ERRCODE_QUERY_CANCELED || !reads_secret(run))
		return error->message;
	return psprintf("SQLSTATE %s; the error is not shown: the query reads a table with columns kept out of events",
					unpack_sql_state(error->sqlerrcode));
}

/* Run over the events from "from" to "to"; what is wrong, or NULL */
static const char *
attempt_range(Run *run, int from, int to)
{
	ErrorData  *error;

	run->from = from;
	run->to = to;
	error = attempt_in_time(run);
	if (error != NULL && is_passing(error->sqlerrcode) && ticks_ms() < run->deadline)
		error = attempt_in_time(run);
	if (error != NULL)
		return message_of(run, error);
	return run->has_extra ? "context query returned more than one row" : NULL;
}

static void
run_range(Run *run, int from, int to)
{
	const char *message;

	CHECK_FOR_INTERRUPTS();
	if (ticks_ms() >= run->deadline)
	{
		put_error(run, from, to, "not run: the query took too long for other events of this batch");
		return;
	}
	message = attempt_range(run, from, to);
	if (message == NULL)
		put_found(run);
	else if (to - from == 1)
		put_error(run, from, to, message);
	else
	{
		run_range(run, from, from + (to - from) / 2);
		run_range(run, from + (to - from) / 2, to);
	}
}

static bool
is_resting(const Run *run)
{
	PlanKey		key = {run->version, run->kind};
	Rest	   *rest = rests == NULL ? NULL : hash_search(rests, &key, HASH_FIND, NULL);

	return rest != NULL && ticks_ms() < rest->until;
}

/* It used up its budget.  When too many do, all get another chance. */
static void
begin_rest(const Run *run)
{
	PlanKey		key = {run->version, run->kind};
	Rest	   *rest;

	if (rests != NULL && hash_get_num_entries(rests) >= RESTS_MAX)
	{
		hash_destroy(rests);
		rests = NULL;
	}
	if (rests == NULL)
		rests = make_table("notify_pg resting queries", sizeof(Rest));
	rest = hash_search(rests, &key, HASH_ENTER, NULL);
	rest->until = ticks_ms() + REST_MS;
	ereport(LOG,
			(errmsg("%s query of rule version " INT64_FORMAT " took too long and is not run for %d s",
					run->kind == QUERY_AUDIENCE ? "audience" : "context", run->version,
					REST_MS / 1000)));
}

static void
end_rest(const Run *run)
{
	PlanKey		key = {run->version, run->kind};

	if (rests != NULL)
		(void) hash_search(rests, &key, HASH_REMOVE, NULL);
}

static void
run_all(Run *run, int count)
{
	if (is_resting(run))
	{
		put_error(run, 0, count, psprintf("not run: the query took too long less than %d s ago",
										  REST_MS / 1000));
		return;
	}
	run->deadline = ticks_ms() + (int64) notify_query_timeout * RUN_BUDGET;
	run_range(run, 0, count);
	if (ticks_ms() >= run->deadline)
		begin_rest(run);
	else
		end_rest(run);
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
	run->found = tuplestore_begin_heap(false, false, work_mem);
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
	open_result(&run, result);
	load_version(&run);
	for (int i = 0; i < QUERY_NARGS; i++)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(i + 2), i == 0 ? INT8OID : JSONBOID,
						  i == 0 ? sizeof(int64) : -1, i == 0 ? FLOAT8PASSBYVAL : false,
						  i == 0 ? TYPALIGN_DOUBLE : TYPALIGN_INT,
						  &run.columns[i], &run.nulls[i], &count);
	if (run.text != NULL && count > 0)
		run_all(&run, count);
	tuplestore_end(run.found);
	return (Datum) 0;
}

/*
 * _query_problem(version, kind): what is wrong with the query as it stands, run
 * over no events; NULL if nothing is, or if that could not be told just now.
 */
Datum
notify_query_problem(PG_FUNCTION_ARGS)
{
	Run			run = {0};
	ErrorData  *error = NULL;

	run.version = PG_GETARG_INT64(0);
	run.kind = query_kind(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	load_version(&run);
	if (run.text == NULL || is_resting(&run))
		PG_RETURN_NULL();
	run.found = tuplestore_begin_heap(false, false, work_mem);
	for (int i = 0; i < QUERY_NARGS; i++)
		run.columns[i] = palloc0(sizeof(Datum));
	error = attempt_in_time(&run);
	tuplestore_end(run.found);
	if (error == NULL || is_passing(error->sqlerrcode) || error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(message_of(&run, error)));
}
