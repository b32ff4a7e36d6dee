/*
 * outlet.c
 *		Providers as the dispatcher sees them.
 *
 * The configuration is read inside a transaction into "pending" and takes
 * effect in outlets_open() after the commit, so an abort changes nothing.
 *
 * How much may wait here beyond what is being sent: a tenth of a lease's worth
 * at the rate the provider has answered lately, and no more than a batch.  A
 * fast provider never runs dry while SQL runs; a slow one holds no message
 * that would outlive its lease waiting.  A provider's gate (gate.h) keeps that
 * to its rate, over all dispatchers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "channel/settings.h"
#include "dispatch/claim.h"
#include "dispatch/outlet.h"
#include "dispatch/settle.h"
#include "guc.h"
#include "statement.h"
#include "ticks.h"

#define RATE_WINDOW_US	INT64CONST(250000)
#define CONCURRENCY_USUAL	50	/* connections to a provider whose row says nothing */
#define LEASE_SHARE		10

/* A message that waited so much of its lease is not begun any more. */
#define STALE_SHARE		2

/*
 * While messages with files on the wire hold so much, no other is begun: what a
 * provider's letters take is bounded by that and one message.
 */
#define WIRE_BYTES_MOST	((Size) 64 * 1024 * 1024)

#define START_WAIT_US	INT64CONST(1000000)	/* then look again: the rate may be another */

typedef enum ProblemState
{
	PROBLEM_UNTOLD, PROBLEM_TELLING, PROBLEM_TOLD
} ProblemState;

static dlist_head outlets = DLIST_STATIC_INIT(outlets);
static dlist_head pending = DLIST_STATIC_INIT(pending);
static bool have_pending = false;
static bool have_version = false;
static int64 version = 0;
static int64 pending_version = 0;
static bool news = false;

/* ---------------------------------------------------- reading the rows --- */

/* An outlet and its retired predecessor have one gate. */
static bool
shares_gate(const Outlet *outlet)
{
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
		if (dlist_container(Outlet, node, iter.cur)->gate == outlet->gate)
			return true;
	return false;
}

static void
outlet_delete(Outlet *outlet)
{
	dlist_delete(&outlet->node);
	if (outlet->gate && !shares_gate(outlet))
		gate_leave(outlet->gate);
	if (outlet->provider)
		provider_close(outlet->provider);
	MemoryContextDelete(outlet->cxt);
}

static void
drop_pending(void)
{
	while (!dlist_is_empty(&pending))
		outlet_delete(dlist_head_element(Outlet, node, &pending));
	have_pending = false;
}

static int64
read_version(void)
{
	static SPIPlanPtr plan = NULL;
	bool		isnull;

	statement_plan(&plan, "SELECT notify._config_version()", 0, NULL);
	if (SPI_execute_plan(plan, NULL, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "notify._config_version() failed");
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static Outlet *
new_outlet(void)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "notify_pg provider",
											  ALLOCSET_SMALL_SIZES);
	Outlet	   *outlet = MemoryContextAllocZero(cxt, sizeof(Outlet));

	outlet->cxt = cxt;
	for (int p = 0; p < PRIORITIES; p++)
		dlist_init(&outlet->queue[p]);
	dlist_push_tail(&pending, &outlet->node);
	return outlet;
}

static bool
is_idempotent(Jsonb *preset)
{
	JsonbValue *value = json_find(&preset->root, "idempotent");

	return value && value->type == jbvBool && value->val.boolean;
}

/* Columns: id, name, preset, settings, concurrency, inbox, rate, burst */
static void
read_outlet(HeapTuple tuple, TupleDesc desc)
{
	Outlet	   *outlet = new_outlet();
	MemoryContext caller = MemoryContextSwitchTo(outlet->cxt);
	bool		isnull;
	Datum		datum;

	outlet->id = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));
	outlet->name = SPI_getvalue(tuple, desc, 2);
	outlet->preset = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, 3, &isnull));
	datum = SPI_getbinval(tuple, desc, 4, &isnull);
	outlet->settings = isnull ? NULL : DatumGetJsonbPCopy(datum);
	datum = SPI_getbinval(tuple, desc, 5, &isnull);
	outlet->concurrency = isnull ? 0 : DatumGetInt32(datum);
	outlet->inbox = DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull));
	datum = SPI_getbinval(tuple, desc, 7, &isnull);
	outlet->rate_limit.rate = isnull ? 0 : DatumGetFloat8(datum);
	datum = SPI_getbinval(tuple, desc, 8, &isnull);
	outlet->rate_limit.burst = isnull ? 1 : DatumGetFloat8(datum);
	outlet->rate_limit.places = outlet->concurrency;
	outlet->idempotent = is_idempotent(outlet->preset);
	outlet->rate_since = ticks_us();
	MemoryContextSwitchTo(caller);
}

