/*
 * tag.c
 *		What a message carries so that what comes back can be trusted.
 *
 * Both are said by us alone: an HMAC-SHA256 by a key of the database's, over a
 * text that begins with what it is for, so that neither passes for the other.
 * Comparing takes as long whatever differs.  What comes in is bounded before
 * anything is made of it.
 */
#include "postgres.h"

#include <openssl/crypto.h>

#include "channel/sign.h"
#include "channel/tag.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(notify_return_tag);
PG_FUNCTION_INFO_V1(notify_returned_message);
PG_FUNCTION_INFO_V1(notify_make_token);
PG_FUNCTION_INFO_V1(notify_read_token);
PG_FUNCTION_INFO_V1(notify_is_hmac);
PG_FUNCTION_INFO_V1(notify_is_signature);

#define TAG_MAC_BYTES 8
#define TOKEN_MAC_BYTES 16
#define TOKEN_VERSION 1
#define TOKEN_HEAD 11			/* version, message, length of the category */
#define TOKEN_TEXT_MAX 8192

/* ------------------------------------------------------- the return path --- */

static void
tag_mac(const char *number, const char *key, size_t key_length, uint8 *mac)
{
	char	   *text = psprintf("return-path:%s", number);

	sign_hmac_sha256((const uint8 *) key, key_length, text, strlen(text), mac);
	pfree(text);
}

char *
tag_make(int64 message, const char *key, size_t key_length)
{
	char	   *number = psprintf(INT64_FORMAT, message);
	uint8		mac[SIGN_SHA256_BYTES];

	tag_mac(number, key, key_length, mac);
	return psprintf("%s-%s", number, sign_hex(mac, TAG_MAC_BYTES));
}

bool
tag_read(const char *tag, const char *key, size_t key_length, int64 *message)
{
	size_t		digits = strspn(tag, "0123456789");
	const char *said = tag + digits + 1;
	char	   *number;
	uint8		mac[SIGN_SHA256_BYTES];
	uint8	   *bytes;
	size_t		length = 0;

	if (digits == 0 || digits > 19 || tag[digits] != '-' || strlen(said) != 2 * TAG_MAC_BYTES)
		return false;
	number = pnstrdup(tag, digits);
	tag_mac(number, key, key_length, mac);
	bytes = sign_hex_decode(said, &length);
	if (bytes == NULL || CRYPTO_memcmp(bytes, mac, TAG_MAC_BYTES) != 0)
		return false;
	*message = strtoll(number, NULL, 10);
	return true;
}

/* -------------------------------------------------- the unsubscribe link --- */

static void
append_number(StringInfo out, uint64 number, int bytes)
{
	while (bytes-- > 0)
		appendStringInfoChar(out, (char) (number >> (8 * bytes) & 0xff));
}

static uint64
read_number(const uint8 *data, int bytes)
{
	uint64		number = 0;

	while (bytes-- > 0)
		number = number << 8 | *data++;
	return number;
}

static void
token_mac(const char *body, size_t length, const char *key, size_t key_length, uint8 *mac)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "unsubscribe:");
	appendBinaryStringInfo(&text, body, length);
	sign_hmac_sha256((const uint8 *) key, key_length, text.data, text.len, mac);
	pfree(text.data);
}

char *
token_make(const UnsubscribeToken *token, const char *key, size_t key_length)
{
	size_t		category = strlen(token->category);
	StringInfoData body;
	uint8		mac[SIGN_SHA256_BYTES];

	initStringInfo(&body);
	append_number(&body, TOKEN_VERSION, 1);
	append_number(&body, (uint64) token->message, 8);
	append_number(&body, category, 2);
	appendStringInfoString(&body, token->category);
	appendStringInfoString(&body, token->recipient);
	if (category > 0xffff || body.len > TOKEN_TEXT_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("category and recipient are too long for an unsubscribe token")));
	token_mac(body.data, body.len, key, key_length, mac);
	appendBinaryStringInfo(&body, (const char *) mac, TOKEN_MAC_BYTES);
	return sign_base64url((const uint8 *) body.data, body.len);
}

