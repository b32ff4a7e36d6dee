/*
 * filters_locale.c
 *		Filters that write dates, numbers and amounts for the recipient.
 *
 * nil stays nil, so that what is missing is not shown as a zero; what is no
 * number or date is an error or, for date, stays what it is.
 */
#include "postgres.h"

#include "liquid/date.h"
#include "liquid/filters.h"
#include "liquid/locale.h"
#include "liquid/number.h"
#include "liquid/text.h"

#define MAX_FRACTION	20

static char *
as_cstring(LiquidValue v)
{
	v = liquid_text(v);
	return pnstrdup(v.u.string, v.len);
}

static LiquidValue
need_number(LiquidValue v, const char *filter)
{
	if (liquid_is_number(v) || liquid_is_numeric(v))
		return liquid_to_number(v);
	liquid_filter_error("filter \"%s\" needs a number, not \"%s\"", filter, liquid_clip_value(v));
}

/* The n'th argument: how many digits follow the point. */
static int
fraction_argument(const LiquidArguments *args, int n)
{
	LiquidValue v = liquid_argument(args, n);

	if (liquid_is_nil(v))
		return -1;
	return (int) Max(Min(liquid_need_int(v), MAX_FRACTION), 0);
}

static LiquidValue
filter_money(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	char	   *code = as_cstring(args->values[0]);

	if (liquid_is_nil(input))
		return input;
	for (char *c = code; *c; c++)
		*c = pg_ascii_toupper((unsigned char) *c);
	if (!liquid_is_currency(code))
		liquid_filter_error("filter \"money\" does not know the currency \"%s\"",
							liquid_clip_value(args->values[0]));
	return liquid_format_number(liquid_locale(r), NUMBER_MONEY, code, -1,
								liquid_number_digits(need_number(input, "money")));
}

static LiquidValue
filter_number(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	if (liquid_is_nil(input))
		return input;
	return liquid_format_number(liquid_locale(r), NUMBER_PLAIN, NULL, fraction_argument(args, 0),
								liquid_number_digits(need_number(input, "number")));
}

static LiquidValue
filter_percent(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	if (liquid_is_nil(input))
		return input;
	return liquid_format_number(liquid_locale(r), NUMBER_PERCENT, NULL,
								fraction_argument(args, 0),
								liquid_number_digits(need_number(input, "percent")));
}

static bool
to_time(LiquidRender *r, LiquidValue v, LiquidTime *t)
{
	if (v.kind == LIQUID_INTEGER)
		return liquid_break_down(v.u.integer, 0, liquid_zone(r), t);
	if (v.kind == LIQUID_STRING)
		return liquid_parse_date(v.u.string, v.len, liquid_zone(r), t);
	return false;
}

static bool
is_style(const char *s)
{
	return strcmp(s, "short") == 0 || strcmp(s, "medium") == 0 || strcmp(s, "long") == 0 ||
		strcmp(s, "full") == 0;
}

/* A format of directives, or the locale's own: short, medium, long, full. */
static LiquidValue
filter_date(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue format = liquid_text(args->values[0]);
	LiquidTime	t;
	StringInfoData buf;
	char	   *style;

	if (format.len == 0 || !to_time(r, input, &t))
		return input;
	style = as_cstring(format);
	if (is_style(style))
		return liquid_format_time(liquid_locale(r), liquid_zone(r), style, NULL, t.seconds);
	initStringInfo(&buf);
	liquid_strftime(&buf, format.u.string, format.len, &t, liquid_locale(r));
	return liquid_string(buf.data, buf.len);
}

static LiquidValue
filter_time(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	char	   *style = args->count > 0 ? as_cstring(args->values[0]) : "short";
	LiquidTime	t;

	if (!to_time(r, input, &t))
		return input;
	if (!is_style(style))
		liquid_filter_error("filter \"time\" has no style \"%s\"",
							liquid_clip_value(args->values[0]));
	return liquid_format_time(liquid_locale(r), liquid_zone(r), NULL, style, t.seconds);
}

const LiquidFilter liquid_locale_filters[] = {
	{"date", filter_date, 1, 1},
	{"money", filter_money, 1, 1},
	{"number", filter_number, 0, 1},
	{"percent", filter_percent, 0, 1},
	{"time", filter_time, 0, 1},
	{NULL}
};
