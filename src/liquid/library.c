/*
 * library.c
 *		The partials a template may render.
 *
 * A library points into the jsonb it was made of, and compiles a source when a
 * rendering first asks for it.  What it keeps lives as long as the memory
 * context it was made in, so one that belongs to a cached template serves every
 * rendering of it.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "liquid/library.h"

struct LiquidLibrary
{
	MemoryContext cxt;
	JsonbContainer *sources;	/* an object: name to source */
	LiquidPart *parts;			/* those asked for so far */
	int			size;			/* bytes of source compiled */
};

LiquidLibrary *
liquid_library(Jsonb *partials)
{
	LiquidLibrary *library = palloc0(sizeof(LiquidLibrary));

	library->cxt = CurrentMemoryContext;
	library->sources = &partials->root;
	return library;
}

/* A new part of the library, or NULL when it has no source of this name. */
static LiquidPart *
add_part(LiquidLibrary *library, LiquidName name)
{
	JsonbValue	found;
	LiquidPart *part;
	char	   *copy;

	if (!JsonContainerIsObject(library->sources) ||
		!getKeyJsonValueFromContainer(library->sources, name.text, name.len, &found) ||
		found.type != jbvString)
		return NULL;
	part = MemoryContextAllocZero(library->cxt, sizeof(LiquidPart));
	copy = MemoryContextAlloc(library->cxt, name.len + 1);
	memcpy(copy, name.text, name.len);
	part->name.text = copy;
	part->name.len = name.len;
	part->source = found.val.string.val;
	part->len = found.val.string.len;
	part->next = library->parts;
	library->parts = part;
	return part;
}

LiquidPart *
liquid_library_find(LiquidLibrary *library, LiquidName name)
{
	LiquidPart *part = library ? library->parts : NULL;

	while (part && !(part->name.len == name.len &&
					 memcmp(part->name.text, name.text, name.len) == 0))
		part = part->next;
	return part || !library ? part : add_part(library, name);
}

static void
check_size(const LiquidLibrary *library, const LiquidPart *part)
{
	if (part->len > LIQUID_MAX_SOURCE - library->size)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Liquid partials of one template are too long"),
				 errdetail("Together they may have %d bytes.", LIQUID_MAX_SOURCE)));
}

const LiquidTemplate *
liquid_library_compile(LiquidLibrary *library, LiquidPart *part)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt;

	if (part->compiled)
		return part->compiled;
	check_size(library, part);
	/* The caller's until it is complete: an error takes it away. */
	cxt = AllocSetContextCreate(caller, "notify_pg liquid partial", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(cxt);
	part->compiled = liquid_parse(part->source, part->len);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(cxt, library->cxt);
	library->size += part->len;
	return part->compiled;
}
