/*
 * expression.c
 *		A rule's SQL expressions over new and old, compiled.
 *
 * The text is parsed as one bare expression (the form PL/pgSQL reads), analysed
 * like the WHEN of a CREATE TRIGGER (no subquery, aggregate, window or
 * set-returning function), coerced to the type its kind asks for, planned, and
 * made an ExprState without an executor around it.  Over a table, new and old
 * are range table entries of the table's row type; for emitted events they are
 * the only column of a pseudo-row of type jsonb, so that one evaluator serves
 * both.  Execution rights on functions are checked here, by ExecInitExpr, for
 * the current user: the caller has assumed the owner's identity.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "capture/bare.h"
#include "capture/expression.h"
#include "capture/lender.h"
#include "capture/virtual.h"

#define OLD_VARNO 1
#define NEW_VARNO 2

typedef struct Source
{
	const char	  *text;
	ExpressionKind kind;
} Source;

static const char *const kind_names[] = {
	[EXPRESSION_CONDITION] = "condition",
	[EXPRESSION_RECIPIENT] = "recipient",
	[EXPRESSION_DEDUPE_KEY] = "dedupe_key",
	[EXPRESSION_CANCEL_KEY] = "cancel_key",
};

/* Positions are within the expression, not within the statement around it. */
static void
error_context(void *arg)
{
	Source *source = arg;
	int		position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(source->text);
	}
	errcontext("%s expression", kind_names[source->kind]);
}

static bool
is_bare_select(SelectStmt *select)
{
	return select->distinctClause == NIL && select->intoClause == NULL &&
		   select->fromClause == NIL && select->whereClause == NULL && select->groupClause == NIL &&
		   select->havingClause == NULL && select->windowClause == NIL &&
		   select->valuesLists == NIL && select->sortClause == NIL && select->limitOffset == NULL &&
		   select->limitCount == NULL && select->lockingClause == NIL &&
		   select->withClause == NULL && select->op == SETOP_NONE;
}

static bool
is_star(Node *node)
{
	return IsA(node, ColumnRef) && IsA(llast(((ColumnRef *) node)->fields), A_Star);
}

static bool
refuse_subquery(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("expression cannot contain a subquery"),
						errhint("Rules read other tables in audience and context."),
						parser_errposition(context, ((SubLink *) node)->location)));
	return raw_expression_tree_walker(node, refuse_subquery, context);
}

static Node *
parse_one(ParseState *pstate, const char *text)
{
	List	   *statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
	ResTarget  *target;

	if (select->targetList == NIL)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("expression is empty")));
	target = linitial_node(ResTarget, select->targetList);
	if (list_length(select->targetList) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("expression must be one value, not a list of %d",
							   list_length(select->targetList)),
						parser_errposition(pstate,
										   lsecond_node(ResTarget, select->targetList)->location)));
	if (!is_bare_select(select) || target->name != NULL || is_star(target->val))
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("expression must be a single SQL expression"),
						errdetail("Clauses such as FROM, WHERE or AS, and *, do not belong in it."),
						errhint("Write it as in CREATE TRIGGER ... WHEN, over new and old."),
						parser_errposition(pstate, target->location)));
	(void) refuse_subquery(target->val, pstate);
	return target->val;
}

static void
add_row(ParseState *pstate, Relation relation, const char *name)
{
	ParseNamespaceItem *item;

	item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock, makeAlias(name, NIL),
										 false, false);
	addNSItemToQuery(pstate, item, false, true, true);
}

/* Emitted events: new and old are jsonb values, not rows. */
static Node *
jsonb_row(ParseState *pstate, ColumnRef *reference)
{
	Node	   *first = linitial(reference->fields);
	const char *name = IsA(first, String) ? strVal(first) : "";
	int			varno;
	Var		   *var;

	if (strcmp(name, "new") == 0)
		varno = NEW_VARNO;
	else if (strcmp(name, "old") == 0)
		varno = OLD_VARNO;
	else
		return NULL;
	if (list_length(reference->fields) > 1)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("\"%s\" of an emitted event is jsonb and has no columns", name),
						errhint("Use an operator such as %s ->> 'name'.", name),
						parser_errposition(pstate, reference->location)));
	var = makeVar(varno, 1, JSONBOID, -1, InvalidOid, 0);
	var->location = reference->location;
	return (Node *) var;
}

