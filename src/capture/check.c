/*
 * check.c
 *		Judging a rule's expression when it is saved: notify._check_expression().
 *
 * Compiles exactly as capture will, and throws the result away.
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "capture/expression.h"
#include "capture/identity.h"

PG_FUNCTION_INFO_V1(notify_check_expression);

enum
{
	ARG_RELATION,
	ARG_EXPRESSION,
	ARG_KIND,
	ARG_OWNER,
	ARG_PATH
};

static ExpressionKind
kind_by_name(const char *name)
{
	if (strcmp(name, "condition") == 0)
		return EXPRESSION_CONDITION;
	if (strcmp(name, "recipient") == 0)
		return EXPRESSION_RECIPIENT;
	if (strcmp(name, "dedupe_key") == 0)
		return EXPRESSION_DEDUPE_KEY;
	if (strcmp(name, "cancel_key") == 0)
		return EXPRESSION_CANCEL_KEY;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized kind of expression: \"%s\"", name),
					errhint("Valid kinds are condition, recipient, dedupe_key and cancel_key.")));
}

static Expression *
compile_as(const Identity *identity, const char *text, ExpressionKind kind, Relation relation)
{
	ExpressionNeeds needs = {NIL, NIL};
	IdentityBefore	before;
	Expression	   *expression;

	identity_assume(identity, &before);
	expression = expression_compile(text, kind, relation, &needs);
	identity_restore(&before);
	return expression;
}

Datum
notify_check_expression(PG_FUNCTION_ARGS)
{
	Relation	   relation = NULL;
	Expression	  *expression;
	ExpressionKind kind;
	Identity	   identity;
	int			   i;

	for (i = ARG_EXPRESSION; i <= ARG_PATH; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("expression, kind, owner and search_path must not be null")));
	kind = kind_by_name(text_to_cstring(PG_GETARG_TEXT_PP(ARG_KIND)));
	identity.owner = PG_GETARG_OID(ARG_OWNER);
	identity_require(identity.owner);
	identity.search_path = identity_path(text_to_cstring(PG_GETARG_TEXT_PP(ARG_PATH)));
	if (!PG_ARGISNULL(ARG_RELATION))
		relation = relation_open(PG_GETARG_OID(ARG_RELATION), AccessShareLock);
	expression =
		compile_as(&identity, text_to_cstring(PG_GETARG_TEXT_PP(ARG_EXPRESSION)), kind, relation);
	if (relation != NULL)
		relation_close(relation, NoLock);
	PG_RETURN_TEXT_P(cstring_to_text(expression->bare ? "bare" : "subtransaction"));
}
