/*
 * json.c
 *		Documents: from JSON text to something that reads as jsonb.
 *
 * A container starts with jsonb's own header; behind it is a pointer to its
 * values, keys and values by turns in an object.  As in jsonb, keys are in
 * order of length, then of bytes, and of equal ones the last stays.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "backend.h"

#define MAX_DEPTH	64

typedef struct Document
{
	int32		size;			/* a varlena header's place */
	uint32		header;			/* "root" points here */
	JsonbValue *values;
} Document;

typedef struct Reader
{
	const char *at;
	const char *end;
	int			depth;
	bool		failed;
} Reader;

static void read_value(Reader *r, JsonbValue *v);

static JsonbValue *
values_of(JsonbContainer *c)
{
	return ((Document *) ((char *) c - offsetof(Document, header)))->values;
}

static Document *
document(uint32 kind, int count, JsonbValue *values)
{
	Document   *d = palloc0(sizeof(Document));

	d->size = sizeof(Document);
	d->header = kind | count;
	d->values = values;
	return d;
}

static char
peek(Reader *r)
{
	while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at)
		r->at++;
	return r->at < r->end ? *r->at : '\0';
}

static bool
accept(Reader *r, char c)
{
	if (peek(r) != c)
		return false;
	r->at++;
	return true;
}

static void
read_string(Reader *r, JsonbValue *v)
{
	StringInfoData text;

	initStringInfo(&text);
	r->at++;
	while (r->at < r->end && *r->at != '"')
	{
		if (*r->at == '\\' && r->at + 1 < r->end)
			r->at++;
		appendStringInfoChar(&text, *r->at++);
	}
	r->failed |= r->at >= r->end;
	r->at++;
	v->type = jbvString;
	v->val.string.val = text.data;
	v->val.string.len = text.len;
}

static void
read_number(Reader *r, JsonbValue *v)
{
	const char *start = r->at;
	char	   *text;

	r->at += *r->at == '-';
	r->failed |= r->at >= r->end || !isdigit((unsigned char) *r->at);
	while (r->at < r->end && isdigit((unsigned char) *r->at))
		r->at++;
	if (r->at + 1 < r->end && *r->at == '.' && isdigit((unsigned char) r->at[1]))
		for (r->at++; r->at < r->end && isdigit((unsigned char) *r->at);)
			r->at++;
	if (r->at + 1 < r->end && *r->at == 'e' && isdigit((unsigned char) r->at[1]))
		for (r->at++; r->at < r->end && isdigit((unsigned char) *r->at);)
			r->at++;
	v->type = jbvNumeric;
	if (r->failed)
		return;
	text = pnstrdup(start, r->at - start);
	v->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text), 0, 0));
}

static void
read_word(Reader *r, JsonbValue *v)
{
	int			left = r->end - r->at;

	v->type = jbvNull;
	if (left >= 4 && memcmp(r->at, "null", 4) == 0)
		r->at += 4;
	else if (left >= 4 && memcmp(r->at, "true", 4) == 0)
	{
		v->type = jbvBool;
		v->val.boolean = true;
		r->at += 4;
	}
	else if (left >= 5 && memcmp(r->at, "false", 5) == 0)
	{
		v->type = jbvBool;
		v->val.boolean = false;
		r->at += 5;
	}
	else
		r->failed = true;
}

static int
compare_keys(const JsonbValue *a, const JsonbValue *b)
{
	if (a->val.string.len != b->val.string.len)
		return a->val.string.len - b->val.string.len;
	return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
}

/* Insertion sort, for keys are few; gives the count of those that stay. */
static int
sort_pairs(JsonbValue *pairs, int count)
{
	int			kept = 0;

	for (int i = 0; i < count; i++)
	{
		JsonbValue	key = pairs[2 * i];
		JsonbValue	value = pairs[2 * i + 1];
		int			at = kept;

		while (at > 0 && compare_keys(&key, &pairs[2 * (at - 1)]) < 0)
			at--;
		if (at > 0 && compare_keys(&key, &pairs[2 * (at - 1)]) == 0)
		{
			pairs[2 * at - 1] = value;
			continue;
		}
		memmove(&pairs[2 * at + 2], &pairs[2 * at], (kept - at) * 2 * sizeof(JsonbValue));
		pairs[2 * at] = key;
		pairs[2 * at + 1] = value;
		kept++;
	}
	return kept;
}

