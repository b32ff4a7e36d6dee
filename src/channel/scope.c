/*
 * scope.c
 *		What the pieces of a request see, as one jsonb document.
 *
 * It is built for each letter, and only where a piece depends on the letter.
 */
#include "postgres.h"

#include "channel/files.h"
#include "channel/piece.h"
#include "channel/scope.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &value);
}

/* A field that is text; NULL leaves it out */
static void
push_text(JsonbParseState **state, const char *key, const char *text)
{
	JsonbValue	value;

	if (text == NULL)
		return;
	push_key(state, key);
	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_document(JsonbParseState **state, const char *key, Jsonb *document)
{
	JsonbValue	value;

	if (document == NULL)
		return;
	push_key(state, key);
	JsonbToJsonbValue(document, &value);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

char *
scope_time(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
					tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fraction);
}

/* The message's id in the form of a UUID (version 8, RFC 9562) */
static char *
message_uuid(int64 message)
{
	uint64		id = (uint64) message;

	return psprintf("%08x-%04x-8000-8000-%012x", (unsigned) (id >> 32),
					(unsigned) (id >> 16 & 0xffff), (unsigned) (id & 0xffff));
}

/* Left out when there is none, so that a preset can ask for it. */
static void
push_files(JsonbParseState **state, const Letter *letter, const Request *request)
{
	int			i;

	if (letter->file_count == 0)
		return;
	push_key(state, "attachments");
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < letter->file_count; i++)
	{
		(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		push_text(state, "filename", letter->files[i].filename);
		push_text(state, "type", letter->files[i].type);
		push_text(state, "cid", letter->files[i].cid);
		push_text(state, "content", files_place(request, i));
		(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_message(JsonbParseState **state, const Letter *letter, const Request *request, unsigned uses)
{
	push_key(state, "message");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_text(state, "id", psprintf(INT64_FORMAT, letter->message));
	push_text(state, "uuid", message_uuid(letter->message));
	push_text(state, "event", psprintf(INT64_FORMAT, letter->event));
	push_text(state, "attempt", psprintf("%d", letter->attempt));
	push_text(state, "type", letter->type);
	push_text(state, "recipient", letter->recipient);
	push_text(state, "created", scope_time(letter->created));
	push_text(state, "subject", letter->subject);
	push_text(state, "body", letter->body);
	push_text(state, "html", letter->html);
	push_text(state, "unsubscribe", letter->unsubscribe);
	push_document(state, "template", letter->template);
	if (uses & USES_DATA)
		push_document(state, "data", letter->data);
	if (uses & USES_FILES)
		push_files(state, letter, request);
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* A web push subscription is an object; everything else is text. */
static void
push_address(JsonbParseState **state, const char *address)
{
	if (address && *address == '{')
		push_document(state, "address",
					  DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(address))));
	else
		push_text(state, "address", address);
}

static void
push_request(JsonbParseState **state, const Request *request, unsigned uses)
{
	pg_time_t	seconds = request->now_ms / 1000;
	struct pg_tm *tm = pg_gmtime(&seconds);

	push_key(state, "request");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_text(state, "timestamp", psprintf(INT64_FORMAT, (int64) seconds));
	push_text(state, "timestamp_ms", psprintf(INT64_FORMAT, request->now_ms));
	push_text(state, "date", psprintf("%04d-%02d-%02d", tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday));
	push_text(state, "time", psprintf("%04d%02d%02dT%02d%02d%02dZ", tm->tm_year + 1900,
									  tm->tm_mon + 1, tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec));
	push_text(state, "nonce", request->nonce);
	if (uses & USES_SENT)
	{
		push_text(state, "method", request->method);
		push_text(state, "url", request->url);
		push_text(state, "body", request->body);
	}
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
scope_build(Jsonb *settings, const Letter *letter, const Request *request, unsigned uses)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_document(&state, "settings", settings);
	if (letter && (uses & (USES_MESSAGE | USES_DATA)))
		push_message(&state, letter, request, uses);
	if (letter && (uses & USES_ADDRESS))
		push_address(&state, letter->address);
	if (request && (uses & USES_REQUEST))
		push_request(&state, request, uses);
	if (request)
		push_text(&state, "signature", request->signature);
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}
