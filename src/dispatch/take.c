/*
 * take.c
 *		Claiming rows of notify.ready, with all that is needed to send them.
 *
 * Three steps, in one transaction: rows of the lanes asked for are marked with
 * (owner, boot, lease) and their attempt counted; their messages are read, and
 * those that must not be sent after all are settled and left out; of the others
 * everything a letter is made of is given to the caller.
 *
 * Rows are reached through the index on (lane, seq) from a moving bound, one
 * message and one event through the index of their day (rows.c), so no plan
 * can flip and the cost is the same whatever else is in the tables.  Nothing is
 * waited for: a row somebody has locked or changed is passed over.
 *
 * Deciding again needs no look at each message unless there is a reason: one of
 * these messages has expired or is a step that may be needless by now, something
 * was cancelled since the day of the oldest event, somebody refused something since the oldest message was planned.
 * These are looked for after the rows are marked, in a new snapshot: what was
 * committed before the claim stops a message.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "capture/id.h"
#include "channel/tag.h"
#include "compat.h"
#include "dispatch/ready.h"
#include "dispatch/take.h"
#include "guc.h"
#include "plan/cancels.h"
#include "plan/data.h"
#include "rows.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(notify_claim);

typedef enum MessageColumn
{
	M_ID, M_EVENT, M_EVENT_XID, M_RULE, M_RECIPIENT, M_CATEGORY, M_CHANNEL, M_ADDRESS,
	M_TEMPLATE, M_TEMPLATE_VERSION, M_EXPIRES_AT, M_STEP, M_CONTEXT, M_COUNT
} MessageColumn;

static const RowsShape message_shape = {
	"message", M_COUNT,
	{"id", "event", "event_xid", "rule", "recipient", "category", "channel", "address",
	"template", "template_version", "expires_at", "step", "context"},
	1, {"id"}, {F_INT8EQ}
};

typedef enum EventColumn
{
	E_OP, E_TYPE, E_KEY, E_NEW, E_OLD, E_COUNT
} EventColumn;

static const RowsShape event_shape = {
	"event", E_COUNT, {"op", "type", "key", "new", "old"},
	2, {"xid", "id"}, {F_XID8EQ, F_INT8EQ}
};

static const RowsShape preference_shape = {
	"preference", 1, {"at"}, 1, {"at"}, {F_TIMESTAMPTZ_EQ}, true
};

static const RowsShape suppression_shape = {
	"suppression", 1, {"at"}, 1, {"at"}, {F_TIMESTAMPTZ_EQ}, true
};

static const RowsShape version_shape = {
	"rule_version", 1, {"name"}, 1, {"id"}, {F_INT8EQ}, true
};

static const RowsShape category_shape = {
	"category", 2, {"at_most_once", "class"}, 1, {"name"}, {F_TEXTEQ}, true
};

static const RowsShape provider_shape = {
	"provider", 1, {"max_attempts"}, 1, {"id"}, {F_INT4EQ}, true
};

/* A row that was marked, and its message. */
typedef struct Taken
{
	ItemPointerData tid;
	ReadyRow	ready;
	bool		found;			/* its message is there, and is to be sent */
	Datum		values[M_COUNT];
	bool		nulls[M_COUNT];
} Taken;

/* What configuration says of a message; the same for most of a batch. */
typedef struct Terms
{
	int64		rule;			/* these three: the key */
	int			provider;
	char	   *category;		/* NULL: none */
	char	   *rule_name;		/* NULL: none */
	bool		at_most_once;
	bool		marketing;
	bool		has_max_attempts;
	int			max_attempts;
} Terms;

typedef struct Take
{
	const TakeQuestion *question;
	MemoryContext cxt;
	MemoryContext row_cxt;
	Snapshot	snapshot;
	Taken	   *rows;
	int			nrows;
	bool		token_key_read;
	text	   *token_key;		/* NULL: there is none */
	List	   *terms;			/* Terms, the latest used first */
	Rows	   *events;
} Take;

/* ------------------------------------------------------------- marking --- */

static bool
mark(ReadyTable *ready, Take *take, Taken *taken)
{
	ReadyRow   *row = &taken->ready;

	row->owned = true;
	row->owner = take->question->slot;
	row->boot = take->question->boot;
	row->lease = GetCurrentTimestamp() + take->question->lease;
	row->attempts++;
	return ready_update(ready, row, &taken->tid);
}

