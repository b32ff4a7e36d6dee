/*
 * leaf.c
 *		Inserting straight into the day's partition of notify.event.
 *
 * The parent is never opened: the partition is found by its name (event_YYYYMMDD
 * in UTC, else event_default), the row is given to its table AM and to each of
 * its indexes.  Which partition, where its columns are and what its indexes look
 * like is kept per backend for one day.
 *
 * Locking: the partition is locked RowExclusive until the end of the transaction,
 * as by any INSERT.  An invalidation that arrives with the lock makes us look
 * again, so a row is never put in the default partition after its day's was
 * attached (ATTACH locks the default one exclusively), nor in one that was
 * detached.  A partition that is not attached yet is not used.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "capture/id.h"
#include "capture/invalidate.h"
#include "capture/leaf.h"
#include "capture/names.h"
#include "compat.h"

typedef struct LeafIndex
{
	Oid		   relid;
	IndexInfo *info;
	bool	   is_unique;
	bool	   simple_predicate; /* attributes that must not be null decide */
	List	  *not_null;
} LeafIndex;

typedef struct Leaf
{
	bool		  valid;
	bool		  described;
	int64		  day;
	Oid			  relid;
	MemoryContext context;
	AttrNumber	  attnos[EVENT_COLUMNS];
	int			  index_count;
	LeafIndex	 *indexes;
} Leaf;

static const char *const column_names[EVENT_COLUMNS] = {
	[EVENT_ID] = "id",
	[EVENT_XID] = "xid",
	[EVENT_SOURCE] = "source",
	[EVENT_OP] = "op",
	[EVENT_TYPE] = "type",
	[EVENT_KEY] = "key",
	[EVENT_RECIPIENT] = "recipient",
	[EVENT_RULES] = "rules",
	[EVENT_RECIPIENTS] = "recipients",
	[EVENT_DEDUPE_KEYS] = "dedupe_keys",
	[EVENT_CANCEL_KEYS] = "cancel_keys",
	[EVENT_CANCEL_KEY] = "cancel_key",
	[EVENT_NEW] = "new",
	[EVENT_OLD] = "old",
	[EVENT_TRUNCATED] = "truncated",
	[EVENT_UNDECIDED] = "undecided",
	[EVENT_INSTRUCTION] = "instruction",
};

static Leaf leaf;

static bool
has_index(Oid relid)
{
	int i;

	for (i = 0; leaf.described && i < leaf.index_count; i++)
		if (leaf.indexes[i].relid == relid)
			return true;
	return false;
}

void
leaf_relation_changed(Oid relid)
{
	if (!OidIsValid(relid) || relid == leaf.relid || names_is(NAME_EVENT, relid) ||
		names_is(NAME_EVENT_DEFAULT, relid) || has_index(relid))
		leaf.valid = false;
}

static Oid
find_partition(int64 day)
{
	char name[NAMEDATALEN];
	Oid	 relid;

	notify_day_name("event", day, name);
	relid = names_lookup(name);
	if (OidIsValid(relid) && get_rel_relispartition(relid))
		return relid;
	return names_relation(NAME_EVENT_DEFAULT);
}

static void
find_leaf(int64 day)
{
	invalidate_listen();
	if (leaf.context == NULL)
		leaf.context = AllocSetContextCreate(TopMemoryContext, "notify_pg event partition",
											 ALLOCSET_SMALL_SIZES);
	MemoryContextReset(leaf.context);
	leaf.described = false;
	leaf.index_count = 0;
	leaf.day = day;
	(void) names_relation(NAME_EVENT);
	leaf.valid = true; /* an invalidation from here on takes it back */
	leaf.relid = find_partition(day);
}

/* A column the table will have after ALTER EXTENSION UPDATE only is left out. */
static void
describe_columns(void)
{
	int i;

	for (i = 0; i < EVENT_COLUMNS; i++)
		leaf.attnos[i] = get_attnum(leaf.relid, column_names[i]);
}

/* WHERE a IS NOT NULL [AND ...] is decided without an executor. */
static void
describe_predicate(LeafIndex *index)
{
	ListCell *cell;

	index->simple_predicate = true;
	foreach (cell, index->info->ii_Predicate)
	{
		NullTest *test = lfirst(cell);

		if (IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL && IsA(test->arg, Var))
			index->not_null = lappend_int(index->not_null, ((Var *) test->arg)->varattno);
		else
			index->simple_predicate = false;
	}
}

