/*
 * filters.h
 *		The filters: how they are found, and what they are called with.
 */
#ifndef NOTIFY_LIQUID_FILTERS_H
#define NOTIFY_LIQUID_FILTERS_H

#include "compat.h"
#include "liquid/render.h"

#define LIQUID_MAX_ARGUMENTS	16
#define LIQUID_MAX_NAMED		8
#define LIQUID_MAX_CYCLE		64

/* The arguments of one call, evaluated. */
typedef struct LiquidArguments
{
	int			count;			/* of positional ones */
	LiquidValue values[LIQUID_MAX_ARGUMENTS];
	uint32		given;			/* bits of the named ones that were given */
	LiquidValue named[LIQUID_MAX_NAMED];	/* in the order of filter->named */
} LiquidArguments;

typedef LiquidValue (*LiquidFilterFunction) (LiquidRender *r, LiquidValue input,
											 const LiquidArguments *args);

typedef struct LiquidFilter
{
	const char *name;
	LiquidFilterFunction function;
	int			min_arguments;
	int			max_arguments;
	const char *const *named;	/* up to a NULL; or NULL: none */
	const char *required;		/* the one of them that must be given; or NULL */
} LiquidFilter;

/* filters.c */
extern const LiquidFilter *liquid_find_filter(LiquidName name);
extern const char *liquid_similar_filter(LiquidName name);
extern const char *liquid_filter_usage(const LiquidFilter *filter);
extern const char *liquid_named_usage(const LiquidFilter *filter);
pg_noreturn extern void liquid_filter_error(const char *fmt,...)
			pg_attribute_printf(1, 2);

/* The n'th argument, nil when it was not given. */
static inline LiquidValue
liquid_argument(const LiquidArguments *args, int n)
{
	return n < args->count ? args->values[n] : liquid_nil();
}

/* The n'th of the filter's named arguments, nil when it was not given. */
static inline LiquidValue
liquid_named(const LiquidArguments *args, int n)
{
	return args->given & (1U << n) ? args->named[n] : liquid_nil();
}

/* Tables, one of each file, ended by a NULL name. */
extern const LiquidFilter liquid_string_filters[];
extern const LiquidFilter liquid_escape_filters[];
extern const LiquidFilter liquid_math_filters[];
extern const LiquidFilter liquid_array_filters[];
extern const LiquidFilter liquid_select_filters[];
extern const LiquidFilter liquid_locale_filters[];

#endif							/* NOTIFY_LIQUID_FILTERS_H */
