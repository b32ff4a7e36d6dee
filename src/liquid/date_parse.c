/*
 * date_parse.c
 *		Dates as people and machines write them.
 *
 * Reads 2026-03-14, 2026-03-14T15:09:26.5+01:00, 2026/03/14 15:09, March 14,
 * 2026, 14 Mar 2026 3:09 pm, Sat, 14 Mar 2026 15:09:26 GMT, 20260314T150926Z,
 * now, today, and seconds since 1970.  What is not there is taken from now, or
 * is the first of its kind; what is not understood makes it no date.
 */
#include "postgres.h"

#include <ctype.h>

#include "datatype/timestamp.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "liquid/date.h"

#define MAX_TEXT	128

typedef struct DateReader
{
	const char *s;
	int			year;			/* -1 each, while not seen */
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			nanoseconds;
	bool		pm;
	bool		am;
	bool		has_offset;
	int			offset;			/* seconds east of UTC */
} DateReader;

static const char *const month_words[] = {"january", "february", "march", "april", "may", "june",
"july", "august", "september", "october", "november", "december"};
static const char *const day_words[] = {"sunday", "monday", "tuesday", "wednesday", "thursday",
"friday", "saturday"};

/* Up to "most" digits; how many there were. */
static int
read_digits(const char *s, int most, int *value)
{
	int			count = 0;

	*value = 0;
	while (count < most && isdigit((unsigned char) s[count]))
		*value = *value * 10 + (s[count++] - '0');
	return count;
}

static int
count_digits(const char *s)
{
	int			count = 0;

	while (isdigit((unsigned char) s[count]))
		count++;
	return count;
}

static bool
read_fraction(DateReader *d)
{
	int			scale = 100000000;

	if ((d->s[0] != '.' && d->s[0] != ',') || !isdigit((unsigned char) d->s[1]))
		return true;
	for (d->s++; isdigit((unsigned char) *d->s); d->s++, scale /= 10)
		d->nanoseconds += (*d->s - '0') * scale;
	return true;
}

/* hh:mm[:ss[.fraction]] */
static bool
read_clock(DateReader *d)
{
	int			n;

	if (d->hour >= 0)
		return false;
	d->s += read_digits(d->s, 2, &d->hour) + 1;
	n = read_digits(d->s, 2, &d->minute);
	d->s += n;
	d->second = 0;
	if (n != 2)
		return false;
	if (d->s[0] != ':')
		return true;
	n = read_digits(d->s + 1, 2, &d->second);
	d->s += n + 1;
	return n == 2 && read_fraction(d);
}

/* y-m-d or y/m/d, or d-m-y when the year comes last */
static bool
read_numeric_date(DateReader *d, char mark)
{
	int			part[3];
	int			width[3];

	if (d->year >= 0 || d->month >= 0 || d->day >= 0)
		return false;
	for (int i = 0; i < 3; i++)
	{
		width[i] = read_digits(d->s, 4, &part[i]);
		d->s += width[i];
		if (width[i] == 0 || (i < 2 && *d->s++ != mark))
			return false;
	}
	d->month = part[1];
	d->year = width[0] > 2 ? part[0] : part[2];
	d->day = width[0] > 2 ? part[2] : part[0];
	return width[0] > 2 ? width[0] == 4 : width[2] == 4;
}

/* yyyymmdd and, after it, Thhmm[ss] */
static bool
read_compact_date(DateReader *d)
{
	if (d->year >= 0)
		return false;
	d->s += read_digits(d->s, 4, &d->year);
	d->s += read_digits(d->s, 2, &d->month);
	d->s += read_digits(d->s, 2, &d->day);
	if ((d->s[0] != 't' && d->s[0] != ' ') || count_digits(d->s + 1) % 2 != 0 ||
		count_digits(d->s + 1) < 4)
		return true;
	d->s++;
	d->s += read_digits(d->s, 2, &d->hour);
	d->s += read_digits(d->s, 2, &d->minute);
	d->second = 0;
	d->s += read_digits(d->s, 2, &d->second);
	return read_fraction(d);
}

/* A day, with or without st, nd, rd, th; an hour if am or pm follows; a year. */
static bool
read_plain_number(DateReader *d, int width)
{
	int			value;

	if (width > 4)
		return false;
	d->s += read_digits(d->s, 4, &value);
	if (width <= 2 && (strncmp(d->s, "am", 2) == 0 || strncmp(d->s, "pm", 2) == 0 ||
					   strncmp(d->s, " am", 3) == 0 || strncmp(d->s, " pm", 3) == 0))
	{
		d->hour = value;
		d->minute = d->second = 0;
		return true;
	}
	if (width <= 2 && d->day < 0)
		d->day = value;
	else if (d->year < 0)
		d->year = width <= 2 ? value + (value < 69 ? 2000 : 1900) : value;
	else
		return false;
	if (width <= 2 && (strncmp(d->s, "st", 2) == 0 || strncmp(d->s, "nd", 2) == 0 ||
					   strncmp(d->s, "rd", 2) == 0 || strncmp(d->s, "th", 2) == 0))
		d->s += 2;
	return true;
}

static bool
read_number(DateReader *d)
{
	int			width = count_digits(d->s);

	if (width <= 2 && d->s[width] == ':')
		return read_clock(d);
	if (width <= 4 && (d->s[width] == '-' || d->s[width] == '/') &&
		isdigit((unsigned char) d->s[width + 1]))
		return read_numeric_date(d, d->s[width]);
	if (width == 8)
		return read_compact_date(d);
	return read_plain_number(d, width);
}

