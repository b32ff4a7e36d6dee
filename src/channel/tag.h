/*
 * tag.h
 *		What a message carries so that what comes back can be trusted: the tag in
 *		its return path, and the token of its unsubscribe link.
 */
#ifndef NOTIFY_CHANNEL_TAG_H
#define NOTIFY_CHANNEL_TAG_H

#include "postgres.h"

#include "fmgr.h"

#define RETURN_TAG_MAX 36		/* 19 digits, "-", 16 hexadecimal digits */

/* Where a return path takes its tag */
#define RETURN_TAG_PLACE '*'

/*
 * The tag of a message: its id, "-", and the first 8 bytes of an HMAC of it.
 * Letters' case means nothing, as mail servers may change it.
 */
extern char *tag_make(int64 message, const char *key, size_t key_length);

/* The message of a tag; false when it is none of this key */
extern bool tag_read(const char *tag, const char *key, size_t key_length, int64 *message);

/* A token (docs/receipts.md has its bytes) */
typedef struct UnsubscribeToken
{
	int64		message;		/* 0: none */
	char	   *category;
	char	   *recipient;
} UnsubscribeToken;

extern char *token_make(const UnsubscribeToken *token, const char *key, size_t key_length);
extern bool token_read(const char *text, const char *key, size_t key_length, UnsubscribeToken *token);

/* As SQL knows them: (message, key) and (recipient, category, message, key) */
extern Datum notify_return_tag(PG_FUNCTION_ARGS);
extern Datum notify_make_token(PG_FUNCTION_ARGS);

#endif							/* NOTIFY_CHANNEL_TAG_H */
