/*
 * piece.h
 *		Parts of a request that a preset writes as Liquid.
 *
 * A piece sees "message", "address", "settings", "request" and "signature"
 * (scope.h).  One that depends on none but "settings" is the same for every
 * letter of a provider, so it is rendered once, when the provider is opened.
 */
#ifndef NOTIFY_CHANNEL_PIECE_H
#define NOTIFY_CHANNEL_PIECE_H

#include "liquid/liquid.h"
#include "utils/jsonb.h"

#include "compat.h"

#define USES_MESSAGE	0x01
#define USES_ADDRESS	0x02
#define USES_REQUEST	0x04
#define USES_DATA		0x08	/* message.data */
#define USES_SIGNATURE	0x10
#define USES_SENT		0x20	/* request.body, .url, .method */
#define USES_FILES		0x40	/* message.attachments */
#define USES_LETTER		(USES_MESSAGE | USES_ADDRESS | USES_REQUEST | USES_DATA | USES_SIGNATURE | USES_SENT)

typedef struct Piece
{
	const char *what;			/* "url", "headers.X-Key": for errors */
	const char *source;
	LiquidTemplate *liquid;
	const char *fixed;			/* what it always comes to, or NULL */
	unsigned	uses;
} Piece;

/* Whose words a piece may use */
typedef struct PieceNames
{
	const char *preset;
	const char **settings;		/* those the preset declares */
	int			setting_count;
} PieceNames;

/*
 * Compile in CurrentMemoryContext.  Raises about a syntax error, and about a
 * name that nothing stands behind.
 */
extern Piece *piece_parse(const PieceNames *names, const char *what, const char *source);

/* Render what no letter changes; scope holds the settings. */
extern void piece_fix(Piece *piece, Jsonb *scope);

/* Its text; palloc'd unless it is fixed.  A NULL piece is NULL. */
extern const char *piece_text(const Piece *piece, Jsonb *scope);

/* Raise about part of a preset; the hint may be NULL. */
pg_noreturn extern void preset_fail(const char *preset, const char *part, const char *detail,
									const char *hint);

#endif							/* NOTIFY_CHANNEL_PIECE_H */
