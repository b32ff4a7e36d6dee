/*
 * sort.c
 *		sort and sort_natural.  Equal elements keep their order; nil comes last.
 */
#include "postgres.h"

#include "common/string.h"
#include "miscadmin.h"
#include "port.h"

#include "liquid/element.h"

typedef struct SortItem
{
	LiquidValue key;
	LiquidValue value;
	int			position;
} SortItem;

static int
by_position(const SortItem *a, const SortItem *b)
{
	return a->position - b->position;
}

static int
nil_last(const SortItem *a, const SortItem *b)
{
	if (liquid_is_nil(a->key) && liquid_is_nil(b->key))
		return by_position(a, b);
	return liquid_is_nil(a->key) ? 1 : -1;
}

static int
compare_keys(const void *x, const void *y)
{
	const SortItem *a = x;
	const SortItem *b = y;
	int			order;

	CHECK_FOR_INTERRUPTS();
	if (liquid_is_nil(a->key) || liquid_is_nil(b->key))
		return nil_last(a, b);
	if (!liquid_order(a->key, b->key, &order))
	{
		if (!liquid_equal(a->key, b->key))
			liquid_filter_error("filter \"sort\" cannot compare values of different types");
		order = 0;
	}
	return order != 0 ? order : by_position(a, b);
}

/* Case is ignored in ASCII only, as in the reference. */
static int
compare_natural(const void *x, const void *y)
{
	const SortItem *a = x;
	const SortItem *b = y;

	CHECK_FOR_INTERRUPTS();
	if (liquid_is_nil(a->key) || liquid_is_nil(b->key))
		return nil_last(a, b);
	for (int i = 0; i < Min(a->key.len, b->key.len); i++)
	{
		int			c = pg_ascii_tolower((unsigned char) a->key.u.string[i]);
		int			d = pg_ascii_tolower((unsigned char) b->key.u.string[i]);

		if (c != d)
			return c - d;
	}
	return a->key.len != b->key.len ? a->key.len - b->key.len : by_position(a, b);
}

static LiquidValue
sort_by(LiquidRender *r, LiquidValue input, const LiquidArguments *args,
		int (*compare) (const void *, const void *))
{
	LiquidArray *items = liquid_elements(r, input);
	SortItem   *sorted = palloc(Max(items->count, 1) * sizeof(SortItem));

	for (int i = 0; i < items->count; i++)
	{
		LiquidValue key = items->items[i];

		if (!liquid_is_nil(liquid_argument(args, 0)) &&
			!liquid_element_get(items->items[i], args->values[0], &key))
			return liquid_nil();
		if (compare == compare_natural && !liquid_is_nil(key))
			key = liquid_text(key);
		sorted[i].key = key;
		sorted[i].value = items->items[i];
		sorted[i].position = i;
	}
	qsort(sorted, items->count, sizeof(SortItem), compare);
	for (int i = 0; i < items->count; i++)
		items->items[i] = sorted[i].value;
	pfree(sorted);
	return liquid_array(items);
}

LiquidValue
liquid_filter_sort(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return sort_by(r, input, args, compare_keys);
}

LiquidValue
liquid_filter_sort_natural(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return sort_by(r, input, args, compare_natural);
}
