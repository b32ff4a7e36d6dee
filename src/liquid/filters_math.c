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

static LiquidValue
filter_plus(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_add(liquid_to_number(input), operand(args));
}

static LiquidValue
filter_minus(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_subtract(liquid_to_number(input), operand(args));
}

static LiquidValue
filter_times(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_multiply(liquid_to_number(input), operand(args));
}

static LiquidValue
filter_divided_by(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_divide(liquid_to_number(input), operand(args));
}

static LiquidValue
filter_modulo(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_modulo(liquid_to_number(input), operand(args));
}

static LiquidValue
filter_round(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	int64		digits = liquid_to_int(liquid_argument(args, 0));

	return liquid_round(liquid_to_number(input), Max(Min(digits, MAX_DIGITS), -MAX_DIGITS));
}

static LiquidValue
filter_abs(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_abs(liquid_to_number(input));
}

static LiquidValue
filter_ceil(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_ceil(liquid_to_number(input));
}

static LiquidValue
filter_floor(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_floor(liquid_to_number(input));
}

static LiquidValue
filter_at_least(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue n = liquid_to_number(input);

	return liquid_compare_numbers(n, operand(args)) < 0 ? operand(args) : n;
}

static LiquidValue
filter_at_most(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue n = liquid_to_number(input);

	return liquid_compare_numbers(n, operand(args)) > 0 ? operand(args) : n;
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
