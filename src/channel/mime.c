/*
 * mime.c
 *		Internet messages: RFC 5322, 2045, 2046, 2047, 2387.
 *
 * A message has one part, or text and HTML as alternatives; when only HTML is
 * given, the text is made from it.  Files that the HTML shows are related to it
 * (multipart/related within the alternative); others follow it all
 * (multipart/mixed around it); mime_file.c writes them.  Whatever goes in, ASCII with CRLF line ends
 * comes out, no line longer than 76 characters save for header words that
 * cannot be broken.  A body goes as it is when it already looks like that,
 * else as quoted-printable or base64, whichever is shorter.  The same message
 * and date always give the same bytes.
 *
 * Dots at the beginning of a line are doubled by libcurl, not here.
 */
#include "postgres.h"

#include "channel/classify.h"
#include "channel/mime.h"
#include "channel/sign.h"
#include "mb/pg_wchar.h"

#define LINE_MAX_SOFT 76
#define WORD_FRAME 12			/* "=?UTF-8?B?" and "?=" */
#define WORD_MAX 75

typedef enum MimeEncoding
{
	MIME_7BIT,
	MIME_QUOTED,
	MIME_BASE64
} MimeEncoding;

static const char hex[] = "0123456789ABCDEF";

/*
 * Header fields
 */

void
mime_refuse_controls(const char *field, const char *text)
{
	const char *at;

	for (at = text; *at; at++)
		if (((unsigned char) *at < ' ' && *at != '\t') || *at == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the %s of a message contains a control character", field),
					 errdetail("Character %d has code %d.", (int) (at - text) + 1, *at),
					 *at == '\n' || *at == '\r' ?
					 errhint("A line break would begin another header; take it out of the template.") : 0));
}

/* Characters that stand for themselves in an encoded word, wherever it is */
static bool
is_word_safe(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z') || (c != '\0' && strchr("!*+-/", c) != NULL);
}

static int
q_width(unsigned char c)
{
	return is_word_safe(c) || c == ' ' ? 1 : 3;
}

static bool
q_is_shorter(const char *text)
{
	size_t		width = 0;
	const char *at;

	for (at = text; *at; at++)
		width += q_width(*at);
	return width <= (strlen(text) + 2) / 3 * 4;
}

static int
character_width(const char *at, bool q)
{
	int			length = pg_encoding_mblen(PG_UTF8, at);
	int			width = 0;
	int			i;

	if (!q)
		return length;
	for (i = 0; i < length; i++)
		width += q_width(at[i]);
	return width;
}

/* How many bytes of text, whole characters, fit into room characters */
static int
fitting(const char *text, int room, bool q)
{
	int			limit = q ? room : room / 4 * 3;
	int			length = 0;

	while (text[length])
	{
		limit -= character_width(text + length, q);
		if (limit < 0)
			break;
		length += pg_encoding_mblen(PG_UTF8, text + length);
	}
	return length;
}

static void
append_q(StringInfo out, const char *text, int length)
{
	int			i;

	for (i = 0; i < length; i++)
	{
		unsigned char c = text[i];

		if (c == ' ')
			appendStringInfoChar(out, '_');
		else if (is_word_safe(c))
			appendStringInfoChar(out, c);
		else
			appendStringInfo(out, "=%c%c", hex[c >> 4], hex[c & 15]);
	}
}

static int
column_of(const StringInfo out)
{
	int			at = out->len;

	while (at > 0 && out->data[at - 1] != '\n')
		at--;
	return out->len - at;
}

/* Encoded words, folded; each holds whole characters */
static void
append_words(StringInfo out, const char *text)
{
	bool		q = q_is_shorter(text);
	bool		first = true;

	while (*text)
	{
		int			room = Min(WORD_MAX, LINE_MAX_SOFT - column_of(out)) - WORD_FRAME;
		int			length = first ? fitting(text, room, q) : 0;

		if (length == 0)
		{
			appendStringInfoString(out, "\r\n ");
			length = fitting(text, WORD_MAX - WORD_FRAME, q);
		}
		first = false;
		appendStringInfo(out, "=?UTF-8?%c?", q ? 'Q' : 'B');
		if (q)
			append_q(out, text, length);
		else
			appendStringInfoString(out, sign_base64((const uint8 *) text, length));
		appendStringInfoString(out, "?=");
		text += length;
	}
}

