/*
 * address.h
 *		The form of addresses: e-mail, URLs, host names.
 *
 * The functions that look for a problem return NULL when there is none, or a
 * sentence about it.  They never raise.
 */
#ifndef NOTIFY_CHANNEL_ADDRESS_H
#define NOTIFY_CHANNEL_ADDRESS_H

extern const char *email_problem(const char *address);
extern const char *url_problem(const char *url);
extern const char *host_problem(const char *host);

/*
 * Take apart "Name <a@b>" or "a@b".  The name is "" when there is none; both
 * are palloc'd.  The address is not checked.
 */
extern void mailbox_split(const char *mailbox, char **name, char **address);

#endif							/* NOTIFY_CHANNEL_ADDRESS_H */
