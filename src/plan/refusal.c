/*
 * refusal.c
 *		What people do not want: notify.preference and notify.suppression.
 *
 * Asked for every message that is planned, so both tables are asked through their
 * indexes: a look at an empty one costs next to nothing.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/fmgroids.h"
#include "utils/formatting.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "plan/refusal.h"
#include "rows.h"

PG_FUNCTION_INFO_V1(notify_refused);
PG_FUNCTION_INFO_V1(notify_address_hash);

typedef enum PreferenceColumn
{
	P_CATEGORY, P_CHANNEL, P_ALLOWED, P_COUNT
} PreferenceColumn;

static const RowsShape preference_shape = {
	"preference", P_COUNT, {"category", "channel", "allowed"},
	1, {"recipient"}, {F_TEXTEQ}, true
};

typedef enum SuppressionColumn
{
	S_REASON, S_UNTIL, S_COUNT
} SuppressionColumn;

static const RowsShape suppression_shape = {
	"suppression", S_COUNT, {"reason", "until"},
	2, {"channel", "address_hash"}, {F_TEXTEQ, F_BYTEAEQ}, true
};

struct Refusals
{
	TimestampTz now;
	Rows	   *preferences;
	Rows	   *suppressions;
};

Refusals *
refusals_open(Snapshot snapshot)
{
	Refusals   *refusals = palloc(sizeof(Refusals));

	refusals->now = notify_now();
	refusals->preferences = rows_open(&preference_shape, snapshot, AccessShareLock);
	refusals->suppressions = rows_open(&suppression_shape, snapshot, AccessShareLock);
	return refusals;
}

void
refusals_close(Refusals *refusals)
{
	rows_close(refusals->preferences);
	rows_close(refusals->suppressions);
}

/* How closely a row's word fits: 2 by name, 1 as "*", 0 not at all. */
static int
fit(Datum column, const char *name)
{
	const char *word = TextDatumGetCString(column);

	if (name != NULL && strcmp(word, name) == 0)
		return 2;
	return strcmp(word, "*") == 0 ? 1 : 0;
}

/* The channel by name counts before the category by name. */
static bool
unsubscribed(Refusals *refusals, const char *recipient, const char *category, const char *channel)
{
	Datum		key = CStringGetTextDatum(recipient);
	Datum		values[P_COUNT];
	bool		nulls[P_COUNT];
	int			best = 0;
	bool		allowed = true;

	rows_seek(refusals->preferences, &key);
	while (rows_next(refusals->preferences, values, nulls))
	{
		int			by_category = fit(values[P_CATEGORY], category);
		int			by_channel = fit(values[P_CHANNEL], channel);
		int			rank = by_channel * 4 + by_category;

		if (by_category == 0 || by_channel == 0 || rank <= best)
			continue;
		best = rank;
		allowed = DatumGetBool(values[P_ALLOWED]);
	}
	return !allowed;
}

/* Of the address in lower case, in UTF-8. */
static Datum
address_hash(const char *address)
{
	char	   *lower = str_tolower(address, strlen(address), DEFAULT_COLLATION_OID);
	char	   *utf8 = pg_server_to_any(lower, strlen(lower), PG_UTF8);

	return DirectFunctionCall1(sha256_bytea, CStringGetTextDatum(utf8));
}

/* The first of those in force, by name. */
static const char *
suppressed(Refusals *refusals, const char *channel, const char *address)
{
	Datum		keys[] = {CStringGetTextDatum(channel), address_hash(address)};
	Datum		values[S_COUNT];
	bool		nulls[S_COUNT];
	const char *found = NULL;

	rows_seek(refusals->suppressions, keys);
	while (rows_next(refusals->suppressions, values, nulls))
	{
		const char *reason;

		if (!nulls[S_UNTIL] && DatumGetTimestampTz(values[S_UNTIL]) <= refusals->now)
			continue;
		reason = TextDatumGetCString(values[S_REASON]);
		if (found == NULL || strcmp(reason, found) < 0)
			found = reason;
	}
	return found;
}

const char *
refusal(Refusals *refusals, const char *recipient, const char *category, const char *channel,
		const char *address)
{
	if (recipient != NULL && unsubscribed(refusals, recipient, category, channel))
		return "unsubscribed";
	return channel != NULL && address != NULL ? suppressed(refusals, channel, address) : NULL;
}

/* ----------------------------------------------------- what SQL sees of it --- */

/* address_hash(address) */
Datum
notify_address_hash(PG_FUNCTION_ARGS)
{
	return address_hash(text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

static const char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* _refused(recipient, category, channel, address) */
Datum
notify_refused(PG_FUNCTION_ARGS)
{
	Refusals   *refusals = refusals_open(GetActiveSnapshot());
	const char *reason = refusal(refusals, text_or_null(fcinfo, 0), text_or_null(fcinfo, 1),
								 text_or_null(fcinfo, 2), text_or_null(fcinfo, 3));

	refusals_close(refusals);
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
