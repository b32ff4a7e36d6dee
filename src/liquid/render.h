/*
 * render.h
 *		The state of a rendering, which the renderer and the filters share.
 *
 * It lives for one call of liquid_render.  Whatever can grow is charged to it:
 * steps by liquid_step, bytes made by filters and captures by liquid_charge,
 * anything else that may be large by liquid_grow.
 */
#ifndef NOTIFY_LIQUID_RENDER_H
#define NOTIFY_LIQUID_RENDER_H

#include "liquid/liquid.h"
#include "liquid/tree.h"

typedef struct LiquidVariable
{
	LiquidName	name;
	LiquidValue value;
	struct LiquidVariable *next;
} LiquidVariable;

/*
 * Variables, the innermost scope first.  Assignments go to the outermost; a
 * rendered partial has a chain of its own.
 */
typedef struct LiquidScope
{
	LiquidVariable *variables;
	struct LiquidScope *outer;
} LiquidScope;

typedef enum LiquidInterrupt
{
	INTERRUPT_NONE,
	INTERRUPT_BREAK,
	INTERRUPT_CONTINUE
} LiquidInterrupt;

typedef struct LiquidRender
{
	JsonbContainer *data;		/* or NULL */
	LiquidLibrary *library;		/* of partials, or NULL */
	LiquidFormat format;
	StringInfo	out;			/* the words, or a capture's */
	LiquidScope *scope;
	bool		sees_data;		/* false within {% render %} */
	bool		no_include;		/* within {% render %} */
	LiquidScope *counters;		/* increment and decrement */
	LiquidScope *cycles;
	LiquidScope *offsets;		/* where {% for %} ... offset: continue goes on */
	LiquidLoop *loop;			/* the innermost */
	LiquidInterrupt interrupt;
	LiquidValue changed;		/* what ifchanged last put out */
	int			depth;			/* of partials */
	int64		steps;
	int64		memory;			/* charged so far */
	int64		unchecked;		/* bytes allocated since memory was looked at */
	MemoryContext cxt;			/* all that the rendering allocates */
	LiquidMissing *missing;		/* or NULL: not noted */
	int			line;			/* for error messages; 0 while a partial is compiled */
	LiquidName	partial;		/* likewise; text NULL in the template itself */
	const char *locale;			/* NULL until asked for */
	const char *zone;
} LiquidRender;

/* render.c */
extern void liquid_render_body(LiquidRender *r, const LiquidBody *body);
extern void liquid_put(LiquidRender *r, const char *text, int len);
extern void liquid_put_value(LiquidRender *r, LiquidValue v);
extern void liquid_step(LiquidRender *r);
extern void liquid_charge(LiquidRender *r, int64 bytes);
extern void liquid_grow(LiquidRender *r, int64 bytes);

/* scope.c */
extern LiquidValue liquid_get(LiquidRender *r, const char *name, int len);
extern void liquid_set(LiquidScope *scope, LiquidName name, LiquidValue value);
extern LiquidValue *liquid_find(LiquidScope *scope, const char *name, int len);
extern LiquidScope *liquid_outermost(LiquidScope *scope);

/* evaluate.c */
extern LiquidValue liquid_evaluate(LiquidRender *r, const LiquidExpr *e);
extern void liquid_charge_comparison(LiquidRender *r, LiquidValue a, LiquidValue b);
extern LiquidValue liquid_evaluate_output(LiquidRender *r, const LiquidOutput *output);

/* render_loop.c */
extern LiquidLoop *liquid_make_loop(const char *name, int64 length, int64 cols,
									const LiquidLoop *parent);
extern void liquid_render_for(LiquidRender *r, const LiquidFor *loop);
extern void liquid_render_tablerow(LiquidRender *r, const LiquidFor *loop);
extern void liquid_render_cycle(LiquidRender *r, const LiquidCycle *cycle);

/* render_partial.c */
extern void liquid_render_include(LiquidRender *r, const LiquidPartial *partial);
extern void liquid_render_render(LiquidRender *r, const LiquidPartial *partial);

#endif							/* NOTIFY_LIQUID_RENDER_H */
