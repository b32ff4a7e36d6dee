/*
 * http.c
 *		The engines "http" and "webpush": requests as a preset says.
 *
 * When a provider is opened its preset is compiled, and whatever no letter
 * changes is made once: the URL, header lines, keys.  For a letter the rest is
 * rendered, then signed, then put on the handle.  A preset that names no URL
 * sends to the letter's address or the setting "url", and one without a body
 * sends the rendered one or {"type", "timestamp", "data"}: the generic webhook
 * has both, so nothing is rendered for it at all.
 *
 * Header lines stand in curl_slist nodes that we lay out ourselves: those of
 * the provider once, those of the letter in front of them.  libcurl only reads
 * the list.
 *
 * What a message says cannot become part of the protocol: control characters
 * in a header's value are an error, the host of a URL is compared with the
 * one the provider has (or with the preset's list), and presets are tried with
 * hostile words when they are saved (preset.c).
 *
 * Web push is the same, but for the body, which is encrypted for the
 * subscription it goes to (webpush.c).
 *
 * The two callbacks write into the transfer's fixed buffers and nowhere else.
 */
#include "postgres.h"

#include <time.h>

#include "channel/address.h"
#include "channel/classify.h"
#include "channel/files.h"
#include "channel/preset.h"
#include "channel/provider.h"
#include "channel/redact.h"
#include "channel/scope.h"
#include "channel/token.h"
#include "channel/webpush.h"
#include "mb/pg_wchar.h"
#include "portability/instr_time.h"
#include "utils/json.h"

typedef struct HttpConfig
{
	Preset	   *preset;
	Jsonb	   *settings;		/* complete: what pieces see */
	const char *url;			/* the same for every letter, or NULL */
	CURLU	   *parsed;			/* that, parsed once; libcurl would for every letter */
	const char *origin;			/* of a URL that letters change; NULL: the preset's hosts */
	char	  **hosts;			/* letters may choose */
	int			host_count;
	struct curl_slist *headers; /* the same for every letter */
	PresetHeader *varying;		/* those that are not */
	int			varying_count;
	unsigned	uses;			/* of url, headers and body */
	bool		encrypted;		/* the body, for a web push subscription */
	const char *reference_headers[REFERENCE_HEADERS];
	List	   *secrets;		/* not to be shown (redact.c) */
	char	   *ca_file;
	long		timeout;		/* ms */
	long		connect_timeout;
} HttpConfig;

static const SettingSpec http_settings[] = {
	{"headers", SETTING_STRINGS},
	{"hosts", SETTING_LIST},
	{"ca_file", SETTING_STRING},
	{"timeout_ms", SETTING_INTEGER, false, 1, 600000},
	{"connect_timeout_ms", SETTING_INTEGER, false, 1, 600000}
};

/* ------------------------------------------------------ reading, opening --- */

static void
http_check(Jsonb *row)
{
	preset_probe(preset_read(row, http_settings, lengthof(http_settings)));
}

/* The setting "headers": lines in front of the others */
static bool
read_own_headers(const Settings *settings, HttpConfig *config)
{
	bool		has_type = false;
	char	  **names;
	char	  **values;
	int			count = settings_strings(settings, "headers", &names, &values);
	int			i;

	for (i = 0; i < count; i++)
	{
		const char *problem = header_name_problem(names[i]);

		if (problem)
			settings_fail(settings, "headers", problem, NULL);
		if (pg_strcasecmp(names[i], "content-type") == 0)
			has_type = true;
		if (values[i])
			config->headers = header_node(psprintf("%s: %s", names[i], values[i]), config->headers);
	}
	return has_type;
}

/* A header of the preset: fixed, or one more that letters change */
static void
open_header(HttpConfig *config, PresetHeader *header, Jsonb *scope)
{
	Request		request = {.headers = config->headers};

	piece_fix(header->value, scope);
	if (header->value->fixed == NULL)
		config->varying[config->varying_count++] = *header;
	else
	{
		request_header(&request, header->name, header->value->fixed);
		config->headers = request.headers;
	}
}

