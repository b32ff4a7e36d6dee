/*
 * sql.c
 *		Templates from SQL: rendering one, checking one before it is saved, and
 *		what it refers to.
 *
 * A backend keeps the templates it rendered last, compiled, with the partials
 * they were rendered with.  An entry is found by the texts themselves, so
 * nothing can make it stale; CACHED of them, of CACHED_MEMORY bytes together,
 * are kept, the longest unused going first.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "catalog/pg_type.h"

#include "liquid/lexer.h"
#include "liquid/liquid.h"
#include "liquid/similar.h"
#include "liquid/survey.h"

#define CACHED			64
#define CACHED_MEMORY	((Size) 32 * 1024 * 1024)

PG_FUNCTION_INFO_V1(notify_render);
PG_FUNCTION_INFO_V1(notify_render_noting);
PG_FUNCTION_INFO_V1(notify_render_strings);
PG_FUNCTION_INFO_V1(notify_check_liquid);
PG_FUNCTION_INFO_V1(notify_liquid_partials);
PG_FUNCTION_INFO_V1(notify_liquid_variables);
PG_FUNCTION_INFO_V1(notify_similar_name);

typedef struct Compiled
{
	dlist_node	node;
	MemoryContext cxt;
	uint32		hash;
	text	   *source;
	Jsonb	   *partials;
	LiquidTemplate *template;
	LiquidLibrary *library;
} Compiled;

static MemoryContext cache_cxt = NULL;
static dlist_head cache = DLIST_STATIC_INIT(cache); /* most recently used first */
static int	cached = 0;

static bool
same_bytes(const void *a, const void *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static uint32
hash_of(const text *source, const Jsonb *partials)
{
	return hash_combine(hash_bytes((const unsigned char *) VARDATA_ANY(source),
								   VARSIZE_ANY_EXHDR(source)),
						hash_bytes((const unsigned char *) VARDATA_ANY(partials),
								   VARSIZE_ANY_EXHDR(partials)));
}

static Compiled *
find_compiled(const text *source, const Jsonb *partials, uint32 hash)
{
	dlist_iter	iter;

	dlist_foreach(iter, &cache)
	{
		Compiled   *c = dlist_container(Compiled, node, iter.cur);

		if (c->hash == hash && same_bytes(c->source, source) && same_bytes(c->partials, partials))
			return c;
	}
	return NULL;
}

static void
forget_last(void)
{
	Compiled   *c = dlist_container(Compiled, node, dlist_tail_node(&cache));

	dlist_delete(&c->node);
	cached--;
	MemoryContextDelete(c->cxt);
}

static void *
copy_flat(const void *value)
{
	Size		size = VARSIZE_ANY(value);

	return memcpy(palloc(size), value, size);
}

/* Enters the cache only when complete. */
static Compiled *
compile(const text *source, const Jsonb *partials, uint32 hash)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "notify_pg compiled template",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(cxt);
	Compiled   *c = palloc0(sizeof(Compiled));

	c->cxt = cxt;
	c->hash = hash;
	c->source = copy_flat(source);
	c->partials = copy_flat(partials);
	c->template = liquid_parse(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
	c->library = liquid_library(c->partials);
	MemoryContextSwitchTo(caller);
	if (cache_cxt == NULL)
		cache_cxt = AllocSetContextCreate(TopMemoryContext, "notify_pg compiled templates",
										  ALLOCSET_SMALL_SIZES);
	MemoryContextSetParent(cxt, cache_cxt);
	dlist_push_head(&cache, &c->node);
	cached++;
	return c;
}

/* The other entries make room for the one at the head, which stays. */
static Compiled *
get_compiled(const text *source, const Jsonb *partials)
{
	uint32		hash = hash_of(source, partials);
	Compiled   *c = find_compiled(source, partials, hash);

	if (c == NULL)
		c = compile(source, partials, hash);
	dlist_move_head(&cache, &c->node);
	while (cached > 1 &&
		   (cached > CACHED || MemoryContextMemAllocated(cache_cxt, true) > CACHED_MEMORY))
		forget_last();
	return c;
}

static LiquidTemplate *
parse_text(text *source)
{
	return liquid_parse(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
}

static LiquidFormat
format_of(text *name)
{
	const char *format = VARDATA_ANY(name);
	int			len = VARSIZE_ANY_EXHDR(name);

	if (len == 4 && memcmp(format, "text", 4) == 0)
		return LIQUID_TEXT;
	if (len == 4 && memcmp(format, "html", 4) == 0)
		return LIQUID_HTML;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\"", text_to_cstring(name)),
			 errhint("The formats are \"text\" and \"html\".")));
}

static void
check_object(Jsonb *value, const char *what)
{
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s of a template must be a JSON object", what)));
}

