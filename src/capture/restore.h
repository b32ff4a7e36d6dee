/*
 * restore.h
 *		Whether this session loads a dump.
 */
#ifndef NOTIFY_CAPTURE_RESTORE_H
#define NOTIFY_CAPTURE_RESTORE_H

extern bool restore_session(void);

#endif