static void
open_headers(HttpConfig *config, const Settings *settings, Jsonb *scope)
{
	Preset	   *preset = config->preset;
	bool		has_type;
	int			i;

	config->headers = header_node("Expect:", NULL); /* never waits for 100 */
	config->varying = palloc0(sizeof(PresetHeader) * (preset->header_count + 1));
	has_type = read_own_headers(settings, config);
	for (i = 0; i < preset->header_count; i++)
	{
		if (pg_strcasecmp(preset->headers[i].name, "content-type") == 0)
			has_type = true;
		open_header(config, &preset->headers[i], scope);
	}
	if (!has_type)
		config->headers = header_node("Content-Type: application/json", config->headers);
	for (i = 0; i < config->varying_count; i++)
		config->uses |= config->varying[i].value->uses;
}

/* scheme://host:port of a URL whose rest letters change: tried without a letter */
static const char *
fixed_origin(const Piece *url, Jsonb *settings)
{
	Request		request = {.now_ms = 0, .nonce = ""};
	const char *text = piece_text(url, scope_build(settings, NULL, &request, USES_REQUEST));
	char	   *origin = url_origin(text);

	if (origin == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URL of the provider is not well-formed"),
				 errdetail("The preset's url comes to \"%s\".", text)));
	return origin;
}

/* Reset callback of the provider's context */
static void
forget_url(void *parsed)
{
	curl_url_cleanup(parsed);
}

static void
parse_url(HttpConfig *config)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	CURLU	   *parsed = curl_url();

	if (parsed == NULL)
		easy_check(CURLE_OUT_OF_MEMORY);
	callback->func = forget_url;
	callback->arg = parsed;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	if (curl_url_set(parsed, CURLUPART_URL, config->url, 0) == CURLUE_OK)
		config->parsed = parsed;
}

static void
open_url(HttpConfig *config, const Settings *settings, Jsonb *scope)
{
	Piece	   *url = config->preset->url;
	const char *problem;

	config->hosts = config->preset->hosts;
	config->host_count = config->preset->host_count;
	if (settings_has(settings, "hosts"))
		config->host_count = settings_list(settings, "hosts", &config->hosts);
	if (url == NULL)
	{
		config->url = settings_string(settings, "url");
		return;
	}
	piece_fix(url, scope);
	config->url = url->fixed;
	config->uses |= url->uses;
	problem = config->url ? url_problem(config->url) : NULL;
	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URL of the provider is not well-formed"),
				 errdetail("%s", problem)));
	if (config->url == NULL && config->host_count == 0)
		config->origin = fixed_origin(url, config->settings);
}

/* Values of settings the preset calls secret, and of the provider's own headers */
static void
keep_secrets(HttpConfig *config, const Settings *settings)
{
	const Preset *preset = config->preset;
	char	  **names;
	char	  **values;
	int			count = settings_strings(settings, "headers", &names, &values);
	int			i;

	for (i = 0; i < preset->secret_count; i++)
		config->secrets = redact_forms(config->secrets, settings_string(settings, preset->secret_names[i]));
	for (i = 0; i < count; i++)
		config->secrets = redact_forms(config->secrets, values[i]);
}

/* Make what no letter changes.  Not for a draft that only names its secrets. */
static void
open_config(HttpConfig *config, const Settings *settings)
{
	Preset	   *preset = config->preset;
	Jsonb	   *scope = scope_build(config->settings, NULL, NULL, 0);
	int			i;

	open_url(config, settings, scope);
	if (config->url)
		parse_url(config);
	open_headers(config, settings, scope);
	if (preset->body)
	{
		piece_fix(preset->body, scope);
		config->uses |= preset->body->uses;
	}
	if (preset->auth)
		auth_open(preset->auth, config->settings);
	keep_secrets(config, settings);
	for (i = 0; i < REFERENCE_HEADERS; i++)
		config->reference_headers[i] = preset->reply->reference_headers[i];
}

