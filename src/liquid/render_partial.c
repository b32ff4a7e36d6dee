/*
 * render_partial.c
 *		render and include.
 *
 * A partial is compiled when it is first used in a rendering.  {% render %}
 * sees only what it is given; {% include %} sees, and may set, all that the
 * template around it does.
 */
#include "postgres.h"

#include "liquid/render.h"

static const char *
partial_source(LiquidRender *r, LiquidName name, int *len)
{
	JsonbValue	found;

	if (r->partials == NULL || !JsonContainerIsObject(r->partials) ||
		!getKeyJsonValueFromContainer(r->partials, name.text, name.len, &found) ||
		found.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("Liquid partial \"%.*s\" does not exist", name.len, name.text)));
	*len = found.val.string.len;
	return found.val.string.val;
}

static LiquidLoaded *
find_loaded(LiquidRender *r, LiquidName name)
{
	LiquidLoaded *l = r->loaded;

	while (l && !(l->name.len == name.len && memcmp(l->name.text, name.text, name.len) == 0))
		l = l->next;
	return l;
}

/* Not compiled yet: errors in the partial should name it, and its absence not. */
static LiquidLoaded *
load(LiquidRender *r, LiquidName name)
{
	LiquidLoaded *l = find_loaded(r, name);

	if (l)
		return l;
	l = palloc0(sizeof(LiquidLoaded));
	l->name = name;
	l->source = partial_source(r, name, &l->len);
	l->next = r->loaded;
	r->loaded = l;
	liquid_charge(r, l->len);
	return l;
}

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

static void
run(LiquidRender *r, LiquidName name)
{
	LiquidLoaded *l = load(r, name);
	LiquidName	outer = r->partial;
	int			line = r->line;

	if (++r->depth > LIQUID_MAX_PARTIALS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Liquid partials are nested too deeply"),
				 errdetail("At most %d may be within each other.", LIQUID_MAX_PARTIALS)));
	r->partial = name;
	r->line = 0;
	if (l->compiled == NULL)
		l->compiled = liquid_parse(l->source, l->len);
	liquid_render_body(r, &l->compiled->body);
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

/* Nothing of what is around is seen, and a break does not get out. */
static void
run_apart(LiquidRender *r, LiquidName name, LiquidScope *scope)
{
	LiquidScope *outer = r->scope;
	LiquidLoop *loop = r->loop;
	bool		sees_data = r->sees_data;
	bool		no_include = r->no_include;

	r->scope = scope;
	r->loop = NULL;
	r->sees_data = false;
	r->no_include = true;
	run(r, name);
	r->scope = outer;
	r->loop = loop;
	r->sees_data = sees_data;
	r->no_include = no_include;
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