static void
read_outlets(void)
{
	static SPIPlanPtr plan = NULL;

	statement_plan(&plan, "SELECT id, name, preset, settings, concurrency, inbox, rate, burst FROM notify._providers()", 0, NULL);
	if (SPI_execute_plan(plan, NULL, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._providers() failed");
	for (uint64 i = 0; i < SPI_processed; i++)
		read_outlet(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
}

/* Put what is wrong with a provider where its owner looks. */
static void
tell_problem(Outlet *outlet)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT4OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(outlet->id), CStringGetTextDatum(outlet->problem)};

	statement_plan(&plan, "UPDATE notify.provider SET problem = $2 WHERE id = $1 AND problem IS NULL", 2, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not record a provider's problem");
	outlet->problem_told = PROBLEM_TELLING;
}

static bool
has_untold_riddles(const Outlet *outlet)
{
	const char *last;

	return outlet->provider && provider_riddles(outlet->provider, &last) != outlet->riddles_told;
}

/* Put answers nobody understood where whoever writes the preset looks. */
static void
tell_riddles(Outlet *outlet)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TEXTOID, INT8OID, TEXTOID};
	Datum		values[3];
	const char *last;
	int64		count = outlet->provider ? provider_riddles(outlet->provider, &last) : 0;

	outlet->riddles_telling = count;
	if (count == outlet->riddles_told)
		return;
	values[0] = CStringGetTextDatum(outlet->name);
	values[1] = Int64GetDatum(count - outlet->riddles_told);
	values[2] = CStringGetTextDatum(foreign_text(pstrdup(last)));
	statement_plan(&plan, "SELECT notify._count_unclassified($1, 'answer', $2, $3)", 3, types);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._count_unclassified() failed");
}

void
outlets_refresh(void)
{
	dlist_iter	iter;

	drop_pending();
	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->problem && outlet->problem_told != PROBLEM_TOLD)
			tell_problem(outlet);
		tell_riddles(outlet);
	}
	pending_version = read_version();
	if (have_version && pending_version == version)
		return;
	read_outlets();
	have_pending = true;
}

/* ------------------------------------------------- putting it to effect --- */

Outlet *
outlet_find(int id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->id == id && !outlet->retired)
			return outlet;
	}
	return NULL;
}

/* No SQL runs in provider_open(), so catching needs no subtransaction. */
static void
open_provider(Outlet *outlet)
{
	MemoryContext caller = CurrentMemoryContext;

	if (outlet->inbox)
		return;
	PG_TRY();
	{
		outlet->provider = provider_open(outlet->name, outlet->preset,
										 outlet->settings, outlet->cxt);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(outlet->cxt);
		edata = CopyErrorData();
		FlushErrorState();
		outlet->problem = edata->detail == NULL ? edata->message :
			psprintf("%s: %s", edata->message, edata->detail);
		ereport(LOG,
				(errmsg("provider \"%s\" cannot be used: %s", outlet->name, outlet->problem)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

static bool
same_document(const Jsonb *a, const Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

static bool
same_provider(const Outlet *a, const Outlet *b)
{
	return strcmp(a->name, b->name) == 0 && same_document(a->preset, b->preset) &&
		same_document(a->settings, b->settings);
}

/* Without one a rate cannot be kept, and then nothing is sent. */
static void
enter_gate(Outlet *outlet)
{
	if (outlet->inbox)
		return;
	outlet->gate = gate_enter(outlet->id);
	if (outlet->gate == NULL)
		outlet->problem = "too many providers are in use on this server";
}

/* One row that was read: goes on as it was, or takes its predecessor's place. */
static void
settle_pending(Outlet *fresh, dlist_head *next)
{
	Outlet	   *old = outlet_find(fresh->id);

	dlist_delete(&fresh->node);
	if (old && same_provider(old, fresh))
	{
		old->concurrency = fresh->concurrency;
		old->rate_limit = fresh->rate_limit;
		MemoryContextDelete(fresh->cxt);
		dlist_delete(&old->node);
		dlist_push_tail(next, &old->node);
		return;
	}
	if (old)
		memcpy(fresh->bound, old->bound, sizeof(fresh->bound));
	enter_gate(fresh);
	if (old && fresh->gate)
		gate_reset(fresh->gate);	/* somebody mended it */
	open_provider(fresh);
	dlist_push_tail(next, &fresh->node);
}

bool
outlets_open(void)
{
	dlist_head	next = DLIST_STATIC_INIT(next);
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->problem_told == PROBLEM_TELLING)
			outlet->problem_told = PROBLEM_TOLD;
		outlet->riddles_told = outlet->riddles_telling;
	}
	if (!have_pending)
		return false;
	while (!dlist_is_empty(&pending))
		settle_pending(dlist_head_element(Outlet, node, &pending), &next);
	while (!dlist_is_empty(&outlets))
	{
		Outlet	   *rest = dlist_head_element(Outlet, node, &outlets);

		rest->retired = true;
		dlist_delete(&rest->node);
		dlist_push_tail(&next, &rest->node);
	}
	while (!dlist_is_empty(&next))
		dlist_push_tail(&outlets, dlist_pop_head_node(&next));
	version = pending_version;
	have_version = true;
	have_pending = false;
	return true;
}

void
outlets_sweep(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->retired && outlet->jobs == 0 && outlet->errand == NULL &&
			!has_untold_riddles(outlet))
			outlet_delete(outlet);
	}
}

/* ------------------------------------------------------- room and order --- */

static int
count_sending(void)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &outlets)
		n += dlist_container(Outlet, node, iter.cur)->sending;
	return n;
}

