/*
 * parse_expr.c
 *		Expressions, conditions and filters.
 */
#include "postgres.h"

#include "liquid/filters.h"
#include "liquid/number.h"
#include "liquid/parser.h"
#include "liquid/text.h"

static LiquidExpr *
make_expr(LiquidExprKind kind)
{
	LiquidExpr *e = palloc0(sizeof(LiquidExpr));

	e->kind = kind;
	return e;
}

static LiquidExpr *
literal(LiquidValue v)
{
	LiquidExpr *e = make_expr(EXPR_LITERAL);

	e->literal = v;
	return e;
}

static LiquidName
token_text(const LiquidScan *scan)
{
	LiquidName	name = {scan->source + scan->token.start, scan->token.end - scan->token.start};

	return name;
}

static void
unexpected(LiquidScan *scan, const char *wanted)
{
	if (scan->token.kind == TOKEN_END)
		liquid_syntax_error(scan->source, scan->token.start, scan->token.end, NULL,
							"%s is missing", wanted);
	liquid_syntax_error(scan->source, scan->token.start, scan->token.end, NULL,
						"unexpected \"%s\" where %s should be",
						liquid_clip(scan->source + scan->token.start,
									scan->token.end - scan->token.start), wanted);
}

bool
liquid_accept(LiquidScan *scan, LiquidTokenKind kind)
{
	if (scan->token.kind != kind)
		return false;
	liquid_scan_next(scan);
	return true;
}

bool
liquid_at_word(const LiquidScan *scan, const char *word)
{
	return scan->token.kind == TOKEN_NAME && liquid_name_is(token_text(scan), word);
}

/* name: — the start of a named argument. */
bool
liquid_at_pair(const LiquidScan *scan)
{
	LiquidScan	ahead = *scan;

	if (scan->token.kind != TOKEN_NAME)
		return false;
	liquid_scan_next(&ahead);
	return ahead.token.kind == TOKEN_COLON;
}

bool
liquid_accept_word(LiquidScan *scan, const char *word)
{
	if (!liquid_at_word(scan, word))
		return false;
	liquid_scan_next(scan);
	return true;
}

void
liquid_expect(LiquidScan *scan, LiquidTokenKind kind, const char *what)
{
	if (!liquid_accept(scan, kind))
		unexpected(scan, what);
}

void
liquid_expect_end(LiquidScan *scan)
{
	if (scan->token.kind != TOKEN_END)
		unexpected(scan, "the end of the tag");
}

/* The name of a variable that a tag sets. */
LiquidName
liquid_parse_name(LiquidScan *scan)
{
	LiquidName	name = token_text(scan);

	if (scan->token.kind != TOKEN_NAME && scan->token.kind != TOKEN_INTEGER)
		unexpected(scan, "a variable's name");
	liquid_scan_next(scan);
	return name;
}

static bool
is_command(LiquidName name)
{
	return liquid_name_is(name, "size") || liquid_name_is(name, "first") ||
		liquid_name_is(name, "last");
}

static LiquidSegment
dotted_segment(LiquidScan *scan)
{
	LiquidSegment s = {0};
	LiquidName	name = token_text(scan);

	if (scan->token.kind != TOKEN_NAME)
		unexpected(scan, "a property's name");
	liquid_scan_next(scan);
	s.constant = liquid_string(name.text, name.len);
	s.command = is_command(name);
	return s;
}

static LiquidSegment
bracketed_segment(LiquidParser *parser, LiquidScan *scan)
{
	LiquidSegment s = {0};

	liquid_deeper(parser, scan->token.start);
	s.key = liquid_parse_value(parser, scan);
	parser->depth--;
	if (s.key->kind == EXPR_LITERAL)
	{
		s.constant = s.key->literal;
		s.key = NULL;
	}
	liquid_expect(scan, TOKEN_CLOSE_SQUARE, "\"]\"");
	return s;
}

static void
add_segment(LiquidExpr *path, LiquidSegment s)
{
	/* room for 1, 2, 4, 8, ... */
	if ((path->segments & (path->segments - 1)) == 0)
	{
		int			room = Max(path->segments * 2, 1);

		path->path = path->path ? repalloc(path->path, room * sizeof(LiquidSegment)) :
			palloc(room * sizeof(LiquidSegment));
	}
	path->path[path->segments++] = s;
}

