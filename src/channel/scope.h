/*
 * scope.h
 *		What the pieces of a request see.
 *
 *		message		id, uuid, event, attempt, type, recipient, created, subject,
 *					body, html, template (what the template's provider_template
 *					comes to), data (what the template saw), unsubscribe (the
 *					token of the link, where the category needs one),
 *					attachments (an array; files.h says of what)
 *		address		where it goes: text, or the object a web push subscription is
 *		settings	the provider's, secrets put in, defaults filled in
 *		request		timestamp (seconds), timestamp_ms, time (20240501T123000Z),
 *					date (2024-05-01), nonce; for a signature also body, url, method
 *		signature	of an auth scheme that signs before the body is written
 */
#ifndef NOTIFY_CHANNEL_SCOPE_H
#define NOTIFY_CHANNEL_SCOPE_H

#include "channel/channel.h"
#include "channel/request.h"

/* With all that "uses" asks for; letter and request may be NULL. */
extern Jsonb *scope_build(Jsonb *settings, const Letter *letter,
						  const Request *request, unsigned uses);

/* 2024-05-01T12:30:00.123456Z */
extern char *scope_time(TimestampTz time);

#endif							/* NOTIFY_CHANNEL_SCOPE_H */
