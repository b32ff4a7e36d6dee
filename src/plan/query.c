/*
 * query.c
 *		A rule's audience and context: SELECTs that see new, old and event.
 *
 * The rule's text becomes a lateral subquery over a batch of events, so that a
 * rule's events cost one execution together:
 *
 *		SELECT b.id, to_jsonb(q) FROM unnest($1, $2, $3, $4) b,
 *			<new>, <old>, <event>, LATERAL (<the rule's text>) q
 *
 * new and old are rows of the table's current type made from the event's
 * jsonb, or the jsonb itself for emitted events.  The text alone must be one
 * SELECT, which is what makes wrapping it safe: it cannot close the subquery.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"

#include "capture/identity.h"
#include "capture/lender.h"
#include "plan/query.h"

PG_FUNCTION_INFO_V1(notify_check_query);
PG_FUNCTION_INFO_V1(notify_query_columns);

typedef struct QueryText
{
	const char *text;			/* the rule's */
	int			before;			/* characters put before it */
} QueryText;

QueryKind
query_kind(const char *name)
{
	if (strcmp(name, "audience") == 0)
		return QUERY_AUDIENCE;
	if (strcmp(name, "context") == 0)
		return QUERY_CONTEXT;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of query \"%s\"", name)));
}

/* Positions are within the rule's text, not within what is wrapped around it. */
static void
query_error_context(void *arg)
{
	QueryText  *query = arg;
	int			position = geterrposition() > 0 ? geterrposition() : getinternalerrposition();

	if (position > query->before)
	{
		errposition(0);
		internalerrposition(position - query->before);
		internalerrquery(query->text);
	}
}

/* One SELECT that reads: no locking, no INTO. */
static void
check_is_select(const char *text)
{
	List	   *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	Node	   *statement;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query must be one SELECT, not %d statements", list_length(statements))));
	statement = linitial_node(RawStmt, statements)->stmt;
	if (!IsA(statement, SelectStmt) ||
		((SelectStmt *) statement)->intoClause != NULL ||
		((SelectStmt *) statement)->lockingClause != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query must be a SELECT that only reads"),
				 errhint("Write SELECT ... over new, old and event, without INTO or FOR UPDATE.")));
}

static void
append_row(StringInfo sql, const char *name, const char *column, const char *rowtype)
{
	if (rowtype != NULL)
		appendStringInfo(sql, " CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::%s, notify_batch.%s) AS %s",
						 rowtype, column, name);
	else
		appendStringInfo(sql, " CROSS JOIN LATERAL (SELECT notify_batch.%s AS %s) AS %s",
						 column, name, name);
}

/* What stands before the rule's text; returns its length in characters. */
static int
append_head(StringInfo sql, Oid relation)
{
	char	   *rowtype = NULL;

	if (OidIsValid(relation))
		rowtype = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
											 get_rel_name(relation));
	appendStringInfoString(sql,
						   "SELECT notify_batch.id, pg_catalog.to_jsonb(notify_result.*)"
						   " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
						   " pg_catalog.unnest($3), pg_catalog.unnest($4))"
						   " AS notify_batch (id, new_data, old_data, meta)");
	append_row(sql, "new", "new_data", rowtype);
	append_row(sql, "old", "old_data", rowtype);
	appendStringInfoString(sql,
						   " CROSS JOIN LATERAL (SELECT notify_batch.id AS id,"
						   " pg_catalog.jsonb_extract_path_text(notify_batch.meta, 'type') AS type,"
						   " pg_catalog.jsonb_extract_path_text(notify_batch.meta, 'key') AS key,"
						   " pg_catalog.jsonb_extract_path_text(notify_batch.meta, 'op') AS op,"
						   " pg_catalog.jsonb_extract_path_text(notify_batch.meta, 'at')::timestamptz AS at) AS event"
						   " CROSS JOIN LATERAL (");
	return pg_mbstrlen_with_len(sql->data, sql->len);
}

static bool
is_result(const RangeTblEntry *rte)
{
	return rte->alias != NULL && strcmp(rte->alias->aliasname, "notify_result") == 0;
}

