/*
 * ticks.h
 *		A clock that is never set: how long something takes or is put off.
 *
 * All processes of a server read the same one.  What outlives the server, or is
 * shown to people, is in wall-clock time instead.
 */
#ifndef NOTIFY_TICKS_H
#define NOTIFY_TICKS_H

#include "portability/instr_time.h"

static inline int64
ticks_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

static inline int64
ticks_ms(void)
{
	return ticks_us() / 1000;
}

#endif							/* NOTIFY_TICKS_H */
