/*
 * bare.c
 *		Which expressions cannot raise an error.
 *
 * A bare expression is evaluated without a subtransaction and without taking
 * its owner's identity, in the middle of somebody's business statement.  So the
 * answer here may be wrong in one direction only.  Bare are:
 *
 *	- leakproof functions written in C: not revealing their arguments, they may
 *	  not raise errors about them, and they run no user's code;
 *	- the built-ins of the table below, each read for why it cannot raise;
 *	- node types that only combine values.
 *
 * A function that compares text needs a known, deterministic collation: several
 * raise without.  Running out of memory and damaged storage are not counted: no
 * statement survives those.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "capture/bare.h"

/* clang-format off */
/* Built-ins that are not marked leakproof and yet cannot raise. */
static const Oid cannot_raise[] = {
	/* numeric: comparing digit arrays; NaN and infinities have their order */
	F_NUMERIC_EQ, F_NUMERIC_NE, F_NUMERIC_LT, F_NUMERIC_LE, F_NUMERIC_GT, F_NUMERIC_GE,
	F_NUMERIC_CMP, F_NUMERIC_LARGER, F_NUMERIC_SMALLER,
	/* numeric: copies with the sign bit set or cleared */
	F_NUMERIC_ABS, F_ABS_NUMERIC, F_NUMERIC_UMINUS, F_SIGN_NUMERIC,
	/* enum: a stored value's label is in the catalog, as labels are never dropped */
	F_ENUM_EQ, F_ENUM_NE, F_ENUM_LT, F_ENUM_LE, F_ENUM_GT, F_ENUM_GE, F_ENUM_CMP,
	/* cross-type times: out-of-range conversions compare as infinities (14 and later) */
	F_DATE_EQ_TIMESTAMP, F_DATE_NE_TIMESTAMP, F_DATE_LT_TIMESTAMP,
	F_DATE_LE_TIMESTAMP, F_DATE_GT_TIMESTAMP, F_DATE_GE_TIMESTAMP,
	F_DATE_EQ_TIMESTAMPTZ, F_DATE_NE_TIMESTAMPTZ, F_DATE_LT_TIMESTAMPTZ,
	F_DATE_LE_TIMESTAMPTZ, F_DATE_GT_TIMESTAMPTZ, F_DATE_GE_TIMESTAMPTZ,
	F_TIMESTAMP_EQ_DATE, F_TIMESTAMP_NE_DATE, F_TIMESTAMP_LT_DATE,
	F_TIMESTAMP_LE_DATE, F_TIMESTAMP_GT_DATE, F_TIMESTAMP_GE_DATE,
	F_TIMESTAMPTZ_EQ_DATE, F_TIMESTAMPTZ_NE_DATE, F_TIMESTAMPTZ_LT_DATE,
	F_TIMESTAMPTZ_LE_DATE, F_TIMESTAMPTZ_GT_DATE, F_TIMESTAMPTZ_GE_DATE,
	F_TIMESTAMP_EQ_TIMESTAMPTZ, F_TIMESTAMP_NE_TIMESTAMPTZ, F_TIMESTAMP_LT_TIMESTAMPTZ,
	F_TIMESTAMP_LE_TIMESTAMPTZ, F_TIMESTAMP_GT_TIMESTAMPTZ, F_TIMESTAMP_GE_TIMESTAMPTZ,
	F_TIMESTAMPTZ_EQ_TIMESTAMP, F_TIMESTAMPTZ_NE_TIMESTAMP, F_TIMESTAMPTZ_LT_TIMESTAMP,
	F_TIMESTAMPTZ_LE_TIMESTAMP, F_TIMESTAMPTZ_GT_TIMESTAMP, F_TIMESTAMPTZ_GE_TIMESTAMP,
	/* the clock */
	F_NOW, F_TRANSACTION_TIMESTAMP, F_STATEMENT_TIMESTAMP, F_CLOCK_TIMESTAMP,
	/* jsonb: look-ups give NULL where there is nothing of that name, number or kind */
	F_JSONB_OBJECT_FIELD, F_JSONB_OBJECT_FIELD_TEXT, F_JSONB_ARRAY_ELEMENT,
	F_JSONB_ARRAY_ELEMENT_TEXT, F_JSONB_EXTRACT_PATH, F_JSONB_EXTRACT_PATH_TEXT,
	F_JSONB_EXISTS, F_JSONB_EXISTS_ANY, F_JSONB_EXISTS_ALL, F_JSONB_TYPEOF,
	/* jsonb: walks two stored values in step; their depth was within the stack when read in */
	F_JSONB_CONTAINS, F_JSONB_CONTAINED,
	F_JSONB_EQ, F_JSONB_NE, F_JSONB_LT, F_JSONB_LE, F_JSONB_GT, F_JSONB_GE, F_JSONB_CMP,
	/* text: results no longer than the argument, which is valid in its encoding */
	F_BTRIM_TEXT, F_BTRIM_TEXT_TEXT, F_LTRIM_TEXT, F_LTRIM_TEXT_TEXT, F_RTRIM_TEXT,
	F_RTRIM_TEXT_TEXT, F_TEXT_BPCHAR, F_TEXT_CHAR,
	/* text: counting */
	F_TEXTLEN, F_LENGTH_TEXT, F_LENGTH_BPCHAR, F_CHAR_LENGTH_TEXT, F_CHARACTER_LENGTH_TEXT,
	F_CHAR_LENGTH_BPCHAR, F_CHARACTER_LENGTH_BPCHAR, F_OCTET_LENGTH_TEXT,
	/* true or false */
	F_TEXT_BOOL,
};

