/*
 * rules.c
 *		The rules of a relation, compiled and kept by each backend.
 *
 * One RuleSet per relation whose trigger fired here, and one (relid 0) for all
 * rules on emitted events.  Everything of a set lives in its own memory context,
 * a child of CacheMemoryContext.
 *
 * Invariants:
 *	- Invalidation only clears "valid".  A set is freed at the end of the
 *	  top-level transaction, so whoever got one may use it until then.
 *	- A set is filled with a snapshot taken after its invalidations were
 *	  processed; when another arrives during the fill, what was filled serves
 *	  this call and is marked, so the next call fills again.
 *	- ExprStates are not re-entrant.  A set whose states are being evaluated is
 *	  busy; a nested use (a rule's function that changes the same table) gets
 *	  a spare set, which lives until the end of the transaction.
 *	- A rule that does not compile carries its problem; the fill does not fail.
 *	  It may lack anything, so such a set is filled again after any change of a
 *	  relation, function or type.
 *
 * How a change reaches a backend: a statement trigger on notify.rule and
 * notify.source sends a relcache invalidation of that table, as DDL on the
 * relation, or on anything an expression uses, does by itself.  Messages are
 * taken in when locks are; rules_of_relation() also looks for them at the first
 * row of each command, for the writer that holds its locks already.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "capture/fill.h"
#include "capture/invalidate.h"
#include "capture/names.h"
#include "capture/rules.h"

typedef struct RuleSetEntry
{
	Oid		 relid; /* hash key */
	RuleSet *set;
} RuleSetEntry;

static HTAB		 *sets = NULL;
static dlist_head all_sets = DLIST_STATIC_INIT(all_sets);
static RuleSet	 *last_used = NULL;
static bool		  have_stale = false;

static HTAB *
create_table(void)
{
	HASHCTL control = {0};

	invalidate_listen();
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(RuleSetEntry);
	control.hcxt = CacheMemoryContext;
	return hash_create("notify_pg rules", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * Fill a new set.  It joins the list only when complete: until then nobody
 * could mark it, which is what the generation is for.
 */
static RuleSet *
create_set(Relation relation)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "notify_pg rule set", ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	RuleSet		 *set = palloc0(sizeof(RuleSet));
	uint64		  generation;

	set->context = context;
	set->relid = relation ? RelationGetRelid(relation) : InvalidOid;
	AcceptInvalidationMessages();
	generation = invalidate_generation();
	fill_rule_set(set, relation);
	MemoryContextSwitchTo(before);
	MemoryContextSetParent(context, CacheMemoryContext);
	set->valid = generation == invalidate_generation();
	have_stale |= !set->valid;
	dlist_push_head(&all_sets, &set->link);
	return set;
}

static RuleSet *
find_set(Oid relid, Relation relation)
{
	RuleSetEntry *entry;
	RuleSet		 *set;
	bool		  found;

	if (sets == NULL)
		sets = create_table();
	entry = hash_search(sets, &relid, HASH_FIND, NULL);
	if (entry != NULL && entry->set->valid)
		return entry->set;
	set = create_set(relation);
	entry = hash_search(sets, &relid, HASH_ENTER, &found);
	have_stale |= found; /* what it replaces, were it filled meanwhile */
	entry->set = set;
	return set;
}

/* A set for use inside the evaluation of another of the same relation. */
static RuleSet *
idle_set(RuleSet *set, Relation relation)
{
	while (set->busy > 0)
	{
		if (set->spare == NULL || !set->spare->valid)
			set->spare = create_set(relation);
		have_stale = true;
		set = set->spare;
	}
	return set;
}

/* Hear of changes at the first row of each command. */
static void
hear_changes(void)
{
	static TimestampTz statement = 0;
	static CommandId   command = InvalidCommandId;
	TimestampTz		   current_statement = GetCurrentStatementStartTimestamp();
	CommandId		   current_command = GetCurrentCommandId(false);

	if (statement == current_statement && command == current_command)
		return;
	statement = current_statement;
	command = current_command;
	AcceptInvalidationMessages();
}

static RuleSet *
get_set(Oid relid, Relation relation)
{
	RuleSet *set = last_used;

	hear_changes();
	if (set == NULL || set->relid != relid || !set->valid)
		last_used = set = find_set(relid, relation);
	return set->busy > 0 ? idle_set(set, relation) : set;
}

RuleSet *
rules_of_relation(Relation relation)
{
	return get_set(RelationGetRelid(relation), relation);
}

RuleSet *
rules_of_emitted(void)
{
	return get_set(InvalidOid, NULL);
}

static void
mark(RuleSet *set)
{
	set->valid = false;
	have_stale = true;
}

void
rules_world_changed(void)
{
	dlist_iter iter;

	dlist_foreach(iter, &all_sets) mark(dlist_container(RuleSet, link, iter.cur));
}

void
rules_relation_changed(Oid relid)
{
	dlist_iter iter;

	if (!OidIsValid(relid) || names_is(NAME_RULE, relid) || names_is(NAME_SOURCE, relid))
	{
		rules_world_changed();
		return;
	}
	dlist_foreach(iter, &all_sets)
	{
		RuleSet *set = dlist_container(RuleSet, link, iter.cur);

		if (set->relid == relid || set->source == relid || set->has_problem ||
			list_member_oid(set->needs.relations, relid))
			mark(set);
	}
}

static bool
needs_object(const RuleSet *set, int cacheid, uint32 hashvalue)
{
	ListCell *cell;

	foreach (cell, set->needs.objects)
	{
		PlanInvalItem *item = lfirst(cell);

		if (item->cacheId == cacheid && (hashvalue == 0 || item->hashValue == hashvalue))
			return true;
	}
	return false;
}

void
rules_object_changed(int cacheid, uint32 hashvalue)
{
	dlist_iter iter;

	dlist_foreach(iter, &all_sets)
	{
		RuleSet *set = dlist_container(RuleSet, link, iter.cur);

		if (set->has_problem || needs_object(set, cacheid, hashvalue))
			mark(set);
	}
}

/* Nobody evaluates anything now: free what was marked, and every spare. */
void
rules_free_stale(void)
{
	dlist_mutable_iter iter;

	if (!have_stale)
		return;
	last_used = NULL;
	dlist_foreach_modify(iter, &all_sets)
	{
		RuleSet		 *set = dlist_container(RuleSet, link, iter.cur);
		RuleSetEntry *entry = hash_search(sets, &set->relid, HASH_FIND, NULL);
		bool		  is_main = entry != NULL && entry->set == set;

		set->spare = NULL;
		set->busy = 0;
		if (is_main && set->valid)
			continue;
		if (is_main)
			hash_search(sets, &set->relid, HASH_REMOVE, NULL);
		dlist_delete(&set->link);
		MemoryContextDelete(set->context);
	}
	have_stale = false;
}
