/*
 * nice.h
 *		How far a worker stands back when there is too little CPU for everyone.
 */
#ifndef NOTIFY_PROCESS_NICE_H
#define NOTIFY_PROCESS_NICE_H

/* Linux grants a tenth to a hundred, and without asking some three. */
#define PLANNER_SLICE_MS	10
#define DISPATCHER_SLICE_MS 100

/* Call it first: the process is as its server is. */
extern void nice_start(int slice_ms);

/* Does what notify_pg.nice says, if it is not done yet; false: only a new process can. */
extern bool nice_obey(void);

#endif							/* NOTIFY_PROCESS_NICE_H */
