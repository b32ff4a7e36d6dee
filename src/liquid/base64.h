/*
 * base64.h
 *		Base64 of RFC 4648, in its usual and its URL-safe alphabet.
 */
#ifndef NOTIFY_LIQUID_BASE64_H
#define NOTIFY_LIQUID_BASE64_H

#include "lib/stringinfo.h"

extern void liquid_base64_encode(StringInfo out, const char *data, int len, bool url);

/* False when it is not base64; padding may be left out of the URL-safe form only. */
extern bool liquid_base64_decode(StringInfo out, const char *text, int len, bool url);

#endif							/* NOTIFY_LIQUID_BASE64_H */
