/*
 * filters.c
 *		Finding a filter by its name.
 */
#include "postgres.h"

#include "common/string.h"
#include "lib/stringinfo.h"

#include "liquid/filters.h"
#include "liquid/parser.h"

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

/* How many characters two names have in common, from the front and the back. */
static int
likeness(LiquidName name, const char *other)
{
	int			len = strlen(other);
	int			front = 0;
	int			back = 0;

	while (front < name.len && front < len && name.text[front] == other[front])
		front++;
	while (back < name.len - front && back < len - front &&
		   name.text[name.len - 1 - back] == other[len - 1 - back])
		back++;
	return front + back;
}

/* A hint, or NULL when no filter's name is like this one. */
const char *
liquid_similar_filter(LiquidName name)
{
	const char *best = NULL;
	int			most = 0;

	for (int i = 0; i < lengthof(tables); i++)
		for (const LiquidFilter *f = tables[i]; f->name; f++)
		{
			int			common = likeness(name, f->name);

			if (common > most && common * 3 >= 2 * Max(name.len, (int) strlen(f->name)))
			{
				most = common;
				best = f->name;
			}
		}
	return best ? psprintf("Perhaps you meant \"%s\".", best) : NULL;
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
