/*
 * plural.c
 *		Plural forms by CLDR's rules, and times relative to another, through ICU.
 *
 * What is opened here stays open in small caches, as in locale.c.
 */
#include "postgres.h"

#include <math.h>
#include <unicode/unumberformatter.h>
#include <unicode/upluralrules.h>
#include <unicode/ureldatefmt.h>
#include <unicode/ustring.h>

#include "datatype/timestamp.h"

#include "liquid/icu.h"
#include "liquid/locale.h"

#define CACHED		8

typedef struct Rules
{
	char		locale[LIQUID_LOCALE_SIZE];
	bool		ordinal;
	UPluralRules *rules;
	UNumberFormatter *numbers;	/* rules look at digits as they are written */
} Rules;

typedef struct Relative
{
	char		locale[LIQUID_LOCALE_SIZE];
	URelativeDateTimeFormatter *format;
} Relative;

static Rules rules_cache[CACHED];
static int	next_rules = 0;
static Relative relative_cache[CACHED];
static int	next_relative = 0;

static void
close_rules(Rules *r)
{
	if (r->rules)
		uplrules_close(r->rules);
	if (r->numbers)
		unumf_close(r->numbers);
	memset(r, 0, sizeof(*r));
}

static void
open_rules(Rules *r, const char *locale, bool ordinal)
{
	static const UChar skeleton[] = {'.', '#', '#', '#', '#', '#', '#', '#', '#', '#', 0};
	char		icu[LIQUID_LOCALE_SIZE];
	UErrorCode	status = U_ZERO_ERROR;

	liquid_icu_locale(icu, locale);
	close_rules(r);
	r->rules = uplrules_openForType(icu, ordinal ? UPLURAL_TYPE_ORDINAL : UPLURAL_TYPE_CARDINAL,
									&status);
	r->numbers = unumf_openForSkeletonAndLocale(skeleton, -1, icu, &status);
	if (U_FAILURE(status))
		close_rules(r);
	liquid_check_icu(status, "open plural rules");
	strlcpy(r->locale, locale, LIQUID_LOCALE_SIZE);
	r->ordinal = ordinal;
}

static const Rules *
rules_for(const char *locale, bool ordinal)
{
	Rules	   *r;

	for (int i = 0; i < CACHED; i++)
		if (rules_cache[i].rules && rules_cache[i].ordinal == ordinal &&
			strcmp(rules_cache[i].locale, locale) == 0)
			return &rules_cache[i];
	r = &rules_cache[next_rules++ % CACHED];
	open_rules(r, locale, ordinal);
	return r;
}

/* The digits as the rules see them. */
static int32_t
select_form(const Rules *r, const char *digits, UChar *form, int32_t size, UErrorCode *status)
{
	UFormattedNumber *number = unumf_openResult(status);
	int32_t		len = 0;

	unumf_formatDecimal(r->numbers, digits, -1, number, status);
	if (U_SUCCESS(*status))
		len = uplrules_selectFormatted(r->rules, number, form, size, status);
	unumf_closeResult(number);
	return len;
}

LiquidPlural
liquid_plural(const char *locale, const char *digits, bool ordinal)
{
	static const char *const names[] = {"zero", "one", "two", "few", "many", "other"};
	UChar		form[16];
	char		name[16];
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		len = select_form(rules_for(locale, ordinal), digits, form, lengthof(form), &status);

	liquid_check_icu(status, "find a plural form");
	u_UCharsToChars(form, name, len);
	for (int i = 0; i < lengthof(names); i++)
		if (strlen(names[i]) == len && memcmp(name, names[i], len) == 0)
			return (LiquidPlural) i;
	return PLURAL_OTHER;
}

static URelativeDateTimeFormatter *
relative_for(const char *locale)
{
	char		icu[LIQUID_LOCALE_SIZE];
	UErrorCode	status = U_ZERO_ERROR;
	URelativeDateTimeFormatter *format;
	Relative   *slot;

	for (int i = 0; i < CACHED; i++)
		if (relative_cache[i].format && strcmp(relative_cache[i].locale, locale) == 0)
			return relative_cache[i].format;
	liquid_icu_locale(icu, locale);
	format = ureldatefmt_open(icu, NULL, UDAT_STYLE_LONG, UDISPCTX_CAPITALIZATION_NONE, &status);
	liquid_check_icu(status, "open a format of relative times");
	slot = &relative_cache[next_relative++ % CACHED];
	if (slot->format)
		ureldatefmt_close(slot->format);
	slot->format = format;
	strlcpy(slot->locale, locale, LIQUID_LOCALE_SIZE);
	return format;
}

static int64
day_of(const LiquidTime *t)
{
	int64		wall = t->seconds + t->offset;

	return wall >= 0 ? wall / SECS_PER_DAY : -((SECS_PER_DAY - 1 - wall) / SECS_PER_DAY);
}

/*
 * The largest unit of which there is one at least.  Under a day it is time that
 * passes; from there on it is days of the calendar, so that tomorrow is
 * tomorrow at any hour.
 */
static double
in_units(const LiquidTime *t, const LiquidTime *base, URelativeDateTimeUnit *unit)
{
	double		seconds = (double) t->seconds - base->seconds;
	double		days = (double) day_of(t) - day_of(base);
	int			months = (t->year - base->year) * 12 + t->month - base->month;

	*unit = UDAT_REL_UNIT_SECOND;
	if (fabs(seconds) < 59.5)
		return seconds;
	*unit = UDAT_REL_UNIT_MINUTE;
	if (fabs(rint(seconds / 60)) < 60)
		return rint(seconds / 60);
	*unit = UDAT_REL_UNIT_HOUR;
	if (fabs(seconds) < SECS_PER_DAY && fabs(rint(seconds / 3600)) < 24)
		return rint(seconds / 3600);
	*unit = UDAT_REL_UNIT_DAY;
	if (fabs(days) < 14 || months == 0)
		return days;
	*unit = UDAT_REL_UNIT_WEEK;
	if (fabs(days) < 31)
		return rint(days / 7);
	*unit = UDAT_REL_UNIT_MONTH;
	if (abs(months) < 12)
		return months;
	*unit = UDAT_REL_UNIT_YEAR;
	return trunc(months / 12.0);
}

LiquidValue
liquid_relative_time(const char *locale, const LiquidTime *t, const LiquidTime *base)
{
	UChar		text[256];
	UErrorCode	status = U_ZERO_ERROR;
	URelativeDateTimeUnit unit;
	double		count = in_units(t, base, &unit);
	int32_t		len = ureldatefmt_format(relative_for(locale), count, unit, text, lengthof(text),
										 &status);

	liquid_check_icu(status, "format a relative time");
	return liquid_from_utf16(text, len);
}
