/*
 * decide.h
 *		From candidates to decisions, without a side effect.
 */
#ifndef NOTIFY_PLAN_DECIDE_H
#define NOTIFY_PLAN_DECIDE_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/array.h"

/* The attributes of notify.candidate */
typedef enum CandidateColumn
{
	C_EVENT, C_EVENT_XID, C_SOURCE, C_KEY, C_RULE, C_RULE_ID, C_RECIPIENT, C_TEMPLATE, C_CATEGORY,
	C_CHANNELS, C_PRIORITY, C_DUE_AT, C_EXPIRES, C_DEDUPE_KEY, C_CANCEL_KEY, C_CONTEXT, C_REASON,
	C_DETAIL, C_STEP, C_COUNT
} CandidateColumn;

/* The attributes of notify.decision */
typedef enum DecisionColumn
{
	D_EVENT, D_EVENT_XID, D_SOURCE, D_KEY, D_RULE, D_RULE_ID, D_RECIPIENT, D_TEMPLATE, D_CATEGORY,
	D_CHANNEL, D_ADDRESS, D_PROVIDER, D_PRIORITY, D_TEMPLATE_VERSION, D_VERDICT, D_REASON, D_DETAIL,
	D_DUE_AT, D_EXPIRES_AT, D_DEDUPE_KEY, D_CANCEL_KEY, D_CONTEXT, D_STEP, D_COUNT
} DecisionColumn;

typedef struct Decision
{
	Datum		values[D_COUNT];
	bool		nulls[D_COUNT];
} Decision;

typedef struct Decisions
{
	int			n;
	int			room;
	Decision   *list;
} Decisions;

/*
 * What would become of these candidates now, budgets apart.  Needs a connection to
 * SPI; the answer is in the current memory context.
 */
extern Decisions *decide(ArrayType *candidates);

#endif							/* NOTIFY_PLAN_DECIDE_H */
