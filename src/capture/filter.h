/*
 * filter.h
 *		Which rules of a relation can want a row at all.
 */
#ifndef NOTIFY_CAPTURE_FILTER_H
#define NOTIFY_CAPTURE_FILTER_H

#include "executor/tuptable.h"

#include "capture/rules.h"

/* In CurrentMemoryContext, for the rules that look at op. */
extern struct Filter *filter_build(const RuleSet *set, CaptureOp op);

/* Point the filter at a row: slots, never NULL. */
extern void filter_aim(struct Filter *filter, TupleTableSlot *new, TupleTableSlot *old);

/* The first position from here on whose rule can want the row; -1: none. */
extern int filter_next(const struct Filter *filter, int position);

#endif
