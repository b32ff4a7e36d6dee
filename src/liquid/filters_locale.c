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

/* As ICU names it: the recipient's, or the offset the time was written with. */
static const char *
zone_of(LiquidRender *r, const LiquidTime *t)
{
	const char *zone = liquid_zone(r);
	int			minutes = abs(t->offset) / 60;

	if (zone || t->offset == 0)
		return zone ? zone : "UTC";
	return psprintf("GMT%c%02d:%02d", t->offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
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
		return liquid_format_time(liquid_locale(r), zone_of(r, &t), style, NULL, t.seconds);
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
	return liquid_format_time(liquid_locale(r), zone_of(r, &t), NULL, style, t.seconds);
}

/* How the time stands to now, or to the time given. */
static LiquidValue
filter_relative_time(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue base = args->count > 0 ? args->values[0] : liquid_cstring("now");
	LiquidTime	t;
	LiquidTime	from;

	if (!to_time(r, input, &t))
		return input;
	if (!to_time(r, base, &from))
		liquid_filter_error("filter \"relative_time\" cannot read \"%s\" as a time",
							liquid_clip_value(base));
	return liquid_relative_time(liquid_locale(r), &t, &from);
}

/* The form for n, where # stands for the number and ## for #. */
static LiquidValue
fill_form(LiquidRender *r, LiquidValue form, const char *digits)
{
	LiquidValue number = liquid_nil();
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < form.len; i++)
	{
		char		c = form.u.string[i];
		bool		twice = c == '#' && i + 1 < form.len && form.u.string[i + 1] == '#';

		if (c != '#' || twice)
		{
			appendStringInfoChar(&buf, c);
			i += twice;
			continue;
		}
		if (liquid_is_nil(number))
			number = liquid_format_number(liquid_locale(r), NUMBER_PLAIN, NULL, -1, digits);
		appendBinaryStringInfo(&buf, number.u.string, number.len);
		liquid_check_text(&buf);
	}
	return liquid_string(buf.data, buf.len);
}

/* "zero", when given, is for 0 in every language; "other" for what has no form of its own. */
static LiquidValue
filter_plural(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue n;
	char	   *digits;
	int			form;

	if (liquid_is_nil(input))
		return input;
	n = need_number(input, "plural");
	digits = liquid_number_digits(n);
	form = liquid_plural(liquid_locale(r), digits, liquid_is_true(liquid_named(args, PLURAL_OTHER + 1)));
	if (args->given & (1U << PLURAL_ZERO) && liquid_compare_numbers(n, liquid_integer(0)) == 0)
		form = PLURAL_ZERO;
	if (!(args->given & (1U << form)))
		form = PLURAL_OTHER;	/* which must be there */
	return fill_form(r, liquid_text(args->named[form]), digits);
}

/* In the order of LiquidPlural. */
static const char *const plural_names[] = {
	"zero", "one", "two", "few", "many", "other", "ordinal", NULL
};

const LiquidFilter liquid_locale_filters[] = {
	{"date", filter_date, 1, 1},
	{"money", filter_money, 1, 1},
	{"number", filter_number, 0, 1},
	{"percent", filter_percent, 0, 1},
	{"plural", filter_plural, 0, 0, plural_names, "other"},
	{"relative_time", filter_relative_time, 0, 1},
	{"time", filter_time, 0, 1},
	{NULL}
};
