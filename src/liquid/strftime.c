/*
 * strftime.c
 *		A time written by a format of directives, as Ruby's strftime has them.
 *
 * A directive is %, flags (- no padding, 0 zeros, _ blanks, ^ upper case, #
 * the other case), a width, and a letter.  Names are in the locale's language;
 * their English forms are built in.
 */
#include "postgres.h"

#include <ctype.h>

#include "liquid/date.h"
#include "liquid/locale.h"

#define MAX_WIDTH	100

typedef struct Directive
{
	char		letter;
	char		pad;			/* '0', ' ', '-' for none, or 0: its own */
	bool		upper;
	bool		swap;
	int			width;			/* 0: its own */
	int			colons;
} Directive;

static const char *const month_names[] = {"January", "February", "March", "April", "May", "June",
"July", "August", "September", "October", "November", "December"};
static const char *const day_names[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
"Friday", "Saturday"};

static void
put_text(StringInfo out, const Directive *d, const char *text)
{
	int			len = strlen(text);

	for (int i = len; i < d->width && d->pad != '-'; i++)
		appendStringInfoChar(out, d->pad == '0' ? '0' : ' ');
	for (int i = 0; i < len; i++)
	{
		char		c = text[i];

		if (d->upper)
			c = pg_ascii_toupper((unsigned char) c);
		else if (d->swap)
			c = pg_ascii_tolower((unsigned char) c);
		appendStringInfoChar(out, c);
	}
}

static void
put_number(StringInfo out, const Directive *d, int64 n, int width, char pad)
{
	char		digits[32];
	int			len = snprintf(digits, sizeof(digits), INT64_FORMAT, n);

	pad = d->pad ? d->pad : pad;
	width = d->width ? d->width : width;
	for (int i = len; i < width && pad != '-'; i++)
		appendStringInfoChar(out, pad);
	appendStringInfoString(out, digits);
}

static bool
is_english(const char *locale)
{
	return locale[0] == 'e' && locale[1] == 'n' && strchr("-_", locale[2]) != NULL;
}

/* %^B and %#B both make a name upper case. */
static void
put_name(StringInfo out, const Directive *d, const char *locale, LiquidNames names, int n)
{
	Directive	name = *d;
	const char *text;

	name.upper |= d->swap;
	if (is_english(locale))
	{
		bool		month = names == NAMES_MONTH || names == NAMES_MONTH_SHORT;

		text = month ? month_names[n] : day_names[n];
		if (names == NAMES_MONTH_SHORT || names == NAMES_DAY_SHORT)
			text = pnstrdup(text, 3);
	}
	else
		text = liquid_name(locale, names, n);
	put_text(out, &name, text);
}

/* AM and PM; %P, and %#p, in small letters. */
static void
put_half(StringInfo out, const Directive *d, const LiquidTime *t, const char *locale)
{
	Directive	half = *d;

	half.swap |= d->letter == 'P';
	put_text(out, &half, is_english(locale) ? (t->hour < 12 ? "AM" : "PM") :
			 liquid_name(locale, NAMES_AM_PM, t->hour < 12 ? 0 : 1));
}

/* %z +hhmm, %:z +hh:mm, %::z +hh:mm:ss */
static void
put_offset(StringInfo out, const Directive *d, const LiquidTime *t)
{
	int			offset = abs(t->offset);
	char		text[32];

	if (d->colons == 0)
		snprintf(text, sizeof(text), "%c%02d%02d", t->offset < 0 ? '-' : '+',
				 offset / 3600, offset / 60 % 60);
	else
		snprintf(text, sizeof(text), d->colons == 1 ? "%c%02d:%02d" : "%c%02d:%02d:%02d",
				 t->offset < 0 ? '-' : '+', offset / 3600, offset / 60 % 60, offset % 60);
	appendStringInfoString(out, text);
}

/* The first digits of the nanoseconds; more than 9 are zeros. */
static void
put_fraction(StringInfo out, const Directive *d, const LiquidTime *t, int digits)
{
	char		text[16];

	digits = d->width ? d->width : digits;
	snprintf(text, sizeof(text), "%09d", t->nanoseconds);
	for (int i = 0; i < digits; i++)
		appendStringInfoChar(out, i < 9 ? text[i] : '0');
}

/* Weeks counted from the first "first" day (0 Sunday, 1 Monday) of the year. */
static int
week_of_year(const LiquidTime *t, int first)
{
	return (t->yearday + 7 - (t->weekday - first + 7) % 7) / 7;
}

static int
weeks_in(int year)
{
	int			p = (year + year / 4 - year / 100 + year / 400) % 7;
	int			before = (year - 1 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400) % 7;

	return p == 4 || before == 3 ? 53 : 52;
}

static void
iso_week(const LiquidTime *t, int *year, int *week)
{
	int			weekday = t->weekday == 0 ? 7 : t->weekday;

	*year = t->year;
	*week = (t->yearday + 1 - weekday + 10) / 7;
	if (*week < 1)
		*week = weeks_in(--*year);
	else if (*week > weeks_in(*year))
	{
		*week = 1;
		++*year;
	}
}

static void
put_iso_week(StringInfo out, const Directive *d, const LiquidTime *t)
{
	int			year;
	int			week;

	iso_week(t, &year, &week);
	if (d->letter == 'V')
		put_number(out, d, week, 2, '0');
	else if (d->letter == 'G')
		put_number(out, d, year, 4, '0');
	else
		put_number(out, d, year % 100, 2, '0');
}

