/*
 * report.h
 *		Mail about mail: delivery status notifications (RFC 3464) and complaints
 *		(ARF, RFC 5965).
 */
#ifndef NOTIFY_CHANNEL_REPORT_H
#define NOTIFY_CHANNEL_REPORT_H

#include "utils/jsonb.h"

#define REPORT_ITEMS 100		/* people one report may speak of */

/*
 * An array with an object for each person it speaks of: to (where the report
 * went, an array), message_id (of the mail it is about), action, status,
 * diagnostic, recipient, class (as for an SMTP reply), or feedback.  Empty for
 * mail that is no report.  Any bytes will do; never raises for them.
 */
extern Jsonb *report_read(const char *mail, size_t length);

#endif							/* NOTIFY_CHANNEL_REPORT_H */
