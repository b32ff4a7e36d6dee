/*
 * reply.c
 *		What an answer over HTTP means, as a preset says.
 *
 * First the preset's success test, then its ordered error map, and when
 * neither says anything, the status alone (classify.c).  Many services answer
 * 200 with an error inside: then the success test has a path, and an answer
 * that passes neither it nor the error map is not understood.  It is tried
 * again, and its text is kept, so that the map can grow.
 *
 * Runs outside of libcurl's callbacks and without SQL.  The body is no longer
 * than REPLY_KEPT.  jsonpath and regular expressions are the server's; what
 * they raise (an answer that is no JSON, a path that does not fit) is caught
 * here and means that the test does not hold.
 */
#include "postgres.h"

#include <time.h>

#include "catalog/pg_collation.h"
#include "channel/classify.h"
#include "channel/piece.h"
#include "channel/reply.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

/* -------------------------------------------------------- reading a row --- */

static JsonPath *
read_path(const char *preset, const char *part, const JsonbValue *value)
{
	MemoryContext cxt = CurrentMemoryContext;
	char	   *text;
	JsonPath   *volatile path = NULL;

	if (value == NULL)
		return NULL;
	if (value->type != jbvString)
		preset_fail(preset, part, "A path must be a string.", NULL);
	text = pnstrdup(value->val.string.val, value->val.string.len);
	PG_TRY();
	{
		path = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		preset_fail(preset, part, psprintf("\"%s\" is not a jsonpath: %s.", text, error->message),
					"A path is written as in $.error.code.");
	}
	PG_END_TRY();
	return path;
}

static bool
matches(const text *value, const text *match)
{
	return DatumGetBool(DirectFunctionCall2Coll(textregexeq, C_COLLATION_OID,
												PointerGetDatum(value), PointerGetDatum(match)));
}

static text *
read_match(const char *preset, const char *part, const JsonbValue *value)
{
	MemoryContext cxt = CurrentMemoryContext;
	text	   *match;

	if (value == NULL)
		return NULL;
	if (value->type != jbvString)
		preset_fail(preset, part, "\"match\" must be a regular expression.", NULL);
	match = cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	PG_TRY();
	{
		(void) matches(cstring_to_text(""), match);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		preset_fail(preset, part, psprintf("\"match\": %s.", error->message), NULL);
	}
	PG_END_TRY();
	return match;
}

/* 404, or "4xx", or "200-299", or nothing for any */
static void
read_status(const char *preset, const char *part, const JsonbValue *value, ReplyTest *test)
{
	char	   *text;
	int			used = 0;

	test->low = 0;
	test->high = 999;
	if (value == NULL)
		return;
	if (value->type == jbvNumeric)
		text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	else
		text = value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : "";
	if (strlen(text) == 3 && text[0] >= '1' && text[0] <= '5' && strcmp(text + 1, "xx") == 0)
	{
		test->low = (text[0] - '0') * 100;
		test->high = test->low + 99;
		return;
	}
	if (sscanf(text, "%3d-%3d%n", &test->low, &test->high, &used) == 2 && text[used] == '\0')
		return;
	if (sscanf(text, "%3d%n", &test->low, &used) != 1 || text[used] != '\0' || test->low < 100)
		preset_fail(preset, part, "\"status\" must be a number such as 404, \"4xx\" or \"200-299\".", NULL);
	test->high = test->low;
}

static void
check_members(const char *preset, const char *part, const JsonbValue *value,
			  const char *const *known, int count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	int			i;

	if (!json_is_object(value))
		preset_fail(preset, part, "It must be a JSON object.", NULL);
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		for (i = 0; i < count; i++)
			if (item.val.string.len == strlen(known[i]) &&
				memcmp(item.val.string.val, known[i], item.val.string.len) == 0)
				break;
		if (i == count)
			preset_fail(preset, part, psprintf("There is no \"%.*s\" here.", item.val.string.len, item.val.string.val), NULL);
	}
}

static void
read_test(const char *preset, const char *part, JsonbValue *value, ReplyTest *test)
{
	static const char *const known[] = {"status", "path", "match", "class", "note"};

	check_members(preset, part, value, known, lengthof(known));
	read_status(preset, part, json_find(value->val.binary.data, "status"), test);
	test->path = read_path(preset, part, json_find(value->val.binary.data, "path"));
	test->match = read_match(preset, part, json_find(value->val.binary.data, "match"));
}

static SendClass
read_class(const char *preset, const char *part, const JsonbValue *value)
{
	char	   *name = json_text(value->val.binary.data, "class");
	SendClass	class;

	for (class = SEND_RETRY; class <= SEND_AUTH; class++)
		if (name && strcmp(send_class_name(class), name) == 0)
			return class;
	preset_fail(preset, part, name ? psprintf("There is no class \"%s\".", name) : "It has no class.",
				"A class is retry, defer, permanent_message, permanent_recipient, provider_down or auth.");
	return SEND_RETRY;
}

