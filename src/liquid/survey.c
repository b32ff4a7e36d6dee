/*
 * survey.c
 *		What a template refers to.
 *
 * The tree is walked once; names are collected as found and sorted out at the
 * end: what the template assigns anywhere is its own everywhere.  Rendered
 * partials see nothing of the data, so only included ones are walked.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "liquid/survey.h"

typedef struct Walk
{
	LiquidSurvey *found;
	LiquidLibrary *library;
	int			room;			/* for variables */
	int			partial_room;
	int			locals;
	int			local_room;
	LiquidName *local;
	const char *source;			/* of what is being walked */
	LiquidName	partial;
} Walk;

static void walk_body(Walk *w, const LiquidBody *body);
static void walk_expr(Walk *w, const LiquidExpr *e);

static bool
same_name(LiquidName a, LiquidName b)
{
	return a.len == b.len && (a.text == NULL) == (b.text == NULL) &&
		(a.text == NULL || memcmp(a.text, b.text, a.len) == 0);
}

/* Room for one more in an array of "count". */
static void *
grow(void *array, int count, int *room, Size size)
{
	if (count < *room)
		return array;
	*room = Max(*room * 2, 16);
	return array ? repalloc(array, *room * size) : palloc(*room * size);
}

static void
add_local(Walk *w, LiquidName name)
{
	w->local = grow(w->local, w->locals, &w->local_room, sizeof(LiquidName));
	w->local[w->locals++] = name;
}

static bool
is_local(const Walk *w, LiquidName name)
{
	for (int i = 0; i < w->locals; i++)
		if (same_name(w->local[i], name))
			return true;
	return false;
}

static void
add_variable(Walk *w, LiquidName root, LiquidName member)
{
	LiquidSurvey *s = w->found;
	LiquidReference *v;

	for (int i = 0; i < s->variables; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (same_name(s->variable[i].root, root) && same_name(s->variable[i].member, member))
			return;
	}
	if (s->variables == LIQUID_MAX_VARIABLES)
		return;					/* enough to warn about */
	s->variable = grow(s->variable, s->variables, &w->room, sizeof(LiquidReference));
	v = &s->variable[s->variables++];
	v->root = root;
	v->member = member;
	v->partial = w->partial;
	v->source = w->source;
	v->position = root.text - w->source;
}

/* False when it was there already. */
static bool
add_partial(Walk *w, LiquidName name)
{
	LiquidSurvey *s = w->found;

	for (int i = 0; i < s->partials; i++)
		if (same_name(s->partial[i], name))
			return false;
	s->partial = grow(s->partial, s->partials, &w->partial_room, sizeof(LiquidName));
	s->partial[s->partials++] = name;
	return true;
}

static LiquidName
constant_name(const LiquidSegment *s)
{
	LiquidName	name = {NULL, 0};

	if (s->key == NULL && s->constant.kind == LIQUID_STRING && !s->command)
	{
		name.text = s->constant.u.string;
		name.len = s->constant.len;
	}
	return name;
}

static void
walk_path(Walk *w, const LiquidExpr *e)
{
	LiquidSegment first = e->path[0];
	LiquidName	member = {NULL, 0};
	LiquidName	root;

	first.command = false;
	root = constant_name(&first);
	if (e->segments > 1)
		member = constant_name(&e->path[1]);
	if (root.text)
		add_variable(w, root, member);
	for (int i = 0; i < e->segments; i++)
		if (e->path[i].key)
			walk_expr(w, e->path[i].key);
}

static void
walk_expr(Walk *w, const LiquidExpr *e)
{
	check_stack_depth();
	if (e == NULL || e->kind == EXPR_LITERAL)
		return;
	if (e->kind == EXPR_PATH)
	{
		walk_path(w, e);
		return;
	}
	walk_expr(w, e->left);
	walk_expr(w, e->right);
}

static void
walk_arguments(Walk *w, const LiquidArgument *arguments, int count)
{
	for (int i = 0; i < count; i++)
		walk_expr(w, arguments[i].value);
}

static void
walk_output(Walk *w, const LiquidOutput *output)
{
	walk_expr(w, output->expr);
	for (const LiquidCall *call = output->calls; call; call = call->next)
		walk_arguments(w, call->arguments, call->count);
}

