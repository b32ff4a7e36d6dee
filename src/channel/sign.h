/*
 * sign.h
 *		Signatures of requests, by OpenSSL.
 */
#ifndef NOTIFY_CHANNEL_SIGN_H
#define NOTIFY_CHANNEL_SIGN_H

#include "compat.h"

#define SIGN_SHA256_BYTES 32
#define SIGN_SHA256_BASE64 44	/* length of its base64 text */

/* out has room for SIGN_SHA256_BYTES; raises when OpenSSL fails */
extern void sign_hmac_sha256(const uint8 *key, size_t key_length,
							 const char *data, size_t length, uint8 *out);

/* Bytes that were made here */
typedef struct SignBytes
{
	uint8	   *data;
	size_t		length;
} SignBytes;

/* "md5", "sha1", "sha256", "sha384" or "sha512"?  The others take only these. */
extern bool sign_knows_digest(const char *digest);
extern SignBytes sign_digest(const char *digest, const char *data, size_t length);
extern SignBytes sign_hmac(const char *digest, const uint8 *key, size_t key_length,
						   const char *data, size_t length);

/* The base64 text of data, palloc'd; the other is that of URLs, without padding */
extern char *sign_base64(const uint8 *data, size_t length);
extern char *sign_base64url(const uint8 *data, size_t length);
extern char *sign_hex(const uint8 *data, size_t length);

/* The bytes base64 text stands for, palloc'd; NULL when it is not valid */
extern uint8 *sign_base64_decode(const char *text, size_t *length);
extern uint8 *sign_base64url_decode(const char *text, size_t *length);
extern uint8 *sign_hex_decode(const char *text, size_t *length);

/*
 * Standard Webhooks.  The key of a secret "whsec_…" (the prefix may be
 * missing); NULL when the rest is not base64 of 1 to 1024 bytes.
 */
extern uint8 *sign_webhook_key(const char *secret, size_t *length);

/* The value of the header webhook-signature: "v1,<base64>", palloc'd */
extern char *sign_webhook(const uint8 *key, size_t key_length, const char *id,
						  int64 timestamp, const char *body, size_t length);

/*
 * Private keys and JSON Web Tokens (RFC 7515, 7518, 7519).  A key lives as long
 * as the memory context that was current when it was read.
 */
typedef struct evp_pkey_st SignKey;

/* From PEM; NULL when it is none, or not for "RS256" or "ES256" (P-256) */
extern SignKey *sign_read_key(const char *pem, const char *algorithm);

/* header and claims are JSON objects; palloc'd */
extern char *sign_jwt(SignKey *key, const char *algorithm, const char *header, const char *claims);

/* Free a key with the current memory context. */
extern SignKey *sign_keep_key(SignKey *key);

/* Is the token's signature that of the public key (PEM)?  For tests. */
extern bool sign_check_jwt(const char *public_pem, const char *token);

/*
 * Is it a signature of the data?  The key is PEM of a public key or of a
 * certificate, or base64 of a SubjectPublicKeyInfo; false also when it is none.
 */
extern bool sign_verify(const char *public_key, const char *digest,
						const char *data, size_t length, SignBytes signature);

#define P256_BYTES 32
#define P256_POINT_BYTES 65		/* 04, x, y */

/* Is it a point on the curve P-256, written out? */
extern bool sign_is_point(const uint8 *bytes, size_t length);

/*
 * A private key of P-256 from its number, or a new one (NULL), and its point.
 * NULL when there is no such key.
 */
extern SignKey *sign_p256_key(const uint8 *number, uint8 *point);

/* What the two make of their keys (ECDH); 32 bytes into out */
extern void sign_p256_agree(SignKey *key, const uint8 *other_point, uint8 *out);

/* Raise that OpenSSL could not do something. */
pg_noreturn extern void sign_fail(const char *what);

#endif							/* NOTIFY_CHANNEL_SIGN_H */
