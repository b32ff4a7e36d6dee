/*
 * filters_select.c
 *		where, reject, find, find_index and has.
 *
 * An element fits when its property is the target or, without a target, true.
 * When an element cannot have properties at all the result is nil.
 */
#include "postgres.h"

#include "liquid/element.h"
#include "liquid/filters.h"

typedef enum Fit
{
	FIT_NO,
	FIT_YES,
	FIT_NONSENSE
} Fit;

static Fit
fits(LiquidValue element, const LiquidArguments *args)
{
	LiquidValue target = liquid_argument(args, 1);
	LiquidValue v;
	bool		yes;

	if (!liquid_element_get(element, args->values[0], &v))
		return FIT_NONSENSE;
	yes = liquid_is_nil(target) ? liquid_is_true(v) : liquid_equal(v, target);
	return yes ? FIT_YES : FIT_NO;
}

static LiquidValue
choose(LiquidRender *r, LiquidValue input, const LiquidArguments *args, Fit wanted)
{
	LiquidArray *items = liquid_elements(r, input);
	LiquidArray *result = liquid_array_make(items->count);

	for (int i = 0; i < items->count; i++)
	{
		Fit			fit = fits(items->items[i], args);

		if (fit == FIT_NONSENSE)
			return liquid_nil();
		if (fit == wanted)
			liquid_array_add(result, items->items[i]);
	}
	return liquid_array(result);
}

static LiquidValue
filter_where(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return choose(r, input, args, FIT_YES);
}

static LiquidValue
filter_reject(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return choose(r, input, args, FIT_NO);
}

/* Where the first that fits stands, or -1; -2 when there is none that makes sense before it. */
static int
search(const LiquidArray *items, const LiquidArguments *args)
{
	for (int i = 0; i < items->count; i++)
	{
		Fit			fit = fits(items->items[i], args);

		if (fit != FIT_NO)
			return fit == FIT_YES ? i : -2;
	}
	return -1;
}

static LiquidValue
filter_find(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidArray *items = liquid_elements(r, input);
	int			at = search(items, args);

	return at < 0 ? liquid_nil() : items->items[at];
}

static LiquidValue
filter_find_index(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	int			at = search(liquid_elements(r, input), args);

	return at < 0 ? liquid_nil() : liquid_integer(at);
}

static LiquidValue
filter_has(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	int			at = search(liquid_elements(r, input), args);

	return at == -2 ? liquid_nil() : liquid_boolean(at >= 0);
}

const LiquidFilter liquid_select_filters[] = {
	{"find", filter_find, 1, 2},
	{"find_index", filter_find_index, 1, 2},
	{"has", filter_has, 1, 2},
	{"reject", filter_reject, 1, 2},
	{"where", filter_where, 1, 2},
	{NULL}
};
