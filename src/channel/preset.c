/*
 * preset.c
 *		A provider's protocol as data: a row of notify.preset.
 *
 * The row comes as jsonb, its columns as members.  See preset.h.
 *
 * The probe writes the request of a letter whose every word would break out of
 * JSON, of a URL, of a form or of XML if it were put there as it is.
 */
#include "postgres.h"

#include "channel/address.h"
#include "channel/preset.h"
#include "channel/scope.h"
#include "utils/builtins.h"

/* Breaks JSON (quote, backslash, line break), URLs, forms and XML. */
#define HOSTILE "a/b?c#d&e=f \"g\\h<k>\n'{{"

/* Some part of it that no escaping would leave together */
#define HOSTILE_IN_URL "/b?c#d"
#define HOSTILE_IN_FORM "&e=f"
#define HOSTILE_IN_XML "<k>"

char *
preset_engine(Jsonb *row)
{
	char	   *engine = json_text(&row->root, "engine");

	return engine ? engine : pstrdup("");
}

/* ------------------------------------------------------------- settings --- */

static char *
declared_text(const Preset *preset, const char *part, JsonbValue *declaration, const char *name)
{
	JsonbValue *value = json_find(declaration->val.binary.data, name);

	if (value && value->type != jbvString)
		preset_fail(preset->name, part, psprintf("\"%s\" must be a string.", name), NULL);
	return json_text(declaration->val.binary.data, name);
}

static bool
declared_flag(const Preset *preset, const char *part, JsonbValue *declaration, const char *name)
{
	JsonbValue *value = json_find(declaration->val.binary.data, name);

	if (value && value->type != jbvBool)
		preset_fail(preset->name, part, psprintf("\"%s\" must be true or false.", name), NULL);
	return value && value->val.boolean;
}

static void
check_declaration(const Preset *preset, const char *part, JsonbValue *declaration)
{
	static const char *const known[] = {"kind", "required", "secret", "default", "description"};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	size_t		i;

	if (!json_is_object(declaration))
		preset_fail(preset->name, part, "It must be an object, such as {\"required\": true}.", NULL);
	it = JsonbIteratorInit(declaration->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		for (i = 0; i < lengthof(known); i++)
			if (item.val.string.len == strlen(known[i]) &&
				memcmp(item.val.string.val, known[i], item.val.string.len) == 0)
				break;
		if (i == lengthof(known))
			preset_fail(preset->name, part,
						psprintf("\"%.*s\" says nothing of a setting.", item.val.string.len, item.val.string.val),
						"A setting has kind, required, secret, default and description.");
	}
}

static SettingSpec *
find_spec(const Preset *preset, const char *name, int length)
{
	int			i;

	for (i = 0; i < preset->spec_count; i++)
		if (strlen(preset->specs[i].name) == length &&
			memcmp(preset->specs[i].name, name, length) == 0)
			return &preset->specs[i];
	return NULL;
}

/* The engine's setting of that name, or one more */
static SettingSpec *
take_spec(Preset *preset, char *name)
{
	SettingSpec *spec = find_spec(preset, name, strlen(name));

	if (spec)
		return spec;
	spec = &preset->specs[preset->spec_count++];
	memset(spec, 0, sizeof(*spec));
	spec->name = name;
	spec->minimum = PG_INT32_MIN;
	spec->maximum = PG_INT32_MAX;
	return spec;
}

static void
read_declaration(Preset *preset, char *name, JsonbValue *declaration)
{
	char	   *part = psprintf("settings.%s", name);
	SettingSpec *spec = take_spec(preset, name);
	char	   *kind;

	check_declaration(preset, part, declaration);
	kind = declared_text(preset, part, declaration, "kind");
	spec->required |= declared_flag(preset, part, declaration, "required");
	if (kind && !setting_kind(kind, &spec->kind))
		preset_fail(preset->name, part, psprintf("There is no kind \"%s\".", kind), setting_kinds());
	(void) declared_text(preset, part, declaration, "description");
	if (declared_flag(preset, part, declaration, "secret"))
		preset->secret_names[preset->secret_count++] = name;
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken where, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	(void) pushJsonbValue(state, where, &value);
}

