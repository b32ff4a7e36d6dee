/*
 * settings.c
 *		Reading a provider's settings, and saying what is wrong with them.
 *
 * An adapter describes its settings in a table; everything is checked against
 * it, and what the table does not know is refused, so that a misspelt setting
 * is not silently without effect.  A string may be written as
 * {"secret": "name"}: a draft (a row being saved) may hold that form, the
 * settings a worker opens have the secret's value in its place.
 *
 * No message shows the value of a setting: it may be a secret.
 */
#include "postgres.h"

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
			 errmsg("invalid setting \"%s\" for a provider of adapter \"%s\"",
					name, settings->adapter),
			 errdetail("%s", detail),
			 errhint("%s", hint ? hint : "docs/channels.md says what each setting may be.")));
	pg_unreachable();
}

static JsonbValue *
find_key(JsonbContainer *container, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(container, JB_FOBJECT, &key);
}

/* The value of a setting; NULL when it is not there or is null */
static JsonbValue *
find_setting(const Settings *settings, const char *name)
{
	JsonbValue *value = find_key(&settings->json->root, name);

	return value && value->type != jbvNull ? value : NULL;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
is_secret(const JsonbValue *value)
{
	JsonbValue *name;

	if (!is_object(value) || JsonContainerSize(value->val.binary.data) != 1)
		return false;
	name = find_key(value->val.binary.data, "secret");
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

static void
check_string(const Settings *settings, const char *name, const JsonbValue *value)
{
	if (is_secret(value))
	{
		if (!settings->draft)
			settings_fail(settings, name, "The secret it names has no value.",
						  "Give the secret a value in notify.secret.");
		return;
	}
	if (value->type != jbvString)
		settings_fail(settings, name, "It must be a string, or {\"secret\": \"name\"}.", NULL);
	if (value->val.string.len == 0)
		settings_fail(settings, name, "It is empty.", "Leave it out instead.");
	if (has_control(value->val.string.val, value->val.string.len))
		settings_fail(settings, name, "It contains a control character.", NULL);
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

	if (!is_object(value))
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
		return pstrdup("This adapter has no settings.");
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

	if (!JB_ROOT_IS_OBJECT(settings->json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("settings of a provider must be a JSON object")));
	it = JsonbIteratorInit(&settings->json->root);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_KEY)
			check_known(settings, &item, specs, count);
	for (i = 0; i < count; i++)
		check_one(settings, &specs[i]);
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
