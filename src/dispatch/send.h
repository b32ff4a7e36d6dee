/*
 * send.h
 *		Claimed messages onto the wire and their answers back.
 *
 * No transaction is open here, but for the moment in which the files of a
 * letter that has some are read.  Whatever happens to a message
 * ends as an answer of its own: nothing raised here touches its neighbours.
 */
#ifndef NOTIFY_DISPATCH_SEND_H
#define NOTIFY_DISPATCH_SEND_H

#include "dispatch/claim.h"

/* Run work in a transaction of its own; false when that failed, which was logged. */
typedef bool (*SendTransaction) (void (*work) (void *), void *arg);

/* False with errno when the mux cannot be made. */
extern bool send_setup(int capacity, SendTransaction run);
extern int	send_fd(void);

/* Drive the transfers, take answers, start what fits; true: there may be more to start at once. */
extern bool send_pump(void);

extern int	send_in_flight(void);

/* Microseconds spent filling templates so far. */
extern int64 send_render_us(void);

/* True once after a provider that had no room got some. */
extern bool send_made_room(void);

/*
 * Answers to settle, oldest first; apart from them the suspects, which could
 * not be recorded even alone and must not hold up the others.
 */
extern dlist_head *send_answers(void);
extern dlist_head *send_suspects(void);

/* Claimed and not begun, to be given back; settled like answers. */
extern dlist_head *send_unsent(void);

extern int	send_answer_count(void);	/* of all three */
extern void send_answer_settled(Job *job);
extern void send_answer_suspect(Job *job);

/* Transfers begun at that time (ticks) or before. */
extern int	send_slow(int64 since);

/* Stopping: take what is answered until the deadline (ticks), begin nothing. */
extern void send_finish(int64 deadline);

/* Stop: abandon what is not answered and close. */
extern void send_abandon(void);

#endif							/* NOTIFY_DISPATCH_SEND_H */
