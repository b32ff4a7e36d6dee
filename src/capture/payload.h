/*
 * payload.h
 *		Rows as jsonb and keys as text.
 */
#ifndef NOTIFY_CAPTURE_PAYLOAD_H
#define NOTIFY_CAPTURE_PAYLOAD_H

#include "executor/tuptable.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

typedef struct Payload Payload;

/* What an event holds of a row. */
typedef struct Image
{
	Jsonb *new; /* NULL: there is none */
	Jsonb *old;
	char  *key;
	bool   truncated; /* something wanted was left out */
} Image;

/* Made in CurrentMemoryContext.  columns and key are lists of char *. */
extern Payload *payload_prepare(Relation relation, List *key, List *columns);

/* Does an event of this relation hold that column? */
extern bool payload_holds(const Payload *payload, AttrNumber attno);

/* Is it one of the columns that name a row? */
extern bool payload_is_key(const Payload *payload, AttrNumber attno);

/*
 * What to keep of a row: new or old is NULL where there is none.  With both,
 * old keeps only what changed.
 */
extern void payload_build(Payload *payload, TupleTableSlot *new, TupleTableSlot *old, Image *image);

#endif
