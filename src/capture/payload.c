/*
 * payload.c
 *		Rows as jsonb and keys as text.
 *
 * Prepared once per relation: the columns an event may hold, in the order jsonb
 * keeps its keys, so that building an object sorts nothing.
 *
 * Columns fail closed.  A list of excluded columns that names one the table does
 * not have (it was renamed, say) lets nothing but the key into events, marked as
 * truncated: better little data than a leaked column.
 *
 * A row is written only as far as it fits notify_pg.event_row_limit, judged by
 * the stored sizes before anything is detoasted; beyond it, key columns only.
 * A column whose conversion raises (or computation, when it is a virtual one) is
 * left out, and the image is marked truncated: the business statement goes on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "capture/attempt.h"
#include "capture/column.h"
#include "capture/payload.h"
#include "capture/virtual.h"
#include "guc.h"
#include "splice.h"

/* A jsonb string or object cannot be longer, whatever the setting says. */
#define IMAGE_MAX_SIZE ((Size) 200 * 1024 * 1024)

typedef struct Field
{
	Column	   column;
	bool	   is_key;
	bool	   is_virtual;
	ExprState *generation; /* computes it, when it is virtual; NULL: that cannot be done */
} Field;

struct Payload
{
	int			 count; /* columns wanted, in jsonb's key order */
	Field		*fields;
	int			 key_count; /* in the order the source names them */
	Field		*keys;
	bool		 incomplete; /* failed closed: key columns only */
	bool		 whole;		 /* every column is wanted */
	bool		 safe;		 /* nothing here can raise */
	ExprContext *econtext;	 /* what virtual columns are computed in */
};

/* A virtual column on its way to be computed. */
typedef struct Preparation
{
	Relation	  relation;
	MemoryContext context; /* the payload's */
	Field		 *field;
} Preparation;

/* One image of one row on its way to jsonb. */
typedef struct Build
{
	Payload		   *payload;
	TupleTableSlot *row;
	TupleTableSlot *other; /* leave out columns that are the same here */
	bool			keys_only;
	Splice			image;
	Field		   *field; /* for write_one */
	Jsonb		   *result;
	char		   *key;
} Build;

static bool
is_named(List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

static bool
is_excluded(List *columns, const char *name)
{
	ListCell *cell;

	foreach (cell, columns)
		if (strcmp((char *) lfirst(cell) + 1, name) == 0)
			return true;
	return false;
}

static bool
is_exclusion(List *columns)
{
	return columns != NIL && *(char *) linitial(columns) == '-';
}

static bool
is_wanted(List *columns, const char *name)
{
	if (columns == NIL)
		return true;
	return is_exclusion(columns) ? !is_excluded(columns, name) : is_named(columns, name);
}

static Form_pg_attribute
find_attribute(TupleDesc row, const char *name)
{
	int i;

	for (i = 0; i < row->natts; i++)
		if (!TupleDescAttr(row, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(row, i)->attname), name) == 0)
			return TupleDescAttr(row, i);
	return NULL;
}

static bool
excludes_unknown(List *columns, TupleDesc row)
{
	ListCell *cell;

	if (!is_exclusion(columns))
		return false;
	foreach (cell, columns)
		if (find_attribute(row, (char *) lfirst(cell) + 1) == NULL)
			return true;
	return false;
}

/* jsonb orders keys by length, then by bytes. */
static int
compare_names(const void *a, const void *b)
{
	const Column *one = &((const Field *) a)->column;
	const Column *other = &((const Field *) b)->column;

	if (one->name_length != other->name_length)
		return one->name_length - other->name_length;
	return memcmp(one->name, other->name, one->name_length);
}

static void
prepare_generation(void *arg)
{
	Preparation	 *preparation = arg;
	MemoryContext before = MemoryContextSwitchTo(preparation->context);

	preparation->field->generation =
		virtual_prepare(preparation->relation, preparation->field->column.attno);
	MemoryContextSwitchTo(before);
}

