/*
 * words.h
 *		Which words of a template a person gets.
 */
#ifndef NOTIFY_PLAN_WORDS_H
#define NOTIFY_PLAN_WORDS_H

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

typedef struct Wordbook Wordbook;

/* In the current memory context, until wordbook_close() in the same transaction. */
extern Wordbook *wordbook_open(Snapshot snapshot);
extern void wordbook_close(Wordbook *book);

/* Where words for a locale are looked for, best first (RFC 4647 lookup); NULL: "default" alone. */
extern List *locale_chain(const char *locale);

/* The notify.template_version for this person and channel; 0 when there is none. */
extern int64 choose_words(Wordbook *book, List *chain, const char *template, const char *channel,
						  const char *recipient);

#endif							/* NOTIFY_PLAN_WORDS_H */
