/*
 * fill.c
 *		Reading and compiling the rules of a relation.
 *
 * The tables are read through SPI as their owner, under a pinned search_path,
 * with a snapshot newer than the transaction's: a rule saved by another session
 * is obeyed even by a REPEATABLE READ writer.  Each rule is compiled in its own
 * subtransaction under its own owner, so one that no longer compiles (a column
 * was dropped, a role is gone) becomes a Problem of that rule alone.
 *
 * A partition or inheritance child uses the rules of its nearest attached
 * ancestor, compiled against its own row type.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "capture/attempt.h"
#include "capture/fill.h"
#include "capture/names.h"

#define FILL_PATH "pg_catalog, pg_temp"

#define SOURCE_QUERY                                                                                    \
	"WITH RECURSIVE up AS ("                                                                            \
	" SELECT $1 AS relid, 0 AS depth"                                                                   \
	" UNION ALL"                                                                                        \
	" SELECT i.inhparent, up.depth + 1 FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.relid)" \
	" SELECT s.relation::oid, s.recipient, s.key, s.columns, s.owner::oid, s.search_path, s.enabled"    \
	" FROM up JOIN notify.source s ON s.relation = up.relid ORDER BY up.depth LIMIT 1"

enum
{
	SOURCE_RELATION = 1,
	SOURCE_RECIPIENT,
	SOURCE_KEY,
	SOURCE_COLUMNS,
	SOURCE_OWNER,
	SOURCE_PATH,
	SOURCE_ENABLED
};

#define RULE_QUERY                                                                                       \
	"SELECT r.version, r.ops, r.action = 'cancel', r.audience IS NOT NULL, r.owner::oid, r.search_path," \
	" r.condition, r.recipient, r.dedupe_key, r.cancel_key, r.event_type"                                \
	" FROM notify.rule r WHERE r.enabled AND "

#define RULE_ORDER " ORDER BY r.version"

enum
{
	RULE_VERSION = 1,
	RULE_OPS,
	RULE_CANCELS,
	RULE_HAS_AUDIENCE,
	RULE_OWNER,
	RULE_PATH,
	RULE_CONDITION,
	RULE_RECIPIENT,
	RULE_DEDUPE_KEY,
	RULE_CANCEL_KEY,
	RULE_EVENT_TYPE
};

/* The texts of a rule, until they are compiled. */
typedef struct RuleText
{
	char *condition;
	char *recipient;
	char *dedupe_key;
	char *cancel_key;
	char *search_path;
} RuleText;

typedef struct CompileWork
{
	RuleSet		   *set;
	Relation		relation;
	Rule		   *rule; /* or NULL: the source's recipient */
	const RuleText *text;
} CompileWork;

static bool
is_null(int row, int column)
{
	bool isnull;

	(void) SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	return isnull;
}

static Datum
get_datum(int row, int column)
{
	bool isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
}

/* Copied into the set's context, or NULL. */
static char *
get_text(const RuleSet *set, int row, int column)
{
	char *string;
	char *copy;

	if (is_null(row, column))
		return NULL;
	string = TextDatumGetCString(get_datum(row, column));
	copy = MemoryContextStrdup(set->context, string);
	pfree(string);
	return copy;
}

/* A text[] as a list of char *, or NIL. */
static List *
get_texts(int row, int column)
{
	List  *texts = NIL;
	Datum *elements;
	bool  *nulls;
	int	   count;
	int	   i;

	if (is_null(row, column))
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(get_datum(row, column)), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (i = 0; i < count; i++)
		if (!nulls[i])
			texts = lappend(texts, TextDatumGetCString(elements[i]));
	return texts;
}

static int
get_ops(int row)
{
	List	 *names = get_texts(row, RULE_OPS);
	ListCell *cell;
	int		  ops = 0;

	if (is_null(row, RULE_OPS))
		return (1 << CAPTURE_INSERT) | (1 << CAPTURE_UPDATE) | (1 << CAPTURE_DELETE);
	foreach (cell, names)
	{
		if (strcmp(lfirst(cell), "insert") == 0)
			ops |= 1 << CAPTURE_INSERT;
		else if (strcmp(lfirst(cell), "update") == 0)
			ops |= 1 << CAPTURE_UPDATE;
		else if (strcmp(lfirst(cell), "delete") == 0)
			ops |= 1 << CAPTURE_DELETE;
	}
	return ops;
}

