/*
 * truncate.c
 *		TRUNCATE of an attached table: refused, or recorded as an event.
 *
 * TRUNCATE of a tree fires for the attached table first and then for every
 * partition and child; that is one event, of what comes first.  What belongs
 * to one statement is told by the executor state it works in: triggers are
 * called in a memory context below that state's.  A callback forgets the
 * statement when its state goes, whichever way it ends.
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "capture/event.h"
#include "capture/truncate.h"

/* A TRUNCATE at work; lives in its executor state. */
typedef struct Statement
{
	MemoryContext		  context;
	List				 *sources; /* recorded already */
	MemoryContextCallback forget;
} Statement;

static Statement *current = NULL;

static void
forget(void *arg)
{
	if (current == arg)
		current = NULL;
}

static Statement *
find_statement(MemoryContext context)
{
	if (current != NULL && current->context == context)
		return current;
	current = MemoryContextAllocZero(context, sizeof(Statement));
	current->context = context;
	current->forget.func = forget;
	current->forget.arg = current;
	MemoryContextRegisterResetCallback(context, &current->forget);
	return current;
}

static bool
is_recorded(Oid source)
{
	Statement	 *statement = find_statement(MemoryContextGetParent(CurrentMemoryContext));
	MemoryContext before;

	if (list_member_oid(statement->sources, source))
		return true;
	before = MemoryContextSwitchTo(statement->context);
	statement->sources = lappend_oid(statement->sources, source);
	MemoryContextSwitchTo(before);
	return false;
}

static void
set_string(JsonbValue *value, char *string)
{
	value->type = jbvString;
	value->val.string.val = string;
	value->val.string.len = strlen(string);
}

/* {"relation": "shop.orders"}: what was named, which may be a partition of the source. */
static const Jsonb *
describe(Relation relation)
{
	JsonbParseState *state = NULL;
	JsonbValue		 value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	set_string(&value, "relation");
	pushJsonbValue(&state, WJB_KEY, &value);
	set_string(&value,
			   quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
										  RelationGetRelationName(relation)));
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

void
truncate_capture(const TriggerData *call, const RuleSet *set)
{
	Event event = {'T', set->source};

	if (!OidIsValid(set->source))
		return;
	if (set->refuses_truncate)
		ereport(ERROR,
				(errcode(ERRCODE_RESTRICT_VIOLATION),
				 errmsg("cannot truncate table \"%s\"", RelationGetRelationName(call->tg_relation)),
				 errdetail("It is attached to notify_pg with on_truncate = 'refuse'."),
				 errhint("Use DELETE, whose rows are captured, or set on_truncate to "
						 "'record' in notify.source.")));
	if (is_recorded(set->source))
		return;
	event.instruction = describe(call->tg_relation);
	(void) event_write(&event, NULL);
}
