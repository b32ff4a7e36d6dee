/*
 * guard.h
 *		Which network addresses a delivery may connect to.
 *
 * Addresses in rows come from users; without a guard they would let a user
 * make the database server talk to machines behind its own firewall.
 */
#ifndef NOTIFY_NET_GUARD_H
#define NOTIFY_NET_GUARD_H

#include <sys/socket.h>

/* notify_pg.allow_private_addresses: 'off', 'on', or a list of networks */
extern void guard_configure(const char *setting);

/*
 * Is this text a valid setting?  If not, *error (when given) points at a
 * static text that says why; it is good until the next call.
 */
extern bool guard_parse(const char *setting, char **error);

/* May we connect to this address? */
extern bool guard_allows(const struct sockaddr *address);

/* The same for an address as text, "192.0.2.1" or "2001:db8::1" */
extern bool guard_allows_text(const char *address);

#endif							/* NOTIFY_NET_GUARD_H */
