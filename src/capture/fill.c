/*
 * fill.c
 *		Reading and compiling the rules of a relation.
 *
 * The tables are read as they are committed now (reader.c): a rule saved by
 * another session is obeyed even by a REPEATABLE READ writer.  Each rule is
 * compiled in its own subtransaction under its own owner, so one that no longer
 * compiles (a column was dropped, a role is gone) becomes a Problem of that rule
 * alone.
 *
 * A partition or inheritance child uses the rules of its nearest attached
 * ancestor, compiled against its own row type.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "capture/attempt.h"
#include "capture/fill.h"
#include "capture/filter.h"
#include "capture/reader.h"

enum
{
	SOURCE_RELATION,
	SOURCE_RECIPIENT,
	SOURCE_KEY,
	SOURCE_COLUMNS,
	SOURCE_ENABLED,
	SOURCE_OWNER,
	SOURCE_PATH,
	SOURCE_ON_TRUNCATE
};

static const char *const source_columns[] = {
	[SOURCE_RELATION] = "relation", [SOURCE_RECIPIENT] = "recipient",	  [SOURCE_KEY] = "key",
	[SOURCE_COLUMNS] = "columns",	[SOURCE_ENABLED] = "enabled",		  [SOURCE_OWNER] = "owner",
	[SOURCE_PATH] = "search_path",	[SOURCE_ON_TRUNCATE] = "on_truncate",
};

enum
{
	RULE_VERSION,
	RULE_SOURCE,
	RULE_EVENT_TYPE,
	RULE_OPS,
	RULE_ACTION,
	RULE_AUDIENCE,
	RULE_OWNER,
	RULE_PATH,
	RULE_CONDITION,
	RULE_RECIPIENT,
	RULE_DEDUPE_KEY,
	RULE_CANCEL_KEY,
	RULE_ENABLED
};

static const char *const rule_columns[] = {
	[RULE_VERSION] = "version",		  [RULE_SOURCE] = "source",
	[RULE_EVENT_TYPE] = "event_type", [RULE_OPS] = "ops",
	[RULE_ACTION] = "action",		  [RULE_AUDIENCE] = "audience",
	[RULE_OWNER] = "owner",			  [RULE_PATH] = "search_path",
	[RULE_CONDITION] = "condition",	  [RULE_RECIPIENT] = "recipient",
	[RULE_DEDUPE_KEY] = "dedupe_key", [RULE_CANCEL_KEY] = "cancel_key",
	[RULE_ENABLED] = "enabled",
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

/* A row of notify.rule, read. */
typedef struct RuleRow
{
	Rule	 rule;
	RuleText text;
} RuleRow;

/* A row of notify.source, read. */
typedef struct SourceRow
{
	Oid		 relation;
	int		 distance; /* from the relation asked about; -1: there is none */
	bool	 enabled;
	bool	 refuses_truncate;
	List	*key;
	List	*columns;
	Oid		 owner;
	RuleText text;
} SourceRow;

typedef struct CompileWork
{
	RuleSet		   *set;
	Relation		relation;
	Rule		   *rule; /* or NULL: the source's recipient */
	const RuleText *text;
} CompileWork;

static int
get_ops(Reader *reader)
{
	List	 *names = reader_texts(reader, RULE_OPS);
	ListCell *cell;
	int		  ops = 0;

	if (reader_is_null(reader, RULE_OPS))
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

static bool
is_text(Reader *reader, int column, const char *word)
{
	char *text = reader_text(reader, column);

	return text != NULL && strcmp(text, word) == 0;
}

static RuleRow *
read_rule(Reader *reader)
{
	RuleRow	 *row = palloc0(sizeof(RuleRow));
	Rule	 *rule = &row->rule;
	RuleText *text = &row->text;

	rule->version = DatumGetInt64(reader_datum(reader, RULE_VERSION));
	rule->event_type = reader_text(reader, RULE_EVENT_TYPE);
	rule->ops = rule->event_type ? 1 << CAPTURE_EMIT : get_ops(reader);
	rule->cancels = is_text(reader, RULE_ACTION, "cancel");
	rule->has_audience = !reader_is_null(reader, RULE_AUDIENCE);
	rule->identity.owner = DatumGetObjectId(reader_datum(reader, RULE_OWNER));
	text->search_path = reader_text(reader, RULE_PATH);
	text->condition = reader_text(reader, RULE_CONDITION);
	text->recipient = reader_text(reader, RULE_RECIPIENT);
	text->dedupe_key = reader_text(reader, RULE_DEDUPE_KEY);
	text->cancel_key = reader_text(reader, RULE_CANCEL_KEY);
	return row;
}

/* Is this row of notify.rule one of the set's? */
static bool
belongs(const RuleSet *set, Reader *reader)
{
	if (!DatumGetBool(reader_datum(reader, RULE_ENABLED)))
		return false;
	if (!OidIsValid(set->relid))
		return !reader_is_null(reader, RULE_EVENT_TYPE);
	return !reader_is_null(reader, RULE_SOURCE) &&
		   DatumGetObjectId(reader_datum(reader, RULE_SOURCE)) == set->source;
}

static int
compare_versions(const ListCell *a, const ListCell *b)
{
	int64 one = ((RuleRow *) lfirst(a))->rule.version;
	int64 other = ((RuleRow *) lfirst(b))->rule.version;

	return (one > other) - (one < other);
}

static List *
read_rules(const RuleSet *set)
{
	Reader *reader = reader_open(NAME_RULE, rule_columns, lengthof(rule_columns));
	List   *rows = NIL;

	while (reader_next(reader))
		if (belongs(set, reader))
			rows = lappend(rows, read_rule(reader));
	reader_close(reader);
	list_sort(rows, compare_versions);
	return rows;
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
		set->filters[op] = filter_build(set, op);
	}
}

