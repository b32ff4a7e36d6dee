/*
 * ready.c
 *		Rows of notify.ready, reached by lane and seq or by message.
 *
 * A dispatcher changes and deletes every row of the queue once, so it does
 * without an executor: the index is asked, and the table AM is given the row.
 * An update that finds no room on its page puts entries into all indexes.
 *
 * Locking: the table RowExclusive until the end of the transaction, as by an
 * UPDATE.  ready_update() waits for no row, ready_delete() for one that somebody
 * has locked (upkeep does, for a moment).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dispatch/ready.h"
#include "rows.h"

typedef enum ReadyColumn
{
	R_MESSAGE, R_SEQ, R_LANE, R_ATTEMPTS, R_REDRIVEN, R_OWNER, R_BOOT, R_LEASE, R_PINNED, R_COUNT
} ReadyColumn;

static const char *const column_names[R_COUNT] = {
	"message", "seq", "lane", "attempts", "redriven", "owner", "boot", "lease", "pinned"
};

/* An index and a scan of it. */
typedef struct ReadyPath
{
	Relation	index;
	IndexScanDesc scan;
} ReadyPath;

struct ReadyTable
{
	Relation	relation;
	Snapshot	snapshot;
	BlockNumber blocks;			/* when it was opened */
	AttrNumber	attnos[R_COUNT];
	TupleTableSlot *slot;		/* the row read last */
	TupleTableSlot *changed;
	ReadyPath	by_lane;
	ReadyPath	by_message;
};

ReadyTable *
ready_open(Snapshot snapshot)
{
	ReadyTable *ready = palloc0(sizeof(ReadyTable));
	Oid			relid = get_relname_relid("ready", get_namespace_oid("notify", false));

	ready->relation = table_open(relid, RowExclusiveLock);
	ready->snapshot = snapshot;
	ready->blocks = RelationGetNumberOfBlocks(ready->relation);
	for (int i = 0; i < R_COUNT; i++)
		ready->attnos[i] = get_attnum(relid, column_names[i]);
	ready->slot = table_slot_create(ready->relation, NULL);
	ready->changed = table_slot_create(ready->relation, NULL);
	return ready;
}

static void
close_path(ReadyPath *path)
{
	if (path->scan == NULL)
		return;
	index_endscan(path->scan);
	index_close(path->index, NoLock);
}

void
ready_close(ReadyTable *ready)
{
	ExecDropSingleTupleTableSlot(ready->slot);
	ExecDropSingleTupleTableSlot(ready->changed);
	close_path(&ready->by_lane);
	close_path(&ready->by_message);
	table_close(ready->relation, NoLock);
}

/* By its first columns: the one named, and seq when there are two. */
static void
open_path(ReadyTable *ready, ReadyPath *path, ReadyColumn first, int nkeys)
{
	AttrNumber	keys[] = {ready->attnos[first], ready->attnos[R_SEQ]};

	if (path->scan != NULL)
		return;
	path->index = index_open(rows_index(ready->relation, keys, nkeys, false), RowExclusiveLock);
	path->scan = compat_index_beginscan(ready->relation, path->index, ready->snapshot, nkeys);
}

static Datum
value(ReadyTable *ready, ReadyColumn column, bool *isnull)
{
	return slot_getattr(ready->slot, ready->attnos[column], isnull);
}

/* The row in the slot. */
static void
read_row(ReadyTable *ready, ReadyRow *row)
{
	bool		isnull;

	slot_getallattrs(ready->slot);
	row->tid = ready->slot->tts_tid;
	row->message = DatumGetInt64(value(ready, R_MESSAGE, &isnull));
	row->seq = DatumGetInt64(value(ready, R_SEQ, &isnull));
	row->lane = DatumGetInt32(value(ready, R_LANE, &isnull));
	row->attempts = DatumGetInt32(value(ready, R_ATTEMPTS, &isnull));
	row->redriven = DatumGetBool(value(ready, R_REDRIVEN, &isnull));
	row->pinned = DatumGetBool(value(ready, R_PINNED, &isnull));
	row->lease = DatumGetTimestampTz(value(ready, R_LEASE, &isnull));
	row->boot = DatumGetInt64(value(ready, R_BOOT, &isnull));
	row->owner = DatumGetInt32(value(ready, R_OWNER, &isnull));
	row->owned = !isnull;
}

