/*
 * virtual.h
 *		Virtual generated columns: computed when read (PostgreSQL 18 and later).
 */
#ifndef NOTIFY_CAPTURE_VIRTUAL_H
#define NOTIFY_CAPTURE_VIRTUAL_H

#include "access/tupdesc.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"

extern bool virtual_column(Form_pg_attribute attribute);

/*
 * The expression with every virtual column of the relation's row varno replaced
 * by what computes it.  Where there is no row, such a column is NULL: a slot
 * holds one when its tts_tableOid is set.
 */
extern Node *virtual_expand(Node *expression, Relation relation, int varno);

/* Computes a virtual column of the scan tuple; made in CurrentMemoryContext. */
extern ExprState *virtual_prepare(Relation relation, AttrNumber attno);

#endif
