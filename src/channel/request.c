/*
 * request.c
 *		An HTTP request while it is written and signed.
 */
#include "postgres.h"

#include "channel/request.h"
#include "lib/stringinfo.h"
#include "port.h"

struct curl_slist *
header_node(char *line, struct curl_slist *next)
{
	struct curl_slist *node = palloc(sizeof(struct curl_slist));

	node->data = line;
	node->next = next;
	return node;
}

void
request_header(Request *request, const char *name, const char *value)
{
	const char *at;

	for (at = value; *at; at++)
		if (((unsigned char) *at < ' ' && *at != '\t') || *at == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the value of header \"%s\" contains a control character", name),
					 errdetail("A line break there would begin another header.")));
	/* libcurl takes "name:" for the wish to leave a header out. */
	if (*value)
		request->headers = header_node(psprintf("%s: %s", name, value), request->headers);
}

const char *
request_find_header(const Request *request, const char *name)
{
	size_t		length = strlen(name);
	struct curl_slist *node;

	for (node = request->headers; node; node = node->next)
		if (pg_strncasecmp(node->data, name, length) == 0 && node->data[length] == ':')
		{
			const char *value = node->data + length + 1;

			return value + strspn(value, " \t");
		}
	return NULL;
}

char *
percent_encode(const char *text, const char *also_kept)
{
	StringInfoData out;

	initStringInfo(&out);
	for (; *text; text++)
	{
		char		c = *text;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			strchr("-_.~", c) || strchr(also_kept, c))
			appendStringInfoChar(&out, c);
		else
			appendStringInfo(&out, "%%%02X", (unsigned char) c);
	}
	return out.data;
}

void
request_query(Request *request, const char *name, const char *value)
{
	request->url = psprintf("%s%c%s=%s", request->url,
							strchr(request->url, '?') ? '&' : '?',
							percent_encode(name, ""), percent_encode(value, ""));
}

const char *
request_nonce(Request *request)
{
	uint8		bytes[16];
	char	   *text;
	int			i;

	if (request->nonce)
		return request->nonce;
	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes")));
	text = palloc(2 * sizeof(bytes) + 1);
	for (i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	request->nonce = text;
	return text;
}

/* What stands between the scheme and the path */
static const char *
authority(const char *url, int *length)
{
	const char *start = strstr(url, "://");

	start = start ? start + 3 : url;
	*length = strcspn(start, "/?#");
	return start;
}

char *
request_host(const Request *request)
{
	int			length;
	const char *start = authority(request->url, &length);
	char	   *host = pnstrdup(start, length);
	bool		tls = pg_strncasecmp(request->url, "https:", 6) == 0;
	const char *port = tls ? ":443" : ":80";
	char	   *at = strrchr(host, ':');

	if (at && strcmp(at, port) == 0)
		*at = '\0';
	return host;
}

char *
request_path(const Request *request)
{
	int			length;
	const char *start = authority(request->url, &length);
	char	   *path;

	start += length;
	path = pnstrdup(start, strcspn(start, "?#"));
	return *path ? path : pstrdup("/");
}

char *
request_query_string(const Request *request)
{
	const char *start = strchr(request->url, '?');

	return start ? pnstrdup(start + 1, strcspn(start + 1, "#")) : pstrdup("");
}

/* One part of a URL, palloc'd; NULL when there is none */
static char *
url_part(CURLU *parsed, CURLUPart part)
{
	char	   *value = NULL;
	char	   *copy = NULL;

	if (curl_url_get(parsed, part, &value, CURLU_DEFAULT_PORT) == CURLUE_OK && value)
		copy = pstrdup(value);
	curl_free(value);
	return copy;
}

static void
lower_case(char *text)
{
	for (; *text; text++)
		*text = pg_ascii_tolower(*text);
}

static bool
split_url(const char *url, char **scheme, char **host, char **port)
{
	CURLU	   *parsed = curl_url();
	bool		good = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK;

	if (good)
	{
		*scheme = url_part(parsed, CURLUPART_SCHEME);
		*host = url_part(parsed, CURLUPART_HOST);
		*port = url_part(parsed, CURLUPART_PORT);
		good = *scheme && *host && *port;
	}
	if (good)
		lower_case(*host);
	curl_url_cleanup(parsed);
	return good;
}

char *
url_origin(const char *url)
{
	char	   *scheme;
	char	   *host;
	char	   *port;

	if (!split_url(url, &scheme, &host, &port))
		return NULL;
	return psprintf("%s://%s:%s", scheme, host, port);
}

char *
url_host(const char *url)
{
	char	   *scheme;
	char	   *host;
	char	   *port;

	return split_url(url, &scheme, &host, &port) ? host : NULL;
}
