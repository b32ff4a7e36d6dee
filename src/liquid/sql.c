/*
 * sql.c
 *		Templates from SQL: rendering one, and checking one before it is saved.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "liquid/liquid.h"

PG_FUNCTION_INFO_V1(notify_render);
PG_FUNCTION_INFO_V1(notify_check_liquid);

static LiquidTemplate *
parse_text(text *source)
{
	return liquid_parse(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
}

static LiquidFormat
format_of(text *name)
{
	char	   *format = text_to_cstring(name);

	if (strcmp(format, "text") == 0)
		return LIQUID_TEXT;
	if (strcmp(format, "html") == 0)
		return LIQUID_HTML;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\"", format),
			 errhint("The formats are \"text\" and \"html\".")));
}

static void
check_object(Jsonb *value, const char *what)
{
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s of a template must be a JSON object", what)));
}

/* render(template text, data jsonb, format text, partials jsonb) returns text */
Datum
notify_render(PG_FUNCTION_ARGS)
{
	LiquidFormat format = format_of(PG_GETARG_TEXT_PP(2));
	Jsonb	   *data = PG_GETARG_JSONB_P(1);
	Jsonb	   *partials = PG_GETARG_JSONB_P(3);
	StringInfoData out;

	check_object(data, "data");
	check_object(partials, "partials");
	initStringInfo(&out);
	liquid_render(parse_text(PG_GETARG_TEXT_PP(0)), data, format, partials, &out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* _check_liquid(source text) returns void */
Datum
notify_check_liquid(PG_FUNCTION_ARGS)
{
	(void) parse_text(PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}
