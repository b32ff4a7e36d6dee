/*
 * id.c
 *		Ids that carry the time they were made.
 *
 * id = (unix milliseconds << 20) | (nextval('notify.id_seq') & 0xFFFFF).  The
 * clock is the wall clock: schedules can be moved by a setting, ids never.
 * The transaction id is assigned before the clock is read, so the time in an
 * event's id is never earlier than the assignment of its xid; the planner's
 * cursor relies on that to know which days a batch can reach.
 */
#include "postgres.h"

#include <sys/time.h>

#include "access/transam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "fmgr.h"

#include "capture/id.h"
#include "capture/names.h"

#define ID_SEQUENCE_MASK ((INT64CONST(1) << NOTIFY_ID_SEQUENCE_BITS) - 1)
#define MS_PER_DAY INT64CONST(86400000)

PG_FUNCTION_INFO_V1(notify_next_id_sql);

int64
notify_next_id(void)
{
	struct timeval now;
	int64		   number;
	int64		   ms;

	(void) GetTopFullTransactionId();
	number = nextval_internal(names_relation(NAME_ID_SEQUENCE), false);
	gettimeofday(&now, NULL);
	ms = (int64) now.tv_sec * 1000 + now.tv_usec / 1000;
	return (ms << NOTIFY_ID_SEQUENCE_BITS) | (number & ID_SEQUENCE_MASK);
}

int64
notify_id_day(int64 id)
{
	return (id >> NOTIFY_ID_SEQUENCE_BITS) / MS_PER_DAY;
}

Datum
notify_next_id_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(notify_next_id());
}
