/*
 * statement.h
 *		SQL statements that a process prepares once and keeps.
 */
#ifndef NOTIFY_STATEMENT_H
#define NOTIFY_STATEMENT_H

#include "executor/spi.h"

/* Prepares it at first use; *plan is NULL before. Needs a connection to SPI. */
extern SPIPlanPtr statement_plan(SPIPlanPtr *plan, const char *query, int nargs, Oid *types);

/*
 * The same for a statement that takes values of our own types: these are others
 * when the extension was made anew in this session.  Its last argument tells.
 */
typedef struct TypedPlan
{
	SPIPlanPtr	plan;
	Oid			type;
} TypedPlan;

extern SPIPlanPtr statement_typed_plan(TypedPlan *kept, const char *query, int nargs, Oid *types);

/* Runs such a plan that gives one row of one column, the value of which is given. */
extern Datum statement_value(SPIPlanPtr plan, Datum *values, const char *nulls, bool *isnull);

#endif							/* NOTIFY_STATEMENT_H */
