/*
 * backend.h
 *		What the fuzz target asks of its little backend.
 */
#ifndef NOTIFY_FUZZ_BACKEND_H
#define NOTIFY_FUZZ_BACKEND_H

#include "utils/jsonb.h"

extern void backend_set_stack_base(void *base);

/* Aborts, which the fuzzer reports, unless this is UTF-8 without a NUL. */
extern void backend_check_text(const char *text, int len);

/* A document of JSON text in the current memory context; NULL when it is none. */
extern Jsonb *backend_json(const char *text, int len);

#endif							/* NOTIFY_FUZZ_BACKEND_H */
