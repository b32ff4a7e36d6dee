/*
 * filters.h
 *		The filters: how they are found, and what they are called with.
 */
#ifndef NOTIFY_LIQUID_FILTERS_H
#define NOTIFY_LIQUID_FILTERS_H

#include "liquid/render.h"

#define LIQUID_MAX_ARGUMENTS	16
#define LIQUID_MAX_CYCLE		64

/* The arguments of one call, evaluated. */
typedef struct LiquidArguments
{
	int			count;			/* of positional ones */
	LiquidValue values[LIQUID_MAX_ARGUMENTS];
	LiquidValue named;			/* the one a filter may know by name, or nil */
} LiquidArguments;

typedef LiquidValue (*LiquidFilterFunction) (LiquidRender *r, LiquidValue input,
											 const LiquidArguments *args);

typedef struct LiquidFilter
{
	const char *name;
	LiquidFilterFunction function;
	int			min_arguments;
	int			max_arguments;
	const char *named;			/* or NULL */
} LiquidFilter;

/* filters.c */
extern const LiquidFilter *liquid_find_filter(LiquidName name);
extern const char *liquid_similar_filter(LiquidName name);
extern const char *liquid_filter_usage(const LiquidFilter *filter);
extern void liquid_filter_error(const char *fmt,...)
			pg_attribute_printf(1, 2) pg_attribute_noreturn();

/* The n'th argument, nil when it was not given. */
static inline LiquidValue
liquid_argument(const LiquidArguments *args, int n)
{
	return n < args->count ? args->values[n] : liquid_nil();
}

/* Tables, one of each file, ended by a NULL name. */
extern const LiquidFilter liquid_string_filters[];
extern const LiquidFilter liquid_escape_filters[];
extern const LiquidFilter liquid_math_filters[];
extern const LiquidFilter liquid_array_filters[];
extern const LiquidFilter liquid_select_filters[];
extern const LiquidFilter liquid_locale_filters[];

#endif							/* NOTIFY_LIQUID_FILTERS_H */
