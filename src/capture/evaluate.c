/*
 * evaluate.c
 *		What the rules say about one row.
 *
 * The filter (filter.c) has said which rules can want the row.  Of those,
 * rules whose expressions are all bare are decided where they stand.  The others
 * are decided together in one internal subtransaction, each under its owner's
 * identity; when that fails, one by one, each in a subtransaction of its own, and
 * the one that raises is undecided.  The source's recipient expression is
 * evaluated once per event, in the same way.
 *
 * Results are copied out of the set's ExprContext at once: nested work on the
 * same relation may reset it.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/builtins.h"

#include "capture/attempt.h"
#include "capture/evaluate.h"
#include "capture/filter.h"
#include "capture/invalidate.h"
#include "guc.h"

/* Keys are indexed further on, and a btree takes no more than about 2,700 bytes. */
#define KEY_MAX_LENGTH 1024

static const char withheld[] = "the error is not shown: the rule reads a column kept out of events";

static const Problem too_long = {"54000",
								 "recipient, dedupe_key or cancel_key is longer than 1024 bytes"};

/* A piece of work for attempt(): one verdict, or all open ones. */
typedef struct Work
{
	Evaluation *evaluation;
	Verdict	   *only;
} Work;

static void
leave_undecided(Verdict *verdict, const Problem *problem)
{
	verdict->problem = problem;
	verdict->state = VERDICT_UNDECIDED;
}

static bool
concerns(const Rule *rule, const Change *change)
{
	return change->type == NULL || strcmp(rule->event_type, change->type) == 0;
}

static bool
holds(RuleSet *set, Expression *condition)
{
	bool  isnull;
	Datum value;

	if (condition == NULL)
		return true;
	value = ExecEvalExprSwitchContext(condition->state, set->econtext, &isnull);
	return !isnull && DatumGetBool(value);
}

/* Returns false when the text is too long to be a key of anything. */
static bool
text_of(RuleSet *set, Expression *expression, char **result)
{
	bool  isnull;
	Datum value;
	text *string;

	*result = NULL;
	if (expression == NULL)
		return true;
	value = ExecEvalExprSwitchContext(expression->state, set->econtext, &isnull);
	if (isnull)
		return true;
	string = DatumGetTextPP(value);
	if (VARSIZE_ANY_EXHDR(string) > KEY_MAX_LENGTH)
		return false;
	*result = text_to_cstring(string);
	return true;
}

/* A slot that holds a row says of which table; virtual.c tells it from none by that. */
static TupleTableSlot *
marked(const RuleSet *set, TupleTableSlot *row)
{
	if (row != set->nothing)
		row->tts_tableOid = set->relid;
	return row;
}

/* Point the set's expressions, and the filter of its rules, at the change. */
static void
aim(RuleSet *set, const Change *change)
{
	ResetExprContext(set->econtext);
	set->econtext->ecxt_outertuple = marked(set, change->new);
	set->econtext->ecxt_innertuple = marked(set, change->old);
	filter_aim(set->filters[change->op], change->new, change->old);
}

int
evaluate_first(RuleSet *set, const Change *change)
{
	struct Filter *filter = set->filters[change->op];
	int		i;

	aim(set, change);
	for (i = filter_next(filter, 0); i >= 0; i = filter_next(filter, i + 1))
	{
		Rule *rule = set->by_op[change->op][i];

		if (!concerns(rule, change))
			continue;
		if (rule->problem != NULL || rule->condition == NULL || !rule->condition->bare ||
			holds(set, rule->condition))
			return i;
	}
	return -1;
}

static void
decide_keys(RuleSet *set, Verdict *verdict)
{
	Rule *rule = verdict->rule;

	if (text_of(set, rule->recipient, &verdict->recipient) &&
		text_of(set, rule->dedupe_key, &verdict->dedupe_key) &&
		text_of(set, rule->cancel_key, &verdict->cancel_key))
		verdict->state = VERDICT_MATCHED;
	else
		leave_undecided(verdict, &too_long);
}

static void
decide(RuleSet *set, Verdict *verdict)
{
	if (holds(set, verdict->rule->condition))
		decide_keys(set, verdict);
	else
		verdict->state = VERDICT_NO;
}

