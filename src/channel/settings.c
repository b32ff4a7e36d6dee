/*
 * settings.c
 *		Reading a provider's settings, and saying what is wrong with them.
 *
 * A table describes the settings; everything is checked against it, and what
 * the table does not know is refused, so that a misspelt setting
 * is not silently without effect.  A string may be written as
 * {"secret": "name"}: a draft (a row being saved) may hold that form, the
 * settings a worker opens have the secret's value in its place.
 *
 * No message shows the value of a setting: it may be a secret.
 */
#include "postgres.h"

#include "channel/address.h"
#include "channel/settings.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

void
settings_fail(const Settings *settings, const char *name,
			  const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid setting \"%s\" for a provider of preset \"%s\"",
					name, settings->preset),
			 errdetail("%s", detail),
			 errhint("%s", hint ? hint : "docs/channels.md says what each setting may be.")));
	pg_unreachable();
}

static const char *const kind_names[] = {
	"string", "text", "url", "json", "integer", "strings", "list"
};

bool
setting_kind(const char *name, SettingKind *kind)
{
	size_t		i;

	for (i = 0; i < lengthof(kind_names); i++)
		if (strcmp(kind_names[i], name) == 0)
		{
			*kind = (SettingKind) i;
			return true;
		}
	return false;
}

const char *
setting_kinds(void)
{
	return "A kind is string, text, url, json, integer, strings or list.";
}

JsonbValue *
json_find(JsonbContainer *container, const char *name)
{
	JsonbValue	key;
	JsonbValue *value;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	value = findJsonbValueFromContainer(container, JB_FOBJECT, &key);
	return value && value->type != jbvNull ? value : NULL;
}

char *
json_text(JsonbContainer *container, const char *name)
{
	JsonbValue *value = json_find(container, name);

	return value && value->type == jbvString ?
		pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

bool
json_is_object(const JsonbValue *value)
{
	return value && value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

bool
json_is_array(const JsonbValue *value)
{
	return value && value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
}

Jsonb *
text_to_json(const char *text, int length)
{
	MemoryContext cxt = CurrentMemoryContext;
	char	   *copy = pnstrdup(text, length);
	Jsonb	   *volatile json = NULL;

	PG_TRY();
	{
		json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
	}
	PG_END_TRY();
	return json;
}

/* The value of a setting; NULL when it is not there or is null */
static JsonbValue *
find_setting(const Settings *settings, const char *name)
{
	return json_find(&settings->json->root, name);
}

static bool
is_secret(const JsonbValue *value)
{
	JsonbValue *name;

	if (!json_is_object(value) || JsonContainerSize(value->val.binary.data) != 1)
		return false;
	name = json_find(value->val.binary.data, "secret");
	return name && name->type == jbvString && name->val.string.len > 0;
}

static bool
has_control(const char *text, int length)
{
	int			i;

	for (i = 0; i < length; i++)
		if ((unsigned char) text[i] < ' ' || text[i] == 0x7f)
			return true;
	return false;
}

/* Is it the name of a secret instead of a value? */
static bool
stands_for_secret(const Settings *settings, const char *name, const JsonbValue *value)
{
	if (!is_secret(value))
		return false;
	if (!settings->draft)
		settings_fail(settings, name, "The secret it names has no value.",
					  "Give the secret a value in notify.secret.");
	return true;
}

static void
check_text(const Settings *settings, const char *name, const JsonbValue *value)
{
	if (value->type != jbvString)
		settings_fail(settings, name, "It must be a string, or {\"secret\": \"name\"}.", NULL);
	if (value->val.string.len == 0)
		settings_fail(settings, name, "It is empty.", "Leave it out instead.");
}

static void
check_string(const Settings *settings, const char *name, const JsonbValue *value)
{
	if (stands_for_secret(settings, name, value))
		return;
	check_text(settings, name, value);
	if (has_control(value->val.string.val, value->val.string.len))
		settings_fail(settings, name, "It contains a control character.", NULL);
}

static void
check_url(const Settings *settings, const char *name, const JsonbValue *value)
{
	const char *problem;

	if (stands_for_secret(settings, name, value))
		return;
	check_string(settings, name, value);
	problem = url_problem(pnstrdup(value->val.string.val, value->val.string.len));
	if (problem)
		settings_fail(settings, name, problem, NULL);
}

static void
check_json(const Settings *settings, const char *name, const JsonbValue *value)
{
	Jsonb	   *json;

	if (stands_for_secret(settings, name, value) || json_is_object(value))
		return;
	check_text(settings, name, value);
	json = text_to_json(value->val.string.val, value->val.string.len);
	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		settings_fail(settings, name, "It is not the text of a JSON object.", NULL);
}

static void
check_list(const Settings *settings, const char *name, const JsonbValue *value)
{
	int			count = json_is_array(value) ? JsonContainerSize(value->val.binary.data) : 0;
	int			i;

	if (!json_is_array(value))
		settings_fail(settings, name, "It must be an array of strings.", NULL);
	for (i = 0; i < count; i++)
		check_string(settings, name, getIthJsonbValueFromContainer(value->val.binary.data, i));
}

static void
check_integer(const Settings *settings, const SettingSpec *spec, const JsonbValue *value)
{
	char	   *range = psprintf("It must be an integer from " INT64_FORMAT " to " INT64_FORMAT ".",
								 spec->minimum, spec->maximum);
	Datum		number;

	if (value->type != jbvNumeric || numeric_is_nan(value->val.numeric))
		settings_fail(settings, spec->name, range, NULL);
	number = NumericGetDatum(value->val.numeric);
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number,
										  DirectFunctionCall1(numeric_floor, number))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, number,
										 NumericGetDatum(int64_to_numeric(spec->minimum)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, number,
										 NumericGetDatum(int64_to_numeric(spec->maximum)))))
		settings_fail(settings, spec->name, range, NULL);
}

