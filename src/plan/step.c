/*
 * step.c
 *		One step of planning: what has come due, then the next events.
 *
 * What a step is, and how the cursor goes on, is told in sql/plan.sql.  A step is
 * taken at every commit that leaves an event, so what it mostly does is done
 * here; the backlog, schedules that have come due, upkeep and all that goes wrong
 * are functions in SQL, called when there is something for them.
 *
 * Locking: notify.mark SHARE ROW EXCLUSIVE until the end of the transaction, so a
 * second caller waits; not the cursor, which must be vacuumed.  What is read
 * is read in snapshots taken after that lock.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "capture/attempt.h"
#include "capture/id.h"
#include "dispatch/gate.h"
#include "guc.h"
#include "plan/apply.h"
#include "plan/batch.h"
#include "plan/gather.h"
#include "rows.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(notify_plan);
PG_FUNCTION_INFO_V1(notify_look_back);

#define SLACK		(10 * USECS_PER_MINUTE) /* what was scheduled longer ago is visible */
#define MARK_EVERY	USECS_PER_MINUTE
#define DETAIL_MAX	500

typedef enum CursorColumn
{
	U_SNAP, U_OPEN_TO, U_AT_XID, U_AT_ID, U_BACKLOG_TURN, U_STEP, U_BACKLOG_FIRST, U_BACKLOG_NEXT,
	U_DUE_FROM, U_COUNT
} CursorColumn;

static const RowsShape cursor_shape = {
	"cursor", U_COUNT,
	{"snap", "open_to", "at_xid", "at_id", "backlog_turn", "step", "backlog_first", "backlog_next", "due_from"},
	1, {"step"}, {F_INT8EQ}, true
};

static const RowsShape scheduled_shape = {
	"scheduled", 1, {"due_at"}, 1, {"due_at"}, {F_TIMESTAMPTZ_GE}, true, true
};

static const RowsShape mark_shape = {
	"mark", 2, {"from_xid", "id"}, 1, {"from_xid"}, {F_XID8EQ}, true
};

typedef struct Cursor
{
	Datum		values[U_COUNT];
	bool		nulls[U_COUNT];
} Cursor;

typedef struct Step
{
	int			batch;
	TimestampTz now;
	TimestampTz since;			/* what is due is looked for from here on */
	Cursor		was;
	Cursor		cursor;
	int			taken;			/* from notify.scheduled, and of these to notify.ready */
	int			moved;
	Applied		applied;
	ArrayType  *events;			/* these two: what is next; NULL: nothing */
	ArrayType  *people;
	int			nevents;
	bool		asked;			/* an audience may wait */
} Step;

/* Work that must not stop the rest when it fails. */
typedef struct Portion
{
	ArrayType  *events;			/* NULL: people */
	ArrayType  *people;
	int64		audience;
	bool		asked;
	Applied		applied;
} Portion;

/* ------------------------------------------------------------------- cursor --- */

static int64
number(const Cursor *cursor, CursorColumn column)
{
	return DatumGetInt64(cursor->values[column]);
}

static void
set_number(Cursor *cursor, CursorColumn column, int64 value)
{
	cursor->values[column] = Int64GetDatum(value);
}

/* The cursor is the newest row, whatever dead ones lie before it. */
static void
read_cursor(Cursor *cursor)
{
	Rows	   *log = rows_open(&cursor_shape, GetActiveSnapshot(), AccessShareLock);

	if (!rows_last(log, cursor->values, cursor->nulls))
		elog(ERROR, "notify.cursor has no row");
	cursor->values[U_SNAP] = PointerGetDatum(PG_DETOAST_DATUM_COPY(cursor->values[U_SNAP]));
	if (!cursor->nulls[U_OPEN_TO])
		cursor->values[U_OPEN_TO] = PointerGetDatum(PG_DETOAST_DATUM_COPY(cursor->values[U_OPEN_TO]));
	rows_close(log);
}

