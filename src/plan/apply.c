/*
 * apply.c
 *		Decides, and writes the messages and their place in the queue.
 *
 * Messages and the rows of notify.ready are written without an executor
 * (rows.c): one event's message is written a thousand times a second.
 * What few decisions bring along (a dedupe key, a later time, a step that follows)
 * is left to notify._apply_rest(), and money to budget.sql.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "capture/id.h"
#include "guc.h"
#include "plan/apply.h"
#include "plan/decide.h"
#include "rows.h"
#include "statement.h"

/* A message is its id and what follows of the decision, column by column. */
static const RowsShape message_shape = {
	"message", 22,
	{"id", "event", "event_xid", "source", "key", "rule", "recipient", "template", "category", "channel",
	"address", "priority", "template_version", "verdict", "reason", "detail", "due_at", "expires_at",
	"dedupe_key", "cancel_key", "context", "step"},
};

static const DecisionColumn message_columns[] = {
	D_EVENT, D_EVENT_XID, D_SOURCE, D_KEY, D_RULE, D_RECIPIENT, D_TEMPLATE, D_CATEGORY, D_CHANNEL,
	D_ADDRESS, D_PRIORITY, D_TEMPLATE_VERSION, D_VERDICT, D_REASON, D_DETAIL, D_DUE_AT, D_EXPIRES_AT,
	D_DEDUPE_KEY, D_CANCEL_KEY, D_CONTEXT, D_STEP
};

static const RowsShape ready_shape = {
	"ready", 6, {"message", "seq", "lane", "attempts", "redriven", "pinned"}, 0, {NULL}, {InvalidOid}, true
};

static const RowsShape budget_shape = {
	"budget", 1, {"id"}, 1, {"id"}, {F_INT4EQ}, true
};

static const RowsShape former_shape = {
	"recipient_former", 1, {"former"}, 1, {"former"}, {F_TEXTEQ}, true
};

typedef struct Apply
{
	ArrayType  *people;
	bool		budgeted;
	Decisions  *decisions;
	int64	   *ids;			/* of the messages to be */
	TimestampTz now;
	Oid			ready_seq;
	Rows	   *messages;
	Rows	   *ready;
	Datum	   *readied;		/* ids of what went to the queue */
	int			nreadied;
	Datum	   *rest;			/* these two: what brings more along */
	Datum	   *rest_ids;
	int			nrest;
	TupleDesc	decision_type;
} Apply;

/* Is there any row in this table?  By its index on the column. */
static bool
is_any(const RowsShape *shape)
{
	Rows	   *rows = rows_open(shape, GetActiveSnapshot(), AccessShareLock);
	Datum		value;
	bool		isnull;
	bool		any = rows_last(rows, &value, &isnull);

	rows_close(rows);
	return any;
}

/* Who has another id since the event is still meant: by the snapshot in which the person will be looked up. */
static ArrayType *
people_now(ArrayType *people)
{
	static TypedPlan kept = {NULL};
	Oid			types[] = {get_array_type(ARR_ELEMTYPE(people))};
	Datum		values[] = {PointerGetDatum(people)};
	SPIPlanPtr	plan = statement_typed_plan(&kept, "SELECT notify._people_now($1)", 1, types);
	bool		isnull;

	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "notify._people_now() failed");
	return DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static void
look_at_budgets(int count)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(count)};

	statement_plan(&plan, "SELECT notify._look_at_budgets($1)", 1, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._look_at_budgets() failed");
	SPI_freetuptable(SPI_tuptable);
}

/* decide() with a look at budgets, which is SQL. */
static Decisions *
decide_within_budgets(ArrayType *people)
{
	static TypedPlan kept = {NULL};
	Oid			types[] = {get_array_type(ARR_ELEMTYPE(people))};
	Datum		values[] = {PointerGetDatum(people)};
	SPIPlanPtr	plan = statement_typed_plan(&kept, "SELECT * FROM notify.decide($1)", 1, types);
	Decisions  *decisions = palloc0(sizeof(Decisions));

	if (SPI_execute_plan(plan, values, NULL, true, 0) != SPI_OK_SELECT ||
		SPI_tuptable->tupdesc->natts != D_COUNT)
		elog(ERROR, "notify.decide() failed");
	decisions->list = palloc_extended(Max(SPI_processed, 1) * sizeof(Decision), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Decision   *decision = &decisions->list[decisions->n++];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, decision->values, decision->nulls);
	}
	return decisions;
}

static bool
is_sent(const Decision *decision)
{
	return strcmp(TextDatumGetCString(decision->values[D_VERDICT]), "send") == 0;
}

static bool
is_due(const Apply *apply, const Decision *decision)
{
	return !decision->nulls[D_DUE_AT] && DatumGetTimestampTz(decision->values[D_DUE_AT]) <= apply->now;
}

