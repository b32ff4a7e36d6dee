/*
 * launcher.h
 *		The one worker that starts all the others.
 */
#ifndef NOTIFY_PROCESS_LAUNCHER_H
#define NOTIFY_PROCESS_LAUNCHER_H

/* Called by _PG_init while preloading. */
extern void launcher_register(void);

extern PGDLLEXPORT void notify_launcher_main(Datum main_arg);

#endif							/* NOTIFY_PROCESS_LAUNCHER_H */
