/*
 * library.h
 *		The partials a template may render, compiled as they are first used.
 */
#ifndef NOTIFY_LIQUID_LIBRARY_H
#define NOTIFY_LIQUID_LIBRARY_H

#include "liquid/liquid.h"
#include "liquid/tree.h"

typedef struct LiquidPart
{
	LiquidName	name;
	const char *source;
	int			len;
	const LiquidTemplate *compiled; /* NULL until liquid_library_compile() */
	struct LiquidPart *next;
} LiquidPart;

/* NULL when there is no partial of this name. */
extern LiquidPart *liquid_library_find(LiquidLibrary *library, LiquidName name);

/* The tree of a part of it; a syntax error leaves the library as it was. */
extern const LiquidTemplate *liquid_library_compile(LiquidLibrary *library, LiquidPart *part);

#endif							/* NOTIFY_LIQUID_LIBRARY_H */
