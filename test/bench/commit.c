/*
 * commit.c
 *		The business: a transaction every so often, with the time of its commit.
 *
 *	commit CONNINFO FIRST COUNT INTERVAL_US STATEMENT...
 *
 * Runs BEGIN, each STATEMENT with $1 = N (as text), COMMIT, for N = FIRST and on.
 * Prints "N SENT RETURNED BEGUN" each: the clock (clock.h) right before COMMIT was
 * sent, right after its answer was read, and before BEGIN.  A transaction that is late begins at once.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static void
check(PGconn *conn, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		exit(1);
	}
	PQclear(result);
}

static void
run_prepared(PGconn *conn, int which, const char *n)
{
	char		name[20];

	snprintf(name, sizeof(name), "s%d", which);
	check(conn, PQexecPrepared(conn, name, 1, &n, NULL, NULL, 0));
}

static void
sleep_until(int64_t at)
{
	struct timespec when = {at / 1000000000, at % 1000000000};

	clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, NULL);
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	long		first,
				count;
	int64_t		interval;
	int64_t		begun;

	if (argc < 6)
		return 2;
	conn = PQconnectdb(argv[1]);
	if (PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		return 1;
	}
	first = atol(argv[2]);
	count = atol(argv[3]);
	interval = atoll(argv[4]) * 1000;
	for (int i = 5; i < argc; i++)
	{
		char		name[20];
		Oid			text = 25;

		snprintf(name, sizeof(name), "s%d", i);
		check(conn, PQprepare(conn, name, argv[i], 1, &text));
	}
	begun = stamp();
	for (long k = 0; k < count; k++)
	{
		char		n[24];
		int64_t		started,
					sent;

		snprintf(n, sizeof(n), "%ld", first + k);
		sleep_until(begun + k * interval);
		started = stamp();
		check(conn, PQexec(conn, "BEGIN"));
		for (int i = 5; i < argc; i++)
			run_prepared(conn, i, n);
		sent = stamp();
		check(conn, PQexec(conn, "COMMIT"));
		printf("%s %lld %lld %lld\n", n, (long long) sent, (long long) stamp(), (long long) started);
	}
	PQfinish(conn);
	return 0;
}
