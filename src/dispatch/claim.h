/*
 * claim.h
 *		Taking messages out of notify.ready, and the struct that carries one from
 *		its claim to its settlement.
 *
 * A job owns a memory context that holds everything about it; job_free() drops
 * it whole.  A job exists in this process only after the claiming transaction
 * has committed: until then it belongs to the Claim.
 */
#ifndef NOTIFY_DISPATCH_CLAIM_H
#define NOTIFY_DISPATCH_CLAIM_H

#include "lib/ilist.h"
#include "storage/itemptr.h"

#include "channel/channel.h"
#include "dispatch/outlet.h"

struct Words;

typedef struct Job
{
	dlist_node	node;			/* in the claim, a queue, sending or answered */
	MemoryContext cxt;
	MemoryContext wire_cxt;		/* below it: files and the message made of them,
								 * gone with the answer; or NULL */
	Size		wire_bytes;		/* of that, counted in its outlet */
	Outlet	   *outlet;
	struct Words *words;		/* its template, or NULL */
	Letter		letter;
	ItemPointerData tid;
	char	   *channel;
	int			provider;
	int			lane;
	int64		seq;
	int64		template_version;	/* 0: none */
	int			max_attempts;
	TimestampTz expires_at;		/* DT_NOEND when never */
	Size		size;			/* bytes counted in jobs_bytes() */
	int64		lease;			/* us from claimed_at on that it is ours */
	int64		claimed_at;		/* these three in ticks; no later than the claim's clock */
	int64		begun_at;
	int64		answered_at;
	bool		exposed;		/* it went on the wire */
	bool		begun;			/* it holds a place of its provider's gate */
	bool		probe;			/* of its provider's breaker, not judged yet */
	Transfer   *transfer;
	SendResult	result;
	int64		retry_ms;		/* -1: no further attempt */
	int			refusals;		/* times it could not be recorded, alone */
	int64		record_at;		/* ticks: when to try that again */
} Job;

/* One claim: the question above, the answer below. */
typedef struct Claim
{
	int			slot;
	int64		boot;
	int			nlanes;
	int		   *lanes;
	int64	   *bounds;			/* replaced by the new ones */
	int		   *room;
	int			max;
	int64		asked_at;		/* ticks, before the question */
	int64		lease;			/* us */
	dlist_head	jobs;
	int			njobs;
	bool		any;			/* it found something, if only to cancel */
} Claim;

extern void claim_run(Claim *claim, MemoryContext parent);
extern void claim_discard(Claim *claim);

extern void job_grow(Job *job, Size bytes);
extern void job_free(Job *job);
extern Size jobs_bytes(void);
extern int	jobs_count(void);

#endif							/* NOTIFY_DISPATCH_CLAIM_H */
