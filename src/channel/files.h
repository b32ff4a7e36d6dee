/*
 * files.h
 *		The files of a letter in an HTTP request.
 *
 * A preset sees message.attachments: an array of {"filename", "type", "cid"
 * (when the html shows it), "content"}.  The content is a place, a word nobody
 * can guess, so that megabytes do not go through the renderer; once the body is
 * rendered, the file's base64 is put there, as it is: filters do not see it.
 */
#ifndef NOTIFY_CHANNEL_FILES_H
#define NOTIFY_CHANNEL_FILES_H

#include "channel/channel.h"
#include "channel/request.h"

/* The place of a file; the request must have its nonce. */
extern char *files_place(const Request *request, int file);

/* Put the files into the request's body. */
extern void files_put(Request *request, const Letter *letter);

#endif							/* NOTIFY_CHANNEL_FILES_H */
