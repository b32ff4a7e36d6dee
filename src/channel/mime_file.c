/*
 * mime_file.c
 *		Files as parts of a message: RFC 2045, 2183, 2231, 2392.
 *
 * Always base64, whatever the type, so nothing on the way alters them.  A file
 * name in plain ASCII stands as a quoted string; any other as RFC 2231 has it,
 * in numbered pieces that no line is longer for.
 */
#include "postgres.h"

#include "channel/mime.h"
#include "mb/pg_wchar.h"

#define NAME_PLAIN	50			/* characters of a file name that go on one line */
#define PIECE		55			/* characters of one piece of a longer one */

/* A control character would begin another header, or end the part. */
void
mime_check_file(const LetterFile *file)
{
	mime_refuse_controls("attachment's file name", file->filename);
	mime_refuse_controls("attachment's type", file->type);
	mime_refuse_controls("attachment's cid", file->cid ? file->cid : "");
}

static bool
is_plain_name(const char *name)
{
	const char *at;

	for (at = name; *at; at++)
		if (*at < ' ' || *at > '~')
			return false;
	return at - name <= NAME_PLAIN;
}

/* attribute-char of RFC 2231 */
static bool
stands_for_itself(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c != '\0' && strchr("!#$&+-.^_`{}~", c) != NULL);
}

static int
encoded_width(const char *character, int length)
{
	int			width = 0;
	int			i;

	for (i = 0; i < length; i++)
		width += stands_for_itself(character[i]) ? 1 : 3;
	return width;
}

static void
append_encoded(StringInfo out, const char *character, int length)
{
	int			i;

	for (i = 0; i < length; i++)
	{
		unsigned char c = character[i];

		if (stands_for_itself(c))
			appendStringInfoChar(out, c);
		else
			appendStringInfo(out, "%%%02X", c);
	}
}

/* filename*0*=UTF-8''...; filename*1*=..., each of whole characters */
static void
append_long_name(StringInfo out, const char *name)
{
	int			piece = 0;
	int			width = PIECE;

	while (*name)
	{
		int			length = pg_encoding_mblen(PG_UTF8, name);
		int			needed = encoded_width(name, length);

		if (width + needed > PIECE)
		{
			appendStringInfo(out, ";\r\n filename*%d*=%s", piece, piece == 0 ? "UTF-8''" : "");
			piece++;
			width = 0;
		}
		append_encoded(out, name, length);
		width += needed;
		name += length;
	}
}

static void
append_disposition(StringInfo out, const LetterFile *file)
{
	appendStringInfo(out, "Content-Disposition: %s", file->cid ? "inline" : "attachment");
	if (is_plain_name(file->filename))
	{
		appendStringInfoString(out, ";\r\n filename=");
		mime_append_quoted(out, file->filename);
	}
	else
		append_long_name(out, file->filename);
	appendStringInfoString(out, "\r\n");
}

void
mime_append_file(StringInfo out, const LetterFile *file)
{
	appendStringInfo(out, "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\n", file->type);
	append_disposition(out, file);
	if (file->cid)
		appendStringInfo(out, "Content-ID: <%s>\r\n", file->cid);
	appendStringInfoString(out, "\r\n");
	mime_append_base64(out, file->data, file->length);
}