/*
 * Half of what the others leave, but not more connections than a server likes
 * from one client: however many providers stall, each takes half of what was
 * free, and something stays free for the rest.
 */
static int
concurrency(const Outlet *outlet, int capacity)
{
	int			others;

	if (outlet->concurrency > 0)
		return Min(outlet->concurrency, capacity);
	others = count_sending() - outlet->sending;
	return Max(1, Min(CONCURRENCY_USUAL, (capacity - others) / 2));
}

/* Claimed messages that go before others of this priority, or with them. */
static int
ahead_of(const Outlet *outlet, int priority)
{
	int			n = outlet->sending;

	for (int p = 0; p <= priority; p++)
		n += outlet->waiting[p];
	return n;
}

/* For a lane: less urgent messages at hand do not keep more urgent ones out. */
static int
room(const Outlet *outlet, int capacity, int priority)
{
	double		ahead = outlet->rate * notify_lease / LEASE_SHARE;
	int			limit;

	if (outlet->retired || (!outlet->inbox && (outlet->provider == NULL || outlet->gate == NULL)))
		return 0;
	limit = outlet->inbox ? notify_batch_size :
		concurrency(outlet, capacity) + (int) Min(ahead, Min(notify_batch_size, capacity));
	return Max(0, limit - ahead_of(outlet, priority));
}

static int
count_outlets(void)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &outlets)
		n++;
	return n;
}

/* Room as the gate sees it; promise: for a claim that is about to be made. */
static int
gated_room(Outlet *outlet, int capacity, int priority, bool promise)
{
	int			wanted = room(outlet, capacity, priority);
	int			space = outlet->gate ?
		gate_room(outlet->gate, &outlet->rate_limit, wanted, promise) : wanted;

	if (promise)
	{
		outlet->full = room(outlet, capacity, PRIORITIES - 1) == 0;
		outlet->starved = space == 0 && wanted > 0;
		outlet->rationed = space > 0 && space < wanted;
		outlet->queued_before = outlet->queued;
		outlet->promised = outlet->gate ? space : 0;
	}
	return space;
}

/* What was promised is claimed by now, or was not to be had. */
static void
outlets_keep_promises(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->promised > 0)
			gate_promise(outlet->gate, -outlet->promised);
		if (outlet->rationed && outlet->queued - outlet->queued_before >= outlet->space)
			outlet->starved = true;
		outlet->promised = 0;
		outlet->rationed = false;
	}
}

/* Lanes with room, urgent ones of all providers first.  In the current context. */
void
outlets_fill_claim(Claim *claim, int capacity)
{
	int			most = count_outlets() * PRIORITIES;
	dlist_iter	iter;

	claim->nlanes = 0;
	claim->lanes = palloc(sizeof(int) * Max(1, most));
	claim->bounds = palloc(sizeof(int64) * Max(1, most));
	claim->room = palloc(sizeof(int) * Max(1, most));
	outlets_keep_promises();	/* of a claim that failed */
	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		outlet->space = gated_room(outlet, capacity, 0, true);
	}
	for (int p = 0; p < PRIORITIES; p++)
		dlist_foreach(iter, &outlets)
		{
			Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);
			int			space = Min(outlet->space, room(outlet, capacity, p));

			if (space == 0)
				continue;
			claim->lanes[claim->nlanes] = outlet->id * PRIORITIES + p;
			claim->bounds[claim->nlanes] = outlet->bound[p];
			claim->room[claim->nlanes++] = space;
		}
}

