/*
 * daylog.h
 *		Rows of our own tables, found by an index or inserted, without an executor.
 */
#ifndef NOTIFY_DISPATCH_DAYLOG_H
#define NOTIFY_DISPATCH_DAYLOG_H

#include "access/skey.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define DAYLOG_KEYS		2
#define DAYLOG_COLUMNS	24

/* Which table, and what of it; the columns come back in this order. */
typedef struct DayLogShape
{
	const char *name;
	int			ncolumns;
	const char *columns[DAYLOG_COLUMNS];
	int			nkeys;
	const char *keys[DAYLOG_KEYS];	/* an index begins with them */
	RegProcedure equal[DAYLOG_KEYS];
	bool		plain;			/* not a log: a table that has no days */
	bool		from;			/* equal[] is >=: rows from the keys on are found */
} DayLogShape;

typedef struct DayLog DayLog;

/* In the current memory context, until daylog_close() in the same transaction. */
extern DayLog *daylog_open(const DayLogShape *shape, Snapshot snapshot, LOCKMODE lock);
extern void daylog_close(DayLog *log);

/*
 * The row with these keys in the day of id (of a plain table: any id).  values are good until the next call.
 */
extern bool daylog_fetch(DayLog *log, int64 id, const Datum *keys, Datum *values, bool *nulls);

/* All rows with these keys (NULL: all there are), in the index's order: of a plain table. */
extern void daylog_seek(DayLog *log, const Datum *keys);
extern bool daylog_next(DayLog *log, Datum *values, bool *nulls);

/* The last row in the index's order: of a plain table. */
extern bool daylog_last(DayLog *log, Datum *values, bool *nulls);

/* Deletes the row that was read last, of a plain table; an error when somebody else changed it. */
extern void daylog_delete(DayLog *log);

/* Instead of fetching: has the index on the keys any row from the day of one id to that of another? */
extern bool daylog_any(DayLog *log, int64 from, int64 to);

/* A row for the day of id; what was added is in the table after daylog_flush(). */
extern void daylog_add(DayLog *log, int64 id, const Datum *values, const bool *nulls);
extern void daylog_flush(DayLog *log);

/* An index of the relation that begins with these columns; an error when there is none. */
extern Oid	daylog_index(Relation relation, const AttrNumber *keys, int nkeys);

#endif							/* NOTIFY_DISPATCH_DAYLOG_H */
