/*
 * record.c
 *		Answers into notify.outcome, and their rows out of notify.ready.
 *
 * Most messages are sent by a provider that is well: a row is deleted and a row
 * is written, both here.  What else an answer brings with it (another attempt, a
 * row of the inbox, an address or a provider to flag) is done for all such
 * answers of the batch by notify._settle_rest(), and budgets hear of those that
 * cost something, when there are budgets, by notify._book().
 *
 * Fencing: a row is deleted only while it is owned by this slot and this start of
 * it.  One that moved since it was claimed (VACUUM FULL, a lease that was
 * mended) is found by its message.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "dispatch/ready.h"
#include "dispatch/record.h"
#include "guc.h"
#include "rows.h"
#include "statement.h"

#define TRIES	10				/* for a row that moves while it is deleted */

PG_FUNCTION_INFO_V1(notify_settle);

typedef enum OutcomeColumn
{
	O_MESSAGE, O_AT, O_VERDICT, O_ATTEMPT, O_PROVIDER, O_CLASS, O_CODE, O_REASON, O_DETAIL,
	O_REFERENCE, O_NEXT_AT, O_LATENCY, O_COST, O_COUNT
} OutcomeColumn;

static const RowsShape outcome_shape = {
	"outcome", O_COUNT,
	{"message", "at", "verdict", "attempt", "provider", "class", "code", "reason", "detail",
	"reference", "next_at", "latency", "cost"},
	0, {NULL}, {InvalidOid}
};

typedef enum ProviderColumn
{
	P_NAME, P_CHANNEL, P_PROBLEM, P_MAX_ATTEMPTS, P_COST, P_COUNT
} ProviderColumn;

static const RowsShape provider_shape = {
	"provider", P_COUNT, {"name", "channel", "problem", "max_attempts", "cost"}, 1, {"id"}, {F_INT4EQ}, true
};

static const RowsShape budget_shape = {
	"budget", 1, {"id"}, 1, {"id"}, {F_INT4EQ}, true
};

/* A provider as answers need to know it. */
typedef struct Facts
{
	int			id;
	bool		found;
	char	   *name;
	bool		inbox;
	bool		flagged;		/* it has a problem */
	int			max_attempts;
	bool		has_cost;
	Datum		cost;
	bool		budgeted;		/* budgets want to hear of it */
} Facts;

/* The columns of notify._settle_rest(), each an array while it is built. */
typedef enum RestColumn
{
	X_MESSAGE, X_ATTEMPT, X_REDRIVEN, X_PIN, X_PROVIDER, X_CLASS, X_VERDICT, X_DETAIL, X_RETRY_MS,
	X_SUBJECT, X_BODY, X_COUNT
} RestColumn;

static const Oid rest_types[X_COUNT] = {
	INT8OID, INT4OID, BOOLOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID
};

/* The columns of notify._book(), likewise. */
typedef enum BookColumn
{
	B_MESSAGE, B_COST, B_TAKEN, B_COUNT
} BookColumn;

static const Oid book_types[B_COUNT] = {INT8OID, NUMERICOID, BOOLOID};

typedef struct Recording
{
	int			slot;
	int64		boot;
	TimestampTz now;			/* notify.now() */
	Snapshot	snapshot;
	ReadyTable *ready;
	Rows	   *outcomes;
	List	   *facts;			/* Facts, the latest used first */
	int			nrest;
	Datum	   *rest[X_COUNT];
	bool	   *rest_nulls[X_COUNT];
	int			nbooked;
	Datum	   *booked[B_COUNT];
} Recording;

/* -------------------------------------------------------------- providers --- */

static bool
costs_something(Datum cost)
{
	return DatumGetBool(DirectFunctionCall2(numeric_gt, cost, DirectFunctionCall1(int4_numeric, Int32GetDatum(0))));
}

static bool
any_budget(Snapshot snapshot)
{
	Rows	   *log = rows_open(&budget_shape, snapshot, AccessShareLock);
	Datum		id;
	bool		isnull;
	bool		any = rows_last(log, &id, &isnull);

	rows_close(log);
	return any;
}

