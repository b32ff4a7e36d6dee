/*
 * rules.h
 *		The rules of a relation, compiled and kept by each backend.
 */
#ifndef NOTIFY_CAPTURE_RULES_H
#define NOTIFY_CAPTURE_RULES_H

#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"

#include "capture/expression.h"
#include "capture/identity.h"
#include "capture/payload.h"

typedef enum CaptureOp
{
	CAPTURE_INSERT,
	CAPTURE_UPDATE,
	CAPTURE_DELETE,
	CAPTURE_EMIT
} CaptureOp;

#define CAPTURE_OPS (CAPTURE_EMIT + 1)

/* Why an expression has no answer. */
typedef struct Problem
{
	char  sqlstate[6];
	char *message;
} Problem;

typedef struct Rule
{
	int64		version;	  /* notify.rule_version's id */
	char	   *event_type;	  /* of emitted events, else NULL */
	int			ops;		  /* bits, 1 << CaptureOp */
	bool		cancels;	  /* action = 'cancel' */
	bool		has_audience; /* needs no recipient */
	bool		bare;		  /* none of its expressions can raise */
	bool		secret;		  /* reads a column kept out of events */
	Identity	identity;
	Expression *condition; /* NULL: every row */
	Expression *recipient; /* NULL: the source's */
	Expression *dedupe_key;
	Expression *cancel_key;
	Problem	   *problem;	  /* it did not compile */
	uint64		counted_in;	  /* transaction that undecided counts */
	int			undecided;	  /* undecided events written in it */
	bool		limit_logged; /* that there were too many */
} Rule;

/* The recipient expression of an attached table. */
typedef struct SourceRecipient
{
	Expression *expression; /* NULL: none, or problem */
	Identity	identity;
	bool		secret;
	Problem	   *problem;
} SourceRecipient;

typedef struct RuleSet
{
	Oid				relid;		 /* InvalidOid: the rules of emitted events */
	Oid				source;		 /* the attached table: relid or an ancestor */
	bool			valid;		 /* false once anything it was made of changed */
	bool			has_problem; /* something in it did not compile */
	bool			refuses_truncate;
	int				busy;  /* its ExprStates are being evaluated */
	struct RuleSet *spare; /* for a nested use while this one is busy */
	MemoryContext	context;
	dlist_node		link; /* among all sets */
	ExpressionNeeds needs;
	int				rule_count;
	Rule		   *rules;
	int				wanted[CAPTURE_OPS]; /* how many rules look at this op */
	Rule		  **by_op[CAPTURE_OPS];
	struct Filter  *filters[CAPTURE_OPS]; /* which of by_op can want a row */
	SourceRecipient recipient;
	Payload		   *payload; /* NULL for emitted events */
	ExprContext	   *econtext;
	TupleTableSlot *nothing; /* all NULL: old of an INSERT, new of a DELETE */
	TupleTableSlot *emitted; /* one jsonb column; only for emitted events */
} RuleSet;

/* Valid until the end of the top-level transaction, whatever is invalidated. */
extern RuleSet *rules_of_relation(Relation relation);
extern RuleSet *rules_of_emitted(void);

/* For invalidate.c: these only mark. */
extern void rules_relation_changed(Oid relid);
extern void rules_object_changed(int cacheid, uint32 hashvalue);
extern void rules_world_changed(void);

/* At the end of a top-level transaction. */
extern void rules_free_stale(void);

#endif
