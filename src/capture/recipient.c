/*
 * recipient.c
 *		The triggers that keep notify.recipient in step with a users table.
 *
 * The row trigger reads the columns notify.recipient_source names, and nothing
 * else: a wide column beside them is not even detoasted.  An UPDATE that leaves
 * them as they were costs no SQL.  What changed goes, as jsonb, to SQL functions
 * that run as the extension's owner and touch only the extension's tables: values
 * are read (and types' casts and output functions run) as the writer, before.
 *
 * What the table maps to is looked up once per statement and kept in the
 * FmgrInfo of the trigger, which lives no longer than that.
 *
 * Rows of a statement are saved up and handed over many at a time, the last of
 * them by the statement trigger, which fires after the row triggers.  Only if
 * nothing can come between: not on a partition (a statement that names it fires
 * no trigger of the partitioned table) and not beside row triggers of others
 * (they might write the same row, or roll back to a savepoint).  So whatever is
 * found saved up in another (sub)transaction is from one that aborted.
 *
 * Beside triggers of others an event may be older than the row: one of them has
 * written it again, in this transaction, before we were called.  Then the row is
 * taken as it is now, and all of it as changed.
 *
 * A row that moves between partitions comes as a DELETE and then an INSERT.
 * The DELETE must not erase the person, so it is put by and makes an UPDATE of
 * the INSERT that follows, made by the same command.  When what comes next at the
 * same level is something else (a BEFORE INSERT trigger of the other partition
 * said no), it was a DELETE after all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "capture/identity.h"
#include "capture/names.h"
#include "capture/payload.h"

PG_FUNCTION_INFO_V1(notify_sync_recipient);

/* What a statement's trigger knows of its table. */
typedef struct Sync
{
	Oid		 source;  /* the attached table, or InvalidOid: it is attached no more */
	Payload *payload; /* the mapped columns; the key is the id column */
	int		 count;	  /* of them */
	char	*id;	  /* the id column's name */
	bool	 alone;	  /* rows may be saved up */
} Sync;

/* Where something was kept: it is good there only. */
typedef struct Place
{
	TransactionId	 xid; /* invalid: nothing is kept */
	SubTransactionId part;
	Oid				 source;
} Place;

/* The row of a DELETE that was the first half of a move. */
typedef struct Move
{
	Place	  place;
	CommandId command;
	int		  depth; /* of triggers in each other */
	Jsonb	 *old;	 /* in TopTransactionContext */
} Move;

#define BATCH_ROWS 500
#define BATCH_BYTES (4 * 1024 * 1024)

/* Rows saved up, as jsonb. */
typedef struct Batch
{
	Place		  place;
	MemoryContext context; /* below TopTransactionContext */
	int			  count;
	Size		  size;
	Datum		  new[BATCH_ROWS];
	Datum		  old[BATCH_ROWS];
	bool		  no_old[BATCH_ROWS];
} Batch;

static Move	 moved = {{InvalidTransactionId}};
static Batch batch = {{InvalidTransactionId}};

static SPIPlanPtr people_plan = NULL;
static SPIPlanPtr source_plan = NULL;
static SPIPlanPtr person_plan = NULL;

static TriggerData *
called_as_sync_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *call = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(call->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("notify._sync_recipient() must be called as an AFTER trigger"),
				 errhint("Use notify.attach_recipients() to create it.")));
	return call;
}

/* From here to finish_as_owner() SQL runs as the owner of the extension's tables. */
static void
begin_as_owner(IdentityBefore *before)
{
	Identity identity = {InvalidOid, "pg_catalog, pg_temp"};
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(names_lookup("recipient_source")));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"notify.recipient_source\" does not exist"),
						errhint("Drop the trigger, or create extension notify_pg.")));
	identity.owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	identity_assume(&identity, before);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
finish_as_owner(const IdentityBefore *before)
{
	SPI_finish();
	identity_restore(before);
}

