/*
 * emit.c
 *		Events that no table shows: notify._write_event().
 *
 * Behind emit, send, broadcast and cancel.  With "match", the rules on this event
 * type are evaluated over the data, where new is jsonb, exactly as over a row.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "capture/change.h"
#include "capture/event.h"
#include "capture/rules.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(notify_write_event);

enum
{
	ARG_OP,
	ARG_TYPE,
	ARG_RECIPIENT,
	ARG_KEY,
	ARG_DATA,
	ARG_CANCEL_KEY,
	ARG_INSTRUCTION,
	ARG_MATCH
};

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static Jsonb *
jsonb_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
}

static void
check_size(const Jsonb *data)
{
	if (data != NULL && VARSIZE(data) / 1024 > notify_event_row_limit)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("event data is larger than notify_pg.event_row_limit"),
						errdetail("It has %d kB; the limit is %d kB.", (int) (VARSIZE(data) / 1024),
								  notify_event_row_limit),
						errhint("Emit a key to the data instead of the data.")));
}

static void
match_rules(const Event *event, Evaluation *evaluation)
{
	RuleSet *set = rules_of_emitted();
	Change	*change = palloc0(sizeof(Change));

	change_emitted(set, event->type, event->new, change);
	evaluate_rules(set, change, evaluate_first(set, change), evaluation);
	ExecClearTuple(set->emitted);
}

Datum
notify_write_event(PG_FUNCTION_ARGS)
{
	Event	   event = {0};
	Evaluation evaluation;
	bool	   match = !PG_ARGISNULL(ARG_MATCH) && PG_GETARG_BOOL(ARG_MATCH);

	if (PG_ARGISNULL(ARG_OP) || (match && PG_ARGISNULL(ARG_TYPE)))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("an event needs an op, and a type to match rules by")));
	event.op = PG_GETARG_CHAR(ARG_OP);
	event.type = text_argument(fcinfo, ARG_TYPE);
	event.recipient = text_argument(fcinfo, ARG_RECIPIENT);
	event.key = text_argument(fcinfo, ARG_KEY);
	event.new = jsonb_argument(fcinfo, ARG_DATA);
	event.cancel_key = text_argument(fcinfo, ARG_CANCEL_KEY);
	event.instruction = jsonb_argument(fcinfo, ARG_INSTRUCTION);
	check_size(event.new);
	if (match)
		match_rules(&event, &evaluation);
	PG_RETURN_INT64(event_write(&event, match ? &evaluation : NULL));
}
