/*
 * address.c
 *		The form of addresses: e-mail, URLs, host names, phone numbers, device
 *		tokens, web push subscriptions.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "channel/address.h"
#include "channel/channel.h"
#include "channel/classify.h"
#include "channel/settings.h"
#include "channel/sign.h"

#define EMAIL_MAX 254			/* RFC 5321, 4.5.3.1.3, without the brackets */
#define LOCAL_MAX 64
#define LABEL_MAX 63
#define URL_MAX 2048
#define PHONE_MAX 15			/* digits; E.164 */
#define ADDRESS_MAX 4096
#define PUSH_POINT_BYTES 65		/* an uncompressed point of P-256; RFC 8291 */
#define PUSH_AUTH_BYTES 16

static bool
has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char) *text < ' ' || *text == 0x7f)
			return true;
	return false;
}

static bool
is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char) *text >= 0x80)
			return false;
	return true;
}

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 5322 atext */
static bool
is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static const char *
local_problem(const char *local, size_t length)
{
	size_t		i;

	if (length == 0)
		return "There is nothing before the @.";
	if (length > LOCAL_MAX)
		return "The part before the @ is longer than 64 characters.";
	for (i = 0; i < length; i++)
	{
		if (local[i] == '.' && (i == 0 || i == length - 1 || local[i - 1] == '.'))
			return "A dot before the @ must stand between other characters.";
		if (local[i] != '.' && !is_atext(local[i]))
			return "The part before the @ contains a character that is not allowed there.";
	}
	return NULL;
}

static const char *
label_problem(const char *label, size_t length)
{
	size_t		i;

	if (length == 0 || length > LABEL_MAX)
		return "A part of the domain is empty or longer than 63 characters.";
	if (label[0] == '-' || label[length - 1] == '-')
		return "A part of the domain begins or ends with a hyphen.";
	for (i = 0; i < length; i++)
		if (!is_alnum(label[i]) && label[i] != '-')
			return "The domain contains a character that is not allowed there.";
	return NULL;
}

static const char *
domain_problem(const char *domain)
{
	const char *problem = NULL;
	size_t		length;

	if (*domain == '\0')
		return "There is nothing after the @.";
	if (*domain == '[')			/* an address literal */
	{
		length = strspn(domain + 1, "0123456789abcdefABCDEF:.IPv");
		return length > 0 && strcmp(domain + 1 + length, "]") == 0 ? NULL :
			"The address in brackets is malformed.";
	}
	while (problem == NULL)
	{
		length = strcspn(domain, ".");
		problem = label_problem(domain, length);
		domain += length;
		if (*domain++ == '\0')
			break;
	}
	return problem;
}

const char *
email_problem(const char *address)
{
	const char *at = strrchr(address, '@');
	const char *problem;

	if (has_control(address))
		return "It contains a control character, such as a line break.";
	if (!is_ascii(address))
		return "It contains a character that is not ASCII; internationalized addresses (SMTPUTF8) are not supported. A domain can be written in its xn-- form.";
	if (strlen(address) > EMAIL_MAX)
		return "It is longer than 254 characters.";
	if (at == NULL)
		return "There is no @ in it.";
	problem = local_problem(address, at - address);
	return problem ? problem : domain_problem(at + 1);
}

const char *
host_problem(const char *host)
{
	if (strlen(host) > 253)
		return "It is longer than 253 characters.";
	if (strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:") != strlen(host))
		return "It must be a host name or an address, without scheme, brackets or port; a name that is not ASCII can be written in its xn-- form.";
	return NULL;
}

static bool
has_part(CURLU *parsed, CURLUPart part)
{
	char	   *value = NULL;
	bool		has = curl_url_get(parsed, part, &value, 0) == CURLUE_OK &&
		value != NULL && *value != '\0';

	curl_free(value);
	return has;
}

static const char *
parsed_problem(CURLU *parsed, const char *url)
{
	CURLUcode	code = curl_url_set(parsed, CURLUPART_URL, url, 0);

	if (code == CURLUE_OUT_OF_MEMORY)
		return "Out of memory.";
	if (code != CURLUE_OK || !has_part(parsed, CURLUPART_HOST))
		return "It is not a well-formed URL.";
	if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD))
		return "It contains a user name or password; put credentials in a header of the provider.";
	return NULL;
}

const char *
url_problem(const char *url)
{
	CURLU	   *parsed;
	const char *problem;

	if (has_control(url) || strchr(url, ' ') != NULL)
		return "It contains a blank or a control character.";
	if (!is_ascii(url))
		return "It contains a character that is not ASCII; write it %-encoded, and a host name in its xn-- form.";
	if (pg_strncasecmp(url, "https://", 8) != 0 && pg_strncasecmp(url, "http://", 7) != 0)
		return "It must begin with https:// or http://.";
	if (strlen(url) > URL_MAX)
		return "It is longer than 2048 characters.";
	parsed = curl_url();
	if (parsed == NULL)
		return "Out of memory.";
	problem = parsed_problem(parsed, url);
	curl_url_cleanup(parsed);
	return problem;
}