/* An object stands for an array of one. */
static int
item_count(const JsonbValue *value)
{
	return value == NULL ? 0 : json_is_array(value) ? JsonContainerSize(value->val.binary.data) : 1;
}

static JsonbValue *
item_at(JsonbValue *value, int i)
{
	return json_is_array(value) ? getIthJsonbValueFromContainer(value->val.binary.data, i) : value;
}

static void
read_tests(const char *preset, ReplyRules *rules, Jsonb *row)
{
	JsonbValue *success = json_find(&row->root, "success");
	JsonbValue *errors = json_find(&row->root, "errors");
	int			i;

	rules->success_count = item_count(success);
	rules->success = palloc0(sizeof(ReplyTest) * (rules->success_count + 1));
	for (i = 0; i < rules->success_count; i++)
		read_test(preset, "success", item_at(success, i), &rules->success[i]);
	rules->error_count = item_count(errors);
	rules->errors = palloc0(sizeof(ReplyError) * (rules->error_count + 1));
	for (i = 0; i < rules->error_count; i++)
	{
		char	   *part = psprintf("errors[%d]", i);
		JsonbValue *item = item_at(errors, i);

		read_test(preset, part, item, &rules->errors[i].test);
		rules->errors[i].class = read_class(preset, part, item);
	}
}

static void
read_reference(const char *preset, ReplyRules *rules, Jsonb *row)
{
	static const char *const known[] = {"path", "header", "match"};
	JsonbValue *reference = json_find(&row->root, "reference");
	JsonbValue *headers;
	int			i;

	if (reference == NULL)
		return;
	check_members(preset, "reference", reference, known, lengthof(known));
	rules->reference = read_path(preset, "reference", json_find(reference->val.binary.data, "path"));
	rules->reference_match = read_match(preset, "reference", json_find(reference->val.binary.data, "match"));
	headers = json_find(reference->val.binary.data, "header");
	if (item_count(headers) > REFERENCE_HEADERS)
		preset_fail(preset, "reference", "It names more than 4 headers.", NULL);
	for (i = 0; i < item_count(headers); i++)
	{
		JsonbValue *name = item_at(headers, i);

		if (name->type != jbvString)
			preset_fail(preset, "reference", "\"header\" must be a name, or an array of names.", NULL);
		rules->reference_headers[i] = pnstrdup(name->val.string.val, name->val.string.len);
	}
}

ReplyRules *
reply_read(const char *preset, Jsonb *row)
{
	ReplyRules *rules = palloc0(sizeof(ReplyRules));

	read_tests(preset, rules, row);
	read_reference(preset, rules, row);
	rules->retry_after = read_path(preset, "retry_after", json_find(&row->root, "retry_after"));
	return rules;
}

/* ------------------------------------------------------ judging answers --- */

typedef struct Judgement
{
	const ReplyRules *rules;
	const char *text;			/* in the server's encoding */
	Jsonb	   *json;			/* NULL when it is none */
	int			status;
} Judgement;

