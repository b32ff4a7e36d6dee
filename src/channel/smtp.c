/*
 * smtp.c
 *		The engine "smtp": a message to a mail server.
 *
 * libcurl connects, encrypts and logs in; the rest of the conversation is
 * held here, on top of net/talk.c, which says why.  A command is said, a reply
 * is heard, one at a time, so each reply is known by the command it answers.
 * The connection is kept for further messages, after a refusal too.
 *
 * What a callback or the conversation needs is prepared by smtp_begin(), since
 * nothing may raise or palloc then.  Nothing of a conversation is logged: it
 * holds the password.
 */
#include "postgres.h"

#include <time.h>

#include "channel/address.h"
#include "channel/classify.h"
#include "channel/mime.h"
#include "channel/preset.h"
#include "channel/provider.h"
#include "channel/redact.h"
#include "channel/tag.h"
#include "mb/pg_wchar.h"

#define LINE_KEPT 998			/* bytes of a reply line */

typedef struct SmtpConfig
{
	char	   *url;
	char	   *from_name;
	char	   *from_address;
	char	   *envelope_from;	/* may have a RETURN_TAG_PLACE */
	char	   *unsubscribe_url;	/* to which the token is added; NULL: none */
	char	   *reply_to_name;
	char	   *reply_to_address;	/* NULL: none */
	char	   *username;		/* NULL: no AUTH */
	char	   *password;
	List	   *secrets;		/* not to be shown (redact.c) */
	char	   *ca_file;
	long		use_ssl;
	long		timeout;		/* ms */
	long		connect_timeout;
} SmtpConfig;

/* Of one handle and its connection */
typedef struct SmtpHandle
{
	bool		size_offered;	/* the server takes SIZE= */
	bool		needs_reset;	/* a message was refused on this connection */
	char		line[LINE_KEPT];	/* of a reply, as far as it has come */
	size_t		line_length;
	const char *mail;			/* commands of the letter at hand */
	const char *mail_sized;
	const char *rcpt;
} SmtpHandle;

static const SettingSpec smtp_settings[] = {
	{"host", SETTING_STRING, true},
	{"port", SETTING_INTEGER, false, 1, 65535},
	{"tls", SETTING_STRING},
	{"username", SETTING_STRING},
	{"password", SETTING_STRING},
	{"from", SETTING_STRING, true},
	{"envelope_from", SETTING_STRING},
	{"reply_to", SETTING_STRING},
	{"unsubscribe_url", SETTING_URL},
	{"helo", SETTING_STRING},
	{"ca_file", SETTING_STRING},
	{"timeout_ms", SETTING_INTEGER, false, 1, 3600000},
	{"connect_timeout_ms", SETTING_INTEGER, false, 1, 600000}
};

/* What a value of "tls" asks for */
typedef struct TlsMode
{
	const char *name;
	long		use_ssl;
	const char *scheme;
	int			port;
} TlsMode;

static const TlsMode tls_modes[] = {
	{"required", CURLUSESSL_ALL, "smtp", 587},	/* when nothing is said */
	{"implicit", CURLUSESSL_ALL, "smtps", 465},
	{"starttls", CURLUSESSL_TRY, "smtp", 587},
	{"none", CURLUSESSL_NONE, "smtp", 25}
};

static const TlsMode *
read_tls(const Settings *settings)
{
	char	   *name = settings_string(settings, "tls");
	const TlsMode *mode = &tls_modes[0];
	size_t		i;

	for (i = 0; name && i < lengthof(tls_modes); i++)
		if (strcmp(tls_modes[i].name, name) == 0)
			break;
	if (i == lengthof(tls_modes))
		settings_fail(settings, "tls",
					  "It must be required, implicit, starttls or none.", NULL);
	mode = &tls_modes[name ? i : 0];
	if (mode->use_ssl == CURLUSESSL_TRY && settings_has(settings, "username"))
		settings_fail(settings, "tls",
					  "With starttls, encryption can be stripped on the way, and the password would go in clear.",
					  "Use required or implicit.");
	return mode;
}

/* A setting that is a host name; NULL when it is not there */
static char *
read_host(const Settings *settings, const char *name)
{
	char	   *host = settings_string(settings, name);
	const char *problem = host ? host_problem(host) : NULL;

	if (problem)
		settings_fail(settings, name, problem, NULL);
	return host;
}

