/*
 * dispatcher.h
 *		The worker that sends; notify_pg.dispatchers of them per database.
 */
#ifndef NOTIFY_PROCESS_DISPATCHER_H
#define NOTIFY_PROCESS_DISPATCHER_H

extern PGDLLEXPORT void notify_dispatcher_main(Datum main_arg);

#endif							/* NOTIFY_PROCESS_DISPATCHER_H */