static bool
is_same(const Cursor *one, const Cursor *other)
{
	for (int i = 0; i < U_COUNT; i++)
	{
		bool		by_reference = i == U_SNAP || i == U_OPEN_TO;

		if (one->nulls[i] != other->nulls[i] ||
			(!one->nulls[i] && !datumIsEqual(one->values[i], other->values[i], !by_reference, by_reference ? -1 : 8)))
			return false;
	}
	return true;
}

/* A new row for one that differs. */
static void
save_cursor(const Cursor *was, Cursor *cursor)
{
	Rows	   *log;
	Cursor		old;

	if (is_same(was, cursor))
		return;
	log = rows_open(&cursor_shape, GetActiveSnapshot(), RowExclusiveLock);
	if (!rows_last(log, old.values, old.nulls))
		elog(ERROR, "notify.cursor has no row");
	rows_delete(log);
	set_number(cursor, U_STEP, number(was, U_STEP) + 1);
	rows_add(log, 0, cursor->values, cursor->nulls);
	rows_close(log);
}

/* What was done so far is seen, and all that is committed. */
static void
renew_snapshot(void)
{
	PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* ------------------------------------------------------------------ due times --- */

/* When the first scheduled message from then on is due. */
static bool
next_due(TimestampTz since, TimestampTz *due)
{
	Rows	   *log = rows_open(&scheduled_shape, GetActiveSnapshot(), AccessShareLock);
	Datum		key = TimestampTzGetDatum(since);
	Datum		value;
	bool		isnull;
	bool		found;

	rows_seek(log, &key);
	found = rows_next(log, &value, &isnull);
	if (found)
		*due = DatumGetTimestampTz(value);
	rows_close(log);
	return found;
}

static int
count(ArrayType *array)
{
	return array == NULL ? 0 : ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/* A column of the one row a statement gave, copied; NULL when it is. */
static ArrayType *
array_column(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? NULL : DatumGetArrayTypePCopy(value);
}

static int64
int_column(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static void
run(SPIPlanPtr *plan, const char *query, int nargs, Oid *types, Datum *values)
{
	statement_plan(plan, query, nargs, types);
	if (SPI_execute_plan(*plan, values, NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "failed: %s", query);
}

/* ---------------------------------------------------- one bad one, not all --- */

static void
apply_portion(void *arg)
{
	Portion    *portion = arg;

	PushActiveSnapshot(GetTransactionSnapshot());
	if (portion->events != NULL)
	{
		portion->people = gather(portion->events, portion->audience, &portion->asked);
		renew_snapshot();
	}
	portion->applied = apply(portion->people);
	PopActiveSnapshot();
}

static ArrayType *
slice(ArrayType *array, int from, int to)
{
	Datum	   *elements;
	int			n;

	if (array == NULL)
		return NULL;
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, NULL, &n);
	return construct_array(elements + from, to - from, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE);
}

/* Skips the one at fault, which says why. */
static void
give_up(const Portion *portion, const ErrorData *error)
{
	static TypedPlan event_plan = {NULL};
	static TypedPlan person_plan = {NULL};
	bool		is_event = portion->events != NULL;
	ArrayType  *array = is_event ? portion->events : portion->people;
	char	   *why = psprintf("%s (SQLSTATE %s)", error->message, unpack_sql_state(error->sqlerrcode));
	Oid			types[] = {TEXTOID, get_array_type(ARR_ELEMTYPE(array))};
	Datum		values[] = {CStringGetTextDatum(why), PointerGetDatum(array)};
	SPIPlanPtr	plan = is_event ?
		statement_typed_plan(&event_plan, "SELECT notify._event_not_planned($1, $2)", 2, types) :
		statement_typed_plan(&person_plan, "SELECT notify._person_not_planned($1, $2)", 2, types);

	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not note what cannot be planned");
}

/*
 * When a portion raises an error its halves are tried, down to the one at fault.
 */
static Portion
apply_all(ArrayType *events, ArrayType *people, int64 audience)
{
	Portion		portion = {events, people, audience};
	Portion		halves[2];
	ErrorData  *error = attempt(apply_portion, &portion);
	int			n = count(events ? events : people);

	CHECK_FOR_INTERRUPTS();
	if (error == NULL)
		return portion;
	memset(&portion.applied, 0, sizeof(portion.applied));
	portion.people = people;
	if (n == 1)
	{
		give_up(&portion, error);
		portion.applied.planned = 1;
		return portion;
	}
	for (int i = 0; i < 2; i++)
	{
		int			from = i == 0 ? 0 : n / 2;
		int			to = i == 0 ? n / 2 : n;

		halves[i] = apply_all(slice(events, from, to), slice(people, from, to), audience);
		portion.applied.planned += halves[i].applied.planned;
		portion.applied.readied += halves[i].applied.readied;
		portion.asked |= halves[i].asked;
	}
	return portion;
}

static void
apply_step(Step *step, ArrayType *events, ArrayType *people)
{
	Portion		portion = apply_all(events, people, number(&step->cursor, U_BACKLOG_NEXT));

	step->applied.planned += portion.applied.planned;
	step->applied.readied += portion.applied.readied;
	step->asked |= portion.asked;
	renew_snapshot();
}

/* ------------------------------------------------------------ what has come due --- */

static void
promote(Step *step)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[] = {TimestampTzGetDatum(step->since), TimestampTzGetDatum(step->now), Int32GetDatum(step->batch)};
	TimestampTz due;
	ArrayType  *candidates;

	if (!next_due(step->since, &due) || due > step->now)
		return;
	run(&plan, "SELECT p.taken::bigint, p.moved::bigint, p.candidates FROM notify._promote($1, $2, $3) AS p", 3, types, values);
	step->taken = int_column(1);
	step->moved = int_column(2);
	candidates = array_column(3);
	SPI_freetuptable(SPI_tuptable);
	renew_snapshot();
	if (count(candidates) > 0)
		apply_step(step, NULL, candidates);
}

/* ---------------------------------------------------------------- the backlog --- */

static bool
is_behind(const Cursor *cursor)
{
	return number(cursor, U_BACKLOG_FIRST) < number(cursor, U_BACKLOG_NEXT);
}

static void
take_turn(Cursor *cursor, CursorColumn column)
{
	set_number(cursor, column, number(cursor, column) + 1);
}

/* What follows this event in its transaction gets the last turn. */
static void
add_to_backlog(Cursor *cursor, const EventPlace *last)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT8OID, XID8OID, INT8OID};
	Datum		values[] = {cursor->values[U_BACKLOG_NEXT],
	FullTransactionIdGetDatum(FullTransactionIdFromU64(last->xid)), Int64GetDatum(last->id)};

	run(&plan, "SELECT notify._add_to_backlog($1, $2, $3)", 3, types, values);
	take_turn(cursor, U_BACKLOG_NEXT);
}