static void
check_strings(const Settings *settings, const char *name, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (!json_is_object(value))
		settings_fail(settings, name, "It must be an object whose values are strings.", NULL);
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY && has_control(item.val.string.val, item.val.string.len))
			settings_fail(settings, name, "A name in it contains a control character.", NULL);
		if (token == WJB_VALUE)
			check_string(settings, name, &item);
	}
}

static void
check_one(const Settings *settings, const SettingSpec *spec)
{
	JsonbValue *value = find_setting(settings, spec->name);

	if (value == NULL)
	{
		if (spec->required)
			settings_fail(settings, spec->name, "It is missing.", NULL);
		return;
	}
	switch (spec->kind)
	{
		case SETTING_STRING:
			check_string(settings, spec->name, value);
			break;
		case SETTING_TEXT:
			if (!stands_for_secret(settings, spec->name, value))
				check_text(settings, spec->name, value);
			break;
		case SETTING_URL:
			check_url(settings, spec->name, value);
			break;
		case SETTING_JSON:
			check_json(settings, spec->name, value);
			break;
		case SETTING_LIST:
			check_list(settings, spec->name, value);
			break;
		case SETTING_INTEGER:
			check_integer(settings, spec, value);
			break;
		case SETTING_STRINGS:
			check_strings(settings, spec->name, value);
			break;
	}
}

static char *
known_names(const SettingSpec *specs, int count)
{
	StringInfoData names;
	int			i;

	if (count == 0)
		return pstrdup("This preset has no settings.");
	initStringInfo(&names);
	appendStringInfoString(&names, "The settings are ");
	for (i = 0; i < count; i++)
		appendStringInfo(&names, "%s%s", i ? ", " : "", specs[i].name);
	appendStringInfoChar(&names, '.');
	return names.data;
}

static void
check_known(const Settings *settings, const JsonbValue *key,
			const SettingSpec *specs, int count)
{
	int			i;

	for (i = 0; i < count; i++)
		if (strlen(specs[i].name) == key->val.string.len &&
			memcmp(specs[i].name, key->val.string.val, key->val.string.len) == 0)
			return;
	settings_fail(settings, pnstrdup(key->val.string.val, key->val.string.len),
				  "There is no such setting.", known_names(specs, count));
}

void
settings_check(const Settings *settings, const SettingSpec *specs, int count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	int			i;

	it = JsonbIteratorInit(&settings->json->root);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_KEY)
			check_known(settings, &item, specs, count);
	for (i = 0; i < count; i++)
		check_one(settings, &specs[i]);
}

bool
settings_name_secrets(const Settings *settings)
{
	JsonbIterator *it = JsonbIteratorInit(&settings->json->root);
	JsonbIteratorToken token;
	JsonbValue	item;

	while ((token = JsonbIteratorNext(&it, &item, false)) != WJB_DONE)
		if (token == WJB_KEY && item.val.string.len == 6 &&
			memcmp(item.val.string.val, "secret", 6) == 0)
			return true;
	return false;
}

bool
settings_has(const Settings *settings, const char *name)
{
	return find_setting(settings, name) != NULL;
}

static char *
string_value(const JsonbValue *value)
{
	return value->type == jbvString ?
		pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

char *
settings_string(const Settings *settings, const char *name)
{
	JsonbValue *value = find_setting(settings, name);

	return value ? string_value(value) : NULL;
}

int
settings_integer(const Settings *settings, const char *name, int otherwise)
{
	JsonbValue *value = find_setting(settings, name);

	if (value == NULL)
		return otherwise;
	return DatumGetInt32(DirectFunctionCall1(numeric_int4,
											 NumericGetDatum(value->val.numeric)));
}

int
settings_strings(const Settings *settings, const char *name,
				 char ***names, char ***values)
{
	JsonbValue *value = find_setting(settings, name);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;
	int			count = 0;

	if (value == NULL)
		return 0;
	*names = palloc0(sizeof(char *) * (JsonContainerSize(value->val.binary.data) + 1));
	*values = palloc0(sizeof(char *) * (JsonContainerSize(value->val.binary.data) + 1));
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			(*names)[count] = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
			(*values)[count++] = string_value(&item);
	}
	return count;
}

int
settings_list(const Settings *settings, const char *name, char ***values)
{
	JsonbValue *value = find_setting(settings, name);
	int			count = value ? JsonContainerSize(value->val.binary.data) : 0;
	int			i;

	*values = palloc0(sizeof(char *) * (count + 1));
	for (i = 0; i < count; i++)
		(*values)[i] = string_value(getIthJsonbValueFromContainer(value->val.binary.data, i));
	return count;
}