/* The specs, and an object of the defaults */
static void
read_settings(Preset *preset, const SettingSpec *specs, int count)
{
	JsonbValue *declared = json_find(&preset->row->root, "settings");
	int			most = count + (json_is_object(declared) ? JsonContainerSize(declared->val.binary.data) : 0);
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	char	   *name = NULL;

	preset->specs = palloc0(sizeof(SettingSpec) * (most + 1));
	preset->secret_names = palloc0(sizeof(char *) * (most + 1));
	memcpy(preset->specs, specs, sizeof(SettingSpec) * count);
	preset->spec_count = count;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	it = JsonbIteratorInit(json_is_object(declared) ? declared->val.binary.data : &preset->row->root);
	while (json_is_object(declared) && (token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
		{
			JsonbValue *otherwise;

			read_declaration(preset, name, &item);
			otherwise = json_find(item.val.binary.data, "default");
			if (otherwise == NULL)
				continue;
			push_string(&state, WJB_KEY, name);
			(void) pushJsonbValue(&state, WJB_VALUE, otherwise);
		}
	}
	preset->defaults = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* A setting that holds JSON as text becomes what the text says. */
static void
push_setting(const Preset *preset, JsonbParseState **state, const SettingSpec *spec, JsonbValue *value)
{
	Jsonb	   *json = NULL;

	if (spec && spec->kind == SETTING_JSON && value->type == jbvString)
		json = text_to_json(value->val.string.val, value->val.string.len);
	if (json)
		JsonbToJsonbValue(json, value);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

Jsonb *
preset_settings(const Preset *preset, Jsonb *given)
{
	Jsonb	   *all = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(preset->defaults),
														 JsonbPGetDatum(given)));
	JsonbIterator *it = JsonbIteratorInit(&all->root);
	JsonbParseState *state = NULL;
	const SettingSpec *spec = NULL;
	JsonbIteratorToken token;
	JsonbValue	item;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			spec = find_spec(preset, item.val.string.val, item.val.string.len);
			(void) pushJsonbValue(&state, WJB_KEY, &item);
		}
		else if (token == WJB_VALUE)
			push_setting(preset, &state, spec, &item);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* -------------------------------------------------------------- request --- */

static PieceNames
names_of(const Preset *preset)
{
	PieceNames	names = {preset->name, palloc(sizeof(char *) * (preset->spec_count + 1)), 0};

	while (names.setting_count < preset->spec_count)
	{
		names.settings[names.setting_count] = preset->specs[names.setting_count].name;
		names.setting_count++;
	}
	return names;
}

static Piece *
read_piece(Preset *preset, const PieceNames *names, const char *column)
{
	char	   *source = json_text(&preset->row->root, column);
	Piece	   *piece = source ? piece_parse(names, column, source) : NULL;

	if (piece)
		preset->uses |= piece->uses;
	return piece;
}

const char *
header_name_problem(const char *name)
{
	static const char *const ours[] = {
		"connection", "content-length", "expect", "host", "transfer-encoding",
		"webhook-id", "webhook-signature", "webhook-timestamp"
	};
	const char *at;
	size_t		i;

	for (at = name; *at; at++)
		if ((unsigned char) *at >= 0x7f || *at <= ' ' || strchr("()<>@,;:\\\"/[]?={}", *at))
			break;
	if (*name == '\0' || *at)
		return psprintf("\"%s\" is not a header name.", name);
	for (i = 0; i < lengthof(ours); i++)
		if (pg_strcasecmp(name, ours[i]) == 0)
			return psprintf("The header \"%s\" is set by notify_pg.", name);
	return NULL;
}

static void
read_header(Preset *preset, const PieceNames *names, char *name, const JsonbValue *value)
{
	char	   *part = psprintf("headers.%s", name);
	PresetHeader *header = &preset->headers[preset->header_count++];
	const char *problem = header_name_problem(name);

	if (problem)
		preset_fail(preset->name, part, problem, NULL);
	if (value->type != jbvString)
		preset_fail(preset->name, part, "It must be a string.", NULL);
	header->name = name;
	header->value = piece_parse(names, part, pnstrdup(value->val.string.val, value->val.string.len));
	preset->uses |= header->value->uses;
}

static void
read_headers(Preset *preset, const PieceNames *names)
{
	JsonbValue *headers = json_find(&preset->row->root, "headers");
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	char	   *name = NULL;

	if (!json_is_object(headers))
		return;
	preset->headers = palloc0(sizeof(PresetHeader) * (JsonContainerSize(headers->val.binary.data) + 1));
	it = JsonbIteratorInit(headers->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
			read_header(preset, names, name, &item);
	}
}

static void
read_hosts(Preset *preset)
{
	JsonbValue *hosts = json_find(&preset->row->root, "hosts");
	int			count = json_is_array(hosts) ? JsonContainerSize(hosts->val.binary.data) : 0;
	int			i;

	preset->hosts = palloc0(sizeof(char *) * (count + 1));
	for (i = 0; i < count; i++)
	{
		JsonbValue *host = getIthJsonbValueFromContainer(hosts->val.binary.data, i);

		if (host && host->type == jbvString)
			preset->hosts[preset->host_count++] = pnstrdup(host->val.string.val, host->val.string.len);
	}
}

static void
read_auth(Preset *preset, const PieceNames *names)
{
	JsonbValue *auth = json_find(&preset->row->root, "auth");

	if (auth == NULL)
		return;
	if (!json_is_object(auth))
		preset_fail(preset->name, "auth", "It must be an object, such as {\"scheme\": \"bearer\", \"token\": \"{{ settings.token }}\"}.", NULL);
	preset->auth = auth_read(names, auth->val.binary.data,
							 preset->body && (preset->body->uses & USES_SIGNATURE));
	preset->uses |= preset->auth->uses;
}

static void
read_request(Preset *preset)
{
	PieceNames	names = names_of(preset);
	char	   *version = json_text(&preset->row->root, "http_version");

	preset->method = json_text(&preset->row->root, "method");
	if (preset->method == NULL)
		preset->method = pstrdup("POST");
	preset->http2 = version && strcmp(version, "2") == 0;
	preset->url = read_piece(preset, &names, "url");
	read_hosts(preset);
	if (preset->url == NULL && find_spec(preset, "url", 3) == NULL && preset->host_count == 0)
		preset_fail(preset->name, "url", "It is missing.",
					"Without a URL the address is the URL, and hosts says which are allowed; or declare a setting \"url\".");
	read_headers(preset, &names);
	preset->body = read_piece(preset, &names, "body");
	read_auth(preset, &names);
	if ((preset->uses & USES_SIGNATURE) && (preset->auth == NULL || !preset->auth->before))
		preset_fail(preset->name, "body", "It uses signature, but nothing signs before the body is written.",
					"The auth scheme hmac does.");
	preset->reply = reply_read(preset->name, preset->row);
}

Preset *
preset_read(Jsonb *row, const SettingSpec *specs, int count)
{
	Preset	   *preset = palloc0(sizeof(Preset));

	preset->row = row;
	preset->name = json_text(&row->root, "name");
	if (preset->name == NULL)
		preset->name = pstrdup("");
	preset->engine = preset_engine(row);
	read_settings(preset, specs, count);
	if (strcmp(preset->engine, "http") == 0 || strcmp(preset->engine, "webpush") == 0)
		read_request(preset);
	return preset;
}

bool
host_among(const char *host, char *const *hosts, int count)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		const char *allowed = hosts[i];
		size_t		length = strlen(host);

		if (strcmp(allowed, "*") == 0 || pg_strcasecmp(allowed, host) == 0)
			return true;
		if (strncmp(allowed, "*.", 2) == 0 && length > strlen(allowed) - 1 &&
			pg_strcasecmp(host + length - (strlen(allowed) - 1), allowed + 1) == 0)
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------- probe --- */

static Letter
probe_letter(const char *word)
{
	Letter		letter = {0};
	JsonbParseState *state = NULL;

	letter.message = 1;
	letter.event = 1;
	letter.attempt = 1;
	letter.type = letter.recipient = letter.address = letter.subject = word;
	letter.body = letter.html = word;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "id");
	push_string(&state, WJB_VALUE, word);
	push_string(&state, WJB_KEY, "parameters");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "k");
	push_string(&state, WJB_VALUE, word);
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	letter.template = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	letter.data = letter.template;
	letter.unsubscribe = "token";
	letter.files = palloc0(sizeof(LetterFile));
	letter.files->filename = word;
	letter.files->type = word;
	letter.files->cid = "cid";
	letter.file_count = 1;
	return letter;
}

