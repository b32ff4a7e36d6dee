/*
 * parser.h
 *		What the files of the parser share: blocks are in parser.c, tags in
 *		parse_tag.c, loops and partials in parse_loop.c, expressions in
 *		parse_expr.c.
 */
#ifndef NOTIFY_LIQUID_PARSER_H
#define NOTIFY_LIQUID_PARSER_H

#include "liquid/lexer.h"
#include "liquid/liquid.h"
#include "liquid/tree.h"

typedef struct LiquidParser
{
	const char *source;
	LiquidLexer *lexer;
	int			depth;			/* of blocks and brackets */
	int			line;			/* of line_pos */
	int			line_pos;
} LiquidParser;

/* A tag as found: its name, and a scan over the rest. */
typedef struct LiquidTag
{
	LiquidPiece piece;
	LiquidName	name;
	LiquidScan	scan;
} LiquidTag;

/* parser.c */

/*
 * Parses until a tag that ends a block or starts a branch of one, which is
 * left in *stop; at the end of the source stop->name.text is NULL.
 */
extern LiquidBody liquid_parse_body(LiquidParser *parser, LiquidTag *stop);

/* As above, for a body that the tag "end<name>" must end. */
extern LiquidBody liquid_parse_block(LiquidParser *parser, const LiquidTag *open);

extern bool liquid_name_is(LiquidName name, const char *word);
extern bool liquid_tag_ends(const LiquidTag *tag, const LiquidTag *open);
pg_noreturn extern void liquid_tag_unexpected(LiquidParser *parser, const LiquidTag *tag,
											  const LiquidTag *open);
extern LiquidNode *liquid_node(LiquidParser *parser, LiquidNodeKind kind, int pos);
extern void liquid_drop_blanks(LiquidBody *body);
extern void liquid_deeper(LiquidParser *parser, int pos);

/* parse_tag.c: a tag's node, a chain of them, or NULL when it leaves none. */
typedef LiquidNode *(*LiquidTagParser) (LiquidParser *parser, LiquidTag *tag);

typedef struct LiquidTagKind
{
	const char *name;
	LiquidTagParser parse;
} LiquidTagKind;

extern const LiquidTagKind *liquid_find_tag(LiquidName name);

/* A hint, or NULL when no tag's name is like this one. */
extern const char *liquid_similar_tag(LiquidName name);

/* parse_loop.c */
extern LiquidNode *liquid_parse_for(LiquidParser *parser, LiquidTag *tag);
extern LiquidNode *liquid_parse_tablerow(LiquidParser *parser, LiquidTag *tag);
extern LiquidNode *liquid_parse_cycle(LiquidParser *parser, LiquidTag *tag);
extern LiquidNode *liquid_parse_include(LiquidParser *parser, LiquidTag *tag);
extern LiquidNode *liquid_parse_render(LiquidParser *parser, LiquidTag *tag);

/* parse_expr.c */
extern LiquidExpr *liquid_parse_value(LiquidParser *parser, LiquidScan *scan);
extern LiquidExpr *liquid_parse_condition(LiquidParser *parser, LiquidScan *scan);
extern LiquidOutput liquid_parse_output(LiquidParser *parser, LiquidScan *scan);
extern LiquidName liquid_parse_name(LiquidScan *scan);
extern bool liquid_accept(LiquidScan *scan, LiquidTokenKind kind);
extern bool liquid_accept_word(LiquidScan *scan, const char *word);
extern bool liquid_at_word(const LiquidScan *scan, const char *word);
extern bool liquid_at_pair(const LiquidScan *scan);
extern void liquid_expect(LiquidScan *scan, LiquidTokenKind kind, const char *what);
extern void liquid_expect_end(LiquidScan *scan);

#endif							/* NOTIFY_LIQUID_PARSER_H */
