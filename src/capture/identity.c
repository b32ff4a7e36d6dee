/*
 * identity.c
 *		On whose behalf, and under which search_path, a rule's expressions run.
 *
 * A rule's text was written by its owner, but runs in the session of whoever
 * changes a row.  So it is compiled and (where it may call code of a user's)
 * run as its owner, restricted as index expressions are: no SET ROLE, no
 * temporary objects, no deferred triggers; and under the owner's stored
 * search_path with pg_temp last, so the writer's session cannot put a function,
 * operator or table of its own in the way.
 *
 * identity_assume() and identity_restore() pair on success.  On error the
 * (sub)transaction that ends restores both user id and settings.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "capture/identity.h"

/* The same path with pg_temp moved, or added, to the end. */
char *
identity_path(const char *search_path)
{
	StringInfoData path;
	List		  *names;
	ListCell	  *cell;

	if (!SplitIdentifierString(pstrdup(search_path), ',', &names))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid list syntax in search_path: \"%s\"", search_path)));
	initStringInfo(&path);
	foreach (cell, names)
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "pg_temp") != 0 && *name != '\0')
			appendStringInfo(&path, "%s, ", quote_identifier(name));
	}
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

/* Compiling folds constants, that is, runs functions: as oneself, or anyone for a superuser. */
void
identity_require(Oid owner)
{
	if (owner != GetUserId() && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to compile an expression or query as another role")));
}

void
identity_assume(const Identity *identity, IdentityBefore *before)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(identity->owner)))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role with OID %u does not exist", identity->owner),
						errdetail("It owns a rule or a source."),
						errhint("Save the rule again, or attach the table again.")));
	GetUserIdAndSecContext(&before->user, &before->security);
	before->guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(identity->owner, before->security | SECURITY_LOCAL_USERID_CHANGE |
												SECURITY_RESTRICTED_OPERATION);
	if (strcmp(namespace_search_path, identity->search_path) != 0)
		(void) set_config_option("search_path", identity->search_path, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

void
identity_restore(const IdentityBefore *before)
{
	/* As after index expressions: no setting the owner's code made outlives it. */
	AtEOXact_GUC(false, before->guc_level);
	SetUserIdAndSecContext(before->user, before->security);
}