/* Settings to try a preset with: the defaults, and a plain word for the rest */
static Jsonb *
probe_settings(const Preset *preset)
{
	JsonbParseState *state = NULL;
	Jsonb	   *words;
	int			i;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (i = 0; i < preset->spec_count; i++)
	{
		const SettingSpec *spec = &preset->specs[i];

		if (!spec->required || spec->kind == SETTING_JSON || spec->kind == SETTING_STRINGS ||
			spec->kind == SETTING_LIST)
			continue;
		push_string(&state, WJB_KEY, spec->name);
		push_string(&state, WJB_VALUE, spec->kind == SETTING_INTEGER ? "1" :
					spec->kind == SETTING_URL ? "https://host.example" : "x");
	}
	words = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(words),
											  JsonbPGetDatum(preset->defaults)));
}

static Jsonb *
probe_scope(const Preset *preset, const char *word)
{
	Letter		letter = probe_letter(word);
	Request		request = {0};

	request.now_ms = INT64CONST(1714566600000);
	request.nonce = "0123456789abcdef0123456789abcdef";
	request.signature = "c2lnbmVk";
	return scope_build(probe_settings(preset), &letter, &request, (USES_LETTER | USES_FILES) & ~USES_SENT);
}

static void
probe_url(const Preset *preset, Jsonb *plain, Jsonb *hostile)
{
	const char *fine;
	const char *bad;
	char	   *origin;
	char	   *other;

	if (preset->url == NULL || preset->host_count > 0)
		return;
	fine = piece_text(preset->url, plain);
	bad = piece_text(preset->url, hostile);
	origin = url_problem(fine) == NULL ? url_origin(fine) : NULL;
	if (origin == NULL)
		preset_fail(preset->name, "url", psprintf("\"%s\" is not a well-formed URL.", fine),
					"It must come to something like https://host.example/path.");
	if (strstr(bad, HOSTILE_IN_URL))
		preset_fail(preset->name, "url", "A word of the message gets into it as it is.",
					"Use the filter url_encode: {{ address | url_encode }}.");
	other = url_origin(bad);
	if (other == NULL || strcmp(origin, other) != 0)
		preset_fail(preset->name, "url", "A message decides to which host it goes.",
					"List the hosts it may choose in the column hosts.");
}