static void
prepare_field(Payload *payload, Relation relation, Form_pg_attribute attribute, Field *field)
{
	Preparation preparation = {relation, CurrentMemoryContext, field};

	column_prepare(&field->column, attribute);
	field->is_virtual = virtual_column(attribute);
	if (field->is_virtual)
	{
		(void) attempt(prepare_generation, &preparation);
		if (payload->econtext == NULL)
			payload->econtext = CreateStandaloneExprContext();
	}
	payload->safe &= field->column.safe && !field->is_virtual;
}

static void
prepare_fields(Payload *payload, Relation relation, List *key, List *columns)
{
	TupleDesc row = RelationGetDescr(relation);
	int		  i;

	payload->fields = palloc0(Max(row->natts, 1) * sizeof(Field));
	payload->whole = true;
	for (i = 0; i < row->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row, i);
		const char		 *name = NameStr(attribute->attname);
		Field			 *field = &payload->fields[payload->count];

		if (attribute->attisdropped)
			continue;
		if (!is_wanted(columns, name))
		{
			payload->whole = false;
			continue;
		}
		prepare_field(payload, relation, attribute, field);
		field->is_key = is_named(key, name);
		payload->count++;
	}
	qsort(payload->fields, payload->count, sizeof(Field), compare_names);
}

static void
prepare_keys(Payload *payload, Relation relation, List *key)
{
	ListCell *cell;

	payload->keys = palloc0(Max(list_length(key), 1) * sizeof(Field));
	foreach (cell, key)
	{
		Form_pg_attribute attribute = find_attribute(RelationGetDescr(relation), lfirst(cell));

		if (attribute != NULL)
			prepare_field(payload, relation, attribute, &payload->keys[payload->key_count++]);
	}
}

Payload *
payload_prepare(Relation relation, List *key, List *columns)
{
	Payload *payload = palloc0(sizeof(Payload));

	payload->safe = true;
	payload->incomplete = excludes_unknown(columns, RelationGetDescr(relation));
	prepare_fields(payload, relation, key, columns);
	prepare_keys(payload, relation, key);
	return payload;
}

/* InvalidAttrNumber asks for all of them. */
bool
payload_holds(const Payload *payload, AttrNumber attno)
{
	int i;

	if (payload->incomplete)
		return false;
	if (attno == InvalidAttrNumber)
		return payload->whole;
	for (i = 0; i < payload->count; i++)
		if (payload->fields[i].column.attno == attno)
			return true;
	return false;
}

bool
payload_is_key(const Payload *payload, AttrNumber attno)
{
	int i;

	for (i = 0; i < payload->key_count; i++)
		if (payload->keys[i].column.attno == attno)
			return true;
	return false;
}

static Datum
compute(const Payload *payload, const Field *field, TupleTableSlot *row, bool *isnull)
{
	if (field->generation == NULL)
		ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
						errmsg("column \"%s\" cannot be computed", field->column.name)));
	payload->econtext->ecxt_scantuple = row;
	return ExecEvalExpr(field->generation, payload->econtext, isnull);
}

static Datum
value_of(const Payload *payload, const Field *field, TupleTableSlot *row, bool *isnull)
{
	if (field->is_virtual)
		return compute(payload, field, row, isnull);
	*isnull = row->tts_isnull[field->column.attno - 1];
	return row->tts_values[field->column.attno - 1];
}

static bool
is_same(const Build *build, const Field *field)
{
	bool  one_isnull;
	bool  other_isnull;
	Datum one = value_of(build->payload, field, build->row, &one_isnull);
	Datum other = value_of(build->payload, field, build->other, &other_isnull);

	if (one_isnull || other_isnull)
		return one_isnull && other_isnull;
	return column_same(&field->column, one, other);
}

static bool
is_left_out(const Build *build, const Field *field)
{
	if (build->keys_only && !field->is_key)
		return true;
	return build->other != NULL && is_same(build, field);
}

