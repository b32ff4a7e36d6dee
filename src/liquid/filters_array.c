/*
 * filters_array.c
 *		Filters on arrays, and default.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"

#include "liquid/element.h"
#include "liquid/filters.h"
#include "liquid/number.h"
#include "liquid/text.h"

static LiquidValue
filter_first(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	if (input.kind == LIQUID_STRING)
		return liquid_substring(input, 0, 1);
	return liquid_lookup(input, liquid_cstring("first"), true);
}

static LiquidValue
filter_last(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	if (input.kind == LIQUID_STRING)
		return liquid_substring(input, Max(liquid_length(input) - 1, 0), 1);
	return liquid_is_array(input) || input.kind == LIQUID_RANGE ? liquid_nth(input, -1) :
		liquid_nil();
}

static LiquidValue
filter_size(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_integer(liquid_length(input));
}

static LiquidValue
filter_join(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidValue glue = args->count > 0 ? liquid_text(args->values[0]) : liquid_cstring(" ");
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < items->count; i++)
	{
		if (i > 0)
			appendBinaryStringInfo(&buf, glue.u.string, glue.len);
		liquid_append(&buf, items->items[i]);
	}
	return liquid_string(buf.data, buf.len);
}

static LiquidValue
filter_reverse(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidArray *result = liquid_array_make(items->count);

	for (int i = items->count - 1; i >= 0; i--)
		liquid_array_add(result, items->items[i]);
	return liquid_array(result);
}

static LiquidValue
filter_concat(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue more = args->values[0];
	LiquidArray *result = liquid_elements(r, input);

	if (!liquid_is_array(more))
		liquid_filter_error("filter \"concat\" needs an array as its argument");
	for (int64 i = 0, n = liquid_count(more); i < n; i++)
		liquid_array_add(result, liquid_nth(more, i));
	liquid_charge(r, result->count * sizeof(LiquidValue));
	return liquid_array(result);
}

static LiquidValue
filter_map(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidArray *result = liquid_array_make(items->count);

	for (int i = 0; i < items->count; i++)
	{
		LiquidValue v = liquid_nil();

		(void) liquid_element_get(items->items[i], args->values[0], &v);
		liquid_array_add(result, v);
	}
	return liquid_array(result);
}

static LiquidValue
filter_sum(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidValue total = liquid_integer(0);

	for (int i = 0; i < items->count; i++)
	{
		LiquidValue v = items->items[i];

		if (!liquid_is_nil(liquid_argument(args, 0)) &&
			!liquid_element_get(items->items[i], args->values[0], &v))
			v = liquid_integer(0);
		total = liquid_add(total, liquid_to_number(v));
	}
	return total;
}

static LiquidValue
filter_compact(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidArray *result = liquid_array_make(items->count);

	for (int i = 0; i < items->count; i++)
	{
		LiquidValue v = items->items[i];

		if (!liquid_is_nil(liquid_argument(args, 0)) &&
			!liquid_element_get(items->items[i], args->values[0], &v))
			return liquid_nil();
		if (!liquid_is_nil(v))
			liquid_array_add(result, items->items[i]);
	}
	return liquid_array(result);
}

/* 1 and 1.0 are equal but not the same. */
static bool
same(LiquidValue a, LiquidValue b)
{
	return liquid_equal(a, b) &&
		(a.kind == LIQUID_DECIMAL) == (b.kind == LIQUID_DECIMAL);
}

static bool
seen(LiquidRender *r, const LiquidArray *keys, LiquidValue key)
{
	for (int i = 0; i < keys->count; i++)
	{
		liquid_step(r);
		if (same(keys->items[i], key))
			return true;
	}
	return false;
}

static LiquidValue
filter_uniq(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidArray *keys = liquid_array_make(items->count);
	LiquidArray *result = liquid_array_make(items->count);

	for (int i = 0; i < items->count; i++)
	{
		LiquidValue key = items->items[i];

		if (!liquid_is_nil(liquid_argument(args, 0)) &&
			!liquid_element_get(items->items[i], args->values[0], &key))
			return liquid_nil();
		if (seen(r, keys, key))
			continue;
		liquid_array_add(keys, key);
		liquid_array_add(result, items->items[i]);
	}
	return liquid_array(result);
}

static LiquidValue
filter_default(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	bool		allow_false = liquid_is_true(liquid_named(args, 0));
	bool		missing = allow_false ? liquid_is_nil(input) : !liquid_is_true(input);
	LiquidValue empty = {.kind = LIQUID_EMPTY};

	if (!missing && !liquid_equal(input, empty))
		return input;
	return args->count > 0 ? args->values[0] : liquid_string("", 0);
}

static const char *const default_names[] = {"allow_false", NULL};

const LiquidFilter liquid_array_filters[] = {
	{"compact", filter_compact, 0, 1},
	{"concat", filter_concat, 1, 1},
	{"default", filter_default, 0, 1, default_names},
	{"first", filter_first, 0, 0},
	{"join", filter_join, 0, 1},
	{"last", filter_last, 0, 0},
	{"map", filter_map, 1, 1},
	{"reverse", filter_reverse, 0, 0},
	{"size", filter_size, 0, 0},
	{"sort", liquid_filter_sort, 0, 1},
	{"sort_natural", liquid_filter_sort_natural, 0, 1},
	{"sum", filter_sum, 0, 1},
	{"uniq", filter_uniq, 0, 1},
	{NULL}
};
