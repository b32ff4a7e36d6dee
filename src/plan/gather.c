/*
 * gather.c
 *		What events ask for: a candidate for each rule that matched, for each send,
 *		and for each rule that could not decide.
 *
 * A rule that asks nothing (no audience, no context) is a row or two that are
 * looked up; most are such, so this is done without an executor.  What rules ask
 * is asked in SQL, all events of a rule at once: notify._ask() is given their
 * candidates, and gives them back as the answers make them, or puts the people of
 * a large audience where they wait.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "capture/id.h"
#include "guc.h"
#include "plan/decide.h"
#include "plan/gather.h"
#include "rows.h"
#include "statement.h"

typedef enum EventColumn
{
	E_ID, E_XID, E_SOURCE, E_OP, E_KEY, E_RECIPIENT, E_RULES, E_RECIPIENTS, E_DEDUPE_KEYS,
	E_CANCEL_KEYS, E_TRUNCATED, E_UNDECIDED, E_INSTRUCTION, E_COUNT
} EventColumn;

static const char *const event_columns[E_COUNT] = {
	"id", "xid", "source", "op", "key", "recipient", "rules", "recipients", "dedupe_keys",
	"cancel_keys", "truncated", "undecided", "instruction"
};

typedef enum VersionColumn
{
	V_ID, V_RULE, V_ACTION, V_RECIPIENT, V_AUDIENCE, V_CONTEXT, V_TEMPLATE, V_CATEGORY, V_CHANNELS,
	V_PRIORITY, V_DELAY, V_EXPIRES, V_STEPS, V_COUNT
} VersionColumn;

static const RowsShape version_shape = {
	"rule_version", V_COUNT,
	{"id", "rule", "action", "recipient", "audience", "context", "template", "category", "channels",
	"priority", "delay", "expires", "steps"},
	1, {"id"}, {F_INT8EQ}, true
};

static const RowsShape rule_shape = {
	"rule", 1, {"enabled"}, 1, {"id"}, {F_INT8EQ}, true
};

/* A rule version that some of the events matched. */
typedef struct Version
{
	int64		id;
	bool		notifies;		/* it is there and its action is notify */
	bool		live;			/* its rule is there and enabled */
	Datum		values[V_COUNT];
	bool		nulls[V_COUNT];
} Version;

typedef struct Event
{
	Datum		row;			/* notify.event */
	Datum		values[E_COUNT];
	bool		nulls[E_COUNT];
} Event;

/* Arrays of an event, side by side. */
typedef struct Matches
{
	int			n;
	Datum	   *rules;
	bool	   *rule_nulls;
	Datum	   *words[3];		/* recipients, dedupe_keys, cancel_keys */
	bool	   *word_nulls[3];
	int			nwords[3];
} Matches;

typedef struct Candidate
{
	Datum		values[C_COUNT];
	bool		nulls[C_COUNT];
} Candidate;

typedef struct Gathering
{
	TimestampTz clock;			/* ids may be ahead of a clock set back */
	TimestampTz now;			/* notify.now() */
	int			columns[E_COUNT];	/* of an event, in its row; -1: not there */
	TupleDesc	event_type;
	TupleDesc	candidate_type;
	Rows	   *versions;
	Rows	   *rules;
	List	   *known;			/* Version, the latest found first */
	ArrayBuildState *found;		/* notify.candidate */
	ArrayBuildState *asking;	/* these two side by side: candidates of rules that ask, */
	ArrayBuildState *askers;	/* and their events */
	ArrayBuildState *undecided; /* notify.event */
} Gathering;

/* ------------------------------------------------------------------- events --- */

static void
find_columns(Gathering *gathering)
{
	TupleDesc	desc = gathering->event_type;

	for (int i = 0; i < E_COUNT; i++)
	{
		gathering->columns[i] = -1;
		for (int n = 0; n < desc->natts; n++)
			if (!TupleDescAttr(desc, n)->attisdropped && strcmp(NameStr(TupleDescAttr(desc, n)->attname), event_columns[i]) == 0)
				gathering->columns[i] = n;
	}
}

static void
read_event(Gathering *gathering, Event *event)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(event->row);
	HeapTupleData tuple = {0};
	Datum		values[MaxTupleAttributeNumber];
	bool		nulls[MaxTupleAttributeNumber];

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, gathering->event_type, values, nulls);
	for (int i = 0; i < E_COUNT; i++)
	{
		int			column = gathering->columns[i];

		event->nulls[i] = column < 0 || nulls[column];
		event->values[i] = event->nulls[i] ? (Datum) 0 : values[column];
	}
}

static void
read_array(const Event *event, EventColumn column, Oid type, Datum **values, bool **nulls, int *n)
{
	int16		length;
	bool		by_value;
	char		align;

	*n = 0;
	if (event->nulls[column])
		return;
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(event->values[column]), type, length, by_value, align, values, nulls, n);
}