/* Take off blanks at both ends, then quotes with their backslashes */
static char *
plain_name(const char *text, size_t length)
{
	char	   *name = palloc(length + 1);
	char	   *out = name;
	size_t		i;

	while (length > 0 && text[length - 1] == ' ')
		length--;
	while (length > 0 && *text == ' ')
		text++, length--;
	if (length >= 2 && text[0] == '"' && text[length - 1] == '"')
	{
		for (i = 1; i < length - 1; i++)
		{
			if (text[i] == '\\' && i + 1 < length - 1)
				i++;
			*out++ = text[i];
		}
	}
	else
	{
		memcpy(out, text, length);
		out += length;
	}
	*out = '\0';
	return name;
}

void
mailbox_split(const char *mailbox, char **name, char **address)
{
	const char *open = strrchr(mailbox, '<');
	size_t		length = strlen(mailbox);

	if (open == NULL || mailbox[length - 1] != '>')
	{
		*name = pstrdup("");
		*address = pstrdup(mailbox);
		return;
	}
	*name = plain_name(mailbox, open - mailbox);
	*address = pnstrdup(open + 1, mailbox + length - 1 - (open + 1));
}

/* E.164: a plus sign, the country code, at most 15 digits in all */
static const char *
phone_problem(const char *address)
{
	size_t		digits = *address == '+' ? strspn(address + 1, "0123456789") : 0;

	if (*address != '+')
		return "It does not begin with + and a country code.";
	if (address[1 + digits] != '\0')
		return "It contains something else than digits after the +.";
	if (address[1] == '0')
		return "A country code does not begin with 0.";
	if (digits < 7 || digits > PHONE_MAX)
		return "It has fewer than 7 or more than 15 digits.";
	return NULL;
}

/* What FCM, APNs and JPush call their tokens and ids */
static const char *
token_problem(const char *address)
{
	if (*address == '{')
		return "It is a JSON object; a web push subscription is an address of channel webpush.";
	if (*address == '\0')
		return "It is empty.";
	for (; *address; address++)
		if (!is_alnum(*address) && strchr(":._-%=+/", *address) == NULL)
			return "It contains a character that is in no device token.";
	return NULL;
}

static const char *
key_problem(const Jsonb *keys_of, const char *name, size_t length)
{
	JsonbValue *keys = json_find(unconstify(JsonbContainer *, &keys_of->root), "keys");
	char	   *text = json_is_object(keys) ? json_text(keys->val.binary.data, name) : NULL;
	size_t		found = 0;
	uint8	   *bytes = text ? sign_base64url_decode(text, &found) : NULL;

	if (bytes == NULL || found != length)
		return psprintf("Its keys.%s is not the base64url text of %d bytes.", name, (int) length);
	if (length == PUSH_POINT_BYTES && !sign_is_point(bytes, found))
		return psprintf("Its keys.%s is not a point on the curve P-256.", name);
	return NULL;
}

/* What PushSubscription.toJSON() gives in a browser */
static const char *
subscription_problem(const char *address)
{
	Jsonb	   *json = text_to_json(address, strlen(address));
	char	   *endpoint = json && JB_ROOT_IS_OBJECT(json) ? json_text(&json->root, "endpoint") : NULL;
	const char *problem;

	if (*address != '{' || json == NULL || !JB_ROOT_IS_OBJECT(json))
		return "It is not a JSON object.";
	if (endpoint == NULL || pg_strncasecmp(endpoint, "https://", 8) != 0)
		return "Its endpoint is no URL that begins with https://.";
	problem = url_problem(endpoint);
	if (problem == NULL)
		problem = key_problem(json, "p256dh", PUSH_POINT_BYTES);
	return problem ? problem : key_problem(json, "auth", PUSH_AUTH_BYTES);
}

static const char *
plain_problem(const char *address)
{
	if (*address == '\0')
		return "It is empty.";
	return has_control(address) ? "It contains a control character, such as a line break." : NULL;
}

/* The form of addresses of a channel, and how to say it */
typedef struct AddressForm
{
	const char *channel;
	const char *(*problem) (const char *address);
	const char *hint;
} AddressForm;

static const AddressForm forms[] = {
	{"email", email_problem, "An address for e-mail is name@host.example, without a display name."},
	{"webhook", url_problem, "An address for a webhook is a URL such as https://host.example/path."},
	{"sms", phone_problem, "A phone number is written as E.164 has it: +8613800138000."},
	{"push", token_problem, "An address for push is the token or registration id the provider's library gave the app."},
	{"webpush", subscription_problem, "An address for web push is the text of the browser's subscription: {\"endpoint\": \"https://…\", \"keys\": {\"p256dh\": \"…\", \"auth\": \"…\"}}."},
	{"chat", plain_problem, "An address for chat is what the provider calls the person or the room: a channel, a chat id."}
};

static const AddressForm *
form_of(const char *channel)
{
	size_t		i;

	for (i = 0; i < lengthof(forms); i++)
		if (strcmp(forms[i].channel, channel) == 0)
			return &forms[i];
	return NULL;
}

void
address_check(const char *channel, const char *address)
{
	const AddressForm *form = form_of(channel);
	const char *problem;
	char		shown[128] = "";

	if (strlen(address) > ADDRESS_MAX)
		problem = "It is longer than 4096 characters.";
	else
		problem = form ? form->problem(address) : plain_problem(address);
	if (problem == NULL)
		return;
	append_clean(shown, sizeof(shown), address, strlen(address));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid address \"%s\" for channel \"%s\"", shown, channel),
			 errdetail("%s", problem),
			 form ? errhint("%s", form->hint) : 0));
}
