/*
 * decide.c
 *		From candidates to decisions, without a side effect.
 *
 * A candidate is decided for each channel it may go by, or once when there is a
 * reason against it whatever the channel.  The planner does this for every
 * message, one event at a time when there is little to do, so nothing is planned
 * or executed for it: people, addresses, words and refusals are looked up in their
 * indexes (rows.c), what candidates have in common (category, words,
 * providers) once a call.  Only what few candidates need is asked in SQL.
 *
 * Everything is read in the caller's snapshot.  Decisions come in the order of
 * events and, within one, of candidates: who is told of two things is told of
 * the earlier one first.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "guc.h"
#include "plan/cancels.h"
#include "plan/data.h"
#include "plan/decide.h"
#include "plan/refusal.h"
#include "plan/serving.h"
#include "plan/words.h"
#include "rows.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(notify_decide);
PG_FUNCTION_INFO_V1(notify_dedupe_key);
PG_FUNCTION_INFO_V1(notify_event_cancel_key);

#define TTL_USUAL_DAYS	3		/* of what has no ttl of its own */

typedef enum RecipientColumn
{
	R_ID, R_NAME, R_LOCALE, R_TIME_ZONE, R_ATTRIBUTES, R_COUNT
} RecipientColumn;

static const RowsShape recipient_shape = {
	"recipient", R_COUNT, {"id", "name", "locale", "time_zone", "attributes"},
	1, {"id"}, {F_TEXTEQ}, true
};

typedef enum AddressColumn
{
	A_ADDRESS, A_STATE, A_VERIFIED_AT, A_CREATED_AT, A_COUNT
} AddressColumn;

static const RowsShape address_shape = {
	"address", A_COUNT, {"address", "state", "verified_at", "created_at"},
	2, {"recipient", "channel"}, {F_TEXTEQ, F_TEXTEQ}, true
};

typedef enum CategoryColumn
{
	K_CLASS, K_TTL, K_CHANNELS, K_COUNT
} CategoryColumn;

static const RowsShape category_shape = {
	"category", K_COUNT, {"class", "ttl", "channels"}, 1, {"name"}, {F_TEXTEQ}, true
};

static const RowsShape idempotency_shape = {
	"idempotency", 1, {"event"}, 1, {"key"}, {F_TEXTEQ}, true
};

/* What candidates have in common; text that is not there is NULL. */
typedef struct Category
{
	char	   *name;
	bool		critical;
	int			priority;		/* of what has none of its own */
	Interval   *ttl;
	Datum		channels;
	bool		has_channels;
} Category;

/* A candidate, what it is decided by, and where it was in the array. */
typedef struct Candidate
{
	Datum		values[C_COUNT];
	bool		nulls[C_COUNT];
	int			n;
	bool		repeat;			/* an earlier one with its dedupe key may be sent */
	char	   *recipient;
	char	   *dedupe_key;		/* its row in notify.idempotency; NULL: it has none */
	char	   *cancel_key;
	const Category *category;	/* NULL: it has none, or one that is gone */
	List	   *chain;			/* locales, best first */
	Jsonb	   *context;
} Candidate;

/* What stops a candidate on one channel, or all, and what was found until then. */
typedef struct Verdict
{
	const char *why;
	const char *channel;		/* NULL: none was looked at */
	const Serving *serving;
	char	   *address;
	bool		invalid;
	int64		version;		/* of the words; 0: there are none */
} Verdict;

typedef struct Deciding
{
	TimestampTz now;
	Snapshot	snapshot;
	Candidate  *candidates;
	int			n;
	Rows	   *recipients;
	Rows	   *addresses;
	Rows	   *categories;
	Rows	   *keys;
	Wordbook   *words;
	Refusals   *refusals;
	Cancels    *cancels;		/* NULL: there are none */
	List	   *serving;		/* Serving; NIL: not read yet */
	List	   *category_list;	/* the latest found first */
	Decisions  *decisions;
} Deciding;

/* ------------------------------------------------------------------- keys --- */

/* A rule's dedupe key in notify.idempotency. */
static char *
make_dedupe_key(int64 rule_id, const char *recipient, const char *dedupe_key)
{
	return psprintf("rule/" INT64_FORMAT "/%s/%s", rule_id, recipient, dedupe_key);
}

