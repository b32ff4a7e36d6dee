/*
 * again.c
 *		Asking a rule again about an event that was written: notify._evaluate().
 *
 * Behind replay().  The rows an event holds become rows of the table again, and
 * the current version of one rule is evaluated over them as capture would.
 * An event holds no more than source.columns allowed at its time, so a rule that
 * reads anything else cannot be asked: it stays undecided.
 *
 * Making a row runs the input functions and domain checks of its types.  Whoever
 * owns the table chose those, so they run as that role, restricted as for an
 * index; nobody else's rights are lent to them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "capture/attempt.h"
#include "capture/change.h"
#include "process/wakeup.h"

PG_FUNCTION_INFO_V1(notify_evaluate);

enum
{
	ARG_VERSION,
	ARG_RELATION,
	ARG_OP,
	ARG_TYPE,
	ARG_NEW,
	ARG_OLD
};

enum
{
	RESULT_VERDICT,
	RESULT_RECIPIENT,
	RESULT_OWN_RECIPIENT,
	RESULT_DEDUPE_KEY,
	RESULT_CANCEL_KEY,
	RESULT_DETAIL,
	RESULT_COLUMNS
};

/* The rows of an event on their way to slots. */
typedef struct Rows
{
	Relation relation;
	const Jsonb *new;
	const Jsonb *old;
	RuleSet		*set;
	Change		*change;
} Rows;

