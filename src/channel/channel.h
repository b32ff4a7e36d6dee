/*
 * channel.h
 *		Letters out, results back: what the dispatcher sees of a channel.
 *
 * A provider is a configured way to serve a channel.  For each letter the
 * dispatcher calls transfer_begin(), drives the handle transfer_easy() through
 * its mux, and calls transfer_end() when the mux says the handle is done (the
 * handle must be out of the mux by then; mux_next_done() and mux_remove() see
 * to that).  To abandon a transfer: mux_remove(), then transfer_end() with
 * CURLE_ABORTED_BY_CALLBACK.
 *
 * A provider may need something for itself before it takes letters, such as an
 * access token: provider_state() says so, errand_begin() makes a transfer that
 * gets it, driven and ended like any other (its owner stays NULL).
 *
 * Errors: provider_open() and transfer_begin() may ereport(ERROR) and leave
 * nothing behind; the others do not raise.  Callbacks of libcurl never do.
 */
#ifndef NOTIFY_CHANNEL_H
#define NOTIFY_CHANNEL_H

#include <curl/curl.h>

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef enum SendClass
{
	SEND_OK,
	SEND_RETRY,					/* try again later */
	SEND_DEFER,					/* told to slow down */
	SEND_PERMANENT_MESSAGE,		/* this message will never go */
	SEND_PERMANENT_RECIPIENT,	/* this address is no more */
	SEND_PROVIDER_DOWN,			/* the provider, not the message */
	SEND_AUTH					/* our standing with the provider */
} SendClass;

/* "ok", "retry", "defer", "permanent_message", … */
extern const char *send_class_name(SendClass class);

typedef struct SendResult
{
	SendClass	class;
	int			code;			/* HTTP status or SMTP reply code, 0 none */
	bool		ambiguous;		/* the request may have been accepted */
	bool		neutral;		/* says nothing about the provider: the peer was
								 * the recipient's, or the fault was ours */
	int64		retry_after;	/* ms in [0, 24 h], -1 none */
	char		reference[256]; /* the provider's id for it, or "" */
	char		detail[512];	/* bounded, valid text, no control characters */
} SendResult;

/* A file that an e-mail carries */
typedef struct LetterFile
{
	const char *filename;
	const char *type;			/* a media type */
	const char *cid;			/* the html shows it by this; NULL: it is attached */
	const uint8 *data;
	size_t		length;
} LetterFile;

typedef struct Letter
{
	int64		message;
	int64		event;
	int			attempt;
	TimestampTz created;
	const char *type;			/* event type or rule name */
	const char *recipient;
	const char *address;		/* may be "" for a webhook: the provider's URL */
	const char *subject;		/* these three may be NULL */
	const char *body;
	const char *html;
	Jsonb	   *data;			/* may be NULL */
	Jsonb	   *template;		/* what provider_template comes to; may be NULL */
	Jsonb	   *attachments;	/* what template.attachments comes to; may be NULL */
	LetterFile *files;			/* those */
	int			file_count;
	const char *return_tag;		/* of an e-mail's return path; may be NULL */
	const char *unsubscribe;	/* the token of its link; NULL: needs none */
	bool		at_most_once;	/* no HTTP connection is reused: libcurl by itself
								 * repeats a request that got no answer there */
	int64		time_limit_ms;	/* for the whole transfer; 0: only the provider's */
} Letter;

typedef struct Provider Provider;
typedef struct Transfer Transfer;

/*
 * The provider lives in a context of its own below cxt.  The preset is a row of
 * notify.preset; the settings have their secrets put in.
 */
extern Provider *provider_open(const char *name, Jsonb *preset,
							   Jsonb *settings, MemoryContext cxt);

/* It goes when its last transfer has ended. */
extern void provider_close(Provider *provider);

/* Raise what is wrong with settings that may still name secrets. */
extern void provider_check(Jsonb *preset, Jsonb *settings);

/* Raise what is wrong with a row of notify.preset. */
extern void preset_check(Jsonb *preset);

typedef enum ProviderState
{
	PROVIDER_READY,				/* for letters */
	PROVIDER_WANTS_ERRAND,		/* errand_begin() first */
	PROVIDER_WAITS,				/* for an errand under way */
	PROVIDER_REFUSED			/* the errand failed lately */
} ProviderState;

/* When refused, *why (if given) is the answer to any letter. */
extern ProviderState provider_state(const Provider *provider, SendResult *why);

/*
 * How many answers were not understood, and the last one: bounded, clean, without
 * secrets.
 */
extern int64 provider_riddles(const Provider *provider, const char **last);

/* NULL when it cannot be begun; the provider is in state PROVIDER_REFUSED then */
extern Transfer *errand_begin(Provider *provider);
extern bool transfer_is_errand(const Transfer *transfer);

/* Raise what is wrong with an address for a channel. */
extern void address_check(const char *channel, const char *address);

/*
 * What the request needs is copied into cxt, which must live until
 * transfer_end(); the caller gets rid of it then.  An error here means that
 * the letter cannot be put on the wire.
 */
extern Transfer *transfer_begin(Provider *provider, const Letter *letter, MemoryContext cxt);
extern CURL *transfer_easy(Transfer *transfer);
extern void transfer_set_owner(Transfer *transfer, void *owner);
extern void *transfer_owner(Transfer *transfer);

/* The transfer whose handle this is (mux_next_done() gives handles) */
extern Transfer *transfer_of(CURL *easy);

extern void transfer_end(Transfer *transfer, CURLcode code, SendResult *result);

#endif							/* NOTIFY_CHANNEL_H */
