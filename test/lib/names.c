/*
 * names.c
 *		What names mean, as a test says: a library to preload (LD_PRELOAD) into a
 *		server, so that a name can change what it stands for.
 *
 * TEST_NAMES is a directory.  When it has a file of the name that is asked for,
 * the file's addresses are the answer, in their order, and NAME.next, where it
 * exists, takes its place for the next time.  Each question is a line of the
 * file "asked": process, name.  The file "later" holds how many seconds time()
 * is ahead, because libcurl's cache of names goes by time().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int (*Resolve) (const char *, const char *, const struct addrinfo *, struct addrinfo **);

static FILE *
open_file(const char *name, const char *mode)
{
	char		path[1024];

	if (getenv("TEST_NAMES") == NULL || strchr(name, '/'))
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", getenv("TEST_NAMES"), name);
	return fopen(path, mode);
}

static void
turn_to_next(const char *name)
{
	char		path[1024];
	char		next[1024];

	snprintf(path, sizeof(path), "%s/%s", getenv("TEST_NAMES"), name);
	snprintf(next, sizeof(next), "%s/%s.next", getenv("TEST_NAMES"), name);
	(void) rename(next, path);
}

static void
note_question(const char *name)
{
	FILE	   *log = open_file("asked", "a");

	if (log == NULL)
		return;
	fprintf(log, "%d %s\n", (int) getpid(), name);
	fclose(log);
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	Resolve		resolve = (Resolve) dlsym(RTLD_NEXT, "getaddrinfo");
	FILE	   *file = name ? open_file(name, "r") : NULL;
	struct addrinfo numeric = *hints;
	struct addrinfo **end = result;
	char		address[64];

	if (file == NULL)
		return resolve(name, service, hints, result);
	*result = NULL;
	numeric.ai_flags = AI_NUMERICHOST;
	while (fscanf(file, "%63s", address) == 1)
		if (resolve(address, service, &numeric, end) == 0)
			while (*end)
				end = &(*end)->ai_next;
	fclose(file);
	turn_to_next(name);
	note_question(name);
	return *result ? 0 : EAI_NONAME;
}

time_t
time(time_t *result)
{
	FILE	   *file = open_file("later", "r");
	struct timespec now;
	long		later = 0;

	if (file)
	{
		if (fscanf(file, "%ld", &later) != 1)
			later = 0;
		fclose(file);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec + later;
	return now.tv_sec + later;
}
