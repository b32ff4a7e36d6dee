/*
 * identity.h
 *		On whose behalf, and under which search_path, a rule's expressions run.
 */
#ifndef NOTIFY_CAPTURE_IDENTITY_H
#define NOTIFY_CAPTURE_IDENTITY_H

typedef struct Identity
{
	Oid	  owner;
	char *search_path; /* as identity_path() gives it: pg_temp last */
} Identity;

/* What was in force before identity_assume(). */
typedef struct IdentityBefore
{
	Oid user;
	int security;
	int guc_level;
} IdentityBefore;

extern char *identity_path(const char *search_path);
extern void identity_require(Oid owner);
extern void	 identity_assume(const Identity *identity, IdentityBefore *before);
extern void	 identity_restore(const IdentityBefore *before);

#endif
