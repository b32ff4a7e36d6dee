/*
 * auth.h
 *		How a request proves who sends it.
 *
 * A scheme is a row of a table in auth.c: the parameters it takes (each
 * a piece of Liquid over settings, message and request), and a function
 * that signs a request that is otherwise complete.
 */
#ifndef NOTIFY_CHANNEL_AUTH_H
#define NOTIFY_CHANNEL_AUTH_H

#include "channel/channel.h"
#include "channel/piece.h"
#include "channel/request.h"

#define AUTH_PARAMETERS 8

typedef struct AuthScheme AuthScheme;

/* A header or a query parameter that carries a signature */
typedef struct AuthPlace
{
	char	   *name;
	Piece	   *value;
} AuthPlace;

typedef struct Auth
{
	const AuthScheme *scheme;
	Piece	   *parameters[AUTH_PARAMETERS];	/* in the scheme's order, NULL: not given */
	AuthPlace  *headers;
	int			header_count;
	AuthPlace  *query;
	int			query_count;
	bool		before;			/* the body holds the signature */
	unsigned	uses;			/* of all pieces of it */
	void	   *state;			/* the scheme's, made by auth_open() */
} Auth;

struct Token;

/* Read the column "auth" of a preset's row; before: the body uses signature. */
extern Auth *auth_read(const PieceNames *names, JsonbContainer *parameters, bool before);

/* Render what is fixed, read keys.  Raises about what cannot be a key. */
extern void auth_open(Auth *auth, Jsonb *settings);

/* What is signed */
typedef struct AuthSubject
{
	Jsonb	   *settings;
	const Letter *letter;
	Request    *request;
} AuthSubject;

/* Make request->signature, for a body that will hold it. */
extern void auth_before(const Auth *auth, const AuthSubject *subject);

/* Add what the scheme adds to a complete request. */
extern void auth_sign(const Auth *auth, const AuthSubject *subject);

/* A token that must be fetched first; NULL: the scheme needs none */
extern struct Token *auth_token(const Auth *auth);

#endif							/* NOTIFY_CHANNEL_AUTH_H */
