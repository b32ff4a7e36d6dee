/*
 * backoff.c
 *		When a message that was not accepted is tried again.
 *
 * Exponential with full jitter: anywhere between nothing and twice as long as
 * last time, so that messages that failed together do not return together.  A
 * provider that says how long to wait is obeyed when it says longer.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "dispatch/backoff.h"

#define BASE_MS		INT64CONST(2000)
#define CAP_MS		INT64CONST(3600000)
#define DOUBLINGS	11			/* BASE_MS << 11 is over CAP_MS */

static int64
jittered(int attempt)
{
	int			doublings = Min(Max(attempt - 1, 0), DOUBLINGS);
	int64		most = Min(BASE_MS << doublings, CAP_MS);

	return (int64) (pg_prng_double(&pg_global_prng_state) * most);
}

int64
backoff_ms(int attempt, int64 retry_after, const BackoffLimit *limit)
{
	int64		delay = Max(jittered(attempt), retry_after);

	if (attempt >= limit->max_attempts)
		return -1;
	if (limit->expires_at - limit->now < delay * 1000)
		return -1;
	return delay;
}
