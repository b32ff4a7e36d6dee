/*
 * inside.c
 *		What benchmarks need inside a backend: the trigger that does nothing, which
 *		is what any row trigger in C costs at least, and the CPU time the backend
 *		has used, which other processes disturb less than the clock.
 *
 * Built for test/bench alone and never installed.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "commands/trigger.h"
#include "fmgr.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(bench_nothing);
PG_FUNCTION_INFO_V1(bench_cpu);

Datum
bench_nothing(PG_FUNCTION_ARGS)
{
	return PointerGetDatum(NULL);
}

/* Microseconds of this process, user and system. */
Datum
bench_cpu(PG_FUNCTION_ARGS)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	PG_RETURN_FLOAT8((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
					 usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}
