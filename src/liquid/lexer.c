/*
 * lexer.c
 *		From source text to pieces, and from pieces to tokens.
 *
 * A tag ends at the first %} and an output at the first }}, even within quotes,
 * as in the reference.  Offsets are into the source, which is not copied; they
 * become lines and columns only when there is an error to report.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "liquid/lexer.h"

/* How much of an offending token an error shows. */
#define SHOWN_TOKEN	40

bool
liquid_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

int
liquid_line_of(const char *source, int pos)
{
	int			line = 1;

	for (int i = 0; i < pos; i++)
		line += source[i] == '\n';
	return line;
}

/* Counted in characters. */
int
liquid_column_of(const char *source, int pos)
{
	int			start = pos;

	while (start > 0 && source[start - 1] != '\n')
		start--;
	return pg_mbstrlen_with_len(source + start, pos - start) + 1;
}

/* The token as an error shows it: its first line, cut to some characters. */
static char *
shown(const char *source, int start, int end)
{
	int			len = pg_mbcliplen(source + start, end - start, SHOWN_TOKEN);
	char	   *text = pnstrdup(source + start, len);

	text[strcspn(text, "\r\n")] = '\0';
	for (len = strlen(text); len > 0 && liquid_is_space(text[len - 1]); len--)
		text[len - 1] = '\0';
	return text[0] ? psprintf("at \"%s\"", text) : "at the end of the tag";
}

void
liquid_syntax_error(const char *source, int start, int end, const char *hint, const char *fmt,...)
{
	va_list		args;
	StringInfoData message;
	int			needed;

	initStringInfo(&message);
	va_start(args, fmt);
	while ((needed = appendStringInfoVA(&message, fmt, args)) > 0)
	{
		va_end(args);
		enlargeStringInfo(&message, needed);
		va_start(args, fmt);
	}
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s", message.data),
			 errdetail("Line %d, column %d, %s.", liquid_line_of(source, start),
					   liquid_column_of(source, start), shown(source, start, end)),
			 hint ? errhint("%s", hint) : 0));
}

static LiquidPiece
piece(LiquidPieceKind kind, int start, int end)
{
	LiquidPiece p = {kind, start, end};

	return p;
}

/* Where "what" (two characters) next stands, or -1. */
static int
find(const LiquidLexer *lexer, int from, const char *what)
{
	for (int i = from; i + 1 < lexer->end; i++)
		if (lexer->source[i] == what[0] && lexer->source[i + 1] == what[1])
			return i;
	return -1;
}

static bool
opens_piece(const LiquidLexer *lexer, int i)
{
	return i + 1 < lexer->end && lexer->source[i] == '{' &&
		(lexer->source[i + 1] == '{' || lexer->source[i + 1] == '%');
}

static LiquidPiece
text_piece(LiquidLexer *lexer)
{
	int			start = lexer->pos;
	int			end = start;

	while (end < lexer->end && !opens_piece(lexer, end))
		end++;
	lexer->pos = end;
	while (lexer->trim && start < end && liquid_is_space(lexer->source[start]))
		start++;
	if (end + 2 < lexer->end && lexer->source[end + 2] == '-')
		while (end > start && liquid_is_space(lexer->source[end - 1]))
			end--;
	lexer->trim = false;
	return piece(PIECE_TEXT, start, end);
}

static LiquidPiece
delimited_piece(LiquidLexer *lexer)
{
	bool		tag = lexer->source[lexer->pos + 1] == '%';
	int			open = lexer->pos;
	int			start = open + 2;
	int			end = find(lexer, start, tag ? "%}" : "}}");

	if (end < 0)
		liquid_syntax_error(lexer->source, open, lexer->end,
							tag ? "A tag ends with %}." : "An output ends with }}.",
							tag ? "tag was not closed" : "output was not closed");
	lexer->pos = end + 2;
	if (start < end && lexer->source[start] == '-')
		start++;
	lexer->trim = end > open + 2 && lexer->source[end - 1] == '-';
	if (lexer->trim && end > start)
		end--;
	return piece(tag ? PIECE_TAG : PIECE_OUTPUT, start, end);
}

