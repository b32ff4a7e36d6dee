/*
 * settings.h
 *		Reading a provider's settings, and saying what is wrong with them.
 *
 * What settings there are is said by the engine (in C) and by the preset (in
 * its row).
 */
#ifndef NOTIFY_CHANNEL_SETTINGS_H
#define NOTIFY_CHANNEL_SETTINGS_H

#include "utils/jsonb.h"

#include "compat.h"

typedef enum SettingKind
{
	SETTING_STRING,				/* on one line */
	SETTING_TEXT,				/* may have line breaks, such as a key in PEM */
	SETTING_URL,
	SETTING_JSON,				/* text that holds a JSON object, or the object */
	SETTING_INTEGER,
	SETTING_STRINGS,			/* an object whose values are strings */
	SETTING_LIST				/* an array of strings */
} SettingKind;

typedef struct SettingSpec
{
	const char *name;
	SettingKind kind;
	bool		required;
	int64		minimum;		/* of an integer */
	int64		maximum;
} SettingSpec;

typedef struct Settings
{
	const char *preset;			/* its name */
	Jsonb	   *json;
	bool		draft;			/* {"secret": "name"} may stand for a string */
} Settings;

/* The word for a kind ("string", "url", …), and back; false when there is none */
extern bool setting_kind(const char *name, SettingKind *kind);
extern const char *setting_kinds(void);

/* A member of a JSON object; NULL when it is not there or is null */
extern JsonbValue *json_find(JsonbContainer *container, const char *name);

/* Its text, palloc'd; NULL when it is not there or no string */
extern char *json_text(JsonbContainer *container, const char *name);

/* What JSON text says; NULL when it is none.  Runs no SQL and leaves no error. */
extern Jsonb *text_to_json(const char *text, int length);
extern bool json_is_object(const JsonbValue *value);
extern bool json_is_array(const JsonbValue *value);

/* Raise unless there is nothing but what the specs know, of the right kind. */
extern void settings_check(const Settings *settings, const SettingSpec *specs, int count);

/* NULL when it is not there, or is a secret not yet known */
extern char *settings_string(const Settings *settings, const char *name);
extern int	settings_integer(const Settings *settings, const char *name, int otherwise);

/*
 * Names and values of an object; the count is returned.  The value of a secret
 * not yet known is NULL.
 */
extern int	settings_strings(const Settings *settings, const char *name,
							 char ***names, char ***values);

/* The same for an array of strings */
extern int	settings_list(const Settings *settings, const char *name, char ***values);

/* Is the setting there at all, be it a secret? */
extern bool settings_has(const Settings *settings, const char *name);

/* Does any setting name a secret instead of holding it? */
extern bool settings_name_secrets(const Settings *settings);

/* Raise about one setting; the message names it, the hint may be NULL. */
pg_noreturn extern void settings_fail(const Settings *settings, const char *name,
									  const char *detail, const char *hint);

#endif							/* NOTIFY_CHANNEL_SETTINGS_H */
