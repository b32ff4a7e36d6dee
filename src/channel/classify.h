/*
 * classify.h
 *		What an answer means: pure functions over codes and texts.
 *
 * Nothing here raises or allocates.
 */
#ifndef NOTIFY_CHANNEL_CLASSIFY_H
#define NOTIFY_CHANNEL_CLASSIFY_H

#include "channel/provider.h"

#define RETRY_AFTER_MAX (INT64CONST(24) * 60 * 60 * 1000)	/* ms */

extern SendClass classify_http(int status);

/* text: the reply without its code, as the server wrote it */
extern SendClass classify_smtp(SmtpStage stage, int code, const char *text);

/*
 * What a failure below the protocol means, given that the peer said nothing
 * that settles it.  started: the request was on its way, so it may have been
 * accepted.  Sets class, ambiguous and detail.
 */
extern void classify_failure(Transfer *transfer, CURLcode code, bool started,
							 SendResult *result);

/*
 * The value of a Retry-After header, seconds or an HTTP date, as ms from now
 * in [0, 24 h]; -1 when it is neither.
 */
extern int64 retry_after_ms(const char *value, time_t now);

/* The id in a mail server's last words ("2.0.0 Ok: queued as 4XyZ") */
extern void smtp_reference(const char *text, char *out, size_t size);

/*
 * Append text to the string in out (size bytes): white space and control
 * characters become one blank, what is not UTF-8 becomes U+FFFD, and it ends
 * at a character.  In a database whose encoding is not UTF-8, ASCII remains.
 */
extern void append_clean(char *out, size_t size, const char *text, size_t length);

#endif							/* NOTIFY_CHANNEL_CLASSIFY_H */
