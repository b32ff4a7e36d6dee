/*
 * html.c
 *		The readable text of an HTML page, for mail that has no text of its own.
 *
 * One pass over the source: white space becomes one blank, elements that make
 * a block break the line, links are followed by their target in brackets, what
 * is not shown (style, script, head) is left out, character references become
 * characters.  Anything malformed is text.
 */
#include "postgres.h"

#include "channel/mime.h"
#include "mb/pg_wchar.h"

typedef struct HtmlText
{
	StringInfoData out;
	bool		blank;			/* a blank is due before the next character */
	int			breaks;			/* line breaks at the end of out */
	char	   *link;			/* target of the link we are in, or NULL */
	int			link_start;		/* where its text begins */
} HtmlText;

static void
put(HtmlText *text, const char *bytes, int length)
{
	if (text->blank && text->out.len > 0 && text->breaks == 0)
		appendStringInfoChar(&text->out, ' ');
	text->blank = false;
	text->breaks = 0;
	appendBinaryStringInfo(&text->out, bytes, length);
}

/* See that at least count line breaks stand here; none at the beginning */
static void
break_line(HtmlText *text, int count)
{
	text->blank = false;
	while (text->out.len > 0 && text->breaks < count)
	{
		appendStringInfoChar(&text->out, '\n');
		text->breaks++;
	}
}

typedef struct HtmlReference
{
	const char *name;
	const char *character;
} HtmlReference;