/* Events, or people, that have their turn. */
static void
next_of_backlog(Step *step)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT8OID, INT8OID, INT4OID};
	Datum		values[] = {step->cursor.values[U_BACKLOG_FIRST], step->cursor.values[U_BACKLOG_NEXT], Int32GetDatum(step->batch)};

	run(&plan, "SELECT b.chunk, b.people, b.again::integer::bigint FROM notify._backlog_chunk($1, $2, $3) AS b", 3, types, values);
	step->events = array_column(1);
	step->people = array_column(2);
	step->nevents = count(step->events);
	take_turn(&step->cursor, U_BACKLOG_FIRST);
	if (int_column(3) != 0)
		take_turn(&step->cursor, U_BACKLOG_NEXT);
	SPI_freetuptable(SPI_tuptable);
}

/* ------------------------------------------------------------------- the batch --- */

static bool
worth_closing(const Cursor *cursor)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {PG_SNAPSHOTOID, PG_SNAPSHOTOID};
	Datum		values[] = {cursor->values[U_SNAP], cursor->values[U_OPEN_TO]};
	bool		worth;

	run(&plan, "SELECT notify._worth_closing($1, $2)::integer::bigint", 2, types, values);
	worth = int_column(1) != 0;
	SPI_freetuptable(SPI_tuptable);
	return worth;
}

