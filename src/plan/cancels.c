/*
 * cancels.c
 *		Events that cancel earlier ones, by their keys.
 *
 * Mostly nothing was cancelled, and then nothing is looked for: whether a day has
 * any such event is asked of its index on cancel_key, which has an entry for each
 * and none for other events.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "capture/id.h"
#include "plan/cancels.h"
#include "rows.h"
#include "statement.h"

#define MS_AHEAD	INT64CONST(3600000)	/* ids may be ahead of the clock: capture/id.c */
#define DAYS_MOST	40			/* looked through */

static const RowsShape cancel_shape = {
	"event", 0, {NULL}, 1, {"cancel_key"}, {F_TEXTEQ}, false, false, true
};

typedef struct Cancel
{
	char	   *key;
	int64		event;			/* the latest with this key */
} Cancel;

struct Cancels
{
	int			n;
	Cancel	   *list;			/* by key */
};

bool
cancels_between(int64 first, int64 last, Snapshot snapshot)
{
	Rows	   *cancels;
	bool		any;

	last = Max(last, notify_time_to_id(GetCurrentTimestamp() + MS_AHEAD * 1000));
	if (notify_id_day(last) - notify_id_day(first) > DAYS_MOST)
		return true;
	cancels = rows_open(&cancel_shape, snapshot, AccessShareLock);
	any = rows_any(cancels, first, last);
	rows_close(cancels);
	return any;
}

static ArrayType *
text_array(char **strings, int n)
{
	Datum	   *texts = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		texts[i] = CStringGetTextDatum(strings[i]);
	return construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT);
}

Cancels *
cancels_find(char **keys, int nkeys, int64 since)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TEXTARRAYOID, INT8OID};
	Datum		values[] = {PointerGetDatum(text_array(keys, nkeys)), Int64GetDatum(since)};
	MemoryContext cxt = CurrentMemoryContext;
	Cancels    *cancels = palloc0(sizeof(Cancels));

	statement_plan(&plan, "SELECT c.key, pg_catalog.max(c.id) FROM notify._find_cancels($1, $2) AS f "
				   "CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(f.cancelled), pg_catalog.unnest(f.cancels)) AS c (key, id) "
				   "GROUP BY c.key ORDER BY c.key COLLATE pg_catalog.\"C\"", 2, types);
	if (SPI_execute_plan(plan, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._find_cancels() failed");
	cancels->list = MemoryContextAlloc(cxt, Max(SPI_processed, 1) * sizeof(Cancel));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Cancel	   *cancel = &cancels->list[cancels->n++];

		cancel->key = MemoryContextStrdup(cxt, TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
		cancel->event = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return cancels;
}

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(((const Cancel *) a)->key, ((const Cancel *) b)->key);
}

bool
cancels_include(const Cancels *cancels, const char *key, int64 event)
{
	Cancel		wanted = {unconstify(char *, key)};
	const Cancel *cancel;

	if (cancels == NULL || key == NULL)
		return false;
	cancel = bsearch(&wanted, cancels->list, cancels->n, sizeof(Cancel), compare_keys);
	return cancel != NULL && cancel->event > event;
}
