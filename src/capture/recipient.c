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
 * nothing of others' can come between: not on a partition or in a family of
 * inheritance (a statement fires the statement triggers of the table it names
 * alone), not beside row triggers of others nor statement triggers that go first
 * (they might write the same row, or roll back to a savepoint), and not where
 * logical replication is applied, which fires no statement triggers.  So whatever
 * is found saved up in another (sub)transaction is from one that aborted.  What
 * foreign keys do to the same table may still come between, and another table
 * that is followed: what is saved up is handed over before.
 *
 * Beside triggers of others an event may be older than the row: one of them has
 * written it again, in this transaction, before we were called.  Then the row is
 * taken as it is now, and all of it as changed; or it was deleted, and what its
 * DELETE did must not be undone.
 *
 * A row that moves between partitions comes as a DELETE and then an INSERT.
 * The DELETE must not erase the person, so it is put by and makes an UPDATE of
 * the INSERT that follows: the one of the same command, or where there is doubt
 * (partner.c), and where replication applies them, the one with the same id.
 * When what comes next at the same level is something else, or nothing before
 * the transaction ends, it was a DELETE after all.
 *
 * TRUNCATE is refused, or erases whom the table holds, or is noted, as the source
 * says.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "capture/identity.h"
#include "capture/move.h"
#include "capture/names.h"
#include "capture/partner.h"
#include "capture/payload.h"

PG_FUNCTION_INFO_V1(notify_sync_recipient);

/* What a statement's trigger knows of its table. */
typedef struct Sync
{
	Oid		 source;  /* the attached table, or InvalidOid: it is attached no more */
	Payload *payload; /* the mapped columns; the key is the id column */
	int		 count;	  /* of them */
	char	*id;	  /* the id column's name */
	const char *on_truncate;
	bool	 alone;	  /* rows may be saved up */
} Sync;

/* Where something was kept: it is good there only. */
typedef struct Place
{
	TransactionId	 xid; /* invalid: nothing is kept */
	SubTransactionId part;
	Oid				 source;
} Place;

/* The row of a DELETE that may be the first half of a move. */
typedef struct Move
{
	Place	  place;
	Oid		  relid;   /* it left this */
	CommandId command; /* of an INSERT that belongs to it */
	bool	  applied; /* by logical replication: any command */
	int		  depth;   /* of triggers in each other */
	char	 *id;	   /* this and the next in TopTransactionContext */
	Jsonb	 *old;
} Move;

#define STATEMENT_TRIGGER "00_notify_sync_recipients"
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
static SPIPlanPtr problem_plan = NULL;

/* AFTER, or BEFORE TRUNCATE. */
static TriggerData *
called_as_sync_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *call = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(call->tg_event) != TRIGGER_FIRED_BY_TRUNCATE(call->tg_event))
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

/* Of this extension, or a foreign key's? */
static bool
is_ours(const Trigger *trigger)
{
	return trigger->tgisinternal ||
		   get_func_namespace(trigger->tgfoid) == get_namespace_oid("notify", true);
}

/* Does a trigger of others come between our row trigger and our statement trigger? */
static bool
comes_between(const Trigger *trigger)
{
	if (!TRIGGER_FOR_AFTER(trigger->tgtype) || is_ours(trigger))
		return false;
	return TRIGGER_FOR_ROW(trigger->tgtype) ||
		   strcmp(trigger->tgname, STATEMENT_TRIGGER) < 0;
}

/* May rows be saved up until the statement trigger? */
static bool
is_alone(Relation relation, const Sync *sync)
{
	TriggerDesc *triggers = relation->trigdesc;
	int			 i;

	if (sync->source != RelationGetRelid(relation) || relation->rd_rel->relispartition ||
		relation->rd_rel->relhassubclass || IsLogicalWorker())
		return false;
	for (i = 0; i < triggers->numtriggers; i++)
		if (comes_between(&triggers->triggers[i]))
			return false;
	return true;
}

/* Of the row just read; NULL too when an earlier release's function has no such column. */
static Datum
source_column(const char *name, bool *isnull)
{
	int number = SPI_fnumber(SPI_tuptable->tupdesc, name);

	*isnull = true;
	return number <= 0 ? (Datum) 0 :
						 SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, isnull);
}

static void
read_source(Sync *sync, Relation relation, MemoryContext context)
{
	Oid			  types[] = {OIDOID};
	Datum		  values[] = {ObjectIdGetDatum(RelationGetRelid(relation))};
	MemoryContext before = CurrentMemoryContext;
	bool		  isnull;
	Datum		  on_truncate;
	List		 *id;
	List		 *columns;

	run(&source_plan, "SELECT s.* FROM notify._recipient_source_of($1) AS s", 1, types, values, NULL);
	if (SPI_processed == 0)
		return;
	MemoryContextSwitchTo(context);
	sync->source = DatumGetObjectId(source_column("source", &isnull));
	id = list_make1(TextDatumGetCString(source_column("id", &isnull)));
	columns = names_in(source_column("columns", &isnull));
	on_truncate = source_column("on_truncate", &isnull);
	sync->on_truncate = isnull ? "record" : TextDatumGetCString(on_truncate);
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
		sync->alone = is_alone(relation, sync);
		function->fn_extra = sync;
	}
	return sync;
}