static List *
append_parents(List *relations, Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		relations =
			list_append_unique_oid(relations, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return relations;
}

/* The relation and its ancestors, the nearest first. */
static List *
relation_and_ancestors(Oid relid)
{
	List *relations = list_make1_oid(relid);
	int	  i;

	for (i = 0; i < list_length(relations); i++)
		relations = append_parents(relations, list_nth_oid(relations, i));
	return relations;
}

static int
distance_to(List *relations, Oid relid)
{
	int i;

	for (i = 0; i < list_length(relations); i++)
		if (list_nth_oid(relations, i) == relid)
			return i;
	return -1;
}

static void
read_source(Reader *reader, SourceRow *row)
{
	row->relation = DatumGetObjectId(reader_datum(reader, SOURCE_RELATION));
	row->enabled = DatumGetBool(reader_datum(reader, SOURCE_ENABLED));
	row->refuses_truncate = is_text(reader, SOURCE_ON_TRUNCATE, "refuse");
	row->key = reader_texts(reader, SOURCE_KEY);
	row->columns = reader_texts(reader, SOURCE_COLUMNS);
	row->owner = DatumGetObjectId(reader_datum(reader, SOURCE_OWNER));
	row->text.recipient = reader_text(reader, SOURCE_RECIPIENT);
	row->text.search_path = reader_text(reader, SOURCE_PATH);
}

static void
find_source(Oid relid, SourceRow *nearest)
{
	List   *relations = relation_and_ancestors(relid);
	Reader *reader = reader_open(NAME_SOURCE, source_columns, lengthof(source_columns));

	nearest->distance = -1;
	while (reader_next(reader))
	{
		int distance =
			distance_to(relations, DatumGetObjectId(reader_datum(reader, SOURCE_RELATION)));

		if (distance < 0 || (nearest->distance >= 0 && nearest->distance <= distance))
			continue;
		nearest->distance = distance;
		read_source(reader, nearest);
	}
	reader_close(reader);
}

static void
fill_source(RuleSet *set, Relation relation)
{
	SourceRow	row = {InvalidOid};
	CompileWork work = {set, relation, NULL, &row.text};

	find_source(set->relid, &row);
	if (row.distance < 0 || !row.enabled)
		return;
	set->source = row.relation;
	set->refuses_truncate = row.refuses_truncate;
	set->payload = payload_prepare(relation, row.key, row.columns);
	set->recipient.identity.owner = row.owner;
	if (row.text.recipient != NULL)
		set->recipient.problem = compile_or_problem(&work);
	set->recipient.secret = reads_secret(set, set->recipient.expression);
}

static void
fill_rules(RuleSet *set, Relation relation)
{
	CompileWork work = {set, relation, NULL, NULL};
	List	   *rows = read_rules(set);
	ListCell   *cell;

	set->rules = palloc0(Max(list_length(rows), 1) * sizeof(Rule));
	foreach (cell, rows)
	{
		RuleRow *row = lfirst(cell);

		work.rule = &set->rules[set->rule_count++];
		*work.rule = row->rule;
		work.text = &row->text;
		work.rule->problem = compile_or_problem(&work);
		finish_rule(set, work.rule);
	}
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

void
fill_rule_set(RuleSet *set, Relation relation)
{
	(void) names_relation(NAME_SOURCE); /* from here on we hear of its changes */
	(void) names_relation(NAME_RULE);
	if (relation != NULL)
		fill_source(set, relation);
	if (relation == NULL || OidIsValid(set->source))
		fill_rules(set, relation);
	sort_by_op(set);
	make_slots(set, relation);
}
