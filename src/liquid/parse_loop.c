/*
 * parse_loop.c
 *		for, tablerow, cycle; render and include.
 */
#include "postgres.h"

#include "liquid/filters.h"
#include "liquid/parser.h"

static LiquidScan *
scan_of(LiquidTag *tag)
{
	liquid_scan_start(&tag->scan, tag->scan.source, tag->scan.pos, tag->scan.end);
	return &tag->scan;
}

static LiquidExpr **
loop_option(LiquidFor *loop, LiquidName name, bool tablerow)
{
	if (liquid_name_is(name, "limit"))
		return &loop->limit;
	if (liquid_name_is(name, "offset"))
		return &loop->offset;
	if (tablerow && liquid_name_is(name, "cols"))
		return &loop->cols;
	return NULL;
}

static void
parse_loop_option(LiquidParser *parser, LiquidScan *scan, LiquidFor *loop, bool tablerow)
{
	LiquidToken at = scan->token;
	LiquidName	name = {scan->source + at.start, at.end - at.start};
	LiquidExpr **option;

	if (!tablerow && !liquid_at_pair(scan) && liquid_at_word(scan, "reversed"))
		liquid_syntax_error(scan->source, at.start, at.end,
							"Write it right after the collection: \"for item in items reversed limit: 3\".",
							"\"reversed\" must come first");
	if (!liquid_at_pair(scan))
		liquid_expect_end(scan);
	option = loop_option(loop, name, tablerow);
	if (option == NULL)
		liquid_syntax_error(scan->source, at.start, at.end, tablerow ?
							"It may have \"limit\", \"offset\" and \"cols\"." :
							"It may have \"reversed\", \"limit\" and \"offset\".",
							"unknown option of a loop");
	liquid_scan_next(scan);
	liquid_scan_next(scan);
	if (option == &loop->offset && !tablerow && liquid_accept_word(scan, "continue"))
		loop->offset_continue = true;
	else
		*option = liquid_parse_value(parser, scan);
}

/* variable in collection, options with or without commas */
static LiquidFor *
parse_loop(LiquidParser *parser, LiquidTag *tag, bool tablerow)
{
	LiquidFor  *loop = palloc0(sizeof(LiquidFor));
	LiquidScan *scan = scan_of(tag);
	int			start;

	loop->variable = liquid_parse_name(scan);
	if (!liquid_accept_word(scan, "in"))
		liquid_syntax_error(scan->source, scan->token.start, scan->token.end,
							"It reads \"for item in collection\".", "\"in\" is missing");
	start = scan->token.start;
	loop->collection = liquid_parse_value(parser, scan);
	loop->name = psprintf("%.*s-%s", loop->variable.len, loop->variable.text,
						  pnstrdup(scan->source + start, scan->token.start - start));
	while (loop->name[0] && liquid_is_space(loop->name[strlen(loop->name) - 1]))
		((char *) loop->name)[strlen(loop->name) - 1] = '\0';
	if (!tablerow && !liquid_at_pair(scan))
		loop->reversed = liquid_accept_word(scan, "reversed");
	liquid_accept(scan, TOKEN_COMMA);
	while (scan->token.kind != TOKEN_END)
	{
		parse_loop_option(parser, scan, loop, tablerow);
		liquid_accept(scan, TOKEN_COMMA);
	}
	return loop;
}

static void
finish_for(LiquidNode *node, LiquidFor *loop)
{
	node->blank = loop->body.blank && (!loop->otherwise || loop->otherwise->blank);
	if (!node->blank)
		return;
	liquid_drop_blanks(&loop->body);
	if (loop->otherwise)
		liquid_drop_blanks(loop->otherwise);
}

LiquidNode *
liquid_parse_for(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_FOR, tag->piece.start);
	LiquidFor  *loop = parse_loop(parser, tag, false);
	LiquidTag	stop;

	node->u.loop = loop;
	loop->body = liquid_parse_body(parser, &stop);
	while (stop.name.text != NULL && liquid_name_is(stop.name, "else"))
	{
		loop->otherwise = palloc(sizeof(LiquidBody));
		*loop->otherwise = liquid_parse_body(parser, &stop);
	}
	if (!liquid_tag_ends(&stop, tag))
		liquid_tag_unexpected(parser, &stop, tag);
	finish_for(node, loop);
	return node;
}

LiquidNode *
liquid_parse_tablerow(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_TABLEROW, tag->piece.start);

	node->u.loop = parse_loop(parser, tag, true);
	node->u.loop->body = liquid_parse_block(parser, tag);
	return node;
}