/* The first item a path finds, NULL when there is none */
static Jsonb *
find_item(const Judgement *judgement, JsonPath *path)
{
	LOCAL_FCINFO(fcinfo, 4);
	FmgrInfo	flinfo = {0};
	Datum		result;

	if (judgement->json == NULL)
		return NULL;
	flinfo.fn_mcxt = CurrentMemoryContext;
	InitFunctionCallInfoData(*fcinfo, &flinfo, 4, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(judgement->json);
	fcinfo->args[1].value = PointerGetDatum(path);
	fcinfo->args[2].value = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	fcinfo->args[3].value = BoolGetDatum(true);
	fcinfo->args[0].isnull = fcinfo->args[1].isnull = false;
	fcinfo->args[2].isnull = fcinfo->args[3].isnull = false;
	result = jsonb_path_query_first(fcinfo);
	return fcinfo->isnull ? NULL : DatumGetJsonbP(result);
}

/* The text of an item: a string without its quotes */
static char *
item_text(Jsonb *item)
{
	JsonbValue	value;

	if (!JsonbExtractScalar(&item->root, &value))
		return JsonbToCString(NULL, &item->root, VARSIZE(item));
	switch (value.type)
	{
		case jbvString:
			return pnstrdup(value.val.string.val, value.val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
		case jbvBool:
			return pstrdup(value.val.boolean ? "true" : "false");
		default:
			return pstrdup("");
	}
}

/* A path is a condition unless it finds nothing, false or null. */
static bool
is_true(Jsonb *item)
{
	JsonbValue	value;

	if (item == NULL || !JsonbExtractScalar(&item->root, &value))
		return item != NULL;
	return value.type != jbvNull && !(value.type == jbvBool && !value.val.boolean);
}

static bool
holds(const Judgement *judgement, const ReplyTest *test)
{
	const char *text = judgement->text;

	if (judgement->status < test->low || judgement->status > test->high)
		return false;
	if (test->path)
	{
		Jsonb	   *item = find_item(judgement, test->path);

		if (test->match == NULL || item == NULL)
			return item != NULL && is_true(item);
		text = item_text(item);
	}
	return test->match == NULL || matches(cstring_to_text(text), test->match);
}

static bool
succeeded(const Judgement *judgement)
{
	int			i;

	if (judgement->rules->success_count == 0)
		return judgement->status >= 200 && judgement->status <= 299;
	for (i = 0; i < judgement->rules->success_count; i++)
		if (holds(judgement, &judgement->rules->success[i]))
			return true;
	return false;
}

/* A server error after which nobody knows what the server did */
static bool
is_ambiguous(int status)
{
	return (status >= 500 && status != 501 && status != 503 && status != 505);
}

/* Was there anything that says what it is? */
static bool
classify(const Judgement *judgement, SendResult *result)
{
	int			i;

	result->ambiguous = is_ambiguous(judgement->status);
	if (succeeded(judgement))
	{
		result->class = SEND_OK;
		result->ambiguous = false;
		return true;
	}
	for (i = 0; i < judgement->rules->error_count; i++)
		if (holds(judgement, &judgement->rules->errors[i].test))
		{
			result->class = judgement->rules->errors[i].class;
			return true;
		}
	result->class = classify_http(judgement->status);
	if (result->class != SEND_OK)
		return true;
	result->class = SEND_RETRY;
	result->ambiguous = true;
	return false;
}

/* What a regular expression catches, or all it matches */
static char *
caught(const char *words, const text *match)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		found;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, C_COLLATION_OID, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(words);
	fcinfo->args[1].value = PointerGetDatum(match);
	fcinfo->args[0].isnull = fcinfo->args[1].isnull = false;
	found = textregexsubstr(fcinfo);
	return fcinfo->isnull ? NULL : TextDatumGetCString(found);
}

static void
take_reference(const Judgement *judgement, SendResult *result)
{
	char	   *found = NULL;

	if (judgement->rules->reference)
	{
		Jsonb	   *item = find_item(judgement, judgement->rules->reference);

		found = item ? item_text(item) : NULL;
	}
	else if (judgement->rules->reference_match)
		found = caught(judgement->text, judgement->rules->reference_match);
	if (found == NULL || *found == '\0')
		return;
	result->reference[0] = '\0';
	append_clean(result->reference, sizeof(result->reference), found, strlen(found));
}

static void
take_retry_after(const Judgement *judgement, SendResult *result)
{
	Jsonb	   *item;
	char	   *text;

	if (judgement->rules->retry_after == NULL || result->class == SEND_OK)
		return;
	item = find_item(judgement, judgement->rules->retry_after);
	if (item == NULL)
		return;
	text = item_text(item);
	text[strcspn(text, ".")] = '\0';
	if (retry_after_ms(text, time(NULL)) >= 0)
		result->retry_after = retry_after_ms(text, time(NULL));
}

static bool
judge(Judgement *judgement, const Reply *reply, SendResult *result)
{
	bool		understood;

	judgement->text = pg_any_to_server(pnstrdup(reply->text, reply->length), reply->length, PG_UTF8);
	judgement->json = text_to_json(judgement->text, strlen(judgement->text));
	understood = classify(judgement, result);
	take_reference(judgement, result);
	take_retry_after(judgement, result);
	return understood;
}

/* Rules that look at nothing but the status need no look at the body. */
static bool
status_is_enough(const ReplyRules *rules)
{
	return rules->success_count == 0 && rules->error_count == 0 && rules->reference == NULL &&
		rules->reference_match == NULL && rules->retry_after == NULL;
}

bool
reply_judge(const ReplyRules *rules, const Reply *reply, int status,
			SendResult *result, MemoryContext cxt)
{
	Judgement	judgement = {rules, "", NULL, status};
	MemoryContext before;
	volatile bool understood = false;

	if (status_is_enough(rules))
		return classify(&judgement, result);
	before = MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		understood = judge(&judgement, reply, result);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
		result->class = classify_http(status);
		if (result->class == SEND_OK)
		{
			result->class = SEND_RETRY;
			result->ambiguous = true;
		}
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	return understood;
}
