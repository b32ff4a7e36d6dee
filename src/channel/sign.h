/*
 * sign.h
 *		Signatures of requests, by OpenSSL.
 */
#ifndef NOTIFY_CHANNEL_SIGN_H
#define NOTIFY_CHANNEL_SIGN_H

#define SIGN_SHA256_BYTES 32
#define SIGN_SHA256_BASE64 44	/* length of its base64 text */

/* out has room for SIGN_SHA256_BYTES; raises when OpenSSL fails */
extern void sign_hmac_sha256(const uint8 *key, size_t key_length,
							 const char *data, size_t length, uint8 *out);

/* The base64 text of data, palloc'd */
extern char *sign_base64(const uint8 *data, size_t length);

/* The bytes base64 text stands for, palloc'd; NULL when it is not valid */
extern uint8 *sign_base64_decode(const char *text, size_t *length);

/*
 * Standard Webhooks.  The key of a secret "whsec_…" (the prefix may be
 * missing); NULL when the rest is not base64 of 1 to 1024 bytes.
 */
extern uint8 *sign_webhook_key(const char *secret, size_t *length);

/* The value of the header webhook-signature: "v1,<base64>", palloc'd */
extern char *sign_webhook(const uint8 *key, size_t key_length, const char *id,
						  int64 timestamp, const char *body, size_t length);

#endif							/* NOTIFY_CHANNEL_SIGN_H */
