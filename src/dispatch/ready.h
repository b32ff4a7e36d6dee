/*
 * ready.h
 *		Rows of notify.ready, reached by lane and seq or by message.
 */
#ifndef NOTIFY_DISPATCH_READY_H
#define NOTIFY_DISPATCH_READY_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

typedef struct ReadyRow
{
	ItemPointerData tid;
	int64		message;
	int64		seq;
	int			lane;
	int			attempts;
	bool		redriven;
	bool		pinned;
	bool		owned;			/* owner, boot and lease are there */
	int			owner;
	int64		boot;
	TimestampTz lease;
} ReadyRow;

typedef struct ReadyTable ReadyTable;

/* In the current memory context, until ready_close() in the same transaction. */
extern ReadyTable *ready_open(Snapshot snapshot);
extern void ready_close(ReadyTable *ready);

/* From here on ready_next() gives the lane's rows in the order of seq. */
extern void ready_seek(ReadyTable *ready, int lane, int64 seq);
extern bool ready_next(ReadyTable *ready, ReadyRow *row);

/* The row of a message, first looked for where it was when it was claimed. */
extern bool ready_find(ReadyTable *ready, int64 message, ItemPointer tid, ReadyRow *row);

/*
 * Writes owner, boot, lease and attempts, and gives where the row is now.  False,
 * at once, when somebody else has locked, changed or deleted it.
 */
extern bool ready_update(ReadyTable *ready, const ReadyRow *row, ItemPointer tid);

/* Waits for who has it locked; false when it was changed or deleted by then. */
extern bool ready_delete(ReadyTable *ready, const ReadyRow *row);

#endif							/* NOTIFY_DISPATCH_READY_H */
