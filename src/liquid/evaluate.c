/*
 * evaluate.c
 *		Expressions, conditions and filters, evaluated.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "liquid/filters.h"
#include "liquid/number.h"

static LiquidValue
segment_key(LiquidRender *r, const LiquidSegment *s)
{
	return s->key ? liquid_evaluate(r, s->key) : s->constant;
}

static LiquidValue
evaluate_path(LiquidRender *r, const LiquidExpr *e)
{
	LiquidValue key = segment_key(r, &e->path[0]);
	LiquidValue v;

	if (key.kind != LIQUID_STRING)
		return liquid_nil();
	v = liquid_get(r, key.u.string, key.len);
	for (int i = 1; i < e->segments && !liquid_is_nil(v); i++)
	{
		if (v.kind == LIQUID_STRING)
			r->steps += v.len / 256;	/* its size may be asked for */
		v = liquid_lookup(v, segment_key(r, &e->path[i]), e->path[i].command);
	}
	return v;
}

static int64
range_end(LiquidValue v)
{
	if (liquid_is_number(v) || v.kind == LIQUID_STRING || liquid_is_nil(v))
		return liquid_to_int(v);
	return liquid_need_int(v);
}

/* Ends are clamped so that a count of what lies between them never overflows. */
static LiquidValue
evaluate_range(LiquidRender *r, const LiquidExpr *e)
{
	LiquidValue v = {.kind = LIQUID_RANGE};
	const int64 bound = PG_INT64_MAX / 4;

	v.u.range.first = Max(Min(range_end(liquid_evaluate(r, e->left)), bound), -bound);
	v.u.range.last = Max(Min(range_end(liquid_evaluate(r, e->right)), bound), -bound);
	return v;
}

static void
check_comparable(LiquidValue a, LiquidValue b)
{
	if (!(liquid_is_number(a) && b.kind == LIQUID_STRING) &&
		!(liquid_is_number(b) && a.kind == LIQUID_STRING))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("cannot compare a string with a number in Liquid template"),
			 errhint("Make the string a number with \"| plus: 0\" in an \"assign\" before it.")));
}

/* What has no order is neither less nor greater; mixing strings and numbers is an error. */
static bool
compare_order(LiquidComparison comparison, LiquidValue a, LiquidValue b)
{
	int			order;

	if (!liquid_order(a, b, &order))
	{
		check_comparable(a, b);
		return false;
	}
	switch (comparison)
	{
		case COMPARE_LESS:
			return order < 0;
		case COMPARE_GREATER:
			return order > 0;
		case COMPARE_LESS_OR_EQUAL:
			return order <= 0;
		default:
			return order >= 0;
	}
}

static bool
compare(LiquidComparison comparison, LiquidValue a, LiquidValue b)
{
	switch (comparison)
	{
		case COMPARE_EQUAL:
			return liquid_equal(a, b);
		case COMPARE_UNEQUAL:
			return !liquid_equal(a, b);
		case COMPARE_CONTAINS:
			return liquid_contains(a, b);
		default:
			return compare_order(comparison, a, b);
	}
}

/* Comparing and searching may walk long strings and arrays. */
void
liquid_charge_comparison(LiquidRender *r, LiquidValue a, LiquidValue b)
{
	if (a.kind != LIQUID_RANGE)
		r->steps += liquid_count(a);
	if (b.kind != LIQUID_RANGE)
		r->steps += liquid_count(b);
	if (a.kind == LIQUID_STRING)
		r->steps += a.len / 256;
	liquid_step(r);
}

static LiquidValue
evaluate_comparison(LiquidRender *r, const LiquidExpr *e)
{
	LiquidValue a = liquid_evaluate(r, e->left);
	LiquidValue b = liquid_evaluate(r, e->right);

	liquid_charge_comparison(r, a, b);
	return liquid_boolean(compare(e->comparison, a, b));
}

LiquidValue
liquid_evaluate(LiquidRender *r, const LiquidExpr *e)
{
	bool		left;

	check_stack_depth();
	switch (e->kind)
	{
		case EXPR_LITERAL:
			return e->literal;
		case EXPR_PATH:
			return evaluate_path(r, e);
		case EXPR_RANGE:
			return evaluate_range(r, e);
		case EXPR_COMPARE:
			return evaluate_comparison(r, e);
		default:
			left = liquid_is_true(liquid_evaluate(r, e->left));
			if (left == (e->kind == EXPR_OR))
				return liquid_boolean(left);
			return liquid_boolean(liquid_is_true(liquid_evaluate(r, e->right)));
	}
}

/* empty and blank stand for nothing once a filter takes them. */
static LiquidValue
filter_input(LiquidValue v)
{
	if (v.kind == LIQUID_EMPTY || v.kind == LIQUID_BLANK)
		return liquid_string("", 0);
	return v;
}

static LiquidValue
call_filter(LiquidRender *r, const LiquidCall *call, LiquidValue input)
{
	LiquidArguments args;

	args.count = 0;
	args.given = 0;
	for (int i = 0; i < call->count; i++)
	{
		const LiquidArgument *a = &call->arguments[i];
		LiquidValue v = liquid_evaluate(r, a->value);

		if (a->name.text)
		{
			args.named[a->slot] = v;
			args.given |= 1U << a->slot;
		}
		else
			args.values[args.count++] = filter_input(v);
	}
	input = filter_input(input);
	liquid_step(r);
	if (input.kind == LIQUID_STRING)
		r->steps += input.len / 256;
	else if (input.kind != LIQUID_RANGE)
		r->steps += liquid_count(input);
	input = call->filter->function(r, input, &args);
	if (input.kind == LIQUID_STRING)
		liquid_charge(r, input.len);
	return input;
}

LiquidValue
liquid_evaluate_output(LiquidRender *r, const LiquidOutput *output)
{
	LiquidValue v = output->expr ? liquid_evaluate(r, output->expr) : liquid_nil();

	for (const LiquidCall *call = output->calls; call; call = call->next)
		v = call_filter(r, call, v);
	return v;
}
