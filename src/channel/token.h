/*
 * token.h
 *		Tokens that serve many requests: signed here, or fetched.
 */
#ifndef NOTIFY_CHANNEL_TOKEN_H
#define NOTIFY_CHANNEL_TOKEN_H

#include "channel/channel.h"
#include "channel/sign.h"

/*
 * A token signed here, for a key that is named by an identity (a text).  All
 * processes of the cluster use the same one until it is TOKEN_SHARED_AGE old
 * (APNs: no newer than 20 minutes, no older than 60).  "make" is called with
 * the time of issue when there is none; out has TOKEN_SHARED_SIZE bytes.
 */
#define TOKEN_SHARED_AGE (40 * 60)	/* seconds */
#define TOKEN_SHARED_SIZE 1024

extern void token_shared(const char *identity, int64 now,
						 char *(*make) (void *data, int64 issued), void *data, char *out);
extern void token_install(void);	/* in _PG_init, while preloading */

/* A token that must be fetched */
typedef struct Token
{
	const char *url;			/* where */
	SignKey    *key;			/* signs the assertion, RS256 */
	const char *key_id;			/* may be "" */
	const char *issuer;
	const char *audience;
	const char *scope;			/* may be "" */

	char	   *value;			/* NULL until it came */
	size_t		size;			/* of value's memory */
	int64		got_at;			/* ms on wire_clock() */
	int64		good_until;
	bool		coming;			/* a transfer fetches it */
	bool		refused;		/* the last one did not bring it */
	int64		again_at;		/* when another may be tried */
	SendClass	class;			/* what that means for letters */
	char		detail[512];
} Token;

extern ProviderState token_state(const Token *token, int64 now);

/* The body of the request that fetches it (RFC 7523, 2.1) */
extern char *token_request(const Token *token, int64 now);

/* What came of it.  Never raises. */
extern void token_answer(Token *token, const SendResult *result, const char *reply, int64 now);

/* It could not even be asked for. */
extern void token_failed(Token *token, SendClass class, const char *detail, int64 now);

/* A service refused it: true when it was not fresh, and is dropped. */
extern bool token_refused(Token *token, int64 now);

#endif							/* NOTIFY_CHANNEL_TOKEN_H */