static char *
make_event_cancel_key(int64 event)
{
	return psprintf(EVENT_CANCEL_KEY INT64_FORMAT, event);
}

/* -------------------------------------------------------------- candidates --- */

static char *
string(const Candidate *candidate, CandidateColumn column)
{
	return candidate->nulls[column] ? NULL : TextDatumGetCString(candidate->values[column]);
}

static void
read_candidate(Candidate *candidate, HeapTupleHeader header, TupleDesc desc)
{
	HeapTupleData tuple = {0};

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, desc, candidate->values, candidate->nulls);
	candidate->recipient = string(candidate, C_RECIPIENT);
	candidate->cancel_key = string(candidate, C_CANCEL_KEY);
	if (!candidate->nulls[C_DEDUPE_KEY] && !candidate->nulls[C_RULE_ID] && candidate->recipient != NULL)
		candidate->dedupe_key = make_dedupe_key(DatumGetInt64(candidate->values[C_RULE_ID]),
												candidate->recipient, string(candidate, C_DEDUPE_KEY));
}

static int64
event_of(const Candidate *candidate)
{
	return candidate->nulls[C_EVENT] ? PG_INT64_MAX : DatumGetInt64(candidate->values[C_EVENT]);
}

static int
compare_events(const void *a, const void *b)
{
	const Candidate *one = a;
	const Candidate *other = b;
	int64		event = event_of(one);
	int64		other_event = event_of(other);

	if (event != other_event)
		return event < other_event ? -1 : 1;
	return one->n - other->n;
}

static void
read_candidates(Deciding *deciding, ArrayType *array)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(ARR_ELEMTYPE(array), -1);
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (desc->natts != C_COUNT)
		elog(ERROR, "notify.candidate has %d attributes, not %d", desc->natts, C_COUNT);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, &nulls, &n);
	deciding->candidates = palloc0(Max(n, 1) * sizeof(Candidate));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			continue;
		deciding->candidates[deciding->n].n = i;
		read_candidate(&deciding->candidates[deciding->n++], DatumGetHeapTupleHeader(elements[i]), desc);
	}
	ReleaseTupleDesc(desc);
	qsort(deciding->candidates, deciding->n, sizeof(Candidate), compare_events);
}

static int
compare_dedupe_keys(const void *a, const void *b)
{
	const Candidate *one = *(Candidate *const *) a;
	const Candidate *other = *(Candidate *const *) b;
	int			order = strcmp(one->dedupe_key, other->dedupe_key);

	return order != 0 ? order : compare_events(one, other);
}

/* Of those that may be sent, the later ones with one key. */
static void
find_repeats(Deciding *deciding)
{
	Candidate **keyed = palloc(Max(deciding->n, 1) * sizeof(Candidate *));
	const char *key = NULL;
	int			n = 0;

	for (int i = 0; i < deciding->n; i++)
		if (deciding->candidates[i].dedupe_key != NULL && deciding->candidates[i].nulls[C_REASON])
			keyed[n++] = &deciding->candidates[i];
	qsort(keyed, n, sizeof(Candidate *), compare_dedupe_keys);
	for (int i = 0; i < n; i++)
	{
		keyed[i]->repeat = key != NULL && strcmp(key, keyed[i]->dedupe_key) == 0;
		key = keyed[i]->dedupe_key;
	}
}

/* Only when there are any at all, which the index says. */
static void
find_cancels(Deciding *deciding)
{
	int64		since;
	char	  **keys;
	int			nkeys = 0;

	if (deciding->n == 0 || deciding->candidates[0].nulls[C_EVENT])
		return;
	since = event_of(&deciding->candidates[0]);
	if (!cancels_between(since, since, deciding->snapshot))
		return;
	keys = palloc(2 * deciding->n * sizeof(char *));
	for (int i = 0; i < deciding->n; i++)
	{
		const Candidate *candidate = &deciding->candidates[i];

		if (candidate->cancel_key != NULL)
			keys[nkeys++] = candidate->cancel_key;
		if (!candidate->nulls[C_EVENT])
			keys[nkeys++] = make_event_cancel_key(event_of(candidate));
	}
	deciding->cancels = cancels_find(keys, nkeys, since);
}

/* ----------------------------------------------- what they have in common --- */

static bool
same(const char *one, const char *other)
{
	return one == other || (one != NULL && other != NULL && strcmp(one, other) == 0);
}