static void
read_facts(Facts *facts, Snapshot snapshot)
{
	Rows	   *log = rows_open(&provider_shape, snapshot, AccessShareLock);
	Datum		key = Int32GetDatum(facts->id);
	Datum		values[P_COUNT];
	bool		nulls[P_COUNT];

	facts->found = rows_fetch(log, 0, &key, values, nulls);
	if (facts->found)
	{
		facts->name = TextDatumGetCString(values[P_NAME]);
		facts->inbox = strcmp(TextDatumGetCString(values[P_CHANNEL]), "inbox") == 0;
		facts->flagged = !nulls[P_PROBLEM];
		facts->max_attempts = DatumGetInt32(values[P_MAX_ATTEMPTS]);
		facts->has_cost = !nulls[P_COST];
		if (facts->has_cost)
			facts->cost = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[P_COST]));
		facts->budgeted = facts->has_cost && costs_something(facts->cost) && any_budget(snapshot);
	}
	rows_close(log);
}

static const Facts *
find_facts(Recording *recording, int provider)
{
	Facts	   *facts;
	ListCell   *cell;

	foreach(cell, recording->facts)
	{
		facts = lfirst(cell);
		if (facts->id == provider)
			return facts;
	}
	facts = palloc0(sizeof(Facts));
	facts->id = provider;
	read_facts(facts, recording->snapshot);
	recording->facts = lcons(facts, recording->facts);
	return facts;
}

/* --------------------------------------------------------------- the queue --- */

/* Out of the queue, if it is still ours. */
static bool
take_out(Recording *recording, const Answer *answer, ReadyRow *row)
{
	ItemPointerData tid = answer->tid;

	for (int try = 0; try < TRIES; try++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!ready_find(recording->ready, answer->message, &tid, row) || !row->owned ||
			row->owner != recording->slot || row->boot != recording->boot)
			return false;
		if (ready_delete(recording->ready, row))
			return true;
		ready_close(recording->ready);
		UnregisterSnapshot(recording->snapshot);
		recording->snapshot = RegisterSnapshot(GetLatestSnapshot());
		recording->ready = ready_open(recording->snapshot);
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("message " INT64_FORMAT " moves in notify.ready while it is settled",
					answer->message)));
}

/* ------------------------------------------------------------------ the log --- */

static const char *
verdict_of(const Answer *answer, const Facts *facts)
{
	if (strcmp(answer->class, "ok") == 0)
		return facts->inbox ? "delivered" : "sent";
	if (strcmp(answer->class, "permanent_message") == 0 ||
		strcmp(answer->class, "permanent_recipient") == 0)
		return "failed";
	return answer->retry_ms >= 0 ? "retrying" : "dead";
}

static void
set(Datum *values, bool *nulls, int column, bool isnull, Datum value)
{
	nulls[column] = isnull;
	values[column] = isnull ? (Datum) 0 : value;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *string)
{
	set(values, nulls, column, string == NULL, string ? CStringGetTextDatum(string) : (Datum) 0);
}

static const char *
or_null(const char *string)
{
	return *string ? string : NULL;
}

static TimestampTz
next_attempt(const Recording *recording, const Answer *answer)
{
	return recording->now + answer->retry_ms * 1000;
}

static void
log_answer(Recording *recording, const Answer *answer, const ReadyRow *row, const Facts *facts,
		   const char *verdict)
{
	bool		dead = strcmp(verdict, "dead") == 0;
	bool		late = dead && facts->found && row->attempts < facts->max_attempts;
	Datum		values[O_COUNT];
	bool		nulls[O_COUNT];

	set(values, nulls, O_MESSAGE, false, Int64GetDatum(answer->message));
	set(values, nulls, O_AT, false, TimestampTzGetDatum(GetCurrentTimestamp()));
	set_text(values, nulls, O_VERDICT, verdict);
	set(values, nulls, O_ATTEMPT, false, Int32GetDatum(row->attempts));
	set_text(values, nulls, O_PROVIDER, facts->name);
	set_text(values, nulls, O_CLASS, answer->class);
	set(values, nulls, O_CODE, answer->code == 0, Int32GetDatum(answer->code));
	set_text(values, nulls, O_REASON, !dead ? NULL : late ? "late" : "attempts");
	set_text(values, nulls, O_DETAIL, or_null(answer->detail));
	set_text(values, nulls, O_REFERENCE, or_null(answer->reference));
	set(values, nulls, O_NEXT_AT, strcmp(verdict, "retrying") != 0,
		TimestampTzGetDatum(next_attempt(recording, answer)));
	set(values, nulls, O_LATENCY, false, Int32GetDatum(answer->latency));
	set(values, nulls, O_COST, !facts->has_cost || strcmp(answer->class, "ok") != 0, facts->cost);
	rows_add(recording->outcomes, answer->message, values, nulls);
}

