/*
 * splice.h
 *		A jsonb object put together from parts of others.
 */
#ifndef NOTIFY_SPLICE_H
#define NOTIFY_SPLICE_H

#include "utils/jsonb.h"

struct SplicePair;

/* All zeros: empty.  What it is made of must stay until splice_end(). */
typedef struct Splice
{
	struct SplicePair *pairs;	/* by key, each once */
	int			count;
	int			room;
} Splice;

/* Of equal keys the one added last is kept.  NULL: null */
extern void splice_text(Splice *splice, const char *key, const char *text);
extern void splice_document(Splice *splice, const char *key, const Jsonb *document);

/* A scalar, or a container as it is stored (jbvBinary).  The key need not end in a zero */
extern void splice_value(Splice *splice, const char *key, int key_length, const JsonbValue *value);

/* A document as such a value, which points into it */
extern void splice_whole(const Jsonb *document, JsonbValue *value);

/* The pairs of an object; anything else, and NULL, has none */
extern void splice_pairs(Splice *splice, const Jsonb *object);

extern Jsonb *splice_end(const Splice *splice);

#endif							/* NOTIFY_SPLICE_H */
