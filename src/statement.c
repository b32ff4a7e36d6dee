/*
 * statement.c
 *		SQL statements that a process prepares once and keeps.
 */
#include "postgres.h"

#include "statement.h"

SPIPlanPtr
statement_plan(SPIPlanPtr *plan, const char *query, int nargs, Oid *types)
{
	SPIPlanPtr	fresh;

	if (*plan)
		return *plan;
	fresh = SPI_prepare(query, nargs, types);
	if (fresh == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(fresh);
	*plan = fresh;
	return fresh;
}

SPIPlanPtr
statement_typed_plan(TypedPlan *kept, const char *query, int nargs, Oid *types)
{
	if (kept->plan != NULL && kept->type != types[nargs - 1])
	{
		SPI_freeplan(kept->plan);
		kept->plan = NULL;
	}
	kept->type = types[nargs - 1];
	return statement_plan(&kept->plan, query, nargs, types);
}

/* What is not passed by value belongs to the caller's SPI connection. */
Datum
statement_value(SPIPlanPtr plan, Datum *values, const char *nulls, bool *isnull)
{
	int			status = SPI_execute_plan(plan, values, nulls, false, 1);

	if (status != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "a statement gave no row: %s", SPI_result_code_string(status));
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
}
