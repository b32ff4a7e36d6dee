/*
 * numeric.c
 *		The operators of numeric that src/liquid calls, on OpenSSL's big numbers.
 *
 * A value is an integer and how many of its digits follow the point.  Scales
 * differ from PostgreSQL's where nothing depends on them.
 */
#include "postgres.h"

#include <openssl/bn.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

/* More is an overflow: PostgreSQL's own limit would make fuzzing slow. */
#define MAX_DIGITS	2000

#define DIVISION_DIGITS	30

typedef struct Number
{
	int32		size;			/* a varlena header's place */
	int			scale;
	char		digits[FLEXIBLE_ARRAY_MEMBER];	/* of the integer, with its sign */
} Number;

static BIGNUM *
integer_of(const Number *n)
{
	BIGNUM	   *b = NULL;

	BN_dec2bn(&b, n->digits);
	return b;
}

/* Frees b. */
static Numeric
number(BIGNUM *b, int scale)
{
	char	   *digits = BN_bn2dec(b);
	int			len = strlen(digits);
	Number	   *n = len <= MAX_DIGITS && scale <= MAX_DIGITS ?
		palloc0(offsetof(Number, digits) + len + 1) : NULL;

	if (n)
	{
		n->size = offsetof(Number, digits) + len + 1;
		n->scale = scale;
		memcpy(n->digits, digits, len + 1);
	}
	OPENSSL_free(digits);
	BN_free(b);
	if (n == NULL)
		elog(ERROR, "value overflows numeric format");
	return (Numeric) n;
}

static BIGNUM *
power_of_ten(int n)
{
	BIGNUM	   *b = BN_new();
	BIGNUM	   *ten = BN_new();
	BN_CTX	   *ctx = BN_CTX_new();
	BIGNUM	   *exponent = BN_new();

	BN_set_word(ten, 10);
	BN_set_word(exponent, n);
	BN_exp(b, ten, exponent, ctx);
	BN_free(ten);
	BN_free(exponent);
	BN_CTX_free(ctx);
	return b;
}

/* b / 10^n when n is negative, cut towards zero; else b * 10^n. */
static void
shift(BIGNUM *b, int n)
{
	BIGNUM	   *p = power_of_ten(Min(abs(n), 2 * MAX_DIGITS));
	BN_CTX	   *ctx = BN_CTX_new();

	if (n < 0)
		BN_div(b, NULL, b, p, ctx);
	else
		BN_mul(b, b, p, ctx);
	BN_free(p);
	BN_CTX_free(ctx);
}

/* Both with the larger scale, which is returned. */
static int
align(const Number *a, const Number *b, BIGNUM **x, BIGNUM **y)
{
	int			scale = Max(a->scale, b->scale);

	*x = integer_of(a);
	*y = integer_of(b);
	shift(*x, scale - a->scale);
	shift(*y, scale - b->scale);
	return scale;
}

#define NUMBER_ARG(n)	((const Number *) PG_GETARG_POINTER(n))

Datum
numeric_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	const char *e = text + strcspn(text, "eE");
	int			exponent = *e ? atoi(e + 1) : 0;
	char	   *digits = palloc(strlen(text) + 2);
	int			len = 0;
	int			scale = 0;
	bool		fraction = false;
	BIGNUM	   *b = NULL;

	exponent = Max(Min(exponent, MAX_DIGITS), -MAX_DIGITS);
	for (const char *c = text; c < e; c++)
	{
		if (*c == '.')
			fraction = true;
		else if (*c != '+')
		{
			digits[len++] = *c;
			scale += fraction;
		}
	}
	digits[len] = '\0';
	BN_dec2bn(&b, digits);
	if (exponent > scale)
		shift(b, exponent - scale);
	PG_RETURN_NUMERIC(number(b, Max(scale - exponent, 0)));
}

Datum
numeric_out(PG_FUNCTION_ARGS)
{
	const Number *n = NUMBER_ARG(0);
	bool		negative = n->digits[0] == '-';
	const char *digits = n->digits + negative;
	int			len = strlen(digits);
	int			whole = Max(len - n->scale, 1);
	char	   *padded = palloc(Max(len, n->scale + 1) + 1);
	int			zeros = Max(n->scale + 1 - len, 0);

	memset(padded, '0', zeros);
	strcpy(padded + zeros, digits);
	PG_RETURN_CSTRING(n->scale == 0 ? psprintf("%s%s", negative ? "-" : "", padded) :
					  psprintf("%s%.*s.%s", negative ? "-" : "", whole, padded, padded + whole));
}

Datum
numeric_add(PG_FUNCTION_ARGS)
{
	BIGNUM	   *x;
	BIGNUM	   *y;
	int			scale = align(NUMBER_ARG(0), NUMBER_ARG(1), &x, &y);

	BN_add(x, x, y);
	BN_free(y);
	PG_RETURN_NUMERIC(number(x, scale));
}

Datum
numeric_sub(PG_FUNCTION_ARGS)
{
	BIGNUM	   *x;
	BIGNUM	   *y;
	int			scale = align(NUMBER_ARG(0), NUMBER_ARG(1), &x, &y);

	BN_sub(x, x, y);
	BN_free(y);
	PG_RETURN_NUMERIC(number(x, scale));
}

