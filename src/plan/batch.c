/*
 * batch.c
 *		The next events of a batch: what became visible between two snapshots.
 *
 * Of transactions that were in progress in the first snapshot and are over in the
 * second (they have the lower xids) each is read by itself, so that a search
 * begins where the last one ended; then those that began later, in the order of
 * (xid, id).  The days of notify.event are read through their indexes on
 * (xid, id) and merged.  Days before the lowest id there can be are not opened:
 * see notify.mark.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "capture/id.h"
#include "compat.h"
#include "plan/batch.h"
#include "rows.h"

/* A day, and its next event. */
typedef struct Day
{
	Relation	relation;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	TupleConversionMap *map;	/* to a row of the parent; NULL: it is one */
	AttrNumber	xid_column;
	AttrNumber	id_column;
	bool		has_event;
	uint64		xid;
	int64		id;
} Day;

typedef struct Batch
{
	Snapshot	snapshot;
	Relation	parent;
	Datum		open_to;		/* pg_snapshot: the batch's end */
	int64		low;			/* no event of the batch has a lower id */
	int			most;
	int			n;
	EventPlace *places;
	ArrayBuildState *events;
	int			ndays;
	Day		   *days;
	uint64		asked_xid;		/* these two: the last answer of is_over() */
	bool		was_over;
} Batch;

/* ---------------------------------------------------------------- snapshots --- */

static uint64
xmax(Datum snapshot)
{
	return U64FromFullTransactionId(DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmax, snapshot)));
}

static Datum
xid_datum(uint64 xid)
{
	return FullTransactionIdGetDatum(FullTransactionIdFromU64(xid));
}

/* Was it over when the batch's end was taken? */
static bool
is_over(Batch *batch, uint64 xid)
{
	if (batch->asked_xid != xid)
	{
		batch->was_over = DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot, xid_datum(xid), batch->open_to));
		batch->asked_xid = xid;
	}
	return batch->was_over;
}

/* Those in progress in a snapshot, ascending: the third part of its text, xmin:xmax:x,x,x */
static int
in_progress(Datum snapshot, uint64 **xids)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(pg_snapshot_out, snapshot));
	char	   *next = strrchr(text, ':') + 1;
	int			n = 0;

	*xids = palloc((strlen(next) / 2 + 1) * sizeof(uint64));
	while (*next)
	{
		(*xids)[n++] = strtou64(next, &next, 10);
		if (*next == ',')
			next++;
	}
	return n;
}

/* --------------------------------------------------------------------- days --- */

static AttrNumber
column(Relation relation, const char *name)
{
	return get_attnum(RelationGetRelid(relation), name);
}

static void
open_day(Batch *batch, Oid relid)
{
	Day		   *day = &batch->days[batch->ndays++];
	AttrNumber	keys[2];

	day->relation = relation_open(relid, AccessShareLock);
	day->xid_column = keys[0] = column(day->relation, "xid");
	day->id_column = keys[1] = column(day->relation, "id");
	day->index = index_open(rows_index(day->relation, keys, 2, false), AccessShareLock);
	day->scan = compat_index_beginscan(day->relation, day->index, batch->snapshot, 2);
	day->slot = table_slot_create(day->relation, NULL);
	day->map = convert_tuples_by_name(RelationGetDescr(day->relation), RelationGetDescr(batch->parent));
}

/* The partitions that can have ids from "low" on, and the default one. */
static void
open_days(Batch *batch)
{
	PartitionDesc desc;
	PartitionBoundInfo bounds;

	batch->parent = table_open(get_relname_relid("event", get_namespace_oid("notify", false)), AccessShareLock);
	desc = RelationGetPartitionDesc(batch->parent, true);
	bounds = desc->boundinfo;
	batch->days = palloc0((desc->nparts + 1) * sizeof(Day));
	for (int i = 0; bounds != NULL && i < bounds->ndatums; i++)
		if (bounds->indexes[i] >= 0 &&
			(bounds->kind[i][0] != PARTITION_RANGE_DATUM_VALUE || DatumGetInt64(bounds->datums[i][0]) > batch->low))
			open_day(batch, desc->oids[bounds->indexes[i]]);
	if (bounds != NULL && bounds->default_index >= 0)
		open_day(batch, desc->oids[bounds->default_index]);
}