static const char *
named_reference(const char *name, int length)
{
	static const HtmlReference references[] = {
		{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"},
		{"nbsp", " "}, {"copy", "\xc2\xa9"}, {"reg", "\xc2\xae"},
		{"euro", "\xe2\x82\xac"}, {"pound", "\xc2\xa3"}, {"yen", "\xc2\xa5"},
		{"ndash", "\xe2\x80\x93"}, {"mdash", "\xe2\x80\x94"},
		{"hellip", "\xe2\x80\xa6"}, {"bull", "\xe2\x80\xa2"},
		{"lsquo", "\xe2\x80\x98"}, {"rsquo", "\xe2\x80\x99"},
		{"ldquo", "\xe2\x80\x9c"}, {"rdquo", "\xe2\x80\x9d"},
		{"times", "\xc3\x97"}, {"rarr", "\xe2\x86\x92"}
	};
	size_t		i;

	for (i = 0; i < lengthof(references); i++)
		if (strlen(references[i].name) == length &&
			strncmp(references[i].name, name, length) == 0)
			return references[i].character;
	return NULL;
}

/* The character "#65" or "#x41" stands for; false if it is none we can show */
static bool
numbered_reference(const char *digits, int length, char *bytes)
{
	bool		is_hex = length > 1 && (digits[1] == 'x' || digits[1] == 'X');
	char	   *end;
	unsigned long code = strtoul(digits + (is_hex ? 2 : 1), &end, is_hex ? 16 : 10);

	if (end != digits + length || code < ' ' || (code >= 0x7f && code < 0xa0) ||
		code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return false;
	memset(bytes, 0, MAX_MULTIBYTE_CHAR_LEN + 1);
	unicode_to_utf8((pg_wchar) code, (unsigned char *) bytes);
	return true;
}

/* At an ampersand: put what it stands for, return where to go on */
static const char *
put_reference(HtmlText *text, const char *at)
{
	int			length = strcspn(at + 1, "; &<\n");
	const char *character = NULL;
	char		bytes[MAX_MULTIBYTE_CHAR_LEN + 1];

	if (at[1 + length] == ';' && length > 1 && length <= 8)
	{
		if (at[1] != '#')
			character = named_reference(at + 1, length);
		else if (numbered_reference(at + 1, length, bytes))
			character = bytes;
	}
	if (character == NULL)
	{
		put(text, "&", 1);
		return at + 1;
	}
	put(text, character, strlen(character));
	return at + length + 2;
}

static bool
is_one_of(const char *name, int length, const char *const *names, int count)
{
	int			i;

	for (i = 0; i < count; i++)
		if (strlen(names[i]) == length && pg_strncasecmp(names[i], name, length) == 0)
			return true;
	return false;
}

/* Where the tag that begins at '<' ends, quotes respected; NULL if nowhere */
static const char *
tag_end(const char *at)
{
	char		quote = '\0';

	for (; *at; at++)
	{
		if (quote)
			quote = *at == quote ? '\0' : quote;
		else if (*at == '"' || *at == '\'')
			quote = *at;
		else if (*at == '>')
			return at;
	}
	return NULL;
}

/* The value of href in a tag, or NULL; only targets a reader can use */
static char *
link_target(const char *tag, const char *end)
{
	const char *at;

	for (at = tag; at + 6 < end; at++)
	{
		char		quote = at[6];
		const char *value = at + 7;
		const char *stop;

		if (pg_strncasecmp(at, " href=", 6) != 0 || (quote != '"' && quote != '\''))
			continue;
		stop = memchr(value, quote, end - value);
		if (stop == NULL || (pg_strncasecmp(value, "http", 4) != 0 &&
							 pg_strncasecmp(value, "mailto:", 7) != 0))
			return NULL;
		return pnstrdup(value, stop - value);
	}
	return NULL;
}

static void
put_text(HtmlText *text, const char *at)
{
	while (*at)
	{
		if (*at == '&')
			at = put_reference(text, at);
		else
			put(text, at++, 1);
	}
}

static void
end_link(HtmlText *text)
{
	char	   *link = text->link;

	if (link == NULL)
		return;
	text->link = NULL;
	if (strcmp(text->out.data + text->link_start, link) != 0)
	{
		text->blank = text->out.len > text->link_start;
		put(text, "(", 1);
		put_text(text, link);
		put(text, ")", 1);
	}
	pfree(link);
}

/* At a tag that is shown as a break, a mark or a link */
static void
put_tag(HtmlText *text, const char *name, int length, bool closing, const char *end)
{
	static const char *const paragraphs[] = {
		"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre"
	};
	static const char *const lines[] = {
		"div", "tr", "li", "section", "article", "header", "footer", "hr", "dt", "dd", "body"
	};
	static const char *const cells[] = {"td", "th"};

	if (is_one_of(name, length, paragraphs, lengthof(paragraphs)))
		break_line(text, 2);
	else if (is_one_of(name, length, lines, lengthof(lines)))
		break_line(text, 1);
	else if (is_one_of(name, length, cells, lengthof(cells)))
		text->blank = true;
	else if (length == 2 && pg_strncasecmp(name, "br", 2) == 0)
		break_line(text, text->breaks + 1);
	if (length == 2 && pg_strncasecmp(name, "li", 2) == 0 && !closing)
		put(text, "- ", 2);
	if (length == 1 && (*name == 'a' || *name == 'A'))
	{
		end_link(text);
		text->link = closing ? NULL : link_target(name, end);
		text->link_start = text->out.len + (text->blank && text->breaks == 0 ? 1 : 0);
	}
}

/* Past the end of an element whose content is not shown */
static const char *
skip_element(const char *at, const char *name, int length)
{
	for (; *at; at++)
		if (at[0] == '<' && at[1] == '/' && pg_strncasecmp(at + 2, name, length) == 0)
		{
			const char *end = tag_end(at);

			return end ? end + 1 : at + strlen(at);
		}
	return at;
}

/* At '<': deal with a tag or comment, return where to go on */
static const char *
take_markup(HtmlText *text, const char *at)
{
	static const char *const hidden[] = {"head", "style", "script", "title"};
	bool		closing = at[1] == '/';
	const char *name = at + (closing ? 2 : 1);
	int			length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	const char *end;

	if (strncmp(at, "<!--", 4) == 0)
	{
		end = strstr(at + 4, "-->");
		return end ? end + 3 : at + strlen(at);
	}
	end = length > 0 || at[1] == '!' ? tag_end(at) : NULL;
	if (end == NULL)
	{
		put(text, "<", 1);
		return at + 1;
	}
	if (!closing && is_one_of(name, length, hidden, lengthof(hidden)))
		return skip_element(end + 1, name, length);
	put_tag(text, name, length, closing, end);
	return end + 1;
}

char *
html_to_text(const char *html)
{
	HtmlText	text = {{0}};

	initStringInfo(&text.out);
	while (*html)
	{
		if (*html == '<')
			html = take_markup(&text, html);
		else if (*html == '&')
			html = put_reference(&text, html);
		else if (strchr(" \t\r\n\f", *html))
		{
			text.blank = true;
			html++;
		}
		else
			put(&text, html++, 1);
	}
	end_link(&text);
	while (text.out.len > 0 && text.out.data[text.out.len - 1] == '\n')
		text.out.data[--text.out.len] = '\0';
	return text.out.data;
}
