/*
 * redact.h
 *		Secrets of a provider, starred where its answers repeat them.
 */
#ifndef NOTIFY_CHANNEL_REDACT_H
#define NOTIFY_CHANNEL_REDACT_H

#include "nodes/pg_list.h"

/* The forms a secret may come back in, C strings to be put to a list */
extern List *redact_forms(List *forms, const char *secret);

/* Star them.  cut: the text ends where it was cut off.  Never raises. */
extern void redact(const List *forms, char *text, size_t length, bool cut);

#endif							/* NOTIFY_CHANNEL_REDACT_H */
