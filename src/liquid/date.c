/*
 * date.c
 *		Points in time, broken down in a zone.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/datetime.h"

#include "liquid/date.h"

/* Years beyond these are no dates of anyone's. */
#define MIN_SECONDS	(INT64CONST(-62135596800))	/* year 1 */
#define MAX_SECONDS	(INT64CONST(253402300799))	/* year 9999 */

bool
liquid_break_down(int64 seconds, int nanoseconds, const char *zone, LiquidTime *t)
{
	pg_tz	   *tz = zone ? pg_tzset(zone) : NULL;
	pg_time_t	at = (pg_time_t) seconds;
	struct pg_tm *tm;

	if (tz == NULL)
		tz = pg_tzset("UTC");
	if (tz == NULL || seconds < MIN_SECONDS || seconds > MAX_SECONDS ||
		(tm = pg_localtime(&at, tz)) == NULL)
		return false;
	t->seconds = seconds;
	t->nanoseconds = nanoseconds;
	t->year = tm->tm_year + 1900;
	t->month = tm->tm_mon + 1;
	t->day = tm->tm_mday;
	t->hour = tm->tm_hour;
	t->minute = tm->tm_min;
	t->second = tm->tm_sec;
	t->weekday = tm->tm_wday;
	t->yearday = tm->tm_yday;
	t->offset = tm->tm_gmtoff;
	strlcpy(t->zone, tm->tm_zone ? tm->tm_zone : "", sizeof(t->zone));
	return true;
}

bool
liquid_break_down_at(int64 seconds, int nanoseconds, int offset, LiquidTime *t)
{
	if (!liquid_break_down(seconds + offset, nanoseconds, NULL, t))
		return false;
	t->seconds = seconds;
	t->offset = offset;
	if (offset != 0)
		t->zone[0] = '\0';		/* an offset has no name */
	return true;
}
