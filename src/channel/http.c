/*
 * http.c
 *		The adapter "webhook": a POST with the headers of Standard Webhooks.
 *
 * The URL is the letter's address, or the provider's when the letter has none.
 * The body is the rendered one, or {"type", "timestamp", "data"}.
 *
 * Header lines stand in curl_slist nodes that we lay out ourselves: those of
 * the provider once, those of the letter in front of them.  libcurl only reads
 * the list.
 *
 * The two callbacks write into the transfer's fixed buffers and nowhere else.
 */
#include "postgres.h"

#include <time.h>

#include "channel/address.h"
#include "channel/classify.h"
#include "channel/provider.h"
#include "channel/sign.h"
#include "mb/pg_wchar.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

typedef struct WebhookConfig
{
	char	   *url;			/* NULL: letters bring their own */
	struct curl_slist *headers; /* the same for every letter */
	uint8	   *key;			/* NULL: not signed */
	size_t		key_length;
	char	   *ca_file;
	long		timeout;		/* ms */
	long		connect_timeout;
} WebhookConfig;

static const SettingSpec webhook_settings[] = {
	{"url", SETTING_STRING},
	{"headers", SETTING_STRINGS},
	{"signing_secret", SETTING_STRING},
	{"ca_file", SETTING_STRING},
	{"timeout_ms", SETTING_INTEGER, false, 1, 600000},
	{"connect_timeout_ms", SETTING_INTEGER, false, 1, 600000}
};

static struct curl_slist *
header_node(char *line, struct curl_slist *next)
{
	struct curl_slist *node = palloc(sizeof(struct curl_slist));

	node->data = line;
	node->next = next;
	return node;
}

static void
check_header_name(const Settings *settings, const char *name)
{
	static const char *const ours[] = {
		"connection", "content-length", "expect", "transfer-encoding",
		"webhook-id", "webhook-signature", "webhook-timestamp"
	};
	const char *at;
	size_t		i;

	for (at = name; *at; at++)
		if ((unsigned char) *at >= 0x7f || *at <= ' ' || strchr("()<>@,;:\\\"/[]?={}", *at))
			break;
	if (*name == '\0' || *at)
		settings_fail(settings, "headers",
					  psprintf("\"%s\" is not a header name.", name), NULL);
	for (i = 0; i < lengthof(ours); i++)
		if (pg_strcasecmp(name, ours[i]) == 0)
			settings_fail(settings, "headers",
						  psprintf("The header \"%s\" is set by notify_pg.", name), NULL);
}

static struct curl_slist *
read_headers(const Settings *settings)
{
	struct curl_slist *list = header_node("Expect:", NULL); /* never waits for 100 */
	bool		has_type = false;
	char	  **names;
	char	  **values;
	int			count = settings_strings(settings, "headers", &names, &values);
	int			i;

	for (i = 0; i < count; i++)
	{
		check_header_name(settings, names[i]);
		if (pg_strcasecmp(names[i], "content-type") == 0)
			has_type = true;
		if (values[i])
			list = header_node(psprintf("%s: %s", names[i], values[i]), list);
	}
	return has_type ? list : header_node("Content-Type: application/json", list);
}

static void
read_signing_secret(const Settings *settings, WebhookConfig *config)
{
	char	   *secret = settings_string(settings, "signing_secret");

	if (secret == NULL)
		return;
	config->key = sign_webhook_key(secret, &config->key_length);
	if (config->key == NULL)
		settings_fail(settings, "signing_secret",
					  "It must be \"whsec_\" and the base64 text of the key.",
					  "24 to 64 random bytes make a good key.");
}

static void *
webhook_read(const Settings *settings)
{
	WebhookConfig *config = palloc0(sizeof(WebhookConfig));
	const char *problem;

	config->url = settings_string(settings, "url");
	problem = config->url ? url_problem(config->url) : NULL;
	if (problem)
		settings_fail(settings, "url", problem, NULL);
	config->headers = read_headers(settings);
	read_signing_secret(settings, config);
	config->ca_file = settings_string(settings, "ca_file");
	config->timeout = settings_integer(settings, "timeout_ms", 10000);
	config->connect_timeout = settings_integer(settings, "connect_timeout_ms", 3000);
	return config;
}

