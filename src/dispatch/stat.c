/*
 * stat.c
 *		What is known about providers without looking into a table, as SQL:
 *		notify._gates().
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "dispatch/gate.h"

#define COLUMNS		8

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

	values[0] = Int32GetDatum(gate->provider);
	values[1] = Float8GetDatum(gate->tokens);
	values[2] = Float8GetDatum((gate_now() - gate->filled_at) / 1e6);
	nulls[1] = nulls[2] = !gate->filled;
	values[3] = Int32GetDatum(sum(gate->promised));
	values[4] = Int32GetDatum(sum(gate->sending));
	values[5] = Int64GetDatum(gate->sent);
	values[6] = Int64GetDatum(gate->failed);
	values[7] = Int32GetDatum(median);
	nulls[7] = median < 0;
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
