/*
 * evaluate.h
 *		What the rules say about one row.
 */
#ifndef NOTIFY_CAPTURE_EVALUATE_H
#define NOTIFY_CAPTURE_EVALUATE_H

#include "capture/rules.h"

/* One change, as the rules see it: slots, never NULL. */
typedef struct Change
{
	CaptureOp	op;
	const char *type; /* of an emitted event, else NULL */
	TupleTableSlot *new;
	TupleTableSlot *old;
} Change;

typedef enum VerdictState
{
	VERDICT_OPEN, /* must be decided in a subtransaction */
	VERDICT_NO,
	VERDICT_MATCHED,
	VERDICT_UNDECIDED, /* an expression raised: see problem */
	VERDICT_DROPPED	   /* likewise, over notify_pg.undecided_limit */
} VerdictState;

typedef struct Verdict
{
	Rule		  *rule;
	VerdictState   state;
	char		  *recipient;
	char		  *dedupe_key;
	char		  *cancel_key;
	const Problem *problem;
} Verdict;

typedef struct Evaluation
{
	RuleSet		  *set;
	const Change  *change;
	int			   count;
	Verdict		  *verdicts;
	char		  *recipient;		  /* the source's */
	const Problem *recipient_problem; /* why there is none */
	int			   matched;
	int			   undecided;
} Evaluation;

/*
 * Position of the first rule that may want the change, or -1: the quick answer
 * for rows no rule wants, allocating nothing.
 */
extern int evaluate_first(RuleSet *set, const Change *change);

/*
 * Every rule's verdict, beginning at the position evaluate_first() gave; -1
 * means no verdicts.  Allocates in CurrentMemoryContext.
 */
extern void evaluate_rules(RuleSet *set, const Change *change, int first, Evaluation *evaluation);

/* Only the verdict of one rule; none when that rule does not look at such changes. */
extern void evaluate_one(RuleSet *set, const Change *change, int64 version, Evaluation *evaluation);

#endif
