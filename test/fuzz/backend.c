/*
 * backend.c
 *		The little of a PostgreSQL backend that src/liquid calls, so that it can
 *		be built and fuzzed outside of a server.
 *
 * Every chunk of a memory context is a malloc of its own, so AddressSanitizer
 * sees what a real context would hide.  An ERROR formats its message, runs the
 * context callbacks and jumps to PG_exception_stack.  Numbers are in numeric.c,
 * jsonb is in json.c; StringInfo, UTF-8 and the shortest digits of a double are
 * PostgreSQL's own, from libpgcommon.
 */
#include "postgres.h"

#include <signal.h>
#include <time.h>

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "backend.h"

/*
 * Memory
 */
typedef struct Chunk
{
	struct Context *context;
	struct Chunk *prev;
	struct Chunk *next;
	Size		size;
} Chunk;

typedef struct Context
{
	struct Context *parent;
	struct Context *child;		/* the first */
	struct Context *sibling;
	Chunk	   *chunk;			/* the newest */
	Size		allocated;		/* bytes in its own chunks */
} Context;

MemoryContext CurrentMemoryContext = NULL;

static void
link_chunk(Context *context, Chunk *chunk, Size size)
{
	chunk->context = context;
	chunk->prev = NULL;
	chunk->next = context->chunk;
	chunk->size = size;
	if (chunk->next)
		chunk->next->prev = chunk;
	context->chunk = chunk;
	context->allocated += size;
}

static void
unlink_chunk(Chunk *chunk)
{
	if (chunk->prev)
		chunk->prev->next = chunk->next;
	else
		chunk->context->chunk = chunk->next;
	if (chunk->next)
		chunk->next->prev = chunk->prev;
	chunk->context->allocated -= chunk->size;
}

static void
check_size(Size size)
{
	if (!AllocSizeIsValid(size))
		elog(ERROR, "invalid memory alloc request size %zu", size);
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	Chunk	   *chunk;

	check_size(size);
	chunk = malloc(sizeof(Chunk) + size);
	if (chunk == NULL)
		abort();
	link_chunk((Context *) context, chunk, size);
	return chunk + 1;
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(MemoryContextAlloc(context, size), 0, size);
}

