/*
 * webpush.h
 *		Messages to browsers: encrypted for one subscription (RFC 8291).
 */
#ifndef NOTIFY_CHANNEL_WEBPUSH_H
#define NOTIFY_CHANNEL_WEBPUSH_H

#include "channel/sign.h"

#define WEBPUSH_SALT_BYTES 16
#define WEBPUSH_AUTH_BYTES 16
#define WEBPUSH_TEXT_MAX 3993	/* bytes: push services take 4096 in all */

/* Whom it is for, and what must be new for each message */
typedef struct WebpushKeys
{
	uint8		point[P256_POINT_BYTES];	/* the subscription's keys */
	uint8		auth[WEBPUSH_AUTH_BYTES];
	uint8		salt[WEBPUSH_SALT_BYTES];
	SignKey    *sender;
	uint8		sender_point[P256_POINT_BYTES];
} WebpushKeys;

/* Read an address of channel webpush; raises when it is none. */
extern void webpush_read_subscription(const char *address, WebpushKeys *keys);

/* A key and a salt for one message */
extern void webpush_new_keys(WebpushKeys *keys);

/* The body of the request, in content coding aes128gcm (RFC 8188) */
extern SignBytes webpush_encrypt(const WebpushKeys *keys, const char *text, size_t length);

#endif							/* NOTIFY_CHANNEL_WEBPUSH_H */
