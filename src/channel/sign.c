/*
 * sign.c
 *		Signatures of requests, by OpenSSL.
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "channel/sign.h"
#include "lib/stringinfo.h"
#include "port.h"
#include "utils/memutils.h"

#define WEBHOOK_KEY_MAX 1024

void
sign_fail(const char *what)
{
	ERR_clear_error();
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not %s", what)));
	pg_unreachable();
}

void
sign_hmac_sha256(const uint8 *key, size_t key_length,
				 const char *data, size_t length, uint8 *out)
{
	unsigned int written = 0;

	if (HMAC(EVP_sha256(), key, (int) key_length,
			 (const unsigned char *) data, length, out, &written) == NULL ||
		written != SIGN_SHA256_BYTES)
		sign_fail("compute an HMAC");
}

bool
sign_knows_digest(const char *digest)
{
	static const char *const known[] = {"md5", "sha1", "sha256", "sha384", "sha512"};
	size_t		i;

	for (i = 0; i < lengthof(known); i++)
		if (strcmp(known[i], digest) == 0)
			return true;
	return false;
}

SignBytes
sign_digest(const char *digest, const char *data, size_t length)
{
	SignBytes	result = {palloc(EVP_MAX_MD_SIZE), 0};
	unsigned int written = 0;

	if (EVP_Digest(data, length, result.data, &written, EVP_get_digestbyname(digest), NULL) != 1)
		sign_fail("compute a digest");
	result.length = written;
	return result;
}

SignBytes
sign_hmac(const char *digest, const uint8 *key, size_t key_length,
		  const char *data, size_t length)
{
	SignBytes	result = {palloc(EVP_MAX_MD_SIZE), 0};
	unsigned int written = 0;

	if (HMAC(EVP_get_digestbyname(digest), key, (int) key_length,
			 (const unsigned char *) data, length, result.data, &written) == NULL)
		sign_fail("compute an HMAC");
	result.length = written;
	return result;
}

char *
sign_hex(const uint8 *data, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	char	   *text = palloc(2 * length + 1);
	size_t		i;

	for (i = 0; i < length; i++)
	{
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 15];
	}
	text[2 * length] = '\0';
	return text;
}

static int
hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, pg_ascii_tolower(c)) : NULL;

	return at ? at - digits : -1;
}

uint8 *
sign_hex_decode(const char *text, size_t *length)
{
	size_t		size = strlen(text);
	uint8	   *bytes = palloc(size / 2 + 1);
	size_t		i;

	if (size == 0 || size % 2 != 0)
		return NULL;
	for (i = 0; i < size; i += 2)
	{
		if (hex_digit(text[i]) < 0 || hex_digit(text[i + 1]) < 0)
			return NULL;
		bytes[i / 2] = hex_digit(text[i]) << 4 | hex_digit(text[i + 1]);
	}
	*length = size / 2;
	return bytes;
}

char *
sign_base64(const uint8 *data, size_t length)
{
	char	   *text = palloc((length + 2) / 3 * 4 + 1);

	EVP_EncodeBlock((unsigned char *) text, data, (int) length);
	return text;
}

char *
sign_base64url(const uint8 *data, size_t length)
{
	char	   *text = sign_base64(data, length);
	char	   *at;

	for (at = text; *at && *at != '='; at++)
		if (*at == '+')
			*at = '-';
		else if (*at == '/')
			*at = '_';
	*at = '\0';
	return text;
}

uint8 *
sign_base64url_decode(const char *text, size_t *length)
{
	size_t		size = strcspn(text, "=");
	char	   *plain = palloc(size + 4);
	size_t		i;

	for (i = 0; i < size; i++)
		plain[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	while (i % 4 != 0)
		plain[i++] = '=';
	plain[i] = '\0';
	return sign_base64_decode(plain, length);
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

/* ----------------------------------------------------------------- keys --- */

static void
free_key(void *key)
{
	EVP_PKEY_free(key);
}

SignKey *
sign_keep_key(SignKey *key)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = free_key;
	callback->arg = key;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return key;
}