/* What can be said of the header names while their values are secret */
static void
check_own_headers(const Settings *settings)
{
	HttpConfig	unused = {0};

	(void) read_own_headers(settings, &unused);
}

static void *
http_read(Jsonb *row, const Settings *given)
{
	HttpConfig *config = palloc0(sizeof(HttpConfig));
	Settings	settings = *given;

	config->preset = preset_read(row, http_settings, lengthof(http_settings));
	config->encrypted = strcmp(config->preset->engine, "webpush") == 0;
	settings.json = config->settings = preset_settings(config->preset, given->json);
	settings_check(&settings, config->preset->specs, config->preset->spec_count);
	config->ca_file = settings_string(&settings, "ca_file");
	config->timeout = settings_integer(&settings, "timeout_ms", 10000);
	config->connect_timeout = settings_integer(&settings, "connect_timeout_ms", 3000);
	if (settings.draft && settings_name_secrets(&settings))
		check_own_headers(&settings);
	else
		open_config(config, &settings);
	return config;
}

static Token *
http_token(void *config)
{
	Auth	   *auth = ((HttpConfig *) config)->preset->auth;

	return auth ? auth_token(auth) : NULL;
}

/* -------------------------------------------------------------- answers --- */

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

/* The first of the preset's headers that is there is the provider's id. */
static void
take_reference(Transfer *transfer, const char *line, size_t length)
{
	const HttpConfig *config = transfer->provider->config;
	Reply	   *reply = &transfer->reply;
	int			limit = reply->reference_rank ? reply->reference_rank - 1 : REFERENCE_HEADERS;
	int			i;

	for (i = 0; i < limit; i++)
		if (config->reference_headers[i] &&
			take_header(line, length, config->reference_headers[i],
						reply->reference, sizeof(reply->reference)))
		{
			reply->reference_rank = i + 1;
			return;
		}
}

/* CURLOPT_HEADERFUNCTION.  A status line starts over: 1xx came before it. */
static size_t
on_header(char *line, size_t one, size_t length, void *user)
{
	Reply	   *reply = &((Transfer *) user)->reply;

	if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
	{
		reply->retry_after[0] = reply->reference[0] = '\0';
		reply->reference_rank = 0;
	}
	else if (!take_header(line, length, "retry-after",
						  reply->retry_after, sizeof(reply->retry_after)))
		take_reference(user, line, length);
	return count_bytes(reply, length) ? length : 0;
}

static void
set_method(Transfer *transfer, const char *method)
{
	if (strcmp(method, "GET") == 0)
	{
		easy_set(transfer, CURLOPT_HTTPGET, 1L);
		return;
	}
	easy_set(transfer, CURLOPT_POST, 1L);
	if (strcmp(method, "POST") != 0)
		easy_set(transfer, CURLOPT_CUSTOMREQUEST, method);
}

static void
http_dress(Transfer *transfer)
{
	HttpConfig *config = transfer->provider->config;

	easy_check(wire_dress(transfer->easy, &transfer->wire, "http,https"));
	easy_set(transfer, CURLOPT_HTTP_VERSION,
			 (long) (config->preset->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	set_method(transfer, config->preset->method);
	easy_set(transfer, CURLOPT_USERAGENT, "notify_pg");
	easy_set(transfer, CURLOPT_CONNECTTIMEOUT_MS, config->connect_timeout);
	easy_set(transfer, CURLOPT_WRITEFUNCTION, on_body);
	easy_set(transfer, CURLOPT_WRITEDATA, transfer);
	easy_set(transfer, CURLOPT_HEADERFUNCTION, on_header);
	easy_set(transfer, CURLOPT_HEADERDATA, transfer);
	if (config->ca_file)
		easy_set(transfer, CURLOPT_CAINFO, config->ca_file);
}

/* ------------------------------------------------------------- requests --- */

/* The URL comes from the letter: may it? */
static void
check_host(const HttpConfig *config, const char *url)
{
	const char *problem = url_problem(url);
	char	   *host;

	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URL of the message is not well-formed"),
				 errdetail("%s", problem)));
	if (config->origin)
	{
		host = url_origin(url);
		if (host && strcmp(host, config->origin) == 0)
			return;
	}
	else
	{
		host = url_host(url);
		if (host && host_among(host, config->hosts, config->host_count))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("host of the message's URL is not one the provider may send to: %s", host ? host : ""),
			 errhint("The preset's column hosts, or the provider's setting hosts, lists them.")));
}