/* LIKE raises when its pattern ends in a lone escape: the pattern must be seen. */
static const Oid like_functions[] = {
	F_TEXTLIKE, F_TEXTNLIKE, F_NAMELIKE, F_NAMENLIKE, F_BPCHARLIKE, F_BPCHARNLIKE,
	F_LIKE_TEXT_TEXT, F_NOTLIKE_TEXT_TEXT, F_LIKE_NAME_TEXT, F_NOTLIKE_NAME_TEXT,
};
/* clang-format on */

/* Marked leakproof, but they ask the cryptographic library, which may refuse. */
static const Oid leakproof_but_raise[] = {F_MD5_TEXT, F_MD5_BYTEA, F_GEN_RANDOM_UUID};

static bool
listed(Oid function, const Oid *list, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (list[i] == function)
			return true;
	return false;
}

static bool
trusted_leakproof(Oid function)
{
	HeapTuple	 tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool		 result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	result = form->proleakproof && !form->prosecdef &&
			 (form->prolang == INTERNALlanguageId || form->prolang == ClanguageId) &&
			 heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL) &&
			 !listed(function, leakproof_but_raise, lengthof(leakproof_but_raise));
	ReleaseSysCache(tuple);
	return result;
}

static bool
function_raises(Oid function)
{
	return !listed(function, cannot_raise, lengthof(cannot_raise)) && !trusted_leakproof(function);
}

static bool
collation_raises(Oid collation, List *arguments)
{
	ListCell *cell;

	if (OidIsValid(collation))
		return !get_collation_isdeterministic(collation);
	foreach (cell, arguments)
		if (type_is_collatable(exprType(lfirst(cell))))
			return true;
	return false;
}

static bool
pattern_raises(Node *pattern)
{
	Const *constant = (Const *) pattern;
	char  *string;
	int	   escapes = 0;
	int	   length;

	if (!IsA(pattern, Const) || constant->consttype != TEXTOID)
		return true;
	if (constant->constisnull)
		return false;
	string = TextDatumGetCString(constant->constvalue);
	for (length = strlen(string); escapes < length && string[length - 1 - escapes] == '\\';
		 escapes++)
		;
	return escapes % 2 == 1;
}

