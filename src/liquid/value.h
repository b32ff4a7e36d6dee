/*
 * value.h
 *		The values a template works with.
 *
 * A value is small and passed by value.  What comes from the document stays in
 * the jsonb and is only pointed to; strings are not terminated by a zero.  An
 * integer that fits 64 bits is always LIQUID_INTEGER, never LIQUID_BIG.
 */
#ifndef NOTIFY_LIQUID_VALUE_H
#define NOTIFY_LIQUID_VALUE_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

typedef enum LiquidKind
{
	LIQUID_NIL,
	LIQUID_BOOLEAN,
	LIQUID_INTEGER,
	LIQUID_BIG,					/* an integer beyond 64 bits */
	LIQUID_DECIMAL,				/* a number with a fraction, maybe .0 */
	LIQUID_STRING,
	LIQUID_LIST,				/* a jsonb array */
	LIQUID_OBJECT,				/* a jsonb object */
	LIQUID_ARRAY,				/* an array made while rendering */
	LIQUID_RANGE,
	LIQUID_LOOP,				/* forloop */
	LIQUID_TABLEROW,			/* tablerowloop */
	LIQUID_EMPTY,
	LIQUID_BLANK
} LiquidKind;

struct LiquidArray;
struct LiquidLoop;

typedef struct LiquidValue
{
	LiquidKind	kind;
	bool		safe;			/* a string that html format must not escape */
	int			len;			/* of a string */
	union
	{
		bool		boolean;
		int64		integer;
		Numeric		number;
		const char *string;
		JsonbContainer *json;
		struct LiquidArray *array;
		struct
		{
			int64		first;
			int64		last;
		}			range;
		const struct LiquidLoop *loop;
	}			u;
} LiquidValue;

typedef struct LiquidArray
{
	int			count;
	int			room;
	LiquidValue *items;
} LiquidArray;

/* forloop and tablerowloop: where a loop stands. */
typedef struct LiquidLoop
{
	const char *name;
	int64		length;
	int64		index0;
	int64		cols;			/* tablerow only */
	const struct LiquidLoop *parent;
} LiquidLoop;

extern LiquidValue liquid_nil(void);
extern LiquidValue liquid_boolean(bool b);
extern LiquidValue liquid_integer(int64 i);
extern LiquidValue liquid_string(const char *s, int len);
extern LiquidValue liquid_cstring(const char *s);
extern LiquidValue liquid_array(LiquidArray *array);
extern LiquidValue liquid_from_jsonb(const JsonbValue *v);
extern LiquidValue liquid_from_container(JsonbContainer *c);

extern LiquidArray *liquid_array_make(int room);
extern void liquid_array_add(LiquidArray *array, LiquidValue v);

static inline bool
liquid_is_nil(LiquidValue v)
{
	return v.kind == LIQUID_NIL;
}

static inline bool
liquid_is_true(LiquidValue v)
{
	return v.kind != LIQUID_NIL && (v.kind != LIQUID_BOOLEAN || v.u.boolean);
}

static inline bool
liquid_is_number(LiquidValue v)
{
	return v.kind == LIQUID_INTEGER || v.kind == LIQUID_BIG || v.kind == LIQUID_DECIMAL;
}

/* An array of any kind: what filters on arrays take as one. */
static inline bool
liquid_is_array(LiquidValue v)
{
	return v.kind == LIQUID_LIST || v.kind == LIQUID_ARRAY;
}

/* Elements of an array, a range or an object; 0 for anything else. */
extern int64 liquid_count(LiquidValue v);

/* The n'th of an array, counted from the end when negative; nil beyond. */
extern LiquidValue liquid_nth(LiquidValue v, int64 n);

/* The member of an object, or of forloop; nil when there is none. */
extern LiquidValue liquid_member(LiquidValue v, const char *name, int len);

/* v[key] and, when "command", v.size, v.first and v.last too. */
extern LiquidValue liquid_lookup(LiquidValue v, LiquidValue key, bool command);

/*
 * What a loop walks over: the elements from "from" on, at most "limit" when
 * that is not negative.  An object gives pairs, a string itself.
 */
extern LiquidArray *liquid_items(LiquidValue v, int64 from, int64 limit);

/* More than this is never made of a range or a document. */
#define LIQUID_MAX_ITEMS	1000000

extern bool liquid_equal(LiquidValue a, LiquidValue b);
extern bool liquid_contains(LiquidValue a, LiquidValue b);

/*
 * Order: false when the two have none.  What a sort does with that differs
 * from what a condition does.
 */
extern bool liquid_order(LiquidValue a, LiquidValue b, int *result);

/* Raises when a text being made is beyond what a rendering may use. */
extern void liquid_check_text(StringInfo text);

/* As it is put out.  liquid_text returns it whole, copying only when it must. */
extern void liquid_append(StringInfo out, LiquidValue v);
extern LiquidValue liquid_text(LiquidValue v);

#endif							/* NOTIFY_LIQUID_VALUE_H */