void
ready_seek(ReadyTable *ready, int lane, int64 seq)
{
	ScanKeyData keys[2];

	open_path(ready, &ready->by_lane, R_LANE, 2);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(lane));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(seq));
	index_rescan(ready->by_lane.scan, keys, 2, NULL, 0);
}

bool
ready_next(ReadyTable *ready, ReadyRow *row)
{
	if (!index_getnext_slot(ready->by_lane.scan, ForwardScanDirection, ready->slot))
		return false;
	read_row(ready, row);
	return true;
}

static bool
find_by_message(ReadyTable *ready, int64 message)
{
	ScanKeyData key;

	open_path(ready, &ready->by_message, R_MESSAGE, 1);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(message));
	index_rescan(ready->by_message.scan, &key, 1, NULL, 0);
	return index_getnext_slot(ready->by_message.scan, ForwardScanDirection, ready->slot);
}

/* VACUUM FULL moves rows, and may leave fewer pages than there were. */
bool
ready_find(ReadyTable *ready, int64 message, ItemPointer tid, ReadyRow *row)
{
	if (ItemPointerGetBlockNumber(tid) < ready->blocks &&
		table_tuple_fetch_row_version(ready->relation, tid, ready->snapshot, ready->slot))
	{
		read_row(ready, row);
		if (row->message == message)
			return true;
	}
	if (!find_by_message(ready, message))
		return false;
	read_row(ready, row);
	return true;
}

static void
put(ReadyTable *ready, ReadyColumn column, Datum datum)
{
	ready->changed->tts_values[ready->attnos[column] - 1] = datum;
	ready->changed->tts_isnull[ready->attnos[column] - 1] = false;
}

/* The row read last, with what may change in it. */
static void
make_change(ReadyTable *ready, const ReadyRow *row)
{
	int			natts = ready->slot->tts_tupleDescriptor->natts;

	ExecClearTuple(ready->changed);
	memcpy(ready->changed->tts_values, ready->slot->tts_values, natts * sizeof(Datum));
	memcpy(ready->changed->tts_isnull, ready->slot->tts_isnull, natts * sizeof(bool));
	put(ready, R_OWNER, Int32GetDatum(row->owner));
	put(ready, R_BOOT, Int64GetDatum(row->boot));
	put(ready, R_LEASE, TimestampTzGetDatum(row->lease));
	put(ready, R_ATTEMPTS, Int32GetDatum(row->attempts));
	ExecStoreVirtualTuple(ready->changed);
}

static void
insert_entries(ReadyTable *ready)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);

	InitResultRelInfo(target, ready->relation, 0, NULL, 0);
	ExecOpenIndices(target, false);
	compat_insert_index_tuples(target, ready->changed, estate);
	ExecCloseIndices(target);
	FreeExecutorState(estate);
}

bool
ready_update(ReadyTable *ready, const ReadyRow *row, ItemPointer tid)
{
	ItemPointerData old = row->tid;
	bool		entries;

	make_change(ready, row);
	if (compat_update_nowait(ready->relation, &old, ready->changed, ready->snapshot, &entries) != TM_Ok)
		return false;
	if (entries)
		insert_entries(ready);
	*tid = ready->changed->tts_tid;
	return true;
}

bool
ready_delete(ReadyTable *ready, const ReadyRow *row)
{
	ItemPointerData tid = row->tid;
	TM_FailureData failure;

	return table_tuple_delete(ready->relation, &tid, GetCurrentCommandId(true), ready->snapshot,
							  InvalidSnapshot, true, &failure, false) == TM_Ok;
}
