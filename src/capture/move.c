/*
 * move.c
 *		Rows that move between partitions, seen as the UPDATE they are.
 *
 * An UPDATE that takes a row to another partition is a DELETE there and an
 * INSERT here, and so row triggers see it.  The deleted tuple says that it
 * moved; the INSERT that belongs to it is the next row trigger of the same
 * query, for the executor queues both one after the other.  So the deleted row
 * is kept until then, and the two become one change: old is converted to the
 * row type of the partition that has the row now.
 *
 * Partners are told by the command that made them: the xmax and cmax of one are
 * the xmin and cmin of the other; where that is not enough, by what they hold
 * (partner.c).  A row of another query can come between
 * only from inside (a rule's or another trigger's function), which is a deeper
 * level of triggers; so the kept rows are a stack, one per level at most.
 *
 * When the second half does not come (a BEFORE INSERT trigger of the other
 * partition said no), or lands where another source captures, the first half
 * was a DELETE after all.  That is seen at the next row of the same or an
 * outer level, or before commit.
 *
 * Invariants: a kept row belongs to the subtransaction that was current and
 * goes with it when it is rolled back; so it is never written from inside a
 * deeper one, which could be.  Its rule set outlives it, as sets live until the
 * end of the top-level transaction.
 *
 * Logical replication sends a move as a DELETE and an INSERT, and applies it
 * without a mark.  So every row it deletes from a partition is kept, and one it
 * inserts next, into another partition, is its other half if it is the same row.
 */
#include "postgres.h"

#include "access/tupconvert.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "capture/change.h"
#include "capture/move.h"
#include "capture/partner.h"
#include "compat.h"

typedef struct MovedRow
{
	struct MovedRow *outer;
	MemoryContext	 context;	 /* its own: this and the tuple */
	int				 depth;		 /* of triggers */
	int				 nest_level; /* of subtransactions */
	TransactionId	 xid;		 /* who moved it, */
	CommandId		 command;	 /* and by which command */
	bool			 applied;	 /* by logical replication, if it moved */
	RuleSet			*set;		 /* of the partition it left */
	HeapTuple		 tuple;
} MovedRow;

struct MovedRow *moves_waiting = NULL;

bool
move_is_applied(void)
{
	return compat_applies_in_order();
}

static TupleDesc
row_type(const RuleSet *set)
{
	return set->nothing->tts_tupleDescriptor;
}

static TupleTableSlot *
make_slot(TupleDesc type, HeapTuple tuple)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(type, &TTSOpsHeapTuple);

	return ExecStoreHeapTuple(tuple, slot, false);
}

/* It went nowhere we know of. */
static void
capture_delete(const MovedRow *row)
{
	Change change = {CAPTURE_DELETE};

	change.new = row->set->nothing;
	change.old = make_slot(row_type(row->set), row->tuple);
	change_capture(row->set, &change);
}

/* Lives from here on as long as what is current: in a trigger, until the next row. */
static MovedRow *
take_innermost(void)
{
	MovedRow *row = moves_waiting;

	moves_waiting = row->outer;
	MemoryContextSetParent(row->context, CurrentMemoryContext);
	return row;
}

static void
drop_innermost(void)
{
	MovedRow *row = moves_waiting;

	moves_waiting = row->outer;
	MemoryContextDelete(row->context);
}

static void
capture_waiting(void)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	while (moves_waiting != NULL)
		capture_delete(take_innermost());
	PopActiveSnapshot();
}

static void
transaction_event(XactEvent event, void *arg)
{
	if (moves_waiting == NULL)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		capture_waiting();
	else
		moves_waiting = NULL;
}

static void
subtransaction_event(SubXactEvent event, SubTransactionId self, SubTransactionId parent, void *arg)
{
	int		  level = GetCurrentTransactionNestLevel();
	MovedRow *row;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (moves_waiting != NULL && moves_waiting->nest_level >= level)
			drop_innermost();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (row = moves_waiting; row != NULL && row->nest_level >= level; row = row->outer)
			row->nest_level = level - 1;
}

static void
follow_transactions(void)
{
	static bool listening = false;

	if (listening)
		return;
	RegisterXactCallback(transaction_event, NULL);
	RegisterSubXactCallback(subtransaction_event, NULL);
	listening = true;
}

/* Copied column by column: a stored tuple may be shorter than its row type. */
static void
keep(const TriggerData *call, RuleSet *set, int depth)
{
	HeapTupleHeader header = call->tg_trigtuple->t_data;
	MemoryContext	context =
		AllocSetContextCreate(TopTransactionContext, "notify_pg moved row", ALLOCSET_SMALL_SIZES);
	MovedRow	 *row = MemoryContextAlloc(context, sizeof(MovedRow));
	MemoryContext before;

	follow_transactions();
	slot_getallattrs(call->tg_trigslot);
	before = MemoryContextSwitchTo(context);
	row->context = context;
	row->depth = depth;
	row->nest_level = GetCurrentTransactionNestLevel();
	row->xid = HeapTupleHeaderGetUpdateXid(header);
	row->command = HeapTupleHeaderGetCmax(header);
	row->applied = !HeapTupleHeaderIndicatesMovedPartitions(header);
	row->set = set;
	row->tuple = heap_form_tuple(row_type(set), call->tg_trigslot->tts_values,
								 call->tg_trigslot->tts_isnull);
	row->outer = moves_waiting;
	moves_waiting = row;
	MemoryContextSwitchTo(before);
}

/* Could this be the other half, by who wrote it? */
static bool
may_be_partner(const MovedRow *row, const TriggerData *call, const RuleSet *set, int depth)
{
	HeapTupleHeader header = call->tg_trigtuple->t_data;

	if (row->depth != depth || !TRIGGER_FIRED_BY_INSERT(call->tg_event) ||
		row->set->source != set->source || row->xid != HeapTupleHeaderGetXmin(header))
		return false;
	return row->applied ? row->set->relid != set->relid :
						  row->command == HeapTupleHeaderGetCmin(header);
}

/* The row as it was, in the row type of where it is now. */
static TupleTableSlot *
old_row(const MovedRow *row, const RuleSet *set)
{
	TupleConversionMap *map = convert_tuples_by_name(row_type(row->set), row_type(set));

	return make_slot(row_type(set), map ? execute_attr_map_tuple(row->tuple, map) : row->tuple);
}

/* Fills in the change and returns true if it is the other half. */
static bool
join(const MovedRow *row, const TriggerData *call, const RuleSet *set, int depth, Change *change)
{
	if (!may_be_partner(row, call, set, depth))
		return false;
	change->op = CAPTURE_UPDATE;
	change->type = NULL;
	change->new = call->tg_trigslot;
	change->old = old_row(row, set);
	if (!row->applied && partner_is_plain_update())
		return true;
	return partner_is_same_row(set->payload, call->tg_relation, change->old, change->new) ||
		   (!row->applied && partner_is_certain(call->tg_relation));
}

MoveStep
move_step(const TriggerData *call, RuleSet *set, Change *change)
{
	int depth = DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));

	while (moves_waiting != NULL && moves_waiting->depth >= depth &&
		   moves_waiting->nest_level >= GetCurrentTransactionNestLevel())
	{
		MovedRow *row = take_innermost();

		if (join(row, call, set, depth, change))
			return MOVE_WHOLE;
		capture_delete(row);
	}
	if (!move_is_first_half(call))
		return MOVE_NONE;
	if (set->rule_count > 0)
		keep(call, set, depth);
	return MOVE_LEFT;
}
