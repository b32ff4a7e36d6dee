/*
 * filter.c
 *		Which rules of a relation can want a row at all.
 *
 * Most rows are wanted by no rule, and most conditions say so by one comparison
 * of a column with a constant.  Each rule gives at most one such comparison, its
 * guard: a top-level AND arm of the form
 *
 *		column = constant, column = ANY (constants), or < <= >= >
 *
 * Guards on the same column make a group, which costs one look-up a row however
 * many rules share it: a hash table from the constant to its rules, or for
 * ranges the loosest bound of all.  A rule without a guard is always asked.
 *
 * The filter may let a rule through that does not want the row, never hold one
 * back that does.  That holds because guards are strict (a NULL column makes the
 * condition not true) and because SQL lets the arms of an AND be evaluated in any
 * order.  A guard cannot raise (bare.c) and only built-in types and enums make
 * guards, whose hash and comparison functions cannot either.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "capture/bare.h"
#include "capture/filter.h"

#define WORD_BITS 64

typedef enum GuardKind
{
	GUARD_EQUAL,
	GUARD_ABOVE, /* > or >= */
	GUARD_BELOW	 /* < or <= */
} GuardKind;

/* What a rule's condition demands of one column. */
typedef struct Guard
{
	GuardKind	kind;
	Var		   *column;
	Oid			type;
	Oid			collation;
	int			count;
	Datum	   *values; /* any of them; one bound for ranges */
} Guard;

typedef struct GuardValue
{
	uint32		hash;
	Datum		datum;
	uint64	   *rules;
	struct GuardValue *next; /* in its bucket */
} GuardValue;

/* All guards of a kind on a column. */
typedef struct GuardGroup
{
	GuardKind	kind;
	bool		old; /* of the old row */
	AttrNumber	attno;
	Oid			type;
	Oid			collation;
	FmgrInfo	hash; /* GUARD_EQUAL */
	FmgrInfo	equal;
	uint32		mask;
	GuardValue	  **buckets;
	FmgrInfo	compare; /* ranges */
	Datum		bound;
	uint64	   *rules;
	struct GuardGroup *next;
} GuardGroup;

typedef struct Filter
{
	int			count; /* rules */
	int			words; /* of the bit sets */
	uint64	   *always;
	uint64	   *candidates; /* of the row aimed at */
	GuardGroup	   *groups;
} Filter;

/* ------------------------------------------------------------- guards --- */

static bool
is_plain_type(Oid type)
{
	return type < FirstNormalObjectId || type_is_enum(type);
}

/* Is it a comparison of the type with itself, and which? */
static bool
find_kind(Oid op, Oid type, GuardKind *kind)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY);

	if (op == entry->eq_opr)
	{
		*kind = GUARD_EQUAL;
		return true;
	}
	if (!OidIsValid(entry->btree_opf))
		return false;
	switch (get_op_opfamily_strategy(op, entry->btree_opf))
	{
		case BTLessStrategyNumber:
		case BTLessEqualStrategyNumber:
			*kind = GUARD_BELOW;
			return true;
		case BTGreaterStrategyNumber:
		case BTGreaterEqualStrategyNumber:
			*kind = GUARD_ABOVE;
			return true;
		default:
			return false;
	}
}

/* An integer constant is often narrower than its column: the same type for both. */
static bool
widen(Const *constant, Oid type, Oid *op)
{
	Oid			family;
	Oid			wider;

	if (constant->consttype == type)
		return true;
	if (type != INT8OID || constant->consttype != INT4OID)
		return false;
	family = lookup_type_cache(INT8OID, TYPECACHE_BTREE_OPFAMILY)->btree_opf;
	wider = get_opfamily_member(family, INT8OID, INT8OID, get_op_opfamily_strategy(*op, family));
	if (!OidIsValid(wider))
		return false;
	*op = wider;
	constant->constvalue = Int64GetDatum(DatumGetInt32(constant->constvalue));
	constant->consttype = INT8OID;
	return true;
}

static bool
guard_by_operator(OpExpr *expression, Guard *guard)
{
	Node	   *left = linitial(expression->args);
	Node	   *right = list_length(expression->args) == 2 ? lsecond(expression->args) : NULL;
	Oid			op = expression->opno;
	Const	   *constant;

	if (right != NULL && IsA(left, Const))
	{
		Node	   *swap = left;

		left = right;
		right = swap;
		op = get_commutator(op);
	}
	if (right == NULL || !IsA(right, Const) || !IsA(without_relabel(left), Var))
		return false;
	constant = copyObject((Const *) right);
	guard->column = (Var *) without_relabel(left);
	guard->type = exprType(left);
	guard->collation = expression->inputcollid;
	if (constant->constisnull || !OidIsValid(op) || !widen(constant, guard->type, &op))
		return false;
	guard->count = 1;
	guard->values = palloc(sizeof(Datum));
	guard->values[0] = constant->constvalue;
	return find_kind(op, guard->type, &guard->kind);
}

