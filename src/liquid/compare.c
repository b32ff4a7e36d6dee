/*
 * compare.c
 *		Equality, order and "contains".
 */
#include "postgres.h"

#include "miscadmin.h"

#include "liquid/number.h"
#include "liquid/text.h"
#include "liquid/value.h"

static bool
is_empty(LiquidValue v)
{
	if (v.kind == LIQUID_STRING)
		return v.len == 0;
	return (liquid_is_array(v) || v.kind == LIQUID_OBJECT) && liquid_count(v) == 0;
}

static bool
is_blank(LiquidValue v)
{
	if (v.kind == LIQUID_STRING)
	{
		for (int i = 0; i < v.len; i++)
			if (!strchr(" \t\r\n\v\f", v.u.string[i]) || v.u.string[i] == '\0')
				return false;
		return true;
	}
	return !liquid_is_true(v) || is_empty(v);
}

static bool
equal_arrays(LiquidValue a, LiquidValue b)
{
	int64		count = liquid_count(a);

	if (count != liquid_count(b))
		return false;
	for (int64 i = 0; i < count; i++)
		if (!liquid_equal(liquid_nth(a, i), liquid_nth(b, i)))
			return false;
	return true;
}

static bool
equal_same_kind(LiquidValue a, LiquidValue b)
{
	switch (a.kind)
	{
		case LIQUID_BOOLEAN:
			return a.u.boolean == b.u.boolean;
		case LIQUID_STRING:
			return a.len == b.len && memcmp(a.u.string, b.u.string, a.len) == 0;
		case LIQUID_OBJECT:
			return compareJsonbContainers(a.u.json, b.u.json) == 0;
		case LIQUID_RANGE:
			return a.u.range.first == b.u.range.first && a.u.range.last == b.u.range.last;
		case LIQUID_LOOP:
		case LIQUID_TABLEROW:
			return a.u.loop == b.u.loop;
		default:
			return true;
	}
}

bool
liquid_equal(LiquidValue a, LiquidValue b)
{
	check_stack_depth();
	if (a.kind == LIQUID_EMPTY || b.kind == LIQUID_EMPTY)
		return a.kind == b.kind || is_empty(a.kind == LIQUID_EMPTY ? b : a);
	if (a.kind == LIQUID_BLANK || b.kind == LIQUID_BLANK)
		return a.kind == b.kind || is_blank(a.kind == LIQUID_BLANK ? b : a);
	if (liquid_is_number(a) && liquid_is_number(b))
		return liquid_compare_numbers(a, b) == 0;
	if (liquid_is_array(a) && liquid_is_array(b))
		return equal_arrays(a, b);
	return a.kind == b.kind && equal_same_kind(a, b);
}

static bool
array_contains(LiquidValue a, LiquidValue b)
{
	for (int64 i = 0, n = liquid_count(a); i < n; i++)
		if (liquid_equal(liquid_nth(a, i), b))
			return true;
	return false;
}

bool
liquid_contains(LiquidValue a, LiquidValue b)
{
	JsonbValue	found;

	if (!liquid_is_true(b))
		return false;
	if (a.kind == LIQUID_STRING)
		return liquid_find_text(a, 0, liquid_text(b)) >= 0;
	if (liquid_is_array(a))
		return array_contains(a, b);
	if (a.kind == LIQUID_OBJECT && b.kind == LIQUID_STRING)
		return getKeyJsonValueFromContainer(a.u.json, b.u.string, b.len, &found) != NULL;
	if (a.kind == LIQUID_RANGE && b.kind == LIQUID_INTEGER)
		return b.u.integer >= a.u.range.first && b.u.integer <= a.u.range.last;
	return false;
}

static int
compare_strings(LiquidValue a, LiquidValue b)
{
	int			order = memcmp(a.u.string, b.u.string, Min(a.len, b.len));

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

bool
liquid_order(LiquidValue a, LiquidValue b, int *result)
{
	if (liquid_is_number(a) && liquid_is_number(b))
		*result = liquid_compare_numbers(a, b);
	else if (a.kind == LIQUID_STRING && b.kind == LIQUID_STRING)
		*result = compare_strings(a, b);
	else
		return false;
	return true;
}
