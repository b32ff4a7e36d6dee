/*
 * settings.h
 *		Reading a provider's settings, and saying what is wrong with them.
 */
#ifndef NOTIFY_CHANNEL_SETTINGS_H
#define NOTIFY_CHANNEL_SETTINGS_H

#include "utils/jsonb.h"

#include "compat.h"

typedef enum SettingKind
{
	SETTING_STRING,
	SETTING_INTEGER,
	SETTING_STRINGS				/* an object whose values are strings */
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
	const char *adapter;
	Jsonb	   *json;
	bool		draft;			/* {"secret": "name"} may stand for a string */
} Settings;

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

/* Is the setting there at all, be it a secret? */
extern bool settings_has(const Settings *settings, const char *name);

/* Raise about one setting; the message names it, the hint may be NULL. */
pg_noreturn extern void settings_fail(const Settings *settings, const char *name,
									  const char *detail, const char *hint);

#endif							/* NOTIFY_CHANNEL_SETTINGS_H */
