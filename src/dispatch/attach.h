/*
 * attach.h
 *		The files an e-mail carries, from notify.attachment.
 */
#ifndef NOTIFY_DISPATCH_ATTACH_H
#define NOTIFY_DISPATCH_ATTACH_H

#include "dispatch/claim.h"

typedef struct Attaching
{
	Job		   *job;
	char	   *problem;		/* why it cannot carry them, in the job's context; NULL */
} Attaching;

/*
 * Inside a transaction: read what letter.attachments names into the letter's
 * files, which lie in job->wire_cxt.  The argument is an Attaching.
 */
extern void attach_files(void *arg);

#endif							/* NOTIFY_DISPATCH_ATTACH_H */