static void
close_days(Batch *batch)
{
	for (int i = 0; i < batch->ndays; i++)
	{
		Day		   *day = &batch->days[i];

		ExecDropSingleTupleTableSlot(day->slot);
		index_endscan(day->scan);
		index_close(day->index, NoLock);
		relation_close(day->relation, NoLock);
	}
	table_close(batch->parent, NoLock);
}

/* ------------------------------------------------------------------- events --- */

/* To a day's next event that is behind (xid, after) and of a transaction that is over. */
static void
advance(Batch *batch, Day *day, uint64 first, int64 after)
{
	bool		isnull;

	day->has_event = false;
	while (!day->has_event && index_getnext_slot(day->scan, ForwardScanDirection, day->slot))
	{
		CHECK_FOR_INTERRUPTS();
		day->xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot_getattr(day->slot, day->xid_column, &isnull)));
		day->id = DatumGetInt64(slot_getattr(day->slot, day->id_column, &isnull));
		day->has_event = day->id >= batch->low && (day->xid != first || day->id > after) && is_over(batch, day->xid);
	}
}

static Day *
earliest(Batch *batch)
{
	Day		   *best = NULL;

	for (int i = 0; i < batch->ndays; i++)
	{
		Day		   *day = &batch->days[i];

		if (day->has_event &&
			(best == NULL || day->xid < best->xid || (day->xid == best->xid && day->id < best->id)))
			best = day;
	}
	return best;
}

static void
take_event(Batch *batch, Day *day)
{
	TupleDesc	type = RelationGetDescr(batch->parent);
	HeapTuple	tuple = ExecCopySlotHeapTuple(day->slot);

	if (day->map != NULL)
		tuple = execute_attr_map_tuple(tuple, day->map);
	batch->events = accumArrayResult(batch->events, heap_copy_tuple_as_datum(tuple, type), false,
									 type->tdtypeid, CurrentMemoryContext);
	batch->places[batch->n].xid = day->xid;
	batch->places[batch->n++].id = day->id;
}

/* Of transactions from "first", behind its event "after", to before "end". */
static void
take_range(Batch *batch, uint64 first, int64 after, uint64 end)
{
	ScanKeyData keys[2];
	Day		   *day;

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_XID8GE, xid_datum(first));
	ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_XID8LT, xid_datum(end));
	for (int i = 0; i < batch->ndays; i++)
	{
		index_rescan(batch->days[i].scan, keys, 2, NULL, 0);
		advance(batch, &batch->days[i], first, after);
	}
	while (batch->n < batch->most && (day = earliest(batch)) != NULL)
	{
		take_event(batch, day);
		advance(batch, day, first, after);
	}
}

static void
take_all(Batch *batch, const BatchPosition *position)
{
	uint64		begun = xmax(position->snap);
	uint64		at = position->at_xid;
	uint64	   *xids;
	int			n = in_progress(position->snap, &xids);

	for (int i = 0; i < n && batch->n < batch->most; i++)
		if (xids[i] >= at && is_over(batch, xids[i]))
			take_range(batch, xids[i], xids[i] == at ? position->at_id : 0, xids[i] + 1);
	if (batch->n < batch->most)
		take_range(batch, Max(begun, at), at >= begun ? position->at_id : 0, xmax(position->open_to));
}

ArrayType *
batch_events(const BatchPosition *position, int64 low, int most, EventPlace *places, int *n)
{
	Batch		batch = {RegisterSnapshot(GetActiveSnapshot())};

	batch.open_to = position->open_to;
	batch.low = low;
	batch.most = most;
	batch.places = places;
	open_days(&batch);
	take_all(&batch, position);
	close_days(&batch);
	UnregisterSnapshot(batch.snapshot);
	*n = batch.n;
	return batch.events ? DatumGetArrayTypeP(makeArrayResult(batch.events, CurrentMemoryContext)) : NULL;
}
