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
 * is added is in that order too, so adding is merging.
 */
#include "postgres.h"

#include "plan/splice.h"

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
	SplicePair *merged = palloc((splice->count + nadded + 1) * sizeof(SplicePair));
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
}

static void
add(Splice *splice, const char *key, JEntry type, const void *data, Size length)
{
	SplicePair	pair = {key, data, strlen(key), length, type};

	merge(splice, &pair, 1);
}

void
splice_text(Splice *splice, const char *key, const char *text)
{
	if (text)
		add(splice, key, JENTRY_ISSTRING, text, strlen(text));
	else
		add(splice, key, JENTRY_ISNULL, NULL, 0);
}

/* A scalar stands in an array of its own, first and so without zeros before it. */
void
splice_document(Splice *splice, const char *key, const Jsonb *document)
{
	const JsonbContainer *root = document ? &document->root : NULL;

	if (root == NULL)
		add(splice, key, JENTRY_ISNULL, NULL, 0);
	else if (JsonContainerIsScalar(root))
		add(splice, key, root->children[0] & JENTRY_TYPEMASK, &root->children[1],
			JBE_OFFLENFLD(root->children[0]));
	else
		add(splice, key, JENTRY_ISCONTAINER, root, VARSIZE(document) - VARHDRSZ);
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
