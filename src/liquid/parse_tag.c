/*
 * parse_tag.c
 *		The tags, but for loops and partials.
 *
 * A parser of a tag is called with the scan standing after the tag's name, and
 * returns the tag's node, with all that belongs to it up to its end tag.
 */
#include "postgres.h"

#include <ctype.h>

#include "liquid/parser.h"
#include "liquid/similar.h"

/* Start reading what follows the tag's name. */
static LiquidScan *
scan_of(LiquidTag *tag)
{
	liquid_scan_start(&tag->scan, tag->scan.source, tag->scan.pos, tag->scan.end);
	return &tag->scan;
}

static void
nothing_follows(LiquidTag *tag)
{
	liquid_expect_end(scan_of(tag));
}

static bool
names_variable(char c)
{
	return isalnum((unsigned char) c) || strchr("_-.[]", c) || IS_HIGHBIT_SET(c);
}

/*
 * The name of a variable that a tag sets, and then the scan over what follows
 * it.  The reference takes dots and brackets, and parentheses around one, as
 * parts of the name; to read such a variable takes ["its.name"].
 */
static LiquidName
assigned_name(LiquidTag *tag)
{
	LiquidScan *scan = &tag->scan;
	const char *source = scan->source;
	LiquidName	name;
	int			start;
	int			at;

	while (scan->pos < scan->end && liquid_is_space(source[scan->pos]))
		scan->pos++;
	start = at = scan->pos;
	for (;;)
	{
		int			next = at + (at < scan->end && source[at] == '(');

		if (next >= scan->end || source[next] == '\0' || !names_variable(source[next]))
			break;
		at = next + 1;
		at += at < scan->end && source[at] == ')';
	}
	if (at == start)
		liquid_syntax_error(source, start, scan->end, NULL, "a variable's name is missing");
	name.text = source + start;
	name.len = at - start;
	scan->pos = at;
	liquid_scan_next(scan);
	return name;
}

static LiquidNode *
parse_assign(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_ASSIGN, tag->piece.start);
	LiquidScan *scan = &tag->scan;

	node->blank = true;
	node->u.assign.name = assigned_name(tag);
	liquid_expect(scan, TOKEN_EQUALS, "\"=\"");
	if (scan->token.kind == TOKEN_END)
		liquid_syntax_error(scan->source, tag->piece.start, tag->piece.end, NULL,
							"nothing is assigned");
	node->u.assign.value = liquid_parse_output(parser, scan);
	return node;
}

/* The name may be quoted. */
static LiquidNode *
parse_capture(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_CAPTURE, tag->piece.start);
	LiquidTag	quoted = *tag;
	LiquidScan *scan = scan_of(&quoted);
	LiquidName	name = {scan->source + scan->token.start, scan->token.end - scan->token.start};

	node->blank = true;
	if (!liquid_accept(scan, TOKEN_STRING))
	{
		scan = &tag->scan;
		name = assigned_name(tag);
	}
	node->u.capture.name = name;
	liquid_expect_end(scan);
	node->u.capture.body = liquid_parse_block(parser, tag);
	return node;
}

static LiquidNode *
parse_echo(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_OUTPUT, tag->piece.start);

	node->u.output = liquid_parse_output(parser, scan_of(tag));
	return node;
}

static LiquidBranch *
add_branch(LiquidBranch ***tail)
{
	LiquidBranch *branch = palloc0(sizeof(LiquidBranch));

	**tail = branch;
	*tail = &branch->next;
	return branch;
}

/* What its branches are, the tag is: if none can put out anything, nor may white space. */
static void
finish_branches(LiquidNode *node)
{
	node->blank = true;
	for (LiquidBranch *b = node->u.choice.branches; b; b = b->next)
		node->blank &= b->body.blank;
	if (node->blank)
		for (LiquidBranch *b = node->u.choice.branches; b; b = b->next)
			liquid_drop_blanks(&b->body);
}

static LiquidNode *
parse_if(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_IF, tag->piece.start);
	LiquidBranch **tail = &node->u.choice.branches;
	LiquidBranch *branch = add_branch(&tail);
	LiquidTag	stop;

	branch->condition = liquid_parse_condition(parser, scan_of(tag));
	branch->negate = liquid_name_is(tag->name, "unless");
	branch->body = liquid_parse_body(parser, &stop);
	while (!liquid_tag_ends(&stop, tag))
	{
		if (stop.name.text == NULL ||
			!(liquid_name_is(stop.name, "elsif") || liquid_name_is(stop.name, "else")))
			liquid_tag_unexpected(parser, &stop, tag);
		branch = add_branch(&tail);
		if (liquid_name_is(stop.name, "elsif"))
			branch->condition = liquid_parse_condition(parser, scan_of(&stop));
		branch->body = liquid_parse_body(parser, &stop);
	}
	finish_branches(node);
	return node;
}

/* Values separated by "or" or a comma; what follows anything else is ignored. */
static void
parse_when(LiquidParser *parser, LiquidTag *tag, LiquidBranch *branch)
{
	LiquidScan *scan = scan_of(tag);
	int			room = 0;

	do
	{
		if (branch->count == room)
		{
			room = Max(room * 2, 4);
			branch->values = branch->values ?
				repalloc(branch->values, room * sizeof(LiquidExpr *)) :
				palloc(room * sizeof(LiquidExpr *));
		}
		branch->values[branch->count++] = liquid_parse_value(parser, scan);
	} while (liquid_accept(scan, TOKEN_COMMA) || liquid_accept_word(scan, "or"));
}

