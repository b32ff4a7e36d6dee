/*
 * sms.c
 *		How many segments an SMS takes.
 *
 * A text whose every character is in the GSM 7-bit default alphabet or its
 * extension table (3GPP TS 23.038, 6.2.1) is sent in septets, 160 of them, or
 * 153 in each part of a concatenated message; an extended character takes two,
 * which stay in one part.  Any other text is sent as UCS-2: 70 units of 16 bits,
 * or 67 in each part, a surrogate pair staying in one.  (Six bytes of each part
 * hold the concatenation header.)
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(notify_sms_length);

/* By position; what is beyond ASCII by code point.  0x1B leads to the extension table. */
static const uint16 basic[] = {
	'@', 0xA3, '$', 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, '\n', 0xD8, 0xF8, '\r', 0xC5, 0xE5,
	0x394, '_', 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, 0xC6, 0xE6, 0xDF, 0xC9,
	' ', '!', '"', '#', 0xA4, '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
	'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
	0xA1, 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
	'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 0xC4, 0xD6, 0xD1, 0xDC, 0xA7,
	0xBF, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
	'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 0xE4, 0xF6, 0xF1, 0xFC, 0xE0
};
static const uint16 extended[] = {'\f', '^', '{', '}', '\\', '[', '~', ']', '|', 0x20AC};

typedef struct Encoding
{
	const char *name;
	int			(*units) (pg_wchar c);	/* 0: it cannot hold the character */
	int			single;			/* units of a message in one part */
	int			part;			/* units of each of several */
} Encoding;

typedef struct SmsLength
{
	const Encoding *encoding;
	int			characters;
	int			units;
	int			segments;
} SmsLength;

static bool
is_in(const uint16 *table, int count, pg_wchar c)
{
	for (int i = 0; i < count; i++)
		if (table[i] == c)
			return true;
	return false;
}

static int
gsm_units(pg_wchar c)
{
	if (is_in(basic, lengthof(basic), c))
		return 1;
	return is_in(extended, lengthof(extended), c) ? 2 : 0;
}

static int
ucs2_units(pg_wchar c)
{
	return c > 0xFFFF ? 2 : 1;
}

static const Encoding gsm = {"GSM-7", gsm_units, 160, 153};
static const Encoding ucs2 = {"UCS-2", ucs2_units, 70, 67};

/* False when the encoding cannot hold the text. */
static bool
measure(const pg_wchar *text, int count, const Encoding *encoding, SmsLength *length)
{
	int			parts = count > 0 ? 1 : 0;
	int			in_part = 0;

	memset(length, 0, sizeof(*length));
	length->encoding = encoding;
	length->characters = count;
	for (int i = 0; i < count; i++)
	{
		int			units = encoding->units(text[i]);

		if (units == 0)
			return false;
		length->units += units;
		if (in_part + units > encoding->part)
		{
			parts++;
			in_part = 0;
		}
		in_part += units;
	}
	length->segments = length->units <= encoding->single ? Min(parts, 1) : parts;
	return true;
}

/* sms_length(body) returns (encoding, characters, units, segments) */
Datum
notify_sms_length(PG_FUNCTION_ARGS)
{
	text	   *body = PG_GETARG_TEXT_PP(0);
	int			len = VARSIZE_ANY_EXHDR(body);
	pg_wchar   *wide = palloc_extended((len + 1) * sizeof(pg_wchar), MCXT_ALLOC_HUGE);
	int			count = pg_mb2wchar_with_len(VARDATA_ANY(body), wide, len);
	SmsLength	length;
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!measure(wide, count, &gsm, &length))
		(void) measure(wide, count, &ucs2, &length);
	values[0] = CStringGetTextDatum(length.encoding->name);
	values[1] = Int32GetDatum(length.characters);
	values[2] = Int32GetDatum(length.units);
	values[3] = Int32GetDatum(length.segments);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
