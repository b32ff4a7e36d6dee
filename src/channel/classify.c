/*
 * classify.c
 *		What an answer means: pure functions over codes and texts.
 *
 * Two rules stand above the tables.  A person is given up
 * (permanent_recipient) only on positive evidence that the address is gone,
 * never for a policy or for a fault of ours.  And whatever is not understood
 * is tried again.
 */
#include "postgres.h"

#include <time.h>

#include "channel/classify.h"
#include "mb/pg_wchar.h"

const char *
send_class_name(SendClass class)
{
	switch (class)
	{
		case SEND_OK:
			return "ok";
		case SEND_RETRY:
			return "retry";
		case SEND_DEFER:
			return "defer";
		case SEND_PERMANENT_MESSAGE:
			return "permanent_message";
		case SEND_PERMANENT_RECIPIENT:
			return "permanent_recipient";
		case SEND_PROVIDER_DOWN:
			return "provider_down";
		case SEND_AUTH:
			return "auth";
	}
	return "retry";
}

SendClass
classify_http(int status)
{
	switch (status)
	{
		case 408:				/* request timeout */
		case 421:				/* misdirected request */
		case 425:				/* too early */
			return SEND_RETRY;
		case 429:
			return SEND_DEFER;
		case 401:
		case 403:
			return SEND_AUTH;
		case 410:
			return SEND_PERMANENT_RECIPIENT;
		case 501:				/* the method is not known there */
		case 505:				/* HTTP version not supported */
			return SEND_PERMANENT_MESSAGE;
	}
	if (status >= 200 && status <= 299)
		return SEND_OK;
	if (status >= 300 && status <= 499)
		return SEND_PERMANENT_MESSAGE;
	return SEND_RETRY;
}

/* An enhanced status code, RFC 3463: class.subject.detail */
typedef struct Enhanced
{
	int			class;			/* 0: there is none */
	int			subject;
	int			detail;
} Enhanced;

static const char *
read_number(const char *at, int *number)
{
	const char *start = at;

	for (*number = 0; *at >= '0' && *at <= '9' && at - start < 3; at++)
		*number = *number * 10 + (*at - '0');
	return at == start ? NULL : at;
}

static Enhanced
read_enhanced(const char *text)
{
	Enhanced	none = {0, 0, 0};
	Enhanced	found;
	const char *at = text;

	if ((at = read_number(at, &found.class)) == NULL || *at != '.' ||
		(at = read_number(at + 1, &found.subject)) == NULL || *at != '.' ||
		(at = read_number(at + 1, &found.detail)) == NULL ||
		(*at != ' ' && *at != '\0'))
		return none;
	return found;
}

static bool
has_any(const char *text, const char *const *words, int count)
{
	int			i;

	for (i = 0; i < count; i++)
		if (strcasestr(text, words[i]) != NULL)
			return true;
	return false;
}

/*
 * The words of a reply without what stands in angle brackets: addresses and host
 * names, which say nothing, whatever they are called.
 */
static void
bare_words(const char *text, char *out, size_t size)
{
	size_t		used = 0;

	while (*text && used + 1 < size)
	{
		const char *end = *text == '<' ? strchr(text, '>') : NULL;

		if (end == NULL)
			out[used++] = *text;
		text = (end ? end : text) + 1;
	}
	out[used] = '\0';
}

/* Do the words say that there is no such person? */
static bool
says_unknown(const char *words)
{
	static const char *const unknown[] = {
		"user unknown", "unknown user", "no such user", "user not found",
		"does not exist", "doesn't exist", "no mailbox", "no such mailbox",
		"mailbox not found", "recipient unknown", "unknown recipient",
		"no such recipient", "recipient not found", "invalid recipient",
		"invalid mailbox", "address unknown", "unknown address", "no such person"
	};
	static const char *const other[] = {
		"policy", "spam", "block", "denied", "relay", "reputation", "spf",
		"dkim", "dmarc", "blacklist", "listed", "sender", "authent", "limit"
	};

	return has_any(words, unknown, lengthof(unknown)) &&
		!has_any(words, other, lengthof(other));
}

/*
 * Do the words say that it is us who are refused?  Servers put off such a refusal
 * to the recipient's turn (Postfix does unless told otherwise).  After that, or in
 * a report, they are some other server's words about one letter.
 */