static Problem *
make_problem(const RuleSet *set, const ErrorData *error)
{
	Problem *problem = MemoryContextAlloc(set->context, sizeof(Problem));

	strlcpy(problem->sqlstate, unpack_sql_state(error->sqlerrcode), sizeof(problem->sqlstate));
	problem->message = MemoryContextStrdup(set->context, error->message ? error->message : "");
	return problem;
}

static Expression *
compile(const CompileWork *work, const char *text, ExpressionKind kind)
{
	if (text == NULL)
		return NULL;
	return expression_compile(text, kind, work->relation, &work->set->needs);
}

/* In a subtransaction; what it allocates stays in the set's context. */
static void
compile_texts(void *arg)
{
	const CompileWork *work = arg;
	Rule			  *rule = work->rule;
	Identity		  *identity = rule ? &rule->identity : &work->set->recipient.identity;
	MemoryContext	   before = MemoryContextSwitchTo(work->set->context);
	IdentityBefore	   identity_before;

	identity->search_path = identity_path(work->text->search_path);
	identity_assume(identity, &identity_before);
	if (rule == NULL)
		work->set->recipient.expression =
			compile(work, work->text->recipient, EXPRESSION_RECIPIENT);
	else
	{
		rule->condition = compile(work, work->text->condition, EXPRESSION_CONDITION);
		rule->recipient = compile(work, work->text->recipient, EXPRESSION_RECIPIENT);
		rule->dedupe_key = compile(work, work->text->dedupe_key, EXPRESSION_DEDUPE_KEY);
		rule->cancel_key = compile(work, work->text->cancel_key, EXPRESSION_CANCEL_KEY);
	}
	identity_restore(&identity_before);
	MemoryContextSwitchTo(before);
}

static Problem *
compile_or_problem(CompileWork *work)
{
	ErrorData *error = attempt(compile_texts, work);

	if (error == NULL)
		return NULL;
	work->set->has_problem = true;
	return make_problem(work->set, error);
}

/* Does it read a column that no event may hold? */
static bool
reads_secret(const RuleSet *set, const Expression *expression)
{
	int attno = -1;

	if (expression == NULL || set->payload == NULL)
		return false;
	if (expression->whole_row)
		return !payload_holds(set->payload, InvalidAttrNumber);
	while ((attno = bms_next_member(expression->columns, attno)) > 0)
		if (!payload_holds(set->payload, attno))
			return true;
	return false;
}

static bool
is_bare(const Expression *expression)
{
	return expression == NULL || expression->bare;
}

static void
read_rule(RuleSet *set, Rule *rule, int row, RuleText *text)
{
	rule->version = DatumGetInt64(get_datum(row, RULE_VERSION));
	rule->event_type = get_text(set, row, RULE_EVENT_TYPE);
	rule->ops = rule->event_type ? 1 << CAPTURE_EMIT : get_ops(row);
	rule->cancels = !is_null(row, RULE_CANCELS) && DatumGetBool(get_datum(row, RULE_CANCELS));
	rule->has_audience = DatumGetBool(get_datum(row, RULE_HAS_AUDIENCE));
	rule->identity.owner = DatumGetObjectId(get_datum(row, RULE_OWNER));
	text->search_path = get_text(set, row, RULE_PATH);
	text->condition = get_text(set, row, RULE_CONDITION);
	text->recipient = get_text(set, row, RULE_RECIPIENT);
	text->dedupe_key = get_text(set, row, RULE_DEDUPE_KEY);
	text->cancel_key = get_text(set, row, RULE_CANCEL_KEY);
}

static void
finish_rule(RuleSet *set, Rule *rule)
{
	rule->bare = rule->problem == NULL && is_bare(rule->condition) && is_bare(rule->recipient) &&
				 is_bare(rule->dedupe_key) && is_bare(rule->cancel_key);
	rule->secret = reads_secret(set, rule->condition) || reads_secret(set, rule->recipient) ||
				   reads_secret(set, rule->dedupe_key) || reads_secret(set, rule->cancel_key);
}

/* One array of rules per op, in the order of their versions. */
static void
sort_by_op(RuleSet *set)
{
	int op;
	int i;

	for (op = 0; op < CAPTURE_OPS; op++)
	{
		set->by_op[op] = palloc(Max(set->rule_count, 1) * sizeof(Rule *));
		for (i = 0; i < set->rule_count; i++)
			if (set->rules[i].ops & (1 << op))
				set->by_op[op][set->wanted[op]++] = &set->rules[i];
	}
}

