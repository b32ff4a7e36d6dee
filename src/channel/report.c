/*
 * report.c
 *		Mail about mail, as servers and mailbox providers send it.
 *
 * A report is a multipart/report whose parts are words for people, fields for
 * us, and the mail it is about, or its head.  Only what is needed is read, by
 * slices of the text that never leave it, so cut or hostile mail gives less, not
 * more.  Values are cut to VALUE_MAX bytes of clean text.
 */
#include "postgres.h"

#include "channel/classify.h"
#include "channel/report.h"
#include "channel/settings.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(notify_read_report);

#define VALUE_MAX 512
#define PARTS_MAX 32

typedef struct Slice
{
	const char *at;
	const char *end;
} Slice;

typedef struct Field
{
	char		text[VALUE_MAX];	/* "" when it is not there */
} Field;

typedef struct Report
{
	JsonbParseState *state;
	const Slice *mail;
	Field		message_id;		/* of the mail it is about */
	Slice		fields[REPORT_ITEMS];
	int			count;
	bool		complaint;
} Report;

/* The next line without its end; false when there is none. */
static bool
next_line(Slice *rest, Slice *line)
{
	const char *end;

	if (rest->at >= rest->end)
		return false;
	end = memchr(rest->at, '\n', rest->end - rest->at);
	line->at = rest->at;
	line->end = end ? end : rest->end;
	rest->at = end ? end + 1 : rest->end;
	if (line->end > line->at && line->end[-1] == '\r')
		line->end--;
	return true;
}

static bool
begins_with(Slice text, const char *word)
{
	size_t		length = strlen(word);

	return text.end - text.at >= length && pg_strncasecmp(text.at, word, length) == 0;
}

/* What follows "name:" on its line and the folded lines after it, in fields that end at an empty line */
static void
read_field(Slice fields, const char *name, Field *field)
{
	Slice		line;
	bool		mine = false;

	field->text[0] = '\0';
	while (next_line(&fields, &line) && line.at < line.end)
	{
		if (*line.at == ' ' || *line.at == '\t')
		{
			if (mine)
				append_clean(field->text, VALUE_MAX, line.at, line.end - line.at);
			continue;
		}
		if (mine)
			return;
		mine = begins_with(line, name) && line.end - line.at > strlen(name) && line.at[strlen(name)] == ':';
		if (mine)
		{
			line.at += strlen(name) + 1;
			while (line.at < line.end && (*line.at == ' ' || *line.at == '\t'))
				line.at++;
			append_clean(field->text, VALUE_MAX, line.at, line.end - line.at);
		}
	}
}

/* What comes after the first empty line */
static Slice
body_of(Slice part)
{
	Slice		line;

	while (next_line(&part, &line) && line.at < line.end)
		;
	return part;
}

/* The parameter "boundary" of a Content-Type; false when it has none */
static bool
find_boundary(const Field *type, Field *boundary)
{
	const char *at = strcasestr(type->text, "boundary=");
	size_t		length;

	if (at == NULL)
		return false;
	at += strlen("boundary=");
	length = *at == '"' ? strcspn(++at, "\"") : strcspn(at, "; \t");
	memcpy(boundary->text, "--", 3);
	append_clean(boundary->text, VALUE_MAX, at, length);
	return length > 0;
}

/* The next part; rest stands on the line after a boundary. */
static bool
next_part(Slice *rest, const Field *boundary, Slice *part)
{
	Slice		line;

	part->at = part->end = rest->at;
	while (next_line(rest, &line))
	{
		if (begins_with(line, boundary->text))
			return true;
		part->end = line.end;
	}
	return part->end > part->at;
}

/* The fields of a report, a group for each person */
static void
take_groups(Report *report, Slice body)
{
	while (body.at < body.end && report->count < REPORT_ITEMS)
	{
		Slice		group = body;
		Field		action;

		read_field(group, report->complaint ? "Feedback-Type" : "Action", &action);
		if (action.text[0])
			report->fields[report->count++] = group;
		body = body_of(body);
	}
}

static void
take_part(Report *report, Slice part)
{
	Field		type;

	read_field(part, "Content-Type", &type);
	if (pg_strncasecmp(type.text, "message/delivery-status", 23) == 0 ||
		pg_strncasecmp(type.text, "message/global-delivery-status", 30) == 0)
		take_groups(report, body_of(part));
	else if (pg_strncasecmp(type.text, "message/feedback-report", 23) == 0)
	{
		report->complaint = true;
		take_groups(report, body_of(part));
	}
	else if (pg_strncasecmp(type.text, "message/rfc822", 14) == 0 ||
			 pg_strncasecmp(type.text, "text/rfc822-headers", 19) == 0 ||
			 pg_strncasecmp(type.text, "message/global", 14) == 0)
		read_field(body_of(part), "Message-ID", &report->message_id);
}