static void
add_message(Apply *apply, int64 id, const Decision *decision)
{
	Datum		values[ROWS_COLUMNS] = {Int64GetDatum(id)};
	bool		nulls[ROWS_COLUMNS] = {false};

	for (int i = 0; i < (int) lengthof(message_columns); i++)
	{
		values[i + 1] = decision->values[message_columns[i]];
		nulls[i + 1] = decision->nulls[message_columns[i]];
	}
	rows_add(apply->messages, id, values, nulls);
}

static void
add_ready(Apply *apply, int64 id, const Decision *decision)
{
	int			lane = DatumGetInt32(decision->values[D_PROVIDER]) * 4 + DatumGetInt16(decision->values[D_PRIORITY]);
	Datum		values[] = {Int64GetDatum(id), Int64GetDatum(nextval_internal(apply->ready_seq, false)),
	Int32GetDatum(lane), Int32GetDatum(0), BoolGetDatum(false), BoolGetDatum(false)};
	bool		nulls[lengthof(values)] = {false};

	rows_add(apply->ready, id, values, nulls);
	apply->readied[apply->nreadied++] = Int64GetDatum(id);
}

static void
add_rest(Apply *apply, int64 id, const Decision *decision)
{
	HeapTuple	tuple = heap_form_tuple(apply->decision_type, (Datum *) decision->values, (bool *) decision->nulls);

	apply->rest[apply->nrest] = HeapTupleGetDatum(tuple);
	apply->rest_ids[apply->nrest++] = Int64GetDatum(id);
}

static void
write_one(Apply *apply, const Decision *decision)
{
	int64		id = notify_next_id();
	bool		sent = is_sent(decision);

	add_message(apply, id, decision);
	if (sent && is_due(apply, decision))
		add_ready(apply, id, decision);
	if (!decision->nulls[D_STEP] ||
		(sent && (!decision->nulls[D_DEDUPE_KEY] || !is_due(apply, decision))))
		add_rest(apply, id, decision);
}

static Datum
array_of(Datum *elements, int n, Oid type)
{
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(elements, n, type, length, by_value, align));
}

static void
write_rest(Apply *apply)
{
	static TypedPlan kept = {NULL};
	Oid			type = apply->decision_type->tdtypeid;
	Oid			types[] = {INT8ARRAYOID, get_array_type(type)};
	Datum		values[] = {array_of(apply->rest_ids, apply->nrest, INT8OID), array_of(apply->rest, apply->nrest, type)};

	if (SPI_execute_plan(statement_typed_plan(&kept, "SELECT notify._apply_rest($1, $2)", 2, types), values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._apply_rest() failed");
	SPI_freetuptable(SPI_tuptable);
}

/* The money of what went into the queue. */
static void
reserve(Apply *apply)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {array_of(apply->readied, apply->nreadied, INT8OID)};

	statement_plan(&plan, "SELECT notify._reserve($1)", 1, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._reserve() failed");
	SPI_freetuptable(SPI_tuptable);
}

static void
begin_writing(Apply *apply)
{
	int			room = Max(apply->decisions->n, 1);
	Oid			schema = get_namespace_oid("notify", false);
	Snapshot	snapshot = GetActiveSnapshot();

	apply->now = notify_now();
	apply->ready_seq = get_relname_relid("ready_seq", schema);
	apply->messages = rows_open(&message_shape, snapshot, RowExclusiveLock);
	apply->ready = rows_open(&ready_shape, snapshot, RowExclusiveLock);
	apply->decision_type = lookup_rowtype_tupdesc(GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("decision"), ObjectIdGetDatum(schema)), -1);
	apply->readied = palloc_extended(room * sizeof(Datum), MCXT_ALLOC_HUGE);
	apply->rest = palloc_extended(room * sizeof(Datum), MCXT_ALLOC_HUGE);
	apply->rest_ids = palloc_extended(room * sizeof(Datum), MCXT_ALLOC_HUGE);
}

static void
write_all(Apply *apply)
{
	begin_writing(apply);
	for (int i = 0; i < apply->decisions->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		write_one(apply, &apply->decisions->list[i]);
	}
	rows_close(apply->messages);
	rows_close(apply->ready);
	CommandCounterIncrement();
	if (apply->nrest > 0)
		write_rest(apply);
	ReleaseTupleDesc(apply->decision_type);
	if (apply->budgeted && apply->nreadied > 0)
		reserve(apply);
}

/* All of a decision in one snapshot, which knows what look_at_budgets() counted. */
static void
decide_all(Apply *apply)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	if (is_any(&former_shape))
		apply->people = people_now(apply->people);
	apply->decisions = apply->budgeted ? decide_within_budgets(apply->people) : decide(apply->people);
	PopActiveSnapshot();
}

Applied
apply(ArrayType *people)
{
	Apply		apply = {people};
	Applied		applied;

	apply.budgeted = is_any(&budget_shape);
	if (apply.budgeted)
		look_at_budgets(ArrayGetNItems(ARR_NDIM(people), ARR_DIMS(people)));
	decide_all(&apply);
	write_all(&apply);
	applied.planned = apply.decisions->n;
	applied.readied = apply.nreadied;
	return applied;
}
