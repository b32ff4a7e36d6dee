/*
 * channel_test.c
 *		SQL access to the channel and net rooms, for tests.
 *
 * A module of its own (not part of notify_pg.so) that holds the rooms' object
 * files.  Pure functions are wrapped one by one.  exchange() sends letters
 * through the real mux to a server that it plays itself, in the same process
 * and by a script: so any wait inside libcurl that gives nobody else a turn
 * shows as a stall.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "channel/auth.h"
#include "channel/channel.h"
#include "channel/classify.h"
#include "channel/mime.h"
#include "channel/reply.h"
#include "channel/preset.h"
#include "channel/redact.h"
#include "channel/request.h"
#include "channel/scope.h"
#include "channel/settings.h"
#include "channel/sign.h"
#include "channel/token.h"
#include "channel/webpush.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "net/guard.h"
#include "net/mux.h"
#include "net/wire.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_mime);
PG_FUNCTION_INFO_V1(test_mime_file);
PG_FUNCTION_INFO_V1(test_html);
PG_FUNCTION_INFO_V1(test_http_class);
PG_FUNCTION_INFO_V1(test_smtp_class);
PG_FUNCTION_INFO_V1(test_redact);
PG_FUNCTION_INFO_V1(test_answer);
PG_FUNCTION_INFO_V1(test_retry_after);
PG_FUNCTION_INFO_V1(test_reference);
PG_FUNCTION_INFO_V1(test_clean);
PG_FUNCTION_INFO_V1(test_guard);
PG_FUNCTION_INFO_V1(test_guard_error);
PG_FUNCTION_INFO_V1(test_open_guard);
PG_FUNCTION_INFO_V1(test_sign);
PG_FUNCTION_INFO_V1(test_auth);
PG_FUNCTION_INFO_V1(test_jwt);
PG_FUNCTION_INFO_V1(test_check_jwt);
PG_FUNCTION_INFO_V1(test_webpush);
PG_FUNCTION_INFO_V1(test_exchange);
PG_FUNCTION_INFO_V1(test_bench);

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* mime(from_name, from, to, reply_to, subject, body, html, date) */
Datum
test_mime(PG_FUNCTION_ARGS)
{
	MimeMessage message = {0};
	StringInfoData out;

	message.message = 42;
	message.event = 7;
	message.from_name = text_argument(fcinfo, 0);
	message.from_address = text_argument(fcinfo, 1);
	message.to_address = text_argument(fcinfo, 2);
	message.reply_to_address = text_argument(fcinfo, 3);
	message.subject = text_argument(fcinfo, 4);
	message.text = text_argument(fcinfo, 5);
	message.html = text_argument(fcinfo, 6);
	message.date = (time_t) PG_GETARG_INT64(7);
	initStringInfo(&out);
	mime_build(&message, &out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* mime_file(filename, type, cid, content) */
Datum
test_mime_file(PG_FUNCTION_ARGS)
{
	LetterFile	file = {0};
	StringInfoData out;
	bytea	   *content = PG_GETARG_BYTEA_PP(3);

	file.filename = text_argument(fcinfo, 0);
	file.type = text_argument(fcinfo, 1);
	file.cid = text_argument(fcinfo, 2);
	file.data = (const uint8 *) VARDATA_ANY(content);
	file.length = VARSIZE_ANY_EXHDR(content);
	initStringInfo(&out);
	mime_check_file(&file);
	mime_append_file(&out, &file);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

Datum
test_html(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(html_to_text(text_argument(fcinfo, 0))));
}

Datum
test_http_class(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(send_class_name(classify_http(PG_GETARG_INT32(0)))));
}

/* answer(row of a preset, status, body): the class, "?" added when it was not understood */
Datum
test_answer(PG_FUNCTION_ARGS)
{
	Reply	   *reply = palloc0(sizeof(Reply));
	SendResult	result = {.retry_after = -1};
	char	   *body = text_argument(fcinfo, 2);
	bool		understood;

	reply->length = strlcpy(reply->text, body, sizeof(reply->text));
	understood = reply_judge(reply_read("test", PG_GETARG_JSONB_P(0)), reply, PG_GETARG_INT32(1),
							 &result, CurrentMemoryContext);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s%s", send_class_name(result.class), understood ? "" : "?")));
}

static SmtpStage
stage_by_name(const char *name)
{
	static const char *const names[] = {"connect", "auth", "reset", "mail", "rcpt", "data", "message"};
	size_t		i;

	for (i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return (SmtpStage) i;
	elog(ERROR, "unknown stage \"%s\"", name);
}

Datum
test_smtp_class(PG_FUNCTION_ARGS)
{
	SendClass	class = classify_smtp(stage_by_name(text_argument(fcinfo, 0)),
									  PG_GETARG_INT32(1), text_argument(fcinfo, 2));

	PG_RETURN_TEXT_P(cstring_to_text(send_class_name(class)));
}

/* redact(secret, bytea, cut) */
Datum
test_redact(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_P_COPY(1);

	redact(redact_forms(NIL, text_argument(fcinfo, 0)), VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ,
		   PG_GETARG_BOOL(2));
	PG_RETURN_BYTEA_P(bytes);
}

Datum
test_retry_after(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(retry_after_ms(text_argument(fcinfo, 0), (time_t) PG_GETARG_INT64(1)));
}

Datum
test_reference(PG_FUNCTION_ARGS)
{
	char		out[256] = "";

	smtp_reference(text_argument(fcinfo, 0), out, sizeof(out));
	PG_RETURN_TEXT_P(cstring_to_text(out));
}

/* clean(bytea, size int) */
Datum
test_clean(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	char		out[512] = "";

	append_clean(out, Min(PG_GETARG_INT32(1), sizeof(out)),
				 VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	PG_RETURN_TEXT_P(cstring_to_text(out));
}

/* guard(setting, address) */
Datum
test_guard(PG_FUNCTION_ARGS)
{
	bool		allowed;

	guard_configure(text_argument(fcinfo, 0));
	allowed = guard_allows_text(text_argument(fcinfo, 1));
	guard_configure("off");
	PG_RETURN_BOOL(allowed);
}

Datum
test_guard_error(PG_FUNCTION_ARGS)
{
	char	   *error = NULL;

	if (guard_parse(text_argument(fcinfo, 0), &error))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(error));
}

/* open_guard(setting): for the exchanges of this session */
Datum
test_open_guard(PG_FUNCTION_ARGS)
{
	guard_configure(text_argument(fcinfo, 0));
	PG_RETURN_VOID();
}

/* sign(secret, id, timestamp, body) */
Datum
test_sign(PG_FUNCTION_ARGS)
{
	char	   *body = text_argument(fcinfo, 3);
	size_t		length;
	uint8	   *key = sign_webhook_key(text_argument(fcinfo, 0), &length);

	if (key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(sign_webhook(key, length, text_argument(fcinfo, 1),
												  PG_GETARG_INT64(2), body, strlen(body))));
}

static Datum
put_line(ArrayBuildState **lines, char *line)
{
	*lines = accumArrayResult(*lines, CStringGetTextDatum(line), false, TEXTOID,
							  CurrentMemoryContext);
	return (Datum) 0;
}

/* Header lines from a JSON object of names and values */
static void
add_headers(Request *request, Jsonb *headers)
{
	Settings	settings = {"test", headers, false};
	JsonbIterator *it = JsonbIteratorInit(&headers->root);
	JsonbIteratorToken token;
	JsonbValue	item;

	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			char	   *name = pnstrdup(item.val.string.val, item.val.string.len);

			request_header(request, name, settings_string(&settings, name));
		}
}

/*
 * auth(auth jsonb, method, url, headers jsonb, body, now int8, id, nonce)
 * returns text[]: the URL and the header lines when it is signed
 */
Datum
test_auth(PG_FUNCTION_ARGS)
{
	PieceNames	names = {"test", NULL, 0};
	Jsonb	   *settings = text_to_json("{}", 2);
	Auth	   *auth = auth_read(&names, &PG_GETARG_JSONB_P(0)->root, false);
	Request		request = {0};
	AuthSubject subject = {settings, NULL, &request};
	ArrayBuildState *lines = NULL;
	struct curl_slist *node;

	request.method = text_argument(fcinfo, 1);
	request.url = text_argument(fcinfo, 2);
	add_headers(&request, PG_GETARG_JSONB_P(3));
	request.body = text_argument(fcinfo, 4);
	request.length = strlen(request.body);
	request.now_ms = PG_GETARG_INT64(5) * 1000;
	request.id = text_argument(fcinfo, 6);
	request.nonce = text_argument(fcinfo, 7);
	auth_open(auth, settings);
	auth_sign(auth, &subject);
	put_line(&lines, pstrdup(request.url));
	for (node = request.headers; node; node = node->next)
		put_line(&lines, node->data);
	PG_RETURN_DATUM(makeArrayResult(lines, CurrentMemoryContext));
}

/* jwt(pem, algorithm, header, claims) */
Datum
test_jwt(PG_FUNCTION_ARGS)
{
	char	   *algorithm = text_argument(fcinfo, 1);
	SignKey    *key = sign_read_key(text_argument(fcinfo, 0), algorithm);

	if (key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(sign_jwt(key, algorithm, text_argument(fcinfo, 2),
											  text_argument(fcinfo, 3))));
}

/* check_jwt(public pem, token) */
Datum
test_check_jwt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sign_check_jwt(text_argument(fcinfo, 0), text_argument(fcinfo, 1)));
}