static void
sync_person(Oid source, const Image *image, bool incomplete)
{
	Oid			   types[] = {OIDOID, JSONBOID, JSONBOID, BOOLOID, BOOLOID};
	Datum		   values[5];
	char		   nulls[] = "     ";
	IdentityBefore before;

	values[0] = ObjectIdGetDatum(source);
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

/* Is something kept that this (sub)transaction saw? */
static bool
is_kept(const Place *place)
{
	return TransactionIdIsValid(place->xid) && place->xid == GetTopTransactionIdIfAny() &&
		   place->part == GetCurrentSubTransactionId();
}

static void
set_here(Place *place, const Sync *sync)
{
	place->xid = GetTopTransactionIdIfAny();
	place->part = GetCurrentSubTransactionId();
	place->source = sync->source;
}

static int
trigger_depth(void)
{
	return DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH));
}

/* The row put by was deleted after all. */
static void
end_move(void)
{
	Image gone = {NULL};

	moved.place.xid = InvalidTransactionId;
	gone.old = moved.old;
	sync_person(moved.place.source, &gone, false);
}

/* The same, unless it belongs to triggers that go on after this one. */
static void
end_move_here(void)
{
	if (is_kept(&moved.place) && trigger_depth() <= moved.depth)
		end_move();
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
flush_batch(void)
{
	Oid			   types[] = {OIDOID, JSONBARRAYOID, JSONBARRAYOID};
	Datum		   values[3];
	IdentityBefore before;

	if (!is_kept(&batch.place))
		return;
	values[0] = ObjectIdGetDatum(batch.place.source);
	values[1] = jsonb_array(batch.new, NULL);
	values[2] = jsonb_array(batch.old, batch.no_old);
	batch.place.xid = InvalidTransactionId;
	MemoryContextDelete(batch.context);
	begin_as_owner(&before);
	run(&people_plan, "SELECT notify._sync_people($1, $2, $3)", 3, types, values, NULL);
	finish_as_owner(&before);
}

/* A row put by as the last of a transaction that replication applies. */
static void
transaction_event(XactEvent event, void *arg)
{
	if ((event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE) ||
		!is_kept(&moved.place))
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	end_move();
	PopActiveSnapshot();
}

static void
follow_transactions(void)
{
	static bool following = false;

	if (!following)
		RegisterXactCallback(transaction_event, NULL);
	following = true;
}

static void
put_by(const Sync *sync, const TriggerData *call, const Image *image)
{
	HeapTupleHeader header = call->tg_trigtuple->t_data;
	MemoryContext	before = MemoryContextSwitchTo(TopTransactionContext);

	follow_transactions();
	moved.old = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(image->old));
	moved.id = pstrdup(image->key ? image->key : "");
	moved.relid = RelationGetRelid(call->tg_relation);
	moved.command = HeapTupleHeaderGetCmax(header);
	moved.applied = !HeapTupleHeaderIndicatesMovedPartitions(header);
	moved.depth = trigger_depth();
	set_here(&moved.place, sync);
	MemoryContextSwitchTo(before);
}

/* Is this INSERT the other half of the row put by? */
static bool
is_partner(const Sync *sync, const TriggerData *call, const Image *image)
{
	bool same_id;

	if (!is_kept(&moved.place) || moved.place.source != sync->source ||
		!TRIGGER_FIRED_BY_INSERT(call->tg_event) || image->key == NULL)
		return false;
	same_id = strcmp(image->key, moved.id) == 0;
	if (moved.applied)
		return same_id && moved.relid != RelationGetRelid(call->tg_relation);
	return moved.command == HeapTupleHeaderGetCmin(call->tg_trigtuple->t_data) &&
		   (same_id || partner_is_certain(call->tg_relation));
}

/* With the row put by, if there is one: makes the image an UPDATE, or ends the move. */
static void
take_up(const Sync *sync, const TriggerData *call, Image *image)
{
	if (!is_partner(sync, call, image))
	{
		end_move_here();
		return;
	}
	moved.place.xid = InvalidTransactionId;
	image->old = moved.old;
}

/* Of what changed, the id too? */
static bool
has_id(const Sync *sync, const Jsonb *image)
{
	JsonbValue key;

	key.type = jbvString;
	key.val.string.val = sync->id;
	key.val.string.len = strlen(sync->id);
	return findJsonbValueFromContainer(unconstify(JsonbContainer *, &image->root), JB_FOBJECT,
									   &key) != NULL;
}

