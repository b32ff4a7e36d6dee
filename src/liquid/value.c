/*
 * value.c
 *		Making, reading, comparing and writing values.
 *
 * Nothing here changes a value: arrays are only added to by whoever made them,
 * before anyone else has seen them.
 */
#include "postgres.h"

#include "common/int.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "liquid/inspect.h"
#include "liquid/liquid.h"
#include "liquid/number.h"
#include "liquid/value.h"

LiquidValue
liquid_nil(void)
{
	LiquidValue v = {.kind = LIQUID_NIL};

	return v;
}

LiquidValue
liquid_boolean(bool b)
{
	LiquidValue v = {.kind = LIQUID_BOOLEAN,.u.boolean = b};

	return v;
}

LiquidValue
liquid_integer(int64 i)
{
	LiquidValue v = {.kind = LIQUID_INTEGER,.u.integer = i};

	return v;
}

LiquidValue
liquid_string(const char *s, int len)
{
	LiquidValue v = {.kind = LIQUID_STRING,.len = len,.u.string = s};

	return v;
}

LiquidValue
liquid_cstring(const char *s)
{
	return liquid_string(s, strlen(s));
}

LiquidValue
liquid_array(LiquidArray *array)
{
	LiquidValue v = {.kind = LIQUID_ARRAY,.u.array = array};

	return v;
}

LiquidArray *
liquid_array_make(int room)
{
	LiquidArray *array = palloc(sizeof(LiquidArray));

	array->count = 0;
	array->room = Max(room, 4);
	array->items = palloc(array->room * sizeof(LiquidValue));
	return array;
}

void
liquid_array_add(LiquidArray *array, LiquidValue v)
{
	if (array->count == array->room)
	{
		array->room *= 2;
		array->items = repalloc(array->items, array->room * sizeof(LiquidValue));
	}
	array->items[array->count++] = v;
}

LiquidValue
liquid_from_container(JsonbContainer *c)
{
	LiquidValue v = {.kind = LIQUID_LIST,.u.json = c};

	if (JsonContainerIsObject(c))
		v.kind = LIQUID_OBJECT;
	else if (JsonContainerIsScalar(c))
		return liquid_nth(v, 0);
	return v;
}

LiquidValue
liquid_from_jsonb(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return liquid_string(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return liquid_from_numeric(v->val.numeric);
		case jbvBool:
			return liquid_boolean(v->val.boolean);
		case jbvBinary:
			return liquid_from_container(v->val.binary.data);
		default:
			return liquid_nil();
	}
}

int64
liquid_count(LiquidValue v)
{
	switch (v.kind)
	{
		case LIQUID_LIST:
		case LIQUID_OBJECT:
			return JsonContainerSize(v.u.json);
		case LIQUID_ARRAY:
			return v.u.array->count;
		case LIQUID_RANGE:
			return v.u.range.last < v.u.range.first ? 0 :
				v.u.range.last - v.u.range.first + 1;
		default:
			return 0;
	}
}

static LiquidValue
list_nth(JsonbContainer *c, int64 n)
{
	JsonbValue *item = getIthJsonbValueFromContainer(c, (uint32) n);
	LiquidValue v = item ? liquid_from_jsonb(item) : liquid_nil();

	return v;
}

LiquidValue
liquid_nth(LiquidValue v, int64 n)
{
	int64		count = liquid_count(v);

	if (n < 0)
		n += count;
	if (n < 0 || n >= count)
		return liquid_nil();
	if (v.kind == LIQUID_LIST)
		return list_nth(v.u.json, n);
	if (v.kind == LIQUID_ARRAY)
		return v.u.array->items[n];
	if (v.kind == LIQUID_RANGE)
		return liquid_integer(v.u.range.first + n);
	return liquid_nil();
}

static bool
name_is(const char *name, int len, const char *word)
{
	return len == strlen(word) && memcmp(name, word, len) == 0;
}