/* ------------------------------------------------------- what comes with it --- */

/* A plain answer is recorded and that is all. */
static bool
is_plain(const Answer *answer, const Facts *facts, const char *verdict)
{
	if (strcmp(answer->class, "ok") == 0)
		return !facts->inbox && !facts->flagged;
	return strcmp(verdict, "retrying") != 0 && strcmp(answer->class, "permanent_recipient") != 0 &&
		strcmp(answer->class, "auth") != 0;
}

static void
add_rest(Recording *recording, const Answer *answer, const ReadyRow *row, const Facts *facts,
		 const char *verdict)
{
	Datum		values[X_COUNT];
	bool		nulls[X_COUNT];

	set(values, nulls, X_MESSAGE, false, Int64GetDatum(answer->message));
	set(values, nulls, X_ATTEMPT, false, Int32GetDatum(row->attempts));
	set(values, nulls, X_REDRIVEN, false, BoolGetDatum(row->redriven));
	set(values, nulls, X_PIN, !answer->ambiguous && !row->pinned, Int32GetDatum(row->lane / 4));
	set_text(values, nulls, X_PROVIDER, facts->name);
	set_text(values, nulls, X_CLASS, answer->class);
	set_text(values, nulls, X_VERDICT, verdict);
	set_text(values, nulls, X_DETAIL, or_null(answer->detail));
	set(values, nulls, X_RETRY_MS, false, Int64GetDatum(answer->retry_ms));
	set_text(values, nulls, X_SUBJECT, answer->subject);
	set_text(values, nulls, X_BODY, answer->body);
	for (int i = 0; i < X_COUNT; i++)
	{
		recording->rest[i][recording->nrest] = values[i];
		recording->rest_nulls[i][recording->nrest] = nulls[i];
	}
	recording->nrest++;
}

static Datum
rest_array(Recording *recording, RestColumn column)
{
	int			dims[] = {recording->nrest};
	int			bounds[] = {1};
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(rest_types[column], &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(recording->rest[column], recording->rest_nulls[column],
											  1, dims, bounds, rest_types[column], length, by_value, align));
}

static void
settle_rest(Recording *recording)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[X_COUNT + 1] = {TIMESTAMPTZOID};
	Datum		values[X_COUNT + 1] = {TimestampTzGetDatum(recording->now)};

	for (int i = 0; i < X_COUNT; i++)
	{
		types[i + 1] = get_array_type(rest_types[i]);
		values[i + 1] = rest_array(recording, i);
	}
	statement_plan(&plan, "SELECT notify._settle_rest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
				   X_COUNT + 1, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._settle_rest() failed");
}

/* ------------------------------------------------------------------ budgets --- */

static void
add_booking(Recording *recording, const Answer *answer, const Facts *facts)
{
	int			n = recording->nbooked++;

	recording->booked[B_MESSAGE][n] = Int64GetDatum(answer->message);
	recording->booked[B_COST][n] = facts->cost;
	recording->booked[B_TAKEN][n] = BoolGetDatum(strcmp(answer->class, "ok") == 0);
}

static void
book(Recording *recording)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[B_COUNT + 1] = {INT4OID};
	Datum		values[B_COUNT + 1] = {Int32GetDatum(recording->slot)};
	int16		length;
	bool		by_value;
	char		align;

	for (int i = 0; i < B_COUNT; i++)
	{
		types[i + 1] = get_array_type(book_types[i]);
		get_typlenbyvalalign(book_types[i], &length, &by_value, &align);
		values[i + 1] = PointerGetDatum(construct_array(recording->booked[i], recording->nbooked,
														book_types[i], length, by_value, align));
	}
	statement_plan(&plan, "SELECT notify._book($1, $2, $3, $4)", B_COUNT + 1, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._book() failed");
}

/* ---------------------------------------------------------------- a batch --- */

static bool
record_one(Recording *recording, const Answer *answer)
{
	ReadyRow	row;
	const Facts *facts;
	const char *verdict;

	if (!take_out(recording, answer, &row))
		return false;
	facts = find_facts(recording, row.lane / 4);
	verdict = verdict_of(answer, facts);
	log_answer(recording, answer, &row, facts, verdict);
	if (!is_plain(answer, facts, verdict))
		add_rest(recording, answer, &row, facts, verdict);
	if (facts->budgeted)
		add_booking(recording, answer, facts);
	return true;
}

