/*
 * rows.h
 *		Rows of our own tables, found by an index or inserted, without an executor.
 */
#ifndef NOTIFY_ROWS_H
#define NOTIFY_ROWS_H

#include "access/skey.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define ROWS_KEYS		2
#define ROWS_COLUMNS	24

/* Which table, and what of it; the columns come back in this order. */
typedef struct RowsShape
{
	const char *name;
	int			ncolumns;
	const char *columns[ROWS_COLUMNS];
	int			nkeys;
	const char *keys[ROWS_KEYS];	/* an index begins with them */
	RegProcedure equal[ROWS_KEYS];
	bool		plain;			/* not a log: a table that has no days */
	bool		from;			/* equal[] is >=: rows from the keys on are found */
	bool		partial;		/* the index has rows only that have the key */
} RowsShape;

typedef struct Rows Rows;

/* In the current memory context, until rows_close() in the same transaction. */
extern Rows *rows_open(const RowsShape *shape, Snapshot snapshot, LOCKMODE lock);
extern void rows_close(Rows *rows);

/*
 * The row with these keys in the day of id (of a plain table: any id).  values are good until the next call.
 */
extern bool rows_fetch(Rows *rows, int64 id, const Datum *keys, Datum *values, bool *nulls);

/* All rows with these keys (NULL: all there are), in the index's order: of a plain table. */
extern void rows_seek(Rows *rows, const Datum *keys);
extern bool rows_next(Rows *rows, Datum *values, bool *nulls);

/* The last row in the index's order: of a plain table. */
extern bool rows_last(Rows *rows, Datum *values, bool *nulls);

/* Deletes the row that was read last, of a plain table; an error when somebody else changed it. */
extern void rows_delete(Rows *rows);

/* Instead of fetching: has the index on the keys any row from the day of one id to that of another? */
extern bool rows_any(Rows *rows, int64 from, int64 to);

/* A row for the day of id; what was added is in the table after rows_flush(). */
extern void rows_add(Rows *rows, int64 id, const Datum *values, const bool *nulls);
extern void rows_flush(Rows *rows);

/* A btree of the relation that begins with these columns; an error when there is none. */
extern Oid	rows_index(Relation relation, const AttrNumber *keys, int nkeys, bool partial);

#endif							/* NOTIFY_ROWS_H */
