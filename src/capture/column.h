/*
 * column.h
 *		One column's value as jsonb and as text.
 */
#ifndef NOTIFY_CAPTURE_COLUMN_H
#define NOTIFY_CAPTURE_COLUMN_H

#include "access/tupdesc.h"
#include "fmgr.h"
#include "utils/jsonb.h"

/* How a type becomes jsonb. */
typedef enum ColumnForm
{
	COLUMN_BOOL,
	COLUMN_INT2,
	COLUMN_INT4,
	COLUMN_INT8,
	COLUMN_FLOAT,	/* a number, or "NaN", "Infinity" */
	COLUMN_NUMERIC, /* likewise */
	COLUMN_TEXT,	/* text, varchar, char(n): the bytes are the string */
	COLUMN_TIME,	/* date, timestamp, timestamptz: ISO 8601 */
	COLUMN_JSONB,
	COLUMN_OUTPUT,	/* the type's text form as a string */
	COLUMN_TO_JSONB /* whatever to_jsonb() makes of it */
} ColumnForm;

typedef struct Column
{
	AttrNumber attno;
	char	  *name;
	int		   name_length;
	Oid		   type;   /* of a domain, its base type */
	int16	   length; /* pg_type.typlen */
	bool	   by_value;
	ColumnForm form;
	bool	   safe; /* cannot raise */
	FmgrInfo   output;
	FmgrInfo   to_jsonb; /* only for COLUMN_TO_JSONB */
} Column;

/* Made in CurrentMemoryContext. */
extern void column_prepare(Column *column, Form_pg_attribute attribute);

/* What to_jsonb() would give for this value, NULL or not. */
extern void column_to_jsonb(Column *column, Datum value, bool isnull, JsonbValue *result);

extern char *column_to_text(Column *column, Datum value);

/* About how many bytes of jsonb, without detoasting anything. */
extern Size column_size(const Column *column, Datum value);

extern bool column_same(const Column *column, Datum one, Datum other);

#endif
