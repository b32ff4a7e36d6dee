/*
 * parser.c
 *		From pieces to a tree: bodies, and how blocks find their ends.
 *
 * A body is parsed until a tag that is no tag by itself (else, when, end...),
 * which is handed to the tag that opened the block.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "liquid/parser.h"
#include "liquid/text.h"

bool
liquid_name_is(LiquidName name, const char *word)
{
	return name.len == strlen(word) && memcmp(name.text, word, name.len) == 0;
}

/* One level of nesting more; whoever calls this takes it off again. */
void
liquid_deeper(LiquidParser *parser, int pos)
{
	if (++parser->depth > LIQUID_MAX_NESTING)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Liquid template is nested too deeply"),
				 errdetail("Line %d is more than %d levels deep.",
						   liquid_line_of(parser->source, pos), LIQUID_MAX_NESTING)));
}

static int
line_at(LiquidParser *parser, int pos)
{
	if (pos < parser->line_pos)
	{
		parser->line = 1;
		parser->line_pos = 0;
	}
	for (; parser->line_pos < pos; parser->line_pos++)
		parser->line += parser->source[parser->line_pos] == '\n';
	return parser->line;
}

LiquidNode *
liquid_node(LiquidParser *parser, LiquidNodeKind kind, int pos)
{
	LiquidNode *node = palloc0(sizeof(LiquidNode));

	node->kind = kind;
	node->line = line_at(parser, pos);
	return node;
}

static void
append_nodes(LiquidBody *body, LiquidNode *node)
{
	for (; node != NULL; node = node->next)
	{
		if (body->last)
			body->last->next = node;
		else
			body->first = node;
		body->last = node;
		body->blank &= node->blank;
	}
}

/* In a block that is blank as a whole, white space is not put out either. */
void
liquid_drop_blanks(LiquidBody *body)
{
	LiquidNode **link = &body->first;

	body->last = NULL;
	while (*link != NULL)
	{
		if ((*link)->kind == NODE_TEXT && (*link)->blank)
			*link = (*link)->next;
		else
		{
			body->last = *link;
			link = &(*link)->next;
		}
	}
}

static bool
all_space(const char *text, int len)
{
	for (int i = 0; i < len; i++)
		if (!liquid_is_space(text[i]))
			return false;
	return true;
}

static LiquidNode *
text_node(LiquidParser *parser, LiquidPiece piece)
{
	LiquidNode *node;

	if (piece.start == piece.end)
		return NULL;
	node = liquid_node(parser, NODE_TEXT, piece.start);
	node->u.text.text = parser->source + piece.start;
	node->u.text.len = piece.end - piece.start;
	node->blank = all_space(node->u.text.text, node->u.text.len);
	return node;
}

static LiquidNode *
output_node(LiquidParser *parser, LiquidPiece piece)
{
	LiquidScan	scan;
	LiquidNode *node = liquid_node(parser, NODE_OUTPUT, piece.start);

	liquid_scan_start(&scan, parser->source, piece.start, piece.end);
	node->u.output = liquid_parse_output(parser, &scan);
	return node;
}

static bool
word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/*
 * Read the tag's name.  What follows is scanned by the tag's own parser, as in
 * {% comment %} it need not make sense.
 */
static LiquidTag
open_tag(LiquidParser *parser, LiquidPiece piece)
{
	LiquidTag	tag = {piece, {NULL, 0}, {parser->source, piece.end, piece.end}};
	int			start = piece.start;
	int			end;

	while (start < piece.end && liquid_is_space(parser->source[start]))
		start++;
	end = start;
	if (start < piece.end && parser->source[start] == '#')
		end++;
	else
		while (end < piece.end && word_char(parser->source[end]))
			end++;
	if (start == end)
		liquid_syntax_error(parser->source, piece.start, piece.end, NULL, "tag has no name");
	tag.piece.start = start;
	tag.name.text = parser->source + start;
	tag.name.len = end - start;
	tag.scan.pos = end;
	return tag;
}

