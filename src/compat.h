/*
 * compat.h
 *		The one place that knows which PostgreSQL it is compiled for.
 *
 * Everything else is written against the names below or against interfaces
 * that are the same in 15 to 18.  No other file may test PG_VERSION_NUM.
 */
#ifndef NOTIFY_COMPAT_H
#define NOTIFY_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "notify_pg needs PostgreSQL 15 or later"
#endif

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "replication/logicalworker.h"
#include "rewrite/rewriteHandler.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* A database left half dropped; the name came with 15.4 and its siblings. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/* Says of a function, before its type, that it does not return; from 18 on in c.h. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Gone in 17, so not to be used; C has abs() and llabs(). */
#undef Abs

/* Is this process applying what logical replication sent, one subtransaction at a time? */
static inline bool
compat_applies_in_order(void)
{
#if PG_VERSION_NUM >= 160000
	return IsLogicalWorker() && !IsLogicalParallelApplyWorker();
#else
	return IsLogicalWorker();
#endif
}

/* Columns that are computed when they are read; before 18 there are none. */
#ifndef ATTRIBUTE_GENERATED_VIRTUAL
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

static inline Node *
compat_generation_expression(Relation relation, AttrNumber attno)
{
#if PG_VERSION_NUM >= 180000
	return build_generation_expression(relation, attno);
#else
	return build_column_default(relation, attno);
#endif
}

/* After the last index_insert() with this IndexInfo, which may hold pins from 17 on. */
static inline void
compat_index_insert_cleanup(Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index, info);
#endif
}

static inline IndexScanDesc
compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/* Entries for a new version of a row in all open indexes of its table. */
static inline void
compat_insert_index_tuples(ResultRelInfo *target, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	(void) ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL, false);
#else
	(void) ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL);
#endif
}

/* table_tuple_update() that waits for nobody; entries: indexes need new ones. */
static inline TM_Result
compat_update_nowait(Relation relation, ItemPointer tid, TupleTableSlot *slot, Snapshot snapshot,
					 bool *entries)
{
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes;

	result = table_tuple_update(relation, tid, slot, GetCurrentCommandId(true), snapshot,
								InvalidSnapshot, false, &failure, &mode, &indexes);
	*entries = indexes == TU_All;
#else
	result = table_tuple_update(relation, tid, slot, GetCurrentCommandId(true), snapshot,
								InvalidSnapshot, false, &failure, &mode, entries);
#endif
	return result;
}

/* A wait event set that lives as long as the process. */
static inline WaitEventSet *
compat_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

static inline bool
compat_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

static inline bool
compat_owns_extension(Oid extension, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, role);
#else
	return pg_extension_ownercheck(extension, role);
#endif
}

#endif							/* NOTIFY_COMPAT_H */