static LiquidExpr *
parse_path(LiquidParser *parser, LiquidScan *scan)
{
	LiquidExpr *path = make_expr(EXPR_PATH);

	if (liquid_accept(scan, TOKEN_OPEN_SQUARE))
		add_segment(path, bracketed_segment(parser, scan));
	else
		add_segment(path, dotted_segment(scan));
	for (;;)
	{
		if (liquid_accept(scan, TOKEN_DOT))
			add_segment(path, dotted_segment(scan));
		else if (liquid_accept(scan, TOKEN_OPEN_SQUARE))
			add_segment(path, bracketed_segment(parser, scan));
		else
			return path;
	}
}

/* A word that stands for a value, unless something follows it in a path. */
static bool
keyword(const LiquidExpr *path, LiquidValue *v)
{
	LiquidValue name = path->path[0].constant;
	LiquidName	word = {name.u.string, name.len};

	*v = liquid_nil();
	if (path->segments > 1 || name.kind != LIQUID_STRING)
		return false;
	if (liquid_name_is(word, "true") || liquid_name_is(word, "false"))
		*v = liquid_boolean(liquid_name_is(word, "true"));
	else if (liquid_name_is(word, "empty"))
		v->kind = LIQUID_EMPTY;
	else if (liquid_name_is(word, "blank"))
		v->kind = LIQUID_BLANK;
	else
		return liquid_name_is(word, "nil") || liquid_name_is(word, "null");
	return true;
}

static LiquidExpr *
parse_range(LiquidParser *parser, LiquidScan *scan)
{
	LiquidExpr *range = make_expr(EXPR_RANGE);

	liquid_deeper(parser, scan->token.start);
	range->left = liquid_parse_value(parser, scan);
	liquid_expect(scan, TOKEN_DOTDOT, "\"..\"");
	range->right = liquid_parse_value(parser, scan);
	liquid_expect(scan, TOKEN_CLOSE_ROUND, "\")\"");
	parser->depth--;
	return range;
}

LiquidExpr *
liquid_parse_value(LiquidParser *parser, LiquidScan *scan)
{
	LiquidName	text = token_text(scan);
	bool		named = scan->token.kind == TOKEN_NAME;
	LiquidValue word;
	LiquidExpr *path;

	if (liquid_accept(scan, TOKEN_STRING))
		return literal(liquid_string(text.text, text.len));
	if (liquid_accept(scan, TOKEN_INTEGER) || liquid_accept(scan, TOKEN_DECIMAL))
		return literal(liquid_number_parse(text.text, text.len));
	if (liquid_accept(scan, TOKEN_OPEN_ROUND))
		return parse_range(parser, scan);
	if (!named && scan->token.kind != TOKEN_OPEN_SQUARE)
		unexpected(scan, "a value");
	path = parse_path(parser, scan);
	return named && keyword(path, &word) ? literal(word) : path;
}

static bool
accept_comparison(LiquidScan *scan, LiquidComparison *comparison)
{
	static const char *const marks[] = {"==", "!=", "<", ">", "<=", ">=", "contains"};
	LiquidName	text = token_text(scan);

	if (scan->token.kind != TOKEN_COMPARISON && !liquid_at_word(scan, "contains"))
		return false;
	*comparison = COMPARE_UNEQUAL;	/* <> is none of these */
	for (int i = 0; i < lengthof(marks); i++)
		if (liquid_name_is(text, marks[i]))
			*comparison = (LiquidComparison) i;
	liquid_scan_next(scan);
	return true;
}

static LiquidExpr *
parse_comparison(LiquidParser *parser, LiquidScan *scan)
{
	LiquidExpr *left = liquid_parse_value(parser, scan);
	LiquidExpr *e;
	LiquidComparison comparison;

	if (!accept_comparison(scan, &comparison))
		return left;
	e = make_expr(EXPR_COMPARE);
	e->comparison = comparison;
	e->left = left;
	e->right = liquid_parse_value(parser, scan);
	return e;
}

/* "and" and "or" bind alike, and to the right: a or b and c is a or (b and c). */
static LiquidExpr *
parse_relations(LiquidParser *parser, LiquidScan *scan)
{
	LiquidExpr *left = parse_comparison(parser, scan);
	LiquidExpr *e;

	if (!liquid_at_word(scan, "and") && !liquid_at_word(scan, "or"))
		return left;
	e = make_expr(liquid_at_word(scan, "and") ? EXPR_AND : EXPR_OR);
	liquid_scan_next(scan);
	liquid_deeper(parser, scan->token.start);
	e->left = left;
	e->right = parse_relations(parser, scan);
	parser->depth--;
	return e;
}

