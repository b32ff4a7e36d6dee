/*
 * locale.c
 *		Numbers, amounts, dates and letters, through ICU.
 *
 * ICU allocates with malloc, so nothing of it may be open when an error is
 * raised: formatters are either closed before, or belong to one of the two
 * caches here, which hold a fixed number each and live as long as the process.
 * (plural.c has two more.)  Text is UTF-8: no other database has this extension.
 */
#include "postgres.h"

#include <unicode/ucurr.h>
#include <unicode/udat.h>
#include <unicode/uloc.h>
#include <unicode/unum.h>
#include <unicode/ustring.h>

#include "liquid/icu.h"
#include "liquid/locale.h"

#define CACHED		16
#define LOCALE_SIZE	LIQUID_LOCALE_SIZE
#define ZONE_SIZE	64

typedef struct NumberFormatter
{
	char		locale[LOCALE_SIZE];
	LiquidNumberStyle style;
	char		currency[4];
	int			fraction;
	UNumberFormat *format;
} NumberFormatter;

typedef struct DateFormatter
{
	char		locale[LOCALE_SIZE];
	char		zone[ZONE_SIZE];
	UDateFormatStyle date;
	UDateFormatStyle time;
	UDateFormat *format;
} DateFormatter;

static NumberFormatter number_formatters[CACHED];
static int	next_number_formatter = 0;
static DateFormatter date_formatters[CACHED];
static int	next_date_formatter = 0;

static bool
get_recipient(LiquidRender *r, LiquidValue *recipient)
{
	JsonbValue	found;

	if (r->data == NULL || !JsonContainerIsObject(r->data) ||
		!getKeyJsonValueFromContainer(r->data, "recipient", 9, &found))
		return false;
	*recipient = liquid_from_jsonb(&found);
	return recipient->kind == LIQUID_OBJECT;
}

/* A string member of data.recipient that fits in "size", or NULL. */
static char *
recipient_member(LiquidRender *r, const char *name, int size)
{
	LiquidValue recipient;
	LiquidValue v;

	if (!get_recipient(r, &recipient))
		return NULL;
	v = liquid_member(recipient, name, strlen(name));
	if (v.kind != LIQUID_STRING || v.len == 0 || v.len >= size)
		return NULL;
	for (int i = 0; i < v.len; i++)
		if (IS_HIGHBIT_SET(v.u.string[i]))
			return NULL;
	return pnstrdup(v.u.string, v.len);
}

const char *
liquid_locale(LiquidRender *r)
{
	if (r->locale == NULL)
		r->locale = recipient_member(r, "locale", LOCALE_SIZE);
	if (r->locale == NULL || strcmp(r->locale, "default") == 0)
		r->locale = "en";
	return r->locale;
}

const char *
liquid_zone(LiquidRender *r)
{
	LiquidValue recipient;

	if (r->zone == NULL)
		r->zone = recipient_member(r, "time_zone", ZONE_SIZE);
	if (r->zone == NULL && get_recipient(r, &recipient))
		r->zone = "UTC";
	return r->zone;
}

void
liquid_check_icu(UErrorCode status, const char *what)
{
	if (U_FAILURE(status))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not %s: %s", what, u_errorName(status))));
}

void
liquid_icu_locale(char *result, const char *locale)
{
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		parsed = 0;

	uloc_forLanguageTag(locale, result, LOCALE_SIZE, &parsed, &status);
	if (U_FAILURE(status) || status == U_STRING_NOT_TERMINATED_WARNING ||
		parsed < strlen(locale))
		strlcpy(result, locale, LOCALE_SIZE);
}

static UChar *
to_utf16(LiquidValue text, int32_t *length)
{
	int32_t		size = text.len + 1;
	UChar	   *result = palloc(size * sizeof(UChar));
	UErrorCode	status = U_ZERO_ERROR;

	u_strFromUTF8WithSub(result, size, length, text.u.string, text.len, 0xFFFD, NULL, &status);
	liquid_check_icu(status, "convert text to UTF-16");
	return result;
}

