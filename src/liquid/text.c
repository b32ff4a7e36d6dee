/*
 * text.c
 *		Searching and cutting strings.
 *
 * Results point into what they were cut from.  Searching goes byte by byte:
 * in UTF-8 what matches by bytes matches by characters.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "liquid/lexer.h"
#include "liquid/text.h"

#define CLIPPED	60

char *
liquid_clip(const char *text, int len)
{
	return pnstrdup(text, pg_mbcliplen(text, len, CLIPPED));
}

char *
liquid_clip_value(LiquidValue v)
{
	v = liquid_text(v);
	return liquid_clip(v.u.string, v.len);
}

int
liquid_find_text(LiquidValue text, int from, LiquidValue what)
{
	const char *found = memmem(text.u.string + from, text.len - from, what.u.string, what.len);

	return found ? found - text.u.string : -1;
}

int
liquid_find_last_text(LiquidValue text, LiquidValue what)
{
	if (what.len == 0)
		return text.len;
	for (int at = text.len - what.len; at >= 0; at--)
	{
		CHECK_FOR_INTERRUPTS();
		if (memcmp(text.u.string + at, what.u.string, what.len) == 0)
			return at;
	}
	return -1;
}

/* Bytes of the first "count" characters. */
static int
bytes_of(LiquidValue text, int64 count)
{
	int			at = 0;

	while (count-- > 0 && at < text.len)
		at += pg_mblen(text.u.string + at);
	return Min(at, text.len);
}

LiquidValue
liquid_substring(LiquidValue text, int64 from, int64 count)
{
	int			skip = bytes_of(text, from);
	LiquidValue rest = liquid_string(text.u.string + skip, text.len - skip);

	rest.len = bytes_of(rest, count);
	return rest;
}

LiquidValue
liquid_strip(LiquidValue text, bool left, bool right)
{
	const char *s = text.u.string;
	int			start = 0;
	int			end = text.len;

	while (left && start < end && liquid_is_space(s[start]))
		start++;
	while (right && end > start && liquid_is_space(s[end - 1]))
		end--;
	return liquid_string(s + start, end - start);
}

bool
liquid_next_word(LiquidValue text, int *at, LiquidValue *word)
{
	int			start = *at;

	while (start < text.len && liquid_is_space(text.u.string[start]))
		start++;
	*at = start;
	while (*at < text.len && !liquid_is_space(text.u.string[*at]))
		(*at)++;
	*word = liquid_string(text.u.string + start, *at - start);
	return word->len > 0;
}