static Category *
read_category(Deciding *deciding, char *name)
{
	Datum		key = CStringGetTextDatum(name);
	Datum		values[K_COUNT];
	bool		nulls[K_COUNT];
	Category   *category = palloc0(sizeof(Category));
	char	   *class;

	category->name = name;
	category->priority = -1;
	if (!rows_fetch(deciding->categories, 0, &key, values, nulls))
		return category;
	class = TextDatumGetCString(values[K_CLASS]);
	category->critical = strcmp(class, "critical") == 0;
	category->priority = category->critical ? 0 : strcmp(class, "transactional") == 0 ? 1 : 3;
	if (!nulls[K_TTL])
		category->ttl = memcpy(palloc(sizeof(Interval)), DatumGetIntervalP(values[K_TTL]), sizeof(Interval));
	category->has_channels = !nulls[K_CHANNELS];
	if (category->has_channels)
		category->channels = PointerGetDatum(DatumGetArrayTypePCopy(values[K_CHANNELS]));
	return category;
}

/* NULL when there is none of this name. */
static const Category *
find_category(Deciding *deciding, char *name)
{
	Category   *category;
	ListCell   *cell;

	if (name == NULL)
		return NULL;
	foreach(cell, deciding->category_list)
	{
		category = lfirst(cell);
		if (strcmp(category->name, name) == 0)
			return category->priority < 0 ? NULL : category;
	}
	category = read_category(deciding, name);
	deciding->category_list = lcons(category, deciding->category_list);
	return category->priority < 0 ? NULL : category;
}

static const Serving *
find_serving(Deciding *deciding, const char *channel)
{
	ListCell   *cell;

	if (deciding->serving == NIL)
		deciding->serving = serving_read(deciding->snapshot);
	foreach(cell, deciding->serving)
	{
		const Serving *serving = lfirst(cell);

		if (same(serving->channel, channel))
			return serving;
	}
	return NULL;
}

/* ---------------------------------------------------------------- addresses --- */

typedef struct Place
{
	char	   *address;		/* NULL: none */
	bool		invalid;
	bool		verified;
	TimestampTz created_at;
} Place;

/* Active before invalid, verified before not, the oldest first. */
static bool
is_better(const Place *one, const Place *other)
{
	if (other->address == NULL)
		return true;
	if (one->invalid != other->invalid)
		return other->invalid;
	if (one->verified != other->verified)
		return one->verified;
	if (one->created_at != other->created_at)
		return one->created_at < other->created_at;
	return varstr_cmp(one->address, strlen(one->address), other->address, strlen(other->address),
					  DEFAULT_COLLATION_OID) < 0;
}

static void
find_address(Deciding *deciding, const Candidate *candidate, Verdict *verdict)
{
	Datum		keys[] = {candidate->values[C_RECIPIENT], CStringGetTextDatum(verdict->channel)};
	Place		best = {NULL};
	Datum		values[A_COUNT];
	bool		nulls[A_COUNT];

	rows_seek(deciding->addresses, keys);
	while (rows_next(deciding->addresses, values, nulls))
	{
		Place		place;

		place.address = TextDatumGetCString(values[A_ADDRESS]);
		place.invalid = strcmp(TextDatumGetCString(values[A_STATE]), "active") != 0;
		place.verified = !nulls[A_VERIFIED_AT];
		place.created_at = DatumGetTimestampTz(values[A_CREATED_AT]);
		if (is_better(&place, &best))
			best = place;
	}
	verdict->address = best.address;
	verdict->invalid = best.address != NULL && best.invalid;
}

/* ------------------------------------------------------------------ verdicts --- */

/* NULL: none are named. */
static ArrayType *
channels_of(const Candidate *candidate)
{
	if (!candidate->nulls[C_CHANNELS])
		return DatumGetArrayTypeP(candidate->values[C_CHANNELS]);
	if (candidate->category != NULL && candidate->category->has_channels)
		return DatumGetArrayTypeP(candidate->category->channels);
	return NULL;
}

static bool
has_channels(const Candidate *candidate)
{
	ArrayType  *channels = channels_of(candidate);

	return channels != NULL && ArrayGetNItems(ARR_NDIM(channels), ARR_DIMS(channels)) > 0;
}

