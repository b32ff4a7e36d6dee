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
 * A column whose conversion raises is left out, and the image is marked
 * truncated: the business statement goes on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "capture/attempt.h"
#include "capture/column.h"
#include "capture/payload.h"
#include "guc.h"

/* A jsonb string or object cannot be longer, whatever the setting says. */
#define IMAGE_MAX_SIZE ((Size) 200 * 1024 * 1024)

struct Payload
{
	int		count; /* columns wanted, in jsonb's key order */
	Column *columns;
	bool   *is_key;	   /* parallel to columns */
	int		key_count; /* in the order the source names them */
	Column *keys;
	bool	incomplete; /* failed closed: key columns only */
	bool	whole;		/* every column is wanted */
	bool	safe;		/* nothing here can raise */
};

/* One image of one row on its way to jsonb. */
typedef struct Build
{
	Payload		   *payload;
	TupleTableSlot *row;
	TupleTableSlot *other; /* leave out columns that are the same here */
	bool			keys_only;
	JsonbPair	   *pairs;
	int				count;
	int				column; /* for write_one */
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
	const Column *one = a;
	const Column *other = b;

	if (one->name_length != other->name_length)
		return one->name_length - other->name_length;
	return memcmp(one->name, other->name, one->name_length);
}

static void
prepare_columns(Payload *payload, TupleDesc row, List *key, List *columns)
{
	int i;

	payload->columns = palloc0(Max(row->natts, 1) * sizeof(Column));
	payload->is_key = palloc0(Max(row->natts, 1) * sizeof(bool));
	payload->whole = true;
	for (i = 0; i < row->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row, i);

		if (attribute->attisdropped)
			continue;
		if (is_wanted(columns, NameStr(attribute->attname)))
			column_prepare(&payload->columns[payload->count++], attribute);
		else
			payload->whole = false;
	}
	qsort(payload->columns, payload->count, sizeof(Column), compare_names);
	for (i = 0; i < payload->count; i++)
	{
		payload->is_key[i] = is_named(key, payload->columns[i].name);
		payload->safe &= payload->columns[i].safe;
	}
}

static void
prepare_keys(Payload *payload, TupleDesc row, List *key)
{
	ListCell *cell;

	payload->keys = palloc0(Max(list_length(key), 1) * sizeof(Column));
	foreach (cell, key)
	{
		Form_pg_attribute attribute = find_attribute(row, lfirst(cell));

		if (attribute == NULL)
			continue;
		column_prepare(&payload->keys[payload->key_count], attribute);
		payload->safe &= payload->keys[payload->key_count].safe;
		payload->key_count++;
	}
}

Payload *
payload_prepare(Relation relation, List *key, List *columns)
{
	Payload *payload = palloc0(sizeof(Payload));

	payload->safe = true;
	payload->incomplete = excludes_unknown(columns, RelationGetDescr(relation));
	prepare_columns(payload, RelationGetDescr(relation), key, columns);
	prepare_keys(payload, RelationGetDescr(relation), key);
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
		if (payload->columns[i].attno == attno)
			return true;
	return false;
}

bool
payload_is_key(const Payload *payload, AttrNumber attno)
{
	int i;

	for (i = 0; i < payload->key_count; i++)
		if (payload->keys[i].attno == attno)
			return true;
	return false;
}

static bool
is_same(const Column *column, TupleTableSlot *one, TupleTableSlot *other)
{
	int i = column->attno - 1;

	if (one->tts_isnull[i] || other->tts_isnull[i])
		return one->tts_isnull[i] && other->tts_isnull[i];
	return column_same(column, one->tts_values[i], other->tts_values[i]);
}

static bool
is_left_out(const Build *build, int column)
{
	if (build->keys_only && !build->payload->is_key[column])
		return true;
	return build->other != NULL &&
		   is_same(&build->payload->columns[column], build->row, build->other);
}

static void
write_column(Build *build, int number)
{
	Column	  *column = &build->payload->columns[number];
	JsonbPair *pair = &build->pairs[build->count];

	if (is_left_out(build, number))
		return;
	column_to_jsonb(column, build->row->tts_values[column->attno - 1],
					build->row->tts_isnull[column->attno - 1], &pair->value);
	pair->key.type = jbvString;
	pair->key.val.string.val = column->name;
	pair->key.val.string.len = column->name_length;
	pair->order = build->count++;
}

static void
write_one(void *arg)
{
	Build *build = arg;

	write_column(build, build->column);
}

static void
finish_object(void *arg)
{
	Build	  *build = arg;
	JsonbValue object;

	object.type = jbvObject;
	object.val.object.nPairs = build->count;
	object.val.object.pairs = build->pairs;
	build->result = JsonbValueToJsonb(&object);
}

static void
write_object(void *arg)
{
	Build *build = arg;
	int	   i;

	build->count = 0;
	for (i = 0; i < build->payload->count; i++)
		write_column(build, i);
	finish_object(build);
}

/* What can be written of a row that raised as a whole. */
static void
write_what_can_be(Build *build)
{
	build->count = 0;
	for (build->column = 0; build->column < build->payload->count; build->column++)
		(void) attempt(write_one, build);
	if (attempt(finish_object, build) != NULL)
	{
		build->count = 0;
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
		int attribute = payload->keys[i].attno - 1;

		if (i > 0)
			appendStringInfoChar(&key, '|');
		if (!build->row->tts_isnull[attribute])
			appendStringInfoString(
				&key, column_to_text(&payload->keys[i], build->row->tts_values[attribute]));
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
		const Column *column = &build->payload->columns[i];

		if (!build->row->tts_isnull[column->attno - 1])
			size += column_size(column, build->row->tts_values[column->attno - 1]);
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

	build->pairs = palloc(Max(build->payload->count, 1) * sizeof(JsonbPair));
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
