/*
 * number.c
 *		Arithmetic on integers and decimals, and how they are written.
 *
 * Integers are computed in 64 bits while they fit and as numeric beyond.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "common/int.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "liquid/liquid.h"
#include "liquid/number.h"
#include "liquid/text.h"

/* The digits a string may start with when it is read as a number. */
#define MAX_DIGITS	400

/* Division of decimals is carried to this many digits after the point. */
#define DIVISION_SCALE	20

/* Four digits are two bytes; what is left is the header. */
#define MAX_NUMERIC_SIZE	(LIQUID_MAX_DIGITS / 2 + 16)

static Numeric
checked(Numeric n)
{
	if (VARSIZE_ANY(n) > MAX_NUMERIC_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number is too large to compute with in Liquid template"),
				 errdetail("At most some %d digits are allowed.", LIQUID_MAX_DIGITS)));
	return n;
}

/* What all computing goes through: time for it grows with the digits squared. */
static Numeric
numeric_of(LiquidValue v)
{
	if (v.kind == LIQUID_INTEGER)
		return int64_to_numeric(v.u.integer);
	return checked(v.u.number);
}

static LiquidValue
decimal(Numeric n)
{
	LiquidValue v = {.kind = LIQUID_DECIMAL,.u.number = n};

	return v;
}

static Numeric
numeric_from_text(const char *digits)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

static char *
numeric_text(Numeric n)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(n)));
}

/* An integral numeric as the smallest kind that holds it. */
static LiquidValue
integral(Numeric n)
{
	LiquidValue v = {.kind = LIQUID_BIG,.u.number = n};
	bool		beyond;
	int32		small = numeric_int4_opt_error(n, &beyond);
	char	   *end;
	int64		large;

	if (!beyond)
		return liquid_integer(small);
	errno = 0;
	large = strtoi64(numeric_text(n), &end, 10);
	return errno == 0 && *end == '\0' ? liquid_integer(large) : v;
}

LiquidValue
liquid_from_numeric(Numeric n)
{
	int32		scale = DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(n)));

	return scale > 0 ? decimal(n) : integral(n);
}

/* How many of s are sign and digits; a fraction and an exponent only if asked. */
static int
number_length(const char *s, int len, bool *fraction)
{
	int			i = len > 0 && (s[0] == '-' || s[0] == '+');
	int			start = i;

	*fraction = false;
	while (i < len && isdigit((unsigned char) s[i]))
		i++;
	if (i == start)
		return 0;
	if (i + 1 < len && s[i] == '.' && isdigit((unsigned char) s[i + 1]))
	{
		*fraction = true;
		for (i++; i < len && isdigit((unsigned char) s[i]);)
			i++;
	}
	return i;
}

LiquidValue
liquid_number_parse(const char *s, int len)
{
	char	   *digits = pnstrdup(s, Min(len, MAX_DIGITS));
	bool		fraction = memchr(s, '.', len) != NULL;
	char	   *end;
	int64		i;

	errno = 0;
	i = strtoi64(digits, &end, 10);
	if (!fraction && errno == 0 && *end == '\0')
		return liquid_integer(i);
	return fraction ? decimal(numeric_from_text(digits)) : integral(numeric_from_text(digits));
}

static LiquidValue
trimmed(LiquidValue v)
{
	while (v.len > 0 && isspace((unsigned char) v.u.string[0]))
		v.u.string++, v.len--;
	while (v.len > 0 && isspace((unsigned char) v.u.string[v.len - 1]))
		v.len--;
	return v;
}

bool
liquid_is_numeric(LiquidValue v)
{
	bool		fraction;

	if (v.kind != LIQUID_STRING)
		return false;
	v = trimmed(v);
	return v.len > 0 && number_length(v.u.string, v.len, &fraction) == v.len;
}

