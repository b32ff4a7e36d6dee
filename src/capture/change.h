/*
 * change.h
 *		A change that rules are asked about, and the event it may become.
 */
#ifndef NOTIFY_CAPTURE_CHANGE_H
#define NOTIFY_CAPTURE_CHANGE_H

#include "utils/jsonb.h"

#include "capture/evaluate.h"

/* Write an event when some rule wants the change; costs next to nothing when none does. */
extern void change_capture(RuleSet *set, const Change *change);

/* The change an emitted event is to the rules of emitted events: data is new. */
extern void change_emitted(RuleSet *set, const char *type, const Jsonb *data, Change *change);

#endif