Datum
numeric_mul(PG_FUNCTION_ARGS)
{
	BIGNUM	   *x = integer_of(NUMBER_ARG(0));
	BIGNUM	   *y = integer_of(NUMBER_ARG(1));
	BN_CTX	   *ctx = BN_CTX_new();

	BN_mul(x, x, y, ctx);
	BN_free(y);
	BN_CTX_free(ctx);
	PG_RETURN_NUMERIC(number(x, NUMBER_ARG(0)->scale + NUMBER_ARG(1)->scale));
}

/* The quotient of what align() gave, or the rest; frees y. */
static void
divide(BIGNUM *x, BIGNUM *y, bool rest)
{
	BN_CTX	   *ctx = BN_CTX_new();

	if (!BN_is_zero(y))
		BN_div(rest ? NULL : x, rest ? x : NULL, x, y, ctx);
	BN_CTX_free(ctx);
	BN_free(y);
}

static void
check_divisor(const Number *n)
{
	if (strspn(n->digits, "-0") == strlen(n->digits))
		elog(ERROR, "division by zero");
}

Datum
numeric_div(PG_FUNCTION_ARGS)
{
	BIGNUM	   *x;
	BIGNUM	   *y;
	int			scale;

	check_divisor(NUMBER_ARG(1));
	scale = align(NUMBER_ARG(0), NUMBER_ARG(1), &x, &y);
	scale = Max(scale, DIVISION_DIGITS);
	shift(x, scale);
	divide(x, y, false);
	PG_RETURN_NUMERIC(number(x, scale));
}

Datum
numeric_mod(PG_FUNCTION_ARGS)
{
	BIGNUM	   *x;
	BIGNUM	   *y;
	int			scale;

	check_divisor(NUMBER_ARG(1));
	scale = align(NUMBER_ARG(0), NUMBER_ARG(1), &x, &y);
	divide(x, y, true);
	PG_RETURN_NUMERIC(number(x, scale));
}

/* With another scale; what is cut off is added to, away from zero, first. */
static Numeric
rescale(const Number *n, int scale, int added)
{
	BIGNUM	   *b = integer_of(n);

	if (scale < n->scale)
	{
		if (added)
		{
			shift(b, 1);
			for (BIGNUM *p = power_of_ten(n->scale - scale); p; p = NULL)
			{
				BN_mul_word(p, added);
				if (BN_is_negative(b))
					BN_sub(b, b, p);
				else
					BN_add(b, b, p);
				BN_free(p);
			}
			shift(b, -1);
		}
		shift(b, scale - n->scale);
		shift(b, Max(-scale, 0));
	}
	else
		shift(b, scale - n->scale);
	return number(b, Max(scale, 0));
}

Datum
numeric_round(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(rescale(NUMBER_ARG(0), PG_GETARG_INT32(1), 5));
}

Datum
numeric_trunc(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(rescale(NUMBER_ARG(0), PG_GETARG_INT32(1), 0));
}

static int
compare(const Number *a, const Number *b)
{
	BIGNUM	   *x;
	BIGNUM	   *y;
	int			order;

	(void) align(a, b, &x, &y);
	order = BN_cmp(x, y);
	BN_free(x);
	BN_free(y);
	return order;
}

Datum
numeric_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(NUMBER_ARG(0), NUMBER_ARG(1)));
}

/* The integer next to it, "up" or down. */
static Numeric
next_integer(const Number *n, bool up)
{
	Numeric		whole = rescale(n, 0, 0);
	int			order = compare(n, (Number *) whole);
	BIGNUM	   *b;

	if (up ? order <= 0 : order >= 0)
		return whole;
	b = integer_of((Number *) whole);
	if (up)
		BN_add(b, b, BN_value_one());
	else
		BN_sub(b, b, BN_value_one());
	return number(b, 0);
}

Datum
numeric_ceil(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(next_integer(NUMBER_ARG(0), true));
}

Datum
numeric_floor(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(next_integer(NUMBER_ARG(0), false));
}

Datum
numeric_scale(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(NUMBER_ARG(0)->scale);
}

Datum
numeric_float8_no_overflow(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(strtod(DatumGetCString(DirectFunctionCall1(numeric_out, PG_GETARG_DATUM(0))), NULL));
}

Numeric
int64_to_numeric(int64 value)
{
	char		text[32];

	snprintf(text, sizeof(text), INT64_FORMAT, value);
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text), 0, 0));
}

int32
numeric_int4_opt_error(Numeric n, bool *have_error)
{
	Number	   *whole = (Number *) rescale((Number *) n, 0, 5);
	long long	value;

	errno = 0;
	value = strtoll(whole->digits, NULL, 10);
	*have_error = errno != 0 || value < PG_INT32_MIN || value > PG_INT32_MAX;
	return *have_error ? 0 : (int32) value;
}

/*
 * Calls, and values as they are passed.
 */
static Datum
call(PGFunction function, int count, Datum a, Datum b, Datum c)
{
	LOCAL_FCINFO(fcinfo, 3);
	Datum		values[] = {a, b, c};

	memset(fcinfo, 0, SizeForFunctionCallInfo(3));
	fcinfo->nargs = count;
	for (int i = 0; i < count; i++)
		fcinfo->args[i].value = values[i];
	return function(fcinfo);
}

Datum
DirectFunctionCall1Coll(PGFunction function, Oid collation, Datum a)
{
	return call(function, 1, a, 0, 0);
}

Datum
DirectFunctionCall2Coll(PGFunction function, Oid collation, Datum a, Datum b)
{
	return call(function, 2, a, b, 0);
}

Datum
DirectFunctionCall3Coll(PGFunction function, Oid collation, Datum a, Datum b, Datum c)
{
	return call(function, 3, a, b, c);
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}
