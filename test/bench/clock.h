/*
 * clock.h
 *		The clock that every program here stamps with: CLOCK_REALTIME in
 *		nanoseconds, so that stamps of different processes on one machine, and
 *		clock_timestamp() in the server, can be compared.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
stamp(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif							/* BENCH_CLOCK_H */
