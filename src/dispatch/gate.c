/*
 * gate.c
 *		What all dispatchers of a database share about a provider; gate.h says how.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "dispatch/gate.h"
#include "guc.h"
#include "ticks.h"

#define GATES		512
#define SECOND		INT64CONST(1000000)
#define PAUSE_MOST	(300 * SECOND)
#define WINDOW_LEAST 20			/* answers that say how large a share fails */
#define LOOK_AGAIN	(SECOND / 4)
#define TURN		(SECOND / 100)	/* between looks for a free place */
#define TURN_KEPT	(SECOND / 10)	/* then who waited does not any more */
#define PAUSE_WAITED SECOND		/* shorter pauses are waited for with messages at hand */

/*
 * Tokens of so much of a lease are promised ahead.  A claim may take as many of
 * each priority, and half of a lease is what a message may wait here at most.
 */
#define AHEAD_SHARE 40

#define LATENCIES_KEPT 1000

typedef struct GateTable
{
	slock_t		mutex;
	int			used;			/* gates from here on were never anybody's; only grows */
	Gate		gates[GATES];
} GateTable;

static GateTable *table = NULL;
static int	me = 0;				/* the dispatcher, from 0 */
static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

/* -------------------------------------------------------------- memory --- */

static void
request_memory(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(sizeof(GateTable));
}