/*
 * The lowest id an event of the batch can have, by notify.mark; and whether the
 * marks are as they should be, as they mostly are: batches are opened a thousand
 * times a second, marks made once a minute.
 */
static int64
low_id(Datum snap, bool *marked)
{
	Rows	   *log = rows_open(&mark_shape, GetActiveSnapshot(), AccessShareLock);
	TimestampTz now = GetCurrentTimestamp();
	int64		day_ago = notify_time_to_id(now - USECS_PER_DAY);
	uint64		xmin = U64FromFullTransactionId(DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin, snap)));
	uint64		best = 0;
	int64		low = 0;
	int64		newest = 0;
	Datum		values[2];
	bool		nulls[2];

	rows_seek(log, NULL);
	while (rows_next(log, values, nulls))
	{
		uint64		from = U64FromFullTransactionId(DatumGetFullTransactionId(values[0]));

		newest = Max(newest, DatumGetInt64(values[1]));
		if (from <= xmin && from >= best)
		{
			best = from;
			low = DatumGetInt64(values[1]);
		}
	}
	rows_close(log);
	*marked = newest <= day_ago && newest > notify_time_to_id(now - USECS_PER_DAY - MARK_EVERY);
	return Min(low, day_ago);	/* the clock may have been set back */
}

/* Remembers where ids are when a batch is opened. */
static void
mark(Datum snap)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {PG_SNAPSHOTOID};

	run(&plan, "SELECT notify._mark($1)", 1, types, &snap);
}

static void
open_batch(Cursor *cursor)
{
	cursor->nulls[U_OPEN_TO] = false;
	cursor->values[U_OPEN_TO] = OidFunctionCall0(F_PG_CURRENT_SNAPSHOT);
	cursor->values[U_AT_XID] = FullTransactionIdGetDatum(FullTransactionIdFromU64(0));
	set_number(cursor, U_AT_ID, 0);
}

static void
close_batch(Cursor *cursor)
{
	cursor->values[U_SNAP] = cursor->values[U_OPEN_TO];
	cursor->nulls[U_OPEN_TO] = true;
	cursor->values[U_OPEN_TO] = (Datum) 0;
}

/* After a full chunk: one transaction that fills more than half of it goes on in the backlog. */
static void
go_on(Cursor *cursor, const EventPlace *places, int n)
{
	const EventPlace *last = &places[n - 1];

	cursor->values[U_AT_XID] = FullTransactionIdGetDatum(FullTransactionIdFromU64(last->xid));
	set_number(cursor, U_AT_ID, last->id);
	if (places[n / 2].xid != last->xid)
		return;
	add_to_backlog(cursor, last);
	set_number(cursor, U_AT_ID, PG_INT64_MAX);
}

/* The next events of the open batch; one is opened when there is something new. */
static void
next_of_batch(Step *step)
{
	Cursor	   *cursor = &step->cursor;
	bool		was_open = !step->was.nulls[U_OPEN_TO];
	EventPlace *places = palloc(step->batch * sizeof(EventPlace));
	bool		marked;
	int64		low = low_id(cursor->values[U_SNAP], &marked);
	BatchPosition position;

	if (!was_open)
		open_batch(cursor);
	position.snap = cursor->values[U_SNAP];
	position.open_to = cursor->values[U_OPEN_TO];
	position.at_xid = U64FromFullTransactionId(DatumGetFullTransactionId(cursor->values[U_AT_XID]));
	position.at_id = number(cursor, U_AT_ID);
	step->events = batch_events(&position, low, step->batch, places, &step->nevents);
	if (step->nevents == step->batch)
		go_on(cursor, places, step->nevents);
	else if (step->nevents > 0 || was_open || worth_closing(cursor))
		close_batch(cursor);
	else
		*cursor = step->was;
	if (!was_open && !marked && !is_same(cursor, &step->was))
		mark(cursor->values[cursor->nulls[U_OPEN_TO] ? U_SNAP : U_OPEN_TO]);
	pfree(places);
}

