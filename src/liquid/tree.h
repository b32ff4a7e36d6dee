/*
 * tree.h
 *		The compiled form of a template.
 *
 * Nodes are palloc'd by the parser and never change afterwards, so one tree may
 * be rendered many times.  Names and texts point into the template's own copy
 * of its source.
 */
#ifndef NOTIFY_LIQUID_TREE_H
#define NOTIFY_LIQUID_TREE_H

#include "liquid/value.h"

typedef struct LiquidName
{
	const char *text;
	int			len;
} LiquidName;

typedef enum LiquidExprKind
{
	EXPR_LITERAL,
	EXPR_PATH,
	EXPR_RANGE,
	EXPR_AND,
	EXPR_OR,
	EXPR_COMPARE
} LiquidExprKind;

typedef enum LiquidComparison
{
	COMPARE_EQUAL,
	COMPARE_UNEQUAL,
	COMPARE_LESS,
	COMPARE_GREATER,
	COMPARE_LESS_OR_EQUAL,
	COMPARE_GREATER_OR_EQUAL,
	COMPARE_CONTAINS
} LiquidComparison;

struct LiquidExpr;

/* One step of a path: .name, ["name"], [0] or [expression]. */
typedef struct LiquidSegment
{
	struct LiquidExpr *key;		/* NULL when it is the constant below */
	LiquidValue constant;
	bool		command;		/* .size, .first or .last */
} LiquidSegment;

typedef struct LiquidExpr
{
	LiquidExprKind kind;
	LiquidComparison comparison;
	LiquidValue literal;
	struct LiquidExpr *left;	/* of a range, condition or comparison */
	struct LiquidExpr *right;
	int			segments;		/* of a path; the first names the variable */
	LiquidSegment *path;
} LiquidExpr;

struct LiquidFilter;

typedef struct LiquidArgument
{
	LiquidName	name;			/* text NULL when positional */
	int			slot;			/* of a filter's: which of its named ones it is */
	LiquidExpr *value;
} LiquidArgument;

typedef struct LiquidCall
{
	const struct LiquidFilter *filter;
	int			count;
	LiquidArgument *arguments;
	struct LiquidCall *next;
} LiquidCall;

/* An expression and the filters it goes through. */
typedef struct LiquidOutput
{
	LiquidExpr *expr;			/* NULL: {{ }} */
	LiquidCall *calls;
} LiquidOutput;

typedef enum LiquidNodeKind
{
	NODE_TEXT,
	NODE_OUTPUT,
	NODE_ASSIGN,
	NODE_CAPTURE,
	NODE_IF,
	NODE_CASE,
	NODE_FOR,
	NODE_TABLEROW,
	NODE_BREAK,
	NODE_CONTINUE,
	NODE_CYCLE,
	NODE_INCREMENT,
	NODE_DECREMENT,
	NODE_IFCHANGED,
	NODE_INCLUDE,
	NODE_RENDER
} LiquidNodeKind;

struct LiquidNode;

typedef struct LiquidBody
{
	struct LiquidNode *first;
	struct LiquidNode *last;
	bool		blank;			/* all its nodes are */
} LiquidBody;

/* if, elsif, else; when and else of a case. */
typedef struct LiquidBranch
{
	LiquidExpr *condition;		/* NULL: else */
	bool		negate;			/* unless */
	int			count;			/* of a when's values */
	LiquidExpr **values;
	LiquidBody	body;
	struct LiquidBranch *next;
} LiquidBranch;

typedef struct LiquidFor
{
	LiquidName	variable;
	const char *name;			/* variable-collection */
	LiquidExpr *collection;
	LiquidExpr *limit;
	LiquidExpr *offset;
	LiquidExpr *cols;			/* tablerow only */
	bool		offset_continue;
	bool		reversed;
	LiquidBody	body;
	LiquidBody *otherwise;
} LiquidFor;

typedef struct LiquidCycle
{
	LiquidExpr *name;			/* NULL when the key below is it */
	const char *key;			/* of one without a name: its own values */
	int			count;
	LiquidExpr **values;
} LiquidCycle;

typedef struct LiquidPartial
{
	LiquidExpr *name;
	LiquidExpr *with;			/* or for; NULL */
	bool		each;			/* for */
	LiquidName	alias;			/* text NULL: the partial's own name */
	int			count;
	LiquidArgument *arguments;
} LiquidPartial;

typedef struct LiquidNode
{
	LiquidNodeKind kind;
	bool		blank;			/* puts out nothing but white space, ever */
	int			line;
	struct LiquidNode *next;
	union
	{
		LiquidName	text;
		LiquidOutput output;
		struct
		{
			LiquidName	name;
			LiquidOutput value;
		}			assign;
		struct
		{
			LiquidName	name;
			LiquidBody	body;
		}			capture;
		LiquidBody	body;		/* ifchanged */
		struct
		{
			LiquidExpr *subject;	/* case only */
			LiquidBranch *branches;
		}			choice;
		LiquidFor  *loop;
		LiquidCycle *cycle;
		LiquidName	counter;
		LiquidPartial *partial;
	}			u;
} LiquidNode;

struct LiquidTemplate
{
	const char *source;
	int			len;
	LiquidBody	body;
};

#endif							/* NOTIFY_LIQUID_TREE_H */