/* What can wait: the same person as before, and nothing amiss with the row. */
static bool
can_wait(const Sync *sync, const Image *image)
{
	return sync->alone && image->new != NULL && !image->truncated &&
		   JB_ROOT_COUNT(image->new) == sync->count &&
		   (image->old == NULL || !has_id(sync, image->old));
}

static void
begin_batch(const Sync *sync)
{
	flush_batch();
	batch.count = 0;
	batch.size = 0;
	batch.context = AllocSetContextCreate(TopTransactionContext, "notify_pg recipients",
										  ALLOCSET_DEFAULT_SIZES);
	set_here(&batch.place, sync);
}

static void
add_to_batch(const Sync *sync, const Image *image)
{
	MemoryContext before;

	if (!is_kept(&batch.place) || batch.place.source != sync->source)
		begin_batch(sync);
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
		flush_batch();
}

/* The row as it is now: NULL if it is the one in the slot; gone: it is not there any more. */
static TupleTableSlot *
newer_version(const TriggerData *call, TupleTableSlot *row, bool *gone)
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
	newer = table_slot_create(call->tg_relation, NULL);
	*gone = !table_tuple_fetch_row_version(call->tg_relation, &tid, SnapshotSelf, newer);
	if (!*gone && !ItemPointerEquals(&tid, &tuple->t_self))
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

/* Returns false if there is nothing to follow: the row is gone, and its DELETE says so. */
static bool
build_image(const Sync *sync, const TriggerData *call, Image *image)
{
	bool			inserted = TRIGGER_FIRED_BY_INSERT(call->tg_event);
	bool			gone = false;
	TupleTableSlot *new = inserted ? call->tg_trigslot : call->tg_newslot;
	TupleTableSlot *old = inserted ? NULL : call->tg_trigslot;
	TupleTableSlot *newer = NULL;

	if (TRIGGER_FIRED_BY_DELETE(call->tg_event))
		new = NULL;
	else if (!sync->alone)
		newer = newer_version(call, new, &gone);
	if (newer != NULL)
		build_newer(sync, newer, old, image);
	else
		payload_build(sync->payload, new, old, image);
	if (gone)
		image->new = NULL;
	return !gone || (old != NULL && has_id(sync, image->old));
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

	if (!build_image(sync, call, &image))
		return;
	take_up(sync, call, &image);
	if (is_same(&image))
		return;
	if (can_wait(sync, &image))
	{
		add_to_batch(sync, &image);
		return;
	}
	flush_batch();
	if (move_is_first_half(call))
		put_by(sync, call, &image);
	else
		sync_person(sync->source, &image,
					image.new != NULL && JB_ROOT_COUNT(image.new) < sync->count);
}

/* Everybody in this relation, itself without those below it, which have triggers of their own. */
static void
erase_all(const Sync *sync, Relation relation)
{
	Snapshot		snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *row = table_slot_create(relation, NULL);
	TableScanDesc	scan = table_beginscan(relation, snapshot, 0, NULL);
	MemoryContext	context =
		AllocSetContextCreate(CurrentMemoryContext, "notify_pg truncated row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		Image gone;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		payload_build(sync->payload, NULL, row, &gone);
		sync_person(sync->source, &gone, false);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	UnregisterSnapshot(snapshot);
}

static void
note_truncate(const Sync *sync, Relation relation)
{
	Oid			   types[] = {OIDOID, TEXTOID};
	Datum		   values[2];
	IdentityBefore before;

	values[0] = ObjectIdGetDatum(sync->source);
	values[1] = CStringGetTextDatum(
		psprintf("table %s was truncated: the people it held are still here",
				 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											RelationGetRelationName(relation))));
	begin_as_owner(&before);
	run(&problem_plan, "SELECT notify._note_source_problem($1, $2)", 2, types, values, NULL);
	finish_as_owner(&before);
}

static void
follow_truncate(const Sync *sync, Relation relation)
{
	if (strcmp(sync->on_truncate, "refuse") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESTRICT_VIOLATION),
				 errmsg("cannot truncate table \"%s\"", RelationGetRelationName(relation)),
				 errdetail("Recipients of notify_pg follow it with on_truncate = 'refuse'."),
				 errhint("Use DELETE, which erases each person, or set on_truncate to 'record' or "
						 "'erase' in notify.recipient_source.")));
	if (strcmp(sync->on_truncate, "erase") != 0)
		note_truncate(sync, relation);
	else if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		erase_all(sync, relation);
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
		flush_batch();
		end_move_here();
		if (TRIGGER_FIRED_BY_TRUNCATE(call->tg_event))
			follow_truncate(sync, call->tg_relation);
	}
	return PointerGetDatum(NULL);
}