/* New events and the backlog by turns. */
static void
find_next(Step *step)
{
	bool		behind = is_behind(&step->was);
	bool		backlog_first = behind && DatumGetBool(step->was.values[U_BACKLOG_TURN]);

	if (!backlog_first)
		next_of_batch(step);
	if (behind && step->events == NULL)
		next_of_backlog(step);
	step->cursor.values[U_BACKLOG_TURN] = BoolGetDatum(behind && !backlog_first);
	renew_snapshot();
}

/* People that these events left waiting get the last turn of the backlog. */
static void
add_audience(Step *step)
{
	static TypedPlan kept = {NULL};
	Oid			types[] = {INT8OID, get_array_type(ARR_ELEMTYPE(step->events))};
	Datum		values[] = {step->cursor.values[U_BACKLOG_NEXT], PointerGetDatum(step->events)};
	SPIPlanPtr	plan = statement_typed_plan(&kept, "SELECT notify._add_audience($1, $2)", 2, types);
	bool		isnull;

	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "notify._add_audience() failed");
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		take_turn(&step->cursor, U_BACKLOG_NEXT);
	SPI_freetuptable(SPI_tuptable);
	renew_snapshot();
}

/* --------------------------------------------------------------------- a step --- */

static void
offer_probes(void)
{
	static SPIPlanPtr plan = NULL;

	if (gates_any_probe_due())
		run(&plan, "SELECT notify._offer_probes()", 0, NULL, NULL);
}

static void
begin(Step *step)
{
	LockRelationOid(get_relname_relid("mark", get_namespace_oid("notify", false)), ShareRowExclusiveLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	read_cursor(&step->was);
	step->cursor = step->was;
	step->now = notify_now();
	step->since = Min(number(&step->was, U_DUE_FROM), step->now - SLACK);
}

static void
take_step(Step *step)
{
	begin(step);
	promote(step);
	find_next(step);
	if (step->events != NULL || step->people != NULL)
		apply_step(step, step->events, step->people);
	if (step->asked && step->events != NULL)
		add_audience(step);
	offer_probes();
	if (step->taken < step->batch && step->since < step->now - 2 * SLACK)
		step->cursor.values[U_DUE_FROM] = TimestampTzGetDatum(step->now - SLACK);
	save_cursor(&step->was, &step->cursor);
	renew_snapshot();
}

/* A batch that was open ends where it was opened: events since then need another look. */
static bool
is_more(const Step *step)
{
	return !step->was.nulls[U_OPEN_TO] || !step->cursor.nulls[U_OPEN_TO] || is_behind(&step->cursor) ||
		step->taken == step->batch || step->nevents == step->batch;
}

/* _plan(batch) */
Datum
notify_plan(PG_FUNCTION_ARGS)
{
	Step		step = {PG_GETARG_INT32(0)};
	TupleDesc	desc;
	TimestampTz due = 0;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "notify._plan() must give a row");
	SPI_connect();
	take_step(&step);
	values[0] = Int32GetDatum(step.applied.planned);
	values[1] = Int32GetDatum(step.applied.readied + step.moved);
	values[2] = BoolGetDatum(is_more(&step));
	nulls[3] = !next_due(step.since, &due);
	values[3] = TimestampTzGetDatum(due);
	PopActiveSnapshot();
	SPI_finish();
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* _look_back(): makes the planner see all of notify.scheduled */
Datum
notify_look_back(PG_FUNCTION_ARGS)
{
	Step		step = {0};
	TimestampTz due;

	begin(&step);
	if (next_due(DT_NOBEGIN, &due) && due < number(&step.was, U_DUE_FROM))
		step.cursor.values[U_DUE_FROM] = TimestampTzGetDatum(due);
	save_cursor(&step.was, &step.cursor);
	PopActiveSnapshot();
	PG_RETURN_VOID();
}
