/*
 * column.c
 *		One column's value as jsonb and as text.
 *
 * The result is, value for value, what to_jsonb(row) would hold; the common
 * types are written here without going through their text form.  A column is
 * safe when converting it cannot raise: built-in types with built-in output.
 * A json column is not (it may hold escapes that jsonb refuses), nor is a type
 * with a cast to json, whose function may be anybody's.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "capture/column.h"
#include "splice.h"

#define NUMBER_SIZE 16 /* jsonb bytes of a fixed-length value, roughly */

/* Without a json cast of its own, to_jsonb() shows such a type as a string. */
static ColumnForm
other_form(Oid type)
{
	Oid function;

	if (type_is_array(type) || type_is_rowtype(type) || type == RECORDARRAYOID)
		return COLUMN_TO_JSONB;
	if (type >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC)
		return COLUMN_TO_JSONB;
	return COLUMN_OUTPUT;
}

static ColumnForm
form_of(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return COLUMN_BOOL;
		case INT2OID:
			return COLUMN_INT2;
		case INT4OID:
			return COLUMN_INT4;
		case INT8OID:
			return COLUMN_INT8;
		case FLOAT4OID:
		case FLOAT8OID:
			return COLUMN_FLOAT;
		case NUMERICOID:
			return COLUMN_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return COLUMN_TEXT;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return COLUMN_TIME;
		case JSONBOID:
			return COLUMN_JSONB;
		case JSONOID:
			return COLUMN_TO_JSONB;
		default:
			return other_form(type);
	}
}

/* Built-in output functions of stored values do not raise. */
static bool
output_is_safe(Oid type)
{
	Oid	 function;
	bool is_varlena;

	getTypeOutputInfo(type, &function, &is_varlena);
	return function < FirstNormalObjectId;
}

static bool
is_safe(Oid type, ColumnForm form)
{
	Oid element = get_element_type(type);

	if (OidIsValid(element))
	{
		element = getBaseType(element);
		return form_of(element) != COLUMN_TO_JSONB && output_is_safe(element);
	}
	return form != COLUMN_TO_JSONB && output_is_safe(type);
}

/* to_jsonb() learns its argument's type from the expression it is called in. */
static void
prepare_to_jsonb(FmgrInfo *function, Oid type, int32 typmod, Oid collation)
{
	Expr *argument = (Expr *) makeVar(1, 1, type, typmod, collation, 0);
	Expr *call = (Expr *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(argument), InvalidOid,
									   InvalidOid, COERCE_EXPLICIT_CALL);

	fmgr_info(F_TO_JSONB, function);
	fmgr_info_set_expr((Node *) call, function);
}

void
column_prepare(Column *column, Form_pg_attribute attribute)
{
	Oid	 output;
	bool is_varlena;

	column->attno = attribute->attnum;
	column->name = pstrdup(NameStr(attribute->attname));
	column->name_length = strlen(column->name);
	column->type = getBaseType(attribute->atttypid);
	column->length = attribute->attlen;
	column->by_value = attribute->attbyval;
	column->form = form_of(column->type);
	column->safe = is_safe(column->type, column->form);
	getTypeOutputInfo(column->type, &output, &is_varlena);
	fmgr_info(output, &column->output);
	if (column->form == COLUMN_TO_JSONB)
		prepare_to_jsonb(&column->to_jsonb, attribute->atttypid, attribute->atttypmod,
						 attribute->attcollation);
}

char *
column_to_text(Column *column, Datum value)
{
	return OutputFunctionCall(&column->output, value);
}

static void
set_string(JsonbValue *result, char *string, int length)
{
	result->type = jbvString;
	result->val.string.val = string;
	result->val.string.len = length;
}

static void
set_number(JsonbValue *result, Numeric number)
{
	result->type = jbvNumeric;
	result->val.numeric = number;
}

/* NaN and infinities are no JSON numbers. */
static void
set_numeric(JsonbValue *result, Column *column, Datum value)
{
	Numeric number = DatumGetNumeric(value);
	char   *text;

	if (!numeric_is_nan(number) && !numeric_is_inf(number))
	{
		set_number(result, number);
		return;
	}
	text = column_to_text(column, value);
	set_string(result, text, strlen(text));
}

static void
set_float(JsonbValue *result, Column *column, Datum value)
{
	char *text = column_to_text(column, value);

	if (strpbrk(text, "NI") != NULL)
		set_string(result, text, strlen(text));
	else
		set_number(result, DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
															   ObjectIdGetDatum(InvalidOid),
															   Int32GetDatum(-1))));
}

void
column_to_jsonb(Column *column, Datum value, bool isnull, JsonbValue *result)
{
	text *string;
	char *cstring;

	if (isnull)
	{
		result->type = jbvNull;
		return;
	}
	switch (column->form)
	{
		case COLUMN_BOOL:
			result->type = jbvBool;
			result->val.boolean = DatumGetBool(value);
			break;
		case COLUMN_INT2:
			set_number(result, int64_to_numeric(DatumGetInt16(value)));
			break;
		case COLUMN_INT4:
			set_number(result, int64_to_numeric(DatumGetInt32(value)));
			break;
		case COLUMN_INT8:
			set_number(result, int64_to_numeric(DatumGetInt64(value)));
			break;
		case COLUMN_FLOAT:
			set_float(result, column, value);
			break;
		case COLUMN_NUMERIC:
			set_numeric(result, column, value);
			break;
		case COLUMN_TEXT:
			string = DatumGetTextPP(value);
			set_string(result, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
			break;
		case COLUMN_TIME:
			cstring = JsonEncodeDateTime(NULL, value, column->type, NULL);
			set_string(result, cstring, strlen(cstring));
			break;
		case COLUMN_JSONB:
			splice_whole(DatumGetJsonbP(value), result);
			break;
		case COLUMN_OUTPUT:
			cstring = column_to_text(column, value);
			set_string(result, cstring, strlen(cstring));
			break;
		case COLUMN_TO_JSONB:
			splice_whole(DatumGetJsonbP(FunctionCall1(&column->to_jsonb, value)), result);
			break;
	}
}

Size
column_size(const Column *column, Datum value)
{
	if (column->length == -1)
		return toast_raw_datum_size(value);
	return NUMBER_SIZE;
}

/* The same toast pointer needs no detoasting to be found the same. */
bool
column_same(const Column *column, Datum one, Datum other)
{
	if (column->length == -1 && one != other)
	{
		struct varlena *a = (struct varlena *) DatumGetPointer(one);
		struct varlena *b = (struct varlena *) DatumGetPointer(other);

		if (VARATT_IS_EXTERNAL_ONDISK(a) && VARATT_IS_EXTERNAL_ONDISK(b) &&
			memcmp(a, b, VARSIZE_EXTERNAL(a)) == 0)
			return true;
	}
	return datum_image_eq(one, other, column->by_value, column->length);
}
