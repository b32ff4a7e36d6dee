/*
 * splice.h
 *		A jsonb object put together from parts of others.
 */
#ifndef NOTIFY_PLAN_SPLICE_H
#define NOTIFY_PLAN_SPLICE_H

#include "utils/jsonb.h"

struct SplicePair;

/* All zeros: empty.  What it is made of must stay until splice_end(). */
typedef struct Splice
{
	struct SplicePair *pairs;	/* by key, each once */
	int			count;
} Splice;

/* Of equal keys the one added last is kept.  NULL: null */
extern void splice_text(Splice *splice, const char *key, const char *text);
extern void splice_document(Splice *splice, const char *key, const Jsonb *document);

/* The pairs of an object; anything else, and NULL, has none */
extern void splice_pairs(Splice *splice, const Jsonb *object);

extern Jsonb *splice_end(const Splice *splice);

#endif							/* NOTIFY_PLAN_SPLICE_H */
