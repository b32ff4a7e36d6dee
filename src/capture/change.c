/*
 * change.c
 *		A change that rules are asked about, and the event it may become.
 *
 * A change that no rule wants leaves after evaluate_first(), having allocated
 * nothing.
 */
#include "postgres.h"

#include "capture/change.h"
#include "capture/event.h"
#include "capture/payload.h"

static const char op_letters[CAPTURE_OPS] = {
	[CAPTURE_INSERT] = 'I',
	[CAPTURE_UPDATE] = 'U',
	[CAPTURE_DELETE] = 'D',
	[CAPTURE_EMIT] = 'E',
};

/* A row that some rule may want. */
static void
write_change(RuleSet *set, const Change *change, int first)
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

void
change_capture(RuleSet *set, const Change *change)
{
	int first;

	if (set->wanted[change->op] == 0)
		return;
	first = evaluate_first(set, change);
	if (first >= 0)
		write_change(set, change, first);
}

void
change_emitted(RuleSet *set, const char *type, const Jsonb *data, Change *change)
{
	change->op = CAPTURE_EMIT;
	change->type = type;
	change->old = set->nothing;
	change->new = ExecClearTuple(set->emitted);
	change->new->tts_isnull[0] = data == NULL;
	change->new->tts_values[0] = JsonbPGetDatum(data);
	ExecStoreVirtualTuple(change->new);
}