static const char *
letter_url(Transfer *transfer, const Letter *letter, Jsonb *scope)
{
	HttpConfig *config = transfer->provider->config;
	bool		addressed = config->preset->url == NULL && config->host_count > 0 &&
		letter->address && letter->address[0];
	const char *url;

	transfer->own_address = addressed || (config->url == NULL && config->origin == NULL);
	if (addressed)
		url = letter->address;
	else if (config->url || config->preset->url == NULL)
		return config->url;
	else
		url = piece_text(config->preset->url, scope);
	check_host(config, url);
	return url;
}

static void
find_url(Transfer *transfer, const Letter *letter, Request *request, Jsonb *scope)
{
	request->url = letter_url(transfer, letter, scope);
	if (request->url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no URL to send to"),
				 errdetail("Neither the message's address nor the setting \"url\" of provider \"%s\" names one.",
						   transfer->provider->name)));
}

/* What happened, for those who want to hear of it without any words */
static char *
default_body(const Letter *letter)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"type\":");
	escape_json(&body, letter->type ? letter->type : "message");
	appendStringInfo(&body, ",\"timestamp\":\"%s\",\"data\":", scope_time(letter->created));
	if (letter->data)
		(void) JsonbToCString(&body, &letter->data->root, VARSIZE(letter->data));
	else
		appendStringInfoString(&body, "{}");
	appendStringInfoChar(&body, '}');
	return body.data;
}

static void
encrypt_body(const Letter *letter, Request *request)
{
	WebpushKeys keys;
	SignBytes	body;

	webpush_read_subscription(letter->address ? letter->address : "", &keys);
	webpush_new_keys(&keys);
	body = webpush_encrypt(&keys, request->body, request->length);
	request->body = (const char *) body.data;
	request->length = body.length;
}

/* Copied, for libcurl reads it while the transfer runs */
static void
write_body(const HttpConfig *config, const Letter *letter, Request *request, Jsonb *scope)
{
	const char *body;

	if (config->preset->body)
		body = pstrdup(piece_text(config->preset->body, scope));
	else
		body = letter->body ? pstrdup(letter->body) : default_body(letter);
	request->body = pg_server_to_any(body, strlen(body), PG_UTF8);
	request->length = strlen(request->body);
	if (letter->file_count > 0)
		files_put(request, letter);
	if (config->encrypted)
		encrypt_body(letter, request);
}

static void
write_headers(const HttpConfig *config, Request *request, Jsonb *scope)
{
	int			i;

	request->headers = config->headers;
	for (i = 0; i < config->varying_count; i++)
	{
		const char *value = piece_text(config->varying[i].value, scope);

		request_header(request, config->varying[i].name,
					   pg_server_to_any(value, strlen(value), PG_UTF8));
	}
}

static int64
wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What url, headers and body see; NULL when they see nothing of the letter */
static Jsonb *
letter_scope(const HttpConfig *config, const Letter *letter, Request *request)
{
	if ((config->uses & USES_LETTER) == 0)
		return NULL;
	if (config->uses & (USES_REQUEST | USES_FILES))
		(void) request_nonce(request);
	return scope_build(config->settings, letter, request, config->uses);
}

