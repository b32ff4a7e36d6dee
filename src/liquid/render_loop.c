/*
 * render_loop.c
 *		for, tablerow and cycle.
 */
#include "postgres.h"

#include "liquid/number.h"
#include "liquid/render.h"

/* The part of a collection a loop walks over. */
typedef struct Segment
{
	LiquidValue values;			/* an array or a range */
	bool		copied;			/* for this loop, which frees it */
	int64		first;
	int64		count;
} Segment;

static const LiquidName forloop_name = {"forloop", 7};
static const LiquidName tablerowloop_name = {"tablerowloop", 12};

static int64
clamp(int64 n)
{
	return Max(Min(n, PG_INT64_MAX / 4), -(PG_INT64_MAX / 4));
}

static bool
is_indexed(LiquidValue v)
{
	return v.kind == LIQUID_ARRAY || v.kind == LIQUID_RANGE;
}

/* The segment's elements in an array, so that they can be had by number. */
static void
copy_elements(LiquidRender *r, Segment *s)
{
	r->steps += (s->first + s->count) / 4;
	liquid_grow(r, s->count * sizeof(LiquidValue));
	s->values = liquid_array(liquid_items(s->values, s->first, s->count));
	s->first = 0;
	s->copied = true;
}

static Segment
cut(LiquidRender *r, LiquidValue v, int64 from, const int64 *limit)
{
	Segment		s = {v, false, Max(from, 0), 0};
	int64		count = liquid_count(v);
	int64		to = limit ? Min(clamp(from) + clamp(*limit), count) : count;

	if (v.kind == LIQUID_STRING)	/* is one element, come what may */
	{
		s.first = 0;
		to = v.len > 0;
	}
	s.count = Max(to - s.first, 0);
	if (!is_indexed(v))
		copy_elements(r, &s);
	return s;
}

static void
release(Segment s)
{
	if (!s.copied)
		return;
	pfree(s.values.u.array->items);
	pfree(s.values.u.array);
}

/* Where each loop of this name and collection left off. */
static LiquidValue *
offset_of(LiquidRender *r, const LiquidFor *loop)
{
	LiquidName	name = {loop->name, strlen(loop->name)};

	if (!liquid_find(r->offsets, name.text, name.len))
		liquid_set(r->offsets, name, liquid_integer(0));
	return liquid_find(r->offsets, name.text, name.len);
}

static Segment
for_segment(LiquidRender *r, const LiquidFor *loop)
{
	LiquidValue *left_off = offset_of(r, loop);
	LiquidValue offset = loop->offset ? liquid_evaluate(r, loop->offset) : liquid_nil();
	LiquidValue collection = liquid_evaluate(r, loop->collection);
	LiquidValue limit = loop->limit ? liquid_evaluate(r, loop->limit) : liquid_nil();
	int64		from = liquid_is_nil(offset) ? 0 : liquid_need_int(offset);
	int64		most = liquid_is_nil(limit) ? 0 : liquid_need_int(limit);
	Segment		s;

	if (loop->offset_continue)
		from = left_off->u.integer;
	s = cut(r, collection, from, liquid_is_nil(limit) ? NULL : &most);
	*left_off = liquid_integer(clamp(from) + s.count);
	return s;
}

/* A template may keep hold of it beyond the loop's end. */
LiquidLoop *
liquid_make_loop(const char *name, int64 length, int64 cols, const LiquidLoop *parent)
{
	LiquidLoop *loop = palloc0(sizeof(LiquidLoop));

	loop->name = name;
	loop->length = length;
	loop->cols = cols;
	loop->parent = parent;
	return loop;
}

/* True when the loop is to end. */
static bool
interrupted(LiquidRender *r)
{
	bool		stop = r->interrupt == INTERRUPT_BREAK;

	r->interrupt = INTERRUPT_NONE;
	return stop;
}