static void
read_matches(const Event *event, Matches *matches)
{
	static const EventColumn words[] = {E_RECIPIENTS, E_DEDUPE_KEYS, E_CANCEL_KEYS};

	read_array(event, E_RULES, INT8OID, &matches->rules, &matches->rule_nulls, &matches->n);
	for (int i = 0; i < (int) lengthof(words); i++)
		read_array(event, words[i], TEXTOID, &matches->words[i], &matches->word_nulls[i], &matches->nwords[i]);
}

/* ----------------------------------------------------------------- versions --- */

static Datum
copy_interval(Datum interval)
{
	return PointerGetDatum(memcpy(palloc(sizeof(Interval)), DatumGetIntervalP(interval), sizeof(Interval)));
}

/* What is given on; of the other columns only whether they are there counts. */
static void
keep_columns(Version *version)
{
	static const VersionColumn kept[] = {V_TEMPLATE, V_CATEGORY, V_CHANNELS};

	for (int i = 0; i < (int) lengthof(kept); i++)
		if (!version->nulls[kept[i]])
			version->values[kept[i]] = PointerGetDatum(PG_DETOAST_DATUM_COPY(version->values[kept[i]]));
	if (!version->nulls[V_DELAY])
		version->values[V_DELAY] = copy_interval(version->values[V_DELAY]);
	if (!version->nulls[V_EXPIRES])
		version->values[V_EXPIRES] = copy_interval(version->values[V_EXPIRES]);
}

static void
read_version(Gathering *gathering, Version *version)
{
	Datum		key = Int64GetDatum(version->id);
	Datum		enabled;
	bool		isnull;

	if (!rows_fetch(gathering->versions, 0, &key, version->values, version->nulls))
		return;
	version->notifies = strcmp(TextDatumGetCString(version->values[V_ACTION]), "notify") == 0;
	keep_columns(version);
	version->live = rows_fetch(gathering->rules, 0, &version->values[V_RULE], &enabled, &isnull) &&
		DatumGetBool(enabled);
}

static const Version *
find_version(Gathering *gathering, int64 id)
{
	Version    *version;
	ListCell   *cell;

	foreach(cell, gathering->known)
	{
		version = lfirst(cell);
		if (version->id == id)
			return version;
	}
	version = palloc0(sizeof(Version));
	version->id = id;
	read_version(gathering, version);
	gathering->known = lcons(version, gathering->known);
	return version;
}

/* --------------------------------------------------------------- candidates --- */

static void
put(Candidate *candidate, CandidateColumn column, bool isnull, Datum value)
{
	candidate->nulls[column] = isnull;
	candidate->values[column] = isnull ? (Datum) 0 : value;
}

static void
put_text(Candidate *candidate, CandidateColumn column, const char *string)
{
	put(candidate, column, string == NULL, string ? CStringGetTextDatum(string) : (Datum) 0);
}

/* An event's time, by the clock of schedules. */
static TimestampTz
event_time(const Gathering *gathering, const Event *event)
{
	TimestampTz at = notify_id_to_time(DatumGetInt64(event->values[E_ID]));

	return Min(at, gathering->clock) + (gathering->now - gathering->clock);
}

static void
begin_candidate(Candidate *candidate, const Event *event)
{
	memset(candidate->nulls, true, sizeof(candidate->nulls));
	put(candidate, C_EVENT, event->nulls[E_ID], event->values[E_ID]);
	put(candidate, C_EVENT_XID, event->nulls[E_XID], event->values[E_XID]);
	put(candidate, C_SOURCE, event->nulls[E_SOURCE], event->values[E_SOURCE]);
	put(candidate, C_KEY, event->nulls[E_KEY], event->values[E_KEY]);
	put(candidate, C_RECIPIENT, event->nulls[E_RECIPIENT], event->values[E_RECIPIENT]);
}

static void
add(Gathering *gathering, ArrayBuildState **array, const Candidate *candidate)
{
	HeapTuple	tuple = heap_form_tuple(gathering->candidate_type, (Datum *) candidate->values, (bool *) candidate->nulls);

	*array = accumArrayResult(*array, HeapTupleGetDatum(tuple), false, gathering->candidate_type->tdtypeid,
							  CurrentMemoryContext);
}

static void
put_word(Candidate *candidate, CandidateColumn column, const Matches *matches, int word, int n)
{
	bool		isnull = n >= matches->nwords[word] || matches->word_nulls[word][n];

	put(candidate, column, isnull, isnull ? (Datum) 0 : matches->words[word][n]);
}

