/*
 * apply.h
 *		Decides, and writes the messages and their place in the queue.
 */
#ifndef NOTIFY_PLAN_APPLY_H
#define NOTIFY_PLAN_APPLY_H

#include "utils/array.h"

/* Messages that were written, and how many of them went to notify.ready. */
typedef struct Applied
{
	int			planned;
	int			readied;
} Applied;

/* What becomes of these candidates.  Needs a connection to SPI. */
extern Applied apply(ArrayType *people);

#endif							/* NOTIFY_PLAN_APPLY_H */
