/*
 * liquid_fuzz.c
 *		A fuzz target on Liquid's lexer, parser, survey and renderer.
 *
 * Input: a template and, after a zero byte each, optionally a JSON document of
 * data and the source of a partial "p".  Whatever comes, the outcome is words or
 * an error, within bounds: words and messages are UTF-8, a second rendering says
 * the same, and nothing is left behind.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "backend.h"
#include "liquid/survey.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* Set by replay.c: words go to stdout. */
extern bool fuzz_show;
bool		fuzz_show = false;

typedef struct Input
{
	const char *template;
	int			len;
	Jsonb	   *data;
	Jsonb	   *partials;
} Input;

static const char plain_data[] =
"{\"s\": \"hello\", \"t\": \"\", \"u\": \"h\xc3\xa9llo w\xc3\xb6rld \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80\", \"h\": \"<b>&amp;\\\"'</b>\","
" \"i\": 7, \"n\": -3, \"z\": 0, \"f\": 2.50, \"b\": 123456789012345678901234567890, \"x\": null, \"y\": true, \"w\": false,"
" \"a\": [3, 1, 2, \"b\", null], \"e\": [], \"o\": {\"k\": 1, \"first\": \"f\", \"a\": {\"b\": [1.5, [2, [3]]]}}, \"d\": \"2026-03-14T15:09:26+01:00\","
" \"l\": [{\"n\": 1, \"g\": \"x\"}, {\"n\": 2, \"g\": \"y\"}, {\"n\": 2}, {\"g\": null}],"
" \"recipient\": {\"locale\": \"de-DE\", \"time_zone\": \"Europe/Berlin\"}}";

static const char plain_partials[] =
"{\"p\": \"{{ p }}{{ q }}{% assign r = 1 %}{% increment c %}{% cycle 1, 2 %}\", \"q\": \"{% include 'p' %}\", \"loop\": \"{% include 'loop' %}\"}";

/* The next part of the input, up to a zero byte; NULL when there is none. */
static const char *
next_part(const char **at, const char *end, int *len)
{
	const char *start = *at;
	const char *zero;

	if (start == NULL || start > end)
		return NULL;
	zero = memchr(start, '\0', end - start);
	*len = (zero ? zero : end) - start;
	*at = zero ? zero + 1 : NULL;
	return start;
}

static Jsonb *
partial_json(const char *source, int len)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"p\": \"");
	for (int i = 0; i < len; i++)
	{
		if (source[i] == '"' || source[i] == '\\')
			appendStringInfoChar(&json, '\\');
		appendStringInfoChar(&json, source[i]);
	}
	appendStringInfoString(&json, "\"}");
	return backend_json(json.data, json.len);
}

/* jsonb holds no text that is not UTF-8. */
static bool
is_text(const char *text, int len)
{
	return pg_verifymbstr(text, len, true);
}

static Input
take_apart(const char *bytes, int size)
{
	const char *at = bytes;
	const char *end = bytes + size;
	Input		input = {NULL};
	const char *part;
	int			len;

	input.template = next_part(&at, end, &input.len);
	if ((part = next_part(&at, end, &len)) != NULL && is_text(part, len))
		input.data = backend_json(part, len);
	if ((part = next_part(&at, end, &len)) != NULL && is_text(part, len))
		input.partials = partial_json(part, len);
	if (input.data == NULL)
		input.data = backend_json(plain_data, strlen(plain_data));
	if (input.partials == NULL)
		input.partials = backend_json(plain_partials, strlen(plain_partials));
	return input;
}

static void
render(const LiquidTemplate *t, const Input *input, LiquidLibrary *library)
{
	LiquidFormat formats[] = {LIQUID_TEXT, LIQUID_HTML};

	for (int i = 0; i < lengthof(formats); i++)
	{
		LiquidMissing missing = {0};
		StringInfoData first;
		StringInfoData again;

		initStringInfo(&first);
		initStringInfo(&again);
		liquid_render_noting(t, input->data, formats[i], library, &first, &missing);
		backend_check_text(first.data, first.len);
		for (int m = 0; m < missing.count; m++)
			backend_check_text(missing.text[m], strlen(missing.text[m]));
		liquid_render(t, input->data, formats[i], library, &again);
		if (first.len != again.len || memcmp(first.data, again.data, first.len) != 0)
		{
			fprintf(stderr, "the second rendering differs:\n%s\n%s\n", first.data, again.data);
			abort();
		}
		if (fuzz_show)
			printf("%s\n", first.data);
	}
}

static void
run(const char *bytes, int size)
{
	Input		input = take_apart(bytes, size);
	LiquidLibrary *library = liquid_library(input.partials);
	LiquidTemplate *t = liquid_parse(input.template, input.len);

	(void) liquid_survey(t, NULL);
	render(t, &input, library);
	(void) liquid_survey(t, library);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	MemoryContext cxt = AllocSetContextCreate(NULL, "fuzz", ALLOCSET_DEFAULT_SIZES);
	sigjmp_buf	jump;

	backend_set_stack_base(&jump);
	CurrentMemoryContext = cxt;
	PG_exception_stack = &jump;
	if (sigsetjmp(jump, 0) == 0)
		run((const char *) bytes, size);
	error_context_stack = NULL;
	MemoryContextDelete(cxt);
	return 0;
}