/* A decimal only if the whole string is one; else the integer it starts with. */
static LiquidValue
string_to_number(LiquidValue v)
{
	bool		fraction;
	int			used;

	v = trimmed(v);
	used = number_length(v.u.string, v.len, &fraction);
	if (used == 0)
		return liquid_integer(0);
	if (fraction && used < v.len)
		used = (const char *) memchr(v.u.string, '.', v.len) - v.u.string;
	return liquid_number_parse(v.u.string, used);
}

LiquidValue
liquid_to_number(LiquidValue v)
{
	if (liquid_is_number(v))
		return v;
	if (v.kind == LIQUID_STRING)
		return string_to_number(v);
	return liquid_integer(0);
}

/* numeric_round or numeric_trunc */
static Numeric
with_scale(PGFunction op, LiquidValue v, int scale)
{
	return DatumGetNumeric(DirectFunctionCall2(op, NumericGetDatum(numeric_of(v)),
											   Int32GetDatum(scale)));
}

/* numeric_ceil or numeric_floor */
static Numeric
of_decimal(PGFunction op, LiquidValue v)
{
	return DatumGetNumeric(DirectFunctionCall1(op, NumericGetDatum(numeric_of(v))));
}

static LiquidValue
truncated(LiquidValue v)
{
	return integral(with_scale(numeric_trunc, v, 0));
}

int64
liquid_to_int(LiquidValue v)
{
	v = liquid_to_number(v);
	if (v.kind == LIQUID_DECIMAL)
		v = truncated(v);
	if (v.kind == LIQUID_BIG)
		return liquid_compare_numbers(v, liquid_integer(0)) < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return v.u.integer;
}

int64
liquid_need_int(LiquidValue v)
{
	LiquidValue text = v.kind == LIQUID_STRING ? trimmed(v) : v;
	bool		fraction = true;

	if (v.kind == LIQUID_INTEGER)
		return v.u.integer;
	if (v.kind == LIQUID_STRING && text.len > 0 &&
		number_length(text.u.string, text.len, &fraction) == text.len && !fraction)
		return liquid_to_int(text);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid integer in Liquid template"),
			 errdetail("\"%s\" is used where an integer is needed.", liquid_clip_value(v))));
	return 0;					/* keep compiler quiet */
}

static bool
whole(LiquidValue a, LiquidValue b)
{
	return a.kind == LIQUID_INTEGER && b.kind == LIQUID_INTEGER;
}

/* Both as numeric; the result is a decimal as soon as one of them is. */
static LiquidValue
compute(PGFunction op, LiquidValue a, LiquidValue b)
{
	Numeric		n = DatumGetNumeric(DirectFunctionCall2(op, NumericGetDatum(numeric_of(a)),
														NumericGetDatum(numeric_of(b))));

	if (a.kind == LIQUID_DECIMAL || b.kind == LIQUID_DECIMAL)
		return decimal(n);
	return integral(n);
}

LiquidValue
liquid_add(LiquidValue a, LiquidValue b)
{
	int64		sum;

	if (whole(a, b) && !pg_add_s64_overflow(a.u.integer, b.u.integer, &sum))
		return liquid_integer(sum);
	return compute(numeric_add, a, b);
}

LiquidValue
liquid_subtract(LiquidValue a, LiquidValue b)
{
	int64		difference;

	if (whole(a, b) && !pg_sub_s64_overflow(a.u.integer, b.u.integer, &difference))
		return liquid_integer(difference);
	return compute(numeric_sub, a, b);
}

LiquidValue
liquid_multiply(LiquidValue a, LiquidValue b)
{
	int64		product;

	if (whole(a, b) && !pg_mul_s64_overflow(a.u.integer, b.u.integer, &product))
		return liquid_integer(product);
	return compute(numeric_mul, a, b);
}

static void
check_divisor(LiquidValue b)
{
	if (liquid_compare_numbers(b, liquid_integer(0)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DIVISION_BY_ZERO),
				 errmsg("division by zero in Liquid template")));
}

/* Enough digits that a double cannot tell the quotient from the exact one. */
static LiquidValue
divide_decimals(LiquidValue a, LiquidValue b)
{
	return compute(numeric_div, decimal(with_scale(numeric_round, a, DIVISION_SCALE)), b);
}

