/*
 * release.c
 *		Whether the objects in a database are of this library's release.
 *
 * Between the installation of a new library and ALTER EXTENSION UPDATE, which
 * runs in each database by itself, a library meets the objects of an earlier
 * release.  Capture goes on with them: what it writes and reads it finds by
 * name, and what is not there yet it leaves out.  Workers wait (launcher.c).
 * The other way round, new objects under an old library, is refused when they
 * are made (sql/schema.sql).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "compat.h"
#include "process/release.h"
#include "process/worker.h"

/* The release whose objects this database has; NULL when it has none. */
static char *
installed_release(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *release = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(NOTIFY_EXTENSION));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion,
										   RelationGetDescr(extensions), &isnull);

		release = isnull ? pstrdup("") : TextDatumGetCString(version);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return release;
}

ExtensionFinding
release_find(char *why)
{
	char	   *release = installed_release();

	if (release == NULL)
		return EXTENSION_ABSENT;
	if (strcmp(release, NOTIFY_RELEASE) == 0)
		return EXTENSION_PRESENT;
	snprintf(why, WORKER_ERROR_SIZE,
			 "the library is of release %s and the extension in this database of %s: run ALTER EXTENSION notify_pg UPDATE, or restart the server if the library is the older one",
			 NOTIFY_RELEASE, release);
	return EXTENSION_OTHER_RELEASE;
}

PG_FUNCTION_INFO_V1(notify_library_release);

Datum
notify_library_release(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(NOTIFY_RELEASE));
}