/* smtp://host:port/name-we-give-ourselves */
static char *
read_url(const Settings *settings, const TlsMode *mode)
{
	char	   *host = read_host(settings, "host");
	char	   *helo = read_host(settings, "helo");
	bool		bare = host && strchr(host, ':') != NULL;

	return psprintf("%s://%s%s%s:%d/%s", mode->scheme,
					bare ? "[" : "", host ? host : "", bare ? "]" : "",
					settings_integer(settings, "port", mode->port), helo ? helo : "");
}

/* A setting of the form "Name <a@b>" */
static void
read_mailbox(const Settings *settings, const char *setting, char **name, char **address)
{
	char	   *mailbox = settings_string(settings, setting);
	const char *problem;

	if (mailbox == NULL)
		return;
	mailbox_split(mailbox, name, address);
	problem = email_problem(*address);
	if (problem)
		settings_fail(settings, setting, problem, "Write it as Name <user@domain>.");
	*name = pg_server_to_any(*name, strlen(*name), PG_UTF8);
}

/* A local part has 64 bytes (RFC 5321, 4.5.3.1.1), with its tag too. */
static void
check_tag_place(const Settings *settings, const char *address)
{
	const char *place = strchr(address, RETURN_TAG_PLACE);

	if (place == NULL)
		return;
	if (strchr(place + 1, RETURN_TAG_PLACE) || strrchr(address, '@') < place)
		settings_fail(settings, "envelope_from", "It has more than one \"*\", or one in its domain.",
					  "Write it as bounces+*@domain: the message's tag takes the place of the \"*\".");
	if (strrchr(address, '@') - address - 1 + RETURN_TAG_MAX > 64)
		settings_fail(settings, "envelope_from",
					  "With a message's tag in place of the \"*\", what is before the @ would be longer than 64 bytes.", NULL);
}

static char *
read_envelope(const Settings *settings, const char *otherwise)
{
	char	   *name = NULL;
	char	   *address = NULL;
	char	   *text = settings_string(settings, "envelope_from");

	if (text && strcmp(text, "<>") == 0)
		return text;
	read_mailbox(settings, "envelope_from", &name, &address);
	if (address)
		check_tag_place(settings, address);
	return psprintf("<%s>", address ? address : otherwise ? otherwise : "");
}

static void
read_login(const Settings *settings, SmtpConfig *config)
{
	config->username = settings_string(settings, "username");
	config->password = settings_string(settings, "password");
	config->secrets = redact_forms(NIL, config->password);
	if (settings_has(settings, "username") != settings_has(settings, "password"))
		settings_fail(settings, settings_has(settings, "username") ? "password" : "username",
					  "It is missing; user name and password go together.", NULL);
}

static void
smtp_check(Jsonb *preset)
{
	(void) preset_read(preset, smtp_settings, lengthof(smtp_settings));
}

static void *
smtp_read(Jsonb *row, const Settings *given)
{
	Preset	   *preset = preset_read(row, smtp_settings, lengthof(smtp_settings));
	Settings	whole = {given->preset, preset_settings(preset, given->json), given->draft};
	const Settings *settings = &whole;
	SmtpConfig *config = palloc0(sizeof(SmtpConfig));
	const TlsMode *mode;

	settings_check(settings, preset->specs, preset->spec_count);
	mode = read_tls(settings);
	config->use_ssl = mode->use_ssl;
	config->url = read_url(settings, mode);
	read_mailbox(settings, "from", &config->from_name, &config->from_address);
	read_mailbox(settings, "reply_to", &config->reply_to_name, &config->reply_to_address);
	config->envelope_from = read_envelope(settings, config->from_address);
	config->unsubscribe_url = settings_string(settings, "unsubscribe_url");
	if (config->unsubscribe_url && strncmp(config->unsubscribe_url, "https://", 8) != 0)
		settings_fail(settings, "unsubscribe_url", "It does not begin with https://, as RFC 8058 asks.", NULL);
	read_login(settings, config);
	config->ca_file = settings_string(settings, "ca_file");
	config->timeout = settings_integer(settings, "timeout_ms", 60000);
	config->connect_timeout = settings_integer(settings, "connect_timeout_ms", 10000);
	return config;
}

static bool
is_reply_line(const char *line, size_t length)
{
	return length >= 3 && line[0] >= '2' && line[0] <= '5' &&
		line[1] >= '0' && line[1] <= '9' && line[2] >= '0' && line[2] <= '9' &&
		(length == 3 || line[3] == ' ' || line[3] == '-' || line[3] == '\r' || line[3] == '\n');
}