/* An audience names its people itself; a rule's own recipient counts before the event's. */
static void
put_recipient(Candidate *candidate, const Version *version, const Matches *matches, int n)
{
	if (!version->nulls[V_AUDIENCE])
		put(candidate, C_RECIPIENT, true, (Datum) 0);
	else if (!version->nulls[V_RECIPIENT])
	{
		put_word(candidate, C_RECIPIENT, matches, 0, n);
		if (!candidate->nulls[C_RECIPIENT] && VARSIZE_ANY_EXHDR(DatumGetPointer(candidate->values[C_RECIPIENT])) == 0)
			candidate->nulls[C_RECIPIENT] = true;
	}
}

static void
put_version(Candidate *candidate, const Version *version)
{
	put(candidate, C_RULE, false, Int64GetDatum(version->id));
	put(candidate, C_RULE_ID, version->nulls[V_RULE], version->values[V_RULE]);
	put(candidate, C_TEMPLATE, version->nulls[V_TEMPLATE], version->values[V_TEMPLATE]);
	put(candidate, C_CATEGORY, version->nulls[V_CATEGORY], version->values[V_CATEGORY]);
	put(candidate, C_CHANNELS, version->nulls[V_CHANNELS], version->values[V_CHANNELS]);
	put(candidate, C_PRIORITY, version->nulls[V_PRIORITY], version->values[V_PRIORITY]);
	put(candidate, C_EXPIRES, version->nulls[V_EXPIRES], version->values[V_EXPIRES]);
	put(candidate, C_STEP, version->nulls[V_STEPS], Int32GetDatum(1));
}

static void
put_due(Candidate *candidate, const Version *version, TimestampTz at)
{
	Datum		due = TimestampTzGetDatum(at);

	if (!version->nulls[V_DELAY])
		due = DirectFunctionCall2(timestamptz_pl_interval, due, version->values[V_DELAY]);
	put(candidate, C_DUE_AT, false, due);
}

static void
gather_match(Gathering *gathering, const Event *event, const Matches *matches, int n)
{
	const Version *version = find_version(gathering, DatumGetInt64(matches->rules[n]));
	bool		cut = DatumGetBool(event->values[E_TRUNCATED]);
	Candidate	candidate;

	if (!version->notifies)
		return;
	begin_candidate(&candidate, event);
	put_version(&candidate, version);
	put_due(&candidate, version, event_time(gathering, event));
	put_recipient(&candidate, version, matches, n);
	put_word(&candidate, C_DEDUPE_KEY, matches, 1, n);
	put_word(&candidate, C_CANCEL_KEY, matches, 2, n);
	if (!version->live || cut)
		put_text(&candidate, C_REASON, version->live ? "row_too_large" : "rule_off");
	else if (!version->nulls[V_AUDIENCE] || !version->nulls[V_CONTEXT])
	{
		add(gathering, &gathering->asking, &candidate);
		gathering->askers = accumArrayResult(gathering->askers, event->row, false, gathering->event_type->tdtypeid,
											 CurrentMemoryContext);
		return;
	}
	add(gathering, &gathering->found, &candidate);
}

/* -------------------------------------------------------------------- sends --- */

static char *
instruction_text(Jsonb *instruction, const char *name)
{
	Datum		key = CStringGetTextDatum(name);
	LOCAL_FCINFO(fcinfo, 2);
	Datum		value;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(instruction);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = key;
	fcinfo->args[1].isnull = false;
	value = jsonb_object_field_text(fcinfo);
	return fcinfo->isnull ? NULL : TextDatumGetCString(value);
}

/* The strings of instruction.channels; NULL when there are none. */
static ArrayType *
instruction_channels(Jsonb *instruction)
{
	JsonbValue	value;
	JsonbValue	element;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	ArrayBuildState *channels = NULL;

	if (!JB_ROOT_IS_OBJECT(instruction) ||
		getKeyJsonValueFromContainer(&instruction->root, "channels", 8, &value) == NULL || value.type != jbvBinary)
		return NULL;
	iterator = JsonbIteratorInit(value.val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM && element.type == jbvString)
			channels = accumArrayResult(channels, PointerGetDatum(cstring_to_text_with_len(element.val.string.val, element.val.string.len)),
										false, TEXTOID, CurrentMemoryContext);
	return channels ? DatumGetArrayTypeP(makeArrayResult(channels, CurrentMemoryContext)) : NULL;
}