bool
token_read(const char *text, const char *key, size_t key_length, UnsubscribeToken *token)
{
	size_t		length = 0;
	uint8	   *body = strlen(text) <= TOKEN_TEXT_MAX ? sign_base64url_decode(text, &length) : NULL;
	uint8		mac[SIGN_SHA256_BYTES];
	size_t		category;

	if (body == NULL || length < TOKEN_HEAD + TOKEN_MAC_BYTES || body[0] != TOKEN_VERSION)
		return false;
	length -= TOKEN_MAC_BYTES;
	token_mac((const char *) body, length, key, key_length, mac);
	category = read_number(body + 9, 2);
	if (CRYPTO_memcmp(body + length, mac, TOKEN_MAC_BYTES) != 0 || category > length - TOKEN_HEAD)
		return false;
	token->message = (int64) read_number(body + 1, 8);
	token->category = pnstrdup((char *) body + TOKEN_HEAD, category);
	token->recipient = pnstrdup((char *) body + TOKEN_HEAD + category, length - TOKEN_HEAD - category);
	return true;
}

/* ----------------------------------------------------- what SQL sees of it --- */

/* notify._return_tag(message bigint, key text) returns text */
Datum
notify_return_tag(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(1);

	PG_RETURN_TEXT_P(cstring_to_text(tag_make(PG_GETARG_INT64(0), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key))));
}

/* notify._returned_message(tag text, key text) returns bigint */
Datum
notify_returned_message(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(1);
	int64		message;

	if (!tag_read(text_to_cstring(PG_GETARG_TEXT_PP(0)), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), &message))
		PG_RETURN_NULL();
	PG_RETURN_INT64(message);
}

static char *
to_utf8(text *from)
{
	char	   *bytes = text_to_cstring(from);

	return pg_server_to_any(bytes, strlen(bytes), PG_UTF8);
}

/* notify._make_token(recipient text, category text, message bigint, key text) returns text */
Datum
notify_make_token(PG_FUNCTION_ARGS)
{
	UnsubscribeToken token = {PG_GETARG_INT64(2), to_utf8(PG_GETARG_TEXT_PP(1)), to_utf8(PG_GETARG_TEXT_PP(0))};
	text	   *key = PG_GETARG_TEXT_PP(3);

	PG_RETURN_TEXT_P(cstring_to_text(token_make(&token, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key))));
}

/* notify._read_token(token text, key text, OUT recipient text, OUT category text, OUT message bigint) */
Datum
notify_read_token(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(1);
	UnsubscribeToken token;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!token_read(text_to_cstring(PG_GETARG_TEXT_PP(0)), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), &token))
		PG_RETURN_NULL();
	/* we made them of text of this database's encoding */
	values[0] = CStringGetTextDatum(pg_any_to_server(token.recipient, strlen(token.recipient), PG_UTF8));
	values[1] = CStringGetTextDatum(pg_any_to_server(token.category, strlen(token.category), PG_UTF8));
	values[2] = Int64GetDatum(token.message);
	nulls[2] = token.message == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

static SignBytes
hmac_of(text *algorithm, bytea *key, bytea *data)
{
	char	   *digest = text_to_cstring(algorithm);

	if (!sign_knows_digest(digest))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("digest \"%s\" is not known", digest),
				 errhint("Use md5, sha1, sha256, sha384 or sha512.")));
	return sign_hmac(digest, (const uint8 *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key),
					 VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data));
}

/* notify._is_hmac(mac bytea, algorithm text, key bytea, data bytea) returns boolean */
Datum
notify_is_hmac(PG_FUNCTION_ARGS)
{
	bytea	   *said = PG_GETARG_BYTEA_PP(0);
	SignBytes	mac = hmac_of(PG_GETARG_TEXT_PP(1), PG_GETARG_BYTEA_PP(2), PG_GETARG_BYTEA_PP(3));

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(said) == mac.length &&
				   CRYPTO_memcmp(VARDATA_ANY(said), mac.data, mac.length) == 0);
}

/* notify._is_signature(signature bytea, digest text, public_key text, data bytea) returns boolean */
Datum
notify_is_signature(PG_FUNCTION_ARGS)
{
	bytea	   *said = PG_GETARG_BYTEA_PP(0);
	bytea	   *data = PG_GETARG_BYTEA_PP(3);
	SignBytes	signature = {(uint8 *) VARDATA_ANY(said), VARSIZE_ANY_EXHDR(said)};

	PG_RETURN_BOOL(sign_verify(text_to_cstring(PG_GETARG_TEXT_PP(2)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
							   VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), signature));
}