void *
palloc(Size size)
{
	return MemoryContextAlloc(CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return MemoryContextAllocZero(CurrentMemoryContext, size);
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	unlink_chunk(chunk);
	free(chunk);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;
	Context    *context = chunk->context;

	check_size(size);
	unlink_chunk(chunk);
	chunk = realloc(chunk, sizeof(Chunk) + size);
	if (chunk == NULL)
		abort();
	link_chunk(context, chunk, size);
	return chunk + 1;
}

char *
pnstrdup(const char *s, Size len)
{
	char	   *copy;

	len = strnlen(s, len);
	copy = palloc(len + 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *
pstrdup(const char *s)
{
	return pnstrdup(s, strlen(s));
}

static void
attach(Context *context, Context *parent)
{
	context->parent = parent;
	context->sibling = parent ? parent->child : NULL;
	if (parent)
		parent->child = context;
}

static void
detach(Context *context)
{
	Context   **link;

	if (context->parent == NULL)
		return;
	for (link = &context->parent->child; *link != context;)
		link = &(*link)->sibling;
	*link = context->sibling;
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size min, Size initial, Size max)
{
	Context    *context = calloc(1, sizeof(Context));

	attach(context, (Context *) parent);
	return (MemoryContext) context;
}

void
MemoryContextSetParent(MemoryContext context, MemoryContext parent)
{
	detach((Context *) context);
	attach((Context *) context, (Context *) parent);
}

void
MemoryContextDelete(MemoryContext cxt)
{
	Context    *context = (Context *) cxt;

	while (context->child)
		MemoryContextDelete((MemoryContext) context->child);
	while (context->chunk)
		pfree(context->chunk + 1);
	detach(context);
	free(context);
}

Size
MemoryContextMemAllocated(MemoryContext cxt, bool recurse)
{
	Context    *context = (Context *) cxt;
	Size		sum = context->allocated;

	for (Context *c = context->child; c && recurse; c = c->sibling)
		sum += MemoryContextMemAllocated((MemoryContext) c, true);
	return sum;
}

/*
 * Errors
 */
sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;
volatile sig_atomic_t InterruptPending = false;

/* A message must be text that a client can be sent. */
static int
format(const char *fmt, va_list args)
{
	char		text[4096];

	vsnprintf(text, sizeof(text), fmt, args);
	backend_check_text(text, pg_mbcliplen(text, strlen(text), sizeof(text) - 8));
	return 0;
}

#define FORMATTED(function) \
int \
function(const char *fmt,...) \
{ \
	va_list		args; \
\
	va_start(args, fmt); \
	format(fmt, args); \
	va_end(args); \
	return 0; \
}

FORMATTED(errmsg)
FORMATTED(errmsg_internal)
FORMATTED(errdetail)
FORMATTED(errhint)
FORMATTED(errcontext_msg)

bool
errstart(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
set_errcontext_domain(const char *domain)
{
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	for (ErrorContextCallback *c = error_context_stack; c; c = c->previous)
		c->callback(c->arg);
	siglongjmp(*PG_exception_stack, 1);
}

void
ProcessInterrupts(void)
{
}

static char *stack_base;

void
backend_set_stack_base(void *base)
{
	stack_base = base;
}

void
check_stack_depth(void)
{
	char		here;

	if (labs(stack_base - &here) > 4 * 1024 * 1024)
		elog(ERROR, "stack depth limit exceeded");
}

/*
 * Text
 */
void
backend_check_text(const char *text, int len)
{
	if (pg_encoding_verifymbstr(PG_UTF8, text, len) != len)
	{
		fprintf(stderr, "this is no UTF-8 text: \"%.*s\"\n", len, text);
		abort();
	}
}

int
pg_mblen(const char *s)
{
	return pg_encoding_mblen(PG_UTF8, s);
}

int
pg_mbstrlen_with_len(const char *s, int limit)
{
	int			count = 0;

	while (limit > 0 && *s)
	{
		int			len = pg_mblen(s);

		limit -= len;
		s += len;
		count++;
	}
	return count;
}

int
pg_mbcliplen(const char *s, int len, int limit)
{
	int			clipped = 0;

	while (clipped < len && s[clipped])
	{
		int			more = pg_mblen(s + clipped);

		if (clipped + more > limit)
			break;
		clipped += more;
	}
	return clipped;
}

bool
pg_verifymbstr(const char *s, int len, bool no_error)
{
	bool		good = pg_encoding_verifymbstr(PG_UTF8, s, len) == len;

	if (!good && !no_error)
		elog(ERROR, "invalid byte sequence");
	return good;
}

int
pg_lltoa(int64 value, char *text)
{
	return sprintf(text, INT64_FORMAT, value);
}

void
escape_json(StringInfo buf, const char *str)
{
	appendStringInfoChar(buf, '"');
	for (const char *p = str; *p; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfo(buf, "\\%c", *p);
		else if ((unsigned char) *p < ' ')
			appendStringInfo(buf, "\\u%04x", (int) *p);
		else
			appendStringInfoChar(buf, *p);
	}
	appendStringInfoChar(buf, '"');
}

/*
 * Time: always the same moment, in UTC or an hour east of it.
 */
struct pg_tz
{
	int			offset;
};

const int	day_tab[2][13] = {
	{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0},
	{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0}
};

TimestampTz
GetCurrentTimestamp(void)
{
	return INT64CONST(827000000123456);
}

pg_tz *
pg_tzset(const char *name)
{
	static pg_tz utc = {0};
	static pg_tz east = {3600};

	if (strchr(name, '!'))
		return NULL;
	return strcmp(name, "UTC") == 0 ? &utc : &east;
}

/* Days from 1970-01-01, counted in years that begin in March. */
int
date2j(int year, int month, int day)
{
	int			y = month > 2 ? year : year - 1;
	int			m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 719469 + UNIX_EPOCH_JDATE;
}

struct pg_tm *
pg_localtime(const pg_time_t *at, const pg_tz *tz)
{
	static struct pg_tm result;
	time_t		local = *at + tz->offset;
	struct tm	tm;

	if (gmtime_r(&local, &tm) == NULL)
		return NULL;
	result.tm_sec = tm.tm_sec;
	result.tm_min = tm.tm_min;
	result.tm_hour = tm.tm_hour;
	result.tm_mday = tm.tm_mday;
	result.tm_mon = tm.tm_mon;
	result.tm_year = tm.tm_year;
	result.tm_wday = tm.tm_wday;
	result.tm_yday = tm.tm_yday;
	result.tm_gmtoff = tz->offset;
	result.tm_zone = tz->offset ? "CET" : "UTC";
	return &result;
}