static void
gather_send(Gathering *gathering, const Event *event)
{
	Jsonb	   *instruction = DatumGetJsonbP(event->values[E_INSTRUCTION]);
	ArrayType  *channels = instruction_channels(instruction);
	char	   *at = instruction_text(instruction, "at");
	Candidate	candidate;

	begin_candidate(&candidate, event);
	put_text(&candidate, C_TEMPLATE, instruction_text(instruction, "template"));
	put_text(&candidate, C_CATEGORY, instruction_text(instruction, "category"));
	put(&candidate, C_CHANNELS, channels == NULL, PointerGetDatum(channels));
	put(&candidate, C_DUE_AT, false, at == NULL ? TimestampTzGetDatum(event_time(gathering, event)) :
		DirectFunctionCall3(timestamptz_in, CStringGetDatum(at), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	add(gathering, &gathering->found, &candidate);
}

/* ---------------------------------------------------------------- a batch --- */

static void
gather_event(Gathering *gathering, Event *event)
{
	Matches		matches = {0};

	read_event(gathering, event);
	read_matches(event, &matches);
	for (int i = 0; i < matches.n; i++)
		if (!matches.rule_nulls[i])
			gather_match(gathering, event, &matches, i);
	if (!event->nulls[E_OP] && DatumGetChar(event->values[E_OP]) == 'S' && !event->nulls[E_INSTRUCTION])
		gather_send(gathering, event);
	if (!event->nulls[E_UNDECIDED])
		gathering->undecided = accumArrayResult(gathering->undecided, event->row, false, gathering->event_type->tdtypeid,
												CurrentMemoryContext);
}

static void
begin(Gathering *gathering, ArrayType *events)
{
	Oid			schema = get_namespace_oid("notify", false);
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("candidate"), ObjectIdGetDatum(schema));
	Snapshot	snapshot = GetActiveSnapshot();

	gathering->clock = GetCurrentTimestamp();
	gathering->now = notify_now();
	gathering->event_type = lookup_rowtype_tupdesc(ARR_ELEMTYPE(events), -1);
	gathering->candidate_type = lookup_rowtype_tupdesc(type, -1);
	if (gathering->candidate_type->natts != C_COUNT)
		elog(ERROR, "notify.candidate has %d attributes, not %d", gathering->candidate_type->natts, C_COUNT);
	gathering->versions = rows_open(&version_shape, snapshot, AccessShareLock);
	gathering->rules = rows_open(&rule_shape, snapshot, AccessShareLock);
	find_columns(gathering);
}

static void
end(Gathering *gathering)
{
	rows_close(gathering->versions);
	rows_close(gathering->rules);
	ReleaseTupleDesc(gathering->event_type);
	ReleaseTupleDesc(gathering->candidate_type);
}

/* The candidates a statement gives, behind those that were found. */
static void
append_answer(Gathering *gathering, TypedPlan *kept, const char *query, int nargs, Oid *types, Datum *values)
{
	Oid			type = gathering->candidate_type->tdtypeid;
	SPIPlanPtr	plan = statement_typed_plan(kept, query, nargs, types);
	bool		isnull;
	Datum		answer = statement_value(plan, values, NULL, &isnull);
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(answer), type, -1, false, TYPALIGN_DOUBLE, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		gathering->found = accumArrayResult(gathering->found, elements[i], nulls[i], type, CurrentMemoryContext);
}

static void
ask(Gathering *gathering, int64 audience)
{
	static TypedPlan kept = {NULL};
	Oid			types[] = {INT8OID, get_array_type(gathering->candidate_type->tdtypeid),
	get_array_type(gathering->event_type->tdtypeid)};
	Datum		values[] = {Int64GetDatum(audience), makeArrayResult(gathering->asking, CurrentMemoryContext),
	makeArrayResult(gathering->askers, CurrentMemoryContext)};

	append_answer(gathering, &kept, "SELECT notify._ask($1, $2, $3)", 3, types, values);
}

static void
ask_undecided(Gathering *gathering)
{
	static TypedPlan kept = {NULL};
	Oid			types[] = {get_array_type(gathering->event_type->tdtypeid)};
	Datum		values[] = {makeArrayResult(gathering->undecided, CurrentMemoryContext)};

	append_answer(gathering, &kept, "SELECT notify._undecided($1)", 1, types, values);
}

ArrayType *
gather(ArrayType *events, int64 audience, bool *asked)
{
	Gathering	gathering = {0};
	Datum	   *rows;
	bool	   *nulls;
	int			n;

	begin(&gathering, events);
	deconstruct_array(events, ARR_ELEMTYPE(events), -1, false, TYPALIGN_DOUBLE, &rows, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		Event		event = {rows[i]};

		CHECK_FOR_INTERRUPTS();
		gather_event(&gathering, &event);
	}
	*asked = gathering.asking != NULL;
	if (gathering.asking != NULL)
		ask(&gathering, audience);
	if (gathering.undecided != NULL)
		ask_undecided(&gathering);
	if (gathering.found == NULL)
		gathering.found = initArrayResult(gathering.candidate_type->tdtypeid, CurrentMemoryContext, false);
	end(&gathering);
	return DatumGetArrayTypeP(makeArrayResult(gathering.found, CurrentMemoryContext));
}
