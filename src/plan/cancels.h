/*
 * cancels.h
 *		Events that cancel earlier ones, by their keys.
 */
#ifndef NOTIFY_PLAN_CANCELS_H
#define NOTIFY_PLAN_CANCELS_H

#include "utils/snapshot.h"

#define EVENT_CANCEL_KEY	"notify:event:" /* and the event's id: what cancel(event) writes */

typedef struct Cancels Cancels;

/* Was anything cancelled from the day of one event to that of another, or now? */
extern bool cancels_between(int64 first, int64 last, Snapshot snapshot);

/* The cancelling events with one of these keys and a higher id; in the current memory context. */
extern Cancels *cancels_find(char **keys, int nkeys, int64 since);

/* Is there one with this key that is later than the event?  NULL cancels, or key: no. */
extern bool cancels_include(const Cancels *cancels, const char *key, int64 event);

#endif							/* NOTIFY_PLAN_CANCELS_H */