/* webpush(address, sender, salt, text) returns the body in base64url */
Datum
test_webpush(PG_FUNCTION_ARGS)
{
	char	   *text = text_argument(fcinfo, 3);
	WebpushKeys keys;
	SignBytes	body;
	size_t		length;

	webpush_read_subscription(text_argument(fcinfo, 0), &keys);
	keys.sender = sign_p256_key(sign_base64url_decode(text_argument(fcinfo, 1), &length), keys.sender_point);
	memcpy(keys.salt, sign_base64url_decode(text_argument(fcinfo, 2), &length), sizeof(keys.salt));
	body = webpush_encrypt(&keys, text, strlen(text));
	PG_RETURN_TEXT_P(cstring_to_text(sign_base64url(body.data, body.length)));
}

/*
 * The server of an exchange.  Each complete request (an HTTP request, an SMTP
 * line, or a whole message after 354) takes the next step of the script; an
 * SMTP connection takes one for its greeting.  A step is the answer, or
 * "!close", "!silent", "!flood" (an answer without end), "!last …" (an answer,
 * then close).
 */
typedef struct Script
{
	Datum	   *steps;
	int			count;
	int			next;
	bool		smtp;
	int			listener;
	int			connection;
	int			port;
	int			connections;	/* taken in all */
	bool		in_message;		/* SMTP, after 354 */
	bool		flood;
	StringInfoData in;
	StringInfoData transcript;
} Script;