static void
keep_text(Reply *reply, const char *text, size_t length)
{
	size_t		taken = Min(length, REPLY_KEPT - reply->length);

	memcpy(reply->text + reply->length, text, taken);
	reply->length += taken;
}

static void
note_greeting(SmtpHandle *handle, const char *line, size_t length, int code)
{
	if (code == 220)
		handle->size_offered = false;
	else if (code == 250 && length >= 8 && pg_strncasecmp(line + 4, "SIZE", 4) == 0)
		handle->size_offered = true;
}

/* A line of a reply.  The last reply is kept. */
static void
take_line(Reply *reply, const char *line, size_t length)
{
	if (!reply->line_open)
		reply->length = 0;
	else
		keep_text(reply, " ", 1);
	reply->code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
	reply->line_open = length > 3 && line[3] == '-';
	if (length > 4)
		keep_text(reply, line + 4, length - 4);
}

static bool
count_bytes(Reply *reply, size_t length)
{
	reply->received += length;
	reply->overflow = reply->received > REPLY_LIMIT;
	return !reply->overflow;
}

/* CURLOPT_HEADERFUNCTION: a line while libcurl connects */
static size_t
on_header(char *line, size_t one, size_t length, void *user)
{
	Transfer   *transfer = user;

	if (!count_bytes(&transfer->reply, length))
		return 0;
	if (is_reply_line(line, length))
	{
		take_line(&transfer->reply, line, length);
		note_greeting(transfer->state, line, length, transfer->reply.code);
	}
	return length;
}

static void
command(Transfer *transfer, SmtpStage stage, const char *text)
{
	transfer->reply.stage = stage;
	talk_say(&transfer->talk, text, strlen(text));
}

static void
say_mail(Transfer *transfer)
{
	SmtpHandle *handle = transfer->state;

	command(transfer, SMTP_MAIL, handle->size_offered ? handle->mail_sized : handle->mail);
}

/* The connection is there. */
static void
on_opened(Talk *talk)
{
	Transfer   *transfer = (Transfer *) talk;
	SmtpHandle *handle = transfer->state;

	handle->line_length = 0;
	transfer->reply.code = 0;
	transfer->reply.length = 0;
	transfer->reply.line_open = false;
	transfer->error[0] = '\0';
	if (talk->reused && handle->needs_reset)
		command(transfer, SMTP_RESET, "RSET\r\n");
	else
		say_mail(transfer);
	handle->needs_reset = false;
}

static void
go_on(Transfer *transfer)
{
	SmtpHandle *handle = transfer->state;

	switch (transfer->reply.stage)
	{
		case SMTP_RESET:
			say_mail(transfer);
			break;
		case SMTP_MAIL:
			command(transfer, SMTP_RCPT, handle->rcpt);
			break;
		case SMTP_RCPT:
			command(transfer, SMTP_DATA, "DATA\r\n");
			break;
		case SMTP_DATA:
			transfer->reply.stage = SMTP_MESSAGE;
			talk_say(&transfer->talk, transfer->body, transfer->length);
			break;
		default:
			talk_end(&transfer->talk, CURLE_OK, true);
	}
}

/* A reply is complete. */
static void
take_reply(Transfer *transfer)
{
	int			code = transfer->reply.code;
	bool		good = transfer->reply.stage == SMTP_DATA ? code == 354 : code / 100 == 2;

	if (good)
		go_on(transfer);
	else
	{
		((SmtpHandle *) transfer->state)->needs_reset = true;
		talk_end(&transfer->talk, CURLE_WEIRD_SERVER_REPLY, code != 421 && code >= 400);
	}
}

static void
end_line(Transfer *transfer)
{
	SmtpHandle *handle = transfer->state;
	size_t		length = handle->line_length;

	handle->line_length = 0;
	if (!is_reply_line(handle->line, length))
	{
		transfer->reply.code = 0;
		talk_end(&transfer->talk, CURLE_WEIRD_SERVER_REPLY, false);
		return;
	}
	take_line(&transfer->reply, handle->line, length);
	if (!transfer->reply.line_open)
		take_reply(transfer);
}