/* Run a query on the extension's tables; the result is in SPI_tuptable. */
static int
read_rows(const char *query, int argument_count, Oid argument_type, Datum argument)
{
	SPIPlanPtr plan = SPI_prepare(query, argument_count, &argument_type);
	int		   result;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	PushActiveSnapshot(GetLatestSnapshot());
	result = SPI_execute_plan(plan, &argument, NULL, true, 0);
	PopActiveSnapshot();
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	return (int) SPI_processed;
}

static void
fill_source(RuleSet *set, Relation relation)
{
	CompileWork	  work = {set, relation, NULL, NULL};
	RuleText	  text = {0};
	MemoryContext before;
	List		 *key;
	List		 *columns;

	if (read_rows(SOURCE_QUERY, 1, OIDOID, ObjectIdGetDatum(set->relid)) == 0 ||
		!DatumGetBool(get_datum(0, SOURCE_ENABLED)))
		return;
	set->source = DatumGetObjectId(get_datum(0, SOURCE_RELATION));
	key = get_texts(0, SOURCE_KEY);
	columns = get_texts(0, SOURCE_COLUMNS);
	before = MemoryContextSwitchTo(set->context);
	set->payload = payload_prepare(relation, key, columns);
	MemoryContextSwitchTo(before);
	text.recipient = get_text(set, 0, SOURCE_RECIPIENT);
	text.search_path = get_text(set, 0, SOURCE_PATH);
	set->recipient.identity.owner = DatumGetObjectId(get_datum(0, SOURCE_OWNER));
	work.text = &text;
	if (text.recipient != NULL)
		set->recipient.problem = compile_or_problem(&work);
	set->recipient.secret = reads_secret(set, set->recipient.expression);
}

static void
fill_rules(RuleSet *set, Relation relation)
{
	CompileWork work = {set, relation, NULL, NULL};
	RuleText   *texts;
	int			count;
	int			i;

	if (relation != NULL)
		count = read_rows(RULE_QUERY "r.source = $1" RULE_ORDER, 1, OIDOID,
						  ObjectIdGetDatum(set->source));
	else
		count =
			read_rows(RULE_QUERY "r.event_type IS NOT NULL" RULE_ORDER, 0, InvalidOid, (Datum) 0);
	set->rules = MemoryContextAllocZero(set->context, Max(count, 1) * sizeof(Rule));
	texts = palloc0(Max(count, 1) * sizeof(RuleText));
	for (i = 0; i < count; i++)
		read_rule(set, &set->rules[i], i, &texts[i]);
	for (i = 0; i < count; i++)
	{
		work.rule = &set->rules[i];
		work.text = &texts[i];
		work.rule->problem = compile_or_problem(&work);
		finish_rule(set, work.rule);
	}
	set->rule_count = count;
}

/* What the expressions are evaluated in. */
static void
make_slots(RuleSet *set, Relation relation)
{
	TupleDesc row;

	if (relation != NULL)
		row = CreateTupleDescCopy(RelationGetDescr(relation));
	else
	{
		row = CreateTemplateTupleDesc(1);
		TupleDescInitEntry(row, 1, "new", JSONBOID, -1, 0);
		set->emitted = MakeSingleTupleTableSlot(row, &TTSOpsVirtual);
	}
	set->nothing = MakeSingleTupleTableSlot(row, &TTSOpsVirtual);
	ExecStoreAllNullTuple(set->nothing);
	set->econtext = CreateStandaloneExprContext();
}

static Oid
rule_table_owner(void)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(names_relation(NAME_RULE)));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation notify.rule");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
fill_rule_set(RuleSet *set, Relation relation)
{
	Identity	   reader = {rule_table_owner(), FILL_PATH};
	IdentityBefore before;

	(void) names_relation(NAME_SOURCE); /* from here on we hear of its changes */
	identity_assume(&reader, &before);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (relation != NULL)
		fill_source(set, relation);
	if (relation == NULL || OidIsValid(set->source))
		fill_rules(set, relation);
	SPI_finish();
	identity_restore(&before);
	sort_by_op(set);
	make_slots(set, relation);
}