/* Can it stand in a header as it is, given folding at single blanks? */
static bool
is_plain(const char *text)
{
	int			word = 0;
	const char *at;

	if (*text == ' ' || strstr(text, "=?") != NULL || strstr(text, "  ") != NULL)
		return false;
	for (at = text; *at; at++)
	{
		if (*at < ' ' || *at > '~')
			return false;
		word = *at == ' ' ? 0 : word + 1;
		if (word > 60)
			return false;
	}
	return at == text || at[-1] != ' ';
}

static void
append_folded(StringInfo out, const char *text)
{
	while (*text)
	{
		int			length = strcspn(text + 1, " ") + 1;

		if (*text == ' ' && column_of(out) + length > LINE_MAX_SOFT)
			appendStringInfoString(out, "\r\n");
		appendBinaryStringInfo(out, text, length);
		text += length;
	}
}

static void
append_unstructured(StringInfo out, const char *name, const char *text)
{
	appendStringInfo(out, "%s: ", name);
	if (is_plain(text))
		append_folded(out, text);
	else
		append_words(out, text);
	appendStringInfoString(out, "\r\n");
}

void
mime_append_quoted(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *text);
	}
	appendStringInfoChar(out, '"');
}

static bool
is_phrase(const char *name)
{
	const char *at;

	for (at = name; *at; at++)
		if (*at != ' ' && !is_word_safe(*at))
			return false;
	return is_plain(name);
}

static void
append_mailbox(StringInfo out, const char *field, const char *name, const char *address)
{
	appendStringInfo(out, "%s: ", field);
	if (name && *name)
	{
		if (is_phrase(name))
			append_folded(out, name);
		else if (is_plain(name) && strlen(name) < 60)
			mime_append_quoted(out, name);
		else
			append_words(out, name);
		if (column_of(out) + strlen(address) + 3 > LINE_MAX_SOFT)
			appendStringInfoString(out, "\r\n");
		appendStringInfo(out, " <%s>", address);
	}
	else
		appendStringInfoString(out, address);
	appendStringInfoString(out, "\r\n");
}

