/*
 * stat.c
 *		What is known about providers without looking into a table, as SQL:
 *		notify._gates(), notify._probe_due().
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "dispatch/gate.h"

#define COLUMNS		15

static int
sum(const uint16 *numbers)
{
	int			total = 0;

	for (int i = 0; i < GATE_DISPATCHERS; i++)
		total += numbers[i];
	return total;
}

/* The upper bound of the power of two in which the middle one lies, -1 for none. */
static int
median_latency(const Gate *gate)
{
	uint32		total = 0;
	uint32		seen = 0;

	for (int i = 0; i < GATE_LATENCIES; i++)
		total += gate->latency[i];
	for (int i = 0; i < GATE_LATENCIES && total > 0; i++)
	{
		seen += gate->latency[i];
		if (seen * 2 >= total)
			return 1 << i;
	}
	return -1;
}

static void
put_gate(ReturnSetInfo *rsinfo, const Gate *gate)
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};
	int			median = median_latency(gate);
	int64		now = gate_now();

	values[0] = Int32GetDatum(gate->provider);
	values[1] = Float8GetDatum(gate->tokens);
	values[2] = Float8GetDatum((now - gate->filled_at) / 1e6);
	nulls[1] = nulls[2] = !gate->filled;
	values[3] = Int32GetDatum(sum(gate->promised));
	values[4] = Int32GetDatum(sum(gate->sending));
	values[5] = Int64GetDatum(gate->sent);
	values[6] = Int64GetDatum(gate->failed);
	values[7] = Int32GetDatum(median);
	nulls[7] = median < 0;
	values[8] = BoolGetDatum(gate->open);
	values[9] = BoolGetDatum(gate_probe_due(gate, now));
	values[10] = Float8GetDatum((now - gate->opened_at) / 1e6);
	values[11] = Float8GetDatum((gate->probe_at - now) / 1e6);
	values[12] = Int64GetDatum(gate->openings);
	values[13] = CStringGetTextDatum(gate->why);
	nulls[10] = nulls[11] = nulls[13] = !gate->open;
	values[14] = Float8GetDatum((gate->paused_until - now) / 1e6);
	nulls[14] = gate->paused_until <= now;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(notify_sql_gates);

Datum
notify_sql_gates(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < gates_count(); i++)
	{
		Gate		gate;

		if (gate_copy(i, MyDatabaseId, &gate))
			put_gate((ReturnSetInfo *) fcinfo->resultinfo, &gate);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(notify_sql_probe_due);

Datum
notify_sql_probe_due(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(gates_any_probe_due());
}