static void
write_field(Build *build, Field *field)
{
	Column	  *column = &field->column;
	JsonbValue json;
	bool	   isnull;
	Datum	   value;

	if (is_left_out(build, field))
		return;
	value = value_of(build->payload, field, build->row, &isnull);
	column_to_jsonb(column, value, isnull, &json);
	splice_value(&build->image, column->name, column->name_length, &json);
}

static void
write_one(void *arg)
{
	Build *build = arg;

	write_field(build, build->field);
}

static void
finish_object(void *arg)
{
	Build *build = arg;

	build->result = splice_end(&build->image);
}

static void
write_object(void *arg)
{
	Build *build = arg;
	int	   i;

	build->image.count = 0;
	for (i = 0; i < build->payload->count; i++)
		write_field(build, &build->payload->fields[i]);
	finish_object(build);
}

/* What can be written of a row that raised as a whole. */
static void
write_what_can_be(Build *build)
{
	int i;

	build->image.count = 0;
	for (i = 0; i < build->payload->count; i++)
	{
		build->field = &build->payload->fields[i];
		(void) attempt(write_one, build);
	}
	if (attempt(finish_object, build) != NULL)
	{
		build->image.count = 0;
		finish_object(build);
	}
}

static void
write_key(void *arg)
{
	Build		  *build = arg;
	Payload		  *payload = build->payload;
	StringInfoData key;
	int			   i;

	initStringInfo(&key);
	for (i = 0; i < payload->key_count; i++)
	{
		bool  isnull;
		Datum value = value_of(payload, &payload->keys[i], build->row, &isnull);

		if (i > 0)
			appendStringInfoChar(&key, '|');
		if (!isnull)
			appendStringInfoString(&key, column_to_text(&payload->keys[i].column, value));
	}
	build->key = key.data;
}

static Size
image_size(const Build *build)
{
	Size size = 0;
	int	 i;

	for (i = 0; i < build->payload->count; i++)
	{
		const Field *field = &build->payload->fields[i];
		int			 attribute = field->column.attno - 1;

		/* A virtual column has no stored size: the slot holds NULL for it. */
		if (!build->row->tts_isnull[attribute])
			size += column_size(&field->column, build->row->tts_values[attribute]);
	}
	return size;
}

static Size
size_limit(void)
{
	return Min((Size) notify_event_row_limit * 1024, IMAGE_MAX_SIZE);
}

/* Run one step; a step that cannot raise needs no subtransaction. */
static bool
step(Build *build, void (*work)(void *arg))
{
	if (!build->payload->safe)
		return attempt(work, build) == NULL;
	work(build);
	return true;
}

/* Returns whether everything wanted is in it. */
static bool
write_image(Build *build)
{
	bool complete = !build->keys_only;

	if (!step(build, write_object))
	{
		complete = false;
		write_what_can_be(build);
	}
	return complete;
}

static bool
build_image(Build *build)
{
	bool complete;

	build->keys_only |= build->payload->incomplete || image_size(build) > size_limit();
	complete = write_image(build);
	if (!build->keys_only && VARSIZE(build->result) > size_limit())
	{
		build->keys_only = true;
		complete = write_image(build);
	}
	return complete;
}

void
payload_build(Payload *payload, TupleTableSlot *new, TupleTableSlot *old, Image *image)
{
	Build  new_build = {payload, new, NULL};
	Build  old_build = {payload, old, new};
	Build *key_build = new ? &new_build : &old_build;

	memset(image, 0, sizeof(Image));
	if (new != NULL)
	{
		slot_getallattrs(new);
		image->truncated |= !build_image(&new_build);
		image->new = new_build.result;
	}
	if (old != NULL)
	{
		slot_getallattrs(old);
		old_build.keys_only = new_build.keys_only;
		image->truncated |= !build_image(&old_build);
		image->old = old_build.result;
	}
	if (payload->key_count > 0)
	{
		image->truncated |= !step(key_build, write_key);
		image->key = key_build->key;
	}
}
