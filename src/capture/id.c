/*
 * id.c
 *		Ids that carry the time they were made.
 *
 * id = (unix milliseconds << 20) | (nextval('notify.id_seq') & 0xFFFFF).  The
 * clock is the wall clock: schedules can be moved by a setting, ids never.
 * The transaction id is assigned before the clock is read, so the time in an
 * event's id is never earlier than the assignment of its xid; the planner's
 * cursor relies on that to know which days a batch can reach.
 *
 * What cancels a message is known by its higher id, so an id made after another
 * must be higher, also when the clock was set back in between.  The sessions of a
 * server share the latest millisecond (process/shmem.h) and go on from there; but
 * never more than an hour ahead of the clock, which is then followed back.  When
 * the sequence's low bits begin anew, the next millisecond begins for all.  Without
 * shared memory, and within the millisecond, a session knows its own last id.
 */
#include "postgres.h"

#include <sys/time.h>

#include "access/transam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "capture/id.h"
#include "capture/names.h"
#include "process/shmem.h"

#define ID_SEQUENCE_MASK ((INT64CONST(1) << NOTIFY_ID_SEQUENCE_BITS) - 1)
#define MS_PER_DAY INT64CONST(86400000)
#define MS_AHEAD INT64CONST(3600000)	/* of the clock, at most */

#define MS_MAX (PG_INT64_MAX >> NOTIFY_ID_SEQUENCE_BITS)
#define UNIX_EPOCH_MS ((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * MS_PER_DAY)

PG_FUNCTION_INFO_V1(notify_next_id_sql);
PG_FUNCTION_INFO_V1(notify_time_id);

static int64 last_id = 0;		/* of this session */

static int64
make_id(int64 ms, int64 number)
{
	return (ms << NOTIFY_ID_SEQUENCE_BITS) | (number & ID_SEQUENCE_MASK);
}

/* An id made at this time that is higher than the session's last one, if that can be. */
static int64
growing_id(int64 ms, int64 number)
{
	int64		last_ms = last_id >> NOTIFY_ID_SEQUENCE_BITS;

	if (last_ms >= ms && last_ms - ms < MS_AHEAD)
	{
		ms = last_ms;
		if (make_id(ms, number) <= last_id)
			ms++;
	}
	last_id = make_id(ms, number);
	return last_id;
}

/* Now, or the latest millisecond of this server if the clock is behind it. */
static int64
latest_ms(bool next)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	return shared_latest_ms((int64) now.tv_sec * 1000 + now.tv_usec / 1000, MS_AHEAD, next);
}

int64
notify_next_id(void)
{
	int64		number;

	(void) GetTopFullTransactionId();
	number = nextval_internal(names_relation(NAME_ID_SEQUENCE), false);
	return growing_id(latest_ms((number & ID_SEQUENCE_MASK) == 0), number);
}

int64
notify_id_day(int64 id)
{
	return (id >> NOTIFY_ID_SEQUENCE_BITS) / MS_PER_DAY;
}

void
notify_day_name(const char *log, int64 day, char *name)
{
	int			year;
	int			month;
	int			mday;

	j2date((int) day + UNIX_EPOCH_JDATE, &year, &month, &mday);
	snprintf(name, NAMEDATALEN, "%s_%04d%02d%02d", log, year, month, mday);
}

Datum
notify_next_id_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(notify_next_id());
}

/* A time between two milliseconds belongs to the nearer one. */
static int64
unix_ms(TimestampTz at)
{
	return (at + (at < 0 ? -500 : 500)) / 1000 - UNIX_EPOCH_MS;
}

TimestampTz
notify_id_to_time(int64 id)
{
	return ((id >> NOTIFY_ID_SEQUENCE_BITS) + UNIX_EPOCH_MS) * 1000;
}

int64
notify_time_to_id(TimestampTz at)
{
	return (int64) ((uint64) unix_ms(at) << NOTIFY_ID_SEQUENCE_BITS);
}

/* time_id(timestamptz) */
Datum
notify_time_id(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(0);
	int64		ms = TIMESTAMP_NOT_FINITE(at) ? PG_INT64_MAX : unix_ms(at);

	if (ms > MS_MAX || ms < -MS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("no id can carry the time %s", timestamptz_to_str(at))));
	PG_RETURN_INT64((int64) ((uint64) ms << NOTIFY_ID_SEQUENCE_BITS));
}