static bool
ends_body(LiquidName name)
{
	return liquid_name_is(name, "else") || liquid_name_is(name, "elsif") ||
		liquid_name_is(name, "when") ||
		(name.len > 3 && memcmp(name.text, "end", 3) == 0);
}

static LiquidNode *
tag_node(LiquidParser *parser, LiquidTag *tag)
{
	const LiquidTagKind *kind = liquid_find_tag(tag->name);
	LiquidNode *node;

	if (kind == NULL)
		liquid_syntax_error(parser->source, tag->piece.start, tag->piece.start + tag->name.len,
							liquid_similar_tag(tag->name), "unknown tag \"%s\"",
							liquid_clip(tag->name.text, tag->name.len));
	liquid_deeper(parser, tag->piece.start);
	node = kind->parse(parser, tag);
	parser->depth--;
	return node;
}

LiquidBody
liquid_parse_body(LiquidParser *parser, LiquidTag *stop)
{
	LiquidBody	body = {NULL, NULL, true};
	LiquidPiece piece;

	while ((piece = liquid_next_piece(parser->lexer)).kind != PIECE_END)
	{
		if (piece.kind == PIECE_TEXT)
			append_nodes(&body, text_node(parser, piece));
		else if (piece.kind == PIECE_OUTPUT)
			append_nodes(&body, output_node(parser, piece));
		else
		{
			*stop = open_tag(parser, piece);
			if (ends_body(stop->name))
				return body;
			append_nodes(&body, tag_node(parser, stop));
		}
	}
	stop->name.text = NULL;
	return body;
}

bool
liquid_tag_ends(const LiquidTag *tag, const LiquidTag *open)
{
	return tag->name.text != NULL && tag->name.len == open->name.len + 3 &&
		memcmp(tag->name.text, "end", 3) == 0 &&
		memcmp(tag->name.text + 3, open->name.text, open->name.len) == 0;
}

/* "tag" is not one that may stand within, or end, the block of "open". */
void
liquid_tag_unexpected(LiquidParser *parser, const LiquidTag *tag, const LiquidTag *open)
{
	char	   *name = pnstrdup(open->name.text, open->name.len);

	if (tag->name.text == NULL)
		liquid_syntax_error(parser->source, open->piece.start, open->piece.end, NULL,
							"tag \"%s\" has no \"end%s\"", name, name);
	liquid_syntax_error(parser->source, tag->piece.start, tag->piece.end,
						psprintf("The \"%s\" of line %d is still open.", name,
								 liquid_line_of(parser->source, open->piece.start)),
						"unexpected tag \"%s\"",
						liquid_clip(tag->name.text, tag->name.len));
}

LiquidBody
liquid_parse_block(LiquidParser *parser, const LiquidTag *open)
{
	LiquidTag	stop;
	LiquidBody	body = liquid_parse_body(parser, &stop);

	if (!liquid_tag_ends(&stop, open))
		liquid_tag_unexpected(parser, &stop, open);
	return body;
}

static void
check_source(const char *source, int len)
{
	if (len > LIQUID_MAX_SOURCE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Liquid template is too long"),
				 errdetail("It has %d bytes; at most %d are allowed.", len, LIQUID_MAX_SOURCE)));
	pg_verifymbstr(source, len, false);
}

LiquidTemplate *
liquid_parse(const char *source, int len)
{
	LiquidTemplate *t = palloc0(sizeof(LiquidTemplate));
	LiquidLexer lexer = {NULL, 0, len, false, false};
	LiquidParser parser = {NULL, &lexer, 0, 1, 0};
	LiquidTag	stop;

	check_source(source, len);
	t->source = lexer.source = parser.source = pnstrdup(source, len);
	t->len = len;
	t->body = liquid_parse_body(&parser, &stop);
	if (stop.name.text != NULL)
		liquid_syntax_error(t->source, stop.piece.start, stop.piece.end,
							"No block is open here that it could belong to.",
							"unexpected tag \"%s\"",
							liquid_clip(stop.name.text, stop.name.len));
	return t;
}