static void
run(SPIPlanPtr *plan, const char *query, int count, Oid *types, Datum *values, const char *nulls)
{
	int result;

	if (*plan == NULL)
	{
		*plan = SPI_prepare(query, count, types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	}
	result = SPI_execute_plan(*plan, values, nulls, false, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
}

/* The names in a text[], in the current memory context. */
static List *
names_in(Datum array)
{
	Datum *elements;
	int	   count;
	int	   i;
	List  *names = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &count);
	for (i = 0; i < count; i++)
		names = lappend(names, TextDatumGetCString(elements[i]));
	return names;
}

/* Are all row triggers after a change ours, or foreign keys'? */
static bool
is_alone(Relation relation, Oid self)
{
	TriggerDesc *triggers = relation->trigdesc;
	int			 i;

	if (relation->rd_rel->relispartition)
		return false;
	for (i = 0; i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			!trigger->tgisinternal && trigger->tgfoid != self &&
			strncmp(trigger->tgname, "notify_", 7) != 0)
			return false;
	}
	return true;
}

static void
read_source(Sync *sync, Relation relation, MemoryContext context)
{
	Oid			  types[] = {OIDOID};
	Datum		  values[] = {ObjectIdGetDatum(RelationGetRelid(relation))};
	MemoryContext before = CurrentMemoryContext;
	HeapTuple	  row;
	TupleDesc	  shape;
	bool		  isnull;
	List		 *id;
	List		 *columns;

	run(&source_plan, "SELECT s.source, s.id, s.columns FROM notify._recipient_source_of($1) AS s", 1,
		types, values, NULL);
	if (SPI_processed == 0)
		return;
	row = SPI_tuptable->vals[0];
	shape = SPI_tuptable->tupdesc;
	MemoryContextSwitchTo(context);
	sync->source = DatumGetObjectId(SPI_getbinval(row, shape, 1, &isnull));
	id = list_make1(TextDatumGetCString(SPI_getbinval(row, shape, 2, &isnull)));
	columns = names_in(SPI_getbinval(row, shape, 3, &isnull));
	sync->payload = payload_prepare(relation, id, columns);
	sync->count = list_length(columns);
	sync->id = linitial(id);
	MemoryContextSwitchTo(before);
}

static Sync *
sync_of(FmgrInfo *function, Relation relation)
{
	Sync		  *sync = function->fn_extra;
	IdentityBefore before;

	if (sync == NULL)
	{
		sync = MemoryContextAllocZero(function->fn_mcxt, sizeof(Sync));
		begin_as_owner(&before);
		read_source(sync, relation, function->fn_mcxt);
		finish_as_owner(&before);
		sync->alone = is_alone(relation, function->fn_oid);
		function->fn_extra = sync;
	}
	return sync;
}

static void
sync_person(const Sync *sync, const Image *image)
{
	Oid			   types[] = {OIDOID, JSONBOID, JSONBOID, BOOLOID, BOOLOID};
	Datum		   values[5];
	char		   nulls[] = "     ";
	bool		   incomplete = image->new != NULL && JB_ROOT_COUNT(image->new) < sync->count;
	IdentityBefore before;

	values[0] = ObjectIdGetDatum(sync->source);
	values[1] = JsonbPGetDatum(image->new);
	values[2] = JsonbPGetDatum(image->old);
	values[3] = BoolGetDatum(incomplete);
	values[4] = BoolGetDatum(image->truncated);
	nulls[1] = image->new == NULL ? 'n' : ' ';
	nulls[2] = image->old == NULL ? 'n' : ' ';
	begin_as_owner(&before);
	run(&person_plan, "SELECT notify._sync_person($1, $2, $3, $4, $5)", 5, types, values, nulls);
	finish_as_owner(&before);
}

static bool
is_here(const Place *place, const Sync *sync)
{
	return TransactionIdIsValid(place->xid) && place->xid == GetTopTransactionIdIfAny() &&
		   place->part == GetCurrentSubTransactionId() && place->source == sync->source;
}

