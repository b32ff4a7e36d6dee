/*
 * gather.h
 *		What events ask for, as candidates.
 */
#ifndef NOTIFY_PLAN_GATHER_H
#define NOTIFY_PLAN_GATHER_H

#include "utils/array.h"

/*
 * The candidates of these events.  audience: the number under which the people of a
 * large one wait; asked: an audience was asked.  Needs a connection to SPI.
 */
extern ArrayType *gather(ArrayType *events, int64 audience, bool *asked);

#endif							/* NOTIFY_PLAN_GATHER_H */
