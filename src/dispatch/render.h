/*
 * render.h
 *		From a claimed message to the words that go out.
 */
#ifndef NOTIFY_DISPATCH_RENDER_H
#define NOTIFY_DISPATCH_RENDER_H

#include "dispatch/claim.h"

/* Once per process: where templates are kept. */
extern void render_setup(MemoryContext parent);

/* Inside a transaction: have the job's template at hand. */
extern void render_load(Job *job);

/* Outside: fill the letter's subject, body, html and attachments.  May raise; runs no SQL. */
extern void render_job(Job *job);

extern void render_release(Job *job);

#endif							/* NOTIFY_DISPATCH_RENDER_H */
