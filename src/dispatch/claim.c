/*
 * claim.c
 *		Taking messages out of notify.ready.
 *
 * The SQL is notify._claim() in sql/ready.sql.  Runs inside a transaction that
 * the caller commits before anything is sent.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "dispatch/claim.h"
#include "dispatch/render.h"
#include "guc.h"
#include "ticks.h"

/* The columns of notify._claim() by name, in the order of column_names. */
typedef enum ClaimColumn
{
	C_TID, C_MESSAGE, C_EVENT, C_ATTEMPT, C_PROVIDER, C_CHANNEL, C_ADDRESS,
	C_RECIPIENT, C_TYPE, C_CREATED, C_TEMPLATE, C_DATA, C_AT_MOST_ONCE,
	C_MAX_ATTEMPTS, C_EXPIRES_AT, C_SEQ, C_LANE, C_RETURN_TAG, C_UNSUBSCRIBE, C_COUNT
} ClaimColumn;

static const char *const column_names[C_COUNT] = {
	"ready_tid", "message", "event", "attempt", "provider", "channel", "address",
	"recipient", "type", "created", "template_version", "data", "at_most_once",
	"max_attempts", "expires_at", "seq", "lane", "return_tag", "unsubscribe"
};

/* One row, deformed; column numbers are looked up once a claim. */
typedef struct ClaimRow
{
	int			number[C_COUNT];
	Datum	   *values;
	bool	   *nulls;
} ClaimRow;

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

static Datum
int_array(const int *values, int n)
{
	Datum	   *datums = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		datums[i] = Int32GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, n, INT4OID, 4, true, TYPALIGN_INT));
}

static Datum
bigint_array(const int64 *values, int n)
{
	Datum	   *datums = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		datums[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, n, INT8OID, 8, FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

static Datum
lease_interval(const Claim *claim)
{
	Interval   *lease = palloc0(sizeof(Interval));

	lease->time = claim->lease;
	return IntervalPGetDatum(lease);
}

static void
execute(Claim *claim)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT4OID, INT8OID, INT4ARRAYOID, INT8ARRAYOID,
	INT4ARRAYOID, INTERVALOID, INT4OID};
	Datum		values[] = {Int32GetDatum(claim->slot), Int64GetDatum(claim->boot),
		int_array(claim->lanes, claim->nlanes),
		bigint_array(claim->bounds, claim->nlanes),
		int_array(claim->room, claim->nlanes),
	lease_interval(claim), Int32GetDatum(claim->max)};

	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT * FROM notify._claim($1, $2, $3, $4, $5, $6, $7)",
						   7, types);
		if (plan == NULL)
			elog(ERROR, "could not prepare the claim: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._claim() failed");
}

static void
find_columns(ClaimRow *row, TupleDesc desc)
{
	for (int c = 0; c < C_COUNT; c++)
	{
		int			number = SPI_fnumber(desc, column_names[c]);

		if (number <= 0)
			elog(ERROR, "notify._claim() returns no column \"%s\"", column_names[c]);
		row->number[c] = number - 1;
	}
	row->values = palloc(desc->natts * sizeof(Datum));
	row->nulls = palloc(desc->natts * sizeof(bool));
}

static bool
is_null(const ClaimRow *row, ClaimColumn c)
{
	return row->nulls[row->number[c]];
}

static Datum
value(const ClaimRow *row, ClaimColumn c)
{
	if (is_null(row, c))
		elog(ERROR, "notify._claim() returned NULL in column \"%s\"", column_names[c]);
	return row->values[row->number[c]];
}

/* A copy in the current context; "" for NULL. */
static char *
text_value(const ClaimRow *row, ClaimColumn c)
{
	return is_null(row, c) ? pstrdup("") : TextDatumGetCString(value(row, c));
}

