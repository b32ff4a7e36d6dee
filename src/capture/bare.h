/*
 * bare.h
 *		Which expressions cannot raise an error.
 */
#ifndef NOTIFY_CAPTURE_BARE_H
#define NOTIFY_CAPTURE_BARE_H

#include "nodes/nodes.h"

/* True when evaluating this planned expression cannot raise, on any row. */
extern bool bare_expression(Node *planned);

/* What a change of type that changes no bits stands around. */
extern Node *without_relabel(Node *node);

#endif
