/*
 * sign.c
 *		Signatures of requests, by OpenSSL.
 */
#include "postgres.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "channel/sign.h"
#include "lib/stringinfo.h"

#define WEBHOOK_KEY_MAX 1024

void
sign_hmac_sha256(const uint8 *key, size_t key_length,
				 const char *data, size_t length, uint8 *out)
{
	unsigned int written = 0;

	if (HMAC(EVP_sha256(), key, (int) key_length,
			 (const unsigned char *) data, length, out, &written) == NULL ||
		written != SIGN_SHA256_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute an HMAC")));
}

char *
sign_base64(const uint8 *data, size_t length)
{
	char	   *text = palloc((length + 2) / 3 * 4 + 1);

	EVP_EncodeBlock((unsigned char *) text, data, (int) length);
	return text;
}

uint8 *
sign_base64_decode(const char *text, size_t *length)
{
	size_t		size = strlen(text);
	size_t		padding = 0;
	uint8	   *bytes;

	if (size == 0 || size % 4 != 0)
		return NULL;
	while (padding < 2 && text[size - 1 - padding] == '=')
		padding++;
	if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != size - padding)
		return NULL;
	bytes = palloc(size / 4 * 3);
	if (EVP_DecodeBlock(bytes, (const unsigned char *) text, (int) size) < 0)
		return NULL;
	*length = size / 4 * 3 - padding;
	return bytes;
}

uint8 *
sign_webhook_key(const char *secret, size_t *length)
{
	uint8	   *key;

	if (strncmp(secret, "whsec_", 6) == 0)
		secret += 6;
	key = sign_base64_decode(secret, length);
	return key && *length >= 1 && *length <= WEBHOOK_KEY_MAX ? key : NULL;
}

char *
sign_webhook(const uint8 *key, size_t key_length, const char *id,
			 int64 timestamp, const char *body, size_t length)
{
	StringInfoData signed_text;
	uint8		digest[SIGN_SHA256_BYTES];
	char	   *result;

	initStringInfo(&signed_text);
	appendStringInfo(&signed_text, "%s." INT64_FORMAT ".", id, timestamp);
	appendBinaryStringInfo(&signed_text, body, length);
	sign_hmac_sha256(key, key_length, signed_text.data, signed_text.len, digest);
	result = psprintf("v1,%s", sign_base64(digest, sizeof(digest)));
	pfree(signed_text.data);
	return result;
}
