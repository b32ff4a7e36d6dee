/*
 * similar.h
 *		The name somebody may have meant.
 */
#ifndef NOTIFY_LIQUID_SIMILAR_H
#define NOTIFY_LIQUID_SIMILAR_H

typedef struct Similar
{
	const char *name;			/* what was written */
	int			len;
	const char *found;			/* the nearest tried so far, or NULL */
	int			distance;
} Similar;

/* Keeps "other" when it is near and nearer than what was tried before. */
extern void similar_try(Similar *s, const char *other);

#endif							/* NOTIFY_LIQUID_SIMILAR_H */