/* Count what arrives.  Has it become too much? */
static bool
count_bytes(Reply *reply, size_t length)
{
	reply->received += length;
	if (reply->received > REPLY_LIMIT)
		reply->overflow = true;
	return !reply->overflow;
}

/* CURLOPT_WRITEFUNCTION: keep the beginning, count the rest */
static size_t
on_body(char *data, size_t one, size_t length, void *user)
{
	Reply	   *reply = &((Transfer *) user)->reply;
	size_t		room = REPLY_KEPT - reply->length;
	size_t		taken = Min(room, length);

	memcpy(reply->text + reply->length, data, taken);
	reply->length += taken;
	return count_bytes(reply, length) ? length : 0;
}

/* Copy a header's value, if this line is that header */
static bool
take_header(const char *line, size_t length, const char *name, char *out, size_t size)
{
	size_t		at = strlen(name);
	size_t		end = length;

	if (length <= at || line[at] != ':' || pg_strncasecmp(line, name, at) != 0)
		return false;
	at++;
	while (at < end && (line[at] == ' ' || line[at] == '\t'))
		at++;
	while (end > at && (unsigned char) line[end - 1] <= ' ')
		end--;
	end = Min(end, at + size - 1);
	memcpy(out, line + at, end - at);
	out[end - at] = '\0';
	return true;
}

/* CURLOPT_HEADERFUNCTION.  A status line starts over: 1xx came before it. */
static size_t
on_header(char *line, size_t one, size_t length, void *user)
{
	Reply	   *reply = &((Transfer *) user)->reply;

	if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
		reply->retry_after[0] = reply->reference[0] = '\0';
	else if (!take_header(line, length, "retry-after",
						  reply->retry_after, sizeof(reply->retry_after)) &&
			 !take_header(line, length, "x-message-id",
						  reply->reference, sizeof(reply->reference)) &&
			 reply->reference[0] == '\0')
		(void) take_header(line, length, "x-request-id",
						   reply->reference, sizeof(reply->reference));
	return count_bytes(reply, length) ? length : 0;
}

static void
webhook_dress(Transfer *transfer)
{
	WebhookConfig *config = transfer->provider->config;

	easy_check(wire_dress(transfer->easy, &transfer->wire, "http,https"));
	easy_set(transfer, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	easy_set(transfer, CURLOPT_POST, 1L);
	easy_set(transfer, CURLOPT_USERAGENT, "notify_pg");
	easy_set(transfer, CURLOPT_CONNECTTIMEOUT_MS, config->connect_timeout);
	easy_set(transfer, CURLOPT_WRITEFUNCTION, on_body);
	easy_set(transfer, CURLOPT_WRITEDATA, transfer);
	easy_set(transfer, CURLOPT_HEADERFUNCTION, on_header);
	easy_set(transfer, CURLOPT_HEADERDATA, transfer);
	if (config->ca_file)
		easy_set(transfer, CURLOPT_CAINFO, config->ca_file);
}

static void
set_url(Transfer *transfer, const Letter *letter)
{
	WebhookConfig *config = transfer->provider->config;

	transfer->own_address = letter->address && letter->address[0];
	if (transfer->own_address)
	{
		address_check("webhook", letter->address);
		transfer->url = NULL;
		easy_set(transfer, CURLOPT_URL, letter->address);
		return;
	}
	if (config->url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no URL to send to"),
				 errdetail("Neither the message's address nor the setting \"url\" of provider \"%s\" names one.",
						   transfer->provider->name)));
	if (transfer->url != config->url)
		easy_set(transfer, CURLOPT_URL, config->url);
	transfer->url = config->url;
}

/* 2024-05-01T12:30:00.123456Z */
static void
append_time(StringInfo out, TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	appendStringInfo(out, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
					 tm.tm_year, tm.tm_mon, tm.tm_mday,
					 tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fraction);
}

