/*
 * filters_string.c
 *		Filters that make strings of strings.
 *
 * Lengths and positions are counted in characters.
 *
 * What only takes white space away, or puts two texts together, leaves safe what
 * was safe; of two texts of which one is, html format escapes the other.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "liquid/escape.h"
#include "liquid/filters.h"
#include "liquid/lexer.h"
#include "liquid/locale.h"
#include "liquid/number.h"
#include "liquid/text.h"

static LiquidValue
finish(StringInfo buf)
{
	return liquid_string(buf->data, buf->len);
}

static LiquidValue
join_two(LiquidValue a, LiquidValue b)
{
	char	   *s = palloc((Size) a.len + b.len + 1);

	memcpy(s, a.u.string, a.len);
	memcpy(s + a.len, b.u.string, b.len);
	return liquid_string(s, a.len + b.len);
}

/* As html format is to put it out. */
static LiquidValue
made_safe(LiquidRender *r, LiquidValue text)
{
	StringInfoData buf;

	if (text.safe || r->format != LIQUID_HTML)
		return text;
	initStringInfo(&buf);
	liquid_escape(&buf, text.u.string, text.len);
	text = finish(&buf);
	text.safe = true;
	return text;
}

static LiquidValue
put_together(LiquidRender *r, LiquidValue a, LiquidValue b)
{
	bool		safe = a.safe || b.safe;
	LiquidValue both = safe ? join_two(made_safe(r, a), made_safe(r, b)) : join_two(a, b);

	both.safe = safe;
	return both;
}

static LiquidValue
filter_append(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return put_together(r, liquid_text(input), liquid_text(args->values[0]));
}

static LiquidValue
filter_prepend(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return put_together(r, liquid_text(args->values[0]), liquid_text(input));
}

static LiquidValue
filter_upcase(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_upper(liquid_text(input));
}

static LiquidValue
filter_downcase(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return liquid_lower(liquid_text(input));
}

static LiquidValue
filter_capitalize(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	int			first = text.len > 0 ? pg_mblen(text.u.string) : 0;

	return join_two(liquid_upper(liquid_string(text.u.string, first)),
					liquid_lower(liquid_string(text.u.string + first, text.len - first)));
}

static LiquidValue
strip(LiquidValue text, bool left, bool right)
{
	LiquidValue stripped = liquid_strip(text, left, right);

	stripped.safe = text.safe;
	return stripped;
}

static LiquidValue
filter_strip(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return strip(liquid_text(input), true, true);
}

static LiquidValue
filter_lstrip(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return strip(liquid_text(input), true, false);
}

static LiquidValue
filter_rstrip(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return strip(liquid_text(input), false, true);
}

/* Words with one space between them. */
static LiquidValue
filter_squish(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;
	LiquidValue word;

	if (liquid_is_nil(input))
		return input;
	initStringInfo(&buf);
	for (int at = 0; liquid_next_word(text, &at, &word);)
	{
		if (buf.len > 0)
			appendStringInfoChar(&buf, ' ');
		appendBinaryStringInfo(&buf, word.u.string, word.len);
	}
	return finish(&buf);
}

/* Line ends, with or without a carriage return, become "by". */
static LiquidValue
replace_newlines(LiquidValue text, const char *by)
{
	StringInfoData buf;
	LiquidValue result;

	initStringInfo(&buf);
	for (int i = 0; i < text.len; i++)
	{
		const char *s = text.u.string + i;

		if (*s == '\r' && i + 1 < text.len && s[1] == '\n')
			continue;
		if (*s == '\n')
			appendStringInfoString(&buf, by);
		else
			appendStringInfoCharMacro(&buf, *s);
	}
	result = finish(&buf);
	result.safe = text.safe;
	return result;
}

/* What it puts in is markup, so the rest must be, too. */
static LiquidValue
filter_newline_to_br(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return replace_newlines(made_safe(r, liquid_text(input)), "<br />\n");
}

static LiquidValue
filter_strip_newlines(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return replace_newlines(liquid_text(input), "");
}

/* An empty pattern is found before every character and at the end. */
static LiquidValue
replace_all(LiquidRender *r, LiquidValue text, LiquidValue what, LiquidValue by)
{
	StringInfoData buf;
	int			done = 0;
	int			at;

	initStringInfo(&buf);
	while ((at = liquid_find_text(text, done, what)) >= 0)
	{
		appendBinaryStringInfo(&buf, text.u.string + done, at - done);
		appendBinaryStringInfo(&buf, by.u.string, by.len);
		done = at + what.len;
		if (what.len == 0 && done < text.len)
		{
			int			len = pg_mblen(text.u.string + done);

			appendBinaryStringInfo(&buf, text.u.string + done, len);
			done += len;
		}
		else if (what.len == 0)
			break;
		liquid_check_text(&buf);
	}
	appendBinaryStringInfo(&buf, text.u.string + done, text.len - done);
	return finish(&buf);
}

static LiquidValue
replace_at(LiquidValue text, int at, LiquidValue what, LiquidValue by)
{
	LiquidValue before = liquid_string(text.u.string, at);
	LiquidValue after;

	if (at < 0)
		return text;
	after = liquid_string(text.u.string + at + what.len, text.len - at - what.len);
	return join_two(join_two(before, by), after);
}

static LiquidValue
filter_replace(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return replace_all(r, liquid_text(input), liquid_text(args->values[0]),
					   liquid_text(liquid_argument(args, 1)));
}