static void
set_here(Place *place, const Sync *sync)
{
	place->xid = GetTopTransactionIdIfAny();
	place->part = GetCurrentSubTransactionId();
	place->source = sync->source;
}

static bool
is_moved(const TriggerData *call)
{
	return TRIGGER_FIRED_BY_DELETE(call->tg_event) &&
		   HeapTupleHeaderIndicatesMovedPartitions(call->tg_trigtuple->t_data);
}

static int
trigger_depth(void)
{
	return DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH));
}

static void
put_by(const Sync *sync, const TriggerData *call, const Image *image)
{
	MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);

	moved.old = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(image->old));
	moved.command = HeapTupleHeaderGetCmax(call->tg_trigtuple->t_data);
	moved.depth = trigger_depth();
	set_here(&moved.place, sync);
	MemoryContextSwitchTo(before);
}

/* The first half of the move that this INSERT ends, or NULL; used up by the call. */
static Jsonb *
take_up(const Sync *sync, const TriggerData *call)
{
	if (!is_here(&moved.place, sync) || !TRIGGER_FIRED_BY_INSERT(call->tg_event) ||
		HeapTupleHeaderGetCmin(call->tg_trigtuple->t_data) != moved.command)
		return NULL;
	moved.place.xid = InvalidTransactionId;
	return moved.old;
}

/* A row put by whose second half did not come: it was deleted after all. */
static void
end_move(const Sync *sync)
{
	Image gone = {NULL};

	if (!is_here(&moved.place, sync) || trigger_depth() > moved.depth)
		return;
	moved.place.xid = InvalidTransactionId;
	gone.old = moved.old;
	sync_person(sync, &gone);
}

static Datum
jsonb_array(Datum *values, bool *nulls)
{
	int size = batch.count;
	int low = 1;

	return PointerGetDatum(
		construct_md_array(values, nulls, 1, &size, &low, JSONBOID, -1, false, TYPALIGN_INT));
}

/* Hands over what is saved up. */
static void
flush_batch(const Sync *sync)
{
	Oid			   types[] = {OIDOID, JSONBARRAYOID, JSONBARRAYOID};
	Datum		   values[3];
	IdentityBefore before;

	if (!is_here(&batch.place, sync))
		return;
	values[0] = ObjectIdGetDatum(sync->source);
	values[1] = jsonb_array(batch.new, NULL);
	values[2] = jsonb_array(batch.old, batch.no_old);
	batch.place.xid = InvalidTransactionId;
	MemoryContextDelete(batch.context);
	begin_as_owner(&before);
	run(&people_plan, "SELECT notify._sync_people($1, $2, $3)", 3, types, values, NULL);
	finish_as_owner(&before);
}

/* What can wait: the same person as before, and nothing amiss with the row. */
static bool
can_wait(const Sync *sync, const Image *image)
{
	JsonbValue key;

	if (!sync->alone || image->new == NULL || image->truncated ||
		JB_ROOT_COUNT(image->new) < sync->count)
		return false;
	if (image->old == NULL)
		return true;
	key.type = jbvString;
	key.val.string.val = sync->id;
	key.val.string.len = strlen(sync->id);
	return findJsonbValueFromContainer(&image->old->root, JB_FOBJECT, &key) == NULL;
}

static void
add_to_batch(const Sync *sync, const Image *image)
{
	MemoryContext before;

	if (!is_here(&batch.place, sync))
	{
		batch.count = 0;
		batch.size = 0;
		batch.context = AllocSetContextCreate(TopTransactionContext, "notify_pg recipients",
											  ALLOCSET_DEFAULT_SIZES);
		set_here(&batch.place, sync);
	}
	before = MemoryContextSwitchTo(batch.context);
	batch.new[batch.count] = PointerGetDatum(PG_DETOAST_DATUM_COPY(JsonbPGetDatum(image->new)));
	batch.no_old[batch.count] = image->old == NULL;
	batch.old[batch.count] = (Datum) 0;
	if (image->old != NULL)
		batch.old[batch.count] = PointerGetDatum(PG_DETOAST_DATUM_COPY(JsonbPGetDatum(image->old)));
	batch.size += VARSIZE(image->new);
	batch.count++;
	MemoryContextSwitchTo(before);
	if (batch.count == BATCH_ROWS || batch.size > BATCH_BYTES)
		flush_batch(sync);
}

