/*
 * scope.c
 *		Variables.
 *
 * Scopes are short chains searched in order; a template names few variables.
 */
#include "postgres.h"

#include "liquid/render.h"

LiquidValue *
liquid_find(LiquidScope *scope, const char *name, int len)
{
	for (LiquidVariable *v = scope->variables; v; v = v->next)
		if (v->name.len == len && memcmp(v->name.text, name, len) == 0)
			return &v->value;
	return NULL;
}

/* They are searched one by one, so there must not be too many. */
static void
check_room(const LiquidScope *scope)
{
	int			count = 0;

	for (LiquidVariable *v = scope->variables; v; v = v->next)
		count++;
	if (count >= LIQUID_MAX_VARIABLES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Liquid template sets too many variables"),
				 errdetail("At most %d are allowed.", LIQUID_MAX_VARIABLES)));
}

void
liquid_set(LiquidScope *scope, LiquidName name, LiquidValue value)
{
	LiquidValue *found = liquid_find(scope, name.text, name.len);
	LiquidVariable *v;

	if (found)
	{
		*found = value;
		return;
	}
	check_room(scope);
	v = palloc(sizeof(LiquidVariable));
	v->name = name;
	v->value = value;
	v->next = scope->variables;
	scope->variables = v;
}

LiquidScope *
liquid_outermost(LiquidScope *scope)
{
	while (scope->outer)
		scope = scope->outer;
	return scope;
}

/* Scopes hide counters, and both hide the document. */
LiquidValue
liquid_get(LiquidRender *r, const char *name, int len)
{
	LiquidValue *found;
	JsonbValue	member;

	for (LiquidScope *s = r->scope; s; s = s->outer)
		if ((found = liquid_find(s, name, len)) != NULL)
			return *found;
	if ((found = liquid_find(r->counters, name, len)) != NULL)
		return *found;
	if (!r->sees_data || r->data == NULL || !JsonContainerIsObject(r->data) ||
		getKeyJsonValueFromContainer(r->data, name, len, &member) == NULL)
		return liquid_nil();
	return liquid_from_jsonb(&member);
}
