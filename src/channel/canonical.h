/*
 * canonical.h
 *		Signatures over a request in canonical form: three services' ways.
 *
 * Each adds its headers to the request.  A security or session token may be "".
 */
#ifndef NOTIFY_CHANNEL_CANONICAL_H
#define NOTIFY_CHANNEL_CANONICAL_H

#include "channel/request.h"

extern void canonical_acs3(Request *request, const char *key_id, const char *secret,
						   const char *security_token);
extern void canonical_tc3(Request *request, const char *secret_id, const char *secret_key,
						  const char *service);
extern void canonical_sigv4(Request *request, const char *key_id, const char *secret,
							const char *region, const char *service, const char *session_token);

#endif							/* NOTIFY_CHANNEL_CANONICAL_H */
