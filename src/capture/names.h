/*
 * names.h
 *		OIDs of the extension's own relations that capture touches.
 */
#ifndef NOTIFY_CAPTURE_NAMES_H
#define NOTIFY_CAPTURE_NAMES_H

typedef enum RelationName
{
	NAME_ID_SEQUENCE,
	NAME_RULE,
	NAME_SOURCE,
	NAME_EVENT,
	NAME_EVENT_DEFAULT
} RelationName;

#define NAME_COUNT (NAME_EVENT_DEFAULT + 1)

/* The OID, looked up at first use and after an invalidation. */
extern Oid names_relation(RelationName name);

/* Any relation of schema notify by its name; InvalidOid when there is none. */
extern Oid names_lookup(const char *relname);

/* From the relcache callback: relid InvalidOid means all. */
extern void names_invalidate(Oid relid);

/* Was this OID given out for that name (and not invalidated since)? */
extern bool names_is(RelationName name, Oid relid);

#endif