static void
describe_index(LeafIndex *index, Oid relid)
{
	Relation relation = index_open(relid, RowExclusiveLock);

	index->relid = relid;
	index->info = BuildIndexInfo(relation);
	index->is_unique = relation->rd_index->indisunique;
	describe_predicate(index);
	index_close(relation, NoLock);
}

static void
describe_leaf(Relation partition)
{
	MemoryContext before = MemoryContextSwitchTo(leaf.context);
	List		 *indexes = RelationGetIndexList(partition);
	ListCell	 *cell;

	describe_columns();
	leaf.indexes = palloc0(Max(list_length(indexes), 1) * sizeof(LeafIndex));
	foreach (cell, indexes)
		describe_index(&leaf.indexes[leaf.index_count++], lfirst_oid(cell));
	leaf.described = true;
	MemoryContextSwitchTo(before);
}

/* The day's partition, locked, and what is known of it certainly current. */
static Relation
open_leaf(int64 day)
{
	for (;;)
	{
		Relation partition;

		CHECK_FOR_INTERRUPTS();
		if (!leaf.valid || leaf.day != day)
			find_leaf(day);
		partition = try_relation_open(leaf.relid, RowExclusiveLock);
		if (partition != NULL && leaf.valid)
		{
			if (!leaf.described)
				describe_leaf(partition);
			if (leaf.valid)
				return partition;
		}
		if (partition != NULL)
			relation_close(partition, RowExclusiveLock);
		leaf.valid = false;
	}
}

static TupleTableSlot *
make_row(Relation partition, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot =
		MakeSingleTupleTableSlot(RelationGetDescr(partition), table_slot_callbacks(partition));
	int i;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	for (i = 0; i < EVENT_COLUMNS; i++)
	{
		if (leaf.attnos[i] == InvalidAttrNumber)
			continue;
		slot->tts_values[leaf.attnos[i] - 1] = values[i];
		slot->tts_isnull[leaf.attnos[i] - 1] = nulls[i];
	}
	return ExecStoreVirtualTuple(slot);
}

static bool
wants_row(const LeafIndex *index, TupleTableSlot *row, EState *estate)
{
	ListCell *cell;

	if (!index->info->ii_ReadyForInserts)
		return false;
	if (!index->simple_predicate)
		return ExecQual(ExecPrepareQual(index->info->ii_Predicate, estate),
						GetPerTupleExprContext(estate));
	foreach (cell, index->not_null)
		if (slot_attisnull(row, lfirst_int(cell)))
			return false;
	return true;
}

static void
insert_index_entry(LeafIndex *index, Relation partition, TupleTableSlot *row)
{
	bool	 needs_executor = !index->simple_predicate || index->info->ii_Expressions != NIL;
	EState	*estate = needs_executor ? CreateExecutorState() : NULL;
	Datum	 values[INDEX_MAX_KEYS];
	bool	 nulls[INDEX_MAX_KEYS];
	Relation relation;

	/* Nothing is kept from one row to the next: it would refer to what is gone by then. */
	index->info->ii_ExpressionsState = NIL;
	index->info->ii_AmCache = NULL;
	index->info->ii_Context = CurrentMemoryContext;
	if (estate != NULL)
		GetPerTupleExprContext(estate)->ecxt_scantuple = row;
	if (wants_row(index, row, estate))
	{
		relation = index_open(index->relid, RowExclusiveLock);
		FormIndexDatum(index->info, row, estate, values, nulls);
		index_insert(relation, values, nulls, &row->tts_tid, partition,
					 index->is_unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, index->info);
		compat_index_insert_cleanup(relation, index->info);
		index_close(relation, RowExclusiveLock);
	}
	if (estate != NULL)
		FreeExecutorState(estate);
}

void
leaf_insert(int64 day, const Datum *values, const bool *nulls)
{
	Relation		partition = open_leaf(day);
	TupleTableSlot *row = make_row(partition, values, nulls);
	int				i;

	table_tuple_insert(partition, row, GetCurrentCommandId(true), 0, NULL);
	for (i = 0; i < leaf.index_count; i++)
		insert_index_entry(&leaf.indexes[i], partition, row);
	ExecDropSingleTupleTableSlot(row);
	relation_close(partition, NoLock);
}
