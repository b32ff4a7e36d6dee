/*
 * leaf.h
 *		Inserting straight into the day's partition of notify.event.
 */
#ifndef NOTIFY_CAPTURE_LEAF_H
#define NOTIFY_CAPTURE_LEAF_H

/* The columns of notify.event that capture writes. */
typedef enum EventColumn
{
	EVENT_ID,
	EVENT_XID,
	EVENT_SOURCE,
	EVENT_OP,
	EVENT_TYPE,
	EVENT_KEY,
	EVENT_RECIPIENT,
	EVENT_RULES,
	EVENT_RECIPIENTS,
	EVENT_DEDUPE_KEYS,
	EVENT_CANCEL_KEYS,
	EVENT_CANCEL_KEY,
	EVENT_NEW,
	EVENT_OLD,
	EVENT_TRUNCATED,
	EVENT_UNDECIDED,
	EVENT_INSTRUCTION
} EventColumn;

#define EVENT_COLUMNS (EVENT_INSTRUCTION + 1)

/* day: as notify_id_day() gives it.  values and nulls are indexed by EventColumn. */
extern void leaf_insert(int64 day, const Datum *values, const bool *nulls);

/* For invalidate.c: only marks. */
extern void leaf_relation_changed(Oid relid);

#endif