static bool
is_cancelled(const Deciding *deciding, const Candidate *candidate)
{
	if (deciding->cancels == NULL || candidate->nulls[C_EVENT])
		return false;
	return cancels_include(deciding->cancels, candidate->cancel_key, event_of(candidate)) ||
		cancels_include(deciding->cancels, make_event_cancel_key(event_of(candidate)), event_of(candidate));
}

/* Was its dedupe key used, by another event or by an earlier candidate? */
static bool
is_duplicate(Deciding *deciding, const Candidate *candidate)
{
	Datum		key;
	Datum		event;
	bool		isnull;

	if (candidate->dedupe_key == NULL)
		return false;
	key = CStringGetTextDatum(candidate->dedupe_key);
	return candidate->repeat ||
		(rows_fetch(deciding->keys, 0, &key, &event, &isnull) && DatumGetInt64(event) != event_of(candidate));
}

/* Why it is not sent, whatever the channel; NULL: nothing says so. */
static const char *
stop_of(Deciding *deciding, const Candidate *candidate, bool known)
{
	if (!candidate->nulls[C_REASON])
		return string(candidate, C_REASON);
	if (candidate->recipient == NULL)
		return "no_recipient";
	if (!known)
		return "unknown_recipient";
	if (is_cancelled(deciding, candidate))
		return "cancelled";
	if (is_duplicate(deciding, candidate))
		return "duplicate";
	return has_channels(candidate) ? NULL : "no_channel";
}

static const char *
verdict_of(const char *why)
{
	static const char *const refused[] = {"unsubscribed", "complained", "stopped", "blocked"};

	if (why == NULL)
		return "send";
	if (strcmp(why, "cancelled") == 0)
		return "cancelled";
	for (int i = 0; i < (int) lengthof(refused); i++)
		if (strcmp(why, refused[i]) == 0)
			return "suppressed";
	return "skipped";
}

/* Why it does not go by this channel. */
static const char *
obstacle(Deciding *deciding, const Candidate *candidate, const Verdict *verdict, bool is_inbox)
{
	if (verdict->serving == NULL)
		return "no_provider";
	if (!is_inbox && verdict->address == NULL && !verdict->serving->has_url)
		return "no_address";
	if (verdict->invalid)
		return "address_invalid";
	if (verdict->version == 0 && strcmp(verdict->channel, "webhook") != 0)
		return "no_template";
	if (candidate->category != NULL && candidate->category->critical)
		return NULL;
	return refusal(deciding->refusals, candidate->recipient, string(candidate, C_CATEGORY),
				   verdict->channel, verdict->address);
}

/* ----------------------------------------------------------------- decisions --- */

static void
put(Decision *decision, DecisionColumn column, bool isnull, Datum value)
{
	decision->nulls[column] = isnull;
	decision->values[column] = isnull ? (Datum) 0 : value;
}

static void
put_text(Decision *decision, DecisionColumn column, const char *string)
{
	put(decision, column, string == NULL, string ? CStringGetTextDatum(string) : (Datum) 0);
}