static void
walk_choice(Walk *w, const LiquidNode *node)
{
	walk_expr(w, node->u.choice.subject);
	for (const LiquidBranch *b = node->u.choice.branches; b; b = b->next)
	{
		walk_expr(w, b->condition);
		for (int i = 0; i < b->count; i++)
			walk_expr(w, b->values[i]);
		walk_body(w, &b->body);
	}
}

static void
walk_loop(Walk *w, const LiquidFor *loop)
{
	static const LiquidName states[] = {{"forloop", 7}, {"tablerowloop", 12}};

	add_local(w, loop->variable);
	add_local(w, states[0]);
	add_local(w, states[1]);
	walk_expr(w, loop->collection);
	walk_expr(w, loop->limit);
	walk_expr(w, loop->offset);
	walk_expr(w, loop->cols);
	walk_body(w, &loop->body);
	if (loop->otherwise)
		walk_body(w, loop->otherwise);
}

static void
walk_cycle(Walk *w, const LiquidCycle *cycle)
{
	walk_expr(w, cycle->name);
	for (int i = 0; i < cycle->count; i++)
		walk_expr(w, cycle->values[i]);
}

/* Its own name holds what it is included with. */
static void
walk_included(Walk *w, const LiquidPartial *partial, LiquidName name)
{
	LiquidPart *part = liquid_library_find(w->library, name);
	const char *source = w->source;
	LiquidName	outer = w->partial;
	const LiquidTemplate *t;

	if (part == NULL)
		return;
	add_local(w, partial->alias.text ? partial->alias : part->name);
	for (int i = 0; i < partial->count; i++)
		add_local(w, partial->arguments[i].name);
	t = liquid_library_compile(w->library, part);
	w->source = t->source;
	w->partial = part->name;
	walk_body(w, &t->body);
	w->source = source;
	w->partial = outer;
}

static void
walk_partial(Walk *w, const LiquidPartial *partial, bool include)
{
	LiquidName	name = {NULL, 0};

	if (partial->name->kind == EXPR_LITERAL && partial->name->literal.kind == LIQUID_STRING)
	{
		name.text = partial->name->literal.u.string;
		name.len = partial->name->literal.len;
	}
	else
		walk_expr(w, partial->name);
	walk_expr(w, partial->with);
	walk_arguments(w, partial->arguments, partial->count);
	if (add_partial(w, name) && name.text && include)
		walk_included(w, partial, name);
}

static void
walk_node(Walk *w, const LiquidNode *node)
{
	switch (node->kind)
	{
		case NODE_TEXT:
		case NODE_BREAK:
		case NODE_CONTINUE:
			break;
		case NODE_OUTPUT:
			walk_output(w, &node->u.output);
			break;
		case NODE_ASSIGN:
			add_local(w, node->u.assign.name);
			walk_output(w, &node->u.assign.value);
			break;
		case NODE_CAPTURE:
			add_local(w, node->u.capture.name);
			walk_body(w, &node->u.capture.body);
			break;
		case NODE_IF:
		case NODE_CASE:
			walk_choice(w, node);
			break;
		case NODE_FOR:
		case NODE_TABLEROW:
			walk_loop(w, node->u.loop);
			break;
		case NODE_CYCLE:
			walk_cycle(w, node->u.cycle);
			break;
		case NODE_INCREMENT:
		case NODE_DECREMENT:
			add_local(w, node->u.counter);
			break;
		case NODE_IFCHANGED:
			walk_body(w, &node->u.body);
			break;
		case NODE_INCLUDE:
		case NODE_RENDER:
			walk_partial(w, node->u.partial, node->kind == NODE_INCLUDE);
			break;
	}
}

static void
walk_body(Walk *w, const LiquidBody *body)
{
	check_stack_depth();
	for (const LiquidNode *node = body->first; node; node = node->next)
	{
		CHECK_FOR_INTERRUPTS();
		walk_node(w, node);
	}
}

LiquidSurvey *
liquid_survey(const LiquidTemplate *t, LiquidLibrary *library)
{
	Walk		w = {palloc0(sizeof(LiquidSurvey)), library};
	int			kept = 0;

	w.source = t->source;
	walk_body(&w, &t->body);
	for (int i = 0; i < w.found->variables; i++)
		if (!is_local(&w, w.found->variable[i].root))
			w.found->variable[kept++] = w.found->variable[i];
	w.found->variables = kept;
	return w.found;
}
