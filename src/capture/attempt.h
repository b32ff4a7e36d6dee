/*
 * attempt.h
 *		Run work whose error the surrounding statement must survive.
 */
#ifndef NOTIFY_CAPTURE_ATTEMPT_H
#define NOTIFY_CAPTURE_ATTEMPT_H

/*
 * Run work(arg) in an internal subtransaction.  Returns NULL when it succeeded;
 * else everything it did in the database is undone and the error is returned,
 * allocated in the caller's memory context.  Errors that mean "stop", not "this
 * expression is wrong", are thrown on.
 */
extern ErrorData *attempt(void (*work)(void *arg), void *arg);

#endif
