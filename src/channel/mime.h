/*
 * mime.h
 *		Internet messages: RFC 5322, 2045, 2046, 2047.
 */
#ifndef NOTIFY_CHANNEL_MIME_H
#define NOTIFY_CHANNEL_MIME_H

#include <time.h>

#include "lib/stringinfo.h"

/* All text is UTF-8.  Addresses have been checked. */
typedef struct MimeMessage
{
	int64		message;		/* these two make the Message-ID */
	int64		event;
	time_t		date;
	const char *from_name;		/* "" none */
	const char *from_address;
	const char *to_address;
	const char *reply_to_name;
	const char *reply_to_address;	/* NULL: no such header */
	const char *unsubscribe_url;	/* for one click (RFC 8058); NULL: none */
	const char *subject;		/* these may be NULL */
	const char *text;
	const char *html;
} MimeMessage;

/*
 * Append the message, with CRLF line ends and nothing but ASCII.  Raises when
 * the subject or a name has a control character in it.
 */
extern void mime_build(const MimeMessage *message, StringInfo out);

/* The readable text of an HTML page, palloc'd (html.c) */
extern char *html_to_text(const char *html);

#endif							/* NOTIFY_CHANNEL_MIME_H */
