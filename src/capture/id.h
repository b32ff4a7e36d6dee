/*
 * id.h
 *		Ids that carry the time they were made.
 */
#ifndef NOTIFY_CAPTURE_ID_H
#define NOTIFY_CAPTURE_ID_H

#include "datatype/timestamp.h"

#define NOTIFY_ID_SEQUENCE_BITS 20

/* Unix milliseconds in the high bits, a sequence in the low ones. */
extern int64 notify_next_id(void);

/* The wall-clock time in an id, and the lowest id of a time that ids can carry. */
extern TimestampTz notify_id_to_time(int64 id);
extern int64 notify_time_to_id(TimestampTz at);

/* The UTC day, counted from 1970-01-01, in which an id was made. */
extern int64 notify_id_day(int64 id);

/* What a log's partition of that day is called: event_20261123; name has NAMEDATALEN bytes. */
extern void notify_day_name(const char *log, int64 day, char *name);

#endif