/* column = ANY ('{...}') */
static bool
guard_by_array(ScalarArrayOpExpr *expression, Guard *guard)
{
	Node	   *left = linitial(expression->args);
	Const	   *right = lsecond(expression->args);
	ArrayType  *array;
	bool	   *nulls;
	int16		length;
	bool		by_value;
	char		align;

	if (!expression->useOr || !IsA(right, Const) || right->constisnull ||
		!IsA(without_relabel(left), Var))
		return false;
	guard->column = (Var *) without_relabel(left);
	guard->type = exprType(left);
	guard->collation = expression->inputcollid;
	array = DatumGetArrayTypePCopy(right->constvalue);
	if (ARR_ELEMTYPE(array) != guard->type ||
		!find_kind(expression->opno, guard->type, &guard->kind) || guard->kind != GUARD_EQUAL)
		return false;
	get_typlenbyvalalign(guard->type, &length, &by_value, &align);
	deconstruct_array(array, guard->type, length, by_value, align, &guard->values, &nulls,
					  &guard->count);
	for (int i = guard->count - 1; i >= 0; i--)
		if (nulls[i])
			guard->values[i] = guard->values[--guard->count];
	return true;
}

static bool
guard_by(Node *arm, Guard *guard)
{
	bool		found = false;
	TypeCacheEntry *type;

	if (IsA(arm, OpExpr))
		found = guard_by_operator((OpExpr *) arm, guard);
	else if (IsA(arm, ScalarArrayOpExpr))
		found = guard_by_array((ScalarArrayOpExpr *) arm, guard);
	if (!found || !is_plain_type(guard->type) || guard->column->varattno <= 0 ||
		!bare_expression(arm))
		return false;
	type = lookup_type_cache(guard->type,
							 TYPECACHE_HASH_PROC_FINFO | TYPECACHE_EQ_OPR_FINFO | TYPECACHE_CMP_PROC_FINFO);
	return OidIsValid(guard->kind == GUARD_EQUAL ? type->hash_proc : type->cmp_proc);
}

/* The guard of a condition, an equality rather than a range. */
static bool
find_guard(Node *condition, Guard *guard)
{
	List	   *arms = is_andclause(condition) ? ((BoolExpr *) condition)->args : list_make1(condition);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, arms)
	{
		Guard		other;

		if (!guard_by(lfirst(cell), &other) || (found && other.kind != GUARD_EQUAL))
			continue;
		*guard = other;
		found = true;
		if (guard->kind == GUARD_EQUAL)
			break;
	}
	return found;
}

/* ------------------------------------------------------------- groups --- */

static void
add_rule(uint64 *set, int position)
{
	set[position / WORD_BITS] |= UINT64CONST(1) << (position % WORD_BITS);
}

static uint64 *
make_set(const Filter *filter)
{
	return palloc0(Max(filter->words, 1) * sizeof(uint64));
}

static GuardGroup *
make_group(Filter *filter, const Guard *guard)
{
	TypeCacheEntry *type = lookup_type_cache(guard->type,
											 TYPECACHE_HASH_PROC | TYPECACHE_EQ_OPR_FINFO | TYPECACHE_CMP_PROC);
	GuardGroup	   *group = palloc0(sizeof(GuardGroup));

	group->kind = guard->kind;
	group->old = guard->column->varno == INNER_VAR;
	group->attno = guard->column->varattno;
	group->type = guard->type;
	group->collation = guard->collation;
	if (guard->kind == GUARD_EQUAL)
	{
		fmgr_info(type->hash_proc, &group->hash);
		fmgr_info(type->eq_opr_finfo.fn_oid, &group->equal);
		group->mask = pg_nextpower2_32(4 * filter->count) - 1;
		group->buckets = palloc0((group->mask + 1) * sizeof(GuardValue *));
	}
	else
		fmgr_info(type->cmp_proc, &group->compare);
	group->next = filter->groups;
	filter->groups = group;
	return group;
}

static GuardGroup *
find_group(Filter *filter, const Guard *guard)
{
	for (GuardGroup *group = filter->groups; group != NULL; group = group->next)
		if (group->kind == guard->kind && group->type == guard->type &&
			group->collation == guard->collation && group->attno == guard->column->varattno &&
			group->old == (guard->column->varno == INNER_VAR))
			return group;
	return make_group(filter, guard);
}

