/*
 * splice.c
 *		A jsonb object put together from parts of others.
 *
 * In a jsonb every value is a run of bytes that means the same wherever it
 * stands, but for the zeros before it that bring numbers and containers to a
 * boundary (utils/jsonb.h).  So values are copied as they are; only the new
 * object's own table of keys and lengths is written.  pushJsonbValue() would
 * take them apart and put them together again, for ten times the price.
 *
 * The pairs are kept in jsonb's order of keys: by length, then by bytes.  What
 * is added is in that order too, so adding is merging; whoever adds one pair after
 * the other in that order only appends.
 */
#include "postgres.h"

#include "splice.h"

typedef struct SplicePair
{
	const char *key;
	const char *data;			/* without the zeros before it */
	uint32		key_length;
	uint32		length;
	JEntry		type;
} SplicePair;

static int
compare_keys(const SplicePair *a, const SplicePair *b)
{
	if (a->key_length != b->key_length)
		return a->key_length < b->key_length ? -1 : 1;
	return memcmp(a->key, b->key, a->key_length);
}

/* Take in pairs that are in order; they win over those that are there. */
static void
merge(Splice *splice, const SplicePair *added, int nadded)
{
	int			room = splice->count + nadded + 1;
	SplicePair *merged = palloc(room * sizeof(SplicePair));
	const SplicePair *old = splice->pairs;
	const SplicePair *old_end = old + splice->count;
	const SplicePair *new = added;
	const SplicePair *new_end = new + nadded;
	int			count = 0;

	while (old < old_end || new < new_end)
	{
		int			order = old == old_end ? 1 : new == new_end ? -1 : compare_keys(old, new);

		merged[count++] = order < 0 ? *old : *new;
		if (order <= 0)
			old++;
		if (order >= 0)
			new++;
	}
	if (splice->pairs)
		pfree(splice->pairs);
	splice->pairs = merged;
	splice->count = count;
	splice->room = room;
}

/* Whole even when there is no memory: capture survives that and goes on (attempt.h). */
static void
append(Splice *splice, const SplicePair *pair)
{
	int			room = Max(16, splice->room * 2);

	if (splice->count == splice->room)
	{
		splice->pairs = splice->pairs ? repalloc(splice->pairs, room * sizeof(SplicePair))
			: palloc(room * sizeof(SplicePair));
		splice->room = room;
	}
	splice->pairs[splice->count++] = *pair;
}

static void
add(Splice *splice, const SplicePair *pair)
{
	if (splice->count == 0 || compare_keys(&splice->pairs[splice->count - 1], pair) < 0)
		append(splice, pair);
	else
		merge(splice, pair, 1);
}

void
splice_value(Splice *splice, const char *key, int key_length, const JsonbValue *value)
{
	SplicePair	pair = {key, NULL, key_length, 0, JENTRY_ISNULL};

	switch (value->type)
	{
		case jbvNull:
			break;
		case jbvString:
			pair.type = JENTRY_ISSTRING;
			pair.data = value->val.string.val;
			pair.length = value->val.string.len;
			break;
		case jbvNumeric:
			pair.type = JENTRY_ISNUMERIC;
			pair.data = (const char *) value->val.numeric;
			pair.length = VARSIZE_ANY(value->val.numeric);
			break;
		case jbvBool:
			pair.type = value->val.boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
			break;
		case jbvBinary:
			pair.type = JENTRY_ISCONTAINER;
			pair.data = (const char *) value->val.binary.data;
			pair.length = value->val.binary.len;
			break;
		default:
			elog(ERROR, "unexpected jsonb value type: %d", (int) value->type);
	}
	add(splice, &pair);
}

/* A scalar stands in an array of its own. */
void
splice_whole(const Jsonb *document, JsonbValue *value)
{
	JsonbContainer *root = unconstify(JsonbContainer *, &document->root);

	if (JsonContainerIsScalar(root))
	{
		(void) JsonbExtractScalar(root, value);
		return;
	}
	value->type = jbvBinary;
	value->val.binary.data = root;
	value->val.binary.len = VARSIZE(document) - VARHDRSZ;
}

