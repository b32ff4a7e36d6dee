/*
 * move.h
 *		Rows that move between partitions, seen as the UPDATE they are.
 */
#ifndef NOTIFY_CAPTURE_MOVE_H
#define NOTIFY_CAPTURE_MOVE_H

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "utils/rel.h"

#include "capture/evaluate.h"

typedef enum MoveStep
{
	MOVE_NONE, /* no part of a move: read the change as it is */
	MOVE_LEFT, /* the first half, which was only remembered */
	MOVE_WHOLE /* the second half: the change is an UPDATE, and is filled in */
} MoveStep;

/* The first halves that wait for their second; NULL nearly always. */
extern struct MovedRow *moves_waiting;

/* Does this process apply what logical replication sent, which marks no moved row? */
extern bool move_is_applied(void);

/* May an INSERT follow that makes one change with this? */
static inline bool
move_is_first_half(const TriggerData *call)
{
	return TRIGGER_FIRED_BY_DELETE(call->tg_event) &&
		   (HeapTupleHeaderIndicatesMovedPartitions(call->tg_trigtuple->t_data) ||
			(call->tg_relation->rd_rel->relispartition && move_is_applied()));
}

extern MoveStep move_step(const TriggerData *call, RuleSet *set, Change *change);

/* Must move_step() be asked about this row? */
static inline bool
move_concerns(const TriggerData *call)
{
	return moves_waiting != NULL || move_is_first_half(call);
}

#endif
