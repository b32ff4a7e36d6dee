/*
 * render_partial.c
 *		render and include.
 *
 * {% render %} sees only what it is given; {% include %} sees, and may set, all
 * that the template around it does.
 */
#include "postgres.h"

#include "liquid/library.h"
#include "liquid/render.h"
#include "liquid/text.h"

static LiquidName
partial_name(LiquidRender *r, const LiquidPartial *partial)
{
	LiquidValue v = liquid_evaluate(r, partial->name);
	LiquidName	name = {v.u.string, v.len};

	if (v.kind != LIQUID_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a Liquid partial is not a string")));
	return name;
}

/* The variable that holds what the partial is rendered with. */
static LiquidName
subject_name(const LiquidPartial *partial, LiquidName name)
{
	if (partial->alias.text)
		return partial->alias;
	for (int i = name.len - 1; i >= 0; i--)
	{
		if (name.text[i] == '/')
		{
			LiquidName	base = {name.text + i + 1, name.len - i - 1};

			return base;
		}
	}
	return name;
}

/* A syntax error in the partial should name it, and its absence not. */
static void
run(LiquidRender *r, LiquidName name)
{
	LiquidPart *part = liquid_library_find(r->library, name);
	LiquidName	outer = r->partial;
	int			line = r->line;

	if (part == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("Liquid partial \"%s\" does not exist", liquid_clip(name.text, name.len))));
	if (++r->depth > LIQUID_MAX_PARTIALS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Liquid partials are nested too deeply"),
				 errdetail("At most %d may be within each other.", LIQUID_MAX_PARTIALS)));
	r->partial = part->name;
	r->line = 0;
	liquid_render_body(r, &liquid_library_compile(r->library, part)->body);
	r->partial = outer;
	r->line = line;
	r->depth--;
}

static void
set_arguments(LiquidRender *r, const LiquidPartial *partial, LiquidScope *scope)
{
	for (int i = 0; i < partial->count; i++)
		liquid_set(scope, partial->arguments[i].name,
				   liquid_evaluate(r, partial->arguments[i].value));
}

void
liquid_render_include(LiquidRender *r, const LiquidPartial *partial)
{
	LiquidScope scope = {NULL, r->scope};
	LiquidName	name;
	LiquidValue subject;

	if (r->no_include)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"include\" is not allowed within \"render\"")));
	name = partial_name(r, partial);
	subject = partial->with ? liquid_evaluate(r, partial->with) :
		liquid_get(r, name.text, name.len);
	set_arguments(r, partial, &scope);
	r->scope = &scope;
	for (int64 i = 0, n = liquid_is_array(subject) ? liquid_count(subject) : 1; i < n; i++)
	{
		liquid_set(&scope, subject_name(partial, name),
				   liquid_is_array(subject) ? liquid_nth(subject, i) : subject);
		run(r, name);
	}
	r->scope = scope.outer;
}

/*
 * Nothing of what is around is seen, and a break does not get out.  Counters
 * start anew; cycles and loop offsets are shared once the template outside has
 * begun any, as in the reference.
 */
static void
run_apart(LiquidRender *r, LiquidName name, LiquidScope *scope)
{
	LiquidRender outer = *r;
	LiquidScope counters = {NULL, NULL};
	LiquidScope cycles = {NULL, NULL};
	LiquidScope offsets = {NULL, NULL};

	r->scope = scope;
	r->counters = &counters;
	if (r->cycles->variables == NULL)
		r->cycles = &cycles;
	if (r->offsets->variables == NULL)
		r->offsets = &offsets;
	r->loop = NULL;
	r->sees_data = false;
	r->no_include = true;
	run(r, name);
	r->scope = outer.scope;
	r->counters = outer.counters;
	r->cycles = outer.cycles;
	r->offsets = outer.offsets;
	r->loop = outer.loop;
	r->changed = outer.changed;
	r->sees_data = outer.sees_data;
	r->no_include = outer.no_include;
	r->interrupt = INTERRUPT_NONE;
}

static void
render_each(LiquidRender *r, const LiquidPartial *partial, LiquidName name, LiquidValue subjects)
{
	static const LiquidName forloop_name = {"forloop", 7};
	LiquidLoop *state = liquid_make_loop(pnstrdup(name.text, name.len),
										 subjects.u.array->count, 0, NULL);
	LiquidValue forloop = {.kind = LIQUID_LOOP,.u.loop = state};

	for (; state->index0 < state->length; state->index0++)
	{
		LiquidScope scope = {NULL, NULL};

		liquid_set(&scope, forloop_name, forloop);
		set_arguments(r, partial, &scope);
		liquid_set(&scope, subject_name(partial, name),
				   subjects.u.array->items[state->index0]);
		run_apart(r, name, &scope);
	}
}

void
liquid_render_render(LiquidRender *r, const LiquidPartial *partial)
{
	LiquidScope scope = {NULL, NULL};
	LiquidName	name = partial_name(r, partial);
	LiquidValue subject = partial->with ? liquid_evaluate(r, partial->with) : liquid_nil();

	if (partial->each && (liquid_is_array(subject) || subject.kind == LIQUID_RANGE ||
						  subject.kind == LIQUID_OBJECT))
	{
		render_each(r, partial, name, liquid_array(liquid_items(subject, 0, -1)));
		return;
	}
	set_arguments(r, partial, &scope);
	if (!liquid_is_nil(subject))
		liquid_set(&scope, subject_name(partial, name), subject);
	run_apart(r, name, &scope);
}