static LiquidValue
filter_replace_first(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	LiquidValue what = liquid_text(args->values[0]);

	return replace_at(text, liquid_find_text(text, 0, what), what,
					  liquid_text(liquid_argument(args, 1)));
}

static LiquidValue
filter_replace_last(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	LiquidValue what = liquid_text(args->values[0]);

	return replace_at(text, liquid_find_last_text(text, what), what,
					  liquid_text(liquid_argument(args, 1)));
}

static LiquidValue
filter_slice(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	int64		from = liquid_need_int(args->values[0]);
	LiquidValue limit = liquid_argument(args, 1);
	int64		count = liquid_is_nil(limit) ? 1 : liquid_need_int(limit);
	bool		array = liquid_is_array(input);
	LiquidValue text = array ? input : liquid_text(input);
	int64		length = array ? liquid_count(input) :
		pg_mbstrlen_with_len(text.u.string, text.len);

	if (from < 0)
		from += length;
	if (from < 0 || from > length || count < 0)
		return array ? liquid_array(liquid_array_make(0)) : liquid_string("", 0);
	if (array)
		return liquid_array(liquid_items(input, from, count));
	return liquid_substring(text, from, count);
}

static LiquidValue
filter_truncate(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	int64		length = args->count > 0 ? liquid_need_int(args->values[0]) : 50;
	LiquidValue tail = args->count > 1 ? liquid_text(args->values[1]) : liquid_cstring("...");
	int64		keep = length - pg_mbstrlen_with_len(tail.u.string, tail.len);

	if (liquid_is_nil(input))
		return input;
	if (pg_mbstrlen_with_len(text.u.string, text.len) <= length)
		return text;
	return join_two(liquid_substring(text, 0, Max(keep, 0)), tail);
}

/* White space after the last word counts as one word more, as in the reference. */
static bool
ended_in_space(LiquidValue text)
{
	return text.len > 0 && liquid_is_space(text.u.string[text.len - 1]);
}

static LiquidValue
filter_truncatewords(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	int64		count = Max(args->count > 0 ? liquid_need_int(args->values[0]) : 15, 1);
	LiquidValue tail = args->count > 1 ? liquid_text(args->values[1]) : liquid_cstring("...");
	StringInfoData buf;
	LiquidValue word;
	int			at = 0;

	if (liquid_is_nil(input))
		return input;
	initStringInfo(&buf);
	for (int64 i = 0; liquid_next_word(text, &at, &word) || (i == count && ended_in_space(text)); i++)
	{
		if (i == count)
			return join_two(finish(&buf), tail);
		if (i > 0)
			appendStringInfoChar(&buf, ' ');
		appendBinaryStringInfo(&buf, word.u.string, word.len);
	}
	return text;
}

static void
split_words(LiquidArray *parts, LiquidValue text)
{
	LiquidValue word;
	int			at = 0;

	while (liquid_next_word(text, &at, &word))
		liquid_array_add(parts, word);
}

static void
split_characters(LiquidArray *parts, LiquidValue text)
{
	for (int at = 0, len; at < text.len; at += len)
	{
		len = pg_mblen(text.u.string + at);
		liquid_array_add(parts, liquid_string(text.u.string + at, len));
	}
}

/* Empty parts at the end are left out. */
static void
split_at(LiquidArray *parts, LiquidValue text, LiquidValue mark)
{
	int			done = 0;
	int			at;

	while ((at = liquid_find_text(text, done, mark)) >= 0)
	{
		liquid_array_add(parts, liquid_string(text.u.string + done, at - done));
		done = at + mark.len;
	}
	liquid_array_add(parts, liquid_string(text.u.string + done, text.len - done));
	while (parts->count > 0 && parts->items[parts->count - 1].len == 0)
		parts->count--;
}

static LiquidValue
filter_split(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	LiquidValue mark = liquid_text(args->values[0]);
	LiquidArray *parts = liquid_array_make(8);

	if (mark.len == 1 && mark.u.string[0] == ' ')
		split_words(parts, text);
	else if (mark.len == 0)
		split_characters(parts, text);
	else
		split_at(parts, text, mark);
	liquid_charge(r, parts->count * sizeof(LiquidValue));
	return liquid_array(parts);
}

const LiquidFilter liquid_string_filters[] = {
	{"append", filter_append, 1, 1},
	{"capitalize", filter_capitalize, 0, 0},
	{"downcase", filter_downcase, 0, 0},
	{"lstrip", filter_lstrip, 0, 0},
	{"newline_to_br", filter_newline_to_br, 0, 0},
	{"prepend", filter_prepend, 1, 1},
	{"remove", filter_replace, 1, 1},
	{"remove_first", filter_replace_first, 1, 1},
	{"remove_last", filter_replace_last, 1, 1},
	{"replace", filter_replace, 1, 2},
	{"replace_first", filter_replace_first, 1, 2},
	{"replace_last", filter_replace_last, 2, 2},
	{"rstrip", filter_rstrip, 0, 0},
	{"slice", filter_slice, 1, 2},
	{"split", filter_split, 1, 1},
	{"squish", filter_squish, 0, 0},
	{"strip", filter_strip, 0, 0},
	{"strip_newlines", filter_strip_newlines, 0, 0},
	{"truncate", filter_truncate, 0, 2},
	{"truncatewords", filter_truncatewords, 0, 2},
	{"upcase", filter_upcase, 0, 0},
	{NULL}
};