/* The row as it is now, or NULL: it is the one in the slot, or gone (a DELETE will say so). */
static TupleTableSlot *
newer_version(const TriggerData *call, TupleTableSlot *row)
{
	HeapTuple		tuple = ExecFetchSlotHeapTuple(row, false, NULL);
	ItemPointerData tid = tuple->t_self;
	TableScanDesc	scan;
	TupleTableSlot *newer;

	if ((tuple->t_data->t_infomask & HEAP_XMAX_INVALID) ||
		HEAP_XMAX_IS_LOCKED_ONLY(tuple->t_data->t_infomask))
		return NULL;
	scan = table_beginscan_tid(call->tg_relation, SnapshotSelf);
	table_tuple_get_latest_tid(scan, &tid);
	table_endscan(scan);
	if (ItemPointerEquals(&tid, &tuple->t_self))
		return NULL;
	newer = table_slot_create(call->tg_relation, NULL);
	if (table_tuple_fetch_row_version(call->tg_relation, &tid, SnapshotSelf, newer))
		return newer;
	ExecDropSingleTupleTableSlot(newer);
	return NULL;
}

/* What changed in a row that was written again since: everything, as far as we know. */
static void
build_newer(const Sync *sync, TupleTableSlot *newer, TupleTableSlot *old, Image *image)
{
	Image before;

	payload_build(sync->payload, newer, NULL, image);
	if (old != NULL)
	{
		payload_build(sync->payload, NULL, old, &before);
		image->old = before.old;
		image->truncated |= before.truncated;
	}
	ExecDropSingleTupleTableSlot(newer);
}

static void
build_image(const Sync *sync, const TriggerData *call, Image *image)
{
	bool			inserted = TRIGGER_FIRED_BY_INSERT(call->tg_event);
	TupleTableSlot *new = inserted ? call->tg_trigslot : call->tg_newslot;
	TupleTableSlot *old = inserted ? NULL : call->tg_trigslot;
	TupleTableSlot *newer = NULL;
	Jsonb		   *before = take_up(sync, call);

	if (TRIGGER_FIRED_BY_DELETE(call->tg_event))
		new = NULL;
	else if (!sync->alone)
		newer = newer_version(call, new);
	if (newer != NULL)
		build_newer(sync, newer, old, image);
	else
		payload_build(sync->payload, new, old, image);
	if (inserted)
		image->old = before;
	if (before == NULL)
		end_move(sync);
}

/* An UPDATE that changed none of the mapped columns. */
static bool
is_same(const Image *image)
{
	return image->new != NULL && image->old != NULL && !image->truncated &&
		   JB_ROOT_COUNT(image->old) == 0;
}

static void
follow(const Sync *sync, const TriggerData *call)
{
	Image image;

	build_image(sync, call, &image);
	if (is_same(&image))
		return;
	if (can_wait(sync, &image))
	{
		add_to_batch(sync, &image);
		return;
	}
	flush_batch(sync);
	if (is_moved(call))
		put_by(sync, call, &image);
	else
		sync_person(sync, &image);
}

Datum
notify_sync_recipient(PG_FUNCTION_ARGS)
{
	TriggerData *call = called_as_sync_trigger(fcinfo);
	Sync		*sync = sync_of(fcinfo->flinfo, call->tg_relation);

	if (!OidIsValid(sync->source))
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_FOR_ROW(call->tg_event))
		follow(sync, call);
	else
	{
		flush_batch(sync);
		end_move(sync);
	}
	return PointerGetDatum(NULL);
}
