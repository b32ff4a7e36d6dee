/*
 * trigger.c
 *		The row trigger on attached tables, and the trigger on rules themselves.
 *
 * The executor calls the row trigger in a memory context it resets after every
 * row, so nothing here frees anything.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "capture/change.h"
#include "capture/move.h"
#include "capture/restore.h"
#include "capture/truncate.h"

PG_FUNCTION_INFO_V1(notify_capture);
PG_FUNCTION_INFO_V1(notify_invalidate);

/* AFTER each row, or BEFORE TRUNCATE. */
static bool
is_proper(const TriggerData *call)
{
	if (TRIGGER_FIRED_BY_TRUNCATE(call->tg_event))
		return TRIGGER_FIRED_BEFORE(call->tg_event);
	return TRIGGER_FIRED_AFTER(call->tg_event) && TRIGGER_FIRED_FOR_ROW(call->tg_event);
}

static TriggerData *
called_as_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *call = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !is_proper(call))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("notify.capture() must be called as an AFTER ... FOR EACH ROW trigger"),
				 errhint("Use notify.attach() to create it.")));
	return call;
}

static void
read_change(const TriggerData *call, const RuleSet *set, Change *change)
{
	change->type = NULL;
	change->new = set->nothing;
	change->old = set->nothing;
	if (TRIGGER_FIRED_BY_INSERT(call->tg_event))
	{
		change->op = CAPTURE_INSERT;
		change->new = call->tg_trigslot;
	}
	else if (TRIGGER_FIRED_BY_UPDATE(call->tg_event))
	{
		change->op = CAPTURE_UPDATE;
		change->old = call->tg_trigslot;
		change->new = call->tg_newslot;
	}
	else
	{
		change->op = CAPTURE_DELETE;
		change->old = call->tg_trigslot;
	}
}

static void
capture_row(const TriggerData *call, RuleSet *set)
{
	Change	 change;
	MoveStep step = MOVE_NONE;

	if (move_concerns(call))
		step = move_step(call, set, &change);
	if (step == MOVE_LEFT)
		return;
	if (step == MOVE_NONE)
		read_change(call, set, &change);
	change_capture(set, &change);
}

Datum
notify_capture(PG_FUNCTION_ARGS)
{
	TriggerData *call = called_as_trigger(fcinfo);
	RuleSet		*set;

	if (restore_session())
		return PointerGetDatum(NULL);
	set = rules_of_relation(call->tg_relation);
	if (TRIGGER_FIRED_BY_TRUNCATE(call->tg_event))
		truncate_capture(call, set);
	else
		capture_row(call, set);
	return PointerGetDatum(NULL);
}

/* On the tables of rules and sources: every backend forgets what it compiled. */
Datum
notify_invalidate(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("notify._invalidate() must be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
