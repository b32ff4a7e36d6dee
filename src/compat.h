/*
 * compat.h
 *		The one place that knows which PostgreSQL it is compiled for.
 *
 * Everything else is written against the names below or against interfaces
 * that are the same in 14 to 18.  No other file may test PG_VERSION_NUM.
 */
#ifndef NOTIFY_COMPAT_H
#define NOTIFY_COMPAT_H

#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/logicalworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#endif

#if PG_VERSION_NUM < 140000
#error "notify_pg needs PostgreSQL 14 or later"
#endif

/* A database left half dropped; the name came with 15.4 and its siblings. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/* A uniformly distributed number in [0, 1). */
static inline double
compat_random_fraction(void)
{
#if PG_VERSION_NUM >= 150000
	return pg_prng_double(&pg_global_prng_state);
#else
	return (double) random() / ((double) MAX_RANDOM_VALUE + 1);
#endif
}

/* Is this process applying what logical replication sent, one subtransaction at a time? */
static inline bool
compat_applies_in_order(void)
{
#if PG_VERSION_NUM >= 160000
	return IsLogicalWorker() && !IsLogicalParallelApplyWorker();
#else
	return IsLogicalWorker();
#endif
}

static inline void
compat_reserve_guc_prefix(const char *prefix)
{
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved(prefix);
#else
	EmitWarningsOnPlaceholders(prefix);
#endif
}

/* A wait event set that lives as long as the process. */
static inline WaitEventSet *
compat_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

static inline bool
compat_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

static inline bool
compat_owns_extension(Oid extension, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, role);
#else
	return pg_extension_ownercheck(extension, role);
#endif
}

/*
 * Ask for shared memory: "request" runs when its size may be computed, which
 * from 15 on is a hook of its own and before that is _PG_init itself.
 */
#if PG_VERSION_NUM >= 150000
#define COMPAT_SHMEM_REQUEST(previous, request) \
	do { \
		(previous) = shmem_request_hook; \
		shmem_request_hook = (request); \
	} while (0)
#define COMPAT_SHMEM_REQUEST_PREVIOUS(previous) \
	do { \
		if (previous) \
			(previous) (); \
	} while (0)
typedef shmem_request_hook_type compat_shmem_request_hook_type;
#else
typedef void (*compat_shmem_request_hook_type) (void);
#define COMPAT_SHMEM_REQUEST(previous, request) \
	do { \
		(previous) = NULL; \
		(request) (); \
	} while (0)
#define COMPAT_SHMEM_REQUEST_PREVIOUS(previous) \
	((void) (previous))
#endif

#endif							/* NOTIFY_COMPAT_H */
