/*
 * rows.c
 *		Rows of our own tables, found by an index or inserted, without an executor.
 *
 * A dispatcher reads two rows and writes one for every message.  An executor
 * would open all days for each batch; here the one day an id belongs to is
 * found by its name (message_YYYYMMDD in UTC, else message_default), once in a
 * batch, and its index is asked directly, or not at all when the row lies where
 * it may be expected.  A row that is not in its day's partition is looked for in
 * the default one: it came before the day was made.
 *
 * A plain table is the same with one partition, itself.
 *
 * Constraints and triggers are not looked at, but for NOT NULL: what is written is
 * made here, in C, and the day is what the partition's constraint asks for.
 *
 * Locking: a partition is locked until the end of the transaction, as by a
 * statement.  Its name is looked up again when the lock is there: a day may have
 * been attached or dropped meanwhile.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "capture/id.h"
#include "compat.h"
#include "rows.h"

#define DAY_DEFAULT		PG_INT64_MIN	/* the partition of what has none */
#define ROWS_MOST		1000			/* kept before they are inserted */

/* A partition while it is worked on. */
typedef struct Leaf
{
	int64		day;
	Relation	relation;
	AttrNumber	attnos[ROWS_COLUMNS];
	AttrNumber	most;			/* of these */
	TupleTableSlot *row;
	Relation	index;			/* these six for reading */
	IndexScanDesc scan;
	AttrNumber	key_attnos[ROWS_KEYS];
	bool		holds;			/* "row" is the one fetched last */
	bool		in_a_row;		/* it lay behind the one fetched before it */
	ItemPointerData last;		/* where it lies */
	TupleTableSlot **added;		/* the rest for writing */
	int			nadded;
	int			nslots;
} Leaf;

struct Rows
{
	const RowsShape *shape;
	Snapshot	snapshot;
	LOCKMODE	lock;
	Oid			schema;
	MemoryContext cxt;
	List	   *leaves;			/* Leaf, the latest used first */
};

/* ------------------------------------------------------------ partitions --- */

static Oid
find_partition(const Rows *rows, int64 day)
{
	char		name[NAMEDATALEN];
	Oid			relid;

	if (rows->shape->plain)
		return get_relname_relid(rows->shape->name, rows->schema);
	if (day != DAY_DEFAULT)
	{
		notify_day_name(rows->shape->name, day, name);
		relid = get_relname_relid(name, rows->schema);
		if (OidIsValid(relid) && get_rel_relispartition(relid))
			return relid;
	}
	snprintf(name, sizeof(name), "%s_default", rows->shape->name);
	return get_relname_relid(name, rows->schema);
}

static Relation
open_partition(const Rows *rows, int64 day)
{
	for (;;)
	{
		Oid			relid = find_partition(rows, day);
		Relation	relation = try_relation_open(relid, rows->lock);

		CHECK_FOR_INTERRUPTS();
		if (relation != NULL && find_partition(rows, day) == relid)
			return relation;
		if (relation != NULL)
			relation_close(relation, rows->lock);
		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table notify.%s is not there, or has no default partition", rows->shape->name)));
	}
}

static bool
is_btree(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		btree = HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return btree;
}

/* Of all rows, or of those in which the first key is not null: ours have no other predicate. */
static bool
index_begins_with(Oid relid, const AttrNumber *keys, int nkeys, bool partial)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relid));
	Form_pg_index form;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	found = form->indisvalid && form->indnkeyatts >= nkeys &&
		(partial || heap_attisnull(tuple, Anum_pg_index_indpred, NULL));
	for (int i = 0; found && i < nkeys; i++)
		found = form->indkey.values[i] == keys[i];
	ReleaseSysCache(tuple);
	return found && is_btree(relid);
}

