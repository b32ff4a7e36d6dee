/*
 * filters.c
 *		Finding a filter by its name.
 */
#include "postgres.h"

#include "common/string.h"
#include "lib/stringinfo.h"

#include "liquid/filters.h"
#include "liquid/parser.h"
#include "liquid/similar.h"

static const LiquidFilter *const tables[] = {
	liquid_string_filters, liquid_escape_filters, liquid_math_filters,
	liquid_array_filters, liquid_select_filters, liquid_locale_filters
};

const LiquidFilter *
liquid_find_filter(LiquidName name)
{
	for (int i = 0; i < lengthof(tables); i++)
		for (const LiquidFilter *f = tables[i]; f->name; f++)
			if (liquid_name_is(name, f->name))
				return f;
	return NULL;
}

/* A hint, or NULL when no filter's name is like this one. */
const char *
liquid_similar_filter(LiquidName name)
{
	Similar		best = {name.text, name.len};

	for (int i = 0; i < lengthof(tables); i++)
		for (const LiquidFilter *f = tables[i]; f->name; f++)
			similar_try(&best, f->name);
	return best.found ? psprintf("Perhaps you meant \"%s\".", best.found) : NULL;
}

const char *
liquid_filter_usage(const LiquidFilter *f)
{
	if (f->max_arguments == 0)
		return "It takes no argument.";
	if (f->min_arguments == f->max_arguments)
		return psprintf(f->min_arguments == 1 ? "It takes %d argument." : "It takes %d arguments.",
						f->min_arguments);
	return psprintf("It takes %d to %d arguments.", f->min_arguments, f->max_arguments);
}

/* Which arguments it knows by name: a hint, or NULL when there is none. */
const char *
liquid_named_usage(const LiquidFilter *f)
{
	StringInfoData names;

	if (f->named == NULL)
		return NULL;
	initStringInfo(&names);
	for (int i = 0; f->named[i]; i++)
		appendStringInfo(&names, i == 0 ? "\"%s\"" : ", \"%s\"", f->named[i]);
	return psprintf("It knows %s.", names.data);
}

/* The data does not suit the filter. */
void
liquid_filter_error(const char *fmt,...)
{
	va_list		args;
	char		message[256];

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}
