/*
 * reader.c
 *		Reading the extension's own tables in somebody else's transaction.
 *
 * Rules are looked up in the middle of a writer's statement, so the look must
 * leave no trace in his transaction.  It sees what is committed now, whatever
 * his snapshot is; and it takes no predicate locks, so a SERIALIZABLE writer is
 * never in conflict with somebody who edits a rule.  Both follow from scanning
 * without a snapshot and asking of each row whether the latest one sees it.
 *
 * Like the catalogs, the tables are read without asking for privileges.  A column
 * that the table will have after ALTER EXTENSION UPDATE only reads as NULL.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "capture/reader.h"

struct Reader
{
	Relation		table;
	TableScanDesc	scan;
	Snapshot		snapshot;
	TupleTableSlot *row;
	AttrNumber	   *attnos;
};

Reader *
reader_open(RelationName table, const char *const *columns, int count)
{
	Reader *reader = palloc(sizeof(Reader));
	int		i;

	reader->table = table_open(names_relation(table), AccessShareLock);
	reader->attnos = palloc(count * sizeof(AttrNumber));
	for (i = 0; i < count; i++)
		reader->attnos[i] = get_attnum(RelationGetRelid(reader->table), columns[i]);
	reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
	reader->row = table_slot_create(reader->table, NULL);
	reader->scan = table_beginscan(reader->table, SnapshotAny, 0, NULL);
	return reader;
}

bool
reader_next(Reader *reader)
{
	while (table_scan_getnextslot(reader->scan, ForwardScanDirection, reader->row))
		if (table_tuple_satisfies_snapshot(reader->table, reader->row, reader->snapshot))
			return true;
	return false;
}

void
reader_close(Reader *reader)
{
	table_endscan(reader->scan);
	ExecDropSingleTupleTableSlot(reader->row);
	UnregisterSnapshot(reader->snapshot);
	table_close(reader->table, NoLock);
}

bool
reader_is_null(Reader *reader, int column)
{
	return reader->attnos[column] == InvalidAttrNumber ||
		   slot_attisnull(reader->row, reader->attnos[column]);
}

Datum
reader_datum(Reader *reader, int column)
{
	bool isnull;

	if (reader_is_null(reader, column))
		return (Datum) 0;
	return slot_getattr(reader->row, reader->attnos[column], &isnull);
}

char *
reader_text(Reader *reader, int column)
{
	return reader_is_null(reader, column) ? NULL :
											TextDatumGetCString(reader_datum(reader, column));
}

List *
reader_texts(Reader *reader, int column)
{
	List  *texts = NIL;
	Datum *elements;
	bool  *nulls;
	int	   count;
	int	   i;

	if (reader_is_null(reader, column))
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(reader_datum(reader, column)), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &count);
	for (i = 0; i < count; i++)
		if (!nulls[i])
			texts = lappend(texts, TextDatumGetCString(elements[i]));
	return texts;
}
