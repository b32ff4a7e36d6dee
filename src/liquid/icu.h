/*
 * icu.h
 *		What the files that call ICU share.
 */
#ifndef NOTIFY_LIQUID_ICU_H
#define NOTIFY_LIQUID_ICU_H

#include <unicode/utypes.h>

#include "liquid/value.h"

#define LIQUID_LOCALE_SIZE	64

/* Raises when an ICU call failed; "what" is what it was to do. */
extern void liquid_check_icu(UErrorCode status, const char *what);

/* ICU's own form of a BCP 47 tag, into LIQUID_LOCALE_SIZE bytes. */
extern void liquid_icu_locale(char *result, const char *locale);

extern LiquidValue liquid_from_utf16(const UChar *text, int32_t length);

#endif							/* NOTIFY_LIQUID_ICU_H */
