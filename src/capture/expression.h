/*
 * expression.h
 *		A rule's SQL expressions over new and old, compiled.
 */
#ifndef NOTIFY_CAPTURE_EXPRESSION_H
#define NOTIFY_CAPTURE_EXPRESSION_H

#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

typedef enum ExpressionKind
{
	EXPRESSION_CONDITION, /* boolean */
	EXPRESSION_RECIPIENT, /* the rest: text */
	EXPRESSION_DEDUPE_KEY,
	EXPRESSION_CANCEL_KEY
} ExpressionKind;

/* What must not change while the compiled form is used. */
typedef struct ExpressionNeeds
{
	List *relations; /* OIDs */
	List *objects;	 /* PlanInvalItem: functions and types */
} ExpressionNeeds;

typedef struct Expression
{
	ExprState *state;
	bool	   bare;	  /* cannot raise, so needs no subtransaction */
	Bitmapset *columns;	  /* attribute numbers read, of new or old */
	bool	   whole_row; /* reads new or old as a whole */
} Expression;

/*
 * Compile in CurrentMemoryContext, as the current user and under the current
 * search_path; raises what is wrong, with the position in the expression.
 * Without a relation (emitted events) new and old are jsonb.  The result reads
 * new from the outer and old from the inner slot of its ExprContext.
 */
extern Expression *expression_compile(const char *text, ExpressionKind kind, Relation relation,
									  ExpressionNeeds *needs);

#endif
