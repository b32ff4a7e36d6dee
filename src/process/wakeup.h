/*
 * wakeup.h
 *		How a writer's commit wakes the planner of its database.
 */
#ifndef NOTIFY_PROCESS_WAKEUP_H
#define NOTIFY_PROCESS_WAKEUP_H

/* Called by _PG_init while preloading: once per process, by inheritance. */
extern void wakeup_install(void);

/* Marks this transaction: its commit wakes the planner.  No-op without preload. */
extern void notify_wake_planner(void);

#endif							/* NOTIFY_PROCESS_WAKEUP_H */