static void
listen_on_loopback(Script *script)
{
	struct sockaddr_in address = {0};
	socklen_t	length = sizeof(address);

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	script->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (script->listener < 0 ||
		bind(script->listener, (struct sockaddr *) &address, length) != 0 ||
		listen(script->listener, 8) != 0 ||
		getsockname(script->listener, (struct sockaddr *) &address, &length) != 0)
		elog(ERROR, "could not listen: %m");
	script->port = ntohs(address.sin_port);
	script->connection = -1;
}

static void
hang_up(Script *script)
{
	if (script->connection >= 0)
		close(script->connection);
	script->connection = -1;
	script->flood = script->in_message = false;
}

static void
say(Script *script, const char *text, size_t length)
{
	if (script->connection >= 0 &&
		send(script->connection, text, length, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		hang_up(script);
}

static void
answer(Script *script, const char *step)
{
	StringInfoData out;

	initStringInfo(&out);
	for (; *step; step++)
		appendStringInfoString(&out, *step == '\n' ? "\r\n" : (char[]) {*step, '\0'});
	if (script->smtp)
		appendStringInfoString(&out, "\r\n");
	script->in_message = script->smtp && strncmp(out.data, "354", 3) == 0;
	say(script, out.data, out.len);
}

static void
take_step(Script *script)
{
	char	   *step;

	if (script->next == script->count)
		return;
	step = TextDatumGetCString(script->steps[script->next++]);
	if (strcmp(step, "!close") == 0)
		hang_up(script);
	else if (strncmp(step, "!last ", 6) == 0)
	{
		answer(script, step + 6);
		hang_up(script);
	}
	else if (strcmp(step, "!flood") == 0)
	{
		answer(script, "HTTP/1.1 500 Oops\n\n");
		script->flood = true;
	}
	else if (strcmp(step, "!silent") != 0)
		answer(script, step);
}

/* The length of the first complete request in what came in, 0 if none is */
static int
request_length(const Script *script)
{
	const char *in = script->in.data;
	const char *mark = script->smtp && !script->in_message ? "\r\n" : "\r\n\r\n";
	const char *end;
	const char *length;

	if (script->smtp && script->in_message)
		mark = "\r\n.\r\n";
	end = strstr(in, mark);
	if (end == NULL)
		return 0;
	end += strlen(mark);
	length = script->smtp ? NULL : strcasestr(in, "content-length: ");
	if (length && length < end)
		end += atoi(length + 16);
	return end - in <= script->in.len ? end - in : 0;
}

static void
take_requests(Script *script)
{
	int			length;

	while ((length = request_length(script)) > 0)
	{
		appendBinaryStringInfo(&script->transcript, script->in.data, length);
		memmove(script->in.data, script->in.data + length, script->in.len - length + 1);
		script->in.len -= length;
		script->in_message = false;
		take_step(script);
	}
}

static void
take_bytes(Script *script)
{
	char		buffer[8192];
	ssize_t		length = recv(script->connection, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (length == 0)
		hang_up(script);
	if (length <= 0)
		return;
	appendBinaryStringInfo(&script->in, buffer, length);
	take_requests(script);
}

static void
take_connection(Script *script)
{
	int			fd = accept(script->listener, NULL, NULL);

	if (fd < 0)
		return;
	hang_up(script);
	(void) fcntl(fd, F_SETFL, O_NONBLOCK);
	script->connection = fd;
	script->connections++;
	resetStringInfo(&script->in);
	if (script->smtp)
		take_step(script);
}

static void
flood(Script *script)
{
	static char water[65536];

	memset(water, 'x', sizeof(water));
	say(script, water, sizeof(water));
}

/* One turn of the server; waits a little when there is nothing to do */
static void
serve(Script *script, Mux *mux)
{
	struct pollfd fds[3] = {
		{mux_fd(mux), POLLIN, 0},
		{script->listener, POLLIN, 0},
		{script->connection, POLLIN, 0}
	};

	(void) poll(fds, 3, script->flood ? 0 : 10);
	if (fds[2].revents)
		take_bytes(script);
	if (fds[1].revents)
		take_connection(script);
	if (script->flood)
		flood(script);
}

static char *
describe(const SendResult *result)
{
	return psprintf("%s code=%d%s retry_after=" INT64_FORMAT " reference=%s detail=%s",
					send_class_name(result->class), result->code,
					result->ambiguous ? " ambiguous" : "", result->retry_after,
					result->reference, result->detail);
}

static char *
deliver_one(Provider *provider, const Letter *letter, Mux *mux, Script *script, int patience)
{
	Transfer   *transfer = transfer_begin(provider, letter, CurrentMemoryContext);
	int64		until = wire_clock() + patience;
	CURLcode	code = CURLE_ABORTED_BY_CALLBACK;
	SendResult	result;

	if (!mux_add(mux, transfer_easy(transfer)))
		elog(ERROR, "mux_add failed");
	while (wire_clock() < until)
	{
		mux_run(mux);
		if (mux_next_done(mux, &code) == transfer_easy(transfer))
			break;
		serve(script, mux);
	}
	mux_remove(mux, transfer_easy(transfer));
	transfer_end(transfer, code, &result);
	return describe(&result);
}

static Letter
test_letter(FunctionCallInfo fcinfo)
{
	Letter		letter = {0};

	letter.message = 42;
	letter.event = 7;
	letter.created = 0;
	letter.type = "order.placed";
	letter.address = text_argument(fcinfo, 3);
	letter.subject = text_argument(fcinfo, 4);
	letter.body = text_argument(fcinfo, 5);
	letter.html = text_argument(fcinfo, 6);
	letter.at_most_once = PG_GETARG_BOOL(8);
	return letter;
}

static Jsonb *
settings_with_port(char *settings, int port)
{
	Datum		filled = DirectFunctionCall3Coll(replace_text, C_COLLATION_OID, CStringGetTextDatum(settings),
										   CStringGetTextDatum("PORT"),
										   CStringGetTextDatum(psprintf("%d", port)));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(TextDatumGetCString(filled))));
}

/*
 * exchange(preset jsonb, settings text, script text[], address, subject, body,
 * html, letters int, at_most_once, patience int) returns text[]: a line for
 * each letter, one about the connections, one about the time, and what the
 * server was sent.  A letter is abandoned after patience ms.
 */
Datum
test_exchange(PG_FUNCTION_ARGS)
{
	Script		script = {0};
	Letter		letter = test_letter(fcinfo);
	ArrayBuildState *lines = NULL;
	int64		start = wire_clock();
	Provider   *provider;
	Mux		   *mux;
	int			i;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT,
					  &script.steps, NULL, &script.count);
	script.smtp = strcmp(preset_engine(PG_GETARG_JSONB_P(0)), "smtp") == 0;
	initStringInfo(&script.in);
	initStringInfo(&script.transcript);
	listen_on_loopback(&script);
	mux = mux_create(10);
	provider = provider_open("test", PG_GETARG_JSONB_P(0),
							 settings_with_port(text_argument(fcinfo, 1), script.port),
							 CurrentMemoryContext);
	for (i = 0; i < PG_GETARG_INT32(7); i++)
		put_line(&lines, deliver_one(provider, &letter, mux, &script, PG_GETARG_INT32(9)));
	provider_close(provider);
	mux_destroy(mux);
	hang_up(&script);
	close(script.listener);
	put_line(&lines, psprintf("connections: %d", script.connections));
	put_line(&lines, wire_clock() - start > 3000 ? "slow" : "quick");
	put_line(&lines, script.transcript.data);
	PG_RETURN_DATUM(makeArrayResult(lines, CurrentMemoryContext));
}

