/*
 * check.c
 *		The channel room's SQL functions: validation of rows when they are saved.
 */
#include "postgres.h"

#include "channel/channel.h"
#include "channel/settings.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(notify_check_preset);
PG_FUNCTION_INFO_V1(notify_check_provider);
PG_FUNCTION_INFO_V1(notify_check_settings);
PG_FUNCTION_INFO_V1(notify_check_address);
PG_FUNCTION_INFO_V1(notify_in_script);

/* notify._check_preset(preset jsonb) */
Datum
notify_check_preset(PG_FUNCTION_ARGS)
{
	preset_check(PG_GETARG_JSONB_P(0));
	PG_RETURN_VOID();
}

/* notify._check_provider(preset jsonb, settings jsonb) */
Datum
notify_check_settings(PG_FUNCTION_ARGS)
{
	provider_check(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1));
	PG_RETURN_VOID();
}

/* notify._check_address(channel text, address text) */
Datum
notify_check_address(PG_FUNCTION_ARGS)
{
	address_check(text_to_cstring(PG_GETARG_TEXT_PP(0)),
				  text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

/* notify._in_script() returns boolean */
Datum
notify_in_script(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(creating_extension);
}

/*
 * notify._check_provider(adapter text, settings jsonb) of 0.1.0, whose objects
 * call it until the extension is updated: its adapters as the presets they are.
 */
Datum
notify_check_provider(PG_FUNCTION_ARGS)
{
	static const char *const adapters[] = {
		"{\"name\": \"webhook\", \"engine\": \"http\", \"hosts\": [\"*\"], \"settings\": {\"url\": {\"kind\": \"url\"}, \"signing_secret\": {}}}",
		"{\"name\": \"smtp\", \"engine\": \"smtp\"}",
		"{\"name\": \"inbox\", \"engine\": \"inbox\"}"
	};
	char	   *adapter = text_to_cstring(PG_GETARG_TEXT_PP(0));
	size_t		i;

	for (i = 0; i < lengthof(adapters); i++)
	{
		Jsonb	   *preset = text_to_json(adapters[i], strlen(adapters[i]));

		if (strcmp(json_text(&preset->root, "name"), adapter) == 0)
			provider_check(preset, PG_GETARG_JSONB_P(1));
	}
	PG_RETURN_VOID();
}
