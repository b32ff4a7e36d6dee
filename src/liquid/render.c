/*
 * render.c
 *		Walks the tree and writes the words.
 *
 * One memory context holds all that a rendering allocates, and goes with it.
 * Words go straight to the caller's buffer, and to one of their own while
 * something is captured.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "liquid/escape.h"
#include "liquid/missing.h"
#include "liquid/number.h"
#include "liquid/render.h"

/* Memory is looked at every so many steps, and every so many bytes. */
#define MEMORY_CHECK	256
#define MEMORY_CHECK_BYTES	(1024 * 1024)

/* What all else in the context may come to besides. */
#define ALLOCATED_MAX	(4 * (Size) LIQUID_MAX_MEMORY)

static void
limit_error(const char *what, int64 limit, const char *unit)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("%s", what),
			 errdetail("At most " INT64_FORMAT " %s are allowed.", limit, unit)));
}

static void
check_memory(LiquidRender *r)
{
	if (r->memory > LIQUID_MAX_MEMORY ||
		MemoryContextMemAllocated(r->cxt, true) > ALLOCATED_MAX)
		limit_error("Liquid template uses too much memory", LIQUID_MAX_MEMORY, "bytes");
}

void
liquid_step(LiquidRender *r)
{
	CHECK_FOR_INTERRUPTS();
	if (++r->steps > LIQUID_MAX_STEPS)
		limit_error("Liquid template takes too many steps", LIQUID_MAX_STEPS, "steps");
	if (r->steps % MEMORY_CHECK == 0)
		check_memory(r);
}

void
liquid_grow(LiquidRender *r, int64 bytes)
{
	r->unchecked += bytes;
	if (r->unchecked < MEMORY_CHECK_BYTES)
		return;
	r->unchecked = 0;
	check_memory(r);
}

void
liquid_charge(LiquidRender *r, int64 bytes)
{
	r->memory += bytes;
	check_memory(r);
}

static void
check_output(LiquidRender *r, int64 more)
{
	if (r->out->len + more > LIQUID_MAX_OUTPUT)
		limit_error("Liquid template puts out too much", LIQUID_MAX_OUTPUT, "bytes");
}

void
liquid_put(LiquidRender *r, const char *text, int len)
{
	check_output(r, len);
	liquid_grow(r, len);
	appendBinaryStringInfo(r->out, text, len);
}

/* Escaped where the format asks for it. */
void
liquid_put_value(LiquidRender *r, LiquidValue v)
{
	if (r->format == LIQUID_HTML && !v.safe && !liquid_is_number(v))
	{
		v = liquid_text(v);
		check_output(r, v.len);
		liquid_escape(r->out, v.u.string, v.len);
	}
	else if (v.kind == LIQUID_STRING)
		liquid_put(r, v.u.string, v.len);
	else
		liquid_append(r->out, v);
	check_output(r, 0);
}

/* What the body puts out, as a string. */
static LiquidValue
capture_body(LiquidRender *r, const LiquidBody *body)
{
	StringInfo	outer = r->out;
	StringInfoData captured;
	LiquidValue v;

	initStringInfo(&captured);
	r->out = &captured;
	liquid_render_body(r, body);
	r->out = outer;
	liquid_charge(r, captured.len);
	v = liquid_string(captured.data, captured.len);
	v.safe = true;				/* what had to be escaped in it has been */
	return v;
}

static void
render_if(LiquidRender *r, const LiquidBranch *b)
{
	for (; b; b = b->next)
	{
		if (b->condition == NULL ||
			liquid_is_true(liquid_evaluate(r, b->condition)) != b->negate)
		{
			liquid_render_body(r, &b->body);
			return;
		}
	}
}

/* Every "when" that fits, as often as it fits; "else" if none did before it. */
static void
render_case(LiquidRender *r, const LiquidNode *node)
{
	LiquidValue subject = liquid_evaluate(r, node->u.choice.subject);
	bool		none = true;

	for (LiquidBranch *b = node->u.choice.branches; b; b = b->next)
	{
		if (b->values == NULL && none)
			liquid_render_body(r, &b->body);
		for (int i = 0; i < b->count; i++)
		{
			LiquidValue value = liquid_evaluate(r, b->values[i]);

			liquid_charge_comparison(r, subject, value);
			if (!liquid_equal(subject, value))
				continue;
			none = false;
			liquid_render_body(r, &b->body);
		}
	}
}

/* A counter starts at 0, or at the document's member of the name. */
static int64
counter_value(LiquidRender *r, LiquidName name)
{
	LiquidValue *counter = liquid_find(r->counters, name.text, name.len);
	JsonbValue	member;

	if (counter)
		return counter->u.integer;
	if (r->sees_data && r->data && JsonContainerIsObject(r->data) &&
		getKeyJsonValueFromContainer(r->data, name.text, name.len, &member))
		return liquid_to_int(liquid_from_jsonb(&member));
	return 0;
}

