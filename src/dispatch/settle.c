/*
 * settle.c
 *		Writing answers down: one call of notify._settle() for a batch.
 *
 * The jobs stay where they are until the caller has committed, so a failed
 * transaction loses no answer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "dispatch/settle.h"

#define ARGUMENTS	13

/* One array argument while it is built. */
typedef struct Column
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} Column;

static void
settle_begin(Settlement *settlement, int most)
{
	settlement->njobs = settlement->sent = settlement->again = 0;
	settlement->accepted = 0;
	settlement->jobs = palloc(sizeof(Job *) * Max(1, most));
}

static void
settle_add(Settlement *settlement, Job *job)
{
	settlement->jobs[settlement->njobs++] = job;
	settlement->sent += job->result.class == SEND_OK;
	settlement->again += job->retry_ms >= 0;
}

void
settle_take(Settlement *settlement, dlist_head *answers, int most)
{
	dlist_iter	iter;

	settle_begin(settlement, most);
	dlist_foreach(iter, answers)
	{
		if (settlement->njobs == most)
			break;
		settle_add(settlement, dlist_container(Job, node, iter.cur));
	}
}

void
settle_take_unsent(Settlement *settlement, dlist_head *unsent, int most)
{
	dlist_iter	iter;

	settlement->unsent = palloc(sizeof(Job *) * Max(1, most));
	dlist_foreach(iter, unsent)
	{
		if (settlement->nunsent == most)
			break;
		settlement->unsent[settlement->nunsent++] = dlist_container(Job, node, iter.cur);
	}
}

void
settle_take_one(Settlement *settlement, Job *job)
{
	settle_begin(settlement, 1);
	settle_add(settlement, job);
}

/* Providers answer in UTF-8; elsewhere only what every encoding has survives. */
Datum
foreign_text(char *text)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		for (char *c = text; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	return CStringGetTextDatum(text);
}

static void
column_begin(Column *column, int n)
{
	column->n = n;
	column->values = palloc0(n * sizeof(Datum));
	column->nulls = palloc0(n * sizeof(bool));
}

static Datum
column_array(Column *column, Oid type)
{
	int			dims[] = {column->n};
	int			bounds[] = {1};
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(column->values, column->nulls, 1, dims, bounds,
											  type, length, by_value, align));
}

typedef enum SettleColumn
{
	S_TID, S_MESSAGE, S_CLASS, S_CODE, S_DETAIL, S_REF, S_RETRY, S_LATENCY,
	S_SUBJECT, S_BODY, S_AMBIGUOUS, S_COUNT
} SettleColumn;

static const Oid column_types[S_COUNT] = {
	TIDOID, INT8OID, TEXTOID, INT4OID, TEXTOID, TEXTOID, INT8OID, INT4OID,
	TEXTOID, TEXTOID, BOOLOID
};

static void
fill_inbox(Column *columns, int i, const Job *job)
{
	bool		shown = job->outlet->inbox && job->result.class == SEND_OK;
	const char *subject = job->letter.subject ? job->letter.subject : "";

	columns[S_SUBJECT].nulls[i] = columns[S_BODY].nulls[i] = !shown;
	if (!shown)
		return;
	columns[S_SUBJECT].values[i] = CStringGetTextDatum(subject);
	columns[S_BODY].values[i] = CStringGetTextDatum(job->letter.body);
}

static void
fill_job(Column *columns, int i, Job *job)
{
	int64		latency = (job->answered_at - job->begun_at) / 1000;

	columns[S_TID].values[i] = PointerGetDatum(&job->tid);
	columns[S_MESSAGE].values[i] = Int64GetDatum(job->letter.message);
	columns[S_CLASS].values[i] = CStringGetTextDatum(send_class_name(job->result.class));
	columns[S_CODE].values[i] = Int32GetDatum(job->result.code);
	columns[S_DETAIL].values[i] = foreign_text(job->result.detail);
	columns[S_REF].values[i] = foreign_text(job->result.reference);
	columns[S_RETRY].values[i] = Int64GetDatum(job->retry_ms);
	columns[S_LATENCY].values[i] = Int32GetDatum((int32) Min(latency, PG_INT32_MAX));
	columns[S_AMBIGUOUS].values[i] = BoolGetDatum(job->result.ambiguous);
	fill_inbox(columns, i, job);
}

static SPIPlanPtr
settle_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[ARGUMENTS] = {INT4OID, INT8OID, TIDARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
		INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID};

	if (plan)
		return plan;
	plan = SPI_prepare("SELECT notify._settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
					   ARGUMENTS, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare settling: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

/* Rows as they were before they were claimed */
static void
run_unsent(Settlement *settlement)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT4OID, INT8OID, TIDARRAYOID, INT8ARRAYOID};
	Column		tids;
	Column		messages;
	Datum		values[4];

	column_begin(&tids, settlement->nunsent);
	column_begin(&messages, settlement->nunsent);
	for (int i = 0; i < settlement->nunsent; i++)
	{
		tids.values[i] = PointerGetDatum(&settlement->unsent[i]->tid);
		messages.values[i] = Int64GetDatum(settlement->unsent[i]->letter.message);
	}
	values[0] = Int32GetDatum(settlement->slot);
	values[1] = Int64GetDatum(settlement->boot);
	values[2] = column_array(&tids, TIDOID);
	values[3] = column_array(&messages, INT8OID);
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT notify._give_back($1, $2, $3, $4)", 4, types);
		if (plan == NULL)
			elog(ERROR, "could not prepare giving back: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._give_back() failed");
}

static void
run_answers(Settlement *settlement)
{
	Column		columns[S_COUNT];
	Datum		values[ARGUMENTS];
	bool		isnull;

	for (int c = 0; c < S_COUNT; c++)
		column_begin(&columns[c], settlement->njobs);
	for (int i = 0; i < settlement->njobs; i++)
		fill_job(columns, i, settlement->jobs[i]);
	values[0] = Int32GetDatum(settlement->slot);
	values[1] = Int64GetDatum(settlement->boot);
	for (int c = 0; c < S_COUNT; c++)
		values[c + 2] = column_array(&columns[c], column_types[c]);
	if (SPI_execute_plan(settle_plan(), values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "notify._settle() failed");
	settlement->accepted = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													   SPI_tuptable->tupdesc, 1, &isnull));
}

/* Inside a transaction. */
void
settle_run(Settlement *settlement)
{
	if (settlement->nunsent > 0)
		run_unsent(settlement);
	if (settlement->njobs > 0)
		run_answers(settlement);
}
