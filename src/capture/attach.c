/*
 * attach.c
 *		ALTER TABLE ... ATTACH PARTITION of a table with row triggers of ours.
 *
 * PostgreSQL clones the row triggers of a partitioned table onto what is
 * attached to it, and refuses when one of that name is there.  A table that was
 * followed on its own has one.  So at the start of the command the triggers
 * that would be in the way are dropped; the clones take their place.  If the
 * command fails, the drop is undone with it.
 *
 * Only the owner of the partition gets that far; anyone else is refused as the
 * command itself would.  Locks are those of the command, in its order: the
 * partitioned table first.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(notify_before_attach);

/* Row triggers of these functions are ours. */
static const char *const trigger_functions[] = {"capture", "_sync_recipient"};

static Oid
trigger_function(int number)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum(trigger_functions[number]),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(get_namespace_oid("notify", true)));
}

/* A row trigger of this function that is no clone, or InvalidOid. */
static Oid
own_trigger(Relation relation, Oid function)
{
	TriggerDesc *triggers = relation->trigdesc;
	int			 i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgfoid == function && !triggers->triggers[i].tgisclone &&
			TRIGGER_FOR_ROW(triggers->triggers[i].tgtype))
			return triggers->triggers[i].tgoid;
	return InvalidOid;
}

static bool
has_row_trigger(Relation relation, Oid function)
{
	TriggerDesc *triggers = relation->trigdesc;
	int			 i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgfoid == function &&
			TRIGGER_FOR_ROW(triggers->triggers[i].tgtype))
			return true;
	return false;
}

static void
drop_own_trigger(Oid relid, Oid function)
{
	Relation	  relation = table_open(relid, AccessExclusiveLock);
	ObjectAddress object = {TriggerRelationId, own_trigger(relation, function), 0};

	table_close(relation, NoLock);
	if (OidIsValid(object.objectId))
		performDeletion(&object, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
}

/* On the partition and everything below it; dropping one drops its clones. */
static void
make_room(RangeVar *name, Oid function)
{
	Oid		  partition = RangeVarGetRelidExtended(name, AccessExclusiveLock, RVR_MISSING_OK,
												   RangeVarCallbackOwnsRelation, NULL);
	ListCell *cell;

	if (!OidIsValid(partition))
		return;
	foreach (cell, find_all_inheritors(partition, AccessExclusiveLock, NULL))
		drop_own_trigger(lfirst_oid(cell), function);
}

static void
before_attach(RangeVar *parent_name, RangeVar *partition_name)
{
	Oid		 parent_oid = RangeVarGetRelid(parent_name, AccessShareLock, true);
	Relation parent;
	int		 i;

	if (!OidIsValid(parent_oid))
		return;
	parent = relation_open(parent_oid, NoLock);
	for (i = 0; i < lengthof(trigger_functions); i++)
	{
		Oid function = trigger_function(i);

		if (OidIsValid(function) && has_row_trigger(parent, function))
			make_room(partition_name, function);
	}
	relation_close(parent, NoLock);
}

/* notify._before_attach(): event trigger at ddl_command_start of ALTER TABLE. */
Datum
notify_before_attach(PG_FUNCTION_ARGS)
{
	Node	 *statement;
	ListCell *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("notify._before_attach() must be called as an event trigger")));
	statement = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (!IsA(statement, AlterTableStmt))
		PG_RETURN_NULL();
	foreach (cell, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_AttachPartition && IsA(command->def, PartitionCmd))
			before_attach(((AlterTableStmt *) statement)->relation,
						  ((PartitionCmd *) command->def)->name);
	}
	PG_RETURN_NULL();
}