/* An array or, with pairs, an object. */
static void
read_container(Reader *r, JsonbValue *v, bool pairs)
{
	int			room = 8;
	int			count = 0;
	JsonbValue *values = palloc(room * sizeof(JsonbValue));
	char		close = pairs ? '}' : ']';

	r->at++;
	r->failed |= ++r->depth > MAX_DEPTH;
	while (!r->failed && !accept(r, close))
	{
		if (count + 2 > room)
			values = repalloc(values, (room *= 2) * sizeof(JsonbValue));
		if (pairs)
		{
			if (peek(r) == '"')
				read_string(r, &values[count++]);
			else
				r->failed = true;
			r->failed |= !accept(r, ':');
		}
		if (!r->failed)
			read_value(r, &values[count++]);
		if (!accept(r, ',') && peek(r) != close)
			r->failed = true;
	}
	r->depth--;
	v->type = jbvBinary;
	if (r->failed)
		return;
	if (pairs)
		count = sort_pairs(values, count / 2);
	v->val.binary.data = (JsonbContainer *) &document(pairs ? JB_FOBJECT : JB_FARRAY, count, values)->header;
}

static void
read_value(Reader *r, JsonbValue *v)
{
	char		c = peek(r);

	if (c == '{' || c == '[')
		read_container(r, v, c == '{');
	else if (c == '"')
		read_string(r, v);
	else if (c == '-' || isdigit((unsigned char) c))
		read_number(r, v);
	else
		read_word(r, v);
}

Jsonb *
backend_json(const char *text, int len)
{
	Reader		r = {text, text + len};
	JsonbValue	v;

	read_value(&r, &v);
	if (r.failed || peek(&r) != '\0' || v.type != jbvBinary)
		return NULL;
	return (Jsonb *) ((char *) v.val.binary.data - offsetof(Document, header));
}

/*
 * What src/liquid reads them with.
 */
JsonbValue *
getKeyJsonValueFromContainer(JsonbContainer *container, const char *key, int len, JsonbValue *result)
{
	JsonbValue *values = values_of(container);

	for (int i = 0; i < JsonContainerSize(container); i++)
	{
		JsonbValue *k = &values[2 * i];

		if (k->val.string.len == len && memcmp(k->val.string.val, key, len) == 0)
		{
			if (result == NULL)
				result = palloc(sizeof(JsonbValue));
			*result = values[2 * i + 1];
			return result;
		}
	}
	return NULL;
}

JsonbValue *
getIthJsonbValueFromContainer(JsonbContainer *container, uint32 i)
{
	JsonbValue *result;

	if (i >= JsonContainerSize(container))
		return NULL;
	result = palloc(sizeof(JsonbValue));
	*result = values_of(container)[i];
	return result;
}

JsonbIterator *
JsonbIteratorInit(JsonbContainer *container)
{
	JsonbIterator *it = palloc0(sizeof(JsonbIterator));

	it->container = container;
	it->curIndex = -1;
	return it;
}

/* As with skipNested, which is how it is called. */
JsonbIteratorToken
JsonbIteratorNext(JsonbIterator **iterator, JsonbValue *v, bool skip_nested)
{
	JsonbIterator *it = *iterator;
	bool		object = JsonContainerIsObject(it->container);
	int			count = JsonContainerSize(it->container) * (object ? 2 : 1);
	int			at = it->curIndex++;

	if (at < 0)
		return object ? WJB_BEGIN_OBJECT : WJB_BEGIN_ARRAY;
	if (at >= count)
		return at == count ? (object ? WJB_END_OBJECT : WJB_END_ARRAY) : WJB_DONE;
	*v = values_of(it->container)[at];
	if (!object)
		return WJB_ELEM;
	return at % 2 == 0 ? WJB_KEY : WJB_VALUE;
}

static int
compare_values(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	switch (a->type)
	{
		case jbvString:
			return compare_keys(a, b);
		case jbvNumeric:
			return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->val.numeric),
													 NumericGetDatum(b->val.numeric)));
		case jbvBool:
			return a->val.boolean - b->val.boolean;
		case jbvBinary:
			return compareJsonbContainers(a->val.binary.data, b->val.binary.data);
		default:
			return 0;
	}
}

int
compareJsonbContainers(JsonbContainer *a, JsonbContainer *b)
{
	int			count = JsonContainerSize(a) * (JsonContainerIsObject(a) ? 2 : 1);

	if (a->header != b->header)
		return a->header < b->header ? -1 : 1;
	for (int i = 0; i < count; i++)
	{
		int			order = compare_values(&values_of(a)[i], &values_of(b)[i]);

		if (order != 0)
			return order;
	}
	return 0;
}