static LiquidPiece
line_piece(LiquidLexer *lexer)
{
	while (lexer->pos < lexer->end)
	{
		int			start = lexer->pos;
		int			end = start;

		while (end < lexer->end && lexer->source[end] != '\n')
			end++;
		lexer->pos = Min(end + 1, lexer->end);
		while (start < end && liquid_is_space(lexer->source[start]))
			start++;
		if (start < end)
			return piece(PIECE_TAG, start, end);
	}
	return piece(PIECE_END, lexer->end, lexer->end);
}

LiquidPiece
liquid_next_piece(LiquidLexer *lexer)
{
	if (lexer->lines)
		return line_piece(lexer);
	if (lexer->pos >= lexer->end)
		return piece(PIECE_END, lexer->end, lexer->end);
	if (opens_piece(lexer, lexer->pos))
		return delimited_piece(lexer);
	return text_piece(lexer);
}

/* The first word of [start, end). */
static bool
word_is(const char *source, int start, int end, const char *word)
{
	int			len = strlen(word);

	while (start < end && liquid_is_space(source[start]))
		start++;
	return end - start >= len && memcmp(source + start, word, len) == 0 &&
		(start + len == end || !(isalnum((unsigned char) source[start + len]) ||
								 source[start + len] == '_'));
}

static bool
names_word(const LiquidLexer *lexer, int start, int end, const char *const *names)
{
	while (*names && !word_is(lexer->source, start, end, *names))
		names++;
	return *names != NULL;
}

static LiquidPiece
next_line_of(LiquidLexer *lexer, const char *const *names, int *open)
{
	LiquidPiece line;

	do
		line = line_piece(lexer);
	while (line.kind != PIECE_END && !names_word(lexer, line.start, line.end, names));
	*open = line.start;
	return line;
}

/*
 * The next tag of one of these names (up to the NULL), passing over everything
 * else.  Its end is looked for only where a name fits, so that this is linear.
 */
static LiquidPiece
next_tag_of(LiquidLexer *lexer, const char *const *names, int *open)
{
	if (lexer->lines)
		return next_line_of(lexer, names, open);
	while ((*open = find(lexer, lexer->pos, "{%")) >= 0)
	{
		lexer->pos = *open + 2;
		if (lexer->pos < lexer->end && lexer->source[lexer->pos] == '-')
			lexer->pos++;
		if (!names_word(lexer, lexer->pos, lexer->end, names))
			continue;
		if (find(lexer, lexer->pos, "%}") < 0)
			break;
		lexer->pos = *open;
		return delimited_piece(lexer);
	}
	return piece(PIECE_END, lexer->end, lexer->end);
}

static void
not_ended(LiquidLexer *lexer, int open, const char *name)
{
	liquid_syntax_error(lexer->source, open, Min(open + SHOWN_TOKEN, lexer->end), NULL,
						"tag \"%s\" has no \"end%s\"", name, name);
}

LiquidPiece
liquid_skip_raw(LiquidLexer *lexer, const char *name, int open)
{
	const char *names[] = {psprintf("end%s", name), NULL};
	int			start = lexer->pos;
	int			at;

	if (next_tag_of(lexer, names, &at).kind == PIECE_END)
		not_ended(lexer, open, name);
	return piece(PIECE_TEXT, start, at);
}

void
liquid_skip_comment(LiquidLexer *lexer, int open)
{
	static const char *const names[] = {"comment", "endcomment", "raw", NULL};
	int			depth = 1;
	int			at;

	while (depth > 0)
	{
		LiquidPiece tag = next_tag_of(lexer, names, &at);

		if (tag.kind == PIECE_END)
			not_ended(lexer, open, "comment");
		if (word_is(lexer->source, tag.start, tag.end, "comment"))
			depth++;
		else if (word_is(lexer->source, tag.start, tag.end, "endcomment"))
			depth--;
		else if (!lexer->lines)
			(void) liquid_skip_raw(lexer, "raw", at);
	}
}