static LiquidNode *
parse_case(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_CASE, tag->piece.start);
	LiquidBranch **tail = &node->u.choice.branches;
	LiquidTag	stop;

	node->u.choice.subject = liquid_parse_condition(parser, scan_of(tag));
	(void) liquid_parse_body(parser, &stop);	/* before the first "when": never put out */
	while (!liquid_tag_ends(&stop, tag))
	{
		LiquidBranch *branch = add_branch(&tail);

		if (stop.name.text == NULL ||
			!(liquid_name_is(stop.name, "when") || liquid_name_is(stop.name, "else")))
			liquid_tag_unexpected(parser, &stop, tag);
		if (liquid_name_is(stop.name, "when"))
			parse_when(parser, &stop, branch);
		branch->body = liquid_parse_body(parser, &stop);
	}
	finish_branches(node);
	return node;
}

static LiquidNode *
parse_counter(LiquidParser *parser, LiquidTag *tag)
{
	bool		up = liquid_name_is(tag->name, "increment");
	LiquidNode *node = liquid_node(parser, up ? NODE_INCREMENT : NODE_DECREMENT, tag->piece.start);
	LiquidScan *scan = scan_of(tag);

	node->u.counter = liquid_parse_name(scan);
	liquid_expect_end(scan);
	return node;
}

static LiquidNode *
parse_interrupt(LiquidParser *parser, LiquidTag *tag)
{
	bool		stop = liquid_name_is(tag->name, "break");

	nothing_follows(tag);
	return liquid_node(parser, stop ? NODE_BREAK : NODE_CONTINUE, tag->piece.start);
}

static LiquidNode *
parse_ifchanged(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_IFCHANGED, tag->piece.start);

	nothing_follows(tag);
	node->u.body = liquid_parse_block(parser, tag);
	return node;
}

static LiquidNode *
parse_comment(LiquidParser *parser, LiquidTag *tag)
{
	liquid_skip_comment(parser->lexer, tag->piece.start);
	return NULL;
}

static LiquidNode *
parse_doc(LiquidParser *parser, LiquidTag *tag)
{
	nothing_follows(tag);
	(void) liquid_skip_raw(parser->lexer, "doc", tag->piece.start);
	return NULL;
}

static LiquidNode *
parse_raw(LiquidParser *parser, LiquidTag *tag)
{
	LiquidPiece text;
	LiquidNode *node;

	nothing_follows(tag);
	text = liquid_skip_raw(parser->lexer, "raw", tag->piece.start);
	node = liquid_node(parser, NODE_TEXT, text.start);
	node->u.text.text = parser->source + text.start;
	node->u.text.len = text.end - text.start;
	node->blank = node->u.text.len == 0;
	return node;
}

/* Every line of a comment in a tag starts with #. */
static LiquidNode *
parse_inline_comment(LiquidParser *parser, LiquidTag *tag)
{
	const char *source = parser->source;

	for (int i = tag->scan.pos; i < tag->piece.end; i++)
	{
		int			line = i + 1;

		if (source[i] != '\n')
			continue;
		while (line < tag->piece.end && liquid_is_space(source[line]))
			line++;
		if (line < tag->piece.end && source[line] != '#')
			liquid_syntax_error(source, line, tag->piece.end, NULL,
								"every line of a comment must start with \"#\"");
	}
	return NULL;
}

/* Every line is a tag; their nodes take this one's place. */
static LiquidNode *
parse_liquid(LiquidParser *parser, LiquidTag *tag)
{
	LiquidLexer lines = {parser->source, tag->scan.pos, tag->piece.end, true, false};
	LiquidLexer *outer = parser->lexer;
	LiquidTag	stop;
	LiquidBody	body;

	parser->lexer = &lines;
	body = liquid_parse_body(parser, &stop);
	if (stop.name.text != NULL)
		liquid_tag_unexpected(parser, &stop, tag);
	parser->lexer = outer;
	return body.first;
}

static const LiquidTagKind kinds[] = {
	{"#", parse_inline_comment},
	{"assign", parse_assign},
	{"break", parse_interrupt},
	{"capture", parse_capture},
	{"case", parse_case},
	{"comment", parse_comment},
	{"continue", parse_interrupt},
	{"cycle", liquid_parse_cycle},
	{"decrement", parse_counter},
	{"doc", parse_doc},
	{"echo", parse_echo},
	{"for", liquid_parse_for},
	{"if", parse_if},
	{"ifchanged", parse_ifchanged},
	{"include", liquid_parse_include},
	{"increment", parse_counter},
	{"liquid", parse_liquid},
	{"raw", parse_raw},
	{"render", liquid_parse_render},
	{"tablerow", liquid_parse_tablerow},
	{"unless", parse_if},
};

const LiquidTagKind *
liquid_find_tag(LiquidName name)
{
	for (int i = 0; i < lengthof(kinds); i++)
		if (liquid_name_is(name, kinds[i].name))
			return &kinds[i];
	return NULL;
}

const char *
liquid_similar_tag(LiquidName name)
{
	Similar		best = {name.text, name.len};

	for (int i = 0; i < lengthof(kinds); i++)
		similar_try(&best, kinds[i].name);
	return best.found ? psprintf("Perhaps you meant \"%s\".", best.found) : NULL;
}