Oid
rows_index(Relation relation, const AttrNumber *keys, int nkeys, bool partial)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
		if (index_begins_with(lfirst_oid(cell), keys, nkeys, partial))
			return lfirst_oid(cell);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("table \"%s\" has lost an index that notify_pg needs",
					RelationGetRelationName(relation)),
			 errhint("Make it again as its parent has it.")));
}

static AttrNumber
column(const Leaf *leaf, const char *name)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(leaf->relation), name);

	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"",
						RelationGetRelationName(leaf->relation), name)));
	return attno;
}

static Leaf *
open_leaf(Rows *rows, int64 day)
{
	Leaf	   *leaf = palloc0(sizeof(Leaf));

	leaf->day = day;
	leaf->relation = open_partition(rows, day);
	leaf->row = table_slot_create(leaf->relation, NULL);
	for (int i = 0; i < rows->shape->ncolumns; i++)
	{
		leaf->attnos[i] = column(leaf, rows->shape->columns[i]);
		leaf->most = Max(leaf->most, leaf->attnos[i]);
	}
	return leaf;
}

static Leaf *
find_leaf(Rows *rows, int64 day)
{
	MemoryContext caller;
	ListCell   *cell;
	Leaf	   *leaf;

	if (rows->shape->plain)
		day = DAY_DEFAULT;
	foreach(cell, rows->leaves)
	{
		leaf = lfirst(cell);
		if (leaf->day == day)
			return leaf;
	}
	caller = MemoryContextSwitchTo(rows->cxt);
	leaf = open_leaf(rows, day);
	rows->leaves = lcons(leaf, rows->leaves);
	MemoryContextSwitchTo(caller);
	return leaf;
}

Rows *
rows_open(const RowsShape *shape, Snapshot snapshot, LOCKMODE lock)
{
	Rows	   *rows = palloc0(sizeof(Rows));

	rows->shape = shape;
	rows->snapshot = snapshot;
	rows->lock = lock;
	rows->schema = get_namespace_oid("notify", false);
	rows->cxt = CurrentMemoryContext;
	return rows;
}

void
rows_close(Rows *rows)
{
	ListCell   *cell;

	rows_flush(rows);
	foreach(cell, rows->leaves)
	{
		Leaf	   *leaf = lfirst(cell);

		ExecDropSingleTupleTableSlot(leaf->row);
		for (int i = 0; i < leaf->nslots; i++)
			ExecDropSingleTupleTableSlot(leaf->added[i]);
		if (leaf->scan != NULL)
			index_endscan(leaf->scan);
		if (leaf->index != NULL)
			index_close(leaf->index, NoLock);
		relation_close(leaf->relation, NoLock);
	}
	rows->leaves = NIL;
}

/* --------------------------------------------------------------- reading --- */

/* nkeys: how many of the index's columns will be asked for. */
static void
open_scan(Rows *rows, Leaf *leaf, int nkeys)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->cxt);

	for (int i = 0; i < rows->shape->nkeys; i++)
		leaf->key_attnos[i] = column(leaf, rows->shape->keys[i]);
	leaf->index = index_open(rows_index(leaf->relation, leaf->key_attnos, rows->shape->nkeys, rows->shape->partial),
							 AccessShareLock);
	leaf->scan = compat_index_beginscan(leaf->relation, leaf->index, rows->snapshot,
										nkeys);
	MemoryContextSwitchTo(caller);
}

/* Without keys: all rows. */
static void
find_rows(Rows *rows, Leaf *leaf, const Datum *keys)
{
	ScanKeyData scan_keys[ROWS_KEYS];
	int			nkeys = keys ? rows->shape->nkeys : 0;

	if (leaf->scan == NULL)
		open_scan(rows, leaf, nkeys);
	leaf->holds = false;
	for (int i = 0; i < nkeys; i++)
	{
		ScanKeyInit(&scan_keys[i], i + 1, rows->shape->from ? BTGreaterEqualStrategyNumber : BTEqualStrategyNumber,
					rows->shape->equal[i], keys[i]);
		scan_keys[i].sk_collation = leaf->index->rd_indcollation[i];
	}
	index_rescan(leaf->scan, scan_keys, nkeys, NULL, 0);
}

