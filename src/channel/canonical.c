/*
 * canonical.c
 *		Signatures over a request in canonical form.
 *
 * Amazon's Signature Version 4, Alibaba Cloud's ACS3-HMAC-SHA256 and Tencent
 * Cloud's TC3-HMAC-SHA256 hash the same lines: method, path, sorted query,
 * sorted headers, their names, and the hash of the body.  They differ in which
 * headers are signed, in how the key is derived and in the string around the
 * hash.
 *
 *	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 *	https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature
 *	https://www.tencentcloud.com/document/product/382/34427
 */
#include "postgres.h"

#include "channel/canonical.h"
#include "channel/sign.h"
#include "lib/stringinfo.h"
#include "pgtime.h"

typedef struct Canonical
{
	char	   *text;			/* the canonical request */
	char	   *signed_headers; /* names, ';' between them */
	char	   *body_hash;
} Canonical;

static char *
hash_hex(const char *data, size_t length)
{
	SignBytes	hash = sign_digest("sha256", data, length);

	return sign_hex(hash.data, hash.length);
}

static SignBytes
hmac(SignBytes key, const char *message)
{
	return sign_hmac("sha256", key.data, key.length, message, strlen(message));
}

/* By name, then by value: what ends a name is less than all that can be in one. */
static int
by_name(const void *a, const void *b)
{
	const char *one = *(char *const *) a;
	const char *other = *(char *const *) b;

	while (*one && *one == *other)
		one++, other++;
	return (strchr("=:", *one) ? -1 : (unsigned char) *one) -
		(strchr("=:", *other) ? -1 : (unsigned char) *other);
}

/* Put the parameters of a query in order; a name without '=' gets one. */
static char *
sorted_query(const Request *request)
{
	char	   *query = request_query_string(request);
	char	  **parts = palloc(sizeof(char *) * (strlen(query) + 1));
	int			count = 0;
	StringInfoData out;
	char	   *part;
	char	   *rest;
	int			i;

	for (part = strtok_r(query, "&", &rest); part; part = strtok_r(NULL, "&", &rest))
		parts[count++] = strchr(part, '=') ? part : psprintf("%s=", part);
	qsort(parts, count, sizeof(char *), by_name);
	initStringInfo(&out);
	for (i = 0; i < count; i++)
		appendStringInfo(&out, "%s%s", i ? "&" : "", parts[i]);
	return out.data;
}

typedef bool (*HeaderChoice) (const char *name);

