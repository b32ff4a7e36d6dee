/*
 * filters_escape.c
 *		Filters between text and its encodings: HTML, URLs, base64, JSON.
 *
 * What has been escaped for HTML is marked safe, so that html format does not
 * escape it again; raw does nothing but set that mark.
 */
#include "postgres.h"

#include <ctype.h>

#include "mb/pg_wchar.h"

#include "liquid/base64.h"
#include "liquid/escape.h"
#include "liquid/filters.h"
#include "liquid/inspect.h"
#include "liquid/text.h"

static LiquidValue
finish(StringInfo buf)
{
	return liquid_string(buf->data, buf->len);
}

static LiquidValue
filter_raw(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	input = liquid_text(input);
	input.safe = true;
	return input;
}

static LiquidValue
filter_escape(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;

	initStringInfo(&buf);
	liquid_escape(&buf, text.u.string, text.len);
	text = finish(&buf);
	text.safe = true;
	return text;
}

/* The length of the entity at s, from & to ;, or 0. */
static int
entity_length(const char *s, int len)
{
	int			i = 1;

	if (len < 2 || s[0] != '&')
		return 0;
	if (s[1] == '#')
		for (i = 2; i < len && isdigit((unsigned char) s[i]);)
			i++;
	else
		while (i < len && isalpha((unsigned char) s[i]))
			i++;
	return i > (s[1] == '#' ? 2 : 1) && i < len && s[i] == ';' ? i + 1 : 0;
}

static LiquidValue
filter_escape_once(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < text.len;)
	{
		int			len = entity_length(text.u.string + i, text.len - i);

		if (len > 0)
			appendBinaryStringInfo(&buf, text.u.string + i, len);
		else
			liquid_escape(&buf, text.u.string + i, 1);
		i += Max(len, 1);
	}
	text = finish(&buf);
	text.safe = true;
	return text;
}

static LiquidValue
filter_url_encode(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < text.len; i++)
	{
		unsigned char c = text.u.string[i];

		if (c == ' ')
			appendStringInfoChar(&buf, '+');
		else if (c < 128 && (isalnum(c) || strchr("-._~", c)))
			appendStringInfoChar(&buf, c);
		else
			appendStringInfo(&buf, "%%%02X", c);
	}
	return finish(&buf);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = pg_ascii_tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes that came out of an encoding must be text, too. */
static LiquidValue
checked_text(StringInfo buf, const char *filter)
{
	if (!pg_verifymbstr(buf->data, buf->len, true))
		liquid_filter_error("filter \"%s\" gave bytes that are no text", filter);
	return finish(buf);
}

static LiquidValue
filter_url_decode(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < text.len; i++)
	{
		const char *s = text.u.string + i;

		if (*s == '%' && i + 2 < text.len && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0)
		{
			appendStringInfoChar(&buf, (char) (hex_digit(s[1]) * 16 + hex_digit(s[2])));
			i += 2;
		}
		else
			appendStringInfoChar(&buf, *s == '+' ? ' ' : *s);
	}
	return checked_text(&buf, "url_decode");
}

static LiquidValue
encode64(LiquidValue input, bool url)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;

	initStringInfo(&buf);
	liquid_base64_encode(&buf, text.u.string, text.len, url);
	return finish(&buf);
}

static LiquidValue
decode64(LiquidValue input, bool url, const char *filter)
{
	LiquidValue text = liquid_text(input);
	StringInfoData buf;

	initStringInfo(&buf);
	if (!liquid_base64_decode(&buf, text.u.string, text.len, url))
		liquid_filter_error("filter \"%s\" needs valid base64", filter);
	return checked_text(&buf, filter);
}

static LiquidValue
filter_base64_encode(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return encode64(input, false);
}

static LiquidValue
filter_base64_url_safe_encode(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return encode64(input, true);
}

static LiquidValue
filter_base64_decode(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return decode64(input, false, "base64_decode");
}

static LiquidValue
filter_base64_url_safe_decode(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	return decode64(input, true, "base64_url_safe_decode");
}

/* Where the first "close" at or after "from" ends, or -1. */
static int
end_of(LiquidValue text, int from, const char *close)
{
	int			at = liquid_find_text(text, from, liquid_cstring(close));

	return at < 0 ? -1 : at + (int) strlen(close);
}

/*
 * Leave out everything from "open" to the nearest "close".  Once no "close"
 * follows there is none for a later "open" either, so this is linear.
 */
static LiquidValue
without(LiquidValue text, const char *open, const char *close)
{
	LiquidValue mark = liquid_cstring(open);
	StringInfoData buf;
	int			done = 0;
	int			at;

	initStringInfo(&buf);
	while ((at = liquid_find_text(text, done, mark)) >= 0)
	{
		int			end = end_of(text, at + mark.len, close);

		if (end < 0)
			break;
		appendBinaryStringInfo(&buf, text.u.string + done, at - done);
		done = end;
	}
	appendBinaryStringInfo(&buf, text.u.string + done, text.len - done);
	return finish(&buf);
}

static LiquidValue
filter_strip_html(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	LiquidValue text = liquid_text(input);

	text = without(text, "<script", "</script>");
	text = without(text, "<!--", "-->");
	text = without(text, "<style", "</style>");
	return without(text, "<", ">");
}

static LiquidValue
filter_json(LiquidRender *r, LiquidValue input, const LiquidArguments *args)
{
	StringInfoData buf;

	initStringInfo(&buf);
	liquid_json(&buf, input);
	return finish(&buf);
}

const LiquidFilter liquid_escape_filters[] = {
	{"base64_decode", filter_base64_decode, 0, 0},
	{"base64_encode", filter_base64_encode, 0, 0},
	{"base64_url_safe_decode", filter_base64_url_safe_decode, 0, 0},
	{"base64_url_safe_encode", filter_base64_url_safe_encode, 0, 0},
	{"escape", filter_escape, 0, 0},
	{"escape_once", filter_escape_once, 0, 0},
	{"h", filter_escape, 0, 0},
	{"json", filter_json, 0, 0},
	{"raw", filter_raw, 0, 0},
	{"strip_html", filter_strip_html, 0, 0},
	{"url_decode", filter_url_decode, 0, 0},
	{"url_encode", filter_url_encode, 0, 0},
	{NULL}
};