LiquidExpr *
liquid_parse_condition(LiquidParser *parser, LiquidScan *scan)
{
	LiquidExpr *e = parse_relations(parser, scan);

	liquid_expect_end(scan);
	return e;
}

static LiquidArgument
parse_argument(LiquidParser *parser, LiquidScan *scan)
{
	LiquidArgument a = {{NULL, 0}, 0, NULL};

	if (liquid_at_pair(scan))
	{
		a.name = token_text(scan);
		liquid_scan_next(scan);
		liquid_scan_next(scan);
	}
	a.value = liquid_parse_value(parser, scan);
	return a;
}

static void
parse_arguments(LiquidParser *parser, LiquidScan *scan, LiquidCall *call)
{
	call->arguments = palloc(LIQUID_MAX_ARGUMENTS * sizeof(LiquidArgument));
	do
	{
		if (call->count >= LIQUID_MAX_ARGUMENTS)
			liquid_syntax_error(scan->source, scan->token.start, scan->token.end, NULL,
								"too many arguments of filter \"%s\"", call->filter->name);
		call->arguments[call->count++] = parse_argument(parser, scan);
	} while (liquid_accept(scan, TOKEN_COMMA));
}

/* Which of the filter's named arguments this is. */
static int
named_slot(LiquidScan *scan, const LiquidFilter *filter, LiquidName name)
{
	for (int i = 0; filter->named && filter->named[i]; i++)
		if (liquid_name_is(name, filter->named[i]))
			return i;
	liquid_syntax_error(scan->source, name.text - scan->source,
						name.text - scan->source + name.len, liquid_named_usage(filter),
						"filter \"%s\" has no argument of this name", filter->name);
}

static bool
has_named(const LiquidCall *call, const char *name)
{
	for (int i = 0; i < call->count; i++)
		if (call->arguments[i].name.text && liquid_name_is(call->arguments[i].name, name))
			return true;
	return false;
}

static void
check_arguments(LiquidScan *scan, LiquidCall *call, LiquidToken at)
{
	int			positional = 0;

	for (int i = 0; i < call->count; i++)
	{
		LiquidArgument *a = &call->arguments[i];

		if (a->name.text == NULL)
			positional++;
		else
			a->slot = named_slot(scan, call->filter, a->name);
	}
	if (call->filter->required && !has_named(call, call->filter->required))
		liquid_syntax_error(scan->source, at.start, at.end, NULL,
							"filter \"%s\" needs the argument \"%s\"", call->filter->name,
							call->filter->required);
	if (positional < call->filter->min_arguments || positional > call->filter->max_arguments)
		liquid_syntax_error(scan->source, at.start, at.end, liquid_filter_usage(call->filter),
							"wrong number of arguments of filter \"%s\"", call->filter->name);
}

static LiquidCall *
parse_call(LiquidParser *parser, LiquidScan *scan)
{
	LiquidCall *call = palloc0(sizeof(LiquidCall));
	LiquidToken at = scan->token;
	LiquidName	name = token_text(scan);

	if (scan->token.kind != TOKEN_NAME)
		unexpected(scan, "a filter's name");
	call->filter = liquid_find_filter(name);
	if (call->filter == NULL)
		liquid_syntax_error(scan->source, at.start, at.end, liquid_similar_filter(name),
							"unknown filter \"%s\"", liquid_clip(name.text, name.len));
	liquid_scan_next(scan);
	if (liquid_accept(scan, TOKEN_COLON))
		parse_arguments(parser, scan, call);
	check_arguments(scan, call, at);
	return call;
}

LiquidOutput
liquid_parse_output(LiquidParser *parser, LiquidScan *scan)
{
	LiquidOutput output = {NULL, NULL};
	LiquidCall **tail = &output.calls;

	if (scan->token.kind == TOKEN_END)
		return output;
	output.expr = liquid_parse_value(parser, scan);
	while (liquid_accept(scan, TOKEN_PIPE))
	{
		*tail = parse_call(parser, scan);
		tail = &(*tail)->next;
	}
	liquid_expect_end(scan);
	return output;
}
