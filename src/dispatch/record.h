/*
 * record.h
 *		Answers into notify.outcome, and their rows out of notify.ready.
 */
#ifndef NOTIFY_DISPATCH_RECORD_H
#define NOTIFY_DISPATCH_RECORD_H

#include "storage/itemptr.h"

/* What became of one attempt; strings are in the database's encoding. */
typedef struct Answer
{
	ItemPointerData tid;		/* of its row when it was claimed */
	int64		message;
	const char *class;
	int			code;			/* 0: there was no answer */
	const char *detail;			/* these two: "" for nothing */
	const char *reference;
	int64		retry_ms;		/* -1: no further attempt */
	int			latency;		/* ms */
	const char *subject;		/* these two for the inbox, else NULL */
	const char *body;
	bool		ambiguous;		/* it may have arrived */
} Answer;

/*
 * Inside a transaction, connected to SPI.  Rows that this start of the slot does
 * not own any more are left alone; gives how many were recorded.
 */
extern int	record(int slot, int64 boot, const Answer *answers, int count);

#endif							/* NOTIFY_DISPATCH_RECORD_H */
