/*
 * guc.c
 *		Every setting of notify_pg, and notify.now().
 *
 * What a worker obeys is PGC_SIGHUP: one value for the whole cluster, changed
 * by reload, out of reach of ALTER DATABASE, ALTER ROLE and SET.  What runs in
 * a writer's session is PGC_SUSET.  No setting needs preloading, so all of
 * them are defined whichever way the library came in.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "net/guard.h"

int			notify_dispatchers = 1;
int			notify_poll_interval = 1000;
int			notify_batch_size = 500;
int			notify_max_in_flight = 300;
int			notify_lease = 60;
int			notify_breaker_pause = 5000;
int			notify_nice = 10;
int			notify_retention = 30 * 24 * 60;
char	   *notify_allow_private_addresses = NULL;
int			notify_mode = 0;
int			notify_guard = 0;
char	   *notify_host_id = NULL;
int			notify_clock_offset = 0;
int			notify_event_row_limit = 1024;
int			notify_undecided_limit = 1000;
int			notify_query_timeout = 5000;

/* Read by notify._held() in sql/instance.sql, by name. */
static const struct config_enum_entry modes[] = {
	{"live", 0, false}, {"hold", 1, false}, {NULL, 0, false}
};

static const struct config_enum_entry guards[] = {
	{"cluster", 0, false}, {"host", 1, false}, {NULL, 0, false}
};

/* One integer setting; flags carry the unit. */
typedef struct IntegerSetting
{
	const char *name;
	const char *summary;
	const char *detail;
	int		   *variable;
	int			boot;
	int			least;
	int			most;
	GucContext	context;
	int			flags;
} IntegerSetting;

static const IntegerSetting integers[] = {
	{"notify_pg.dispatchers",
		"Sets the number of dispatchers in each database that has notify_pg.",
		"Each takes one background worker out of max_worker_processes.",
	&notify_dispatchers, 1, 0, 32, PGC_SIGHUP, 0},
	{"notify_pg.poll_interval",
		"Sets how long an idle worker sleeps when nothing wakes it.",
		"Commits wake the workers at once; polling is the net below.",
	&notify_poll_interval, 1000, 10, 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS},
	{"notify_pg.batch_size",
		"Sets how many events are planned, and how many messages claimed, at a time.",
		NULL,
	&notify_batch_size, 500, 1, 10000, PGC_SIGHUP, 0},
	{"notify_pg.max_in_flight",
		"Sets how many messages one dispatcher may have begun to send and not recorded.",
		"A crash repeats at most so many. A dispatcher uses fewer when its file descriptors would not suffice.",
	&notify_max_in_flight, 300, 1, 10000, PGC_SIGHUP, 0},
	{"notify_pg.lease",
		"Sets how long a claimed message belongs to its dispatcher.",
		"When a dispatcher neither settles nor restarts in this time, others may send the message.",
	&notify_lease, 60, 5, 24 * 60 * 60, PGC_SIGHUP, GUC_UNIT_S},
	{"notify_pg.nice",
		"Sets how far planners and dispatchers stand back when there is too little CPU for everyone.",
		"Added to the nice value of the server. 0: they are equal to the sessions of the application; 20: they run when nobody else wants to (SCHED_IDLE), and urgent messages wait as long.",
	&notify_nice, 10, 0, 20, PGC_SIGHUP, 0},
	{"notify_pg.breaker_pause",
		"Sets how long a provider that fails is left alone before it is tried again.",
		"It doubles with each trial that fails, up to five minutes. Zero: it is never left alone, not even when it asks for that (Retry-After).",
	&notify_breaker_pause, 5000, 0, 60 * 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS},
	{"notify_pg.retention",
		"Sets how long events, messages and outcomes are kept.",
		"Whole days are dropped.",
	&notify_retention, 30 * 24 * 60, 24 * 60, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN},
	{"notify_pg.query_timeout",
		"Sets how long a rule's audience or context query may run.",
		"A query that takes longer gives its messages the reason audience_error or context_error.",
	&notify_query_timeout, 5000, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"notify_pg.clock_offset",
		"Moves the clock that schedules read, for tests.",
		"Ids always use the wall clock.",
	&notify_clock_offset, 0, INT_MIN, INT_MAX, PGC_SIGHUP, GUC_UNIT_S},
	{"notify_pg.event_row_limit",
		"Sets the size above which an event keeps only the key columns of its row.",
		NULL,
	&notify_event_row_limit, 1024, 1, 512 * 1024, PGC_SUSET, GUC_UNIT_KB},
	{"notify_pg.undecided_limit",
		"Sets how many events a transaction records for rules whose expression raised an error.",
		"Zero records none.",
	&notify_undecided_limit, 1000, 0, INT_MAX, PGC_SUSET, 0},
};

static bool
check_private_addresses(char **newval, void **extra, GucSource source)
{
	char	   *error = NULL;

	if (*newval == NULL || guard_parse(*newval, &error))
		return true;
	GUC_check_errdetail("%s", error ? error : "The value cannot be read.");
	GUC_check_errhint("Use off, on, or a list of networks such as \"10.0.0.0/8, fd00::/8\".");
	return false;
}

void
guc_define(void)
{
	for (int i = 0; i < lengthof(integers); i++)
	{
		const IntegerSetting *s = &integers[i];

		DefineCustomIntVariable(s->name, s->summary, s->detail, s->variable,
								s->boot, s->least, s->most, s->context,
								s->flags, NULL, NULL, NULL);
	}
	DefineCustomStringVariable("notify_pg.allow_private_addresses",
							   "Sets which private, loopback and link-local addresses providers may use.",
							   "off, on, or a list of networks.",
							   &notify_allow_private_addresses, "off",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_private_addresses, NULL, NULL);
	DefineCustomEnumVariable("notify_pg.mode",
							 "Sets whether this server sends notifications.",
							 "hold stops every database; live leaves it to each database.",
							 &notify_mode, 0, modes, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("notify_pg.guard",
							 "Sets what tells a database from a copy of it.",
							 "cluster: the system identifier and the database; host: the host as well.",
							 &notify_guard, 0, guards, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("notify_pg.host_id",
							   "Sets the name by which this host is armed.",
							   "Empty: the host's name.",
							   &notify_host_id, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("notify_pg");
}

TimestampTz
notify_now(void)
{
	return GetCurrentTimestamp() + (int64) notify_clock_offset * USECS_PER_SEC;
}

PG_FUNCTION_INFO_V1(notify_sql_now);

Datum
notify_sql_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(notify_now());
}