static void
start_one(Provider *provider, Mux *mux, MemoryContext cxt, int64 number, const char *address)
{
	Letter		letter = {0};
	Transfer   *transfer;

	letter.message = number;
	letter.event = number;
	letter.type = "bench";
	letter.address = address;
	letter.subject = "Order placed";
	letter.body = "{\"type\":\"bench\",\"data\":{\"order\":4711,\"total\":\"12.50\"}}";
	transfer = transfer_begin(provider, &letter, cxt);
	transfer_set_owner(transfer, cxt);
	if (!mux_add(mux, transfer_easy(transfer)))
		elog(ERROR, "mux_add failed");
}

/* Take what is done; *good counts what went well.  Returns how many. */
static int
finish_some(Mux *mux, int64 *good, MemoryContext *cxts, int *spare)
{
	CURLcode	code;
	CURL	   *easy;
	int			count = 0;

	while ((easy = mux_next_done(mux, &code)) != NULL)
	{
		Transfer   *transfer = transfer_of(easy);
		MemoryContext cxt = transfer_owner(transfer);
		SendResult	result;

		transfer_end(transfer, code, &result);
		MemoryContextReset(cxt);
		cxts[(*spare)++] = cxt;
		*good += result.class == SEND_OK;
		if (result.class != SEND_OK)
			elog(DEBUG1, "%s", describe(&result));
		count++;
	}
	return count;
}