/* Renders what (template, data, format, partials) say. */
static text *
render_arguments(FunctionCallInfo fcinfo, LiquidMissing *missing)
{
	LiquidFormat format = format_of(PG_GETARG_TEXT_PP(2));
	Jsonb	   *data = PG_GETARG_JSONB_P(1);
	Jsonb	   *partials = PG_GETARG_JSONB_P(3);
	Compiled   *c;
	StringInfoData out;

	check_object(data, "data");
	check_object(partials, "partials");
	c = get_compiled(PG_GETARG_TEXT_PP(0), partials);
	initStringInfo(&out);
	liquid_render_noting(c->template, data, format, c->library, &out, missing);
	return cstring_to_text_with_len(out.data, out.len);
}

/* render(template text, data jsonb, format text, partials jsonb) returns text */
Datum
notify_render(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(render_arguments(fcinfo, NULL));
}

/* _render_noting(template, data, format, partials, OUT words text, OUT missing text[]) */
Datum
notify_render_noting(PG_FUNCTION_ARGS)
{
	LiquidMissing missing = {0};
	Datum		notes[LIQUID_MAX_MISSING];
	Datum		values[2];
	bool		nulls[2] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = PointerGetDatum(render_arguments(fcinfo, &missing));
	for (int i = 0; i < missing.count; i++)
		notes[i] = CStringGetTextDatum(missing.text[i]);
	values[1] = PointerGetDatum(construct_array(notes, missing.count, TEXTOID, -1, false,
												TYPALIGN_INT));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* A string that is Liquid becomes the words it makes. */
static void
render_string(JsonbValue *v, Jsonb *data, Jsonb *partials)
{
	Compiled   *c = get_compiled(cstring_to_text_with_len(v->val.string.val, v->val.string.len),
								 partials);
	StringInfoData out;

	initStringInfo(&out);
	liquid_render(c->template, data, LIQUID_TEXT, c->library, &out);
	v->val.string.val = out.data;
	v->val.string.len = out.len;
}

/* _render_strings(tree jsonb, data jsonb, partials jsonb) returns jsonb */
Datum
notify_render_strings(PG_FUNCTION_ARGS)
{
	Jsonb	   *data = PG_GETARG_JSONB_P(1);
	Jsonb	   *partials = PG_GETARG_JSONB_P(2);
	JsonbIterator *it = JsonbIteratorInit(&PG_GETARG_JSONB_P(0)->root);
	JsonbParseState *state = NULL;
	JsonbValue *result = NULL;
	JsonbIteratorToken token;
	JsonbValue	v;

	check_object(data, "data");
	check_object(partials, "partials");
	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		bool		valued = token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM;

		CHECK_FOR_INTERRUPTS();
		if (valued && token != WJB_KEY && v.type == jbvString)
			render_string(&v, data, partials);
		result = pushJsonbValue(&state, token, valued ? &v : NULL);
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(result));
}

/* _check_liquid(source text) returns void */
Datum
notify_check_liquid(PG_FUNCTION_ARGS)
{
	(void) parse_text(PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}

static Datum
name_datum(LiquidName name)
{
	return name.text ? PointerGetDatum(cstring_to_text_with_len(name.text, name.len)) : (Datum) 0;
}

/* _liquid_partials(source text) returns text[] */
Datum
notify_liquid_partials(PG_FUNCTION_ARGS)
{
	LiquidSurvey *s = liquid_survey(parse_text(PG_GETARG_TEXT_PP(0)), NULL);
	Datum	   *names = palloc(s->partials * sizeof(Datum));
	bool	   *nulls = palloc(s->partials * sizeof(bool));
	int			lower = 1;

	for (int i = 0; i < s->partials; i++)
	{
		names[i] = name_datum(s->partial[i]);
		nulls[i] = s->partial[i].text == NULL;
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(names, nulls, 1, &s->partials, &lower,
											 TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * _liquid_variables(source text, partials jsonb)
 * returns table (root text, member text, partial text, line int, col int)
 */
Datum
notify_liquid_variables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LiquidSurvey *s = liquid_survey(parse_text(PG_GETARG_TEXT_PP(0)),
									liquid_library(PG_GETARG_JSONB_P(1)));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < s->variables; i++)
	{
		LiquidReference *v = &s->variable[i];
		bool		nulls[5] = {false, v->member.text == NULL, v->partial.text == NULL};
		Datum		values[5];

		values[0] = name_datum(v->root);
		values[1] = name_datum(v->member);
		values[2] = name_datum(v->partial);
		values[3] = Int32GetDatum(liquid_line_of(v->source, v->position));
		values[4] = Int32GetDatum(liquid_column_of(v->source, v->position));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _similar_name(name text, names text[]) returns text */
Datum
notify_similar_name(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	Datum	   *names;
	bool	   *nulls;
	int			count;
	Similar		best = {VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)};

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &names, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			similar_try(&best, TextDatumGetCString(names[i]));
	if (best.found == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(best.found));
}