/* A letter is not sent without what belongs to it. */
static void
check_files(const HttpConfig *config, const Letter *letter)
{
	if (letter->file_count > 0 && (config->uses & USES_FILES) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("preset \"%s\" does not say how to carry attachments", config->preset->name),
				 errhint("Its body must put message.attachments somewhere.")));
}

static void
write_request(Transfer *transfer, const Letter *letter, Request *request)
{
	HttpConfig *config = transfer->provider->config;
	AuthSubject subject = {config->settings, letter, request};
	Auth	   *auth = config->preset->auth;
	Jsonb	   *scope;

	request->method = config->preset->method;
	request->now_ms = wall_ms();
	request->id = psprintf("msg_" INT64_FORMAT, letter->message);
	check_files(config, letter);
	if (auth)
		auth_before(auth, &subject);
	scope = letter_scope(config, letter, request);
	find_url(transfer, letter, request, scope);
	write_body(config, letter, request, scope);
	write_headers(config, request, scope);
	if (auth)
		auth_sign(auth, &subject);
}

/* The one or the other: newer libcurl forgets the text when it is given a parsed one, or none. */
static void
put_url(Transfer *transfer, const char *url, CURLU *parsed)
{
	easy_set(transfer, CURLOPT_CURLU, parsed);
	if (parsed == NULL)
		easy_set(transfer, CURLOPT_URL, url);
}

static void
put_on_handle(Transfer *transfer, const Request *request)
{
	HttpConfig *config = transfer->provider->config;

	if (transfer->url == NULL || transfer->url != request->url)
		put_url(transfer, request->url, request->url == config->url ? config->parsed : NULL);
	transfer->url = request->url == config->url ? config->url : NULL;
	transfer->body = request->body;
	transfer->length = request->length;
	if (strcmp(request->method, "GET") != 0)
	{
		easy_set(transfer, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->length);
		easy_set(transfer, CURLOPT_POSTFIELDS, request->body);
	}
	easy_set(transfer, CURLOPT_HTTPHEADER, request->headers);
}

static void
http_begin(Transfer *transfer, const Letter *letter)
{
	HttpConfig *config = transfer->provider->config;
	Request		request = {0};

	write_request(transfer, letter, &request);
	put_on_handle(transfer, &request);
	easy_set(transfer, CURLOPT_TIMEOUT_MS, transfer_timeout(letter, config->timeout));
	easy_set(transfer, CURLOPT_FRESH_CONNECT, letter->at_most_once ? 1L : 0L);
}

static void
http_finish(Transfer *transfer)
{
	(void) curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, NULL);
	(void) curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
	transfer->body = NULL;
}

/* --------------------------------------------------------------- classes --- */

/* Star what the service was sent and nobody else is to see: secrets, and a token that was fetched */
static void
star(Transfer *transfer, char *text, size_t length, bool cut)
{
	const HttpConfig *config = transfer->provider->config;
	const Token *token = transfer->provider->token;
	MemoryContext before = MemoryContextSwitchTo(transfer->cxt);

	redact(config->secrets, text, length, cut);
	if (token && token->value)
		redact(redact_forms(NIL, token->value), text, length, cut);
	MemoryContextSwitchTo(before);
}

/* Kept whole, as far as it was: whoever mends the map wants to see it.  It is redacted. */
static void
note_riddle(Provider *provider, const Reply *reply, int status)
{
	provider->riddles++;
	snprintf(provider->riddle, RIDDLE_KEPT, "HTTP %d: ", status);
	append_clean(provider->riddle, RIDDLE_KEPT, reply->text, reply->length);
}