void
splice_text(Splice *splice, const char *key, const char *text)
{
	JsonbValue	value = {jbvNull};

	if (text)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text);
		value.val.string.len = strlen(text);
	}
	splice_value(splice, key, strlen(key), &value);
}

void
splice_document(Splice *splice, const char *key, const Jsonb *document)
{
	JsonbValue	value = {jbvNull};

	if (document)
		splice_whole(document, &value);
	splice_value(splice, key, strlen(key), &value);
}

static bool
is_aligned(JEntry entry)
{
	return JBE_ISNUMERIC(entry) || JBE_ISCONTAINER(entry);
}

/* Where the next of an object's children begins and ends, from where the last did. */
static void
next_child(JEntry entry, uint32 *begin, uint32 *end)
{
	*begin = *end;
	JBE_ADVANCE_OFFSET(*end, entry);
}

void
splice_pairs(Splice *splice, const Jsonb *object)
{
	const JsonbContainer *root = object ? &object->root : NULL;
	int			count = root && JsonContainerIsObject(root) ? JsonContainerSize(root) : 0;
	SplicePair *pairs = palloc((count + 1) * sizeof(SplicePair));
	const char *base = count > 0 ? (const char *) &root->children[count * 2] : NULL;
	uint32		begin;
	uint32		end = 0;

	for (int i = 0; i < count; i++)
	{
		next_child(root->children[i], &begin, &end);
		pairs[i].key = base + begin;
		pairs[i].key_length = end - begin;
	}
	for (int i = 0; i < count; i++)
	{
		JEntry		entry = root->children[count + i];

		next_child(entry, &begin, &end);
		if (is_aligned(entry))
			begin = INTALIGN(begin);
		pairs[i].type = entry & JENTRY_TYPEMASK;
		pairs[i].data = base + begin;
		pairs[i].length = end - begin;
	}
	merge(splice, pairs, count);
	pfree(pairs);
}

/* Room for all of it, with the most zeros there can be */
static Size
size_most(const Splice *splice)
{
	Size		size = 0;

	for (int i = 0; i < splice->count; i++)
		size += splice->pairs[i].key_length + splice->pairs[i].length + ALIGNOF_INT - 1;
	if (size > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("total size of jsonb object elements exceeds the maximum of %u bytes",
						JENTRY_OFFLENMASK)));
	return size + offsetof(Jsonb, root) + offsetof(JsonbContainer, children) +
		splice->count * 2 * sizeof(JEntry);
}

/* Child number n goes to the end of what is there: its length, or now and then its end. */
static void
put(JsonbContainer *root, int n, char *base, uint32 *end, JEntry type, const char *data, uint32 length)
{
	uint32		begin = *end;

	while (is_aligned(type) && *end != INTALIGN(*end))
		base[(*end)++] = '\0';
	if (length > 0)
		memcpy(base + *end, data, length);
	*end += length;
	root->children[n] = type |
		(n % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | *end : *end - begin);
}

Jsonb *
splice_end(const Splice *splice)
{
	Jsonb	   *result = palloc(size_most(splice));
	JsonbContainer *root = &result->root;
	int			count = splice->count;
	char	   *base = (char *) &root->children[count * 2];
	uint32		end = 0;

	root->header = count | JB_FOBJECT;
	for (int i = 0; i < count; i++)
		put(root, i, base, &end, JENTRY_ISSTRING, splice->pairs[i].key, splice->pairs[i].key_length);
	for (int i = 0; i < count; i++)
		put(root, count + i, base, &end, splice->pairs[i].type, splice->pairs[i].data,
			splice->pairs[i].length);
	SET_VARSIZE(result, base + end - (char *) result);
	return result;
}