static bool
fits_algorithm(EVP_PKEY *key, const char *algorithm)
{
	if (strcmp(algorithm, "RS256") == 0)
		return EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) >= 2048;
	return EVP_PKEY_base_id(key) == EVP_PKEY_EC && EVP_PKEY_bits(key) == 8 * P256_BYTES;
}

bool
sign_is_point(const uint8 *bytes, size_t length)
{
	EC_GROUP   *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT   *point = group ? EC_POINT_new(group) : NULL;
	bool		good = point && length > 0 && bytes[0] == 4 &&
		EC_POINT_oct2point(group, point, bytes, length, NULL) == 1;

	EC_POINT_free(point);
	EC_GROUP_free(group);
	ERR_clear_error();
	return good;
}

/* The point of a number; false when the curve has none */
static bool
point_of(const BIGNUM *number, uint8 *point)
{
	EC_GROUP   *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT   *at = group ? EC_POINT_new(group) : NULL;
	bool		good = at && !BN_is_zero(number) &&
		BN_cmp(number, EC_GROUP_get0_order(group)) < 0 &&
		EC_POINT_mul(group, at, number, NULL, NULL, NULL) == 1 &&
		EC_POINT_point2oct(group, at, POINT_CONVERSION_UNCOMPRESSED, point,
						   P256_POINT_BYTES, NULL) == P256_POINT_BYTES;

	EC_POINT_free(at);
	EC_GROUP_free(group);
	return good;
}

/* number may be NULL: a public key */
static EVP_PKEY *
key_from_parts(const BIGNUM *number, const uint8 *point)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *parameters = NULL;
	EVP_PKEY_CTX *cxt = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY   *key = NULL;

	if (build && cxt &&
		OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
		OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, P256_POINT_BYTES) == 1 &&
		(number == NULL || OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1) &&
		(parameters = OSSL_PARAM_BLD_to_param(build)) != NULL &&
		EVP_PKEY_fromdata_init(cxt) == 1 &&
		EVP_PKEY_fromdata(cxt, &key, number ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, parameters) != 1)
		key = NULL;
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(cxt);
	ERR_clear_error();
	return key;
}

static EVP_PKEY *
new_p256_key(uint8 *point)
{
	EVP_PKEY   *key = EVP_EC_gen("P-256");
	size_t		length = 0;

	if (key == NULL ||
		EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
										P256_POINT_BYTES, &length) != 1 ||
		length != P256_POINT_BYTES)
	{
		EVP_PKEY_free(key);
		sign_fail("generate a key");
	}
	return key;
}

SignKey *
sign_p256_key(const uint8 *number, uint8 *point)
{
	BIGNUM	   *big;
	EVP_PKEY   *key;

	if (number == NULL)
		return sign_keep_key(new_p256_key(point));
	big = BN_bin2bn(number, P256_BYTES, NULL);
	key = big && point_of(big, point) ? key_from_parts(big, point) : NULL;
	BN_clear_free(big);
	return key ? sign_keep_key(key) : NULL;
}

void
sign_p256_agree(SignKey *key, const uint8 *other_point, uint8 *out)
{
	EVP_PKEY   *other = key_from_parts(NULL, other_point);
	EVP_PKEY_CTX *cxt = other ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	size_t		length = P256_BYTES;
	bool		good = cxt && EVP_PKEY_derive_init(cxt) == 1 &&
		EVP_PKEY_derive_set_peer(cxt, other) == 1 &&
		EVP_PKEY_derive(cxt, out, &length) == 1 && length == P256_BYTES;

	EVP_PKEY_CTX_free(cxt);
	EVP_PKEY_free(other);
	if (!good)
		sign_fail("agree on a key");
}

/* Never asks for a pass phrase */
static int
no_passphrase(char *out, int size, int writing, void *data)
{
	return -1;
}

SignKey *
sign_read_key(const char *pem, const char *algorithm)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY   *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	if (key && !fits_algorithm(key, algorithm))
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key ? sign_keep_key(key) : NULL;
}