static void
take_parts(Report *report)
{
	Field		type;
	Field		boundary;
	Slice		rest = body_of(*report->mail);
	Slice		part;
	int			count = 0;

	read_field(*report->mail, "Content-Type", &type);
	if (pg_strncasecmp(type.text, "multipart/report", 16) != 0 || !find_boundary(&type, &boundary))
		return;
	(void) next_part(&rest, &boundary, &part);	/* before the first: nothing */
	while (count++ < PARTS_MAX && next_part(&rest, &boundary, &part))
		take_part(report, part);
}

/*
 * As if it were the reply to the letter.  Some servers say only 5.0.0 in Status
 * and the truth in their words.
 */
static SendClass
report_class(const char *status, const char *diagnostic)
{
	const char *words = strchr(diagnostic, ';');
	char	   *end;
	int			code;

	words = words ? words + 1 : diagnostic;
	code = strtol(words, &end, 10);
	if (code < 400 || code > 599)
	{
		code = status[0] == '4' ? 450 : status[0] == '5' ? 550 : 250;
		end = unconstify(char *, words);
	}
	while (*end == ' ' || *end == '-')
		end++;
	if (strncmp(end, "5.", 2) != 0 && strncmp(end, "4.", 2) != 0)
		end = psprintf("%s %s", status, end);
	return classify_smtp(SMTP_MESSAGE, code, end);
}

static void
push_string(Report *report, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = pstrdup(text);
	value.val.string.len = strlen(text);
	(void) pushJsonbValue(&report->state, token, &value);
}

static void
push_pair(Report *report, const char *key, const char *text)
{
	if (*text == '\0')
		return;
	push_string(report, WJB_KEY, key);
	push_string(report, WJB_VALUE, text);
}

static void
push_field(Report *report, const char *key, Slice fields, const char *name)
{
	Field		field;

	read_field(fields, name, &field);
	push_pair(report, key, field.text);
}

/* Where the report itself went: the return path of the mail it is about */
static void
push_destination(Report *report)
{
	static const char *const names[] = {"Delivered-To", "X-Original-To", "X-Envelope-To", "Envelope-To", "To"};
	Field		field;
	size_t		i;

	push_string(report, WJB_KEY, "to");
	(void) pushJsonbValue(&report->state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < lengthof(names); i++)
	{
		read_field(*report->mail, names[i], &field);
		if (field.text[0])
			push_string(report, WJB_ELEM, field.text);
	}
	(void) pushJsonbValue(&report->state, WJB_END_ARRAY, NULL);
}

static void
push_item(Report *report, Slice fields)
{
	Field		status;
	Field		diagnostic;

	(void) pushJsonbValue(&report->state, WJB_BEGIN_OBJECT, NULL);
	push_destination(report);
	push_pair(report, "message_id", report->message_id.text);
	if (report->complaint)
	{
		push_field(report, "feedback", fields, "Feedback-Type");
		push_field(report, "recipient", fields, "Original-Rcpt-To");
	}
	else
	{
		read_field(fields, "Status", &status);
		read_field(fields, "Diagnostic-Code", &diagnostic);
		push_field(report, "action", fields, "Action");
		push_field(report, "recipient", fields, "Final-Recipient");
		push_pair(report, "status", status.text);
		push_pair(report, "diagnostic", diagnostic.text);
		push_pair(report, "class", send_class_name(report_class(status.text, diagnostic.text)));
	}
	(void) pushJsonbValue(&report->state, WJB_END_OBJECT, NULL);
}

Jsonb *
report_read(const char *mail, size_t length)
{
	Slice		whole = {mail, mail + length};
	Report	   *report = palloc0(sizeof(Report));
	JsonbValue *result;
	int			i;

	report->mail = &whole;
	take_parts(report);
	(void) pushJsonbValue(&report->state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < report->count; i++)
		push_item(report, report->fields[i]);
	result = pushJsonbValue(&report->state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(result);
}

/* notify._read_report(mail bytea) returns jsonb */
Datum
notify_read_report(PG_FUNCTION_ARGS)
{
	bytea	   *mail = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_JSONB_P(report_read(VARDATA_ANY(mail), VARSIZE_ANY_EXHDR(mail)));
}
