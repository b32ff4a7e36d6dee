/*
 * provider.h
 *		What the files of the channel room share: providers, transfers, and the
 *		engines that run presets.
 *
 * An engine is what a preset's row cannot say.  It reads and checks a preset
 * and a provider's settings, dresses a handle with what never changes, puts one
 * letter on it, and says what the answer means.  All else (pools, buffers, life times) is
 * channel.c's.
 */
#ifndef NOTIFY_CHANNEL_PROVIDER_H
#define NOTIFY_CHANNEL_PROVIDER_H

#include "channel/channel.h"
#include "channel/settings.h"
#include "lib/ilist.h"
#include "net/talk.h"
#include "net/wire.h"

#define REPLY_KEPT 8192			/* bytes of an answer kept for a look */
#define RIDDLE_KEPT (REPLY_KEPT + 64)	/* with its status */
#define REPLY_LIMIT (1024 * 1024)	/* an answer longer than this is cut off */

/* The part of a conversation an SMTP reply belongs to */
typedef enum SmtpStage
{
	SMTP_CONNECT,				/* greeting, EHLO, STARTTLS */
	SMTP_AUTH,
	SMTP_RESET,					/* after a refusal, on a kept connection */
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_MESSAGE				/* the message itself */
} SmtpStage;

/* What came back.  Filled in callbacks of libcurl, so of fixed size. */
typedef struct Reply
{
	size_t		received;		/* bytes of headers and body, kept or not */
	bool		overflow;		/* was cut off at REPLY_LIMIT */
	size_t		length;			/* bytes kept in text */
	char		text[REPLY_KEPT + 1];	/* HTTP body, or last SMTP reply */
	char		retry_after[64];	/* header, as it came */
	char		reference[256]; /* header with the provider's id, as it came */
	int			reference_rank; /* which of the headers it was, from 1; 0 none */
	int			code;			/* of the last SMTP reply */
	bool		line_open;		/* more lines of that reply are to come */
	SmtpStage	stage;
} Reply;

typedef struct Engine
{
	const char *name;

	/* Raise what is wrong with a preset. */
	void		(*check) (Jsonb *preset);
	/* Check and keep what preset and settings say, in CurrentMemoryContext. */
	void	   *(*read) (Jsonb *preset, const Settings *settings);
	/* Options that are the same for every letter; NULL: never on a wire */
	void		(*dress) (Transfer *transfer);
	/* Put a letter on it, allocating in CurrentMemoryContext. */
	void		(*begin) (Transfer *transfer, const Letter *letter);
	/* Take what begin set off it again; must not raise */
	void		(*finish) (Transfer *transfer);
	/* Say what the answer means; must not raise */
	void		(*classify) (Transfer *transfer, CURLcode code, SendResult *result);
	/* The token letters need; NULL: none.  Then the two for fetching it. */
	struct Token *(*token) (void *config);
	void		(*begin_errand) (Transfer *transfer);
	void		(*classify_errand) (Transfer *transfer, CURLcode code);
} Engine;

struct Token;

struct Provider
{
	const char *name;
	const Engine *engine;
	void	   *config;			/* what the engine's read() returned */
	struct Token *token;		/* letters need it; NULL: none */
	MemoryContext cxt;			/* holds all of it */
	dlist_head	transfers;		/* all, idle or not */
	slist_head	idle;
	int			idle_count;
	int			busy_count;
	bool		closed;
	int64		riddles;		/* answers that were not understood */
	char		riddle[RIDDLE_KEPT];	/* the last one */
};

struct Transfer
{
	Talk		talk;			/* first: what the mux knows of it */
	dlist_node	node;			/* in Provider.transfers */
	slist_node	idle_node;		/* in Provider.idle */
	Provider   *provider;
	CURL	   *easy;
	void	   *owner;
	void	   *state;			/* the engine's, for this handle */
	MemoryContext cxt;			/* of the letter */
	bool		errand;			/* fetches the provider's token */
	const char *body;			/* what is sent */
	size_t		length;
	bool		own_address;	/* goes to the letter's address, not the provider's */
	bool		dressed;		/* the options that never change are set */
	const char *url;			/* the last URL set; NULL: must be set again */
	WireReport	wire;
	Reply		reply;
	char		error[CURL_ERROR_SIZE];
};

extern const Engine http_engine;
extern const Engine webpush_engine;
extern const Engine smtp_engine;
extern const Engine inbox_engine;

/* Raise when libcurl refuses an option. */
extern void easy_check(CURLcode code);

/* How long a letter's transfer may take: the lesser of the two limits */
extern long transfer_timeout(const Letter *letter, long provider_timeout);

#define easy_set(transfer, option, value) \
	easy_check(curl_easy_setopt((transfer)->easy, option, value))

#endif							/* NOTIFY_CHANNEL_PROVIDER_H */