static char *
default_body(const Letter *letter)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"type\":");
	escape_json(&body, letter->type ? letter->type : "message");
	appendStringInfoString(&body, ",\"timestamp\":\"");
	append_time(&body, letter->created);
	appendStringInfoString(&body, "\",\"data\":");
	if (letter->data)
		(void) JsonbToCString(&body, &letter->data->root, VARSIZE(letter->data));
	else
		appendStringInfoString(&body, "{}");
	appendStringInfoChar(&body, '}');
	return body.data;
}

static void
set_body(Transfer *transfer, const Letter *letter)
{
	char	   *body = letter->body ? pstrdup(letter->body) : default_body(letter);

	body = pg_server_to_any(body, strlen(body), PG_UTF8);
	transfer->body = body;
	transfer->length = strlen(body);
	easy_set(transfer, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) transfer->length);
	easy_set(transfer, CURLOPT_POSTFIELDS, body);
}

static void
set_headers(Transfer *transfer, const Letter *letter)
{
	WebhookConfig *config = transfer->provider->config;
	struct curl_slist *list = config->headers;
	char	   *id = psprintf("msg_" INT64_FORMAT, letter->message);
	int64		now = (int64) time(NULL);

	if (config->key)
		list = header_node(psprintf("webhook-signature: %s",
									sign_webhook(config->key, config->key_length, id, now,
												 transfer->body, transfer->length)), list);
	list = header_node(psprintf("webhook-timestamp: " INT64_FORMAT, now), list);
	list = header_node(psprintf("webhook-id: %s", id), list);
	easy_set(transfer, CURLOPT_HTTPHEADER, list);
}

static void
webhook_begin(Transfer *transfer, const Letter *letter)
{
	WebhookConfig *config = transfer->provider->config;

	set_url(transfer, letter);
	set_body(transfer, letter);
	set_headers(transfer, letter);
	easy_set(transfer, CURLOPT_TIMEOUT_MS, transfer_timeout(letter, config->timeout));
	easy_set(transfer, CURLOPT_FRESH_CONNECT, letter->at_most_once ? 1L : 0L);
}

static void
webhook_finish(Transfer *transfer)
{
	(void) curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, NULL);
	(void) curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
	transfer->body = NULL;
}

/* A server error after which nobody knows what the server did */
static bool
is_ambiguous(int status)
{
	return status >= 500 && status != 501 && status != 503 && status != 505;
}

static void
describe_status(const Transfer *transfer, CURLcode code, SendResult *result)
{
	const Reply *reply = &transfer->reply;
	const char *note = "";

	if (reply->overflow)
		note = " (the answer was too long and was cut off)";
	else if (code != CURLE_OK)
		note = " (the answer broke off)";
	else if (result->code >= 300 && result->code <= 399)
		note = " (redirects are not followed)";
	if (result->class == SEND_OK && *note == '\0')
		return;
	snprintf(result->detail, sizeof(result->detail), "HTTP %d%s%s",
			 result->code, note, reply->length ? ": " : "");
	append_clean(result->detail, sizeof(result->detail), reply->text, reply->length);
}

static void
webhook_classify(Transfer *transfer, CURLcode code, SendResult *result)
{
	const Reply *reply = &transfer->reply;
	long		status = 0;
	long		sent = 0;

	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	if (status < 200)
	{
		classify_failure(transfer, code, sent > 0 || transfer->wire.requests > 1, result);
		return;
	}
	result->code = (int) status;
	result->class = classify_http(result->code);
	result->ambiguous = is_ambiguous(result->code);
	if (result->class != SEND_OK)
		result->retry_after = retry_after_ms(reply->retry_after, time(NULL));
	append_clean(result->reference, sizeof(result->reference),
				 reply->reference, strlen(reply->reference));
	describe_status(transfer, code, result);
}

const Adapter webhook_adapter = {
	.name = "webhook",
	.settings = webhook_settings,
	.setting_count = lengthof(webhook_settings),
	.read = webhook_read,
	.dress = webhook_dress,
	.begin = webhook_begin,
	.finish = webhook_finish,
	.classify = webhook_classify
};