/* One of several, by notify._choose(). */
static int
choose_of_several(const Candidate *candidate, const Serving *serving)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT4ARRAYOID, INT4ARRAYOID, NUMERICARRAYOID, INT8OID, TEXTOID, TEXTOID};
	Datum		values[] = {serving_choices(serving), serving_weights(serving), serving_costs(serving), candidate->values[C_EVENT],
	candidate->values[C_RECIPIENT], candidate->values[C_CATEGORY]};
	char		nulls[] = {' ', ' ', ' ', candidate->nulls[C_EVENT] ? 'n' : ' ',
	candidate->nulls[C_RECIPIENT] ? 'n' : ' ', candidate->nulls[C_CATEGORY] ? 'n' : ' '};
	int			provider;
	bool		isnull;

	statement_plan(&plan, "SELECT notify._choose($1, $2, $3, $4, $5, $6)", lengthof(types), types);
	provider = DatumGetInt32(statement_value(plan, values, nulls, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return provider;
}

static int
choose_provider(const Candidate *candidate, const Serving *serving)
{
	return list_length(serving->servers) > 1 ? choose_of_several(candidate, serving) :
		serving_first(serving)->provider;
}

static Decision *
new_decision(Decisions *decisions)
{
	if (decisions->n == decisions->room)
	{
		decisions->room *= 2;
		decisions->list = repalloc_huge(decisions->list, decisions->room * sizeof(Decision));
	}
	return &decisions->list[decisions->n++];
}

/* What a decision takes over from its candidate as it is. */
static void
copy_columns(Decision *decision, const Candidate *candidate)
{
	static const struct
	{
		DecisionColumn to;
		CandidateColumn from;
	}			same_columns[] = {
		{D_EVENT, C_EVENT}, {D_EVENT_XID, C_EVENT_XID}, {D_SOURCE, C_SOURCE}, {D_KEY, C_KEY}, {D_RULE, C_RULE},
		{D_RULE_ID, C_RULE_ID}, {D_RECIPIENT, C_RECIPIENT}, {D_TEMPLATE, C_TEMPLATE},
		{D_CATEGORY, C_CATEGORY}, {D_DETAIL, C_DETAIL}, {D_DUE_AT, C_DUE_AT},
		{D_DEDUPE_KEY, C_DEDUPE_KEY}, {D_CANCEL_KEY, C_CANCEL_KEY}, {D_STEP, C_STEP}
	};

	for (int i = 0; i < (int) lengthof(same_columns); i++)
		put(decision, same_columns[i].to, candidate->nulls[same_columns[i].from],
			candidate->values[same_columns[i].from]);
}

static TimestampTz
expiry(const Deciding *deciding, const Candidate *candidate)
{
	Interval	usual = {0, TTL_USUAL_DAYS, 0};
	Interval   *ttl = &usual;
	TimestampTz from = deciding->now;

	if (!candidate->nulls[C_EXPIRES])
		ttl = DatumGetIntervalP(candidate->values[C_EXPIRES]);
	else if (candidate->category != NULL && candidate->category->ttl != NULL)
		ttl = candidate->category->ttl;
	if (!candidate->nulls[C_DUE_AT])
		from = Max(from, DatumGetTimestampTz(candidate->values[C_DUE_AT]));
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(from),
												   IntervalPGetDatum(ttl)));
}

static int
priority_of(const Candidate *candidate)
{
	if (!candidate->nulls[C_PRIORITY])
		return DatumGetInt32(candidate->values[C_PRIORITY]);
	return candidate->category != NULL ? candidate->category->priority : 3;
}

static void
add_decision(Deciding *deciding, const Candidate *candidate, const Verdict *verdict)
{
	Decision   *decision = new_decision(deciding->decisions);
	const Serving *serving = verdict->serving;

	copy_columns(decision, candidate);
	put_text(decision, D_CHANNEL, verdict->channel);
	put_text(decision, D_ADDRESS, verdict->address);
	put(decision, D_PROVIDER, serving == NULL,
		Int32GetDatum(serving ? choose_provider(candidate, serving) : 0));
	put(decision, D_PRIORITY, false, Int16GetDatum(priority_of(candidate)));
	put(decision, D_TEMPLATE_VERSION, verdict->version == 0, Int64GetDatum(verdict->version));
	put_text(decision, D_VERDICT, verdict_of(verdict->why));
	put_text(decision, D_REASON, verdict->why);
	put(decision, D_EXPIRES_AT, false, TimestampTzGetDatum(expiry(deciding, candidate)));
	put(decision, D_CONTEXT, false, JsonbPGetDatum(candidate->context));
}

static void
decide_channel(Deciding *deciding, const Candidate *candidate, const char *channel)
{
	Verdict		verdict = {NULL};
	bool		is_inbox = same(channel, "inbox");

	verdict.channel = channel;
	verdict.serving = channel ? find_serving(deciding, channel) : NULL;
	if (channel != NULL && !is_inbox)
		find_address(deciding, candidate, &verdict);
	if (channel != NULL && !candidate->nulls[C_TEMPLATE])
		verdict.version = choose_words(deciding->words, candidate->chain, string(candidate, C_TEMPLATE), channel,
									   candidate->recipient);
	verdict.why = obstacle(deciding, candidate, &verdict, is_inbox);
	add_decision(deciding, candidate, &verdict);
}

static void
decide_channels(Deciding *deciding, const Candidate *candidate)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *done = NIL;

	deconstruct_array(channels_of(candidate), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *channel = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		bool		again = false;
		ListCell   *cell;

		foreach(cell, done)
			again |= same(lfirst(cell), channel);
		if (again)
			continue;
		done = lappend(done, channel);
		decide_channel(deciding, candidate, channel);
	}
}

