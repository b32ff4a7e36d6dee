/*
 * event.c
 *		Rows of notify.event.
 *
 * rules, recipients, dedupe_keys and cancel_keys of a row are parallel arrays; the
 * last three are NULL as a whole when no element would say anything.  A NULL
 * element of recipients means the event's own recipient, so a rule whose own
 * expression gave NULL has an empty string there: nobody, not the other one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/xid8.h"

#include "capture/event.h"
#include "capture/id.h"
#include "capture/leaf.h"
#include "process/wakeup.h"

/* One row in the making. */
typedef struct Row
{
	int	   rule_count;
	Datum *versions;
	Datum *texts;
	bool  *text_nulls;
	Datum  values[EVENT_COLUMNS];
	bool   nulls[EVENT_COLUMNS];
} Row;

typedef const char *(*RuleText)(const Verdict *verdict);

static const char *
recipient_text(const Verdict *verdict)
{
	if (verdict->rule->recipient == NULL)
		return NULL;
	return verdict->recipient ? verdict->recipient : "";
}

static const char *
dedupe_text(const Verdict *verdict)
{
	return verdict->dedupe_key;
}

static const char *
listen_text(const Verdict *verdict)
{
	return verdict->rule->cancels ? NULL : verdict->cancel_key;
}

static void
set(Row *row, EventColumn column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
set_text(Row *row, EventColumn column, const char *text)
{
	if (text != NULL)
		set(row, column, CStringGetTextDatum(text));
}

static void
set_jsonb(Row *row, EventColumn column, const Jsonb *jsonb)
{
	if (jsonb != NULL)
		set(row, column, JsonbPGetDatum(jsonb));
}

static bool
is_cancel_with(const Verdict *verdict, const char *key)
{
	return verdict->state == VERDICT_MATCHED && verdict->rule->cancels &&
		   verdict->cancel_key != NULL && strcmp(verdict->cancel_key, key) == 0;
}

static void
set_rules(Row *row)
{
	if (row->rule_count == 0)
		return;
	set(row, EVENT_RULES,
		PointerGetDatum(construct_array(row->versions, row->rule_count, INT8OID, 8, FLOAT8PASSBYVAL,
										TYPALIGN_DOUBLE)));
}

static void
set_rule_texts(Row *row, EventColumn column, const Evaluation *evaluation, RuleText text_of)
{
	int	 dimension = row->rule_count;
	int	 bound = 1;
	int	 count = 0;
	bool any = false;
	int	 i;

	for (i = 0; i < evaluation->count; i++)
	{
		const Verdict *verdict = &evaluation->verdicts[i];
		const char	  *text;

		if (verdict->state != VERDICT_MATCHED)
			continue;
		text = text_of(verdict);
		any |= text != NULL;
		row->text_nulls[count] = text == NULL;
		row->texts[count++] = text ? CStringGetTextDatum(text) : (Datum) 0;
	}
	if (any)
		set(row, column,
			PointerGetDatum(construct_md_array(row->texts, row->text_nulls, 1, &dimension, &bound,
											   TEXTOID, -1, false, TYPALIGN_INT)));
}

static void
push_field(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, value);
}

static void
push_string(JsonbParseState **state, const char *name, const char *string)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	push_field(state, name, &value);
}

