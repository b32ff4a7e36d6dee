/*
 * release.h
 *		Whether the objects in a database are of this library's release.
 */
#ifndef NOTIFY_PROCESS_RELEASE_H
#define NOTIFY_PROCESS_RELEASE_H

#include "process/shmem.h"

/*
 * Looks in this database; for a transaction.  When the finding is
 * EXTENSION_OTHER_RELEASE, "why" (of WORKER_ERROR_SIZE) says so in words.
 */
extern ExtensionFinding release_find(char *why);

#endif							/* NOTIFY_PROCESS_RELEASE_H */