static LiquidValue
loop_member(const LiquidLoop *loop, const char *name, int len)
{
	if (name_is(name, len, "index"))
		return liquid_integer(loop->index0 + 1);
	if (name_is(name, len, "index0"))
		return liquid_integer(loop->index0);
	if (name_is(name, len, "rindex"))
		return liquid_integer(loop->length - loop->index0);
	if (name_is(name, len, "rindex0"))
		return liquid_integer(loop->length - loop->index0 - 1);
	if (name_is(name, len, "first"))
		return liquid_boolean(loop->index0 == 0);
	if (name_is(name, len, "last"))
		return liquid_boolean(loop->index0 == loop->length - 1);
	if (name_is(name, len, "length"))
		return liquid_integer(loop->length);
	return liquid_nil();
}

static LiquidValue
forloop_member(const LiquidLoop *loop, const char *name, int len)
{
	if (name_is(name, len, "name"))
		return liquid_cstring(loop->name);
	if (name_is(name, len, "parentloop") && loop->parent)
	{
		LiquidValue v = {.kind = LIQUID_LOOP,.u.loop = loop->parent};

		return v;
	}
	return loop_member(loop, name, len);
}

static LiquidValue
tablerow_member(const LiquidLoop *loop, const char *name, int len)
{
	int64		cols = Max(loop->cols, 1);

	if (name_is(name, len, "col"))
		return liquid_integer(loop->index0 % cols + 1);
	if (name_is(name, len, "col0"))
		return liquid_integer(loop->index0 % cols);
	if (name_is(name, len, "row"))
		return liquid_integer(loop->index0 / cols + 1);
	if (name_is(name, len, "col_first"))
		return liquid_boolean(loop->index0 % cols == 0);
	if (name_is(name, len, "col_last"))
		return liquid_boolean(loop->index0 % cols == cols - 1);
	return loop_member(loop, name, len);
}

LiquidValue
liquid_member(LiquidValue v, const char *name, int len)
{
	JsonbValue	found;

	if (v.kind == LIQUID_LOOP)
		return forloop_member(v.u.loop, name, len);
	if (v.kind == LIQUID_TABLEROW)
		return tablerow_member(v.u.loop, name, len);
	if (v.kind != LIQUID_OBJECT ||
		!getKeyJsonValueFromContainer(v.u.json, name, len, &found))
		return liquid_nil();
	return liquid_from_jsonb(&found);
}

/* The pair an object's iteration gives first. */
static LiquidValue
first_of(LiquidValue v)
{
	if (v.kind != LIQUID_OBJECT)
		return liquid_nth(v, 0);
	return liquid_nth(liquid_array(liquid_items(v, 0, 1)), 0);
}

static LiquidValue
size_of(LiquidValue v)
{
	if (v.kind == LIQUID_STRING)
		return liquid_integer(pg_mbstrlen_with_len(v.u.string, v.len));
	if (v.kind == LIQUID_INTEGER)
		return liquid_integer(8);	/* the reference's, for what it is worth */
	if (liquid_is_array(v) || v.kind == LIQUID_RANGE || v.kind == LIQUID_OBJECT)
		return liquid_integer(liquid_count(v));
	return liquid_nil();
}

static LiquidValue
run_command(LiquidValue v, const char *name, int len)
{
	if (name_is(name, len, "size"))
		return size_of(v);
	if (name_is(name, len, "first"))
		return first_of(v);
	if (name_is(name, len, "last"))
		return liquid_nth(v, -1);
	return liquid_nil();
}

static bool
has_key(LiquidValue v, LiquidValue key)
{
	JsonbValue	found;

	return v.kind == LIQUID_OBJECT &&
		getKeyJsonValueFromContainer(v.u.json, key.u.string, key.len, &found) != NULL;
}

LiquidValue
liquid_lookup(LiquidValue v, LiquidValue key, bool command)
{
	if (key.kind == LIQUID_INTEGER && liquid_is_array(v))
		return liquid_nth(v, key.u.integer);
	if (key.kind == LIQUID_DECIMAL && liquid_is_array(v))
		return liquid_nth(v, liquid_to_int(key));
	if (key.kind != LIQUID_STRING)
		return liquid_nil();
	if (!command || v.kind == LIQUID_LOOP || v.kind == LIQUID_TABLEROW || has_key(v, key))
		return liquid_member(v, key.u.string, key.len);
	return run_command(v, key.u.string, key.len);
}

