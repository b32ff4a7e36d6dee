/*
 * names.c
 *		OIDs of the extension's own relations that capture touches.
 *
 * Five OIDs are kept per backend.  A relcache invalidation of one of them (it
 * was dropped with the extension, say) forgets it; the next use looks it up
 * again.  Until something was looked up, nothing needs to be forgotten, so it
 * is enough that the callbacks are registered before the first lookup.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/lsyscache.h"

#include "capture/invalidate.h"
#include "capture/names.h"

#define EXTENSION_SCHEMA "notify"

static const char *const relation_names[NAME_COUNT] = {
	[NAME_ID_SEQUENCE] = "id_seq",
	[NAME_RULE] = "rule",
	[NAME_SOURCE] = "source",
	[NAME_EVENT] = "event",
	[NAME_EVENT_DEFAULT] = "event_default",
};

static Oid relation_oids[NAME_COUNT];

Oid
names_lookup(const char *relname)
{
	return get_relname_relid(relname, get_namespace_oid(EXTENSION_SCHEMA, false));
}

Oid
names_relation(RelationName name)
{
	if (!OidIsValid(relation_oids[name]))
	{
		Oid relid;

		invalidate_listen();
		relid = names_lookup(relation_names[name]);
		if (!OidIsValid(relid))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
							errmsg("relation \"%s.%s\" does not exist", EXTENSION_SCHEMA,
								   relation_names[name]),
							errhint("Create the extension notify_pg again.")));
		relation_oids[name] = relid;
	}
	return relation_oids[name];
}

void
names_invalidate(Oid relid)
{
	int i;

	for (i = 0; i < NAME_COUNT; i++)
		if (!OidIsValid(relid) || relation_oids[i] == relid)
			relation_oids[i] = InvalidOid;
}

bool
names_is(RelationName name, Oid relid)
{
	return OidIsValid(relid) && relation_oids[name] == relid;
}