/* bench(preset jsonb, settings jsonb, address, letters int, in_flight int) returns text */
Datum
test_bench(PG_FUNCTION_ARGS)
{
	int			letters = PG_GETARG_INT32(3);
	int			in_flight = PG_GETARG_INT32(4);
	char	   *address = text_argument(fcinfo, 2);
	MemoryContext *cxts = palloc(sizeof(MemoryContext) * in_flight);
	Provider   *provider = provider_open("bench", PG_GETARG_JSONB_P(0),
										 PG_GETARG_JSONB_P(1), CurrentMemoryContext);
	Mux		   *mux = mux_create(in_flight);
	int64		start = wire_clock();
	int64		good = 0;
	int			spare = 0;
	int			started = 0;
	int			finished = 0;

	while (spare < in_flight)
		cxts[spare++] = AllocSetContextCreate(CurrentMemoryContext, "letter", ALLOCSET_SMALL_SIZES);
	while (finished < letters)
	{
		struct pollfd wait = {mux_fd(mux), POLLIN, 0};

		while (started < letters && spare > 0)
			start_one(provider, mux, cxts[--spare], ++started, address);
		(void) poll(&wait, 1, 1000);
		mux_run(mux);
		finished += finish_some(mux, &good, cxts, &spare);
		CHECK_FOR_INTERRUPTS();
	}
	start = Max(wire_clock() - start, 1);
	provider_close(provider);
	mux_destroy(mux);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf(INT64_FORMAT " of %d ok, " INT64_FORMAT " ms, " INT64_FORMAT "/s",
											  good, letters, start, letters * INT64CONST(1000) / start)));
}