static void
add_json_items(LiquidArray *items, JsonbContainer *c, int64 from, int64 to)
{
	JsonbIterator *it = JsonbIteratorInit(c);
	JsonbIteratorToken token;
	JsonbValue	jv;
	int64		at = 0;
	LiquidArray *pair = NULL;

	while (at < to && (token = JsonbIteratorNext(&it, &jv, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && at++ >= from)
			liquid_array_add(items, liquid_from_jsonb(&jv));
		else if (token == WJB_KEY && at >= from)
		{
			pair = liquid_array_make(2);
			liquid_array_add(pair, liquid_from_jsonb(&jv));
		}
		else if (token == WJB_VALUE && at++ >= from)
		{
			liquid_array_add(pair, liquid_from_jsonb(&jv));
			liquid_array_add(items, liquid_array(pair));
		}
	}
}

/* Where a walk of at most "limit" (all when negative) elements ends. */
static int64
walk_end(int64 count, int64 from, int64 limit)
{
	int64		to;

	if (limit < 0 || pg_add_s64_overflow(from, limit, &to))
		return count;
	return Min(to, count);
}

LiquidArray *
liquid_items(LiquidValue v, int64 from, int64 limit)
{
	int64		to;
	LiquidArray *items;

	if (v.kind == LIQUID_STRING)
	{
		items = liquid_array_make(1);
		if (v.len > 0)
			liquid_array_add(items, v);
		return items;
	}
	from = Max(from, 0);
	to = walk_end(liquid_count(v), from, limit);
	if (to - from > LIQUID_MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("array of " INT64_FORMAT " elements is too large", to - from),
				 errdetail("At most %d elements are allowed.", LIQUID_MAX_ITEMS)));
	items = liquid_array_make((int) Max(to - from, 0));
	if (v.kind == LIQUID_LIST || v.kind == LIQUID_OBJECT)
		add_json_items(items, v.u.json, from, to);
	else
		for (int64 i = from; i < to; i++)
			liquid_array_add(items, liquid_nth(v, i));
	return items;
}

void
liquid_check_text(StringInfo text)
{
	if (text->len > LIQUID_MAX_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text made by a Liquid template is too long"),
				 errdetail("At most %d bytes are allowed.", LIQUID_MAX_MEMORY)));
}

void
liquid_append(StringInfo out, LiquidValue v)
{
	check_stack_depth();
	liquid_check_text(out);
	switch (v.kind)
	{
		case LIQUID_BOOLEAN:
			appendStringInfoString(out, v.u.boolean ? "true" : "false");
			break;
		case LIQUID_INTEGER:
		case LIQUID_BIG:
		case LIQUID_DECIMAL:
			liquid_append_number(out, v);
			break;
		case LIQUID_STRING:
			appendBinaryStringInfo(out, v.u.string, v.len);
			break;
		case LIQUID_LIST:
		case LIQUID_ARRAY:
			for (int64 i = 0, n = liquid_count(v); i < n; i++)
				liquid_append(out, liquid_nth(v, i));
			break;
		case LIQUID_RANGE:
			appendStringInfo(out, INT64_FORMAT ".." INT64_FORMAT,
							 v.u.range.first, v.u.range.last);
			break;
		case LIQUID_OBJECT:
			liquid_inspect(out, v);
			break;
		case LIQUID_LOOP:
			appendStringInfoString(out, "Liquid::ForloopDrop");
			break;
		case LIQUID_TABLEROW:
			appendStringInfoString(out, "Liquid::TablerowloopDrop");
			break;
		case LIQUID_NIL:
		case LIQUID_EMPTY:
		case LIQUID_BLANK:
			break;
	}
}

LiquidValue
liquid_text(LiquidValue v)
{
	StringInfoData buf;

	if (v.kind == LIQUID_STRING)
		return v;
	if (v.kind == LIQUID_NIL)
		return liquid_string("", 0);
	initStringInfo(&buf);
	liquid_append(&buf, v);
	return liquid_string(buf.data, buf.len);
}