/* From the lane's bound on; gives its new one, or -1. */
static int64
mark_lane(ReadyTable *ready, Take *take, int lane)
{
	const TakeQuestion *question = take->question;
	int64		bound = -1;
	int			room = Min(question->room[lane], question->most - take->nrows);
	Taken	   *taken;

	ready_seek(ready, question->lanes[lane], question->bounds[lane]);
	for (taken = &take->rows[take->nrows]; ready_next(ready, &taken->ready);)
	{
		CHECK_FOR_INTERRUPTS();
		if (bound < 0)
			bound = taken->ready.seq;
		if (room <= 0)
			break;
		if (taken->ready.owned || !mark(ready, take, taken))
			continue;
		take->nrows++;
		taken++;
		room--;
	}
	return bound;
}

static void
mark_lanes(Take *take, int64 *new_bounds)
{
	const TakeQuestion *question = take->question;
	ReadyTable *ready = ready_open(take->snapshot);
	int64		most = 0;

	for (int i = 0; i < question->nlanes; i++)
		most += Max(question->room[i], 0);
	take->rows = palloc0((Min(most, question->most) + 1) * sizeof(Taken));
	for (int i = 0; i < question->nlanes; i++)
		new_bounds[i] = mark_lane(ready, take, i);
	ready_close(ready);
}

/* ------------------------------------------------------- deciding again --- */

/* In the batch's context, for the table's page is let go. */
static void
keep_values(Taken *taken)
{
	static const MessageColumn by_reference[] = {
		M_RECIPIENT, M_CATEGORY, M_CHANNEL, M_ADDRESS, M_TEMPLATE, M_CONTEXT
	};

	for (int i = 0; i < (int) lengthof(by_reference); i++)
	{
		MessageColumn column = by_reference[i];

		if (!taken->nulls[column])
			taken->values[column] = PointerGetDatum(PG_DETOAST_DATUM_COPY(taken->values[column]));
	}
}

static void
read_messages(Take *take)
{
	Rows	   *messages = rows_open(&message_shape, take->snapshot, AccessShareLock);

	for (int i = 0; i < take->nrows; i++)
	{
		Taken	   *taken = &take->rows[i];
		Datum		key = Int64GetDatum(taken->ready.message);

		taken->found = rows_fetch(messages, taken->ready.message, &key, taken->values, taken->nulls);
		if (taken->found)
			keep_values(taken);
	}
	rows_close(messages);
}

/* The lowest and the highest of an id column of the messages. */
static void
range_of(const Take *take, MessageColumn column, int64 *low, int64 *high)
{
	*low = PG_INT64_MAX;
	*high = 0;
	for (int i = 0; i < take->nrows; i++)
	{
		int64		id = DatumGetInt64(take->rows[i].values[column]);

		if (!take->rows[i].found)
			continue;
		*low = Min(*low, id);
		*high = Max(*high, id);
	}
}

static bool
any_expired(const Take *take)
{
	TimestampTz now = notify_now();

	for (int i = 0; i < take->nrows; i++)
		if (take->rows[i].found && !take->rows[i].nulls[M_EXPIRES_AT] &&
			DatumGetTimestampTz(take->rows[i].values[M_EXPIRES_AT]) < now)
			return true;
	return false;
}

/* Escalation steps, which something may have made needless. */
static bool
any_steps(const Take *take)
{
	for (int i = 0; i < take->nrows; i++)
		if (take->rows[i].found && !take->rows[i].nulls[M_STEP] &&
			DatumGetInt32(take->rows[i].values[M_STEP]) > 1)
			return true;
	return false;
}

static bool
any_cancelled(const Take *take)
{
	int64		first;
	int64		last;

	range_of(take, M_EVENT, &first, &last);
	return cancels_between(first, last, take->snapshot);
}

/* Was anything put into this table since then, by its column "at"? */
static bool
any_since(const RowsShape *shape, TimestampTz since, Snapshot snapshot)
{
	Rows	   *log = rows_open(shape, snapshot, AccessShareLock);
	Datum		at;
	bool		isnull;
	bool		any = rows_last(log, &at, &isnull) && DatumGetTimestampTz(at) >= since;

	rows_close(log);
	return any;
}

static bool
any_refused(const Take *take)
{
	int64		first;
	int64		last;
	TimestampTz since;

	range_of(take, M_ID, &first, &last);
	since = notify_id_to_time(first);
	return any_since(&preference_shape, since, take->snapshot) ||
		any_since(&suppression_shape, since, take->snapshot);
}

