/*
 * nice.c
 *		How far a worker stands back when there is too little CPU for everyone.
 *
 * notify_pg.nice counts from the server's own nice value, as setpriority(2)
 * does, and goes one step further: 20 is the idle class (SCHED_IDLE, sched(7)).
 *
 * A nice value is a share in the long run.  What a session that commits needs is
 * the CPU at once, a dozen times a millisecond, for an instant; it would wait each time
 * until the worker has used up its slice.  So workers ask for longer slices
 * than anybody (sched_setattr(2); Linux 6.12): the scheduler lets the short go
 * before the long, and over time the shares stay what they are.  Among workers
 * it is the same: the planner's is shorter than the dispatcher's, so that what
 * comes while a backlog drains is planned at once.
 *
 * Groups.  Outside of CPU control groups Linux makes autogroups (sched(7)): it
 * divides the CPU among sessions (setsid) first and regards nice values and
 * classes within one only.  Each process of a server is a session, so the group's
 * own nice value is set as well.  The system takes one such change in a tenth of a
 * second from all who are not root: what it refuses is tried again at the next call.
 *
 * One way.  Unless it is privileged a process can only stand back further.  For
 * the other way it ends and the launcher starts a new one.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "guc.h"
#include "process/nice.h"

#define MOST_NICE	19

static int	obeyed = -1;		/* the notify_pg.nice that is done, -1: none */
static bool permitted = false;	/* it could be done once */
static int	slice;				/* ms */

#ifdef __linux__

/* sched_setattr(2), its first 48 bytes: some C libraries lack it, and in some the kernel's header clashes with theirs. */
typedef struct SchedAttr
{
	uint32		size;
	uint32		policy;
	uint64		flags;
	int32		nice;
	uint32		priority;
	uint64		runtime;		/* of other classes than deadline: the slice */
	uint64		deadline;
	uint64		period;
} SchedAttr;

static SchedAttr server;		/* size 0: unknown */

void
nice_start(int slice_ms)
{
	slice = slice_ms;
	if (syscall(SYS_sched_getattr, 0, &server, sizeof(server), 0) != 0)
		server.size = 0;
}

static bool
set_share(int nice)
{
	SchedAttr	wanted = server;

	if (server.size == 0)
		return false;
	wanted.nice = Min(server.nice + nice, MOST_NICE);
	if (nice > 0)
		wanted.runtime = slice * UINT64CONST(1000000);
	if (nice > MOST_NICE)
		wanted.policy = SCHED_IDLE; /* which knows neither nice values nor slices */
	return syscall(SYS_sched_setattr, 0, &wanted, 0) == 0;
}

#else

static int	server = 0;

void
nice_start(int slice_ms)
{
	slice = slice_ms;
	server = getpriority(PRIO_PROCESS, 0);
}

static bool
set_share(int nice)
{
	return setpriority(PRIO_PROCESS, 0, Min(server + nice, MOST_NICE)) == 0;
}

#endif

/* False when it is to be tried again. */
static bool
set_group(int nice)
{
	char		text[12];
	int			fd = open("/proc/self/autogroup", O_WRONLY);
	bool		again;

	if (fd < 0)
		return true;			/* no such groups, or not ours to change */
	snprintf(text, sizeof(text), "%d", Min(nice, MOST_NICE));
	again = write(fd, text, strlen(text)) < 0 && (errno == EAGAIN || errno == EINTR);
	close(fd);
	return !again;
}

/* A process that may not stand back at all, as in a sandbox, goes on as it is. */
bool
nice_obey(void)
{
	if (obeyed == notify_nice)
		return true;
	if (set_share(notify_nice))
		permitted = true;
	else if (permitted)
		return false;
	if (set_group(notify_nice))
		obeyed = notify_nice;
	return true;
}