static void
walk(LiquidRender *r, const LiquidFor *loop, Segment s)
{
	LiquidLoop *state = liquid_make_loop(loop->name, s.count, 0, r->loop);
	LiquidValue forloop = {.kind = LIQUID_LOOP,.u.loop = state};
	LiquidVariable item = {loop->variable, {LIQUID_NIL}, NULL};
	LiquidVariable drop = {forloop_name, forloop, &item};
	LiquidScope scope = {&drop, r->scope};

	r->scope = &scope;
	r->loop = state;
	for (; state->index0 < s.count; state->index0++)
	{
		liquid_step(r);
		item.value = liquid_nth(s.values, loop->reversed ? s.first + s.count - 1 - state->index0 :
								s.first + state->index0);
		liquid_render_body(r, &loop->body);
		if (interrupted(r))
			break;
	}
	r->loop = (LiquidLoop *) state->parent;
	r->scope = scope.outer;
}

void
liquid_render_for(LiquidRender *r, const LiquidFor *loop)
{
	Segment		s = for_segment(r, loop);

	if (s.count > 0)
		walk(r, loop, s);
	else if (loop->otherwise)
		liquid_render_body(r, loop->otherwise);
	release(s);
}

static void
put_format(LiquidRender *r, const char *before, int64 n, const char *after)
{
	char	   *text = psprintf("%s" INT64_FORMAT "%s", before, n, after);

	liquid_put(r, text, strlen(text));
	pfree(text);
}

static void
walk_cells(LiquidRender *r, const LiquidFor *loop, Segment s, int64 cols)
{
	LiquidLoop *state = liquid_make_loop(loop->name, s.count, cols, NULL);
	LiquidValue tablerow = {.kind = LIQUID_TABLEROW,.u.loop = state};
	LiquidVariable item = {loop->variable, {LIQUID_NIL}, NULL};
	LiquidVariable drop = {tablerowloop_name, tablerow, &item};
	LiquidScope scope = {&drop, r->scope};

	r->scope = &scope;
	for (; state->index0 < s.count; state->index0++)
	{
		liquid_step(r);
		item.value = liquid_nth(s.values, s.first + state->index0);
		put_format(r, "<td class=\"col", state->index0 % cols + 1, "\">");
		liquid_render_body(r, &loop->body);
		liquid_put(r, "</td>", 5);
		if (interrupted(r))
			break;
		if (state->index0 % cols == cols - 1 && state->index0 < s.count - 1)
			put_format(r, "</tr>\n<tr class=\"row", state->index0 / cols + 2, "\">");
	}
	r->scope = scope.outer;
}

void
liquid_render_tablerow(LiquidRender *r, const LiquidFor *loop)
{
	LiquidValue collection = liquid_evaluate(r, loop->collection);
	int64		from = loop->offset ? liquid_to_int(liquid_evaluate(r, loop->offset)) : 0;
	int64		limit = loop->limit ? liquid_to_int(liquid_evaluate(r, loop->limit)) : 0;
	int64		cols = loop->cols ? liquid_to_int(liquid_evaluate(r, loop->cols)) : 0;
	Segment		s;

	if (!liquid_is_true(collection))
		return;
	s = cut(r, collection, from, loop->limit ? &limit : NULL);
	liquid_put(r, "<tr class=\"row1\">\n", 18);
	walk_cells(r, loop, s, cols > 0 ? cols : Max(s.count, 1));
	liquid_put(r, "</tr>\n", 6);
	release(s);
}

/* Named cycles go on under their name's value, whatever their values are. */
static LiquidName
cycle_name(LiquidRender *r, const LiquidCycle *cycle)
{
	LiquidName	name;
	LiquidValue v;
	LiquidValue text;

	if (cycle->name == NULL)
	{
		name.text = cycle->key;
		name.len = strlen(cycle->key);
		return name;
	}
	v = liquid_evaluate(r, cycle->name);
	text = liquid_text(v);
	name.text = psprintf("%d:%s", (int) v.kind, pnstrdup(text.u.string, text.len));
	name.len = strlen(name.text);
	return name;
}

void
liquid_render_cycle(LiquidRender *r, const LiquidCycle *cycle)
{
	LiquidName	name = cycle_name(r, cycle);
	LiquidValue *at = liquid_find(r->cycles, name.text, name.len);
	int64		i = at ? at->u.integer : 0;

	if (i < cycle->count)
	{
		LiquidOutput output = {cycle->values[i], NULL};

		liquid_put_value(r, liquid_evaluate_output(r, &output));
	}
	liquid_set(r->cycles, name, liquid_integer(i + 1 < cycle->count ? i + 1 : 0));
}
