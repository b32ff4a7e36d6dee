/*
 * lender.h
 *		Whose code a superuser's expressions and queries may call.
 */
#ifndef NOTIFY_CAPTURE_LENDER_H
#define NOTIFY_CAPTURE_LENDER_H

#include "nodes/nodes.h"
#include "utils/relcache.h"

/* Raise unless the current user's rights are safe with this table (or NULL) ... */
extern void lender_check_table(Relation relation);

/* ... and with all that an analysed expression, or a rewritten query, calls. */
extern void lender_check_code(Node *node);

#endif
