/*
 * liquid.h
 *		Liquid templates: from source to a compiled form, and from that and a
 *		jsonb document to words.
 *
 * A template is compiled once and rendered any number of times; rendering
 * changes nothing in it.  Nothing here runs SQL or keeps state between calls,
 * but for the formatters that locale.c caches per process.
 *
 * data.recipient.locale and data.recipient.time_zone, both optional, decide how
 * numbers, amounts and dates read.
 */
#ifndef NOTIFY_LIQUID_LIQUID_H
#define NOTIFY_LIQUID_LIQUID_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

typedef struct LiquidTemplate LiquidTemplate;
typedef struct LiquidLibrary LiquidLibrary;

typedef enum LiquidFormat
{
	LIQUID_TEXT,
	LIQUID_HTML					/* every output is escaped unless | raw */
} LiquidFormat;

/*
 * Compile.  Everything is palloc'd in the current memory context.  A fault is
 * an ERROR with the line, the column and the offending token as detail.
 */
extern LiquidTemplate *liquid_parse(const char *source, int len);

/*
 * What {% render %} and {% include %} may name: a JSON object of sources, which
 * must live as long as the library.  Made in the current memory context, and
 * compiled there as renderings use it.
 */
extern LiquidLibrary *liquid_library(Jsonb *partials);

/*
 * Render onto "out".  "library" may be NULL.  Passing a limit is an ERROR of
 * class 54, a fault in the data one of class 22.
 */
extern void liquid_render(const LiquidTemplate *t, Jsonb *data, LiquidFormat format,
						  LiquidLibrary *library, StringInfo out);

#define LIQUID_MAX_MISSING	20

typedef struct LiquidMissing
{
	int			count;
	char	   *text[LIQUID_MAX_MISSING];	/* "line 3: the data has no ..." */
} LiquidMissing;

/* As above, noting what is put out although the data does not have it. */
extern void liquid_render_noting(const LiquidTemplate *t, Jsonb *data, LiquidFormat format,
								 LiquidLibrary *library, StringInfo out, LiquidMissing *missing);

/*
 * What a template may use.  Passing any of them is an ERROR of its own.  A
 * fuzzer is built with less, or it would spend its time in loops.
 */
#define LIQUID_MAX_SOURCE	(1024 * 1024)	/* bytes of one source, or of all partials used */
#define LIQUID_MAX_NESTING	100		/* blocks or brackets within each other */
#define LIQUID_MAX_PARTIALS	50		/* partials within each other */
#define LIQUID_MAX_VARIABLES	1000	/* that a template sets */
#define LIQUID_MAX_DIGITS	1000	/* of a number that is computed with */
#ifndef LIQUID_MAX_OUTPUT
#define LIQUID_MAX_OUTPUT	(4 * 1024 * 1024)	/* bytes of words */
#define LIQUID_MAX_STEPS	(4 * 1000 * 1000)	/* nodes, iterations, comparisons */
#define LIQUID_MAX_MEMORY	(16 * 1024 * 1024)	/* bytes made by filters and captures */
#endif

#endif							/* NOTIFY_LIQUID_LIQUID_H */
