/*
 * lender.c
 *		Whose code a superuser's expressions and queries may call.
 *
 * A rule runs as its owner.  Whoever owns a function it calls, or the table it
 * watches, can change that later, and what they wrote would run as the rule's
 * owner.  Between ordinary roles that is for them to judge, as with views and
 * triggers.  A superuser's rights are lent only to what superusers own: this is
 * asked whenever an expression or query is compiled, for owners change, and a
 * name may mean another function by then.  What a superuser's function calls
 * itself is that superuser's affair.  An expression that is bare (bare.c) lends
 * nothing: it is evaluated as whoever writes the table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "capture/lender.h"
#include "compat.h"

void
lender_check_table(Relation relation)
{
	if (relation == NULL || !superuser() || superuser_arg(relation->rd_rel->relowner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("a superuser's rule cannot watch table %s, which another role owns",
					RelationGetRelationName(relation)),
			 errdetail("Its owner could change the table so that code of theirs runs as the superuser."),
			 errhint("SET ROLE to the table's owner, or to another role without superuser rights, and "
					 "do it again.")));
}

pg_noreturn static void
refuse(const char *what, char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("a superuser's rule cannot use %s %s, which another role owns", what, name),
			 errdetail("Its owner could change it so that code of theirs runs as the superuser."),
			 errhint("SET ROLE to its owner, or to another role without superuser rights, and do it "
					 "again.")));
}

static bool
check_function(Oid function, void *context)
{
	HeapTuple tuple;
	Oid		  owner;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	if (!superuser_arg(owner))
		refuse("function", format_procedure(function));
	return false;
}

/* A domain's checks are its owner's. */
static void
check_domain(Oid domain)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(domain));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		return;
	owner = ((Form_pg_type) GETSTRUCT(tuple))->typowner;
	ReleaseSysCache(tuple);
	if (!superuser_arg(owner))
		refuse("domain", format_type_be(domain));
}

static bool
check(Node *node, void *context)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, check_function, NULL);
	if (IsA(node, CoerceToDomain))
		check_domain(((CoerceToDomain *) node)->resulttype);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check, context, 0);
	return expression_tree_walker(node, check, context);
}

void
lender_check_code(Node *node)
{
	if (superuser())
		(void) check(node, NULL);
}
