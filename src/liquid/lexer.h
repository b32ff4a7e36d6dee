/*
 * lexer.h
 *		From source text to pieces: text, outputs and tags, and within those to
 *		the tokens of expressions.
 */
#ifndef NOTIFY_LIQUID_LEXER_H
#define NOTIFY_LIQUID_LEXER_H

#include "postgres.h"

#include "compat.h"

typedef enum LiquidPieceKind
{
	PIECE_END,
	PIECE_TEXT,
	PIECE_OUTPUT,				/* between {{ and }} */
	PIECE_TAG					/* between {% and %}, or a line of {% liquid %} */
} LiquidPieceKind;

/* Offsets into the source; delimiters and trim marks are left out. */
typedef struct LiquidPiece
{
	LiquidPieceKind kind;
	int			start;
	int			end;
} LiquidPiece;

typedef struct LiquidLexer
{
	const char *source;
	int			pos;
	int			end;
	bool		lines;			/* within {% liquid %}: every line is a tag */
	bool		trim;			/* the piece before ended in a trim mark */
} LiquidLexer;

typedef enum LiquidTokenKind
{
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_STRING,				/* start and end within the quotes */
	TOKEN_INTEGER,
	TOKEN_DECIMAL,
	TOKEN_COMPARISON,			/* == != <> < > <= >= */
	TOKEN_DOT,
	TOKEN_DOTDOT,
	TOKEN_COMMA,
	TOKEN_COLON,
	TOKEN_PIPE,
	TOKEN_EQUALS,
	TOKEN_OPEN_SQUARE,
	TOKEN_CLOSE_SQUARE,
	TOKEN_OPEN_ROUND,
	TOKEN_CLOSE_ROUND
} LiquidTokenKind;

typedef struct LiquidToken
{
	LiquidTokenKind kind;
	int			start;
	int			end;
} LiquidToken;

/* Tokens of one piece; "token" is the current one. */
typedef struct LiquidScan
{
	const char *source;
	int			pos;
	int			end;
	LiquidToken token;
} LiquidScan;

extern LiquidPiece liquid_next_piece(LiquidLexer *lexer);

/*
 * Within {% raw %}, {% comment %} and {% doc %}: the text up to the tag that
 * ends it, which is consumed.  "open" is where the tag stands, for the error.
 */
extern LiquidPiece liquid_skip_raw(LiquidLexer *lexer, const char *name, int open);
extern void liquid_skip_comment(LiquidLexer *lexer, int open);

extern void liquid_scan_start(LiquidScan *scan, const char *source, int start, int end);
extern void liquid_scan_next(LiquidScan *scan);

extern bool liquid_is_space(char c);

/* The source at [start, end) is wrong: raises, naming line and column. */
pg_noreturn extern void liquid_syntax_error(const char *source, int start, int end,
											const char *hint, const char *fmt,...)
			pg_attribute_printf(5, 6);

/* Counted from 1; columns in characters. */
extern int	liquid_line_of(const char *source, int pos);
extern int	liquid_column_of(const char *source, int pos);

#endif							/* NOTIFY_LIQUID_LEXER_H */
