/*
 * webpush.c
 *		Messages to browsers: encrypted for one subscription (RFC 8291).
 *
 * A key of ours, new for each message, and the browser's agree on a secret by
 * ECDH; with the subscription's authentication secret it gives a key and a
 * nonce (HKDF, RFC 5869), and the text is one record of AES-128-GCM (RFC 8188).
 * All of it is OpenSSL's; HKDF with outputs of one block is two HMACs.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "channel/address.h"
#include "channel/channel.h"
#include "channel/settings.h"
#include "channel/webpush.h"
#include "port.h"
#include "port/pg_bswap.h"

#define RECORD_SIZE 4096
#define KEY_BYTES 16
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define HEADER_BYTES (WEBPUSH_SALT_BYTES + 4 + 1 + P256_POINT_BYTES)

static void
read_key(JsonbContainer *keys, const char *name, uint8 *out, size_t size)
{
	size_t		length = 0;
	char	   *text = json_text(keys, name);
	uint8	   *bytes = text ? sign_base64url_decode(text, &length) : NULL;

	if (bytes == NULL || length != size)
		elog(ERROR, "malformed subscription");	/* address_check() let it pass */
	memcpy(out, bytes, size);
}

void
webpush_read_subscription(const char *address, WebpushKeys *keys)
{
	Jsonb	   *json;
	JsonbValue *both;

	address_check("webpush", address);
	json = text_to_json(address, strlen(address));
	both = json_find(&json->root, "keys");
	read_key(both->val.binary.data, "p256dh", keys->point, sizeof(keys->point));
	read_key(both->val.binary.data, "auth", keys->auth, sizeof(keys->auth));
}

void
webpush_new_keys(WebpushKeys *keys)
{
	keys->sender = sign_p256_key(NULL, keys->sender_point);
	if (!pg_strong_random(keys->salt, sizeof(keys->salt)))
		sign_fail("generate random bytes");
}

/* HKDF with an output of one block: extract with the salt, expand with info */
static void
derive(const uint8 *salt, size_t salt_length, const uint8 *secret, size_t secret_length,
	   const char *info, size_t info_length, uint8 *out, size_t out_length)
{
	SignBytes	extracted = sign_hmac("sha256", salt, salt_length, (const char *) secret, secret_length);
	char	   *block = palloc(info_length + 1);
	SignBytes	expanded;

	memcpy(block, info, info_length);
	block[info_length] = 1;
	expanded = sign_hmac("sha256", extracted.data, extracted.length, block, info_length + 1);
	memcpy(out, expanded.data, out_length);
}

/* The content encryption key and the nonce (RFC 8291, 3.4) */
static void
derive_keys(const WebpushKeys *keys, uint8 *key, uint8 *nonce)
{
	static const char key_info[] = "Content-Encoding: aes128gcm";	/* with its 0 byte */
	static const char nonce_info[] = "Content-Encoding: nonce";
	char		info[14 + 2 * P256_POINT_BYTES] = "WebPush: info";
	uint8		agreed[P256_BYTES];
	uint8		secret[P256_BYTES];

	sign_p256_agree(keys->sender, keys->point, agreed);
	memcpy(info + 14, keys->point, P256_POINT_BYTES);
	memcpy(info + 14 + P256_POINT_BYTES, keys->sender_point, P256_POINT_BYTES);
	derive(keys->auth, sizeof(keys->auth), agreed, sizeof(agreed), info, sizeof(info), secret, sizeof(secret));
	derive(keys->salt, sizeof(keys->salt), secret, sizeof(secret), key_info, sizeof(key_info), key, KEY_BYTES);
	derive(keys->salt, sizeof(keys->salt), secret, sizeof(secret), nonce_info, sizeof(nonce_info), nonce, NONCE_BYTES);
}

/* Encrypt length bytes at text; the tag goes behind them. */
static void
seal(const uint8 *key, const uint8 *nonce, const uint8 *text, int length, uint8 *out)
{
	EVP_CIPHER_CTX *cxt = EVP_CIPHER_CTX_new();
	int			written = 0;
	int			rest = 0;
	bool		good = cxt &&
		EVP_EncryptInit_ex(cxt, EVP_aes_128_gcm(), NULL, key, nonce) == 1 &&
		EVP_EncryptUpdate(cxt, out, &written, text, length) == 1 &&
		EVP_EncryptFinal_ex(cxt, out + written, &rest) == 1 &&
		EVP_CIPHER_CTX_ctrl(cxt, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + length) == 1;

	EVP_CIPHER_CTX_free(cxt);
	if (!good || written + rest != length)
		sign_fail("encrypt a message");
}

/* salt, record size, length of the key's name, the key */
static void
write_header(const WebpushKeys *keys, uint8 *out)
{
	uint32		size = pg_hton32(RECORD_SIZE);

	memcpy(out, keys->salt, WEBPUSH_SALT_BYTES);
	memcpy(out + WEBPUSH_SALT_BYTES, &size, 4);
	out[WEBPUSH_SALT_BYTES + 4] = P256_POINT_BYTES;
	memcpy(out + WEBPUSH_SALT_BYTES + 5, keys->sender_point, P256_POINT_BYTES);
}

SignBytes
webpush_encrypt(const WebpushKeys *keys, const char *text, size_t length)
{
	SignBytes	body;
	uint8	   *record;
	uint8		key[KEY_BYTES];
	uint8		nonce[NONCE_BYTES];

	if (length > WEBPUSH_TEXT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the message has %d bytes, and push services take no more than %d",
						(int) length, WEBPUSH_TEXT_MAX)));
	derive_keys(keys, key, nonce);
	record = palloc(length + 1);
	memcpy(record, text, length);
	record[length] = 2;			/* it is the last one */
	body.length = HEADER_BYTES + length + 1 + TAG_BYTES;
	body.data = palloc(body.length);
	write_header(keys, body.data);
	seal(key, nonce, record, (int) length + 1, body.data + HEADER_BYTES);
	return body;
}