/* jsonb_populate_record(NULL::relation, image) */
static HeapTuple
populate(Relation relation, const Jsonb *image)
{
	LOCAL_FCINFO(fcinfo, 2);
	Oid				row = relation->rd_rel->reltype;
	FmgrInfo		function;
	HeapTupleHeader header;
	HeapTupleData	tuple;

	fmgr_info(F_JSONB_POPULATE_RECORD, &function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_JSONB_POPULATE_RECORD, row,
											 list_make2(makeNullConst(row, -1, InvalidOid),
														makeNullConst(JSONBOID, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
					   &function);
	InitFunctionCallInfoData(*fcinfo, &function, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = (Datum) 0;
	fcinfo->args[0].isnull = true;
	fcinfo->args[1].value = JsonbPGetDatum(image);
	fcinfo->args[1].isnull = false;
	header = DatumGetHeapTupleHeader(FunctionCallInvoke(fcinfo));
	memset(&tuple, 0, sizeof(tuple));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	return heap_copytuple(&tuple);
}

static TupleTableSlot *
make_row(const Rows *rows, const Jsonb *image)
{
	TupleTableSlot *slot;

	if (image == NULL)
		return rows->set->nothing;
	slot = MakeSingleTupleTableSlot(rows->set->nothing->tts_tupleDescriptor, &TTSOpsHeapTuple);
	return ExecStoreHeapTuple(populate(rows->relation, image), slot, false);
}

static void
make_rows(void *arg)
{
	Rows		  *rows = arg;
	Identity	   owner = {rows->relation->rd_rel->relowner, "pg_catalog, pg_temp"};
	IdentityBefore before;

	identity_assume(&owner, &before);
	rows->change->new = make_row(rows, rows->new);
	rows->change->old = make_row(rows, rows->old);
	identity_restore(&before);
}

static bool
has_column(const Jsonb *image, const char *name)
{
	JsonbValue key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(unconstify(JsonbContainer *, &image->root), JB_FOBJECT,
									   &key) != NULL;
}

static bool
reads(const Expression *expression, AttrNumber attno)
{
	return expression != NULL &&
		   (expression->whole_row || bms_is_member(attno, expression->columns));
}

/* A column the rule reads and the event does not hold; NULL: there is none. */
static const char *
missing_column(const RuleSet *set, const Rule *rule, const Jsonb *image)
{
	TupleDesc row = set->nothing->tts_tupleDescriptor;
	int		  i;

	for (i = 0; i < row->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row, i);

		if (attribute->attisdropped || has_column(image, NameStr(attribute->attname)))
			continue;
		if (reads(rule->condition, i + 1) || reads(rule->recipient, i + 1) ||
			reads(rule->dedupe_key, i + 1) || reads(rule->cancel_key, i + 1) ||
			(rule->recipient == NULL && reads(set->recipient.expression, i + 1)))
			return pstrdup(NameStr(attribute->attname));
	}
	return NULL;
}

static const Rule *
find_version(const RuleSet *set, int64 version)
{
	int i;

	for (i = 0; i < set->rule_count; i++)
		if (set->rules[i].version == version)
			return &set->rules[i];
	return NULL;
}

static CaptureOp
op_by_letter(char letter)
{
	switch (letter)
	{
		case 'I':
			return CAPTURE_INSERT;
		case 'U':
			return CAPTURE_UPDATE;
		case 'D':
			return CAPTURE_DELETE;
		case 'E':
			return CAPTURE_EMIT;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("rules do not look at events of op \"%c\"", letter)));
}

/* Returns why the rule cannot be asked, or NULL. */
static const char *
ask_of_row(int64 version, Relation relation, CaptureOp op, const Jsonb *new, const Jsonb *old,
		   Evaluation *evaluation)
{
	RuleSet	   *set = rules_of_relation(relation);
	Change	   *change = palloc0(sizeof(Change));
	Rows		rows = {relation, new, old, set, change};
	const Rule *rule = find_version(set, version);
	const char *missing;
	ErrorData  *error;

	if (rule == NULL)
		return "the rule is not in force";
	if (new == NULL && old == NULL)
		return "the event holds no row";
	missing = missing_column(set, rule, new ? new : old);
	if (missing != NULL)
		return psprintf("the rule reads column \"%s\", which the event does not hold", missing);
	change->op = op;
	error = attempt(make_rows, &rows);
	if (error != NULL)
		return error->message;
	evaluate_one(set, change, version, evaluation);
	return NULL;
}

static void
ask_of_emitted(int64 version, const char *type, const Jsonb *data, Evaluation *evaluation)
{
	RuleSet *set = rules_of_emitted();
	Change	*change = palloc0(sizeof(Change));

	change_emitted(set, type, data, change);
	evaluate_one(set, change, version, evaluation);
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

static Datum
make_result(FunctionCallInfo fcinfo, const Evaluation *evaluation, const char *detail)
{
	const Verdict *verdict = evaluation->count > 0 ? &evaluation->verdicts[0] : NULL;
	const char	  *word = detail ? "undecided" : "no";
	TupleDesc	   row;
	Datum		   values[RESULT_COLUMNS];
	bool		   nulls[RESULT_COLUMNS];

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	if (verdict != NULL && verdict->state == VERDICT_UNDECIDED)
	{
		word = "undecided";
		detail = verdict->problem->message;
	}
	else if (verdict != NULL && verdict->state == VERDICT_MATCHED)
	{
		word = "matched";
		set_text(values, nulls, RESULT_RECIPIENT, evaluation->recipient);
		set_text(values, nulls, RESULT_OWN_RECIPIENT, verdict->recipient);
		set_text(values, nulls, RESULT_DEDUPE_KEY, verdict->dedupe_key);
		set_text(values, nulls, RESULT_CANCEL_KEY, verdict->cancel_key);
		notify_wake_planner();
	}
	set_text(values, nulls, RESULT_VERDICT, word);
	set_text(values, nulls, RESULT_DETAIL, detail);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls));
}

Datum
notify_evaluate(PG_FUNCTION_ARGS)
{
	int64	  version = PG_GETARG_INT64(ARG_VERSION);
	CaptureOp op = op_by_letter(PG_GETARG_CHAR(ARG_OP));
	Jsonb *new = PG_ARGISNULL(ARG_NEW) ? NULL : PG_GETARG_JSONB_P(ARG_NEW);
	Jsonb	   *old = PG_ARGISNULL(ARG_OLD) ? NULL : PG_GETARG_JSONB_P(ARG_OLD);
	Evaluation	evaluation = {NULL};
	const char *detail = NULL;
	Relation	relation;

	if (op == CAPTURE_EMIT)
		ask_of_emitted(version, text_to_cstring(PG_GETARG_TEXT_PP(ARG_TYPE)), new, &evaluation);
	else
	{
		relation = relation_open(PG_GETARG_OID(ARG_RELATION), AccessShareLock);
		detail = ask_of_row(version, relation, op, new, old, &evaluation);
		relation_close(relation, NoLock);
	}
	PG_RETURN_DATUM(make_result(fcinfo, &evaluation, detail));
}
