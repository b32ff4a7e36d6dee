/*
 * text.h
 *		Searching and cutting strings.
 */
#ifndef NOTIFY_LIQUID_TEXT_H
#define NOTIFY_LIQUID_TEXT_H

#include "liquid/value.h"

/* As a message shows it: terminated, and cut to some 60 bytes. */
extern char *liquid_clip(const char *text, int len);
extern char *liquid_clip_value(LiquidValue v);

/* Offset in bytes of "what" at or after "from", or -1. */
extern int	liquid_find_text(LiquidValue text, int from, LiquidValue what);
extern int	liquid_find_last_text(LiquidValue text, LiquidValue what);

/* At most "count" characters from the "from"th, both not negative. */
extern LiquidValue liquid_substring(LiquidValue text, int64 from, int64 count);

extern LiquidValue liquid_strip(LiquidValue text, bool left, bool right);

/* The next word of text, from *at on; false when there is none. */
extern bool liquid_next_word(LiquidValue text, int *at, LiquidValue *word);

#endif							/* NOTIFY_LIQUID_TEXT_H */