static void
describe_status(Transfer *transfer, CURLcode code, bool understood, SendResult *result)
{
	Reply *reply = &transfer->reply;
	const char *note = "";

	if (reply->overflow)
		note = " (the answer was too long and was cut off)";
	else if (code != CURLE_OK)
		note = " (the answer broke off)";
	else if (result->code >= 300 && result->code <= 399)
		note = " (redirects are not followed)";
	if (result->class == SEND_OK && *note == '\0')
		return;
	star(transfer, reply->text, reply->length, reply->length == REPLY_KEPT);
	snprintf(result->detail, sizeof(result->detail), "%sHTTP %d%s%s",
			 understood ? "" : "not understood: ", result->code, note, reply->length ? ": " : "");
	append_clean(result->detail, sizeof(result->detail), reply->text, reply->length);
	if (!understood)
		note_riddle(transfer->provider, reply, result->code);
}

/* Did any answer come?  Sets code; if not, says what became of the request. */
static bool
answered(Transfer *transfer, CURLcode code, SendResult *result)
{
	long		status = 0;
	long		sent = 0;

	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	if (status < 200)
	{
		classify_failure(transfer, code, sent > 0 || transfer->wire.requests > 1, result);
		return false;
	}
	result->code = (int) status;
	return true;
}

static void
http_classify(Transfer *transfer, CURLcode code, SendResult *result)
{
	HttpConfig *config = transfer->provider->config;
	const Reply *reply = &transfer->reply;
	size_t		length;
	bool		understood;

	if (!answered(transfer, code, result))
		return;
	append_clean(result->reference, sizeof(result->reference),
				 reply->reference, strlen(reply->reference));
	result->retry_after = retry_after_ms(reply->retry_after, time(NULL));
	understood = reply_judge(config->preset->reply, reply, result->code, result, transfer->cxt);
	length = strlen(result->reference);
	star(transfer, result->reference, length, length + MAX_MULTIBYTE_CHAR_LEN >= sizeof(result->reference));
	if (result->class == SEND_OK)
		result->retry_after = -1;
	describe_status(transfer, code, understood, result);
	if (result->class == SEND_AUTH && transfer->provider->token &&
		token_refused(transfer->provider->token, wire_clock()))
		result->class = SEND_RETRY; /* with a new token */
}

/* -------------------------------------------------------- fetching tokens --- */

static void
http_begin_errand(Transfer *transfer)
{
	HttpConfig *config = transfer->provider->config;
	Token	   *token = transfer->provider->token;
	Request		request = {0};

	request.method = "POST";
	request.url = token->url;
	request.body = token_request(token, wall_ms() / 1000);
	request.length = strlen(request.body);
	request.headers = header_node("Expect:", NULL);
	request_header(&request, "Content-Type", "application/x-www-form-urlencoded");
	easy_set(transfer, CURLOPT_CUSTOMREQUEST, NULL);
	easy_set(transfer, CURLOPT_POST, 1L);
	put_on_handle(transfer, &request);
	easy_set(transfer, CURLOPT_TIMEOUT_MS, config->timeout);
}

static void
http_classify_errand(Transfer *transfer, CURLcode code)
{
	SendResult	result = {.class = SEND_RETRY, .retry_after = -1};
	MemoryContext before = MemoryContextSwitchTo(transfer->cxt);

	if (answered(transfer, code, &result))
	{
		result.class = classify_http(result.code);
		describe_status(transfer, code, true, &result);
	}
	token_answer(transfer->provider->token, &result, transfer->reply.text, wire_clock());
	MemoryContextSwitchTo(before);
}

const Engine http_engine = {
	.name = "http",
	.check = http_check,
	.read = http_read,
	.dress = http_dress,
	.begin = http_begin,
	.finish = http_finish,
	.classify = http_classify,
	.token = http_token,
	.begin_errand = http_begin_errand,
	.classify_errand = http_classify_errand
};

const Engine webpush_engine = {
	.name = "webpush",
	.check = http_check,
	.read = http_read,
	.dress = http_dress,
	.begin = http_begin,
	.finish = http_finish,
	.classify = http_classify,
	.token = http_token,
	.begin_errand = http_begin_errand,
	.classify_errand = http_classify_errand
};
