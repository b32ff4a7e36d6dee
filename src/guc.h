/*
 * guc.h
 *		Every setting of notify_pg, and the clock that one of them moves.
 *
 * The variables are read-only for everyone but guc.c.
 */
#ifndef NOTIFY_GUC_H
#define NOTIFY_GUC_H

#include "datatype/timestamp.h"

extern int	notify_dispatchers;
extern int	notify_breaker_pause;
extern int	notify_poll_interval;	/* ms */
extern int	notify_batch_size;
extern int	notify_max_in_flight;
extern int	notify_lease;			/* s */
extern int	notify_nice;
extern int	notify_retention;		/* min */
extern char *notify_allow_private_addresses;
extern int	notify_clock_offset;	/* s */
extern int	notify_event_row_limit; /* kB */
extern int	notify_undecided_limit;
extern int	notify_query_timeout;	/* ms */

extern int	notify_mode;
extern int	notify_guard;
extern char *notify_host_id;

extern void guc_define(void);

/* The time schedules read: the wall clock moved by notify_pg.clock_offset. */
extern TimestampTz notify_now(void);

#endif							/* NOTIFY_GUC_H */
