/*
 * batch.h
 *		The next events of a batch: what became visible between two snapshots.
 */
#ifndef NOTIFY_PLAN_BATCH_H
#define NOTIFY_PLAN_BATCH_H

#include "utils/array.h"

/* Where a batch is: as in notify.cursor. */
typedef struct BatchPosition
{
	Datum		snap;			/* pg_snapshot: all visible in it is planned */
	Datum		open_to;		/* pg_snapshot: the batch's end */
	uint64		at_xid;			/* what is behind these two comes next */
	int64		at_id;
} BatchPosition;

/* An event's place in its batch. */
typedef struct EventPlace
{
	uint64		xid;
	int64		id;
} EventPlace;

/*
 * The next events, at most so many, of which none has a lower id than "low"; their
 * places are in places, which has room for them.  NULL when there are none.
 */
extern ArrayType *batch_events(const BatchPosition *position, int64 low, int most, EventPlace *places, int *n);

#endif							/* NOTIFY_PLAN_BATCH_H */