/* What the body is, in lower case: the content type of the headers */
static const char *
body_type(const Preset *preset, Jsonb *scope)
{
	int			i;

	for (i = 0; i < preset->header_count; i++)
		if (pg_strcasecmp(preset->headers[i].name, "content-type") == 0)
			return piece_text(preset->headers[i].value, scope);
	return "application/json";
}

static void
probe_body(const Preset *preset, Jsonb *hostile)
{
	const char *type = body_type(preset, hostile);
	const char *body = piece_text(preset->body, hostile);
	const char *raw = NULL;

	if (body == NULL || *body == '\0')
		return;
	if (strstr(type, "json"))
	{
		if (text_to_json(body, strlen(body)) == NULL)
			preset_fail(preset->name, "body", "It is no JSON when a word of the message has quotes or line breaks in it.",
						"Use the filter json, without quotes around it: {\"text\": {{ message.body | json }}}.");
		return;
	}
	if (strstr(type, "x-www-form-urlencoded"))
		raw = HOSTILE_IN_FORM;
	else if (strstr(type, "xml"))
		raw = HOSTILE_IN_XML;
	if (raw && strstr(body, raw))
		preset_fail(preset->name, "body", "A word of the message gets into it as it is.",
					raw[0] == '&' ? "Use the filter url_encode." : "Use the filter escape.");
}

void
preset_probe(Preset *preset)
{
	Jsonb	   *hostile;

	if (preset->url == NULL && preset->body == NULL)
		return;
	hostile = probe_scope(preset, HOSTILE);
	probe_url(preset, probe_scope(preset, "x"), hostile);
	probe_body(preset, hostile);
}