static ParseState *
make_scope(const char *text, Relation relation)
{
	ParseState *pstate = make_parsestate(NULL);

	pstate->p_sourcetext = text;
	if (relation == NULL)
		pstate->p_pre_columnref_hook = jsonb_row;
	else
	{
		add_row(pstate, relation, "old");
		add_row(pstate, relation, "new");
	}
	return pstate;
}

/* Those named, of which the system columns are refused. */
static bool
find_columns(Node *node, void *context)
{
	Expression *expression = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		if (var->varattno > 0)
			expression->columns = bms_add_member(expression->columns, var->varattno);
		else if (var->varattno == InvalidAttrNumber)
			expression->whole_row = true;
	}
	return expression_tree_walker(node, find_columns, context);
}

static bool
refuse_system_column(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varattno < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
						errmsg("expression cannot use system columns"),
						parser_errposition(context, ((Var *) node)->location)));
	return expression_tree_walker(node, refuse_system_column, context);
}

static bool
reads_as_text(Oid type)
{
	char category;
	bool preferred;

	switch (type)
	{
		case UNKNOWNOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case UUIDOID:
			return true;
		default:
			get_type_category_preferred(type, &category, &preferred);
			return category == TYPCATEGORY_STRING;
	}
}

static Node *
coerce_to_text(ParseState *pstate, Node *node, ExpressionKind kind)
{
	Oid	  type = exprType(node);
	Node *result = NULL;

	if (reads_as_text(getBaseType(type)))
		result = coerce_to_target_type(pstate, node, type, TEXTOID, -1, COERCION_EXPLICIT,
									   COERCE_EXPLICIT_CAST, -1);
	if (result == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("%s must be text, an integer, numeric or uuid, not type %s",
							   kind_names[kind], format_type_be(type)),
						errhint("Add a cast: (...)::text."),
						parser_errposition(pstate, exprLocation(node))));
	return result;
}

static Node *
analyse(const Source *source, Relation relation)
{
	ParseState *pstate = make_scope(source->text, relation);
	Node	   *node = parse_one(pstate, source->text);

	node = transformExpr(pstate, node, EXPR_KIND_TRIGGER_WHEN);
	(void) refuse_system_column(node, pstate);
	if (source->kind == EXPRESSION_CONDITION)
		node = coerce_to_boolean(pstate, node, kind_names[source->kind]);
	else
		node = coerce_to_text(pstate, node, source->kind);
	assign_expr_collations(pstate, node);
	free_parsestate(pstate);
	return node;
}

/* Analyse and plan in CurrentMemoryContext, which may then be deleted. */
static Node *
plan_expression(const Source *source, Relation relation, Expression *expression,
				ExpressionNeeds *needs)
{
	ErrorContextCallback callback = {error_context_stack, error_context,
									 unconstify(Source *, source)};
	Node				*node;

	error_context_stack = &callback;
	node = analyse(source, relation);
	lender_check_code(node);
	(void) find_columns(node, expression);
	node = virtual_expand(node, relation, OLD_VARNO);
	node = virtual_expand(node, relation, NEW_VARNO);
	(void) find_columns(node, expression); /* and what those are computed from */
	ChangeVarNodes(node, OLD_VARNO, INNER_VAR, 0);
	ChangeVarNodes(node, NEW_VARNO, OUTER_VAR, 0);
	node = (Node *) expression_planner_with_deps((Expr *) node, &needs->relations, &needs->objects);
	expression->bare = bare_expression(node);
	if (!expression->bare)
		lender_check_table(relation);
	error_context_stack = callback.previous;
	return node;
}

Expression *
expression_compile(const char *text, ExpressionKind kind, Relation relation, ExpressionNeeds *needs)
{
	const Source	source = {text, kind};
	Expression	   *expression = palloc0(sizeof(Expression));
	ExpressionNeeds own_needs = {NIL, NIL};
	MemoryContext	result_context = CurrentMemoryContext;
	MemoryContext	work_context =
		AllocSetContextCreate(result_context, "notify_pg expression", ALLOCSET_DEFAULT_SIZES);
	Node *node;

	MemoryContextSwitchTo(work_context);
	node = plan_expression(&source, relation, expression, &own_needs);
	MemoryContextSwitchTo(result_context);
	expression->columns = bms_copy(expression->columns);
	expression->state = ExecInitExpr(copyObject((Expr *) node), NULL);
	needs->relations = list_concat(needs->relations, own_needs.relations);
	needs->objects = list_concat(needs->objects, copyObject(own_needs.objects));
	MemoryContextDelete(work_context);
	return expression;
}
