/*
 * serving.c
 *		Which providers serve which channel now.
 *
 * Of a channel's enabled providers those without a problem come before those with
 * one, those whose breaker is closed before those whose is open, and then the
 * lower priority before the higher: the first by these three, and all that are equal
 * to it, serve the channel.  Every batch that is planned asks, so the few rows
 * there are are read through an index, without an executor.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "dispatch/gate.h"
#include "plan/serving.h"
#include "rows.h"

PG_FUNCTION_INFO_V1(notify_serving);

typedef enum ProviderColumn
{
	P_ID, P_CHANNEL, P_PRESET, P_SETTINGS, P_PRIORITY, P_WEIGHT, P_COST, P_PROBLEM, P_ENABLED, P_COUNT
} ProviderColumn;

static const RowsShape provider_shape = {
	"provider", P_COUNT,
	{"id", "channel", "preset", "settings", "priority", "weight", "cost", "problem", "enabled"},
	1, {"id"}, {F_INT4EQ}, true
};

static const RowsShape preset_shape = {
	"preset", 1, {"addressed"}, 1, {"name"}, {F_TEXTEQ}, true
};

/* ------------------------------------------------------------- providers --- */

static bool
is_open(int provider)
{
	for (int i = 0; i < gates_count(); i++)
	{
		Gate		gate;

		if (gate_copy(i, MyDatabaseId, &gate) && gate.provider == provider)
			return gate.open;
	}
	return false;
}

/* Settings may name the URL; else the preset says whether an address is needed. */
static bool
has_url(Rows *presets, Datum preset, Jsonb *settings)
{
	JsonbValue	url;
	Datum		addressed;
	bool		isnull;

	if (JB_ROOT_IS_OBJECT(settings) && getKeyJsonValueFromContainer(&settings->root, "url", 3, &url) != NULL)
		return true;
	return rows_fetch(presets, 0, &preset, &addressed, &isnull) && !DatumGetBool(addressed);
}

static Server *
make_server(Rows *presets, const Datum *values, const bool *nulls)
{
	Server	   *server = palloc0(sizeof(Server));

	server->channel = TextDatumGetCString(values[P_CHANNEL]);
	server->provider = DatumGetInt32(values[P_ID]);
	server->broken = !nulls[P_PROBLEM];
	server->open = is_open(server->provider);
	server->priority = DatumGetInt32(values[P_PRIORITY]);
	server->has_url = has_url(presets, values[P_PRESET], DatumGetJsonbP(values[P_SETTINGS]));
	server->weight = DatumGetInt32(values[P_WEIGHT]);
	server->has_cost = !nulls[P_COST];
	if (server->has_cost)
		server->cost = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[P_COST]));
	return server;
}

static int
compare(const Server *one, const Server *other)
{
	if (one->broken != other->broken)
		return one->broken ? 1 : -1;
	if (one->open != other->open)
		return one->open ? 1 : -1;
	return one->priority < other->priority ? -1 : one->priority > other->priority;
}

/* -------------------------------------------------------------- channels --- */

static Serving *
find_channel(List **channels, const char *name)
{
	Serving    *serving;
	ListCell   *cell;

	foreach(cell, *channels)
	{
		serving = lfirst(cell);
		if (strcmp(serving->channel, name) == 0)
			return serving;
	}
	serving = palloc0(sizeof(Serving));
	serving->channel = name;
	*channels = lappend(*channels, serving);
	return serving;
}

/* Better than those there are, equal to them, or of no use.  Providers come by their ids. */
static void
enter(List **channels, Server *server)
{
	Serving    *serving = find_channel(channels, server->channel);
	int			order = serving->servers == NIL ? -1 : compare(server, serving_first(serving));

	if (order < 0)
		serving->servers = NIL;
	if (order <= 0)
		serving->servers = lappend(serving->servers, server);
}

static void
sum_up(Serving *serving)
{
	ListCell   *cell;

	serving->has_url = true;
	foreach(cell, serving->servers)
	{
		const Server *server = lfirst(cell);

		serving->has_url &= server->has_url;
		serving->open |= server->open;
	}
}

List *
serving_read(Snapshot snapshot)
{
	Rows	   *providers = rows_open(&provider_shape, snapshot, AccessShareLock);
	Rows	   *presets = rows_open(&preset_shape, snapshot, AccessShareLock);
	Datum		values[P_COUNT];
	bool		nulls[P_COUNT];
	List	   *channels = NIL;
	ListCell   *cell;

	rows_seek(providers, NULL);
	while (rows_next(providers, values, nulls))
		if (DatumGetBool(values[P_ENABLED]))
			enter(&channels, make_server(presets, values, nulls));
	rows_close(providers);
	rows_close(presets);
	foreach(cell, channels)
		sum_up(lfirst(cell));
	return channels;
}

const Server *
serving_first(const Serving *serving)
{
	return linitial(serving->servers);
}

/* ------------------------------------------------------- what SQL sees of it --- */

Datum
serving_choices(const Serving *serving)
{
	Datum	   *ids = palloc(list_length(serving->servers) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, serving->servers)
		ids[n++] = Int32GetDatum(((Server *) lfirst(cell))->provider);
	return PointerGetDatum(construct_array(ids, n, INT4OID, 4, true, TYPALIGN_INT));
}

Datum
serving_weights(const Serving *serving)
{
	Datum	   *weights = palloc(list_length(serving->servers) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, serving->servers)
		weights[n++] = Int32GetDatum(((Server *) lfirst(cell))->weight);
	return PointerGetDatum(construct_array(weights, n, INT4OID, 4, true, TYPALIGN_INT));
}

Datum
serving_costs(const Serving *serving)
{
	int			dims[] = {list_length(serving->servers)};
	int			bounds[] = {1};
	Datum	   *costs = palloc(dims[0] * sizeof(Datum));
	bool	   *nulls = palloc(dims[0] * sizeof(bool));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, serving->servers)
	{
		const Server *server = lfirst(cell);

		costs[n] = server->cost;
		nulls[n++] = !server->has_cost;
	}
	return PointerGetDatum(construct_md_array(costs, nulls, 1, dims, bounds, NUMERICOID, -1, false, TYPALIGN_INT));
}

/* _serving_providers() */
Datum
notify_serving(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, serving_read(GetActiveSnapshot()))
	{
		const Serving *serving = lfirst(cell);
		bool		several = list_length(serving->servers) > 1;
		Datum		values[] = {CStringGetTextDatum(serving->channel), Int32GetDatum(serving_first(serving)->provider),
			BoolGetDatum(serving->has_url), BoolGetDatum(serving->open), serving_choices(serving),
		serving_weights(serving), serving_costs(serving)};
		bool		nulls[] = {false, false, false, false, false, !several, !several};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
