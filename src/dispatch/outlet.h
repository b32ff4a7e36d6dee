/*
 * outlet.h
 *		A provider as the dispatcher sees it: the open handle, how much of it is
 *		in use, and the claimed messages that wait for it, by priority.
 *
 * An outlet whose provider was changed or switched off is retired: it takes
 * nothing new, sends what it has, and goes when that is done.
 */
#ifndef NOTIFY_DISPATCH_OUTLET_H
#define NOTIFY_DISPATCH_OUTLET_H

#include "lib/ilist.h"

#include "channel/channel.h"
#include "dispatch/gate.h"

#define PRIORITIES	4			/* 0 urgent .. 3 bulk; lane = provider * 4 + priority */

struct Claim;
struct Job;

typedef struct Outlet
{
	dlist_node	node;
	MemoryContext cxt;
	int			id;				/* notify.provider.id */
	char	   *name;
	Jsonb	   *preset;			/* a row of notify.preset */
	Jsonb	   *settings;
	Provider   *provider;		/* NULL for the inbox and when broken */
	bool		inbox;
	char	   *problem;		/* why it could not be opened, or NULL */
	int			problem_told;	/* to notify.provider: see outlet.c */
	int64		riddles_told;	/* to notify.unclassified */
	int64		riddles_telling;
	bool		retired;
	bool		idempotent;		/* the provider drops what repeats our key */
	int			concurrency;	/* of all dispatchers together; 0: the default, of each */
	GateRate	rate_limit;
	Gate	   *gate;			/* shared with other dispatchers; NULL for the inbox */
	bool		starved;		/* the last claim was held down by the gate */
	bool		rationed;		/* the claim under way is, unless it finds less */
	int			queued_before;	/* that claim */
	int			space;			/* for all lanes of the claim under way; less for one that others go before */
	int			promised;		/* by the gate, to the claim under way */
	int64		start_at;		/* ticks: no token before */
	Transfer   *errand;			/* fetches what letters must wait for, or NULL */
	int			jobs;			/* claimed and not yet settled */
	int			sending;
	Size		wire_bytes;		/* held by what is sent with files */
	int			queued;
	int			waiting[PRIORITIES];	/* queued, of each */
	dlist_head	queue[PRIORITIES];
	int64		bound[PRIORITIES];
	bool		full;			/* the last claim was held down by its room */
	int			finished;		/* since rate_since */
	int64		rate_since;		/* ticks */
	double		rate;			/* answers a second, smoothed */
} Outlet;

/* Inside a transaction: read notify._providers() if the configuration changed. */
extern void outlets_refresh(void);

/* After that transaction: open what is new.  Never raises.  True if anything is. */
extern bool outlets_open(void);

/* Outside a transaction: drop what is retired and done. */
extern void outlets_sweep(void);

extern Outlet *outlet_find(int id);

/* The lanes that have room; then, after the commit, what they gave. */
extern void outlets_fill_claim(struct Claim *claim, int capacity);
extern void outlets_take_claim(struct Claim *claim);

/* Ticks: when the gates let more be claimed, or a waiting message begin; PG_INT64_MAX: no such */
extern int64 outlets_room_time(void);
extern int64 outlets_start_time(void);

/* Before messages are begun: waits for tokens that are over */
extern void outlets_end_waits(void);

/* One that waited too long to be begun, taken out of its queue, or NULL */
extern struct Job *outlets_stale(void);

/* A breaker opened or closed since the last call: others want to know. */
extern bool outlets_news(void);

/* The next message to start, or NULL; "capacity" is for providers without their own. */
extern struct Job *outlets_next(int capacity);

/* One with messages waiting that needs an errand first; one with an errand under way */
extern Outlet *outlets_wanting_errand(void);
extern Outlet *outlets_with_errand(void);

/* Is there room for more, and does a provider at work run out of messages? */
typedef enum Hunger
{
	HUNGER_FULL, HUNGER_ROOM, HUNGER_URGENT
} Hunger;

extern Hunger outlets_hunger(int capacity);

/* Is there room for the most urgent messages, whatever others wait here? */
extern bool outlets_urgent_room(int capacity);

/* A transfer is put on the wire; a message that was begun is not. */
extern void outlet_began(Outlet *outlet);
extern void outlet_not_begun(Outlet *outlet);

/* It ended; true when a claim held down by this outlet may now get more. */
extern bool outlet_finished(Outlet *outlet, const SendResult *result, int64 latency_ms);

/* It was abandoned. */
extern void outlet_abandoned(Outlet *outlet);

/* What an answer says about the provider; probe: of the message let through. */
extern void outlet_judge(Outlet *outlet, const SendResult *result, bool probe);

/* The probe came to nothing. */
extern void outlet_probe_void(Outlet *outlet);

#endif							/* NOTIFY_DISPATCH_OUTLET_H */
