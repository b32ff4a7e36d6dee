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
 * It is done for every message, so nothing is taken apart (splice.h).
 */
#include "postgres.h"

#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "capture/id.h"
#include "plan/data.h"
#include "splice.h"

PG_FUNCTION_INFO_V1(notify_data);
PG_FUNCTION_INFO_V1(notify_event_meta);

/* The arguments both functions begin with. */
enum
{
	ARG_ID, ARG_OP, ARG_TYPE, ARG_KEY, ARG_NEW, ARG_OLD, ARG_CONTEXT
};

/* An event's whole old row: of an UPDATE, what did not change is taken from new. */
static void
splice_old(Splice *splice, const EventData *data)
{
	Splice		whole = {0};

	if (data->op == 'U' && data->new != NULL && JB_ROOT_IS_OBJECT(data->new))
	{
		splice_pairs(&whole, data->new);
		splice_pairs(&whole, data->old);
		splice_document(splice, "old", splice_end(&whole));
	}
	else
		splice_document(splice, "old", data->op == 'U' ? NULL : data->old);
}

static char *
put_number(char *at, int number, int digits, char after)
{
	at = pg_ultostr_zeropad(at, number, digits);
	*at++ = after;
	return at;
}

/* 2026-11-23T08:15:00.123Z; not by printf, for it is done for every message */
static char *
utc_time(int64 id)
{
	int64		ms = id >> NOTIFY_ID_SEQUENCE_BITS;
	pg_time_t	seconds = ms / 1000 - (ms % 1000 < 0);
	struct pg_tm *tm = pg_gmtime(&seconds);
	char	   *text = palloc(64);
	char	   *at = text;

	at = put_number(at, tm->tm_year + 1900, 4, '-');
	at = put_number(at, tm->tm_mon + 1, 2, '-');
	at = put_number(at, tm->tm_mday, 2, 'T');
	at = put_number(at, tm->tm_hour, 2, ':');
	at = put_number(at, tm->tm_min, 2, ':');
	at = put_number(at, tm->tm_sec, 2, '.');
	at = put_number(at, (int) (ms - seconds * 1000), 3, 'Z');
	*at = '\0';
	return text;
}

static char *
id_text(int64 id)
{
	char	   *text = palloc(MAXINT8LEN + 1);

	pg_lltoa(id, text);
	return text;
}

static Jsonb *
event_meta(const EventData *data)
{
	char		op[2] = {data->op, '\0'};
	Splice		meta = {0};

	splice_text(&meta, "id", id_text(data->id));
	splice_text(&meta, "type", data->type);
	splice_text(&meta, "key", data->key);
	splice_text(&meta, "op", op);
	splice_text(&meta, "at", utc_time(data->id));
	return splice_end(&meta);
}

Jsonb *
event_data(const EventData *data)
{
	Splice		whole = {0};

	if (data->op == 'E' || data->op == 'S')
		splice_pairs(&whole, data->new);
	splice_pairs(&whole, data->context);
	if (data->op != '\0')
	{
		splice_document(&whole, "new", data->new);
		splice_old(&whole, data);
		splice_document(&whole, "event", event_meta(data));
	}
	return splice_end(&whole);
}

Jsonb *
context_data(Jsonb *given, const PersonData *person)
{
	Splice		recipient = {0};
	Splice		whole = {0};

	splice_pairs(&whole, given);
	if (person == NULL)
		splice_text(&whole, "recipient", NULL);
	else
	{
		splice_text(&recipient, "id", person->id);
		splice_text(&recipient, "name", person->name);
		splice_text(&recipient, "locale", person->locale);
		splice_text(&recipient, "time_zone", person->time_zone);
		splice_document(&recipient, "attributes", person->attributes);
		splice_document(&whole, "recipient", splice_end(&recipient));
	}
	return splice_end(&whole);
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
	EventData	data = {0};

	read_meta(fcinfo, &data);
	if (data.op == '\0')
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(event_meta(&data));
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