Node *
without_relabel(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* Is this text certainly short?  Then concatenating it cannot pass 1 GB. */
static bool
is_short_text(Node *node)
{
	node = without_relabel(node);
	if (IsA(node, Const))
		return true;
	if (IsA(node, CoerceViaIO))
		return get_typlen(exprType((Node *) ((CoerceViaIO *) node)->arg)) > 0;
	if (IsA(node, Var))
		return (((Var *) node)->vartype == VARCHAROID || ((Var *) node)->vartype == BPCHAROID) &&
			   ((Var *) node)->vartypmod >= 0;
	if (IsA(node, OpExpr) && ((OpExpr *) node)->opfuncid == F_TEXTCAT)
		return is_short_text(linitial(((OpExpr *) node)->args)) &&
			   is_short_text(lsecond(((OpExpr *) node)->args));
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_TEXT_BPCHAR)
		return is_short_text(linitial(((FuncExpr *) node)->args));
	return false;
}

static bool
call_raises(Oid function, Oid collation, List *arguments)
{
	if (listed(function, like_functions, lengthof(like_functions)))
		return collation_raises(collation, arguments) || pattern_raises(lsecond(arguments));
	if (function == F_TEXTCAT)
		return !is_short_text(linitial(arguments)) || !is_short_text(lsecond(arguments));
	return function_raises(function) || collation_raises(collation, arguments);
}

/* Through text and back: into text only, from types whose output cannot raise. */
static bool
io_raises(CoerceViaIO *coerce)
{
	Oid from = exprType((Node *) coerce->arg);

	if (coerce->resulttype != TEXTOID && coerce->resulttype != VARCHAROID)
		return true;
	switch (from)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case UUIDOID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return false;
		default:
			return !type_is_enum(from);
	}
}

/* GREATEST and LEAST compare by the type's default ordering. */
static bool
minmax_raises(MinMaxExpr *minmax)
{
	TypeCacheEntry *type = lookup_type_cache(minmax->minmaxtype, TYPECACHE_CMP_PROC);

	return !OidIsValid(type->cmp_proc) ||
		   call_raises(type->cmp_proc, minmax->inputcollid, minmax->args);
}

/* CURRENT_USER and its like depend on the identity, which bare does not take. */
static bool
value_function_raises(SQLValueFunction *function)
{
	switch (function->op)
	{
		case SVFOP_CURRENT_DATE:
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			return false;
		default:
			return true;
	}
}

static bool
node_raises(Node *node)
{
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_RelabelType:
		case T_ArrayCoerceExpr: /* as its element expression, which is walked */
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
			return false;
		case T_Var:
			return ((Var *) node)->varattno < 0 &&
				   ((Var *) node)->varattno != TableOidAttributeNumber;
		case T_ArrayExpr:
			return ((ArrayExpr *) node)->multidims;
		case T_FuncExpr:
			return ((FuncExpr *) node)->funcretset ||
				   call_raises(((FuncExpr *) node)->funcid, ((FuncExpr *) node)->inputcollid,
							   ((FuncExpr *) node)->args);
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			return ((OpExpr *) node)->opretset ||
				   call_raises(((OpExpr *) node)->opfuncid, ((OpExpr *) node)->inputcollid,
							   ((OpExpr *) node)->args);
		case T_ScalarArrayOpExpr:
			/* the pattern of a LIKE ANY is an array, and refused as no constant text */
			return call_raises(((ScalarArrayOpExpr *) node)->opfuncid,
							   ((ScalarArrayOpExpr *) node)->inputcollid,
							   ((ScalarArrayOpExpr *) node)->args);
		case T_MinMaxExpr:
			return minmax_raises((MinMaxExpr *) node);
		case T_CoerceViaIO:
			return io_raises((CoerceViaIO *) node);
		case T_SQLValueFunction:
			return value_function_raises((SQLValueFunction *) node);
		default:
			return true;
	}
}

static bool
raises(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return node_raises(node) || expression_tree_walker(node, raises, context);
}

bool
bare_expression(Node *planned)
{
	return !raises(planned, NULL);
}
