/*
 * take.h
 *		Claiming rows of notify.ready, with all that is needed to send them.
 */
#ifndef NOTIFY_DISPATCH_TAKE_H
#define NOTIFY_DISPATCH_TAKE_H

/* What is told of a message; the order is that of notify._claim()'s columns. */
typedef enum TakeColumn
{
	T_TID, T_MESSAGE, T_EVENT, T_ATTEMPT, T_PROVIDER, T_CHANNEL, T_ADDRESS,
	T_RECIPIENT, T_TYPE, T_CREATED, T_TEMPLATE, T_DATA, T_AT_MOST_ONCE,
	T_MAX_ATTEMPTS, T_EXPIRES_AT, T_SEQ, T_LANE, T_RETURN_TAG, T_UNSUBSCRIBE, T_COUNT
} TakeColumn;

/* The question: at most "most" messages, at most room[i] of lanes[i], in that order. */
typedef struct TakeQuestion
{
	int			slot;
	int64		boot;
	int			nlanes;
	const int  *lanes;
	const int64 *bounds;		/* no message of that lane has a lower seq */
	const int  *room;
	int64		lease;			/* us */
	int			most;
} TakeQuestion;

/* Called for each message; the values are gone when it returns. */
typedef void (*TakeReceiver) (void *arg, const Datum *values, const bool *nulls);

/*
 * Inside a transaction, connected to SPI.  new_bounds[i] is -1 when that lane is
 * empty.  Gives how many rows were claimed, those included that are not to be
 * sent after all and were settled here.
 */
extern int	take(const TakeQuestion *question, int64 *new_bounds, TakeReceiver receive, void *arg);

#endif							/* NOTIFY_DISPATCH_TAKE_H */
