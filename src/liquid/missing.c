/*
 * missing.c
 *		What a rendering put out although its data does not have it.
 *
 * A member that is there and null is no fault; one that is not there may be a
 * slip of the pen, so the nearest name that is there is given with it.
 */
#include "postgres.h"

#include "liquid/filters.h"
#include "liquid/missing.h"
#include "liquid/similar.h"
#include "liquid/text.h"

static bool
has_default(const LiquidCall *call)
{
	while (call && strcmp(call->filter->name, "default") != 0)
		call = call->next;
	return call != NULL;
}

/* The step's key, or nil when it is no name. */
static LiquidValue
step_name(LiquidRender *r, const LiquidSegment *s)
{
	LiquidValue key = s->key ? liquid_evaluate(r, s->key) : s->constant;

	return key.kind == LIQUID_STRING ? key : liquid_nil();
}

static bool
is_variable(LiquidRender *r, LiquidValue name)
{
	for (LiquidScope *s = r->scope; s; s = s->outer)
		if (liquid_find(s, name.u.string, name.len))
			return true;
	return liquid_find(r->counters, name.u.string, name.len) != NULL;
}

static bool
has_member(LiquidValue object, LiquidValue name)
{
	JsonbValue	found;

	return object.kind == LIQUID_OBJECT &&
		getKeyJsonValueFromContainer(object.u.json, name.u.string, name.len, &found) != NULL;
}

static void
append_path(StringInfo out, LiquidRender *r, const LiquidExpr *path, int steps)
{
	for (int i = 0; i < steps; i++)
	{
		LiquidValue key = path->path[i].key ? liquid_evaluate(r, path->path[i].key) :
			path->path[i].constant;

		if (key.kind == LIQUID_STRING)
			appendStringInfo(out, i > 0 ? ".%s" : "%s", liquid_clip(key.u.string, key.len));
		else
			appendStringInfo(out, "[%s]", liquid_clip_value(key));
	}
}

static void
note(LiquidRender *r, const LiquidExpr *path, int steps, LiquidValue object, LiquidValue name)
{
	LiquidMissing *m = r->missing;
	Similar		best = {name.u.string, name.len};
	StringInfoData text;

	if (m->count == LIQUID_MAX_MISSING)
		return;
	initStringInfo(&text);
	if (r->partial.text)
		appendStringInfo(&text, "partial \"%s\", ", liquid_clip(r->partial.text, r->partial.len));
	appendStringInfo(&text, "line %d: the data has no \"", r->line);
	append_path(&text, r, path, steps);
	appendStringInfoChar(&text, '"');
	if (object.kind == LIQUID_OBJECT)
	{
		LiquidArray *members = liquid_items(object, 0, -1);

		for (int i = 0; i < members->count; i++)
		{
			LiquidValue key = members->items[i].u.array->items[0];

			similar_try(&best, pnstrdup(key.u.string, key.len));
		}
	}
	if (best.found)
		appendStringInfo(&text, "; perhaps \"%s\"", best.found);
	for (int i = 0; i < m->count; i++)
		if (strcmp(m->text[i], text.data) == 0)
			return;
	m->text[m->count++] = text.data;
}

void
liquid_note_missing(LiquidRender *r, const LiquidOutput *output)
{
	const LiquidExpr *e = output->expr;
	LiquidValue v = liquid_nil();

	if (e == NULL || e->kind != EXPR_PATH || has_default(output->calls))
		return;
	if (r->sees_data && r->data)
		v = liquid_from_container(r->data);
	for (int i = 0; i < e->segments; i++)
	{
		LiquidValue name = step_name(r, &e->path[i]);
		LiquidValue next = i > 0 ? liquid_lookup(v, name, e->path[i].command) :
			liquid_is_nil(name) ? name : liquid_get(r, name.u.string, name.len);

		if (liquid_is_nil(name))
			return;
		if (liquid_is_nil(next))
		{
			if (!has_member(v, name) && (i > 0 || !is_variable(r, name)))
				note(r, e, i + 1, v, name);
			return;
		}
		v = next;
	}
}
