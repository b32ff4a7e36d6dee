/*
 * filters_math.c
 *		Filters on numbers.  What is no number counts as 0.
 */
#include "postgres.h"

#include "liquid/filters.h"
#include "liquid/number.h"

/* Rounding to more digits than this changes nothing. */
#define MAX_DIGITS	100

static LiquidValue
operand(const LiquidArguments *args)
{
	return liquid_to_number(args->values[0]);
}

/* Of the input and the argument. */
#define BINARY_FILTER(name, operation) \
static LiquidValue \
name(LiquidRender *r, LiquidValue input, const LiquidArguments *args) \
{ \
	return operation(liquid_to_number(input), operand(args)); \
}

/* Of the input alone. */
#define UNARY_FILTER(name, operation) \
static LiquidValue \
name(LiquidRender *r, LiquidValue input, const LiquidArguments *args) \
{ \
	return operation(liquid_to_number(input)); \
}

static LiquidValue
larger(LiquidValue a, LiquidValue b)
{
	return liquid_compare_numbers(a, b) < 0 ? b : a;
}

static LiquidValue
smaller(LiquidValue a, LiquidValue b)
{
	return liquid_compare_numbers(a, b) > 0 ? b : a;
}

BINARY_FILTER(filter_plus, liquid_add)
BINARY_FILTER(filter_minus, liquid_subtract)
BINARY_FILTER(filter_times, liquid_multiply)
BINARY_FILTER(filter_divided_by, liquid_divide)
BINARY_FILTER(filter_modulo, liquid_modulo)
BINARY_FILTER(filter_at_least, larger)
BINARY_FILTER(filter_at_most, smaller)
UNARY_FILTER(filter_abs, liquid_abs)
UNARY_FILTER(filter_ceil, liquid_ceil)
UNARY_FILTER(filter_floor, liquid_floor)

static LiquidValue
filter_round(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	int64		digits = liquid_to_int(liquid_argument(args, 0));

	return liquid_round(liquid_to_number(input), Max(Min(digits, MAX_DIGITS), -MAX_DIGITS));
}

const LiquidFilter liquid_math_filters[] = {
	{"abs", filter_abs, 0, 0},
	{"at_least", filter_at_least, 1, 1},
	{"at_most", filter_at_most, 1, 1},
	{"ceil", filter_ceil, 0, 0},
	{"divided_by", filter_divided_by, 1, 1},
	{"floor", filter_floor, 0, 0},
	{"minus", filter_minus, 1, 1},
	{"modulo", filter_modulo, 1, 1},
	{"plus", filter_plus, 1, 1},
	{"round", filter_round, 0, 1},
	{"times", filter_times, 1, 1},
	{NULL}
};