/* +hh, +hhmm, +hh:mm, after a time */
static bool
read_offset(DateReader *d)
{
	int			sign = d->s[0] == '-' ? -1 : 1;
	int			hours;
	int			minutes = 0;
	int			n = read_digits(d->s + 1, 2, &hours);

	if (d->hour < 0 || n == 0)
		return false;
	d->s += n + 1;
	if (d->s[0] == ':')
		d->s++;
	d->s += read_digits(d->s, 2, &minutes);
	d->has_offset = true;
	d->offset = sign * (hours * 3600 + minutes * 60);
	return hours <= 15 && minutes < 60;
}

/* The word at s, or three letters or more of it. */
static int
word_in(const char *const *words, int count, const char *s, int len)
{
	for (int i = 0; i < count; i++)
		if (len >= 3 && len <= strlen(words[i]) && strncmp(s, words[i], len) == 0)
			return i;
	return -1;
}

static bool
word_is(const char *s, int len, const char *word)
{
	return len == strlen(word) && memcmp(s, word, len) == 0;
}

static bool
read_word(DateReader *d)
{
	const char *s = d->s;
	int			len = 0;
	int			month;

	while (isalpha((unsigned char) s[len]))
		len++;
	d->s += len;
	if (word_is(s, len, "t") || word_is(s, len, "at") || word_is(s, len, "of") ||
		word_in(day_words, lengthof(day_words), s, len) >= 0)
		return true;
	if (word_is(s, len, "z") || word_is(s, len, "utc") || word_is(s, len, "gmt"))
		return d->has_offset = true;
	if (word_is(s, len, "am") || word_is(s, len, "pm"))
	{
		d->pm = s[0] == 'p';
		d->am = !d->pm;
		return d->hour >= 0 && d->hour <= 12;
	}
	month = word_in(month_words, lengthof(month_words), s, len);
	if (month < 0 || d->month >= 0)
		return false;
	d->month = month + 1;
	if (*d->s == '.')
		d->s++;
	return true;
}

static bool
read_all(DateReader *d)
{
	while (*d->s)
	{
		bool		ok = true;

		if (isdigit((unsigned char) *d->s))
			ok = read_number(d);
		else if (isalpha((unsigned char) *d->s))
			ok = read_word(d);
		else if ((*d->s == '+' || *d->s == '-') && d->hour >= 0 && !d->has_offset)
			ok = read_offset(d);
		else if (isspace((unsigned char) *d->s) || *d->s == ',' || *d->s == '-')
			d->s++;
		else
			ok = false;
		if (!ok)
			return false;
	}
	return true;
}

static bool
fill_in(DateReader *d, const LiquidTime *now)
{
	bool		has_date = d->year >= 0 || d->month >= 0 || d->day >= 0;

	if (!has_date && d->hour < 0)
		return false;
	if (d->year < 0)
		d->year = now->year;
	if (d->month < 0)
		d->month = has_date && d->day < 0 ? 1 : now->month;
	if (d->day < 0)
		d->day = has_date ? 1 : now->day;
	if (d->hour < 0)
		d->hour = d->minute = d->second = 0;
	if (d->pm && d->hour < 12)
		d->hour += 12;
	if (d->am && d->hour == 12)
		d->hour = 0;
	return d->year >= 1 && d->month >= 1 && d->month <= 12 && d->day >= 1 &&
		d->day <= day_tab[isleap(d->year)][d->month - 1] &&
		d->hour <= 24 && d->minute < 60 && d->second <= 60;
}

/* As if it were in UTC. */
static int64
wall_seconds(const DateReader *d)
{
	int64		day = date2j(d->year, d->month, d->day) - UNIX_EPOCH_JDATE;

	return day * SECS_PER_DAY + d->hour * 3600 + d->minute * 60 + d->second;
}

/* The offset that holds at the time the clock shows; looked up twice around a change. */
static bool
settle(const DateReader *d, const char *zone, LiquidTime *t)
{
	int64		wall = wall_seconds(d);

	if (d->has_offset && zone == NULL)
		return liquid_break_down_at(wall - d->offset, d->nanoseconds, d->offset, t);
	if (d->has_offset)
		return liquid_break_down(wall - d->offset, d->nanoseconds, zone, t);
	return liquid_break_down(wall, d->nanoseconds, zone, t) &&
		liquid_break_down(wall - t->offset, d->nanoseconds, zone, t) &&
		liquid_break_down(wall - t->offset, d->nanoseconds, zone, t);
}

static bool
break_down_now(const char *zone, LiquidTime *t)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		seconds = now / USECS_PER_SEC +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;

	return liquid_break_down(seconds, (int) (now % USECS_PER_SEC) * 1000, zone, t);
}

bool
liquid_parse_date(const char *text, int len, const char *zone, LiquidTime *t)
{
	char		lower[MAX_TEXT];
	DateReader	d = {lower, -1, -1, -1, -1, -1, -1};
	LiquidTime	now;

	if (len == 0 || len >= MAX_TEXT || memchr(text, '\0', len))
		return false;
	for (int i = 0; i < len; i++)
		lower[i] = pg_ascii_tolower((unsigned char) text[i]);
	lower[len] = '\0';
	if (!break_down_now(zone, &now))
		return false;
	if (strcmp(lower, "now") == 0 || strcmp(lower, "today") == 0)
	{
		*t = now;
		return true;
	}
	if (count_digits(lower) == len)
		return len < 13 && liquid_break_down(strtoi64(lower, NULL, 10), 0, zone, t);
	return read_all(&d) && fill_in(&d, &now) && settle(&d, zone, t);
}