static Jsonb *
jsonb_or_null(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : DatumGetJsonbP(values[column]);
}

static char *
text_or_null(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : TextDatumGetCString(values[column]);
}

/* Looks the person up: who it is goes into the context, as it is now. */
static bool
meet(Deciding *deciding, Candidate *candidate)
{
	Jsonb	   *context = jsonb_or_null(candidate->values, candidate->nulls, C_CONTEXT);
	PersonData	person = {NULL};
	Datum		values[R_COUNT];
	bool		nulls[R_COUNT];
	bool		known = candidate->recipient != NULL &&
		rows_fetch(deciding->recipients, 0, &candidate->values[C_RECIPIENT], values, nulls);

	if (known)
	{
		person.id = text_or_null(values, nulls, R_ID);
		person.name = text_or_null(values, nulls, R_NAME);
		person.locale = text_or_null(values, nulls, R_LOCALE);
		person.time_zone = text_or_null(values, nulls, R_TIME_ZONE);
		person.attributes = jsonb_or_null(values, nulls, R_ATTRIBUTES);
	}
	candidate->chain = locale_chain(person.locale);
	candidate->context = context_data(context, known ? &person : NULL);
	return known;
}

static void
decide_one(Deciding *deciding, Candidate *candidate)
{
	Verdict		verdict = {NULL};
	bool		known;

	candidate->category = find_category(deciding, string(candidate, C_CATEGORY));
	known = meet(deciding, candidate);
	verdict.why = stop_of(deciding, candidate, known);
	if (verdict.why != NULL)
		add_decision(deciding, candidate, &verdict);
	else
		decide_channels(deciding, candidate);
}

/* -------------------------------------------------------------------- a call --- */

static void
begin(Deciding *deciding, Snapshot snapshot)
{
	deciding->now = notify_now();
	deciding->snapshot = snapshot;
	deciding->recipients = rows_open(&recipient_shape, snapshot, AccessShareLock);
	deciding->addresses = rows_open(&address_shape, snapshot, AccessShareLock);
	deciding->categories = rows_open(&category_shape, snapshot, AccessShareLock);
	deciding->keys = rows_open(&idempotency_shape, snapshot, AccessShareLock);
	deciding->words = wordbook_open(snapshot);
	deciding->refusals = refusals_open(snapshot);
	deciding->decisions = palloc0(sizeof(Decisions));
	deciding->decisions->room = Max(deciding->n, 8);
	deciding->decisions->list = palloc_extended(deciding->decisions->room * sizeof(Decision), MCXT_ALLOC_HUGE);
}

static void
end(Deciding *deciding)
{
	rows_close(deciding->recipients);
	rows_close(deciding->addresses);
	rows_close(deciding->categories);
	rows_close(deciding->keys);
	wordbook_close(deciding->words);
	refusals_close(deciding->refusals);
}

Decisions *
decide(ArrayType *candidates)
{
	Deciding	deciding = {0};
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());

	read_candidates(&deciding, candidates);
	begin(&deciding, snapshot);
	find_repeats(&deciding);
	find_cancels(&deciding);
	for (int i = 0; i < deciding.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		decide_one(&deciding, &deciding.candidates[i]);
	}
	end(&deciding);
	UnregisterSnapshot(snapshot);
	return deciding.decisions;
}

/* ----------------------------------------------------- what SQL sees of it --- */

/* _decide(candidates) */
Datum
notify_decide(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Decisions  *decisions;

	InitMaterializedSRF(fcinfo, 0);
	if (result->setDesc->natts != D_COUNT)
		elog(ERROR, "notify.decision has %d attributes, not %d", result->setDesc->natts, D_COUNT);
	SPI_connect();
	decisions = decide(PG_GETARG_ARRAYTYPE_P(0));
	for (int i = 0; i < decisions->n; i++)
		tuplestore_putvalues(result->setResult, result->setDesc, decisions->list[i].values, decisions->list[i].nulls);
	SPI_finish();
	return (Datum) 0;
}

/* _dedupe_key(rule_id, recipient, dedupe_key) */
Datum
notify_dedupe_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(make_dedupe_key(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
													 text_to_cstring(PG_GETARG_TEXT_PP(2)))));
}

/* _event_cancel_key(event) */
Datum
notify_event_cancel_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(make_event_cancel_key(PG_GETARG_INT64(0))));
}
