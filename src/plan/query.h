/*
 * query.h
 *		A rule's audience and context: SELECTs that see new, old and event.
 */
#ifndef NOTIFY_PLAN_QUERY_H
#define NOTIFY_PLAN_QUERY_H

#include "executor/spi.h"

typedef enum QueryKind
{
	QUERY_AUDIENCE,
	QUERY_CONTEXT
} QueryKind;

/* The arguments of a prepared query: parallel arrays, one element an event. */
#define QUERY_NARGS 4			/* bigint[] ids, jsonb[] new, old, event */

extern QueryKind query_kind(const char *name);

/*
 * Parse and analyse; raises what is wrong with the position in "text".  The
 * caller is connected to SPI and has assumed the owner's identity.  The plan's
 * rows are (event bigint, data jsonb).  Over emitted events relation is invalid
 * and new and old are jsonb.
 */
extern SPIPlanPtr query_prepare(QueryKind kind, const char *text, Oid relation);

#endif
