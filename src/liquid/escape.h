/*
 * escape.h
 *		Text made safe for HTML.
 */
#ifndef NOTIFY_LIQUID_ESCAPE_H
#define NOTIFY_LIQUID_ESCAPE_H

#include "lib/stringinfo.h"

extern void liquid_escape(StringInfo out, const char *text, int len);

#endif							/* NOTIFY_LIQUID_ESCAPE_H */
