/*
 * gate.h
 *		What all dispatchers of a database share about a provider: the tokens
 *		of its rate, its circuit breaker, what is on its way, what came of it.
 *
 * The rate is a token bucket.  A message takes a token when it is begun, so
 * in any time t no more than rate * t + burst are begun, by all dispatchers
 * together.  So that messages do not wait for tokens in a dispatcher's memory
 * while their leases run, a claim is promised tokens before it is made: those
 * there are and those of the next moment, less what was promised to others.
 *
 * A provider's concurrency is kept the same way: who begins a message takes one
 * of its places, and gives it back when the message is answered or could not be
 * put on the wire.  Who finds none free waits for a turn: the next place that
 * gets free is kept for the first that waits, for a moment, or the one that had
 * it would have it again each time.
 *
 * A provider that says for how long to leave it alone (429, Retry-After) is
 * paused for that long, PAUSE_MOST at most; its messages stay with it.
 *
 * The breaker opens after GATE_FAILURES faults of the provider in a row, when
 * more than half of the last 20 to 40 answers were such, or when it refuses our
 * credentials.  While it is open nothing is claimed for the provider and what
 * waits for it is given back.  After a pause one message, of all dispatchers,
 * is let through (half-open): its answer closes the breaker, or opens it for
 * twice as long.  A probe that is not answered within a lease is void.
 *
 * Locking protocol
 * ----------------
 * Spinlocks, never two at a time but the table's before a gate's, nothing done
 * under them but arithmetic.  The table's guards which gate is whose; a gate's
 * guards all else in it.  A gate cannot become another provider's while any
 * dispatcher has entered it, and who entered leaves when it exits, whichever
 * way: a backend killed outright takes the shared memory with it.
 *
 * Gates outlive dispatchers, not the server: after its restart buckets are full.
 */
#ifndef NOTIFY_DISPATCH_GATE_H
#define NOTIFY_DISPATCH_GATE_H

#include "port/atomics.h"
#include "storage/spin.h"

#define GATE_DISPATCHERS	32	/* the most notify_pg.dispatchers can be */
#define GATE_LATENCIES		24	/* ms in powers of two */
#define GATE_FAILURES		5
#define GATE_WHY			128

/* What an answer says about the provider. */
typedef enum GateVerdict
{
	VERDICT_NONE,				/* nothing */
	VERDICT_GOOD,				/* it works, whatever it thinks of the message */
	VERDICT_BAD,				/* it does not */
	VERDICT_DENIED				/* it does not work for us */
} GateVerdict;

typedef struct Gate
{
	Oid			database;		/* these three under the table's lock */
	int			provider;		/* notify.provider.id */
	uint32		users;			/* a bit per dispatcher that entered */
	slock_t		mutex;
	int64		used_at;		/* gate_now() */
	bool		filled;			/* tokens and filled_at mean something */
	double		tokens;
	int64		filled_at;		/* gate_now() */
	uint16		promised[GATE_DISPATCHERS]; /* claimed, or about to be, and not begun */
	uint16		sending[GATE_DISPATCHERS];	/* begun and not ended */
	int			waiter;			/* the dispatcher that gets the next place, from 1; 0: none */
	int64		waiter_until;	/* these two: gate_now() */
	int64		paused_until;
	int64		sent;
	int64		failed;
	uint32		latency[GATE_LATENCIES];	/* halved now and then, so it is of late */
	bool		open;
	int			failures;		/* in a row */
	int			good;			/* these two halved now and then */
	int			bad;
	int64		pause;			/* us */
	int64		opened_at;		/* these three: gate_now() */
	int64		probe_at;		/* not before */
	int64		probe_until;	/* then the probe is void */
	int			prober;			/* the dispatcher whose probe is under way, from 1; 0: none */
	int64		openings;
	char		why[GATE_WHY];	/* it opened, or stayed open */
} Gate;

/* How much a provider may be used, by all dispatchers together. */
typedef struct GateRate
{
	double		rate;			/* messages a second; 0: no limit */
	double		burst;			/* at once, after a rest; at least 1 */
	int			places;			/* messages at a time; 0: no limit */
} GateRate;

/* While preloading. */
extern void gate_install(void);

/* Microseconds on a clock that notify_pg.clock_offset moves. */
extern int64 gate_now(void);

/* As dispatcher 1 .. GATE_DISPATCHERS of this database, before all else. */
extern void gates_begin(int dispatcher);

/* A provider's gate; NULL when all are in use. */
extern Gate *gate_enter(int provider);
extern void gate_leave(Gate *gate);

/* How many of "wanted" messages may be claimed; promise: keep tokens for them. */
extern int	gate_room(Gate *gate, const GateRate *rate, int wanted, bool promise);

/* So many more were claimed than promised, or, below 0, fewer, or given back. */
extern void gate_promise(Gate *gate, int more);

/* Microseconds until gate_room() gives something. */
extern int64 gate_room_in(Gate *gate, const GateRate *rate);

/* Begin one that was promised, perhaps as the probe: 0, or microseconds to wait. */
extern int64 gate_start(Gate *gate, const GateRate *rate, bool *probe);

/* It asked to be left alone for so many microseconds; false: it is already, or is not to be. */
extern bool gate_pause(Gate *gate, int64 pause);

/* Paused for more than a moment, or open with no probe due or under way: what waits for it should not. */
extern bool gate_shut(Gate *gate);

/* What an answer says; true when that opened or closed it. */
extern bool gate_judge(Gate *gate, GateVerdict verdict, bool probe, const char *why);

/* Somebody mended the provider: it is closed. */
extern void gate_reset(Gate *gate);

/* Is any of this database open?  Is any to be probed? */
extern bool gates_any_open(void);
extern bool gates_any_probe_due(void);
extern bool gate_probe_due(const Gate *copy, int64 now);

/* What was begun came back, or did not go on the wire or was abandoned (latency -1). */
extern void gate_ended(Gate *gate, bool ok, int64 latency_ms);

/* For notify._gates(): consistent copies of this database's gates. */
extern int	gates_count(void);
extern bool gate_copy(int index, Oid database, Gate *copy);

#endif							/* NOTIFY_DISPATCH_GATE_H */
