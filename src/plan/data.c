/*
 * data.c
 *		What a template sees of an event: its data, in one object.
 *
 * Emitted data and the rule's context at the top, and over them new, old and
 * event:
 *
 *		{...emitted, ...context, "new": ..., "old": ..., "event": {...}}
 *
 * and of the person, which the context keeps as it was when the message was
 * planned:
 *
 *		{...context, "recipient": {...}}
 *
 * Built in one pass, for it is done for every message.  An object
 * keeps the last of equal keys.
 */
#include "postgres.h"

#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "capture/id.h"
#include "plan/data.h"

PG_FUNCTION_INFO_V1(notify_data);
PG_FUNCTION_INFO_V1(notify_event_meta);

/* The arguments both functions begin with. */
enum
{
	ARG_ID, ARG_OP, ARG_TYPE, ARG_KEY, ARG_NEW, ARG_OLD, ARG_CONTEXT
};

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
}

static void
push_text(JsonbParseState **state, const char *name, char *string)
{
	JsonbValue	value = {.type = jbvNull};

	if (string != NULL)
	{
		value.type = jbvString;
		value.val.string.val = string;
		value.val.string.len = strlen(string);
	}
	push_key(state, name);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static bool
is_object(const Jsonb *jsonb)
{
	return jsonb != NULL && JB_ROOT_IS_OBJECT(jsonb);
}

/* The pairs of an object into the one being built; anything else has none. */
static void
push_pairs(JsonbParseState **state, Jsonb *object)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!is_object(object))
		return;
	iterator = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&iterator, &value, false); /* WJB_BEGIN_OBJECT */
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_KEY ||
		   token == WJB_VALUE)
		pushJsonbValue(state, token, &value);
}

static void
push_document(JsonbParseState **state, const char *name, Jsonb *document)
{
	JsonbValue	value = {.type = jbvNull};

	push_key(state, name);
	if (document != NULL && JB_ROOT_IS_SCALAR(document))
		(void) JsonbExtractScalar(&document->root, &value);
	else if (document != NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = &document->root;
		value.val.binary.len = VARSIZE(document) - VARHDRSZ;
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* An event's whole old row: of an UPDATE, what did not change is taken from new. */
static void
push_old(JsonbParseState **state, char op, Jsonb *new, Jsonb *old)
{
	if (op != 'U' || !is_object(new))
	{
		push_document(state, "old", op == 'U' ? NULL : old);
		return;
	}
	push_key(state, "old");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_pairs(state, new);
	push_pairs(state, old);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* 2026-11-23T08:15:00.123Z */
static char *
utc_time(int64 id)
{
	int64		ms = id >> NOTIFY_ID_SEQUENCE_BITS;
	pg_time_t	seconds = ms / 1000 - (ms % 1000 < 0);
	struct pg_tm *tm = pg_gmtime(&seconds);

	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm->tm_year + 1900, tm->tm_mon + 1,
					tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec, (int) (ms - seconds * 1000));
}

static void
push_meta(JsonbParseState **state, const EventData *data)
{
	char		op[2] = {data->op, '\0'};

	push_text(state, "id", psprintf(INT64_FORMAT, data->id));
	push_text(state, "type", data->type);
	push_text(state, "key", data->key);
	push_text(state, "op", op);
	push_text(state, "at", utc_time(data->id));
}

Jsonb *
event_data(const EventData *data)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (data->op == 'E' || data->op == 'S')
		push_pairs(&state, data->new);
	push_pairs(&state, data->context);
	if (data->op != '\0')
	{
		push_document(&state, "new", data->new);
		push_old(&state, data->op, data->new, data->old);
		push_key(&state, "event");
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_meta(&state, data);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
context_data(Jsonb *given, const PersonData *person)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_pairs(&state, given);
	if (person == NULL)
		push_text(&state, "recipient", NULL);
	else
	{
		push_key(&state, "recipient");
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_text(&state, "id", person->id);
		push_text(&state, "name", person->name);
		push_text(&state, "locale", person->locale);
		push_text(&state, "time_zone", person->time_zone);
		push_document(&state, "attributes", person->attributes);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ----------------------------------------------------- what SQL sees of it --- */

static char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static Jsonb *
jsonb_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n);
}

static void
read_meta(FunctionCallInfo fcinfo, EventData *data)
{
	if (PG_ARGISNULL(ARG_ID) || PG_ARGISNULL(ARG_OP))
		return;
	data->id = PG_GETARG_INT64(ARG_ID);
	data->op = PG_GETARG_CHAR(ARG_OP);
	data->type = text_or_null(fcinfo, ARG_TYPE);
	data->key = text_or_null(fcinfo, ARG_KEY);
}

/* _event_meta(id, op, type, key) */
Datum
notify_event_meta(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	EventData	data = {0};

	read_meta(fcinfo, &data);
	if (data.op == '\0')
		PG_RETURN_NULL();
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_meta(&state, &data);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* _data(id, op, type, key, new, old, context) */
Datum
notify_data(PG_FUNCTION_ARGS)
{
	EventData	data = {0};

	read_meta(fcinfo, &data);
	if (data.op != '\0')
	{
		data.new = jsonb_or_null(fcinfo, ARG_NEW);
		data.old = jsonb_or_null(fcinfo, ARG_OLD);
	}
	data.context = jsonb_or_null(fcinfo, ARG_CONTEXT);
	PG_RETURN_JSONB_P(event_data(&data));
}