static bool
says_us(SmtpStage stage, const char *words)
{
	static const char *const us[] = {
		"sender address rejected", "sender rejected", "client host",
		"helo command rejected"
	};

	return strcasestr(words, "relay") != NULL ||
		(stage == SMTP_RCPT && has_any(words, us, lengthof(us)));
}

static bool
recipient_is_gone(int code, Enhanced enhanced, const char *words)
{
	if (enhanced.class == 5 && enhanced.subject == 1 && enhanced.detail != 0)
		return enhanced.detail <= 6 || enhanced.detail == 10;	/* 7, 8: the sender */
	if (enhanced.class == 5 && enhanced.subject == 2)
		return enhanced.detail == 1;	/* disabled; a full box is not gone */
	if (enhanced.class == 5 && enhanced.subject != 0 && enhanced.subject != 1 &&
		enhanced.subject != 5)
		return false;
	if (enhanced.class == 0 && (code == 551 || code == 556))
		return true;			/* not local; domain takes no mail */
	return says_unknown(words);
}

/* 5.7.x: who we are, or what we are thought to be */
static SendClass
policy_class(SmtpStage stage, Enhanced enhanced, const char *words)
{
	bool		credentials = enhanced.detail == 3 ||
		(enhanced.detail >= 8 && enhanced.detail <= 14);

	if (credentials || stage <= SMTP_MAIL || says_us(stage, words))
		return SEND_AUTH;
	return SEND_PERMANENT_MESSAGE;
}

/* A permanent refusal after the greeting and before anything better is known */
static SendClass
permanent_class(SmtpStage stage, int code, const char *text)
{
	Enhanced	enhanced = read_enhanced(text);
	bool		sender = enhanced.class == 5 && enhanced.subject == 1 &&
		(enhanced.detail == 7 || enhanced.detail == 8);
	char		words[REPLY_KEPT];

	bare_words(text, words, sizeof(words));
	if (stage == SMTP_AUTH || code == 530 || code == 534 || code == 535 || code == 538)
		return SEND_AUTH;
	if (enhanced.class == 5 && enhanced.subject == 7)
		return policy_class(stage, enhanced, words);
	if (code == 552)
		return SEND_PERMANENT_MESSAGE;
	if (sender || (stage == SMTP_MAIL && code == 553))
		return SEND_AUTH;
	if (stage >= SMTP_RCPT && recipient_is_gone(code, enhanced, words))
		return SEND_PERMANENT_RECIPIENT;
	return SEND_PERMANENT_MESSAGE;
}

SendClass
classify_smtp(SmtpStage stage, int code, const char *text)
{
	if (code >= 200 && code <= 299)
		return SEND_OK;
	if (code == 421 || stage == SMTP_CONNECT || stage == SMTP_RESET)
		return SEND_PROVIDER_DOWN;
	if (code >= 500 && code <= 599)
		return permanent_class(stage, code, text);
	return SEND_RETRY;
}

/* The guard had its say, and nothing else was left to try. */
static bool
was_refused(const Transfer *transfer, CURLcode code)
{
	const WireReport *wire = &transfer->wire;

	return wire->stopped ||
		(code == CURLE_COULDNT_CONNECT && wire->refused > 0 &&
		 wire->opened == 0 && wire->error == 0);
}

/* Which address it was, after what is already said */
static void
say_refused(const Transfer *transfer, const char *before, SendResult *result)
{
	char		text[256];

	snprintf(text, sizeof(text),
			 "%saddress %s is private, and notify_pg.allow_private_addresses does not allow it",
			 before, transfer->wire.address);
	append_clean(result->detail, sizeof(result->detail), text, strlen(text));
}

static bool
lacked_files(const Transfer *transfer, bool started)
{
	int			error = transfer->wire.error;

	return error == EMFILE || error == ENFILE || (!started && wire_out_of_files());
}

/* A failure before the request was on its way */
static SendClass
unsent_class(const Transfer *transfer, CURLcode code)
{
	SendClass	down = transfer->own_address ? SEND_RETRY : SEND_PROVIDER_DOWN;

	switch (code)
	{
		case CURLE_URL_MALFORMAT:
		case CURLE_UNSUPPORTED_PROTOCOL:
			return SEND_PERMANENT_MESSAGE;
		case CURLE_LOGIN_DENIED:
			return SEND_AUTH;
		case CURLE_OUT_OF_MEMORY:
		case CURLE_ABORTED_BY_CALLBACK:
			return SEND_RETRY;
		default:
			return down;
	}
}