/* Directives that stand for a format of others. */
static const char *
compound(char letter)
{
	switch (letter)
	{
		case 'c':
			return "%a %b %e %H:%M:%S %Y";
		case 'D':
		case 'x':
			return "%m/%d/%y";
		case 'F':
			return "%Y-%m-%d";
		case 'r':
			return "%I:%M:%S %p";
		case 'R':
			return "%H:%M";
		case 'T':
		case 'X':
			return "%H:%M:%S";
		case 'v':
			return "%e-%^b-%Y";
		case '+':
			return "%a %b %e %H:%M:%S %Z %Y";
		default:
			return NULL;
	}
}

static bool
put_date_part(StringInfo out, const Directive *d, const LiquidTime *t)
{
	switch (d->letter)
	{
		case 'C':
			put_number(out, d, t->year / 100, 2, '0');
			return true;
		case 'd':
			put_number(out, d, t->day, 2, '0');
			return true;
		case 'e':
			put_number(out, d, t->day, 2, ' ');
			return true;
		case 'g':
		case 'G':
		case 'V':
			put_iso_week(out, d, t);
			return true;
		case 'j':
			put_number(out, d, t->yearday + 1, 3, '0');
			return true;
		case 'm':
			put_number(out, d, t->month, 2, '0');
			return true;
		case 'u':
			put_number(out, d, t->weekday == 0 ? 7 : t->weekday, 1, '0');
			return true;
		case 'U':
			put_number(out, d, week_of_year(t, 0), 2, '0');
			return true;
		case 'w':
			put_number(out, d, t->weekday, 1, '0');
			return true;
		case 'W':
			put_number(out, d, week_of_year(t, 1), 2, '0');
			return true;
		case 'y':
			put_number(out, d, t->year % 100, 2, '0');
			return true;
		case 'Y':
			put_number(out, d, t->year, 4, '0');
			return true;
		default:
			return false;
	}
}

static bool
put_time_part(StringInfo out, const Directive *d, const LiquidTime *t)
{
	switch (d->letter)
	{
		case 'H':
			put_number(out, d, t->hour, 2, '0');
			return true;
		case 'I':
			put_number(out, d, (t->hour + 11) % 12 + 1, 2, '0');
			return true;
		case 'k':
			put_number(out, d, t->hour, 2, ' ');
			return true;
		case 'l':
			put_number(out, d, (t->hour + 11) % 12 + 1, 2, ' ');
			return true;
		case 'L':
			put_fraction(out, d, t, 3);
			return true;
		case 'M':
			put_number(out, d, t->minute, 2, '0');
			return true;
		case 'N':
			put_fraction(out, d, t, 9);
			return true;
		case 's':
			put_number(out, d, t->seconds, 1, '0');
			return true;
		case 'S':
			put_number(out, d, t->second, 2, '0');
			return true;
		case 'z':
			put_offset(out, d, t);
			return true;
		case 'Z':
			put_text(out, d, t->zone);
			return true;
		default:
			return false;
	}
}

static bool
put_word(StringInfo out, const Directive *d, const LiquidTime *t, const char *locale)
{
	switch (d->letter)
	{
		case 'a':
			put_name(out, d, locale, NAMES_DAY_SHORT, t->weekday);
			return true;
		case 'A':
			put_name(out, d, locale, NAMES_DAY, t->weekday);
			return true;
		case 'b':
		case 'h':
			put_name(out, d, locale, NAMES_MONTH_SHORT, t->month - 1);
			return true;
		case 'B':
			put_name(out, d, locale, NAMES_MONTH, t->month - 1);
			return true;
		case 'p':
		case 'P':
			put_half(out, d, t, locale);
			return true;
		case 'n':
			appendStringInfoChar(out, '\n');
			return true;
		case 't':
			appendStringInfoChar(out, '\t');
			return true;
		case '%':
			appendStringInfoChar(out, '%');
			return true;
		default:
			return false;
	}
}

static bool
put_compound(StringInfo out, const Directive *d, const LiquidTime *t, const char *locale)
{
	const char *format = compound(d->letter);
	StringInfoData part;

	if (format == NULL)
		return false;
	initStringInfo(&part);
	liquid_strftime(&part, format, strlen(format), t, locale);
	put_text(out, d, part.data);
	return true;
}

/* Reads what is between % and the letter; how many characters in all. */
static int
read_directive(const char *s, int len, Directive *d)
{
	int			i = 1;

	memset(d, 0, sizeof(*d));
	for (; i < len && strchr("-0^#_:", s[i]) && s[i]; i++)
	{
		d->upper |= s[i] == '^';
		d->swap |= s[i] == '#';
		d->colons += s[i] == ':';
		if (s[i] == '-' || s[i] == '0')
			d->pad = s[i];
		else if (s[i] == '_')
			d->pad = ' ';
	}
	for (; i < len && isdigit((unsigned char) s[i]); i++)
		d->width = Min(d->width * 10 + (s[i] - '0'), MAX_WIDTH);
	d->letter = i < len ? s[i] : '\0';
	return Min(i + 1, len);
}

/* What is no directive stays as it is. */
void
liquid_strftime(StringInfo out, const char *format, int len, const LiquidTime *t,
				const char *locale)
{
	for (int i = 0; i < len;)
	{
		Directive	d;
		int			used = 1;

		if (format[i] == '%')
			used = read_directive(format + i, len - i, &d);
		if (format[i] != '%' ||
			!(put_date_part(out, &d, t) || put_time_part(out, &d, t) ||
			  put_word(out, &d, t, locale) || put_compound(out, &d, t, locale)))
			appendBinaryStringInfo(out, format + i, used);
		i += used;
	}
}
