/*
 * partner.c
 *		Whether a DELETE and the INSERT after it are one row that moved.
 *
 * An UPDATE that takes a row to another partition makes a DELETE and then an
 * INSERT.  That the next INSERT of the same command is the other half is certain
 * as long as the statement inserts nothing else, or nothing can keep a row from
 * its new partition.  A MERGE, or a statement with writing CTEs, may insert; a
 * BEFORE INSERT trigger may say no, and so may a foreign server.  Where all of
 * that comes together, and where logical replication applies the two halves
 * without a mark, the rows themselves are asked: the same row has the same key,
 * except for the columns that say which partition; without such a key, it is the
 * same in all other columns.
 *
 * Which statement it is, the executor knows when it fires the triggers, and a
 * hook there remembers.  A library that was loaded only then does not know, and
 * takes it for one that may insert.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"

#include "capture/partner.h"

static ExecutorFinish_hook_type previous_finish = NULL;
static bool						only_updates = false; /* the statement whose triggers fire */

static void
call_finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* Statements are nested by triggers; mostly both are alike, and nothing needs putting back. */
static void
finish(QueryDesc *query)
{
	bool before = only_updates;

	only_updates = query->operation == CMD_UPDATE && !query->plannedstmt->hasModifyingCTE;
	if (only_updates == before)
	{
		call_finish(query);
		return;
	}
	PG_TRY();
	{
		call_finish(query);
	}
	PG_FINALLY();
	{
		only_updates = before;
	}
	PG_END_TRY();
}

void
partner_install(void)
{
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish;
}

bool
partner_is_plain_update(void)
{
	return only_updates;
}

static bool
may_refuse(Oid relid)
{
	Relation relation = table_open(relid, AccessShareLock);
	bool	 result = relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE ||
				  (relation->trigdesc != NULL && relation->trigdesc->trig_insert_before_row);

	table_close(relation, NoLock);
	return result;
}

static bool
any_partition_may_refuse(Oid partition)
{
	List	 *ancestors = get_partition_ancestors(partition);
	ListCell *cell;

	if (ancestors == NIL)
		return true;
	foreach (cell, find_all_inheritors(llast_oid(ancestors), AccessShareLock, NULL))
		if (may_refuse(lfirst_oid(cell)))
			return true;
	return false;
}

bool
partner_is_certain(Relation relation)
{
	return only_updates || !any_partition_may_refuse(RelationGetRelid(relation));
}

/* Those of the columns an ancestor is partitioned by, as numbered in the relation. */
static Bitmapset *
add_partition_columns(Bitmapset *columns, Oid ancestor, Oid relid)
{
	Relation	 relation = table_open(ancestor, AccessShareLock);
	PartitionKey key = RelationGetPartitionKey(relation);
	Bitmapset	*read = NULL;
	int			 attno = -1;
	int			 i;

	pull_varattnos((Node *) key->partexprs, 1, &read);
	for (i = 0; i < key->partnatts; i++)
		if (key->partattrs[i] > 0)
			read = bms_add_member(read, key->partattrs[i] - FirstLowInvalidHeapAttributeNumber);
	while ((attno = bms_next_member(read, attno)) >= 0)
		columns = bms_add_member(
			columns,
			get_attnum(relid, get_attname(ancestor, attno + FirstLowInvalidHeapAttributeNumber,
										  false)));
	table_close(relation, NoLock);
	return columns;
}

static Bitmapset *
partition_columns(Oid partition)
{
	Bitmapset *columns = NULL;
	ListCell  *cell;

	foreach (cell, get_partition_ancestors(partition))
		columns = add_partition_columns(columns, lfirst_oid(cell), partition);
	return columns;
}

static bool
is_same_value(TupleTableSlot *one, TupleTableSlot *other, int i)
{
	Form_pg_attribute attribute = TupleDescAttr(one->tts_tupleDescriptor, i);

	if (one->tts_isnull[i] || other->tts_isnull[i])
		return one->tts_isnull[i] && other->tts_isnull[i];
	return datum_image_eq(one->tts_values[i], other->tts_values[i], attribute->attbyval,
						  attribute->attlen);
}

bool
partner_is_same_row(const Payload *payload, Relation relation, TupleTableSlot *one,
					TupleTableSlot *other)
{
	Bitmapset *partition = partition_columns(RelationGetRelid(relation));
	TupleDesc  row = RelationGetDescr(relation);
	bool	   keyed = false;
	int		   i;

	slot_getallattrs(one);
	slot_getallattrs(other);
	for (i = 0; i < row->natts; i++)
		keyed |= payload_is_key(payload, i + 1) && !bms_is_member(i + 1, partition);
	for (i = 0; i < row->natts; i++)
	{
		if (TupleDescAttr(row, i)->attisdropped || bms_is_member(i + 1, partition) ||
			(keyed && !payload_is_key(payload, i + 1)))
			continue;
		if (!is_same_value(one, other, i))
			return false;
	}
	return true;
}
