/*
 * redact.c
 *		Secrets of a provider, starred where its answers repeat them.
 *
 * Services repeat what they were sent, and what they say is kept and shown.  They
 * repeat it as it was, or as it was written for the wire: %-encoded in a URL,
 * escaped in JSON, in base64 as part of a login.  These forms are made once, when
 * the provider is opened; looking for them allocates nothing.
 *
 * Base64 puts three bytes into four characters, so a secret looks different with
 * no, one or two bytes before it, and the characters at its ends say something of
 * its neighbours, too.  Those are left out of the three forms there are of it.
 */
#include "postgres.h"

#include "channel/redact.h"
#include "channel/request.h"
#include "channel/sign.h"
#include "utils/json.h"

#define SECRET_SHOWN_MIN 6		/* bytes; what is shorter is not looked for */

static List *
add_form(List *forms, const char *form)
{
	ListCell   *cell;

	foreach(cell, forms)
		if (strcmp(lfirst(cell), form) == 0)
			return forms;
	return lappend(forms, unconstify(char *, form));
}

/* As JSON has it between quotes */
static char *
json_form(const char *secret)
{
	StringInfoData out;

	initStringInfo(&out);
	escape_json(&out, secret);
	out.data[out.len - 1] = '\0';
	return out.data + 1;
}

/* What base64 has of it for certain, with so many bytes before it */
static char *
base64_form(const char *secret, int before)
{
	size_t		length = before + strlen(secret);
	uint8	   *bytes = palloc0(length);
	char	   *text;
	int			first = (before * 8 + 5) / 6;

	memcpy(bytes + before, secret, length - before);
	text = sign_base64(bytes, length);
	text[length * 8 / 6] = '\0';
	return text + first;
}

List *
redact_forms(List *forms, const char *secret)
{
	int			before;

	if (secret == NULL || strlen(secret) < SECRET_SHOWN_MIN)
		return forms;
	forms = add_form(forms, pstrdup(secret));
	forms = add_form(forms, percent_encode(secret, ""));
	forms = add_form(forms, json_form(secret));
	for (before = 0; before < 3; before++)
		forms = add_form(forms, base64_form(secret, before));
	return forms;
}

/* Like strstr(), in a text that may have zero bytes in it */
static char *
find(char *text, const char *end, const char *form, size_t length)
{
	for (; text + length <= end; text++)
	{
		text = memchr(text, *form, end - text - length + 1);
		if (text == NULL)
			return NULL;
		if (memcmp(text, form, length) == 0)
			return text;
	}
	return NULL;
}

/* The beginning of a form at the end of a text */
static void
redact_end(const char *form, char *text, size_t length)
{
	size_t		shown;

	for (shown = Min(strlen(form) - 1, length); shown > 0; shown--)
		if (memcmp(text + length - shown, form, shown) == 0)
		{
			memset(text + length - shown, '*', shown);
			return;
		}
}

void
redact(const List *forms, char *text, size_t length, bool cut)
{
	ListCell   *cell;

	foreach(cell, forms)
	{
		const char *form = lfirst(cell);
		size_t		size = strlen(form);
		char	   *at = text;

		while ((at = find(at, text + length, form, size)) != NULL)
		{
			memset(at, '*', size);
			at += size;
		}
		if (cut)
			redact_end(form, text, length);
	}
}