void
liquid_scan_start(LiquidScan *scan, const char *source, int start, int end)
{
	scan->source = source;
	scan->pos = start;
	scan->end = end;
	liquid_scan_next(scan);
}

static char
peek(const LiquidScan *scan, int ahead)
{
	return scan->pos + ahead < scan->end ? scan->source[scan->pos + ahead] : '\0';
}

static bool
starts_name(char c)
{
	return isalpha((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

static void
token(LiquidScan *scan, LiquidTokenKind kind, int len)
{
	scan->token.kind = kind;
	scan->token.start = scan->pos;
	scan->token.end = scan->pos + len;
	scan->pos += len;
}

static void
name_token(LiquidScan *scan)
{
	int			len = 1;

	while (starts_name(peek(scan, len)) || isdigit((unsigned char) peek(scan, len)) ||
		   peek(scan, len) == '-')
		len++;
	if (peek(scan, len) == '?')
		len++;
	token(scan, TOKEN_NAME, len);
}

static void
number_token(LiquidScan *scan)
{
	int			len = 1;
	LiquidTokenKind kind = TOKEN_INTEGER;

	while (isdigit((unsigned char) peek(scan, len)))
		len++;
	if (peek(scan, len) == '.' && isdigit((unsigned char) peek(scan, len + 1)))
	{
		kind = TOKEN_DECIMAL;
		for (len++; isdigit((unsigned char) peek(scan, len));)
			len++;
	}
	token(scan, kind, len);
}

static void
string_token(LiquidScan *scan)
{
	const char *start = scan->source + scan->pos + 1;
	const char *close = memchr(start, start[-1], scan->end - scan->pos - 1);

	if (close == NULL)
		liquid_syntax_error(scan->source, scan->pos, scan->end, NULL,
							"string was not closed");
	scan->pos++;
	token(scan, TOKEN_STRING, close - start);
	scan->pos++;
}

/* Comparisons and other marks; 0 characters when there is none. */
static int
mark_length(const LiquidScan *scan, LiquidTokenKind *kind)
{
	static const char marks[] = ".,:|=[]()";
	static const LiquidTokenKind kinds[] = {TOKEN_DOT, TOKEN_COMMA, TOKEN_COLON, TOKEN_PIPE,
		TOKEN_EQUALS, TOKEN_OPEN_SQUARE, TOKEN_CLOSE_SQUARE, TOKEN_OPEN_ROUND, TOKEN_CLOSE_ROUND};
	char		c = peek(scan, 0);
	char		d = peek(scan, 1);
	const char *found;

	*kind = TOKEN_COMPARISON;
	if (((c == '=' || c == '!' || c == '<' || c == '>') && d == '=') || (c == '<' && d == '>'))
		return 2;
	if (c == '<' || c == '>')
		return 1;
	*kind = TOKEN_DOTDOT;
	if (c == '.' && d == '.')
		return 2;
	found = c ? strchr(marks, c) : NULL;
	if (found == NULL)
		return 0;
	*kind = kinds[found - marks];
	return 1;
}

void
liquid_scan_next(LiquidScan *scan)
{
	char		c;
	LiquidTokenKind kind;
	int			len;

	while (scan->pos < scan->end && liquid_is_space(scan->source[scan->pos]))
		scan->pos++;
	c = peek(scan, 0);
	if (scan->pos >= scan->end)
		token(scan, TOKEN_END, 0);
	else if (starts_name(c))
		name_token(scan);
	else if (isdigit((unsigned char) c) || (c == '-' && isdigit((unsigned char) peek(scan, 1))))
		number_token(scan);
	else if (c == '\'' || c == '"')
		string_token(scan);
	else if ((len = mark_length(scan, &kind)) > 0)
		token(scan, kind, len);
	else
		liquid_syntax_error(scan->source, scan->pos, scan->pos + pg_mblen(scan->source + scan->pos),
							NULL, "unexpected character");
}