/* The names of the columns the rule's text gives. */
static List *
result_columns(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	Query	   *query = linitial_node(Query, source->query_list);
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (is_result(rte))
			return rte->eref->colnames;
	}
	return NIL;
}

/* An audience says whom: its columns must include "recipient". */
static void
check_has_recipient(SPIPlanPtr plan)
{
	ListCell   *name;

	foreach(name, result_columns(plan))
		if (strcmp(strVal(lfirst(name)), "recipient") == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("audience query has no column \"recipient\""),
			 errhint("Name the column that holds the recipient's id: SELECT ... AS recipient.")));
}

static void
check_table(Oid relid)
{
	Relation	relation;

	if (!OidIsValid(relid))
		return;
	relation = relation_open(relid, AccessShareLock);
	lender_check_table(relation);
	relation_close(relation, NoLock);
}

/* With views expanded, so also what they call. */
static void
check_code(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	ListCell   *cell;

	foreach(cell, source->query_list)
		lender_check_code(lfirst(cell));
}

SPIPlanPtr
query_prepare(QueryKind kind, const char *text, Oid relation)
{
	Oid			types[QUERY_NARGS] = {INT8ARRAYOID, JSONBARRAYOID, JSONBARRAYOID, JSONBARRAYOID};
	ErrorContextCallback callback;
	QueryText	query = {text, 0};
	StringInfoData sql;
	SPIPlanPtr	plan;

	initStringInfo(&sql);
	callback.callback = query_error_context;
	callback.arg = &query;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	check_is_select(text);
	check_table(relation);
	query.before = append_head(&sql, relation);
	/* The new line ends a comment the text may end in. */
	appendStringInfo(&sql, "%s\n) AS notify_result ORDER BY 1", text);
	plan = SPI_prepare(sql.data, QUERY_NARGS, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	check_code(plan);
	if (kind == QUERY_AUDIENCE)
		check_has_recipient(plan);
	error_context_stack = callback.previous;
	return plan;
}

/* Run it over no events at all: that checks the owner's privileges. */
static void
check_privileges(SPIPlanPtr plan)
{
	Datum		values[QUERY_NARGS];

	values[0] = PointerGetDatum(construct_empty_array(INT8OID));
	values[1] = values[2] = values[3] = PointerGetDatum(construct_empty_array(JSONBOID));
	SPI_execute_plan(plan, values, NULL, true, 0);
}

/* Prepares what (relation, text, kind, owner, search_path) name, as the owner. */
static SPIPlanPtr
prepare_as_owner(FunctionCallInfo fcinfo, IdentityBefore *before)
{
	Oid			relation = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	QueryKind	kind = query_kind(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	Identity	identity;

	identity.owner = PG_GETARG_OID(3);
	identity.search_path = identity_path(text_to_cstring(PG_GETARG_TEXT_PP(4)));
	identity_require(identity.owner);
	SPI_connect();
	identity_assume(&identity, before);
	return query_prepare(kind, query, relation);
}

/* _check_query(relation, text, kind, owner, search_path) */
Datum
notify_check_query(PG_FUNCTION_ARGS)
{
	IdentityBefore before;

	check_privileges(prepare_as_owner(fcinfo, &before));
	identity_restore(&before);
	SPI_finish();
	PG_RETURN_VOID();
}

/* _query_columns(relation, text, kind, owner, search_path) returns text[] */
Datum
notify_query_columns(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	IdentityBefore before;
	List	   *names = result_columns(prepare_as_owner(fcinfo, &before));
	Datum	   *texts = palloc(Max(list_length(names), 1) * sizeof(Datum));
	ArrayType  *array;
	ListCell   *name;
	int			n = 0;

	foreach(name, names)
		texts[n++] = CStringGetTextDatum(strVal(lfirst(name)));
	MemoryContextSwitchTo(caller);
	array = construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT);
	identity_restore(&before);
	SPI_finish();
	PG_RETURN_ARRAYTYPE_P(array);
}
