/*
 * trigger.c
 *		The row trigger on attached tables, and the trigger on rules themselves.
 *
 * The executor calls the row trigger in a memory context it resets after every
 * row, so nothing here frees anything.  A row that no rule wants leaves after
 * evaluate_first(), having allocated nothing.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "capture/evaluate.h"
#include "capture/event.h"
#include "capture/payload.h"
#include "capture/rules.h"

PG_FUNCTION_INFO_V1(notify_capture);
PG_FUNCTION_INFO_V1(notify_invalidate);

static const char op_letters[CAPTURE_OPS] = {
	[CAPTURE_INSERT] = 'I',
	[CAPTURE_UPDATE] = 'U',
	[CAPTURE_DELETE] = 'D',
	[CAPTURE_EMIT] = 'E',
};

static TriggerData *
called_as_row_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *call = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(call->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(call->tg_event))
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

/* A row that some rule may want. */
static void
capture_change(RuleSet *set, const Change *change, int first)
{
	Evaluation evaluation;
	Event	   event = {op_letters[change->op], set->source};
	Image	   image;

	evaluate_rules(set, change, first, &evaluation);
	if (evaluation.matched == 0 && evaluation.undecided == 0)
		return;
	payload_build(set->payload, change->op == CAPTURE_DELETE ? NULL : change->new,
				  change->op == CAPTURE_INSERT ? NULL : change->old, &image);
	event.key = image.key;
	event.recipient = evaluation.recipient;
	event.new = image.new;
	event.old = image.old;
	event.truncated = image.truncated;
	(void) event_write(&event, &evaluation);
}

Datum
notify_capture(PG_FUNCTION_ARGS)
{
	TriggerData *call = called_as_row_trigger(fcinfo);
	RuleSet		*set = rules_of_relation(call->tg_relation);
	Change		 change;
	int			 first;

	read_change(call, set, &change);
	if (set->wanted[change.op] > 0)
	{
		first = evaluate_first(set, &change);
		if (first >= 0)
			capture_change(set, &change, first);
	}
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
