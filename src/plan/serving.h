/*
 * serving.h
 *		Which providers serve which channel now.
 */
#ifndef NOTIFY_PLAN_SERVING_H
#define NOTIFY_PLAN_SERVING_H

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

/* A provider that is enabled. */
typedef struct Server
{
	char	   *channel;
	int			provider;		/* notify.provider.id */
	bool		broken;			/* it has a problem */
	bool		open;			/* its breaker is: it is left alone */
	int			priority;
	bool		has_url;		/* it needs no address of the person */
	int			weight;
	bool		has_cost;
	Datum		cost;
} Server;

/* The best of a channel, which share it. */
typedef struct Serving
{
	const char *channel;
	List	   *servers;		/* Server, by id */
	bool		has_url;		/* all have */
	bool		open;			/* one is */
} Serving;

/* A Serving for each channel that has an enabled provider; in the current memory context. */
extern List *serving_read(Snapshot snapshot);

extern const Server *serving_first(const Serving *serving);

/* The columns that notify._choose() takes, of several. */
extern Datum serving_choices(const Serving *serving);
extern Datum serving_weights(const Serving *serving);
extern Datum serving_costs(const Serving *serving);

#endif							/* NOTIFY_PLAN_SERVING_H */
