/*
 * element.c
 *		The elements of arrays, and properties of elements.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "liquid/element.h"
#include "liquid/number.h"
#include "liquid/text.h"

static void
add_flat(LiquidRender *r, LiquidArray *result, LiquidValue v)
{
	LiquidArray *items;

	check_stack_depth();
	liquid_step(r);
	if (!liquid_is_array(v))
	{
		liquid_array_add(result, v);
		return;
	}
	items = v.kind == LIQUID_ARRAY ? v.u.array : liquid_items(v, 0, -1);
	for (int i = 0; i < items->count; i++)
		add_flat(r, result, items->items[i]);
}

LiquidArray *
liquid_elements(LiquidRender *r, LiquidValue v)
{
	LiquidArray *result;

	if (v.kind == LIQUID_RANGE)
	{
		result = liquid_items(v, 0, -1);
		liquid_grow(r, result->count * sizeof(LiquidValue));
		return result;
	}
	liquid_grow(r, liquid_count(v) * sizeof(LiquidValue));
	result = liquid_array_make((int) Min(liquid_count(v), 1024));
	if (!liquid_is_nil(v))
		add_flat(r, result, v);
	return result;
}

static LiquidValue
part_of_string(LiquidValue s, LiquidValue property)
{
	int64		n = property.u.integer;

	if (property.kind != LIQUID_INTEGER)
	{
		property = liquid_text(property);
		return liquid_find_text(s, 0, property) >= 0 ? property : liquid_nil();
	}
	if (n < 0)
		n += liquid_length(s);
	return n < 0 || n >= liquid_length(s) ? liquid_nil() : liquid_substring(s, n, 1);
}

static LiquidValue
bit_of_integer(LiquidValue i, LiquidValue property)
{
	int64		n = Min(property.u.integer, 63);

	if (property.kind != LIQUID_INTEGER)
		liquid_filter_error("cannot select the property \"%s\" of a number",
							liquid_clip_value(property));
	return liquid_integer(n < 0 ? 0 : (i.u.integer >> n) & 1);
}

bool
liquid_element_get(LiquidValue element, LiquidValue property, LiquidValue *result)
{
	switch (element.kind)
	{
		case LIQUID_OBJECT:
		case LIQUID_LOOP:
		case LIQUID_TABLEROW:
			*result = liquid_lookup(element, property, false);
			return true;
		case LIQUID_STRING:
			*result = part_of_string(element, property);
			return true;
		case LIQUID_INTEGER:
			*result = bit_of_integer(element, property);
			return true;
		default:
			return false;
	}
}

int64
liquid_length(LiquidValue v)
{
	if (v.kind == LIQUID_STRING)
		return pg_mbstrlen_with_len(v.u.string, v.len);
	if (v.kind == LIQUID_INTEGER)
		return sizeof(int64);	/* as the reference has it */
	return liquid_count(v);
}
