/*
 * listen.c
 *		The bare alternative: a client that LISTENs.
 *
 *	listen CONNINFO CHANNEL COUNT
 *
 * Prints "ready", then, once COUNT notifications have come or its input has
 * ended, "PAYLOAD STAMP" for each: the clock (clock.h) when it was read.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

typedef struct Heard
{
	char		payload[24];
	int64_t		at;
} Heard;

static long
take(PGconn *conn, Heard *heard, long count, long most)
{
	int64_t		at = stamp();
	PGnotify   *notification;

	PQconsumeInput(conn);
	while ((notification = PQnotifies(conn)) != NULL)
	{
		if (count < most)
		{
			snprintf(heard[count].payload, sizeof(heard[count].payload), "%s", notification->extra);
			heard[count++].at = at;
		}
		PQfreemem(notification);
	}
	return count;
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	PGresult   *result;
	Heard	   *heard;
	char		sql[200];
	long		most,
				count = 0;

	if (argc < 4)
		return 2;
	conn = PQconnectdb(argv[1]);
	snprintf(sql, sizeof(sql), "LISTEN %s", argv[2]);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		return 1;
	}
	PQclear(result);
	most = atol(argv[3]);
	heard = calloc(most + 1, sizeof(Heard));
	printf("ready\n");
	fflush(stdout);
	while (count < most)
	{
		struct pollfd fds[] = {{PQsocket(conn), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};

		poll(fds, 2, -1);
		if (fds[0].revents)
			count = take(conn, heard, count, most);
		else if (fds[1].revents)
			break;
	}
	for (long i = 0; i < count; i++)
		printf("%s %lld\n", heard[i].payload, (long long) heard[i].at);
	PQfinish(conn);
	return 0;
}
