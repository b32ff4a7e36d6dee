/*
 * fill.h
 *		Reading and compiling the rules of a relation.
 */
#ifndef NOTIFY_CAPTURE_FILL_H
#define NOTIFY_CAPTURE_FILL_H

#include "capture/rules.h"

/*
 * Fill a zeroed set whose memory context is current.  relation NULL means the
 * rules of emitted events.
 */
extern void fill_rule_set(RuleSet *set, Relation relation);

#endif