/* Two numbers of 32 bytes in place of the DER structure (RFC 7518, 3.4) */
static SignBytes
raw_signature(const SignBytes *der)
{
	const unsigned char *at = der->data;
	ECDSA_SIG  *both = d2i_ECDSA_SIG(NULL, &at, (long) der->length);
	SignBytes	raw = {palloc(2 * P256_BYTES), 2 * P256_BYTES};
	bool		good = both &&
		BN_bn2binpad(ECDSA_SIG_get0_r(both), raw.data, P256_BYTES) == P256_BYTES &&
		BN_bn2binpad(ECDSA_SIG_get0_s(both), raw.data + P256_BYTES, P256_BYTES) == P256_BYTES;

	ECDSA_SIG_free(both);
	if (!good)
		sign_fail("read a signature");
	return raw;
}

static SignBytes
sign_with_key(EVP_PKEY *key, const char *data, size_t length)
{
	SignBytes	result = {palloc(EVP_PKEY_size(key)), EVP_PKEY_size(key)};
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	bool		good = digest &&
		EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(digest, result.data, &result.length,
					   (const unsigned char *) data, length) == 1;

	EVP_MD_CTX_free(digest);
	if (!good)
		sign_fail("sign with a private key");
	return EVP_PKEY_base_id(key) == EVP_PKEY_EC ? raw_signature(&result) : result;
}

char *
sign_jwt(SignKey *key, const char *algorithm, const char *header, const char *claims)
{
	char	   *text = psprintf("%s.%s", sign_base64url((const uint8 *) header, strlen(header)),
								sign_base64url((const uint8 *) claims, strlen(claims)));
	SignBytes	signature = sign_with_key(key, text, strlen(text));

	return psprintf("%s.%s", text, sign_base64url(signature.data, signature.length));
}

/* The DER structure of two numbers of 32 bytes */
static SignBytes
der_signature(const uint8 *raw)
{
	ECDSA_SIG  *both = ECDSA_SIG_new();
	SignBytes	der = {palloc(80), 0};
	unsigned char *at = der.data;
	int			length = 0;

	if (both && ECDSA_SIG_set0(both, BN_bin2bn(raw, P256_BYTES, NULL),
							   BN_bin2bn(raw + P256_BYTES, P256_BYTES, NULL)) == 1)
		length = i2d_ECDSA_SIG(both, &at);
	ECDSA_SIG_free(both);
	der.length = Max(length, 0);
	return der;
}

bool
sign_check_jwt(const char *public_pem, const char *token)
{
	const char *dot = strrchr(token, '.');
	BIO		   *bio = BIO_new_mem_buf(public_pem, -1);
	EVP_PKEY   *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	SignBytes	signature = {NULL, 0};
	bool		good;

	signature.data = dot ? sign_base64url_decode(dot + 1, &signature.length) : NULL;
	if (signature.data && key && EVP_PKEY_base_id(key) == EVP_PKEY_EC && signature.length == 2 * P256_BYTES)
		signature = der_signature(signature.data);
	good = signature.data && key && digest &&
		EVP_DigestVerifyInit(digest, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestVerify(digest, signature.data, signature.length,
						 (const unsigned char *) token, dot - token) == 1;
	EVP_MD_CTX_free(digest);
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return good;
}

/*
 * A public key: PEM of a key or of a certificate, or the base64 text of a key
 * (SubjectPublicKeyInfo).  NULL when it is none.
 */
static EVP_PKEY *
read_public_key(const char *text)
{
	BIO		   *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY   *key = NULL;
	size_t		length = 0;
	const uint8 *bytes;

	if (strstr(text, "-----BEGIN CERTIFICATE-----"))
	{
		X509	   *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		key = certificate ? X509_get_pubkey(certificate) : NULL;
		X509_free(certificate);
	}
	else if (strstr(text, "-----BEGIN "))
		key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	else if ((bytes = sign_base64_decode(text, &length)) != NULL)
		key = d2i_PUBKEY(NULL, &bytes, (long) length);
	BIO_free(bio);
	return key;
}

bool
sign_verify(const char *public_key, const char *digest, const char *data, size_t length, SignBytes signature)
{
	EVP_PKEY   *key = read_public_key(public_key);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool		good = key && context &&
		EVP_DigestVerifyInit(context, NULL, EVP_get_digestbyname(digest), NULL, key) == 1 &&
		EVP_DigestVerify(context, signature.data, signature.length, (const unsigned char *) data, length) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return good;
}