/* Cut what comes into lines; of a long one the beginning is kept. */
static void
on_heard(Talk *talk, const char *data, size_t length)
{
	Transfer   *transfer = (Transfer *) talk;
	SmtpHandle *handle = transfer->state;
	size_t		i;

	if (!count_bytes(&transfer->reply, length))
		talk_end(talk, CURLE_WEIRD_SERVER_REPLY, false);
	for (i = 0; i < length && !talk->over; i++)
	{
		if (data[i] == '\n')
			end_line(transfer);
		else if (data[i] != '\r' && handle->line_length < LINE_KEPT)
			handle->line[handle->line_length++] = data[i];
	}
}

static const TalkProtocol smtp_protocol = {"QUIT\r\n", on_opened, on_heard};

static void
smtp_dress(Transfer *transfer)
{
	SmtpConfig *config = transfer->provider->config;

	transfer->talk.protocol = &smtp_protocol;
	if (transfer->state == NULL)
		transfer->state = MemoryContextAllocZero(transfer->provider->cxt, sizeof(SmtpHandle));
	easy_check(wire_dress(transfer->easy, &transfer->wire, "smtp,smtps"));
	easy_set(transfer, CURLOPT_CONNECT_ONLY, 1L);
	easy_set(transfer, CURLOPT_HEADERFUNCTION, on_header);
	easy_set(transfer, CURLOPT_HEADERDATA, transfer);
	easy_set(transfer, CURLOPT_URL, config->url);
	easy_set(transfer, CURLOPT_USE_SSL, config->use_ssl);
	easy_set(transfer, CURLOPT_CONNECTTIMEOUT_MS, config->connect_timeout);
	if (config->ca_file)
		easy_set(transfer, CURLOPT_CAINFO, config->ca_file);
	if (config->username == NULL)
		return;
	easy_set(transfer, CURLOPT_USERNAME, config->username);
	easy_set(transfer, CURLOPT_PASSWORD, config->password);
	easy_set(transfer, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN;AUTH=CRAM-MD5");
}

/* Text of the database as UTF-8; NULL stays NULL */
static const char *
as_utf8(const char *text)
{
	return text ? pg_server_to_any(text, strlen(text), PG_UTF8) : NULL;
}

/* The letter's files, what they are called in UTF-8; NULL: none */
static LetterFile *
files_utf8(const Letter *letter)
{
	LetterFile *files;
	int			i;

	if (letter->file_count == 0)
		return NULL;
	files = palloc(sizeof(LetterFile) * letter->file_count);
	for (i = 0; i < letter->file_count; i++)
	{
		files[i] = letter->files[i];
		files[i].filename = as_utf8(files[i].filename);
	}
	return files;
}

/* The link of this letter; NULL when it needs none, or there is no page. */
static char *
unsubscribe_link(const SmtpConfig *config, const Letter *letter)
{
	if (config->unsubscribe_url == NULL || letter->unsubscribe == NULL)
		return NULL;
	return psprintf("%s%ctoken=%s", config->unsubscribe_url,
					strchr(config->unsubscribe_url, '?') ? '&' : '?', letter->unsubscribe);
}

/* Where what cannot be delivered is told, in angle brackets */
static char *
return_path(const SmtpConfig *config, const Letter *letter)
{
	char	   *place = strchr(config->envelope_from, RETURN_TAG_PLACE);

	if (place == NULL)
		return config->envelope_from;
	return psprintf("%.*s%s%s", (int) (place - config->envelope_from), config->envelope_from,
					letter->return_tag ? letter->return_tag : "0", place + 1);
}

static void
build_message(const SmtpConfig *config, const Letter *letter, StringInfo out)
{
	MimeMessage message = {0};

	message.message = letter->message;
	message.event = letter->event;
	message.date = time(NULL);
	message.from_name = config->from_name;
	message.from_address = config->from_address;
	message.reply_to_name = config->reply_to_name;
	message.reply_to_address = config->reply_to_address;
	message.to_address = letter->address;
	message.unsubscribe_url = unsubscribe_link(config, letter);
	message.subject = as_utf8(letter->subject);
	message.text = as_utf8(letter->body);
	message.html = as_utf8(letter->html);
	message.files = files_utf8(letter);
	message.file_count = letter->file_count;
	mime_build(&message, out);
}

/* The message as it goes on the wire: dots doubled, the end marked */
static void
stuff_dots(const StringInfo message, StringInfo out)
{
	const char *line = message->data;

	while (*line)
	{
		int			length = strcspn(line, "\n") + 1;

		if (*line == '.')
			appendStringInfoChar(out, '.');
		appendBinaryStringInfo(out, line, length);
		line += length;
	}
	appendStringInfoString(out, ".\r\n");
}

/* libcurl minds the time while it connects, the conversation from then on. */
static void
set_timeout(Transfer *transfer, long timeout)
{
	transfer->talk.timeout = timeout;
	easy_set(transfer, CURLOPT_TIMEOUT_MS, timeout);
}

static void
smtp_begin(Transfer *transfer, const Letter *letter)
{
	SmtpConfig *config = transfer->provider->config;
	SmtpHandle *handle = transfer->state;
	char	   *from = return_path(config, letter);
	StringInfoData message;
	StringInfoData wire;

	address_check("email", letter->address ? letter->address : "");
	set_timeout(transfer, transfer_timeout(letter, config->timeout));
	initStringInfo(&message);
	initStringInfo(&wire);
	build_message(config, letter, &message);
	stuff_dots(&message, &wire);
	transfer->body = wire.data;
	transfer->length = wire.len;
	handle->mail = psprintf("MAIL FROM:%s\r\n", from);
	handle->mail_sized = psprintf("MAIL FROM:%s SIZE=%d\r\n", from, message.len);
	handle->rcpt = psprintf("RCPT TO:<%s>\r\n", letter->address);
	pfree(message.data);
}

static void
smtp_finish(Transfer *transfer)
{
	transfer->body = NULL;
	transfer->length = 0;
}

static const char *
stage_name(SmtpStage stage)
{
	switch (stage)
	{
		case SMTP_CONNECT:
			return "greeting";
		case SMTP_AUTH:
			return "AUTH";
		case SMTP_RESET:
			return "RSET";
		case SMTP_MAIL:
			return "MAIL FROM";
		case SMTP_RCPT:
			return "RCPT TO";
		case SMTP_DATA:
			return "DATA";
		case SMTP_MESSAGE:
			return "message";
	}
	return "";
}

/* The server said no. */
static void
classify_refusal(Transfer *transfer, SendResult *result)
{
	const Reply *reply = &transfer->reply;

	result->code = reply->code;
	result->class = classify_smtp(reply->stage, reply->code, reply->text);
	snprintf(result->detail, sizeof(result->detail), "%d to %s: ",
			 reply->code, stage_name(reply->stage));
	append_clean(result->detail, sizeof(result->detail), reply->text, reply->length);
}

/* Say in the detail how far it had come */
static void
tell_stage(SmtpStage stage, SendResult *result)
{
	char		detail[sizeof(result->detail)];

	strcpy(detail, result->detail);
	snprintf(result->detail, sizeof(result->detail), "no answer to %s: ", stage_name(stage));
	append_clean(result->detail, sizeof(result->detail), detail, strlen(detail));
}

/* The conversation broke off, or never began. */
static void
classify_break(Transfer *transfer, CURLcode code, SendResult *result)
{
	const Talk *talk = &transfer->talk;
	SmtpStage	stage = transfer->reply.stage;

	classify_failure(transfer, code, stage == SMTP_MESSAGE && talk->said == talk->length, result);
	if (stage < SMTP_RESET)
		return;
	tell_stage(stage, result);

	/* a server that breaks off over one letter is not down */
	if (result->class == SEND_PROVIDER_DOWN)
		result->class = SEND_RETRY;
}

static void
smtp_classify(Transfer *transfer, CURLcode code, SendResult *result)
{
	SmtpConfig *config = transfer->provider->config;
	Reply	   *reply = &transfer->reply;

	redact(config->secrets, reply->text, reply->length, false);
	if (code == CURLE_LOGIN_DENIED)
		reply->stage = SMTP_AUTH;
	if (code == CURLE_OK)
	{
		result->class = SEND_OK;
		result->code = reply->code;
		smtp_reference(reply->text, result->reference, sizeof(result->reference));
	}
	else if (reply->code >= 400 && !reply->line_open && code != CURLE_OPERATION_TIMEDOUT)
		classify_refusal(transfer, result);
	else
		classify_break(transfer, code, result);
}

const Engine smtp_engine = {
	.name = "smtp",
	.check = smtp_check,
	.read = smtp_read,
	.dress = smtp_dress,
	.begin = smtp_begin,
	.finish = smtp_finish,
	.classify = smtp_classify
};
