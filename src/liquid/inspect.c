/*
 * inspect.c
 *		An object or array in the reference's notation, and as JSON.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/json.h"

#include "liquid/inspect.h"

/* What differs between the two notations. */
typedef struct Notation
{
	const char *arrow;			/* between key and value */
	const char *comma;
	const char *nil;
	void		(*string) (StringInfo out, LiquidValue v);
} Notation;

static void write_value(StringInfo out, LiquidValue v, const Notation *n);

static void
inspect_string(StringInfo out, LiquidValue v)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < v.len; i++)
	{
		char		c = v.u.string[i];

		if (c == '"' || c == '\\')
			appendStringInfoChar(out, '\\');
		if (c == '\n')
			appendStringInfoString(out, "\\n");
		else if (c == '\t')
			appendStringInfoString(out, "\\t");
		else if (c == '\r')
			appendStringInfoString(out, "\\r");
		else
			appendStringInfoChar(out, c);
	}
	appendStringInfoChar(out, '"');
}

static void
json_string(StringInfo out, LiquidValue v)
{
	escape_json(out, pnstrdup(v.u.string, v.len));
}

static void
write_array(StringInfo out, LiquidValue v, const Notation *n)
{
	appendStringInfoChar(out, '[');
	for (int64 i = 0, count = liquid_count(v); i < count; i++)
	{
		if (i > 0)
			appendStringInfoString(out, n->comma);
		write_value(out, liquid_nth(v, i), n);
	}
	appendStringInfoChar(out, ']');
}

static void
write_object(StringInfo out, LiquidValue v, const Notation *n)
{
	LiquidArray *pairs = liquid_items(v, 0, -1);

	appendStringInfoChar(out, '{');
	for (int i = 0; i < pairs->count; i++)
	{
		const LiquidValue *pair = pairs->items[i].u.array->items;

		if (i > 0)
			appendStringInfoString(out, n->comma);
		n->string(out, pair[0]);
		appendStringInfoString(out, n->arrow);
		write_value(out, pair[1], n);
	}
	appendStringInfoChar(out, '}');
}

static void
write_value(StringInfo out, LiquidValue v, const Notation *n)
{
	check_stack_depth();
	liquid_check_text(out);
	if (v.kind == LIQUID_OBJECT)
		write_object(out, v, n);
	else if (liquid_is_array(v))
		write_array(out, v, n);
	else if (liquid_is_nil(v))
		appendStringInfoString(out, n->nil);
	else if (v.kind == LIQUID_BOOLEAN || liquid_is_number(v))
		liquid_append(out, v);
	else
		n->string(out, liquid_text(v));
}

void
liquid_inspect(StringInfo out, LiquidValue v)
{
	static const Notation notation = {"=>", ", ", "nil", inspect_string};

	write_value(out, v, &notation);
}

void
liquid_json(StringInfo out, LiquidValue v)
{
	static const Notation notation = {":", ",", "null", json_string};

	if (v.kind == LIQUID_RANGE)
		v = liquid_array(liquid_items(v, 0, -1));
	write_value(out, v, &notation);
}