LiquidValue
liquid_from_utf16(const UChar *text, int32_t length)
{
	int32_t		size = length * 3 + 1;
	char	   *result = palloc(size);
	int32_t		len;
	UErrorCode	status = U_ZERO_ERROR;

	u_strToUTF8(result, size, &len, text, length, &status);
	liquid_check_icu(status, "convert text from UTF-16");
	return liquid_string(result, len);
}

static bool
is_ascii(LiquidValue text)
{
	for (int i = 0; i < text.len; i++)
		if (IS_HIGHBIT_SET(text.u.string[i]))
			return false;
	return true;
}

typedef int32_t (*CaseFunction) (UChar *dest, int32_t size, const UChar *source, int32_t length,
								 const char *locale, UErrorCode *status);

/* No letter grows to more than three. */
static LiquidValue
change_case(LiquidValue text, CaseFunction change)
{
	int32_t		length;
	UChar	   *source = to_utf16(text, &length);
	int32_t		size = length * 3 + 1;
	UChar	   *dest = palloc(size * sizeof(UChar));
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		used = change(dest, size, source, length, "", &status);
	LiquidValue result;

	liquid_check_icu(status, "change the case of a text");
	result = liquid_from_utf16(dest, used);
	pfree(source);
	pfree(dest);
	return result;
}

static LiquidValue
change_ascii(LiquidValue text, unsigned char (*change) (unsigned char))
{
	char	   *result = palloc(text.len + 1);

	for (int i = 0; i < text.len; i++)
		result[i] = change((unsigned char) text.u.string[i]);
	return liquid_string(result, text.len);
}

LiquidValue
liquid_upper(LiquidValue text)
{
	return is_ascii(text) ? change_ascii(text, pg_ascii_toupper) : change_case(text, u_strToUpper);
}

LiquidValue
liquid_lower(LiquidValue text)
{
	return is_ascii(text) ? change_ascii(text, pg_ascii_tolower) : change_case(text, u_strToLower);
}

bool
liquid_is_currency(const char *code)
{
	UChar		wide[4];

	if (strlen(code) != 3)
		return false;
	u_charsToUChars(code, wide, 4);
	return ucurr_getNumericCode(wide) > 0;
}

/* Halves are rounded away from zero, as PostgreSQL rounds numeric. */
static UNumberFormat *
open_number_format(const NumberFormatter *n)
{
	static const UNumberFormatStyle styles[] = {UNUM_DECIMAL, UNUM_PERCENT, UNUM_CURRENCY};
	UErrorCode	status = U_ZERO_ERROR;
	char		locale[LOCALE_SIZE];
	UChar		currency[4];
	UNumberFormat *format;

	liquid_icu_locale(locale, n->locale);
	format = unum_open(styles[n->style], NULL, 0, locale, NULL, &status);
	liquid_check_icu(status, "open a number format");
	unum_setAttribute(format, UNUM_ROUNDING_MODE, UNUM_ROUND_HALFUP);
	if (n->style == NUMBER_MONEY)
	{
		u_charsToUChars(n->currency, currency, 4);
		unum_setTextAttribute(format, UNUM_CURRENCY_CODE, currency, 3, &status);
	}
	if (n->fraction >= 0)
		unum_setAttribute(format, UNUM_FRACTION_DIGITS, n->fraction);
	else if (n->style == NUMBER_PLAIN)
		unum_setAttribute(format, UNUM_MAX_FRACTION_DIGITS, 20);
	return format;
}