static void
read_values(Rows *rows, Leaf *leaf, Datum *values, bool *nulls)
{
	slot_getsomeattrs(leaf->row, leaf->most);	/* at once, not one by one */
	for (int i = 0; i < rows->shape->ncolumns; i++)
		values[i] = slot_getattr(leaf->row, leaf->attnos[i], &nulls[i]);
}

static bool
next_row(Rows *rows, Leaf *leaf, ScanDirection direction, Datum *values, bool *nulls)
{
	if (!index_getnext_slot(leaf->scan, direction, leaf->row))
		return false;
	read_values(rows, leaf, values, nulls);
	return true;
}

/* Is this the row asked for?  Keys of logs are bigints. */
static bool
has_keys(const Rows *rows, Leaf *leaf, const Datum *keys)
{
	bool		isnull;

	for (int i = 0; i < rows->shape->nkeys; i++)
		if (DatumGetInt64(slot_getattr(leaf->row, leaf->key_attnos[i], &isnull)) != DatumGetInt64(keys[i]) || isnull)
			return false;
	return true;
}

/*
 * Many messages may have one event, and rows are written in the order they are
 * asked for as a rule.  So the row at hand is looked at, and while they are in a
 * row the one that lies behind it, before the index is asked for the next.
 */
static bool
fetch_nearby(Rows *rows, Leaf *leaf, const Datum *keys)
{
	ItemPointerData next = leaf->last;

	if (leaf->holds && has_keys(rows, leaf, keys))
		return true;
	leaf->holds = false;		/* whatever comes of this */
	if (!leaf->in_a_row)
		return false;
	ItemPointerSetOffsetNumber(&next, ItemPointerGetOffsetNumber(&next) + 1);
	return table_tuple_fetch_row_version(leaf->relation, &next, rows->snapshot, leaf->row) &&
		has_keys(rows, leaf, keys);
}

static bool
fetch_by_index(Rows *rows, Leaf *leaf, const Datum *keys)
{
	find_rows(rows, leaf, keys);
	return index_getnext_slot(leaf->scan, ForwardScanDirection, leaf->row);
}

/* Do they come in a row?  The first of a page lies behind the last of the one before. */
static void
remember_place(Leaf *leaf)
{
	ItemPointerData place = leaf->row->tts_tid;
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(&place);
	BlockNumber last_block = ItemPointerGetBlockNumberNoCheck(&leaf->last);
	OffsetNumber last_offset = ItemPointerGetOffsetNumberNoCheck(&leaf->last);

	if (!ItemPointerEquals(&place, &leaf->last))
		leaf->in_a_row = last_offset != InvalidOffsetNumber &&
			(block == last_block ? ItemPointerGetOffsetNumber(&place) == last_offset + 1 : block == last_block + 1);
	leaf->last = place;
	leaf->holds = true;
}

static bool
fetch_from(Rows *rows, Leaf *leaf, const Datum *keys, Datum *values, bool *nulls)
{
	if (rows->shape->plain)
	{
		find_rows(rows, leaf, keys);
		return next_row(rows, leaf, ForwardScanDirection, values, nulls);
	}
	if (!fetch_nearby(rows, leaf, keys) && !fetch_by_index(rows, leaf, keys))
		return false;
	remember_place(leaf);
	read_values(rows, leaf, values, nulls);
	return true;
}

bool
rows_fetch(Rows *rows, int64 id, const Datum *keys, Datum *values, bool *nulls)
{
	if (fetch_from(rows, find_leaf(rows, notify_id_day(id)), keys, values, nulls))
		return true;
	return !rows->shape->plain && fetch_from(rows, find_leaf(rows, DAY_DEFAULT), keys, values, nulls);
}

void
rows_seek(Rows *rows, const Datum *keys)
{
	find_rows(rows, find_leaf(rows, DAY_DEFAULT), keys);
}