static ArrayType *
message_ids(const Take *take)
{
	Datum	   *ids = palloc(take->nrows * sizeof(Datum));

	for (int i = 0; i < take->nrows; i++)
		ids[i] = Int64GetDatum(take->rows[i].ready.message);
	return construct_array(ids, take->nrows, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

static void
leave_out(Take *take, int64 message)
{
	for (int i = 0; i < take->nrows; i++)
		if (take->rows[i].ready.message == message)
			take->rows[i].found = false;
}

/* Settles what is not to be sent after all. */
static void
stop_some(Take *take)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {PointerGetDatum(message_ids(take))};

	statement_plan(&plan, "SELECT notify._stop_claimed($1)", 1, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._stop_claimed() failed");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		leave_out(take, DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
													1, &isnull)));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* ------------------------------------------------------------ the letters --- */

static void
read_category(const Take *take, Terms *terms)
{
	Rows	   *log = rows_open(&category_shape, take->snapshot, AccessShareLock);
	Datum		key = CStringGetTextDatum(terms->category);
	Datum		values[2];
	bool		nulls[2];

	if (rows_fetch(log, 0, &key, values, nulls))
	{
		terms->at_most_once = DatumGetBool(values[0]);
		terms->marketing = strcmp(TextDatumGetCString(values[1]), "marketing") == 0;
	}
	rows_close(log);
}

static void
read_terms(const Take *take, Terms *terms)
{
	Rows	   *versions = rows_open(&version_shape, take->snapshot, AccessShareLock);
	Rows	   *providers = rows_open(&provider_shape, take->snapshot, AccessShareLock);
	Datum		rule = Int64GetDatum(terms->rule);
	Datum		provider = Int32GetDatum(terms->provider);
	Datum		value;
	bool		isnull;

	if (rows_fetch(versions, 0, &rule, &value, &isnull))
		terms->rule_name = TextDatumGetCString(value);
	terms->has_max_attempts = rows_fetch(providers, 0, &provider, &value, &isnull);
	if (terms->has_max_attempts)
		terms->max_attempts = DatumGetInt32(value);
	rows_close(versions);
	rows_close(providers);
	if (terms->category != NULL)
		read_category(take, terms);
}

static bool
terms_fit(const Terms *terms, int64 rule, int provider, const char *category)
{
	return terms->rule == rule && terms->provider == provider &&
		(category == NULL ? terms->category == NULL :
		 terms->category != NULL && strcmp(terms->category, category) == 0);
}

static const Terms *
find_terms(Take *take, const Taken *taken)
{
	int64		rule = taken->nulls[M_RULE] ? 0 : DatumGetInt64(taken->values[M_RULE]);
	char	   *category = taken->nulls[M_CATEGORY] ? NULL :
		TextDatumGetCString(taken->values[M_CATEGORY]);
	MemoryContext caller;
	Terms	   *terms;
	ListCell   *cell;

	foreach(cell, take->terms)
		if (terms_fit(lfirst(cell), rule, taken->ready.lane / 4, category))
			return lfirst(cell);
	caller = MemoryContextSwitchTo(take->cxt);
	terms = palloc0(sizeof(Terms));
	terms->rule = rule;
	terms->provider = taken->ready.lane / 4;
	terms->category = category ? pstrdup(category) : NULL;
	read_terms(take, terms);
	take->terms = lcons(terms, take->terms);
	MemoryContextSwitchTo(caller);
	return terms;
}

/* A column of the answer; NULL where the message has none. */
static void
set(Datum *values, bool *nulls, TakeColumn column, bool isnull, Datum value)
{
	nulls[column] = isnull;
	values[column] = isnull ? (Datum) 0 : value;
}

static void
set_text(Datum *values, bool *nulls, TakeColumn column, const char *string)
{
	set(values, nulls, column, string == NULL, string ? CStringGetTextDatum(string) : (Datum) 0);
}

/* The event's data and its type; without an event (its day is gone) the context alone. */
static void
set_data(Take *take, const Taken *taken, const Terms *terms, Datum *values, bool *nulls)
{
	int64		event = DatumGetInt64(taken->values[M_EVENT]);
	Datum		keys[] = {taken->values[M_EVENT_XID], taken->values[M_EVENT]};
	Datum		row[E_COUNT];
	bool		row_nulls[E_COUNT];
	EventData	data = {0};
	bool		found = rows_fetch(take->events, event, keys, row, row_nulls);

	if (found)
	{
		data.id = event;
		data.op = row_nulls[E_OP] ? '\0' : DatumGetChar(row[E_OP]);
		data.type = row_nulls[E_TYPE] ? NULL : TextDatumGetCString(row[E_TYPE]);
		data.key = row_nulls[E_KEY] ? NULL : TextDatumGetCString(row[E_KEY]);
		data.new = row_nulls[E_NEW] ? NULL : DatumGetJsonbP(row[E_NEW]);
		data.old = row_nulls[E_OLD] ? NULL : DatumGetJsonbP(row[E_OLD]);
	}
	data.context = taken->nulls[M_CONTEXT] ? NULL : DatumGetJsonbP(taken->values[M_CONTEXT]);
	set(values, nulls, T_DATA, false, JsonbPGetDatum(event_data(&data)));
	if (data.type != NULL || terms->rule_name != NULL)
		set_text(values, nulls, T_TYPE, data.type ? data.type : terms->rule_name);
	else
		set(values, nulls, T_TYPE, taken->nulls[M_TEMPLATE], taken->values[M_TEMPLATE]);
}