static UNumberFormat *
number_format(const char *locale, LiquidNumberStyle style, const char *currency, int fraction)
{
	NumberFormatter wanted = {.style = style,.fraction = fraction};
	NumberFormatter *slot;

	strlcpy(wanted.locale, locale, LOCALE_SIZE);
	strlcpy(wanted.currency, currency ? currency : "", sizeof(wanted.currency));
	for (int i = 0; i < CACHED; i++)
	{
		NumberFormatter *n = &number_formatters[i];

		if (n->format && n->style == style && n->fraction == fraction &&
			strcmp(n->locale, wanted.locale) == 0 && strcmp(n->currency, wanted.currency) == 0)
			return n->format;
	}
	wanted.format = open_number_format(&wanted);
	slot = &number_formatters[next_number_formatter++ % CACHED];
	if (slot->format)
		unum_close(slot->format);
	*slot = wanted;
	return slot->format;
}

LiquidValue
liquid_format_number(const char *locale, LiquidNumberStyle style, const char *currency,
					 int fraction, const char *digits)
{
	UNumberFormat *format = number_format(locale, style, currency, fraction);
	int			size = strlen(digits) * 4 + 64;
	UChar	   *text = palloc(size * sizeof(UChar));
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		len = unum_formatDecimal(format, digits, strlen(digits), text, size, NULL, &status);

	liquid_check_icu(status, "format a number");
	return liquid_from_utf16(text, len);
}

/* NULL leaves the part out; what is no style is medium. */
static UDateFormatStyle
date_style(const char *name)
{
	static const char *const names[] = {"full", "long", "medium", "short"};

	if (name == NULL)
		return UDAT_NONE;
	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (UDateFormatStyle) i;
	return UDAT_MEDIUM;
}

static UDateFormat *
open_date_format(const DateFormatter *d)
{
	UErrorCode	status = U_ZERO_ERROR;
	char		locale[LOCALE_SIZE];
	UChar		zone[ZONE_SIZE];
	UDateFormat *format;

	liquid_icu_locale(locale, d->locale);
	u_charsToUChars(d->zone, zone, strlen(d->zone) + 1);
	format = udat_open(d->time, d->date, locale, zone, -1, NULL, 0, &status);
	liquid_check_icu(status, "open a date format");
	return format;
}

static UDateFormat *
date_format(const char *locale, const char *zone, UDateFormatStyle date, UDateFormatStyle time)
{
	DateFormatter wanted = {.date = date,.time = time};
	DateFormatter *slot;

	strlcpy(wanted.locale, locale, LOCALE_SIZE);
	strlcpy(wanted.zone, zone, ZONE_SIZE);
	for (int i = 0; i < CACHED; i++)
	{
		DateFormatter *d = &date_formatters[i];

		if (d->format && d->date == date && d->time == time &&
			strcmp(d->locale, wanted.locale) == 0 && strcmp(d->zone, wanted.zone) == 0)
			return d->format;
	}
	wanted.format = open_date_format(&wanted);
	slot = &date_formatters[next_date_formatter++ % CACHED];
	if (slot->format)
		udat_close(slot->format);
	*slot = wanted;
	return slot->format;
}

LiquidValue
liquid_format_time(const char *locale, const char *zone, const char *style,
				   const char *time_style, double seconds)
{
	UDateFormat *format = date_format(locale, zone, date_style(style), date_style(time_style));
	UChar		text[256];
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		len = udat_format(format, seconds * 1000.0, text, lengthof(text), NULL, &status);

	liquid_check_icu(status, "format a date");
	return liquid_from_utf16(text, len);
}

const char *
liquid_name(const char *locale, LiquidNames names, int n)
{
	static const UDateFormatSymbolType types[] = {UDAT_MONTHS, UDAT_SHORT_MONTHS, UDAT_WEEKDAYS,
	UDAT_SHORT_WEEKDAYS, UDAT_AM_PMS};
	bool		day = names == NAMES_DAY || names == NAMES_DAY_SHORT;
	UDateFormat *format = date_format(locale, "UTC", UDAT_MEDIUM, UDAT_MEDIUM);
	UChar		text[64];
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		len = udat_getSymbols(format, types[names], day ? n + 1 : n, text, lengthof(text),
									  &status);
	LiquidValue v;

	liquid_check_icu(status, "name a month or day");
	v = liquid_from_utf16(text, len);
	return pnstrdup(v.u.string, v.len);
}
