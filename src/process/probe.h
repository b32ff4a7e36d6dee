/*
 * probe.h
 *		The short-lived worker that looks whether a database has notify_pg.
 */
#ifndef NOTIFY_PROCESS_PROBE_H
#define NOTIFY_PROCESS_PROBE_H

extern PGDLLEXPORT void notify_probe_main(Datum main_arg);

#endif							/* NOTIFY_PROCESS_PROBE_H */
