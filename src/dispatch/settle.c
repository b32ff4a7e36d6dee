/*
 * settle.c
 *		Answers and messages not begun, a batch at a time: record.c writes the first
 *		down, notify._give_back() takes the others.
 *
 * The jobs stay where they are until the caller has committed, so a failed
 * transaction loses no answer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"

#include "dispatch/record.h"
#include "dispatch/settle.h"
#include "statement.h"

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
const char *
foreign_text(char *text)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		for (char *c = text; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	return text;
}

static void
fill_answer(Answer *answer, Job *job)
{
	bool		shown = job->outlet->inbox && job->result.class == SEND_OK;
	int64		latency = (job->answered_at - job->begun_at) / 1000;

	answer->tid = job->tid;
	answer->message = job->letter.message;
	answer->class = send_class_name(job->result.class);
	answer->code = job->result.code;
	answer->detail = foreign_text(job->result.detail);
	answer->reference = foreign_text(job->result.reference);
	answer->retry_ms = job->retry_ms;
	answer->latency = (int) Min(latency, PG_INT32_MAX);
	answer->subject = !shown ? NULL : job->letter.subject ? job->letter.subject : "";
	answer->body = shown ? job->letter.body : NULL;
	answer->ambiguous = job->result.ambiguous;
}

static void
run_answers(Settlement *settlement)
{
	Answer	   *answers = palloc(settlement->njobs * sizeof(Answer));

	for (int i = 0; i < settlement->njobs; i++)
		fill_answer(&answers[i], settlement->jobs[i]);
	settlement->accepted = record(settlement->slot, settlement->boot, answers, settlement->njobs);
	pfree(answers);
}

/* Rows as they were before they were claimed */
static void
run_unsent(Settlement *settlement)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT4OID, INT8OID, TIDARRAYOID, INT8ARRAYOID};
	int			n = settlement->nunsent;
	Datum	   *tids = palloc(n * sizeof(Datum));
	Datum	   *messages = palloc(n * sizeof(Datum));
	Datum		values[] = {Int32GetDatum(settlement->slot), Int64GetDatum(settlement->boot), 0, 0};

	for (int i = 0; i < n; i++)
	{
		tids[i] = PointerGetDatum(&settlement->unsent[i]->tid);
		messages[i] = Int64GetDatum(settlement->unsent[i]->letter.message);
	}
	values[2] = PointerGetDatum(construct_array(tids, n, TIDOID, sizeof(ItemPointerData), false,
												TYPALIGN_SHORT));
	values[3] = PointerGetDatum(construct_array(messages, n, INT8OID, 8, FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	statement_plan(&plan, "SELECT notify._give_back($1, $2, $3, $4)", 4, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._give_back() failed");
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
