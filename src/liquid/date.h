/*
 * date.h
 *		Points in time: read from text, and written by strftime's directives.
 */
#ifndef NOTIFY_LIQUID_DATE_H
#define NOTIFY_LIQUID_DATE_H

#include "lib/stringinfo.h"

/* Broken down in a zone. */
typedef struct LiquidTime
{
	int64		seconds;		/* since 1970 */
	int			nanoseconds;
	int			year;
	int			month;			/* from 1 */
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			weekday;		/* from 0, Sunday */
	int			yearday;		/* from 0 */
	int			offset;			/* seconds east of UTC */
	char		zone[16];		/* abbreviation */
} LiquidTime;

/* In a zone, UTC when it is NULL or does not exist.  False when the time is out of range. */
extern bool liquid_break_down(int64 seconds, int nanoseconds, const char *zone, LiquidTime *t);

/* So many seconds east of UTC. */
extern bool liquid_break_down_at(int64 seconds, int nanoseconds, int offset, LiquidTime *t);

/*
 * Reads a date as people and machines write it; what is written without an
 * offset is a time in "zone".  With zone NULL that is UTC, and what has an
 * offset keeps it.  False when it is none.
 */
extern bool liquid_parse_date(const char *text, int len, const char *zone, LiquidTime *t);

extern void liquid_strftime(StringInfo out, const char *format, int len, const LiquidTime *t,
							const char *locale);

#endif							/* NOTIFY_LIQUID_DATE_H */