static void
fill_letter(Letter *letter, const ClaimRow *row)
{
	letter->message = DatumGetInt64(value(row, C_MESSAGE));
	letter->event = DatumGetInt64(value(row, C_EVENT));
	letter->attempt = DatumGetInt32(value(row, C_ATTEMPT));
	letter->created = DatumGetTimestampTz(value(row, C_CREATED));
	letter->type = text_value(row, C_TYPE);
	letter->recipient = text_value(row, C_RECIPIENT);
	letter->address = text_value(row, C_ADDRESS);
	letter->at_most_once = DatumGetBool(value(row, C_AT_MOST_ONCE));
	letter->return_tag = is_null(row, C_RETURN_TAG) ? NULL : text_value(row, C_RETURN_TAG);
	letter->unsubscribe = is_null(row, C_UNSUBSCRIBE) ? NULL : text_value(row, C_UNSUBSCRIBE);
	if (!is_null(row, C_DATA))
		letter->data = DatumGetJsonbPCopy(value(row, C_DATA));
}

static void
fill_job(Job *job, const ClaimRow *row)
{
	fill_letter(&job->letter, row);
	job->tid = *(ItemPointer) DatumGetPointer(value(row, C_TID));
	job->channel = text_value(row, C_CHANNEL);
	job->provider = DatumGetInt32(value(row, C_PROVIDER));
	job->lane = DatumGetInt32(value(row, C_LANE));
	job->seq = DatumGetInt64(value(row, C_SEQ));
	job->max_attempts = is_null(row, C_MAX_ATTEMPTS) ? PG_INT32_MAX :
		DatumGetInt32(value(row, C_MAX_ATTEMPTS));
	job->expires_at = is_null(row, C_EXPIRES_AT) ? DT_NOEND :
		DatumGetTimestampTz(value(row, C_EXPIRES_AT));
	job->template_version = is_null(row, C_TEMPLATE) ? 0 :
		DatumGetInt64(value(row, C_TEMPLATE));
	job->retry_ms = -1;
}

static void
add_job(Claim *claim, const ClaimRow *row, MemoryContext parent)
{
	MemoryContext cxt = AllocSetContextCreate(parent, "notify_pg message",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(cxt);
	Job		   *job = palloc0(sizeof(Job));

	job->cxt = cxt;
	held_jobs++;
	dlist_push_tail(&claim->jobs, &job->node);
	claim->njobs++;
	fill_job(job, row);
	job->claimed_at = claim->asked_at;
	job->lease = claim->lease;
	job_grow(job, job->letter.data ? VARSIZE(job->letter.data) : 0);
	MemoryContextSwitchTo(caller);
}

/*
 * A lane's new bound.  An empty lane has none to give: the old one stays, as
 * nothing was taken from there either.
 */
static void
set_bound(Claim *claim, const ClaimRow *row)
{
	int			lane = DatumGetInt32(value(row, C_LANE));

	if (is_null(row, C_SEQ))
		return;
	for (int i = 0; i < claim->nlanes; i++)
		if (claim->lanes[i] == lane)
			claim->bounds[i] = DatumGetInt64(value(row, C_SEQ));
}

/* On an error the caller aborts and calls claim_discard(). */
void
claim_run(Claim *claim, MemoryContext parent)
{
	TupleDesc	desc;
	ClaimRow	row;

	claim->asked_at = ticks_us();
	claim->lease = (int64) notify_lease * USECS_PER_SEC;
	execute(claim);
	desc = SPI_tuptable->tupdesc;
	find_columns(&row, desc);
	claim->any = SPI_processed > 0;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		heap_deform_tuple(SPI_tuptable->vals[i], desc, row.values, row.nulls);
		if (is_null(&row, C_MESSAGE))
			set_bound(claim, &row);
		else
			add_job(claim, &row, parent);
	}
	SPI_freetuptable(SPI_tuptable);
}

void
claim_discard(Claim *claim)
{
	while (!dlist_is_empty(&claim->jobs))
		job_free(dlist_container(Job, node, dlist_pop_head_node(&claim->jobs)));
	claim->njobs = 0;
}