static text *
token_key(Take *take)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext caller = MemoryContextSwitchTo(take->cxt);
	bool		isnull;
	Datum		key;

	if (!take->token_key_read)
	{
		statement_plan(&plan, "SELECT notify._token_key()", 0, NULL);
		key = statement_value(plan, NULL, NULL, &isnull);
		take->token_key = isnull ? NULL : DatumGetTextPCopy(key);
		SPI_freetuptable(SPI_tuptable);
		take->token_key_read = true;
	}
	MemoryContextSwitchTo(caller);
	return take->token_key;
}

/* What e-mail carries so that replies and clicks find back. */
static void
set_tags(Take *take, const Taken *taken, const Terms *terms, Datum *values, bool *nulls)
{
	bool		is_email = !taken->nulls[M_CHANNEL] &&
		strcmp(TextDatumGetCString(taken->values[M_CHANNEL]), "email") == 0;
	Datum		key = is_email ? PointerGetDatum(token_key(take)) : (Datum) 0;
	bool		leavable = key != 0 && terms->marketing && !taken->nulls[M_RECIPIENT];

	nulls[T_RETURN_TAG] = key == 0;
	nulls[T_UNSUBSCRIBE] = !leavable;
	if (key != 0)
		values[T_RETURN_TAG] = DirectFunctionCall2(notify_return_tag, taken->values[M_ID], key);
	if (leavable)
		values[T_UNSUBSCRIBE] = DirectFunctionCall4(notify_make_token, taken->values[M_RECIPIENT],
													taken->values[M_CATEGORY], taken->values[M_ID], key);
}

static void
give(Take *take, Taken *taken, TakeReceiver receive, void *arg)
{
	const Terms *terms = find_terms(take, taken);
	const Datum *message = taken->values;
	const ReadyRow *ready = &taken->ready;
	Datum		values[T_COUNT];
	bool		nulls[T_COUNT];

	set(values, nulls, T_TID, false, PointerGetDatum(&taken->tid));
	set(values, nulls, T_MESSAGE, false, message[M_ID]);
	set(values, nulls, T_EVENT, false, message[M_EVENT]);
	set(values, nulls, T_ATTEMPT, false, Int32GetDatum(ready->attempts));
	set(values, nulls, T_PROVIDER, false, Int32GetDatum(ready->lane / 4));
	set(values, nulls, T_CHANNEL, taken->nulls[M_CHANNEL], message[M_CHANNEL]);
	set(values, nulls, T_ADDRESS, taken->nulls[M_ADDRESS], message[M_ADDRESS]);
	set(values, nulls, T_RECIPIENT, taken->nulls[M_RECIPIENT], message[M_RECIPIENT]);
	set(values, nulls, T_CREATED, false,
		TimestampTzGetDatum(notify_id_to_time(DatumGetInt64(message[M_EVENT]))));
	set(values, nulls, T_TEMPLATE, taken->nulls[M_TEMPLATE_VERSION], message[M_TEMPLATE_VERSION]);
	set(values, nulls, T_AT_MOST_ONCE, false, BoolGetDatum(terms->at_most_once));
	set(values, nulls, T_MAX_ATTEMPTS, !terms->has_max_attempts, Int32GetDatum(terms->max_attempts));
	set(values, nulls, T_EXPIRES_AT, ready->redriven || taken->nulls[M_EXPIRES_AT], message[M_EXPIRES_AT]);
	set(values, nulls, T_SEQ, false, Int64GetDatum(ready->seq));
	set(values, nulls, T_LANE, false, Int32GetDatum(ready->lane));
	set_data(take, taken, terms, values, nulls);
	set_tags(take, taken, terms, values, nulls);
	receive(arg, values, nulls);
}

static void
give_all(Take *take, TakeReceiver receive, void *arg)
{
	take->events = rows_open(&event_shape, take->snapshot, AccessShareLock);
	for (int i = 0; i < take->nrows; i++)
	{
		MemoryContext caller;

		CHECK_FOR_INTERRUPTS();
		if (!take->rows[i].found)
			continue;
		caller = MemoryContextSwitchTo(take->row_cxt);
		give(take, &take->rows[i], receive, arg);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(take->row_cxt);
	}
	rows_close(take->events);
}

