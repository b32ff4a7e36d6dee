/*
 * settle.h
 *		Writing answers down.
 */
#ifndef NOTIFY_DISPATCH_SETTLE_H
#define NOTIFY_DISPATCH_SETTLE_H

#include "dispatch/claim.h"

/* One batch of answers.  Sums are for the counters. */
typedef struct Settlement
{
	int			slot;
	int64		boot;
	Job		  **jobs;
	int			njobs;
	int64		accepted;		/* the rest were no longer ours */
	int			sent;
	int			again;			/* to be tried once more */
	Job		  **unsent;			/* to be given back */
	int			nunsent;
} Settlement;

/* Words of a provider's as the database can hold them */
extern const char *foreign_text(char *text);

extern void settle_take(Settlement *settlement, dlist_head *answers, int most);
extern void settle_take_one(Settlement *settlement, Job *job);
extern void settle_take_unsent(Settlement *settlement, dlist_head *unsent, int most);
extern void settle_run(Settlement *settlement);

#endif							/* NOTIFY_DISPATCH_SETTLE_H */