/* "name:value" in lower case and without blanks around; NULL if not signed */
static char *
canonical_header(const char *line, HeaderChoice chosen)
{
	int			length = strcspn(line, ":");
	char	   *name = pnstrdup(line, length);
	const char *value = line + length + strspn(line + length, ": \t");
	int			end = strlen(value);
	char	   *at;

	for (at = name; *at; at++)
		*at = pg_ascii_tolower(*at);
	while (end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t'))
		end--;
	return line[length] == ':' && end > 0 && chosen(name) ? psprintf("%s:%.*s", name, end, value) : NULL;
}

static char **
sorted_headers(const Request *request, HeaderChoice chosen, int *count)
{
	struct curl_slist *node;
	char	  **lines;

	*count = 1;
	for (node = request->headers; node; node = node->next)
		(*count)++;
	lines = palloc(sizeof(char *) * *count);
	*count = 0;
	lines[(*count)++] = psprintf("host:%s", request_host(request));
	for (node = request->headers; node; node = node->next)
	{
		char	   *line = canonical_header(node->data, chosen);

		if (line)
			lines[(*count)++] = line;
	}
	qsort(lines, *count, sizeof(char *), by_name);
	return lines;
}

static Canonical
canonical_request(const Request *request, const char *path, HeaderChoice chosen)
{
	Canonical	result;
	StringInfoData text;
	StringInfoData names;
	int			count;
	char	  **lines = sorted_headers(request, chosen, &count);
	int			i;

	initStringInfo(&text);
	initStringInfo(&names);
	appendStringInfo(&text, "%s\n%s\n%s\n", request->method, path, sorted_query(request));
	for (i = 0; i < count; i++)
	{
		appendStringInfo(&text, "%s\n", lines[i]);
		appendStringInfo(&names, "%s%.*s", i ? ";" : "", (int) strcspn(lines[i], ":"), lines[i]);
	}
	result.body_hash = hash_hex(request->body ? request->body : "", request->length);
	appendStringInfo(&text, "\n%s\n%s", names.data, result.body_hash);
	result.text = text.data;
	result.signed_headers = names.data;
	return result;
}

static char *
utc(const Request *request, const char *format)
{
	pg_time_t	seconds = request->now_ms / 1000;
	char	   *out = palloc(32);

	pg_strftime(out, 32, format, pg_gmtime(&seconds));
	return out;
}

static SignBytes
text_key(const char *text)
{
	SignBytes	key = {(uint8 *) text, strlen(text)};

	return key;
}

/* ----------------------------------------------------------------- acs3 --- */

static bool
chosen_by_acs3(const char *name)
{
	return strncmp(name, "x-acs-", 6) == 0 || strcmp(name, "content-type") == 0;
}

void
canonical_acs3(Request *request, const char *key_id, const char *secret, const char *security_token)
{
	Canonical	canonical;
	SignBytes	signature;
	char	   *hashed;

	request_header(request, "x-acs-date", utc(request, "%Y-%m-%dT%H:%M:%SZ"));
	request_header(request, "x-acs-signature-nonce", request_nonce(request));
	request_header(request, "x-acs-content-sha256",
				   hash_hex(request->body ? request->body : "", request->length));
	request_header(request, "x-acs-security-token", security_token);
	canonical = canonical_request(request, request_path(request), chosen_by_acs3);
	hashed = psprintf("ACS3-HMAC-SHA256\n%s", hash_hex(canonical.text, strlen(canonical.text)));
	signature = hmac(text_key(secret), hashed);
	request_header(request, "Authorization",
				   psprintf("ACS3-HMAC-SHA256 Credential=%s,SignedHeaders=%s,Signature=%s", key_id,
							canonical.signed_headers, sign_hex(signature.data, signature.length)));
}

/* ------------------------------------------------------------------ tc3 --- */

static bool
chosen_by_tc3(const char *name)
{
	return strcmp(name, "content-type") == 0;
}

void
canonical_tc3(Request *request, const char *secret_id, const char *secret_key, const char *service)
{
	char	   *seconds = psprintf(INT64_FORMAT, request->now_ms / 1000);
	char	   *date = utc(request, "%Y-%m-%d");
	char	   *scope = psprintf("%s/%s/tc3_request", date, service);
	Canonical	canonical;
	SignBytes	signature;

	request_header(request, "X-TC-Timestamp", seconds);
	canonical = canonical_request(request, request_path(request), chosen_by_tc3);
	signature = hmac(text_key(psprintf("TC3%s", secret_key)), date);
	signature = hmac(hmac(signature, service), "tc3_request");
	signature = hmac(signature, psprintf("TC3-HMAC-SHA256\n%s\n%s\n%s", seconds, scope,
										 hash_hex(canonical.text, strlen(canonical.text))));
	request_header(request, "Authorization",
				   psprintf("TC3-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
							secret_id, scope, canonical.signed_headers,
							sign_hex(signature.data, signature.length)));
}

/* ---------------------------------------------------------------- sigv4 --- */

static bool
chosen_by_sigv4(const char *name)
{
	return strncmp(name, "x-amz-", 6) == 0 || strcmp(name, "content-type") == 0;
}

void
canonical_sigv4(Request *request, const char *key_id, const char *secret,
				const char *region, const char *service, const char *session_token)
{
	char	   *time = utc(request, "%Y%m%dT%H%M%SZ");
	char	   *date = utc(request, "%Y%m%d");
	char	   *scope = psprintf("%s/%s/%s/aws4_request", date, region, service);
	Canonical	canonical;
	SignBytes	signature;

	request_header(request, "X-Amz-Date", time);
	request_header(request, "X-Amz-Security-Token", session_token);
	/* All services but S3 encode the path once more. */
	canonical = canonical_request(request, percent_encode(request_path(request), "/"), chosen_by_sigv4);
	signature = hmac(text_key(psprintf("AWS4%s", secret)), date);
	signature = hmac(hmac(hmac(signature, region), service), "aws4_request");
	signature = hmac(signature, psprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", time, scope,
										 hash_hex(canonical.text, strlen(canonical.text))));
	request_header(request, "Authorization",
				   psprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
							key_id, scope, canonical.signed_headers,
							sign_hex(signature.data, signature.length)));
}
