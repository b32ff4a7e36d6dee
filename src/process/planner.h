/*
 * planner.h
 *		The worker that turns events into messages; one per database.
 */
#ifndef NOTIFY_PROCESS_PLANNER_H
#define NOTIFY_PROCESS_PLANNER_H

extern PGDLLEXPORT void notify_planner_main(Datum main_arg);

#endif							/* NOTIFY_PROCESS_PLANNER_H */