static void
push_undecided(JsonbParseState **state, const Verdict *verdict)
{
	JsonbValue version;

	version.type = jbvNumeric;
	version.val.numeric = int64_to_numeric(verdict->rule->version);
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_field(state, "rule", &version);
	push_string(state, "sqlstate", verdict->problem->sqlstate);
	push_string(state, "message", verdict->problem->message);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static const Jsonb *
undecided_jsonb(const Evaluation *evaluation)
{
	JsonbParseState *state = NULL;
	int				 i;

	if (evaluation->undecided == 0)
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < evaluation->count; i++)
		if (evaluation->verdicts[i].state == VERDICT_UNDECIDED)
			push_undecided(&state, &evaluation->verdicts[i]);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

static void
start_row(Row *row, const Event *event, int rule_limit)
{
	memset(row, 0, sizeof(Row));
	memset(row->nulls, true, sizeof(row->nulls));
	row->versions = palloc(Max(rule_limit, 1) * sizeof(Datum));
	row->texts = palloc(Max(rule_limit, 1) * sizeof(Datum));
	row->text_nulls = palloc(Max(rule_limit, 1) * sizeof(bool));
	set(row, EVENT_OP, CharGetDatum(event->op));
	if (OidIsValid(event->source))
		set(row, EVENT_SOURCE, ObjectIdGetDatum(event->source));
	set_text(row, EVENT_TYPE, event->type);
	set_text(row, EVENT_KEY, event->key);
}

/* The xid comes first: an id is never older than its transaction. */
static int64
insert_row(Row *row)
{
	int64 id;

	set(row, EVENT_XID, FullTransactionIdGetDatum(GetTopFullTransactionId()));
	id = notify_next_id();
	set(row, EVENT_ID, Int64GetDatum(id));
	leaf_insert(notify_id_day(id), row->values, row->nulls);
	return id;
}

static void
set_verdicts(Row *row, const Evaluation *evaluation)
{
	int i;

	for (i = 0; i < evaluation->count; i++)
		if (evaluation->verdicts[i].state == VERDICT_MATCHED)
			row->versions[row->rule_count++] = Int64GetDatum(evaluation->verdicts[i].rule->version);
	set_rule_texts(row, EVENT_RECIPIENTS, evaluation, recipient_text);
	set_rule_texts(row, EVENT_DEDUPE_KEYS, evaluation, dedupe_text);
	set_rule_texts(row, EVENT_CANCEL_KEYS, evaluation, listen_text);
	set_jsonb(row, EVENT_UNDECIDED, undecided_jsonb(evaluation));
}

static int64
write_first(const Event *event, const Evaluation *evaluation, const char *cancel_key)
{
	Row row;

	start_row(&row, event, evaluation ? evaluation->count : 0);
	if (evaluation != NULL)
		set_verdicts(&row, evaluation);
	set_rules(&row);
	set_text(&row, EVENT_RECIPIENT, event->recipient);
	set_text(&row, EVENT_CANCEL_KEY, cancel_key);
	set_jsonb(&row, EVENT_NEW, event->new);
	set_jsonb(&row, EVENT_OLD, event->old);
	set(&row, EVENT_TRUNCATED, BoolGetDatum(event->truncated));
	set_jsonb(&row, EVENT_INSTRUCTION, event->instruction);
	return insert_row(&row);
}

/* One more key to cancel: only the cancel rules that gave it, and no data. */
static void
write_further(const Event *event, const Evaluation *evaluation, const char *cancel_key)
{
	Row row;
	int i;

	start_row(&row, event, evaluation->count);
	for (i = 0; i < evaluation->count; i++)
		if (is_cancel_with(&evaluation->verdicts[i], cancel_key))
			row.versions[row.rule_count++] = Int64GetDatum(evaluation->verdicts[i].rule->version);
	set_rules(&row);
	set_text(&row, EVENT_CANCEL_KEY, cancel_key);
	set(&row, EVENT_TRUNCATED, BoolGetDatum(false));
	(void) insert_row(&row);
}

/* The distinct keys to cancel, the event's own first. */
static List *
keys_to_cancel(const Event *event, const Evaluation *evaluation)
{
	List *keys = event->cancel_key ? list_make1(makeString(pstrdup(event->cancel_key))) : NIL;
	int	  i;

	for (i = 0; evaluation != NULL && i < evaluation->count; i++)
	{
		const Verdict *verdict = &evaluation->verdicts[i];

		if (verdict->state == VERDICT_MATCHED && verdict->rule->cancels &&
			verdict->cancel_key != NULL)
			keys = list_append_unique(keys, makeString(verdict->cancel_key));
	}
	return keys;
}

int64
event_write(const Event *event, const Evaluation *evaluation)
{
	List *keys = keys_to_cancel(event, evaluation);
	int64 id;
	int	  i;

	id = write_first(event, evaluation, keys ? strVal(linitial(keys)) : NULL);
	for (i = 1; i < list_length(keys); i++)
		write_further(event, evaluation, strVal(list_nth(keys, i)));
	notify_wake_planner();
	return id;
}