static void
take_bounds(const Claim *claim)
{
	for (int i = 0; i < claim->nlanes; i++)
	{
		Outlet	   *outlet = outlet_find(claim->lanes[i] / PRIORITIES);

		if (outlet)
			outlet->bound[claim->lanes[i] % PRIORITIES] = claim->bounds[i];
	}
}

static void
enqueue(Outlet *outlet, Job *job)
{
	int			priority = job->lane % PRIORITIES;

	outlet->queued++;
	outlet->waiting[priority]++;
	dlist_push_tail(&outlet->queue[priority], &job->node);
}

static void
dequeue(Outlet *outlet, Job *job)
{
	outlet->queued--;
	outlet->waiting[job->lane % PRIORITIES]--;
	dlist_delete(&job->node);
}

/* The claim has been committed: its jobs join the queues of their lanes. */
void
outlets_take_claim(Claim *claim)
{
	take_bounds(claim);
	while (!dlist_is_empty(&claim->jobs))
	{
		Job		   *job = dlist_container(Job, node, dlist_pop_head_node(&claim->jobs));
		Outlet	   *outlet = outlet_find(job->lane / PRIORITIES);

		if (outlet == NULL)
		{
			ereport(LOG,
					(errmsg("message " INT64_FORMAT " was claimed from lane %d, which no provider serves; it waits for its lease to end",
							job->letter.message, job->lane)));
			job_free(job);
			continue;
		}
		job->outlet = outlet;
		outlet->jobs++;
		if (outlet->gate)
			gate_promise(outlet->gate, 1);
		enqueue(outlet, job);
	}
	outlets_keep_promises();
}

/* Must its messages wait for an errand? */
static bool
waits(const Outlet *outlet)
{
	ProviderState state = outlet->provider ? provider_state(outlet->provider, NULL) : PROVIDER_READY;

	return state == PROVIDER_WAITS || state == PROVIDER_WANTS_ERRAND;
}

static bool
can_start(Outlet *outlet, int priority, int capacity)
{
	return !dlist_is_empty(&outlet->queue[priority]) && outlet->start_at == 0 &&
		outlet->wire_bytes < WIRE_BYTES_MOST &&
		(outlet->inbox || (outlet->sending < concurrency(outlet, capacity) && !waits(outlet)));
}

Outlet *
outlets_wanting_errand(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->queued > 0 && outlet->provider && outlet->errand == NULL &&
			provider_state(outlet->provider, NULL) == PROVIDER_WANTS_ERRAND)
			return outlet;
	}
	return NULL;
}

Outlet *
outlets_with_errand(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
		if (dlist_container(Outlet, node, iter.cur)->errand)
			return dlist_container(Outlet, node, iter.cur);
	return NULL;
}

/* The most urgent first; among equals, the provider least in use. */
static Outlet *
best_outlet(int capacity, int *priority)
{
	dlist_iter	iter;

	for (*priority = 0; *priority < PRIORITIES; (*priority)++)
	{
		Outlet	   *best = NULL;

		dlist_foreach(iter, &outlets)
		{
			Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

			if (can_start(outlet, *priority, capacity) &&
				(best == NULL || outlet->sending < best->sending))
				best = outlet;
		}
		if (best)
			return best;
	}
	return NULL;
}

/* May one more begin?  If not, not before start_at. */
static bool
may_start(Outlet *outlet, bool *probe)
{
	int64		wait = 0;

	*probe = false;
	if (outlet->gate)
		wait = gate_start(outlet->gate, &outlet->rate_limit, probe);

	outlet->start_at = wait == 0 ? 0 : ticks_us() + Min(wait, START_WAIT_US);
	return wait == 0;
}

Job *
outlets_next(int capacity)
{
	Outlet	   *best;
	int			priority;
	bool		probe;

	while ((best = best_outlet(capacity, &priority)) != NULL)
		if (may_start(best, &probe))
		{
			Job		   *job = dlist_head_element(Job, node, &best->queue[priority]);

			dequeue(best, job);
			job->begun = best->gate != NULL;
			job->probe = probe;
			return job;
		}
	return NULL;
}