static void
begin(Recording *recording, int count)
{
	for (int i = 0; i < X_COUNT; i++)
	{
		recording->rest[i] = palloc(count * sizeof(Datum));
		recording->rest_nulls[i] = palloc(count * sizeof(bool));
	}
	for (int i = 0; i < B_COUNT; i++)
		recording->booked[i] = palloc(count * sizeof(Datum));
	CommandCounterIncrement();
	recording->now = notify_now();
	recording->snapshot = RegisterSnapshot(GetLatestSnapshot());
	recording->ready = ready_open(recording->snapshot);
	recording->outcomes = rows_open(&outcome_shape, recording->snapshot, RowExclusiveLock);
}

int
record(int slot, int64 boot, const Answer *answers, int count)
{
	Recording	recording = {slot, boot};
	int			recorded = 0;
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "notify_pg settling", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(cxt);

	begin(&recording, Max(count, 1));
	for (int i = 0; i < count; i++)
		recorded += record_one(&recording, &answers[i]);
	rows_close(recording.outcomes);
	ready_close(recording.ready);
	UnregisterSnapshot(recording.snapshot);
	if (recording.nrest > 0)
		settle_rest(&recording);
	if (recording.nbooked > 0)
		book(&recording);
	CommandCounterIncrement();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(cxt);
	return recorded;
}

/* ------------------------------------------------------- what SQL sees of it --- */

/* The arrays of notify._settle(), from its third argument on. */
typedef enum SettleArgument
{
	S_TID, S_MESSAGE, S_CLASS, S_CODE, S_DETAIL, S_REFERENCE, S_RETRY_MS, S_LATENCY, S_SUBJECT,
	S_BODY, S_AMBIGUOUS, S_COUNT
} SettleArgument;

typedef struct SettleColumn
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} SettleColumn;

static SettleColumn
settle_column(ArrayType *array)
{
	SettleColumn column;
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &column.values, &column.nulls, &column.n);
	return column;
}

static bool
there(const SettleColumn *column, int i)
{
	return i < column->n && !column->nulls[i];
}

static const char *
string(const SettleColumn *column, int i)
{
	return there(column, i) ? TextDatumGetCString(column->values[i]) : NULL;
}

static const char *
string_or_empty(const SettleColumn *column, int i)
{
	return there(column, i) ? TextDatumGetCString(column->values[i]) : "";
}

static void
read_answer(Answer *answer, const SettleColumn *columns, int i)
{
	if (there(&columns[S_TID], i))
		answer->tid = *(ItemPointer) DatumGetPointer(columns[S_TID].values[i]);
	else
		ItemPointerSet(&answer->tid, InvalidBlockNumber, FirstOffsetNumber);
	answer->message = there(&columns[S_MESSAGE], i) ? DatumGetInt64(columns[S_MESSAGE].values[i]) : 0;
	answer->class = string_or_empty(&columns[S_CLASS], i);
	answer->code = there(&columns[S_CODE], i) ? DatumGetInt32(columns[S_CODE].values[i]) : 0;
	answer->detail = string_or_empty(&columns[S_DETAIL], i);
	answer->reference = string_or_empty(&columns[S_REFERENCE], i);
	answer->retry_ms = there(&columns[S_RETRY_MS], i) ? DatumGetInt64(columns[S_RETRY_MS].values[i]) : -1;
	answer->latency = there(&columns[S_LATENCY], i) ? DatumGetInt32(columns[S_LATENCY].values[i]) : 0;
	answer->subject = string(&columns[S_SUBJECT], i);
	answer->body = string(&columns[S_BODY], i);
	answer->ambiguous = there(&columns[S_AMBIGUOUS], i) && DatumGetBool(columns[S_AMBIGUOUS].values[i]);
}

/* _settle(slot, boot, tids, messages, ...) */
Datum
notify_settle(PG_FUNCTION_ARGS)
{
	SettleColumn columns[S_COUNT];
	Answer	   *answers;
	int			count;
	int			recorded;

	for (int i = 0; i < S_COUNT; i++)
		columns[i] = settle_column(PG_GETARG_ARRAYTYPE_P(i + 2));
	count = columns[S_TID].n;
	answers = palloc((count + 1) * sizeof(Answer));
	for (int i = 0; i < count; i++)
		read_answer(&answers[i], columns, i);
	SPI_connect();
	recorded = record(PG_GETARG_INT32(0), PG_GETARG_INT64(1), answers, count);
	SPI_finish();
	PG_RETURN_INT64(recorded);
}
