/*
 * reader.h
 *		Reading the extension's own tables in somebody else's transaction.
 */
#ifndef NOTIFY_CAPTURE_READER_H
#define NOTIFY_CAPTURE_READER_H

#include "nodes/pg_list.h"

#include "capture/names.h"

typedef struct Reader Reader;

/* columns: names; get_ functions number them from 0. */
extern Reader *reader_open(RelationName table, const char *const *columns, int count);
extern bool	   reader_next(Reader *reader);
extern void	   reader_close(Reader *reader);

extern bool	 reader_is_null(Reader *reader, int column);
extern Datum reader_datum(Reader *reader, int column); /* 0 for NULL */
extern char *reader_text(Reader *reader, int column);  /* palloc'd, or NULL */
extern List *reader_texts(Reader *reader, int column); /* of a text[]: char *, or NIL */

#endif
