/*
 * instance.c
 *		Where this server is: what tells a database from a copy of it.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "guc.h"

PG_FUNCTION_INFO_V1(notify_here);

#define HOST_MAX 256

static Datum
host_name(void)
{
	char		name[HOST_MAX];

	if (notify_host_id != NULL && *notify_host_id != '\0')
		return CStringGetTextDatum(notify_host_id);
	if (gethostname(name, sizeof(name)) != 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not get the host's name: %m"),
				 errhint("Set notify_pg.host_id.")));
	name[HOST_MAX - 1] = '\0';
	return CStringGetTextDatum(name);
}

Datum
notify_here(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	values[2] = host_name();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
