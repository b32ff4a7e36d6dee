/*
 * check.c
 *		The channel room's SQL functions: validation of rows when they are saved.
 */
#include "postgres.h"

#include "channel/channel.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(notify_check_provider);
PG_FUNCTION_INFO_V1(notify_check_address);

/* notify._check_provider(adapter text, settings jsonb) */
Datum
notify_check_provider(PG_FUNCTION_ARGS)
{
	provider_check(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_JSONB_P(1));
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