static GuardValue *
find_value(GuardGroup *group, Datum datum, uint32 hash)
{
	for (GuardValue *value = group->buckets[hash & group->mask]; value != NULL; value = value->next)
		if (value->hash == hash &&
			DatumGetBool(FunctionCall2Coll(&group->equal, group->collation, value->datum, datum)))
			return value;
	return NULL;
}

static uint32
hash_of(GuardGroup *group, Datum datum)
{
	return DatumGetUInt32(FunctionCall1Coll(&group->hash, group->collation, datum));
}

static Datum
copy_value(const GuardGroup *group, Datum datum)
{
	int16		length;
	bool		by_value;

	get_typlenbyval(group->type, &length, &by_value);
	return datumCopy(datum, by_value, length);
}

static void
add_value(const Filter *filter, GuardGroup *group, Datum datum, int position)
{
	uint32		hash = hash_of(group, datum);
	GuardValue	   *value = find_value(group, datum, hash);

	if (value == NULL)
	{
		value = palloc(sizeof(GuardValue));
		value->hash = hash;
		value->datum = copy_value(group, datum);
		value->rules = make_set(filter);
		value->next = group->buckets[hash & group->mask];
		group->buckets[hash & group->mask] = value;
	}
	add_rule(value->rules, position);
}

static int
compare(GuardGroup *group, Datum one, Datum other)
{
	return DatumGetInt32(FunctionCall2Coll(&group->compare, group->collation, one, other));
}

/* The loosest bound of all serves the group. */
static void
add_bound(const Filter *filter, GuardGroup *group, Datum bound, int position)
{
	if (group->rules == NULL)
	{
		group->rules = make_set(filter);
		group->bound = copy_value(group, bound);
	}
	else if (group->kind == GUARD_ABOVE ? compare(group, bound, group->bound) < 0 :
			 compare(group, bound, group->bound) > 0)
		group->bound = copy_value(group, bound);
	add_rule(group->rules, position);
}

static void
add_guard(Filter *filter, const Guard *guard, int position)
{
	GuardGroup	   *group = find_group(filter, guard);

	if (guard->kind != GUARD_EQUAL)
		add_bound(filter, group, guard->values[0], position);
	else
		for (int i = 0; i < guard->count; i++)
			add_value(filter, group, guard->values[i], position);
}

Filter *
filter_build(const RuleSet *set, CaptureOp op)
{
	Filter	   *filter = palloc0(sizeof(Filter));

	filter->count = set->wanted[op];
	filter->words = (filter->count + WORD_BITS - 1) / WORD_BITS;
	filter->always = make_set(filter);
	filter->candidates = make_set(filter);
	for (int i = 0; i < filter->count; i++)
	{
		const Rule *rule = set->by_op[op][i];
		Guard		guard;

		if (rule->problem == NULL && rule->condition != NULL &&
			find_guard((Node *) rule->condition->state->expr, &guard))
			add_guard(filter, &guard, i);
		else
			add_rule(filter->always, i);
	}
	return filter;
}

/* -------------------------------------------------------------- a row --- */

static const uint64 *
let_through(GuardGroup *group, Datum datum)
{
	GuardValue	   *value;
	int			order;

	if (group->kind == GUARD_EQUAL)
	{
		value = find_value(group, datum, hash_of(group, datum));
		return value ? value->rules : NULL;
	}
	order = compare(group, datum, group->bound);
	return (group->kind == GUARD_ABOVE ? order >= 0 : order <= 0) ? group->rules : NULL;
}

void
filter_aim(Filter *filter, TupleTableSlot *new, TupleTableSlot *old)
{
	memcpy(filter->candidates, filter->always, filter->words * sizeof(uint64));
	for (GuardGroup *group = filter->groups; group != NULL; group = group->next)
	{
		bool		isnull;
		Datum		datum = slot_getattr(group->old ? old : new, group->attno, &isnull);
		const uint64 *rules = isnull ? NULL : let_through(group, datum);

		for (int i = 0; rules != NULL && i < filter->words; i++)
			filter->candidates[i] |= rules[i];
	}
}

int
filter_next(const Filter *filter, int position)
{
	while (position < filter->count)
	{
		uint64		rest = filter->candidates[position / WORD_BITS] >> (position % WORD_BITS);

		if (rest != 0)
			return position + pg_rightmost_one_pos64(rest);
		position += WORD_BITS - position % WORD_BITS;
	}
	return -1;
}