void
classify_failure(Transfer *transfer, CURLcode code, bool started, SendResult *result)
{
	const char *error = transfer->error[0] ? transfer->error : curl_easy_strerror(code);

	if (transfer->wire.requests > 1)
		error = "the connection broke before the answer";
	if (was_refused(transfer, code))
	{
		result->neutral = true;
		result->class = SEND_PERMANENT_MESSAGE;
		say_refused(transfer, "", result);
	}
	else if (lacked_files(transfer, started))
	{
		result->neutral = true;
		result->class = SEND_RETRY;
		result->ambiguous = started;
		snprintf(result->detail, sizeof(result->detail),
				 "out of file descriptors: raise the limit of open files, or lower notify_pg.max_in_flight");
	}
	else
	{
		result->class = started ? SEND_RETRY : unsent_class(transfer, code);
		result->ambiguous = started;
		result->neutral |= code == CURLE_OUT_OF_MEMORY || code == CURLE_ABORTED_BY_CALLBACK;
		append_clean(result->detail, sizeof(result->detail), error, strlen(error));
		if (code == CURLE_COULDNT_CONNECT && transfer->wire.refused > 0)
			say_refused(transfer, "; ", result);
	}
}

int64
retry_after_ms(const char *value, time_t now)
{
	size_t		digits = strspn(value, "0123456789");
	time_t		date;

	if (digits > 0 && value[digits] == '\0')
		return digits > 6 ? RETRY_AFTER_MAX : Min(atoi(value) * INT64CONST(1000), RETRY_AFTER_MAX);
	if (digits > 0 || *value == '\0' || *value == '-' || *value == '+')
		return -1;
	date = curl_getdate(value, NULL);
	if (date == (time_t) -1)
		return -1;
	if (date <= now)
		return 0;
	if (date - now >= RETRY_AFTER_MAX / 1000)
		return RETRY_AFTER_MAX;
	return (int64) (date - now) * 1000;
}

void
smtp_reference(const char *text, char *out, size_t size)
{
	static const char *const marks[] = {"queued as ", " id="};
	Enhanced	enhanced = read_enhanced(text);
	const char *at = text;
	size_t		i;

	for (i = 0; i < lengthof(marks); i++)
	{
		const char *mark = strcasestr(text, marks[i]);

		if (mark == NULL)
			continue;
		mark += strlen(marks[i]);
		append_clean(out, size, mark, strcspn(mark, " \t\r\n;,)"));
		return;
	}
	if (enhanced.class != 0)
		at += strcspn(at, " ");
	at += strspn(at, " ");
	if (pg_strncasecmp(at, "ok", 2) == 0)
		at += 2 + strspn(at + 2, ":, ");
	append_clean(out, size, at, strlen(at));
}

/* Bytes of the well-formed UTF-8 character at text, 0 if there is none */
static int
character_length(const unsigned char *text, size_t left)
{
	int			length;

	if (*text < 0x80)
		return 1;
	length = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
	return length <= left && pg_utf8_islegal(text, length) ? length : 0;
}

static bool
is_blank(const unsigned char *text, int length)
{
	return (length == 1 && (*text <= ' ' || *text == 0x7f)) ||
		(length == 2 && text[0] == 0xc2 && text[1] <= 0x9f);
}

void
append_clean(char *out, size_t size, const char *text, size_t length)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;
	size_t		used = strlen(out);
	size_t		at = 0;

	while (at < length)
	{
		const unsigned char *here = (const unsigned char *) text + at;
		int			step = character_length(here, length - at);
		const char *put = (const char *) here;
		int			width = step;

		if (step == 0 || (step > 1 && !utf8))
		{
			put = utf8 ? "\xef\xbf\xbd" : "?";
			width = strlen(put);
		}
		else if (is_blank(here, step))
		{
			put = " ";
			width = used > 0 && out[used - 1] == ' ' ? 0 : 1;
		}
		if (used + width + 1 > size)
			break;
		memcpy(out + used, put, width);
		used += width;
		at += step ? step : 1;
	}
	while (used > 0 && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
}
