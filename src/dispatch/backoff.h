/*
 * backoff.h
 *		When a message that was not accepted is tried again.
 */
#ifndef NOTIFY_DISPATCH_BACKOFF_H
#define NOTIFY_DISPATCH_BACKOFF_H

#include "datatype/timestamp.h"

/* What the next attempt may not pass. */
typedef struct BackoffLimit
{
	int			max_attempts;
	TimestampTz expires_at;		/* in notify.now() time; DT_NOEND when never */
	TimestampTz now;			/* notify.now() */
} BackoffLimit;

/*
 * Milliseconds until the attempt after "attempt" (which counts from 1), or -1
 * when there is to be none.  retry_after is what the provider asked for, or -1.
 */
extern int64 backoff_ms(int attempt, int64 retry_after, const BackoffLimit *limit);

#endif							/* NOTIFY_DISPATCH_BACKOFF_H */
