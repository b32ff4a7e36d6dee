/*
 * hooks.c
 *		What notify_pg's processes must learn from statements of others.
 *
 * After: CREATE EXTENSION notify_pg and CREATE DATABASE ask the launcher, at
 * commit, to look for work; COMMIT PREPARED wakes the planner, whose wake-up
 * was forgotten at PREPARE.
 *
 * Before: statements that must be alone (DROP or ALTER EXTENSION notify_pg,
 * DROP SCHEMA notify, DROP or REASSIGN OWNED BY the extension's owner, DROP
 * DATABASE, renaming or moving one, copying one as a template) first stop that
 * database's workers and keep them away until the transaction ends, whichever
 * way it ends.  Only someone who may run the statement gets that
 * far, so that nobody else can stop workers by trying.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "process/hooks.h"
#include "process/shmem.h"
#include "process/worker.h"
#include "ticks.h"

#define QUIET_MS	5000

static ProcessUtility_hook_type previous_utility = NULL;

/* What the end of this transaction has to do. */
static bool quiet_held = false;
static bool probe_here = false;
static bool probe_everywhere = false;

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (quiet_held)
		quiet_end();
	if (quiet_held || (probe_everywhere && event == XACT_EVENT_COMMIT))
		request_probe(InvalidOid);
	else if (probe_here && event == XACT_EVENT_COMMIT)
		request_probe(MyDatabaseId);
	quiet_held = probe_here = probe_everywhere = false;
}

static bool
names(List *objects, const char *name)
{
	ListCell   *lc;

	foreach(lc, objects)
	{
		if (strcmp(strVal(lfirst(lc)), name) == 0)
			return true;
	}
	return false;
}

/* Whether the extension goes with what is dropped. */
static bool
drops_extension(DropStmt *stmt)
{
	if (stmt->removeType == OBJECT_EXTENSION)
		return names(stmt->objects, NOTIFY_EXTENSION);
	return stmt->removeType == OBJECT_SCHEMA && names(stmt->objects, NOTIFY_SCHEMA);
}

/* This database, if the user may drop or alter the extension in it. */
static Oid
extension_database(void)
{
	Oid			extension = get_extension_oid(NOTIFY_EXTENSION, true);

	if (OidIsValid(extension) && compat_owns_extension(extension, GetUserId()))
		return MyDatabaseId;
	return InvalidOid;
}

/* This database, if one of these roles, in whose name the user may act, owns the extension. */
static Oid
owners_database(List *roles)
{
	Oid			extension = get_extension_oid(NOTIFY_EXTENSION, true);
	ListCell   *lc;

	if (!OidIsValid(extension))
		return InvalidOid;
	foreach(lc, roles)
	{
		Oid			role = get_rolespec_oid(lfirst_node(RoleSpec, lc), true);

		if (OidIsValid(role) && has_privs_of_role(GetUserId(), role) &&
			compat_owns_extension(extension, role))
			return MyDatabaseId;
	}
	return InvalidOid;
}

static Oid
owned_database(const char *name)
{
	Oid			database = get_database_oid(name, true);

	if (OidIsValid(database) && compat_owns_database(database, GetUserId()))
		return database;
	return InvalidOid;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/* The database CREATE DATABASE would copy, if it may hold workers. */
static Oid
template_database(CreatedbStmt *stmt)
{
	DefElem    *option = find_option(stmt->options, "template");
	Oid			database;

	if (option == NULL || option->arg == NULL)
		return InvalidOid;
	database = owned_database(defGetString(option));
	if (!OidIsValid(database) || is_template(database))
		return InvalidOid;		/* a template database has no workers */
	return database;
}

/* The database in which this statement must be alone, or InvalidOid. */
static Oid
database_to_quiet(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return owned_database(((DropdbStmt *) stmt)->dbname);
		case T_CreatedbStmt:
			return template_database((CreatedbStmt *) stmt);
		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) stmt)->options, "tablespace"))
				return owned_database(((AlterDatabaseStmt *) stmt)->dbname);
			return InvalidOid;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
				return owned_database(((RenameStmt *) stmt)->subname);
			return InvalidOid;
		case T_AlterExtensionStmt:
			if (strcmp(((AlterExtensionStmt *) stmt)->extname, NOTIFY_EXTENSION) == 0)
				return extension_database();
			return InvalidOid;
		case T_DropStmt:
			return drops_extension((DropStmt *) stmt) ? extension_database() : InvalidOid;
		case T_DropOwnedStmt:
			return owners_database(((DropOwnedStmt *) stmt)->roles);
		case T_ReassignOwnedStmt:
			return owners_database(((ReassignOwnedStmt *) stmt)->roles);
		default:
			return InvalidOid;
	}
}

/* SIGTERM to every worker there; returns how many are still attached. */
static int
stop_workers(Oid database, bool signal)
{
	int			attached = 0;

	for (int i = 1; i < shmem_slot_count(); i++)
	{
		WorkerInfo	info;

		slot_read(i, &info);
		if (info.database != database || info.pid == 0)
			continue;
		attached++;
		if (signal)
			kill(info.pid, SIGTERM);
	}
	return attached;
}

/* No worker there from now to the end of this transaction. */
static void
quiet_database(Oid database)
{
	int64		begin = ticks_ms();
	bool		first = true;

	quiet_held = true;
	if (!quiet_begin(database))
		ereport(WARNING,
				(errmsg("too many transactions keep workers of notify_pg away from databases"),
				 errhint("If the statement fails because of other sessions, try it again.")));
	while (stop_workers(database, first) > 0 &&
		   ticks_ms() - begin < QUIET_MS)
	{
		first = false;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(5000);
	}
}

/* Reset at abort, so it may be noted before the statement has succeeded. */
static void
note_statement(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreateExtensionStmt:
			if (strcmp(((CreateExtensionStmt *) stmt)->extname, NOTIFY_EXTENSION) == 0)
				probe_here = true;
			break;
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			probe_everywhere = true;
			break;
		default:
			break;
	}
}

static bool
is_commit_prepared(Node *stmt)
{
	return IsA(stmt, TransactionStmt) &&
		((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
}

static void
utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *qc)
{
	bool		commit_prepared = is_commit_prepared(pstmt->utilityStmt);
	Oid			database = database_to_quiet(pstmt->utilityStmt);

	if (OidIsValid(database))
		quiet_database(database);
	note_statement(pstmt->utilityStmt);
	if (previous_utility)
		previous_utility(pstmt, query, read_only_tree, context, params,
						 environment, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, dest, qc);
	if (commit_prepared)
	{
		wake_workers(WORKER_PLANNER, MyDatabaseId);
		request_probe(MyDatabaseId);
	}
}

void
hooks_install(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	RegisterXactCallback(at_end_of_transaction, NULL);
}
