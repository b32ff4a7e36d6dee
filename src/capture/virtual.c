/*
 * virtual.c
 *		Virtual generated columns: computed when read (PostgreSQL 18 and later).
 *
 * A slot holds no value for them.  In a rule's expression such a column becomes
 * its generation expression, as in the WHEN of a trigger; so what it costs, and
 * whether it can raise, is seen there.  For an event it is computed with the
 * other columns.  PostgreSQL allows only built-in functions in it: whose rights
 * it runs with makes no difference.
 *
 * "old" of an INSERT and "new" of a DELETE are rows of NULLs, and a generation
 * expression may make something of NULLs.  Hence the CASE: the slot of a row
 * that is none has no table OID.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "capture/virtual.h"
#include "compat.h"

/* The relation's number within its own generation expressions. */
#define OWN_VARNO 1

typedef struct Expansion
{
	Relation relation;
	int		 varno;
} Expansion;

bool
virtual_column(Form_pg_attribute attribute)
{
	return !attribute->attisdropped && attribute->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
}

static bool
has_virtual_column(TupleDesc row)
{
	int i;

	for (i = 0; i < row->natts; i++)
		if (virtual_column(TupleDescAttr(row, i)))
			return true;
	return false;
}

/* new.tableoid <> 0 */
static Expr *
row_exists(int varno)
{
	Var	  *oid = makeVar(varno, TableOidAttributeNumber, OIDOID, -1, InvalidOid, 0);
	Const *none =
		makeConst(OIDOID, -1, InvalidOid, sizeof(Oid), ObjectIdGetDatum(InvalidOid), false, true);

	return (Expr *) makeFuncExpr(F_OIDNE, BOOLOID, list_make2(oid, none), InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

static Node *
computed_column(const Expansion *expansion, Form_pg_attribute attribute)
{
	Node	 *value = compat_generation_expression(expansion->relation, attribute->attnum);
	CaseWhen *when = makeNode(CaseWhen);
	CaseExpr *result = makeNode(CaseExpr);

	ChangeVarNodes(value, OWN_VARNO, expansion->varno, 0);
	when->expr = row_exists(expansion->varno);
	when->result = (Expr *) value;
	when->location = -1;
	result->casetype = attribute->atttypid;
	result->casecollid = attribute->attcollation;
	result->args = list_make1(when);
	result->defresult =
		(Expr *) makeNullConst(attribute->atttypid, attribute->atttypmod, attribute->attcollation);
	result->location = -1;
	return (Node *) result;
}

static Node *
column(const Expansion *expansion, Form_pg_attribute attribute)
{
	if (attribute->attisdropped)
		return (Node *) makeNullConst(INT4OID, -1, InvalidOid);
	if (virtual_column(attribute))
		return computed_column(expansion, attribute);
	return (Node *) makeVar(expansion->varno, attribute->attnum, attribute->atttypid,
							attribute->atttypmod, attribute->attcollation, 0);
}

static Node *
whole_row(const Expansion *expansion, const Var *var)
{
	TupleDesc row = RelationGetDescr(expansion->relation);
	RowExpr	 *result = makeNode(RowExpr);
	int		  i;

	for (i = 0; i < row->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row, i);

		result->args = lappend(result->args, column(expansion, attribute));
		result->colnames =
			lappend(result->colnames, makeString(pstrdup(NameStr(attribute->attname))));
	}
	result->row_typeid = var->vartype;
	result->row_format = COERCE_IMPLICIT_CAST;
	result->location = var->location;
	return (Node *) result;
}

static Node *
expand(Node *node, void *arg)
{
	const Expansion *expansion = arg;
	Var				*var = (Var *) node;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var))
		return expression_tree_mutator(node, expand, arg);
	if (var->varno != expansion->varno || var->varattno < 0)
		return (Node *) copyObject(var);
	if (var->varattno == InvalidAttrNumber)
		return whole_row(expansion, var);
	return column(expansion, TupleDescAttr(RelationGetDescr(expansion->relation),
										   var->varattno - 1));
}

Node *
virtual_expand(Node *expression, Relation relation, int varno)
{
	Expansion expansion = {relation, varno};

	if (relation == NULL || !has_virtual_column(RelationGetDescr(relation)))
		return expression;
	return expand(expression, &expansion);
}

ExprState *
virtual_prepare(Relation relation, AttrNumber attno)
{
	Node *node = compat_generation_expression(relation, attno);

	return ExecInitExpr(expression_planner((Expr *) node), NULL);
}