static void
render_counter(LiquidRender *r, LiquidName name, bool up)
{
	uint64		before = (uint64) counter_value(r, name);
	uint64		after = up ? before + 1 : before - 1;

	liquid_set(r->counters, name, liquid_integer((int64) after));
	liquid_put_value(r, liquid_integer((int64) (up ? before : after)));
}

static void
render_ifchanged(LiquidRender *r, const LiquidBody *body)
{
	LiquidValue v = capture_body(r, body);

	if (r->changed.kind == LIQUID_STRING && liquid_equal(r->changed, v))
		return;
	r->changed = v;
	liquid_put(r, v.u.string, v.len);
}

static void
render_node(LiquidRender *r, const LiquidNode *node)
{
	switch (node->kind)
	{
		case NODE_TEXT:
			liquid_put(r, node->u.text.text, node->u.text.len);
			break;
		case NODE_OUTPUT:
			if (r->missing)
				liquid_note_missing(r, &node->u.output);
			liquid_put_value(r, liquid_evaluate_output(r, &node->u.output));
			break;
		case NODE_ASSIGN:
			liquid_set(liquid_outermost(r->scope), node->u.assign.name,
					   liquid_evaluate_output(r, &node->u.assign.value));
			break;
		case NODE_CAPTURE:
			liquid_set(liquid_outermost(r->scope), node->u.capture.name,
					   capture_body(r, &node->u.capture.body));
			break;
		case NODE_IF:
			render_if(r, node->u.choice.branches);
			break;
		case NODE_CASE:
			render_case(r, node);
			break;
		case NODE_FOR:
			liquid_render_for(r, node->u.loop);
			break;
		case NODE_TABLEROW:
			liquid_render_tablerow(r, node->u.loop);
			break;
		case NODE_BREAK:
			r->interrupt = INTERRUPT_BREAK;
			break;
		case NODE_CONTINUE:
			r->interrupt = INTERRUPT_CONTINUE;
			break;
		case NODE_CYCLE:
			liquid_render_cycle(r, node->u.cycle);
			break;
		case NODE_INCREMENT:
		case NODE_DECREMENT:
			render_counter(r, node->u.counter, node->kind == NODE_INCREMENT);
			break;
		case NODE_IFCHANGED:
			render_ifchanged(r, &node->u.body);
			break;
		case NODE_INCLUDE:
			liquid_render_include(r, node->u.partial);
			break;
		case NODE_RENDER:
			liquid_render_render(r, node->u.partial);
			break;
	}
}

void
liquid_render_body(LiquidRender *r, const LiquidBody *body)
{
	check_stack_depth();
	for (const LiquidNode *node = body->first; node && !r->interrupt; node = node->next)
	{
		r->line = node->line;
		liquid_step(r);
		render_node(r, node);
	}
}

static void
render_context(void *arg)
{
	const LiquidRender *r = arg;

	if (r->partial.text && r->line == 0)
		errcontext("Liquid partial \"%.*s\"", r->partial.len, r->partial.text);
	else if (r->partial.text)
		errcontext("line %d of Liquid partial \"%.*s\"", r->line, r->partial.len, r->partial.text);
	else
		errcontext("line %d of Liquid template", r->line);
}

static void
render_with_context(LiquidRender *r, const LiquidBody *body)
{
	ErrorContextCallback callback = {error_context_stack, render_context, r};

	error_context_stack = &callback;
	liquid_render_body(r, body);
	error_context_stack = callback.previous;
}

void
liquid_render(const LiquidTemplate *t, Jsonb *data, LiquidFormat format,
			  LiquidLibrary *library, StringInfo out)
{
	liquid_render_noting(t, data, format, library, out, NULL);
}

/* What is noted outlives the rendering: it is copied to the caller's context. */
static void
hand_over(LiquidMissing *missing)
{
	for (int i = 0; missing && i < missing->count; i++)
		missing->text[i] = pstrdup(missing->text[i]);
}

void
liquid_render_noting(const LiquidTemplate *t, Jsonb *data, LiquidFormat format,
					 LiquidLibrary *library, StringInfo out, LiquidMissing *missing)
{
	LiquidRender r = {0};
	LiquidScope scope = {NULL, NULL};
	LiquidScope counters = {NULL, NULL};
	LiquidScope cycles = {NULL, NULL};
	LiquidScope offsets = {NULL, NULL};
	StringInfoData words;
	MemoryContext caller;

	r.cxt = AllocSetContextCreate(CurrentMemoryContext, "notify_pg liquid",
								  ALLOCSET_DEFAULT_SIZES);
	r.data = data ? &data->root : NULL;
	r.library = library;
	r.format = format;
	r.out = &words;
	r.scope = &scope;
	r.counters = &counters;
	r.cycles = &cycles;
	r.offsets = &offsets;
	r.sees_data = true;
	r.missing = missing;
	caller = MemoryContextSwitchTo(r.cxt);
	initStringInfo(&words);
	render_with_context(&r, &t->body);
	MemoryContextSwitchTo(caller);
	appendBinaryStringInfo(out, words.data, words.len);
	hand_over(missing);
	MemoryContextDelete(r.cxt);
}
