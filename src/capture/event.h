/*
 * event.h
 *		Rows of notify.event.
 */
#ifndef NOTIFY_CAPTURE_EVENT_H
#define NOTIFY_CAPTURE_EVENT_H

#include "utils/jsonb.h"

#include "capture/evaluate.h"

/* What an event row says, apart from what the rules say. */
typedef struct Event
{
	char		op;		/* I U D captured; E emit; S send; B broadcast; C cancel() */
	Oid			source; /* InvalidOid when emitted */
	const char *type;	/* any pointer may be NULL */
	const char *key;
	const char *recipient;
	const char *cancel_key; /* messages listening to it die */
	const Jsonb *new;
	const Jsonb *old;
	bool		 truncated;
	const Jsonb *instruction;
} Event;

/*
 * Write the event with its rules' verdicts (evaluation may be NULL) into the
 * day's partition, and have the planner woken at commit.  Cancel rules with
 * further keys get a row each.  Returns the first row's id.
 */
extern int64 event_write(const Event *event, const Evaluation *evaluation);

#endif