/* ---------------------------------------------------------------- a claim --- */

static bool
sending_is_held(void)
{
	static SPIPlanPtr plan = NULL;
	bool		isnull;
	bool		held;

	statement_plan(&plan, "SELECT notify._held() IS NOT NULL", 0, NULL);
	held = DatumGetBool(statement_value(plan, NULL, NULL, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return held;
}

/* What this transaction did before is seen, and all that is committed. */
static void
renew_snapshot(Take *take)
{
	if (take->snapshot != NULL)
		UnregisterSnapshot(take->snapshot);
	CommandCounterIncrement();
	take->snapshot = RegisterSnapshot(GetLatestSnapshot());
}

static void
take_rows(Take *take, int64 *new_bounds, TakeReceiver receive, void *arg)
{
	renew_snapshot(take);
	mark_lanes(take, new_bounds);
	if (take->nrows == 0)
		return;
	renew_snapshot(take);
	read_messages(take);
	if (any_expired(take) || any_steps(take) || any_refused(take) || any_cancelled(take))
		stop_some(take);
	give_all(take, receive, arg);
}

int
take(const TakeQuestion *question, int64 *new_bounds, TakeReceiver receive, void *arg)
{
	Take		it = {0};
	MemoryContext caller;

	it.question = question;
	it.cxt = AllocSetContextCreate(CurrentMemoryContext, "notify_pg claim", ALLOCSET_DEFAULT_SIZES);
	it.row_cxt = AllocSetContextCreate(it.cxt, "notify_pg claimed message", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < question->nlanes; i++)
		new_bounds[i] = -1;
	caller = MemoryContextSwitchTo(it.cxt);
	if (!sending_is_held())
		take_rows(&it, new_bounds, receive, arg);
	if (it.snapshot != NULL)
		UnregisterSnapshot(it.snapshot);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(it.cxt);
	return it.nrows;
}

/* ------------------------------------------------------- what SQL sees of it --- */

static void
put_row(void *arg, const Datum *values, const bool *nulls)
{
	ReturnSetInfo *result = arg;

	tuplestore_putvalues(result->setResult, result->setDesc, (Datum *) values, (bool *) nulls);
}

static void
put_bound(ReturnSetInfo *result, int lane, int64 bound)
{
	Datum		values[T_COUNT];
	bool		nulls[T_COUNT];

	memset(nulls, true, sizeof(nulls));
	memset(values, 0, sizeof(values));
	set(values, nulls, T_SEQ, bound < 0, Int64GetDatum(bound));
	set(values, nulls, T_LANE, false, Int32GetDatum(lane));
	put_row(result, values, nulls);
}

static int
integers(FunctionCallInfo fcinfo, int argument, int **values)
{
	Datum	   *datums;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), INT4OID, 4, true, TYPALIGN_INT, &datums, NULL, &n);
	*values = palloc((n + 1) * sizeof(int));
	for (int i = 0; i < n; i++)
		(*values)[i] = DatumGetInt32(datums[i]);
	return n;
}

static int
bigints(FunctionCallInfo fcinfo, int argument, int64 **values)
{
	Datum	   *datums;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &datums, NULL, &n);
	*values = palloc((n + 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
		(*values)[i] = DatumGetInt64(datums[i]);
	return n;
}

/* _claim(slot, boot, lanes, bounds, room, lease, max) */
Datum
notify_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Interval   *lease = PG_GETARG_INTERVAL_P(5);
	int		   *lanes;
	int		   *room;
	int64	   *bounds;
	int64	   *new_bounds;
	int			nlanes = integers(fcinfo, 2, &lanes);
	TakeQuestion question = {PG_GETARG_INT32(0), PG_GETARG_INT64(1), nlanes};

	if (bigints(fcinfo, 3, &bounds) != nlanes || integers(fcinfo, 4, &room) != nlanes)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("lanes, bounds and room are not of one length")));
	question.lanes = lanes;
	question.bounds = bounds;
	question.room = room;
	question.lease = lease->time + (lease->day + lease->month * 30) * USECS_PER_DAY;
	question.most = PG_GETARG_INT32(6);
	new_bounds = palloc((nlanes + 1) * sizeof(int64));
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	if (take(&question, new_bounds, put_row, result) > 0)
		for (int i = 0; i < nlanes; i++)
			put_bound(result, lanes[i], new_bounds[i]);
	SPI_finish();
	return (Datum) 0;
}
