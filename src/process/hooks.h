/*
 * hooks.h
 *		What notify_pg's processes must learn from statements of others.
 */
#ifndef NOTIFY_PROCESS_HOOKS_H
#define NOTIFY_PROCESS_HOOKS_H

/* Called by _PG_init while preloading. */
extern void hooks_install(void);

#endif							/* NOTIFY_PROCESS_HOOKS_H */