static void
start_memory(void)
{
	bool		found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct("notify_pg gates", sizeof(GateTable), &found);
	if (!found)
	{
		memset(table, 0, sizeof(GateTable));
		SpinLockInit(&table->mutex);
		for (int i = 0; i < GATES; i++)
			SpinLockInit(&table->gates[i].mutex);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
gate_install(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = start_memory;
}

int64
gate_now(void)
{
	return ticks_us() + (int64) notify_clock_offset * SECOND;
}

/* ------------------------------------------------- entering and leaving --- */

/* What this dispatcher has there is gone with it. */
static void
forget_mine(Gate *gate)
{
	SpinLockAcquire(&gate->mutex);
	gate->promised[me] = 0;
	gate->sending[me] = 0;
	if (gate->prober == me + 1)
		gate->prober = 0;
	if (gate->waiter == me + 1)
		gate->waiter = 0;
	SpinLockRelease(&gate->mutex);
}

static void
leave_all(int code, Datum arg)
{
	SpinLockAcquire(&table->mutex);
	for (int i = 0; i < GATES; i++)
	{
		Gate	   *gate = &table->gates[i];

		if (gate->database != MyDatabaseId || (gate->users & (UINT32_C(1) << me)) == 0)
			continue;
		gate->users &= ~(UINT32_C(1) << me);
		forget_mine(gate);
	}
	SpinLockRelease(&table->mutex);
}

void
gates_begin(int dispatcher)
{
	Assert(dispatcher >= 1 && dispatcher <= GATE_DISPATCHERS);
	me = dispatcher - 1;
	leave_all(0, (Datum) 0);
	before_shmem_exit(leave_all, (Datum) 0);
}

/* A gate nobody has entered becomes this provider's.  Under the table's lock. */
static void
take_over(Gate *gate, int provider, int64 now)
{
	SpinLockAcquire(&gate->mutex);
	memset(&gate->used_at, 0, sizeof(Gate) - offsetof(Gate, used_at));
	gate->used_at = now;
	SpinLockRelease(&gate->mutex);
	gate->database = MyDatabaseId;
	gate->provider = provider;
	gate->users = 0;
}

/* The provider's gate, or the one to give it: the longest unused.  Likewise. */
static Gate *
find_gate(int provider)
{
	Gate	   *oldest = NULL;

	for (int i = 0; i < table->used; i++)
	{
		Gate	   *gate = &table->gates[i];

		if (gate->database == MyDatabaseId && gate->provider == provider)
			return gate;
		if (gate->users == 0 && (oldest == NULL || gate->used_at < oldest->used_at))
			oldest = gate;
	}
	return table->used < GATES ? &table->gates[table->used++] : oldest;
}

Gate *
gate_enter(int provider)
{
	int64		now = gate_now();
	Gate	   *gate;

	SpinLockAcquire(&table->mutex);
	gate = find_gate(provider);
	if (gate && (gate->database != MyDatabaseId || gate->provider != provider))
		take_over(gate, provider, now);
	if (gate)
		gate->users |= UINT32_C(1) << me;
	SpinLockRelease(&table->mutex);
	return gate;
}

/* Once for each time it was entered; the last one out of this process counts. */
void
gate_leave(Gate *gate)
{
	SpinLockAcquire(&table->mutex);
	gate->users &= ~(UINT32_C(1) << me);
	SpinLockRelease(&table->mutex);
	forget_mine(gate);
}

/* ---------------------------------------------------------------- tokens --- */

/* Under the gate's lock, as all from here on that takes "now". */
static void
fill(Gate *gate, const GateRate *rate, int64 now)
{
	gate->used_at = now;
	if (!gate->filled)
	{
		gate->filled = true;
		gate->tokens = rate->burst;
		gate->filled_at = now;
	}
	if (now > gate->filled_at)
		gate->tokens += (now - gate->filled_at) * rate->rate / SECOND;
	/* Others read the clock a little earlier; much earlier: it was set back. */
	if (now > gate->filled_at || now < gate->filled_at - SECOND)
		gate->filled_at = now;
	gate->tokens = Min(gate->tokens, rate->burst);
}

static int
sum(const uint16 *numbers)
{
	int			total = 0;

	for (int i = 0; i < GATE_DISPATCHERS; i++)
		total += numbers[i];
	return total;
}

/* Tokens that will come while a claim's messages wait */
static double
ahead(const GateRate *rate)
{
	return rate->rate * notify_lease / AHEAD_SHARE;
}

/* A claim is worth making for half of that, and for less when that is less than one. */
static double
worth(const GateRate *rate)
{
	return Max(1.0, floor(ahead(rate) / 2));
}

/* Tokens nobody was promised, those to come among them */
static double
free_tokens(Gate *gate, const GateRate *rate, int64 now)
{
	fill(gate, rate, now);
	return gate->tokens + ahead(rate) - sum(gate->promised);
}

static void
add_promise(Gate *gate, int more)
{
	gate->promised[me] = Max(0, Min(gate->promised[me] + more, PG_UINT16_MAX));
}

static bool
probe_under_way(const Gate *gate, int64 now)
{
	return gate->prober != 0 && now < gate->probe_until;
}

bool
gate_probe_due(const Gate *gate, int64 now)
{
	return gate->open && now >= gate->probe_at && !probe_under_way(gate, now);
}

/* One, when it is time for a probe and nobody has one in hand */
static int
open_room(const Gate *gate, int64 now)
{
	return gate_probe_due(gate, now) && sum(gate->promised) == 0 ? 1 : 0;
}

int
gate_room(Gate *gate, const GateRate *rate, int wanted, bool promise)
{
	int64		now = gate_now();
	double		free;

	SpinLockAcquire(&gate->mutex);
	if (gate->open && wanted > 0)
		wanted = open_room(gate, now);
	if (now < gate->paused_until)
		wanted = 0;
	if (rate->rate > 0 && wanted > 0)
	{
		free = free_tokens(gate, rate, now);
		wanted = free < worth(rate) ? 0 : (int) Min(wanted, free);
	}
	if (promise)
		add_promise(gate, wanted);
	SpinLockRelease(&gate->mutex);
	return wanted;
}

void
gate_promise(Gate *gate, int more)
{
	SpinLockAcquire(&gate->mutex);
	add_promise(gate, more);
	SpinLockRelease(&gate->mutex);
}

static int64
time_for(double tokens, const GateRate *rate)
{
	return tokens <= 0 ? 0 : (int64) Min(ceil(tokens / rate->rate * SECOND), 3600.0 * SECOND);
}

int64
gate_room_in(Gate *gate, const GateRate *rate)
{
	int64		now = gate_now();
	int64		wait = 0;
	double		missing = 0;

	SpinLockAcquire(&gate->mutex);
	if (rate->rate > 0)
		missing = worth(rate) - free_tokens(gate, rate, now);
	if (gate->open && open_room(gate, now) == 0)
		wait = Max(LOOK_AGAIN, gate->probe_at - now);
	wait = Max(wait, gate->paused_until - now);
	SpinLockRelease(&gate->mutex);
	return Max(wait, time_for(missing, rate));
}

/* Under the gate's lock, as all up to gate_start(). */
static void
begin_probe(Gate *gate, int64 now)
{
	gate->prober = me + 1;
	gate->probe_until = now + notify_lease * SECOND;
}

/* May it be used at all?  0, or microseconds until it is looked at again. */
static int64
wait_for_health(Gate *gate, int64 now)
{
	if (gate->open && !gate_probe_due(gate, now))
		return LOOK_AGAIN;
	return Max(0, gate->paused_until - now);
}

/* Is there a place, and is it our turn? */
static int64
wait_for_place(Gate *gate, const GateRate *rate, int64 now)
{
	bool		others = gate->waiter != 0 && gate->waiter != me + 1 && now < gate->waiter_until;

	if (rate->places == 0 || sum(gate->sending) + others < rate->places)
		return 0;
	if (!others)
	{
		gate->waiter = me + 1;
		gate->waiter_until = now + TURN_KEPT;
	}
	return TURN;
}

static int64
wait_for_token(Gate *gate, const GateRate *rate, int64 now)
{
	if (rate->rate <= 0)
		return 0;
	fill(gate, rate, now);
	return gate->tokens >= 1 ? 0 : Max(1, time_for(1 - gate->tokens, rate));
}

static void
take_place(Gate *gate, const GateRate *rate, int64 now)
{
	if (rate->rate > 0)
		gate->tokens -= 1;
	if (gate->waiter == me + 1)
		gate->waiter = 0;
	gate->sending[me]++;
	add_promise(gate, -1);
}

int64
gate_start(Gate *gate, const GateRate *rate, bool *probe)
{
	int64		now = gate_now();
	int64		wait;

	*probe = false;
	SpinLockAcquire(&gate->mutex);
	wait = wait_for_health(gate, now);
	if (wait == 0)
		wait = wait_for_place(gate, rate, now);
	if (wait == 0)
		wait = wait_for_token(gate, rate, now);
	if (wait == 0)
	{
		take_place(gate, rate, now);
		*probe = gate->open;
		if (gate->open)
			begin_probe(gate, now);
	}
	SpinLockRelease(&gate->mutex);
	return wait;
}

/* ---------------------------------------------------------------- pauses --- */

/* The setting that says whether providers are left alone is for this, too. */
bool
gate_pause(Gate *gate, int64 pause)
{
	int64		now = gate_now();
	bool		begun = false;

	if (notify_breaker_pause == 0)
		return false;
	SpinLockAcquire(&gate->mutex);
	begun = now >= gate->paused_until;
	gate->paused_until = Max(gate->paused_until, now + Min(pause, PAUSE_MOST));
	SpinLockRelease(&gate->mutex);
	return begun;
}

/* --------------------------------------------------------------- breaker --- */

bool
gate_shut(Gate *gate)
{
	int64		now = gate_now();
	bool		shut;

	SpinLockAcquire(&gate->mutex);
	shut = gate->paused_until - now > PAUSE_WAITED ||
		(gate->open && now < gate->probe_at && !probe_under_way(gate, now));
	SpinLockRelease(&gate->mutex);
	return shut;
}

/* Under the gate's lock, as the next four. */
static void
shut(Gate *gate, int64 pause, const char *why, int64 now)
{
	if (!gate->open)
	{
		gate->opened_at = now;
		gate->openings++;
	}
	gate->open = true;
	gate->prober = 0;
	gate->pause = pause;
	gate->probe_at = now + pause;
	strlcpy(gate->why, why, sizeof(gate->why));
}

static void
unshut(Gate *gate)
{
	gate->open = false;
	gate->prober = 0;
	gate->failures = gate->good = gate->bad = 0;
}

static void
judge_probe(Gate *gate, GateVerdict verdict, const char *why, int64 now)
{
	int64		pause = Max(Min(gate->pause * 2, PAUSE_MOST), notify_breaker_pause * INT64CONST(1000));

	if (gate->prober == me + 1)
		gate->prober = 0;
	if (verdict == VERDICT_GOOD || notify_breaker_pause == 0)
		unshut(gate);
	else if (verdict != VERDICT_NONE)
		shut(gate, pause, why, now);
}

static void
judge_answer(Gate *gate, GateVerdict verdict, const char *why, int64 now)
{
	bool		bad = verdict != VERDICT_GOOD;

	gate->failures = bad ? gate->failures + 1 : 0;
	gate->good += !bad;
	gate->bad += bad;
	if (verdict == VERDICT_DENIED || gate->failures >= GATE_FAILURES ||
		(gate->good + gate->bad >= WINDOW_LEAST && gate->bad > gate->good))
		shut(gate, notify_breaker_pause * INT64CONST(1000), why, now);
	if (gate->good + gate->bad >= 2 * WINDOW_LEAST)
	{
		gate->good /= 2;
		gate->bad /= 2;
	}
}

/* Answers to what was begun before it opened say nothing new. */
bool
gate_judge(Gate *gate, GateVerdict verdict, bool probe, const char *why)
{
	int64		now = gate_now();
	char		text[GATE_WHY];
	bool		was_open;
	bool		changed;

	memset(text, 0, sizeof(text));
	memcpy(text, why, pg_mbcliplen(why, strlen(why), sizeof(text) - 1));
	SpinLockAcquire(&gate->mutex);
	was_open = gate->open;
	if (gate->open && probe)
		judge_probe(gate, verdict, text, now);
	else if (!gate->open && verdict != VERDICT_NONE && notify_breaker_pause > 0)
		judge_answer(gate, verdict, text, now);
	changed = gate->open != was_open;
	SpinLockRelease(&gate->mutex);
	return changed;
}

void
gate_reset(Gate *gate)
{
	SpinLockAcquire(&gate->mutex);
	unshut(gate);
	gate->paused_until = 0;
	SpinLockRelease(&gate->mutex);
}

typedef enum GateQuestion
{
	ASK_OPEN, ASK_PROBE_DUE
} GateQuestion;

static bool
any_gate(GateQuestion question)
{
	int64		now = gate_now();
	bool		found = false;

	for (int i = 0; i < gates_count() && !found; i++)
	{
		Gate	   *gate = &table->gates[i];

		if (gate->database != MyDatabaseId || gate->users == 0 || !gate->open)
			continue;
		SpinLockAcquire(&gate->mutex);
		found = question == ASK_OPEN ? gate->open : gate_probe_due(gate, now);
		SpinLockRelease(&gate->mutex);
	}
	return found;
}

bool
gates_any_open(void)
{
	return any_gate(ASK_OPEN);
}

bool
gates_any_probe_due(void)
{
	return any_gate(ASK_PROBE_DUE);
}

/* ------------------------------------------------------------- transfers --- */

/* Under the gate's lock. */
static void
note_latency(Gate *gate, int64 latency_ms)
{
	int			place = 0;
	int			total = 0;

	while (place < GATE_LATENCIES - 1 && latency_ms >> place > 0)
		place++;
	gate->latency[place]++;
	for (int i = 0; i < GATE_LATENCIES; i++)
		total += gate->latency[i];
	if (total >= LATENCIES_KEPT)
		for (int i = 0; i < GATE_LATENCIES; i++)
			gate->latency[i] /= 2;
}

void
gate_ended(Gate *gate, bool ok, int64 latency_ms)
{
	int64		now = gate_now();

	SpinLockAcquire(&gate->mutex);
	gate->used_at = now;
	gate->sending[me] = Max(0, gate->sending[me] - 1);
	if (latency_ms >= 0)
	{
		gate->sent += ok;
		gate->failed += !ok;
		note_latency(gate, latency_ms);
	}
	SpinLockRelease(&gate->mutex);
}

/* --------------------------------------------------------------- looking --- */

int
gates_count(void)
{
	return table ? table->used : 0;
}

bool
gate_copy(int index, Oid database, Gate *copy)
{
	Gate	   *gate = &table->gates[index];
	bool		mine;

	SpinLockAcquire(&table->mutex);
	mine = gate->provider != 0 && gate->database == database;
	if (mine)
	{
		SpinLockAcquire(&gate->mutex);
		memcpy(copy, gate, sizeof(Gate));
		SpinLockRelease(&gate->mutex);
	}
	SpinLockRelease(&table->mutex);
	return mine;
}
