/*
 * base64.c
 *		Base64 of RFC 4648.
 */
#include "postgres.h"

#include "liquid/base64.h"

static char
digit(int value, bool url)
{
	static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

	if (value < 62)
		return digits[value];
	if (value == 62)
		return url ? '-' : '+';
	return url ? '_' : '/';
}

static int
value_of(char c, bool url)
{
	for (int value = 0; value < 64; value++)
		if (digit(value, url) == c)
			return value;
	return -1;
}

void
liquid_base64_encode(StringInfo out, const char *data, int len, bool url)
{
	for (int i = 0; i < len; i += 3)
	{
		uint32		bits = (uint32) (unsigned char) data[i] << 16;

		if (i + 1 < len)
			bits |= (uint32) (unsigned char) data[i + 1] << 8;
		if (i + 2 < len)
			bits |= (unsigned char) data[i + 2];
		appendStringInfoChar(out, digit(bits >> 18, url));
		appendStringInfoChar(out, digit(bits >> 12 & 63, url));
		appendStringInfoChar(out, i + 1 < len ? digit(bits >> 6 & 63, url) : '=');
		appendStringInfoChar(out, i + 2 < len ? digit(bits & 63, url) : '=');
	}
}

/* Up to four digits, without padding. */
static bool
decode_group(StringInfo out, const char *text, int count, bool url)
{
	uint32		bits = 0;

	if (count == 1)
		return false;
	for (int i = 0; i < 4; i++)
	{
		int			value = i < count ? value_of(text[i], url) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | value;
	}
	for (int i = 0; i < count - 1; i++)
		appendStringInfoChar(out, (char) (bits >> (16 - 8 * i)));
	return true;
}

bool
liquid_base64_decode(StringInfo out, const char *text, int len, bool url)
{
	if (len % 4 != 0 && !url)
		return false;
	if (len % 4 == 0)
		for (int pad = 0; pad < 2 && len > 0 && text[len - 1] == '='; pad++)
			len--;
	for (int i = 0; i < len; i += 4)
		if (!decode_group(out, text + i, Min(len - i, 4), url))
			return false;
	return true;
}
