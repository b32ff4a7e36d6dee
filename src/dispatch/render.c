/*
 * render.c
 *		From a claimed message to the words that go out.
 *
 * A template version never changes, so what was read and compiled once is
 * good for ever; that goes for the partials it was saved with, too.  The cache
 * keeps CACHE_SIZE of them, or CACHE_MEMORY bytes, and beyond that the ones
 * that messages at hand refer to; the longest unused goes first.
 *
 * Texts are read in the claiming transaction and compiled outside of it, when
 * the first message needs them: a template that does not compile is an error
 * of its messages, not of the claim.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "dispatch/render.h"
#include "liquid/liquid.h"
#include "statement.h"

#define CACHE_SIZE	256
#define CACHE_MEMORY	((Size) 64 * 1024 * 1024)

typedef enum WordsPart
{
	PART_SUBJECT, PART_BODY, PART_HTML, PARTS
} WordsPart;

/* JSON whose strings are Liquid */
typedef struct Form
{
	Jsonb	   *json;			/* NULL: the template has none */
	LiquidTemplate **parts;		/* of its strings, in their order */
} Form;

typedef struct Words
{
	dlist_node	node;			/* in "recent" */
	MemoryContext cxt;
	int64		version;
	int			jobs;			/* that refer to it */
	bool		found;
	char	   *source[PARTS];	/* NULL where the template has none */
	Form		form;			/* provider_template */
	Form		attachments;
	MemoryContext compiled_cxt; /* NULL until the first attempt */
	bool		compiled;
	LiquidTemplate *template[PARTS];
	Jsonb	   *partials;		/* the sources of those it uses */
	LiquidLibrary *library;
} Words;

typedef struct WordsEntry
{
	int64		version;		/* hash key */
	Words	   *words;
} WordsEntry;

static MemoryContext cache_cxt = NULL;
static HTAB *cache = NULL;
static dlist_head recent;		/* most recently used first */

void
render_setup(MemoryContext parent)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(WordsEntry)};

	cache_cxt = AllocSetContextCreate(parent, "notify_pg templates",
									  ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = cache_cxt;
	cache = hash_create("notify_pg templates", CACHE_SIZE, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&recent);
}

static void
forget(Words *words)
{
	hash_search(cache, &words->version, HASH_REMOVE, NULL);
	dlist_delete(&words->node);
	MemoryContextDelete(words->cxt);
}

static void
make_space(void)
{
	dlist_node *node = dlist_is_empty(&recent) ? NULL : dlist_tail_node(&recent);

	while (node && (hash_get_num_entries(cache) >= CACHE_SIZE ||
					MemoryContextMemAllocated(cache_cxt, true) > CACHE_MEMORY))
	{
		Words	   *words = dlist_container(Words, node, node);

		node = dlist_has_prev(&recent, node) ? dlist_prev_node(&recent, node) : NULL;
		if (words->jobs == 0)
			forget(words);
	}
}

/* A column of the row just read, kept with the words; NULL when it is NULL */
static Jsonb *
read_document(Words *words, int column)
{
	MemoryContext caller = MemoryContextSwitchTo(words->cxt);
	bool		isnull;
	Datum		datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);
	Jsonb	   *document = isnull ? NULL : DatumGetJsonbPCopy(datum);

	MemoryContextSwitchTo(caller);
	return document;
}

static void
read_source(Words *words)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(words->version)};
	bool		any = false;

	statement_plan(&plan, "SELECT subject, body, html, provider_template, partials, attachments FROM notify._template($1)", 1, types);
	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "notify._template() failed");
	for (int part = 0; part < PARTS && SPI_processed > 0; part++)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, part + 1);

		words->source[part] = text ? MemoryContextStrdup(words->cxt, text) : NULL;
		any |= text != NULL;
	}
	if (SPI_processed > 0)
	{
		words->form.json = read_document(words, PARTS + 1);
		words->partials = read_document(words, PARTS + 2);
		words->attachments.json = read_document(words, PARTS + 3);
	}
	words->found = any || words->form.json != NULL;
	SPI_freetuptable(SPI_tuptable);
}

