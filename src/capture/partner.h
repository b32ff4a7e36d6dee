/*
 * partner.h
 *		Whether a DELETE and the INSERT after it are one row that moved.
 */
#ifndef NOTIFY_CAPTURE_PARTNER_H
#define NOTIFY_CAPTURE_PARTNER_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "capture/payload.h"

extern void partner_install(void);

/* Is every INSERT of the statement whose triggers fire the other half of a move? */
extern bool partner_is_plain_update(void);

/*
 * A row left a partition and the same command put one into this relation next:
 * is that the same row, whatever the rows hold?  Looks at every partition.
 */
extern bool partner_is_certain(Relation relation);

/* Do these two, of the row type of the relation, tell the same row by what they hold? */
extern bool partner_is_same_row(const Payload *payload, Relation relation, TupleTableSlot *one,
								TupleTableSlot *other);

#endif