static void
decide_as_owner(RuleSet *set, Verdict *verdict)
{
	IdentityBefore before;

	identity_assume(&verdict->rule->identity, &before);
	decide(set, verdict);
	identity_restore(&before);
}

static void
decide_open(void *arg)
{
	Work	   *work = arg;
	Evaluation *evaluation = work->evaluation;
	int			i;

	if (work->only != NULL)
	{
		decide_as_owner(evaluation->set, work->only);
		return;
	}
	for (i = 0; i < evaluation->count; i++)
		if (evaluation->verdicts[i].state == VERDICT_OPEN)
			decide_as_owner(evaluation->set, &evaluation->verdicts[i]);
}

/* Within the limit of undecided events this rule may still write? */
static bool
may_report(Rule *rule)
{
	if (rule->counted_in != invalidate_transaction())
	{
		rule->counted_in = invalidate_transaction();
		rule->undecided = 0;
		rule->limit_logged = false;
	}
	if (rule->undecided < notify_undecided_limit)
	{
		rule->undecided++;
		return true;
	}
	if (!rule->limit_logged)
		ereport(LOG_SERVER_ONLY,
				(errmsg("more than %d undecided events of rule version %lld in one transaction",
						notify_undecided_limit, (long long) rule->version),
				 errdetail("Further ones in this transaction are dropped."),
				 errhint("Repair the rule, or raise notify_pg.undecided_limit.")));
	rule->limit_logged = true;
	return false;
}

static const Problem *
problem_of(const ErrorData *error, bool secret)
{
	Problem *problem = palloc(sizeof(Problem));

	strlcpy(problem->sqlstate, unpack_sql_state(error->sqlerrcode), sizeof(problem->sqlstate));
	problem->message = secret ? pstrdup(withheld) : error->message;
	return problem;
}

static void
reopen(Verdict *verdicts, const bool *open, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (open[i])
			verdicts[i].state = VERDICT_OPEN;
}

static void
decide_one_by_one(Evaluation *evaluation)
{
	int i;

	for (i = 0; i < evaluation->count; i++)
	{
		Verdict	  *verdict = &evaluation->verdicts[i];
		Work	   work = {evaluation, verdict};
		ErrorData *error;

		if (verdict->state != VERDICT_OPEN)
			continue;
		error = attempt(decide_open, &work);
		if (error != NULL)
			leave_undecided(verdict, problem_of(error, verdict->rule->secret));
	}
}

static void
decide_in_subtransaction(Evaluation *evaluation, int open_count)
{
	Work  work = {evaluation, NULL};
	bool *open = palloc(evaluation->count * sizeof(bool));
	int	  i;

	for (i = 0; i < evaluation->count; i++)
		open[i] = evaluation->verdicts[i].state == VERDICT_OPEN;
	if (open_count > 1)
	{
		if (attempt(decide_open, &work) == NULL)
			return;
		reopen(evaluation->verdicts, open, evaluation->count);
	}
	decide_one_by_one(evaluation);
}

static void
decide_recipient(void *arg)
{
	Evaluation		*evaluation = arg;
	SourceRecipient *recipient = &evaluation->set->recipient;
	IdentityBefore	 before;

	identity_assume(&recipient->identity, &before);
	if (!text_of(evaluation->set, recipient->expression, &evaluation->recipient))
		evaluation->recipient_problem = &too_long;
	identity_restore(&before);
}

static void
evaluate_recipient(Evaluation *evaluation)
{
	SourceRecipient *recipient = &evaluation->set->recipient;
	ErrorData		*error;

	evaluation->recipient_problem = recipient->problem;
	if (recipient->expression == NULL)
		return;
	if (recipient->expression->bare)
	{
		if (!text_of(evaluation->set, recipient->expression, &evaluation->recipient))
			evaluation->recipient_problem = &too_long;
		return;
	}
	error = attempt(decide_recipient, evaluation);
	if (error != NULL)
		evaluation->recipient_problem = problem_of(error, recipient->secret);
}

