/*
 * text.c
 *		Searching and cutting strings.
 *
 * Results point into what they were cut from.  Searching goes byte by byte and
 * checks that a match starts at a character where the encoding needs that.
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

/*
 * Where a match may start next.  UTF-8 shows by itself where characters start;
 * in other encodings one may seem to stand within the bytes of two.
 */
static int
next_start(LiquidValue text, int at)
{
	if (GetDatabaseEncoding() == PG_UTF8)
		return at + 1;
	return at + pg_mblen(text.u.string + at);
}

/* True when a match of bytes is one of characters. */
static bool
bytes_suffice(void)
{
	return GetDatabaseEncoding() == PG_UTF8 || pg_database_encoding_max_length() == 1;
}

int
liquid_find_text(LiquidValue text, int from, LiquidValue what)
{
	const char *found;

	if (bytes_suffice())
	{
		found = memmem(text.u.string + from, text.len - from, what.u.string, what.len);
		return found ? found - text.u.string : -1;
	}
	for (int at = from; at + what.len <= text.len; at = next_start(text, at))
	{
		CHECK_FOR_INTERRUPTS();
		if (memcmp(text.u.string + at, what.u.string, what.len) == 0)
			return at;
		if (at >= text.len)
			return -1;
	}
	return -1;
}

int
liquid_find_last_text(LiquidValue text, LiquidValue what)
{
	int			last = -1;
	int			at = 0;

	if (what.len == 0)
		return text.len;
	if (bytes_suffice())
	{
		for (at = text.len - what.len; at >= 0; at--)
		{
			CHECK_FOR_INTERRUPTS();
			if (memcmp(text.u.string + at, what.u.string, what.len) == 0)
				return at;
		}
		return -1;
	}
	while ((at = liquid_find_text(text, at, what)) >= 0)
	{
		last = at;
		at = next_start(text, at);
	}
	return last;
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
