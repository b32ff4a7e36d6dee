/*
 * mime.h
 *		Internet messages: RFC 5322, 2045, 2046, 2047, 2183, 2231, 2387.
 */
#ifndef NOTIFY_CHANNEL_MIME_H
#define NOTIFY_CHANNEL_MIME_H

#include <time.h>

#include "channel/channel.h"
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
	const LetterFile *files;	/* file names in UTF-8 */
	int			file_count;
} MimeMessage;

/*
 * Append the message, with CRLF line ends and nothing but ASCII.  Raises when
 * the subject, a name or what a file is called has a control character in it.
 */
extern void mime_build(const MimeMessage *message, StringInfo out);

/* Raise unless text may stand in a header; field says whose it is. */
extern void mime_refuse_controls(const char *field, const char *text);

/* "text", escaped; bytes as base64 in lines */
extern void mime_append_quoted(StringInfo out, const char *text);
extern void mime_append_base64(StringInfo out, const uint8 *data, size_t length);

/* A file as a part: its headers, an empty line, its base64 (mime_file.c) */
extern void mime_check_file(const LetterFile *file);
extern void mime_append_file(StringInfo out, const LetterFile *file);

/* The readable text of an HTML page, palloc'd (html.c) */
extern char *html_to_text(const char *html);

#endif							/* NOTIFY_CHANNEL_MIME_H */