/* Matched rules that rely on the source's recipient cannot do without it. */
static void
apply_recipient_problem(Evaluation *evaluation)
{
	int i;

	for (i = 0; i < evaluation->count; i++)
	{
		Verdict *verdict = &evaluation->verdicts[i];

		if (verdict->state == VERDICT_MATCHED && !verdict->rule->cancels &&
			verdict->rule->recipient == NULL && !verdict->rule->has_audience)
			leave_undecided(verdict, evaluation->recipient_problem);
	}
}

/* Count, and drop what is over the limit of undecided events. */
static void
finish_verdicts(Evaluation *evaluation)
{
	int i;

	for (i = 0; i < evaluation->count; i++)
	{
		Verdict *verdict = &evaluation->verdicts[i];

		if (verdict->state == VERDICT_UNDECIDED && !may_report(verdict->rule))
			verdict->state = VERDICT_DROPPED;
		evaluation->matched += verdict->state == VERDICT_MATCHED;
		evaluation->undecided += verdict->state == VERDICT_UNDECIDED;
	}
}

static bool
any_matched(const Evaluation *evaluation)
{
	int i;

	for (i = 0; i < evaluation->count; i++)
		if (evaluation->verdicts[i].state == VERDICT_MATCHED)
			return true;
	return false;
}

/* Decide what needs no subtransaction; returns how many verdicts are open. */
static int
decide_bare(Evaluation *evaluation, int first)
{
	RuleSet		 *set = evaluation->set;
	const Change *change = evaluation->change;
	const struct Filter *filter = set->filters[change->op];
	int			  open = 0;
	int			  i;

	for (i = first; i >= 0; i = filter_next(filter, i + 1))
	{
		Verdict *verdict = &evaluation->verdicts[evaluation->count];
		Rule	*rule = set->by_op[change->op][i];

		if (!concerns(rule, change))
			continue;
		verdict->rule = rule;
		if (rule->problem != NULL)
			leave_undecided(verdict, rule->problem);
		else if (rule->condition != NULL && rule->condition->bare && !holds(set, rule->condition))
			continue;
		else if (rule->bare)
			decide_keys(set, verdict);
		else
			open++;
		evaluation->count++;
	}
	return open;
}

/* The part that may run anybody's code, which may come back to this set. */
static void
evaluate_open(Evaluation *evaluation, int open)
{
	RuleSet *set = evaluation->set;

	set->busy++;
	PG_TRY();
	{
		if (open > 0)
			decide_in_subtransaction(evaluation, open);
		if (any_matched(evaluation))
			evaluate_recipient(evaluation);
	}
	PG_FINALLY();
	{
		set->busy--;
	}
	PG_END_TRY();
}

void
evaluate_rules(RuleSet *set, const Change *change, int first, Evaluation *evaluation)
{
	memset(evaluation, 0, sizeof(Evaluation));
	evaluation->set = set;
	evaluation->change = change;
	if (first < 0)
		return;
	evaluation->verdicts = palloc0(Max(set->wanted[change->op], 1) * sizeof(Verdict));
	evaluate_open(evaluation, decide_bare(evaluation, first));
	if (evaluation->recipient_problem != NULL)
		apply_recipient_problem(evaluation);
	finish_verdicts(evaluation);
}

static Rule *
find_rule(const RuleSet *set, const Change *change, int64 version)
{
	int i;

	for (i = 0; i < set->wanted[change->op]; i++)
		if (set->by_op[change->op][i]->version == version &&
			concerns(set->by_op[change->op][i], change))
			return set->by_op[change->op][i];
	return NULL;
}

void
evaluate_one(RuleSet *set, const Change *change, int64 version, Evaluation *evaluation)
{
	Rule *rule = find_rule(set, change, version);

	memset(evaluation, 0, sizeof(Evaluation));
	evaluation->set = set;
	evaluation->change = change;
	if (rule == NULL)
		return;
	aim(set, change);
	evaluation->verdicts = palloc0(sizeof(Verdict));
	evaluation->verdicts[0].rule = rule;
	evaluation->count = 1;
	if (rule->problem != NULL)
		leave_undecided(&evaluation->verdicts[0], rule->problem);
	else
		evaluate_open(evaluation, 1);
	if (evaluation->recipient_problem != NULL)
		apply_recipient_problem(evaluation);
}