static void
add_cycle_value(LiquidScan *scan, LiquidCycle *cycle, LiquidExpr *value)
{
	if (cycle->count >= LIQUID_MAX_CYCLE)
		liquid_syntax_error(scan->source, scan->token.start, scan->token.end, NULL,
							"a cycle may have at most %d values", LIQUID_MAX_CYCLE);
	cycle->values[cycle->count++] = value;
}

/* Cycles without a name are the same one when they read the same. */
static const char *
cycle_key(const char *source, int start, int end)
{
	StringInfoData key;
	LiquidScan	scan;

	initStringInfo(&key);
	liquid_scan_start(&scan, source, start, end);
	for (; scan.token.kind != TOKEN_END; liquid_scan_next(&scan))
	{
		appendBinaryStringInfo(&key, source + scan.token.start,
							   scan.token.end - scan.token.start);
		appendStringInfoChar(&key, ' ');
	}
	return key.data;
}

LiquidNode *
liquid_parse_cycle(LiquidParser *parser, LiquidTag *tag)
{
	LiquidNode *node = liquid_node(parser, NODE_CYCLE, tag->piece.start);
	LiquidCycle *cycle = palloc0(sizeof(LiquidCycle));
	int			start = tag->scan.pos;
	LiquidScan *scan = scan_of(tag);
	LiquidExpr *first = liquid_parse_value(parser, scan);

	node->u.cycle = cycle;
	cycle->values = palloc(LIQUID_MAX_CYCLE * sizeof(LiquidExpr *));
	if (liquid_accept(scan, TOKEN_COLON))
		cycle->name = first;
	else
	{
		add_cycle_value(scan, cycle, first);
		cycle->key = cycle_key(scan->source, start, tag->piece.end);
		liquid_accept(scan, TOKEN_COMMA);
	}
	while (scan->token.kind != TOKEN_END)
	{
		add_cycle_value(scan, cycle, liquid_parse_value(parser, scan));
		if (!liquid_accept(scan, TOKEN_COMMA))
			liquid_expect_end(scan);
	}
	return node;
}

/* name: value, ... */
static void
parse_partial_arguments(LiquidParser *parser, LiquidScan *scan, LiquidPartial *partial)
{
	partial->arguments = palloc(LIQUID_MAX_ARGUMENTS * sizeof(LiquidArgument));
	while (scan->token.kind != TOKEN_END)
	{
		LiquidArgument *a = &partial->arguments[partial->count];

		if (partial->count == LIQUID_MAX_ARGUMENTS)
			liquid_syntax_error(scan->source, scan->token.start, scan->token.end, NULL,
								"too many arguments of a partial");
		if (!liquid_at_pair(scan))
			liquid_expect_end(scan);
		a->name = liquid_parse_name(scan);
		liquid_scan_next(scan);
		a->value = liquid_parse_value(parser, scan);
		partial->count++;
		liquid_accept(scan, TOKEN_COMMA);
	}
}

static LiquidNode *
parse_partial(LiquidParser *parser, LiquidTag *tag, LiquidNodeKind kind)
{
	LiquidNode *node = liquid_node(parser, kind, tag->piece.start);
	LiquidPartial *partial = palloc0(sizeof(LiquidPartial));
	LiquidScan *scan = &tag->scan;

	node->u.partial = partial;
	partial->name = liquid_parse_value(parser, scan);
	if (liquid_at_word(scan, "for") || liquid_at_word(scan, "with"))
	{
		partial->each = liquid_at_word(scan, "for");
		liquid_scan_next(scan);
		partial->with = liquid_parse_value(parser, scan);
	}
	if (liquid_accept_word(scan, "as"))
		partial->alias = liquid_parse_name(scan);
	liquid_accept(scan, TOKEN_COMMA);
	parse_partial_arguments(parser, scan, partial);
	return node;
}

LiquidNode *
liquid_parse_include(LiquidParser *parser, LiquidTag *tag)
{
	scan_of(tag);
	return parse_partial(parser, tag, NODE_INCLUDE);
}

/* Which partial it is must be plain to see. */
LiquidNode *
liquid_parse_render(LiquidParser *parser, LiquidTag *tag)
{
	LiquidScan *scan = scan_of(tag);

	if (scan->token.kind != TOKEN_STRING)
		liquid_syntax_error(scan->source, tag->piece.start, tag->piece.end,
							"It reads \"render 'name'\".",
							"the partial's name must be a quoted string");
	return parse_partial(parser, tag, NODE_RENDER);
}