/* Enters the cache only when complete; an error leaves it under "owner". */
static Words *
read_words(int64 version, MemoryContext owner)
{
	MemoryContext cxt = AllocSetContextCreate(owner, "notify_pg template",
											  ALLOCSET_SMALL_SIZES);
	Words	   *words = MemoryContextAllocZero(cxt, sizeof(Words));
	WordsEntry *entry;

	words->cxt = cxt;
	words->version = version;
	read_source(words);
	make_space();
	entry = hash_search(cache, &version, HASH_ENTER, NULL);
	entry->words = words;
	dlist_push_head(&recent, &words->node);
	MemoryContextSetParent(cxt, cache_cxt);
	return words;
}

void
render_load(Job *job)
{
	WordsEntry *entry;

	if (job->template_version == 0)
		return;
	entry = hash_search(cache, &job->template_version, HASH_FIND, NULL);
	job->words = entry ? entry->words : read_words(job->template_version, job->cxt);
	job->words->jobs++;
	dlist_move_head(&recent, &job->words->node);
}

void
render_release(Job *job)
{
	if (job->words)
		job->words->jobs--;
	job->words = NULL;
}

/* One for each string that is a value; keys stay what they are. */
static void
compile_form(Form *form)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	int			count = 0;

	if (form->json == NULL)
		return;
	form->parts = palloc(sizeof(LiquidTemplate *) * VARSIZE(form->json));
	it = JsonbIteratorInit(&form->json->root);
	while ((token = JsonbIteratorNext(&it, &item, false)) != WJB_DONE)
		if ((token == WJB_VALUE || token == WJB_ELEM) && item.type == jbvString)
			form->parts[count++] =
				liquid_parse(pnstrdup(item.val.string.val, item.val.string.len), item.val.string.len);
}

static void
compile(Words *words)
{
	MemoryContext caller;

	if (words->compiled)
		return;
	if (words->compiled_cxt == NULL)
		words->compiled_cxt = AllocSetContextCreate(words->cxt, "notify_pg compiled template",
													ALLOCSET_SMALL_SIZES);
	MemoryContextReset(words->compiled_cxt);	/* what a failure left */
	caller = MemoryContextSwitchTo(words->compiled_cxt);
	for (int part = 0; part < PARTS; part++)
		words->template[part] = words->source[part] == NULL ? NULL :
			liquid_parse(words->source[part], strlen(words->source[part]));
	compile_form(&words->form);
	compile_form(&words->attachments);
	words->library = words->partials ? liquid_library(words->partials) : NULL;
	words->compiled = true;
	MemoryContextSwitchTo(caller);
}

static const char *
fill(Job *job, WordsPart part)
{
	LiquidTemplate *template = job->words->template[part];
	StringInfoData out;

	if (template == NULL)
		return NULL;
	initStringInfo(&out);
	liquid_render(template, job->letter.data,
				  part == PART_HTML ? LIQUID_HTML : LIQUID_TEXT, job->words->library, &out);
	job_grow(job, out.len);
	return out.data;
}

static void
fill_string(Job *job, LiquidTemplate *template, JsonbValue *item)
{
	StringInfoData out;

	initStringInfo(&out);
	liquid_render(template, job->letter.data, LIQUID_TEXT, job->words->library, &out);
	job_grow(job, out.len);
	item->val.string.val = out.data;
	item->val.string.len = out.len;
}

/* The same with its strings rendered */
static Jsonb *
fill_form(Job *job, const Form *form)
{
	JsonbParseState *state = NULL;
	JsonbValue *result = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	int			count = 0;

	if (form->json == NULL)
		return NULL;
	it = JsonbIteratorInit(&form->json->root);
	while ((token = JsonbIteratorNext(&it, &item, false)) != WJB_DONE)
	{
		bool		scalar = token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM;

		if (scalar && token != WJB_KEY && item.type == jbvString)
			fill_string(job, form->parts[count++], &item);
		result = pushJsonbValue(&state, token, scalar ? &item : NULL);
	}
	return JsonbValueToJsonb(result);
}

/* The current context must be the job's. */
void
render_job(Job *job)
{
	if (job->words == NULL)
		return;
	if (!job->words->found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("template version " INT64_FORMAT " has no words",
						job->template_version)));
	compile(job->words);
	job->letter.subject = fill(job, PART_SUBJECT);
	job->letter.body = fill(job, PART_BODY);
	if (strcmp(job->channel, "email") == 0)
	{
		job->letter.html = fill(job, PART_HTML);
		job->letter.attachments = fill_form(job, &job->words->attachments);
	}
	job->letter.template = fill_form(job, &job->words->form);
}
