/*
 * invalidate.c
 *		Hearing of changes to what capture keeps in memory.
 *
 * Everything capture caches (OIDs of its own relations, compiled rules, the
 * leaf partition of today) is dropped through here.  Callbacks may come at any
 * catalog access, in the middle of filling or using an entry, so they only
 * mark; entries are freed at the end of the top-level transaction, when nobody
 * can be using them.  Nothing here is shared between processes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "capture/invalidate.h"
#include "capture/leaf.h"
#include "capture/names.h"
#include "capture/rules.h"

static bool	  listening = false;
static uint64 generation = 1;
static uint64 transaction = 1;

static void
relation_changed(Datum arg, Oid relid)
{
	generation++;
	rules_relation_changed(relid);
	leaf_relation_changed(relid);
	names_invalidate(relid);
}

/* Functions and types: only entries that depend on this very object. */
static void
object_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
	rules_object_changed(cacheid, hashvalue);
}

/* Roles, schemas, operators: who may do what, and what a name means. */
static void
world_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
	rules_world_changed();
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	transaction++;
	rules_free_stale();
}

void
invalidate_listen(void)
{
	if (listening)
		return;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, object_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, object_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, world_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, world_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, world_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, world_changed, (Datum) 0);
	RegisterXactCallback(transaction_ended, NULL);
	listening = true;
}

uint64
invalidate_generation(void)
{
	return generation;
}

uint64
invalidate_transaction(void)
{
	return transaction;
}
