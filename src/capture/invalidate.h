/*
 * invalidate.h
 *		Hearing of changes to what capture keeps in memory.
 */
#ifndef NOTIFY_CAPTURE_INVALIDATE_H
#define NOTIFY_CAPTURE_INVALIDATE_H

/* Register the callbacks, once per backend; call before caching anything. */
extern void invalidate_listen(void);

/*
 * Goes up with every invalidation.  A filler that reads it before and after
 * knows whether one arrived in between.
 */
extern uint64 invalidate_generation(void);

/* Serial number of the current top-level transaction within this backend. */
extern uint64 invalidate_transaction(void);

#endif
