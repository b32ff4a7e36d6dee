/*
 * refusal.h
 *		What people do not want: notify.preference and notify.suppression.
 */
#ifndef NOTIFY_PLAN_REFUSAL_H
#define NOTIFY_PLAN_REFUSAL_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

typedef struct Refusals Refusals;

/* In the current memory context, until refusals_close() in the same transaction. */
extern Refusals *refusals_open(Snapshot snapshot);
extern void refusals_close(Refusals *refusals);

/*
 * The notify.reason.code that forbids this; NULL: none.  Critical categories are
 * not to be asked about.  What is NULL is not there.
 */
extern const char *refusal(Refusals *refusals, const char *recipient, const char *category,
						   const char *channel, const char *address);

#endif							/* NOTIFY_PLAN_REFUSAL_H */
