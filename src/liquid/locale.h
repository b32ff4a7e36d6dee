/*
 * locale.h
 *		Numbers, amounts, dates and letters, as a locale has them, through ICU.
 */
#ifndef NOTIFY_LIQUID_LOCALE_H
#define NOTIFY_LIQUID_LOCALE_H

#include "liquid/date.h"
#include "liquid/render.h"

typedef enum LiquidNumberStyle
{
	NUMBER_PLAIN,
	NUMBER_PERCENT,
	NUMBER_MONEY
} LiquidNumberStyle;

/* Names that strftime needs. */
typedef enum LiquidNames
{
	NAMES_MONTH,				/* n from 0 */
	NAMES_MONTH_SHORT,
	NAMES_DAY,					/* n from 0, Sunday */
	NAMES_DAY_SHORT,
	NAMES_AM_PM
} LiquidNames;

/*
 * The recipient's, from the document; "en" and "UTC" when it has none.  Where
 * the document has no recipient at all, the zone is NULL: dates keep the offset
 * they are written with.
 */
extern const char *liquid_locale(LiquidRender *r);
extern const char *liquid_zone(LiquidRender *r);

/*
 * "digits" is plain decimal text; "fraction" how many digits are to follow the
 * point, or negative for as many as the style has.
 */
extern LiquidValue liquid_format_number(const char *locale, LiquidNumberStyle style,
										const char *currency, int fraction,
										const char *digits);

/* An ISO 4217 code that exists; upper case. */
extern bool liquid_is_currency(const char *code);

/* short, medium, long or full; NULL leaves the part out. */
extern LiquidValue liquid_format_time(const char *locale, const char *zone,
									  const char *date_style, const char *time_style,
									  double seconds);

extern const char *liquid_name(const char *locale, LiquidNames names, int n);

/* CLDR's plural categories, in its order. */
typedef enum LiquidPlural
{
	PLURAL_ZERO,
	PLURAL_ONE,
	PLURAL_TWO,
	PLURAL_FEW,
	PLURAL_MANY,
	PLURAL_OTHER
} LiquidPlural;

/* Of a number written in plain decimal text; "ordinal" as in 1st, 2nd, 3rd. */
extern LiquidPlural liquid_plural(const char *locale, const char *digits, bool ordinal);

/* in 5 minutes, yesterday, 3 weeks ago: how t stands to base. */
extern LiquidValue liquid_relative_time(const char *locale, const LiquidTime *t,
										const LiquidTime *base);

extern LiquidValue liquid_upper(LiquidValue text);
extern LiquidValue liquid_lower(LiquidValue text);

#endif							/* NOTIFY_LIQUID_LOCALE_H */