bool
rows_next(Rows *rows, Datum *values, bool *nulls)
{
	return next_row(rows, find_leaf(rows, DAY_DEFAULT), ForwardScanDirection, values, nulls);
}

bool
rows_last(Rows *rows, Datum *values, bool *nulls)
{
	Leaf	   *leaf = find_leaf(rows, DAY_DEFAULT);

	find_rows(rows, leaf, NULL);
	return next_row(rows, leaf, BackwardScanDirection, values, nulls);
}

/* Without a condition the whole index is read, to its first row that is there. */
static bool
any_in(Rows *rows, int64 day)
{
	Leaf	   *leaf = find_leaf(rows, day);

	find_rows(rows, leaf, NULL);
	return index_getnext_slot(leaf->scan, ForwardScanDirection, leaf->row);
}

bool
rows_any(Rows *rows, int64 from, int64 to)
{
	for (int64 day = notify_id_day(from); day <= notify_id_day(to); day++)
		if (any_in(rows, day))
			return true;
	return any_in(rows, DAY_DEFAULT);
}

/* --------------------------------------------------------------- writing --- */

static TupleTableSlot *
next_slot(Rows *rows, Leaf *leaf)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->cxt);

	if (leaf->added == NULL)
		leaf->added = palloc(ROWS_MOST * sizeof(TupleTableSlot *));
	if (leaf->nadded == leaf->nslots)
		leaf->added[leaf->nslots++] = table_slot_create(leaf->relation, NULL);
	MemoryContextSwitchTo(caller);
	return leaf->added[leaf->nadded++];
}

/* Indexes as they are now; nothing of a row that was refused stays behind. */
static void
insert_rows(Rows *rows, Leaf *leaf)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);

	InitResultRelInfo(target, leaf->relation, 0, NULL, 0);
	ExecOpenIndices(target, false);
	table_multi_insert(leaf->relation, leaf->added, leaf->nadded, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < leaf->nadded; i++)
	{
		compat_insert_index_tuples(target, leaf->added[i], estate);
		ResetPerTupleExprContext(estate);
		ExecClearTuple(leaf->added[i]);
	}
	leaf->nadded = 0;
	ExecCloseIndices(target);
	FreeExecutorState(estate);
}

static void
check_not_null(const Leaf *leaf, const TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
		if (slot->tts_isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("column \"%s\" of \"%s\" would be null",
							NameStr(TupleDescAttr(desc, i)->attname), RelationGetRelationName(leaf->relation))));
}

/* values are copied. */
void
rows_add(Rows *rows, int64 id, const Datum *values, const bool *nulls)
{
	Leaf	   *leaf = find_leaf(rows, notify_id_day(id));
	TupleTableSlot *slot;

	if (leaf->nadded == ROWS_MOST)
		insert_rows(rows, leaf);
	slot = next_slot(rows, leaf);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	for (int i = 0; i < rows->shape->ncolumns; i++)
	{
		slot->tts_values[leaf->attnos[i] - 1] = values[i];
		slot->tts_isnull[leaf->attnos[i] - 1] = nulls[i];
	}
	check_not_null(leaf, slot);
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
}

void
rows_delete(Rows *rows)
{
	Leaf	   *leaf = find_leaf(rows, DAY_DEFAULT);
	ItemPointerData tid = leaf->row->tts_tid;
	TM_FailureData failure;

	if (table_tuple_delete(leaf->relation, &tid, GetCurrentCommandId(true), rows->snapshot,
						   InvalidSnapshot, true, &failure, false) != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("somebody else changed notify.%s", rows->shape->name)));
}

void
rows_flush(Rows *rows)
{
	ListCell   *cell;

	foreach(cell, rows->leaves)
	{
		Leaf	   *leaf = lfirst(cell);

		if (leaf->nadded > 0)
			insert_rows(rows, leaf);
	}
}
