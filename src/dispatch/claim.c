/*
 * claim.c
 *		Jobs out of the rows that take.c claims.
 *
 * Runs inside a transaction that the caller commits before anything is sent.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "dispatch/claim.h"
#include "dispatch/render.h"
#include "dispatch/take.h"
#include "guc.h"
#include "ticks.h"

/* Where the messages of a claim go. */
typedef struct Receiver
{
	Claim	   *claim;
	MemoryContext parent;
} Receiver;

static Size held_bytes = 0;
static int	held_jobs = 0;

void
job_grow(Job *job, Size bytes)
{
	job->size += bytes;
	held_bytes += bytes;
}

void
job_free(Job *job)
{
	held_bytes -= job->size;
	held_jobs--;
	if (job->outlet)
		job->outlet->jobs--;
	render_release(job);
	MemoryContextDelete(job->cxt);
}

Size
jobs_bytes(void)
{
	return held_bytes;
}

int
jobs_count(void)
{
	return held_jobs;
}

/* A copy in the current context; "" for NULL. */
static char *
text_value(const Datum *values, const bool *nulls, TakeColumn column)
{
	return nulls[column] ? pstrdup("") : TextDatumGetCString(values[column]);
}

static void
fill_letter(Letter *letter, const Datum *values, const bool *nulls)
{
	letter->message = DatumGetInt64(values[T_MESSAGE]);
	letter->event = DatumGetInt64(values[T_EVENT]);
	letter->attempt = DatumGetInt32(values[T_ATTEMPT]);
	letter->created = DatumGetTimestampTz(values[T_CREATED]);
	letter->type = text_value(values, nulls, T_TYPE);
	letter->recipient = text_value(values, nulls, T_RECIPIENT);
	letter->address = text_value(values, nulls, T_ADDRESS);
	letter->at_most_once = DatumGetBool(values[T_AT_MOST_ONCE]);
	letter->return_tag = nulls[T_RETURN_TAG] ? NULL : text_value(values, nulls, T_RETURN_TAG);
	letter->unsubscribe = nulls[T_UNSUBSCRIBE] ? NULL : text_value(values, nulls, T_UNSUBSCRIBE);
	letter->data = DatumGetJsonbPCopy(values[T_DATA]);
}

static void
fill_job(Job *job, const Datum *values, const bool *nulls)
{
	fill_letter(&job->letter, values, nulls);
	job->tid = *(ItemPointer) DatumGetPointer(values[T_TID]);
	job->channel = text_value(values, nulls, T_CHANNEL);
	job->provider = DatumGetInt32(values[T_PROVIDER]);
	job->lane = DatumGetInt32(values[T_LANE]);
	job->seq = DatumGetInt64(values[T_SEQ]);
	job->max_attempts = nulls[T_MAX_ATTEMPTS] ? PG_INT32_MAX : DatumGetInt32(values[T_MAX_ATTEMPTS]);
	job->expires_at = nulls[T_EXPIRES_AT] ? DT_NOEND : DatumGetTimestampTz(values[T_EXPIRES_AT]);
	job->template_version = nulls[T_TEMPLATE] ? 0 : DatumGetInt64(values[T_TEMPLATE]);
	job->retry_ms = -1;
}

static void
add_job(void *arg, const Datum *values, const bool *nulls)
{
	Receiver   *receiver = arg;
	Claim	   *claim = receiver->claim;
	MemoryContext cxt = AllocSetContextCreate(receiver->parent, "notify_pg message",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(cxt);
	Job		   *job = palloc0(sizeof(Job));

	job->cxt = cxt;
	held_jobs++;
	dlist_push_tail(&claim->jobs, &job->node);
	claim->njobs++;
	fill_job(job, values, nulls);
	job->claimed_at = claim->asked_at;
	job->lease = claim->lease;
	job_grow(job, VARSIZE(job->letter.data));
	MemoryContextSwitchTo(caller);
}

/*
 * An empty lane has no bound to give: the old one stays, as nothing was taken
 * from there either.
 */
static void
set_bounds(Claim *claim, const int64 *bounds)
{
	for (int i = 0; i < claim->nlanes; i++)
		if (bounds[i] >= 0)
			claim->bounds[i] = bounds[i];
}

/* On an error the caller aborts and calls claim_discard(). */
void
claim_run(Claim *claim, MemoryContext parent)
{
	TakeQuestion question = {claim->slot, claim->boot, claim->nlanes, claim->lanes, claim->bounds,
		claim->room, (int64) notify_lease * USECS_PER_SEC, claim->max};
	int64	   *bounds = palloc(Max(claim->nlanes, 1) * sizeof(int64));
	Receiver	receiver = {claim, parent};

	claim->asked_at = ticks_us();
	claim->lease = question.lease;
	claim->any = take(&question, bounds, add_job, &receiver) > 0;
	if (claim->any)
		set_bounds(claim, bounds);
	pfree(bounds);
}

void
claim_discard(Claim *claim)
{
	while (!dlist_is_empty(&claim->jobs))
		job_free(dlist_container(Job, node, dlist_pop_head_node(&claim->jobs)));
	claim->njobs = 0;
}