static void
append_date(StringInfo out, time_t date)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun",
		"Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
	};
	struct tm	tm;

	gmtime_r(&date, &tm);
	appendStringInfo(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n",
					 days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
					 tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/*
 * Bodies
 */

/* Every line end as CRLF, the last line ended too */
static void
canonical_lines(StringInfo out, const char *text)
{
	initStringInfo(out);
	while (*text)
	{
		int			length = strcspn(text, "\r\n");

		appendBinaryStringInfo(out, text, length);
		text += length;
		if (*text == '\r' && text[1] == '\n')
			text++;
		if (*text)
			text++;
		appendStringInfoString(out, "\r\n");
	}
}

/* May a line go as it is?  Mail software alters some. */
static bool
is_bare_line(const char *line, int length)
{
	int			i;

	for (i = 0; i < length; i++)
		if ((line[i] < ' ' && line[i] != '\t') || line[i] > '~')
			return false;
	return length <= LINE_MAX_SOFT &&
		(length == 0 || (line[length - 1] != ' ' && line[length - 1] != '\t')) &&
		strncmp(line, "From ", 5) != 0;
}

static bool
is_bare(const StringInfo lines)
{
	const char *line = lines->data;

	while (*line)
	{
		int			length = strcspn(line, "\r");

		if (!is_bare_line(line, length))
			return false;
		line += length + 2;
	}
	return true;
}

/* Must this character of a line be written as =XX ? */
static bool
must_quote(const char *line, int at, int length)
{
	unsigned char c = line[at];

	if (c == ' ' || c == '\t')
		return at == length - 1;
	if (at == 0 && c == 'F' && length >= 5 && memcmp(line, "From ", 5) == 0)
		return true;
	return c < '!' || c > '~' || c == '=';
}

static void
append_quoted_line(StringInfo out, const char *line, int length)
{
	int			column = 0;
	int			i;

	for (i = 0; i < length; i++)
	{
		unsigned char c = line[i];
		bool		quote = must_quote(line, i, length);
		int			width = quote ? 3 : 1;

		if (column + width > LINE_MAX_SOFT - (i < length - 1 ? 1 : 0))
		{
			appendStringInfoString(out, "=\r\n");
			column = 0;
		}
		if (quote)
			appendStringInfo(out, "=%c%c", hex[c >> 4], hex[c & 15]);
		else
			appendStringInfoChar(out, c);
		column += width;
	}
	appendStringInfoString(out, "\r\n");
}

static void
append_quoted_printable(StringInfo out, const StringInfo lines)
{
	const char *line = lines->data;

	while (*line)
	{
		int			length = strcspn(line, "\r");

		append_quoted_line(out, line, length);
		line += length + 2;
	}
}

void
mime_append_base64(StringInfo out, const uint8 *data, size_t length)
{
	char	   *text = sign_base64(data, length);
	int			left = strlen(text);
	const char *at = text;

	enlargeStringInfo(out, left + left / LINE_MAX_SOFT * 2 + 2);
	while (left > 0)
	{
		int			taken = Min(left, LINE_MAX_SOFT);

		appendBinaryStringInfo(out, at, taken);
		appendStringInfoString(out, "\r\n");
		at += taken;
		left -= taken;
	}
	pfree(text);
}

static MimeEncoding
choose_encoding(const StringInfo lines)
{
	int			quoted = 0;
	int			i;

	if (is_bare(lines))
		return MIME_7BIT;
	for (i = 0; i < lines->len; i++)
		if ((unsigned char) lines->data[i] >= 0x80 || lines->data[i] == '=')
			quoted++;
	/* quoted-printable takes two more bytes for each, base64 a third of all */
	return quoted * 2 > lines->len / 3 ? MIME_BASE64 : MIME_QUOTED;
}

/* One part: its headers, an empty line, its body */
static void
append_part(StringInfo out, const char *type, const char *text)
{
	static const char *const names[] = {"7bit", "quoted-printable", "base64"};
	StringInfoData lines;
	MimeEncoding encoding;

	canonical_lines(&lines, text);
	encoding = choose_encoding(&lines);
	appendStringInfo(out, "Content-Type: %s; charset=%s\r\n"
					 "Content-Transfer-Encoding: %s\r\n\r\n",
					 type, encoding == MIME_7BIT ? "us-ascii" : "UTF-8", names[encoding]);
	if (encoding == MIME_BASE64)
		mime_append_base64(out, (const uint8 *) lines.data, lines.len);
	else if (encoding == MIME_QUOTED)
		append_quoted_printable(out, &lines);
	else
		appendBinaryStringInfo(out, lines.data, lines.len);
	pfree(lines.data);
}

/* The words of a message, as parts; html is empty where there is none. */
typedef struct Words
{
	StringInfoData text;
	StringInfoData html;
} Words;

static void
make_words(Words *words, const MimeMessage *message)
{
	initStringInfo(&words->text);
	initStringInfo(&words->html);
	if (message->html)
		append_part(&words->html, "text/html", message->html);
	if (message->text || !message->html)
		append_part(&words->text, "text/plain", message->text ? message->text : "");
	else
		append_part(&words->text, "text/plain", html_to_text(message->html));
}

/* A line that occurs in neither part; files are base64, which has no "_". */
static char *
choose_boundary(const MimeMessage *message, const Words *words, const char *kind)
{
	int			i;

	for (i = 0;; i++)
	{
		char	   *boundary = psprintf("=_%s_" INT64_FORMAT "_%d", kind, message->message, i);

		if (strstr(words->text.data, boundary) == NULL && strstr(words->html.data, boundary) == NULL)
			return boundary;
		pfree(boundary);
	}
}

static bool
has_files(const MimeMessage *message, bool shown)
{
	int			i;

	for (i = 0; i < message->file_count; i++)
		if ((message->files[i].cid != NULL) == shown)
			return true;
	return false;
}

/* Those the HTML shows, or the others, and the end of what they belong to */
static void
append_files(StringInfo out, const MimeMessage *message, bool shown, const char *boundary)
{
	int			i;

	for (i = 0; i < message->file_count; i++)
	{
		if ((message->files[i].cid != NULL) != shown)
			continue;
		appendStringInfo(out, "\r\n--%s\r\n", boundary);
		mime_append_file(out, &message->files[i]);
	}
	appendStringInfo(out, "\r\n--%s--\r\n", boundary);
}

/* The HTML with what it shows */
static void
append_html(StringInfo out, const MimeMessage *message, const Words *words)
{
	char	   *boundary;

	if (!has_files(message, true))
	{
		appendBinaryStringInfo(out, words->html.data, words->html.len);
		return;
	}
	boundary = choose_boundary(message, words, "related");
	appendStringInfo(out, "Content-Type: multipart/related; type=\"text/html\";\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
					 boundary, boundary);
	appendBinaryStringInfo(out, words->html.data, words->html.len);
	append_files(out, message, true, boundary);
}

/* Text, or text and HTML as alternatives */
static void
append_words_of(StringInfo out, const MimeMessage *message, const Words *words)
{
	char	   *boundary;

	if (words->html.len == 0)
	{
		appendBinaryStringInfo(out, words->text.data, words->text.len);
		return;
	}
	boundary = choose_boundary(message, words, "notify");
	appendStringInfo(out, "Content-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
					 boundary, boundary);
	appendBinaryStringInfo(out, words->text.data, words->text.len);
	appendStringInfo(out, "\r\n--%s\r\n", boundary);
	append_html(out, message, words);
	appendStringInfo(out, "\r\n--%s--\r\n", boundary);
}

static void
append_content(StringInfo out, const MimeMessage *message)
{
	Words		words;
	char	   *boundary;

	make_words(&words, message);
	if (!has_files(message, false))
		append_words_of(out, message, &words);
	else
	{
		boundary = choose_boundary(message, &words, "mixed");
		appendStringInfo(out, "Content-Type: multipart/mixed;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
						 boundary, boundary);
		append_words_of(out, message, &words);
		append_files(out, message, false, boundary);
	}
	pfree(words.text.data);
	pfree(words.html.data);
}

static void
append_headers(StringInfo out, const MimeMessage *message)
{
	append_date(out, message->date);
	append_mailbox(out, "From", message->from_name, message->from_address);
	append_mailbox(out, "To", NULL, message->to_address);
	if (message->reply_to_address)
		append_mailbox(out, "Reply-To", message->reply_to_name, message->reply_to_address);
	if (message->subject && *message->subject)
		append_unstructured(out, "Subject", message->subject);
	if (message->unsubscribe_url)
		appendStringInfo(out, "List-Unsubscribe:\r\n <%s>\r\n"
						 "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", message->unsubscribe_url);
	appendStringInfo(out, "Message-ID: <" INT64_FORMAT "." INT64_FORMAT "%s>\r\n",
					 message->message, message->event, strrchr(message->from_address, '@'));
	appendStringInfoString(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
}

void
mime_build(const MimeMessage *message, StringInfo out)
{
	int			i;

	mime_refuse_controls("subject", message->subject ? message->subject : "");
	mime_refuse_controls("sender's name", message->from_name ? message->from_name : "");
	mime_refuse_controls("reply-to name", message->reply_to_name ? message->reply_to_name : "");
	for (i = 0; i < message->file_count; i++)
		mime_check_file(&message->files[i]);
	append_headers(out, message);
	append_content(out, message);
}
