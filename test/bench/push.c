/*
 * push.c
 *		What the wire allows: a plain libcurl-multi program with no database.
 *
 *	push URL IN_FLIGHT <BODIES
 *
 * POSTs each line of its input, read in full first, IN_FLIGHT at a time over
 * kept-alive connections.  Prints "COUNT SECONDS CPU_SECONDS" of the sending.
 */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"

typedef struct Bodies
{
	char	   *text;
	size_t		length;
	size_t		at;
} Bodies;

static long answered = 0;
static long refused = 0;
static int	under_way = 0;

static void
read_bodies(Bodies *bodies, FILE *in)
{
	size_t		size = 1 << 20;
	size_t		n;

	bodies->text = malloc(size);
	while ((n = fread(bodies->text + bodies->length, 1, size - bodies->length, in)) > 0)
	{
		bodies->length += n;
		if (bodies->length == size)
			bodies->text = realloc(bodies->text, size *= 2);
	}
}

static size_t
ignore(char *data, size_t one, size_t length, void *user)
{
	(void) data;
	(void) user;
	return one * length;
}

static CURL *
make_easy(const char *url, struct curl_slist *headers)
{
	CURL	   *easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	return easy;
}

/* The next line goes out on this handle; 0 when there is none. */
static int
send_next(CURLM *multi, CURL *easy, Bodies *bodies)
{
	char	   *body = bodies->text + bodies->at;
	char	   *end;

	if (bodies->at >= bodies->length)
		return 0;
	end = memchr(body, '\n', bodies->length - bodies->at);
	if (end == NULL)
		end = bodies->text + bodies->length;
	bodies->at = end + 1 - bodies->text;
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) (end - body));
	curl_multi_add_handle(multi, easy);
	under_way++;
	return 1;
}

static void
take_answers(CURLM *multi, Bodies *bodies)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		long		status = 0;

		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result == CURLE_OK && status == 200)
			answered++;
		else
			refused++;
		curl_multi_remove_handle(multi, easy);
		under_way--;
		if (!send_next(multi, easy, bodies))
			curl_easy_cleanup(easy);
	}
}

static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
		(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int
main(int argc, char **argv)
{
	Bodies		bodies = {0};
	CURLM	   *multi = curl_multi_init();
	struct curl_slist *headers = NULL;
	int			in_flight = argc > 2 ? atoi(argv[2]) : 50;
	int			running;
	int64_t		begun;
	double		cpu;

	if (argc < 2)
		return 2;
	headers = curl_slist_append(curl_slist_append(headers, "Content-Type: application/json"), "Expect:");
	read_bodies(&bodies, stdin);
	begun = stamp();
	cpu = cpu_seconds();
	for (int i = 0; i < in_flight; i++)
		if (!send_next(multi, make_easy(argv[1], headers), &bodies))
			break;
	while (under_way > 0)
	{
		curl_multi_perform(multi, &running);
		take_answers(multi, &bodies);
		if (under_way > 0)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%ld %.6f %.6f\n", answered, (stamp() - begun) / 1e9, cpu_seconds() - cpu);
	return refused ? 1 : 0;
}