/* A queue's oldest message is its first.  While the breaker is open all are stale. */
static Job *
stale_job(Outlet *outlet, int64 now)
{
	bool		shut = outlet->queued > 0 && outlet->gate && gate_shut(outlet->gate);

	for (int p = 0; p < PRIORITIES && outlet->queued > 0; p++)
	{
		Job		   *job;

		if (dlist_is_empty(&outlet->queue[p]))
			continue;
		job = dlist_head_element(Job, node, &outlet->queue[p]);
		if (shut || now - job->claimed_at > job->lease / STALE_SHARE)
			return job;
	}
	return NULL;
}

Job *
outlets_stale(void)
{
	int64		now = ticks_us();
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);
		Job		   *job = stale_job(outlet, now);

		if (job == NULL)
			continue;
		dequeue(outlet, job);
		if (outlet->gate)
			gate_promise(outlet->gate, -1);
		return job;
	}
	return NULL;
}

void
outlets_end_waits(void)
{
	int64		now = ticks_us();
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->start_at <= now)
			outlet->start_at = 0;
	}
}

int64
outlets_start_time(void)
{
	int64		first = PG_INT64_MAX;
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->queued > 0 && outlet->start_at > 0)
			first = Min(first, outlet->start_at);
	}
	return first;
}

int64
outlets_room_time(void)
{
	int64		now = ticks_us();
	int64		first = PG_INT64_MAX;
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (outlet->starved && !outlet->retired)
			first = Min(first, now + gate_room_in(outlet->gate, &outlet->rate_limit));
	}
	return first;
}

Hunger
outlets_hunger(int capacity)
{
	Hunger		hunger = HUNGER_FULL;
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
	{
		Outlet	   *outlet = dlist_container(Outlet, node, iter.cur);

		if (gated_room(outlet, capacity, PRIORITIES - 1, false) == 0)
			continue;
		if (outlet->sending > 0 && outlet->queued <= outlet->sending / 2)
			return HUNGER_URGENT;
		hunger = HUNGER_ROOM;
	}
	return hunger;
}

bool
outlets_urgent_room(int capacity)
{
	dlist_iter	iter;

	dlist_foreach(iter, &outlets)
		if (gated_room(dlist_container(Outlet, node, iter.cur), capacity, 0, false) > 0)
			return true;
	return false;
}

void
outlet_began(Outlet *outlet)
{
	outlet->sending++;
}

void
outlet_not_begun(Outlet *outlet)
{
	gate_ended(outlet->gate, false, -1);
}

/* Not what is said of one recipient or one message */
static GateVerdict
verdict(const SendResult *result)
{
	if (result->neutral)
		return VERDICT_NONE;
	if (result->class == SEND_AUTH)
		return VERDICT_DENIED;
	if (result->class == SEND_PROVIDER_DOWN ||
		(result->class == SEND_RETRY && (result->code == 0 || result->code >= 500)))
		return VERDICT_BAD;
	return VERDICT_GOOD;
}

void
outlet_judge(Outlet *outlet, const SendResult *result, bool probe)
{
	GateVerdict said = verdict(result);

	if (result->class == SEND_DEFER && result->retry_after > 0 && !result->neutral &&
		gate_pause(outlet->gate, result->retry_after * 1000))
		ereport(LOG,
				(errmsg("provider \"%s\" asks to be left alone for " INT64_FORMAT " ms",
						outlet->name, result->retry_after)));
	if (!gate_judge(outlet->gate, said, probe, result->detail))
		return;
	news = true;
	if (said == VERDICT_GOOD)
		ereport(LOG,
				(errmsg("provider \"%s\" works again", outlet->name)));
	else
		ereport(LOG,
				(errmsg("provider \"%s\" is left alone for a while: %s", outlet->name, result->detail)));
}

void
outlet_probe_void(Outlet *outlet)
{
	(void) gate_judge(outlet->gate, VERDICT_NONE, true, "");
}

bool
outlets_news(void)
{
	bool		result = news;

	news = false;
	return result;
}

void
outlet_abandoned(Outlet *outlet)
{
	outlet->sending--;
	gate_ended(outlet->gate, false, -1);
}

/* Half of the new, half of the old, four times a second. */
bool
outlet_finished(Outlet *outlet, const SendResult *result, int64 latency_ms)
{
	int64		now = ticks_us();
	int64		elapsed = now - outlet->rate_since;

	outlet->sending--;
	gate_ended(outlet->gate, result->class == SEND_OK, latency_ms);
	if (outlet->rate_limit.places > 0)
		outlet->start_at = 0;	/* there may be a place now */
	outlet->finished++;
	if (elapsed >= RATE_WINDOW_US)
	{
		outlet->rate = (outlet->rate + outlet->finished * 1000000.0 / elapsed) / 2;
		outlet->finished = 0;
		outlet->rate_since = now;
	}
	return outlet->full;
}
