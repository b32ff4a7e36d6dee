/*
 * truncate.h
 *		TRUNCATE of an attached table.
 */
#ifndef NOTIFY_CAPTURE_TRUNCATE_H
#define NOTIFY_CAPTURE_TRUNCATE_H

#include "commands/trigger.h"

#include "capture/rules.h"

/* Refuse, or write an event of op T, as the source says. */
extern void truncate_capture(const TriggerData *call, const RuleSet *set);

#endif
