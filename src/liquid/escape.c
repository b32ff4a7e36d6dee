/*
 * escape.c
 *		Text made safe for HTML, within elements and within quoted attributes.
 */
#include "postgres.h"

#include "liquid/escape.h"

static const char *
entity(char c)
{
	switch (c)
	{
		case '&':
			return "&amp;";
		case '<':
			return "&lt;";
		case '>':
			return "&gt;";
		case '"':
			return "&quot;";
		case '\'':
			return "&#39;";
		default:
			return NULL;
	}
}

void
liquid_escape(StringInfo out, const char *text, int len)
{
	int			done = 0;

	for (int i = 0; i < len; i++)
	{
		const char *e = entity(text[i]);

		if (e == NULL)
			continue;
		appendBinaryStringInfo(out, text + done, i - done);
		appendStringInfoString(out, e);
		done = i + 1;
	}
	appendBinaryStringInfo(out, text + done, len - done);
}
