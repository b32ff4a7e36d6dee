/*
 * reply.h
 *		What an answer over HTTP means, as a preset says.
 */
#ifndef NOTIFY_CHANNEL_REPLY_H
#define NOTIFY_CHANNEL_REPLY_H

#include "channel/provider.h"
#include "utils/jsonpath.h"

#define REFERENCE_HEADERS 4

/* A test of an answer: every part that is there must hold. */
typedef struct ReplyTest
{
	int			low;			/* status from … to, both included */
	int			high;
	JsonPath   *path;			/* NULL: any body */
	text	   *match;			/* a regular expression; NULL: the path is a condition */
} ReplyTest;

typedef struct ReplyError
{
	ReplyTest	test;
	SendClass	class;
} ReplyError;

typedef struct ReplyRules
{
	ReplyTest  *success;		/* any of them; count 0: status 200 to 299 */
	int			success_count;
	ReplyError *errors;			/* the first that holds */
	int			error_count;
	JsonPath   *reference;		/* where the provider's id is, or NULL */
	text	   *reference_match;
	char	   *reference_headers[REFERENCE_HEADERS];
	JsonPath   *retry_after;	/* seconds; NULL: only the header */
} ReplyRules;

/* Read columns success, errors, reference and retry_after of a preset's row. */
extern ReplyRules *reply_read(const char *preset, Jsonb *row);

/*
 * Set class, reference, retry_after and ambiguous from an answer that came.
 * Never raises.  True when the answer was understood.
 */
extern bool reply_judge(const ReplyRules *rules, const Reply *reply, int status,
						SendResult *result, MemoryContext cxt);

#endif							/* NOTIFY_CHANNEL_REPLY_H */