LiquidValue
liquid_divide(LiquidValue a, LiquidValue b)
{
	check_divisor(b);
	if (a.kind == LIQUID_DECIMAL || b.kind == LIQUID_DECIMAL)
		return divide_decimals(a, b);
	if (whole(a, b) && !(a.u.integer == PG_INT64_MIN && b.u.integer == -1))
	{
		int64		quotient = a.u.integer / b.u.integer;
		bool		down = a.u.integer % b.u.integer != 0 &&
			(a.u.integer < 0) != (b.u.integer < 0);

		return liquid_integer(quotient - (down ? 1 : 0));
	}
	return liquid_floor(divide_decimals(a, b));
}

/* The remainder has the sign of the divisor. */
LiquidValue
liquid_modulo(LiquidValue a, LiquidValue b)
{
	LiquidValue zero = liquid_integer(0);
	LiquidValue rest;

	check_divisor(b);
	rest = compute(numeric_mod, a, b);
	if (liquid_compare_numbers(rest, zero) != 0 &&
		(liquid_compare_numbers(rest, zero) < 0) != (liquid_compare_numbers(b, zero) < 0))
		rest = liquid_add(rest, b);
	return rest;
}

LiquidValue
liquid_round(LiquidValue a, int digits)
{
	Numeric		n;

	if (a.kind != LIQUID_DECIMAL && digits >= 0)
		return a;
	n = with_scale(numeric_round, a, digits);
	return digits > 0 ? decimal(n) : integral(n);
}

LiquidValue
liquid_ceil(LiquidValue a)
{
	if (a.kind != LIQUID_DECIMAL)
		return a;
	return integral(of_decimal(numeric_ceil, a));
}

LiquidValue
liquid_floor(LiquidValue a)
{
	if (a.kind != LIQUID_DECIMAL)
		return a;
	return integral(of_decimal(numeric_floor, a));
}

LiquidValue
liquid_abs(LiquidValue a)
{
	return liquid_compare_numbers(a, liquid_integer(0)) < 0 ?
		liquid_subtract(liquid_integer(0), a) : a;
}

int
liquid_compare_numbers(LiquidValue a, LiquidValue b)
{
	if (whole(a, b))
		return (a.u.integer > b.u.integer) - (a.u.integer < b.u.integer);
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(numeric_of(a)),
											 NumericGetDatum(numeric_of(b))));
}

/* 1.5e+20 becomes 1.5e+20, 1e+20 becomes 1.0e+20. */
static void
append_scientific(StringInfo out, const char *text)
{
	const char *e = strchr(text, 'e');
	int			mantissa = e - text;

	appendBinaryStringInfo(out, text, mantissa);
	if (memchr(text, '.', mantissa) == NULL)
		appendStringInfoString(out, ".0");
	appendStringInfoString(out, e);
}

/* The shortest digits of a double, always with a fraction. */
static void
append_double(StringInfo out, double d)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	double_to_shortest_decimal_buf(d, text);
	if (strchr(text, 'e') == NULL)
		appendStringInfo(out, strchr(text, '.') ? "%s" : "%s.0", text);
	else if (fabs(d) < 1e16 && fabs(d) >= 1e15)
		appendStringInfo(out, "%.1f", d);
	else
		append_scientific(out, text);
}

void
liquid_append_number(StringInfo out, LiquidValue v)
{
	char		text[MAXINT8LEN + 1];

	if (v.kind == LIQUID_INTEGER)
	{
		int			len = pg_lltoa(v.u.integer, text);

		appendBinaryStringInfo(out, text, len);
	}
	else if (v.kind == LIQUID_BIG)
		appendStringInfoString(out, numeric_text(v.u.number));
	else
		append_double(out, DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
															  NumericGetDatum(v.u.number))));
}

char *
liquid_number_digits(LiquidValue v)
{
	return numeric_text(numeric_of(liquid_to_number(v)));
}
