/*
 * auth.c
 *		How a request proves who sends it.
 *
 * Parameters that no letter changes (keys, ids, regions) are rendered when the
 * provider is opened.  Cryptography is OpenSSL's.  For Signature Version 4,
 * libcurl has CURLOPT_AWS_SIGV4; but what it signs differs between the
 * versions we run with (7.88 knows no session token and does not put a query
 * in order), and it cannot be held against another implementation without
 * a wire.  It shares all but its constants with ACS3 and TC3, so it is made
 * where they are (canonical.c).
 */
#include "postgres.h"

#include "channel/auth.h"
#include "channel/canonical.h"
#include "channel/scope.h"
#include "channel/settings.h"
#include "channel/sign.h"
#include "channel/token.h"
#include "net/wire.h"
#include "utils/json.h"

typedef struct AuthParameter
{
	const char *name;
	bool		required;
} AuthParameter;

struct AuthScheme
{
	const char *name;
	AuthParameter parameters[AUTH_PARAMETERS];
	bool		places;			/* takes header and query */
	void		(*open) (Auth *auth, Jsonb *settings);	/* or NULL */
	void		(*before) (const Auth *auth, const AuthSubject *subject);	/* or NULL */
	void		(*sign) (const Auth *auth, const AuthSubject *subject);
};

pg_noreturn static void
auth_fail(const Auth *auth, int parameter, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid parameter \"%s\" of auth scheme \"%s\"",
					auth->scheme->parameters[parameter].name, auth->scheme->name),
			 errdetail("%s", detail)));
	pg_unreachable();
}

/* What a piece comes to for this request; "" when it is not given */
static const char *
text_of(const Piece *piece, const AuthSubject *subject)
{
	Jsonb	   *scope = NULL;

	if (piece == NULL)
		return "";
	if (piece->fixed == NULL)
		scope = scope_build(subject->settings, subject->letter, subject->request, piece->uses);
	return piece_text(piece, scope);
}

static const char *
parameter(const Auth *auth, int number, const AuthSubject *subject)
{
	return text_of(auth->parameters[number], subject);
}

/* The same for one that no letter changes; "" when not given */
static const char *
fixed(const Auth *auth, int number)
{
	const Piece *piece = auth->parameters[number];

	return piece && piece->fixed ? piece->fixed : "";
}

static const char *
fixed_or_fail(const Auth *auth, int number)
{
	if (*fixed(auth, number) == '\0')
		auth_fail(auth, number, "It is empty, or depends on the message.");
	return fixed(auth, number);
}

/* -------------------------------------------------------- basic, bearer --- */

static void
sign_basic(const Auth *auth, const AuthSubject *subject)
{
	char	   *pair = psprintf("%s:%s", parameter(auth, 0, subject), parameter(auth, 1, subject));

	request_header(subject->request, "Authorization",
				   psprintf("Basic %s", sign_base64((uint8 *) pair, strlen(pair))));
}

static void
sign_bearer(const Auth *auth, const AuthSubject *subject)
{
	request_header(subject->request, "Authorization",
				   psprintf("Bearer %s", parameter(auth, 0, subject)));
}

/* ---------------------------------------------------- standard_webhooks --- */

typedef struct WebhookKey
{
	uint8	   *key;
	size_t		length;
} WebhookKey;

static void
open_webhook(Auth *auth, Jsonb *settings)
{
	WebhookKey *key;

	if (*fixed(auth, 0) == '\0')
		return;					/* not signed */
	key = palloc(sizeof(WebhookKey));
	key->key = sign_webhook_key(fixed(auth, 0), &key->length);
	if (key->key == NULL)
		auth_fail(auth, 0, "It must be \"whsec_\" and the base64 text of the key; 24 to 64 random bytes make a good one.");
	auth->state = key;
}

static void
sign_webhooks(const Auth *auth, const AuthSubject *subject)
{
	WebhookKey *key = auth->state;
	Request    *request = subject->request;
	int64		now = request->now_ms / 1000;

	if (key)
		request->headers = header_node(psprintf("webhook-signature: %s",
												sign_webhook(key->key, key->length, request->id, now,
															 request->body, request->length)),
									   request->headers);
	request->headers = header_node(psprintf("webhook-timestamp: " INT64_FORMAT, now), request->headers);
	request->headers = header_node(psprintf("webhook-id: %s", request->id), request->headers);
}

/* ----------------------------------------------------------------- hmac --- */

enum
{
	HMAC_KEY, HMAC_MESSAGE, HMAC_ALGORITHM, HMAC_ENCODING, HMAC_KEY_ENCODING
};

static void
open_hmac(Auth *auth, Jsonb *settings)
{
	const char *digest = fixed(auth, HMAC_ALGORITHM);
	const char *encoding = fixed(auth, HMAC_ENCODING);
	const char *key = fixed(auth, HMAC_KEY_ENCODING);

	if (*digest && !sign_knows_digest(digest))
		auth_fail(auth, HMAC_ALGORITHM, "It is none of md5, sha1, sha256, sha384 and sha512.");
	if (*encoding && strcmp(encoding, "hex") != 0 && strcmp(encoding, "base64") != 0 &&
		strcmp(encoding, "base64url") != 0)
		auth_fail(auth, HMAC_ENCODING, "It is none of hex, base64 and base64url.");
	if (*key && strcmp(key, "text") != 0 && strcmp(key, "hex") != 0 && strcmp(key, "base64") != 0)
		auth_fail(auth, HMAC_KEY_ENCODING, "It is none of text, hex and base64.");
}

static uint8 *
hmac_key(const Auth *auth, const char *text, size_t *length)
{
	const char *encoding = fixed(auth, HMAC_KEY_ENCODING);
	uint8	   *key = (uint8 *) text;

	*length = strlen(text);
	if (strcmp(encoding, "base64") == 0)
		key = sign_base64_decode(text, length);
	else if (strcmp(encoding, "hex") == 0)
		key = sign_hex_decode(text, length);
	if (key == NULL)
		auth_fail(auth, HMAC_KEY, psprintf("It is not written in %s.", encoding));
	return key;
}

static const char *
encode(const char *encoding, const SignBytes *bytes)
{
	if (strcmp(encoding, "hex") == 0)
		return sign_hex(bytes->data, bytes->length);
	if (strcmp(encoding, "base64url") == 0)
		return sign_base64url(bytes->data, bytes->length);
	return sign_base64(bytes->data, bytes->length);
}

/* An empty key: the provider was given none, and nothing is signed. */
static void
make_hmac(const Auth *auth, const AuthSubject *subject)
{
	const char *digest = fixed(auth, HMAC_ALGORITHM);
	const char *key_text = parameter(auth, HMAC_KEY, subject);
	const char *message = parameter(auth, HMAC_MESSAGE, subject);
	SignBytes	signature;
	uint8	   *key;
	size_t		length;

	if (*key_text == '\0')
		return;
	key = hmac_key(auth, key_text, &length);
	signature = sign_hmac(*digest ? digest : "sha256", key, length, message, strlen(message));
	subject->request->signature = encode(fixed(auth, HMAC_ENCODING), &signature);
}

static void
sign_hmac_places(const Auth *auth, const AuthSubject *subject)
{
	int			i;

	if (!auth->before)
		make_hmac(auth, subject);
	if (subject->request->signature == NULL)
		return;
	for (i = 0; i < auth->query_count; i++)
		request_query(subject->request, auth->query[i].name, text_of(auth->query[i].value, subject));
	for (i = 0; i < auth->header_count; i++)
		request_header(subject->request, auth->headers[i].name, text_of(auth->headers[i].value, subject));
}

/* ------------------------------------------------------------ jwt_es256 --- */

enum
{
	JWT_KEY, JWT_KEY_ID, JWT_ISSUER, JWT_AUDIENCE
};

typedef struct JwtState
{
	SignKey    *key;
	const char *key_id;
	const char *issuer;
	const char *audience;
	const char *identity;
} JwtState;

static void
open_jwt(Auth *auth, Jsonb *settings)
{
	JwtState   *state = palloc0(sizeof(JwtState));

	state->key = sign_read_key(fixed_or_fail(auth, JWT_KEY), "ES256");
	if (state->key == NULL)
		auth_fail(auth, JWT_KEY, "It is not a private key for the curve P-256 in PEM (-----BEGIN PRIVATE KEY-----).");
	state->key_id = fixed_or_fail(auth, JWT_KEY_ID);
	state->issuer = fixed_or_fail(auth, JWT_ISSUER);
	state->audience = fixed(auth, JWT_AUDIENCE);
	state->identity = psprintf("%s\n%s\n%s\n%s", state->issuer, state->key_id, state->audience,
							   fixed(auth, JWT_KEY));
	auth->state = state;
}

static char *
make_jwt(void *data, int64 issued)
{
	JwtState   *state = data;
	StringInfoData header;
	StringInfoData claims;

	initStringInfo(&header);
	initStringInfo(&claims);
	appendStringInfoString(&header, "{\"alg\":\"ES256\",\"kid\":");
	escape_json(&header, state->key_id);
	appendStringInfoChar(&header, '}');
	appendStringInfoString(&claims, "{\"iss\":");
	escape_json(&claims, state->issuer);
	if (*state->audience)
	{
		appendStringInfoString(&claims, ",\"aud\":");
		escape_json(&claims, state->audience);
	}
	appendStringInfo(&claims, ",\"iat\":" INT64_FORMAT "}", issued);
	return sign_jwt(state->key, "ES256", header.data, claims.data);
}

static void
sign_jwt_bearer(const Auth *auth, const AuthSubject *subject)
{
	JwtState   *state = auth->state;
	char		token[TOKEN_SHARED_SIZE];

	token_shared(state->identity, subject->request->now_ms / 1000, make_jwt, state, token);
	request_header(subject->request, "authorization", psprintf("bearer %s", token));
}

/* ---------------------------------------------------------------- vapid --- */

enum
{
	VAPID_KEY, VAPID_SUBJECT
};

#define VAPID_LIFE (12 * 60 * 60)	/* s; at most 24 h */

typedef struct VapidState
{
	SignKey    *key;
	const char *point;			/* base64url */
	const char *subject;
	const char *audience;		/* of the request at hand */
} VapidState;

/* RFC 8292, 2.1: who operates this, to be reached by the push service */
static bool
is_contact(const char *subject)
{
	return strncmp(subject, "mailto:", 7) == 0 || strncmp(subject, "https://", 8) == 0;
}

static void
open_vapid(Auth *auth, Jsonb *settings)
{
	VapidState *state = palloc0(sizeof(VapidState));
	uint8		point[P256_POINT_BYTES];
	size_t		length = 0;
	uint8	   *number = sign_base64url_decode(fixed_or_fail(auth, VAPID_KEY), &length);

	if (number && length == P256_BYTES)
		state->key = sign_p256_key(number, point);
	if (state->key == NULL)
		auth_fail(auth, VAPID_KEY, "It is not the base64url text of a private key of P-256 (32 bytes), as \"web-push generate-vapid-keys\" makes it.");
	state->point = sign_base64url(point, sizeof(point));
	state->subject = fixed_or_fail(auth, VAPID_SUBJECT);
	if (!is_contact(state->subject))
		auth_fail(auth, VAPID_SUBJECT, "It must begin with mailto: or https://.");
	auth->state = state;
}

static char *
make_vapid(void *data, int64 issued)
{
	VapidState *state = data;
	StringInfoData claims;

	initStringInfo(&claims);
	appendStringInfoString(&claims, "{\"aud\":");
	escape_json(&claims, state->audience);
	appendStringInfo(&claims, ",\"exp\":" INT64_FORMAT ",\"sub\":", issued + VAPID_LIFE);
	escape_json(&claims, state->subject);
	appendStringInfoChar(&claims, '}');
	return sign_jwt(state->key, "ES256", "{\"typ\":\"JWT\",\"alg\":\"ES256\"}", claims.data);
}

/* One token for each push service */
static void
sign_vapid(const Auth *auth, const AuthSubject *subject)
{
	VapidState *state = auth->state;
	Request    *request = subject->request;
	bool		tls = pg_strncasecmp(request->url, "https:", 6) == 0;
	char		token[TOKEN_SHARED_SIZE];

	state->audience = psprintf("%s://%s", tls ? "https" : "http", request_host(request));
	token_shared(psprintf("vapid\n%s\n%s\n%s", state->audience, state->subject, state->point),
				 request->now_ms / 1000, make_vapid, state, token);
	request_header(request, "Authorization", psprintf("vapid t=%s, k=%s", token, state->point));
}

/* ---------------------------------------------------- oauth2_jwt_bearer --- */

enum
{
	OAUTH_KEY, OAUTH_ISSUER, OAUTH_TOKEN_URL, OAUTH_SCOPE, OAUTH_AUDIENCE, OAUTH_KEY_ID
};

static void
open_oauth(Auth *auth, Jsonb *settings)
{
	Token	   *token = palloc0(sizeof(Token));
	const char *key = fixed_or_fail(auth, OAUTH_KEY);

	token->key = sign_read_key(key, "RS256");
	if (token->key == NULL)
		auth_fail(auth, OAUTH_KEY, "It is not an RSA private key of 2048 bits or more in PEM (-----BEGIN PRIVATE KEY-----).");
	token->issuer = fixed_or_fail(auth, OAUTH_ISSUER);
	token->url = fixed_or_fail(auth, OAUTH_TOKEN_URL);
	if (url_origin(token->url) == NULL)
		auth_fail(auth, OAUTH_TOKEN_URL, "It is not a URL.");
	token->scope = fixed(auth, OAUTH_SCOPE);
	token->audience = *fixed(auth, OAUTH_AUDIENCE) ? fixed(auth, OAUTH_AUDIENCE) : token->url;
	token->key_id = fixed(auth, OAUTH_KEY_ID);
	auth->state = token;
}

static void
sign_oauth(const Auth *auth, const AuthSubject *subject)
{
	Token	   *token = auth->state;

	if (token->value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no access token yet")));
	request_header(subject->request, "Authorization", psprintf("Bearer %s", token->value));
}

/* ---------------------------------------------------- canonical requests --- */

static void
sign_acs3(const Auth *auth, const AuthSubject *subject)
{
	canonical_acs3(subject->request, parameter(auth, 0, subject), parameter(auth, 1, subject),
				   parameter(auth, 2, subject));
}

static void
sign_tc3(const Auth *auth, const AuthSubject *subject)
{
	canonical_tc3(subject->request, parameter(auth, 0, subject), parameter(auth, 1, subject),
				  parameter(auth, 2, subject));
}

static void
sign_sigv4(const Auth *auth, const AuthSubject *subject)
{
	canonical_sigv4(subject->request, parameter(auth, 0, subject), parameter(auth, 1, subject),
					parameter(auth, 2, subject), parameter(auth, 3, subject), parameter(auth, 4, subject));
}

/* -------------------------------------------------------------- reading --- */

static const AuthScheme schemes[] = {
	{"basic", {{"username", true}, {"password", true}}, .sign = sign_basic},
	{"bearer", {{"token", true}}, .sign = sign_bearer},
	{"standard_webhooks", {{"secret", true}}, .open = open_webhook, .sign = sign_webhooks},
	{"hmac", {{"key", true}, {"message", true}, {"algorithm"}, {"encoding"}, {"key_encoding"}},
	.places = true, .open = open_hmac, .before = make_hmac, .sign = sign_hmac_places},
	{"jwt_es256", {{"key", true}, {"key_id", true}, {"issuer", true}, {"audience"}},
	.open = open_jwt, .sign = sign_jwt_bearer},
	{"vapid", {{"private_key", true}, {"subject", true}}, .open = open_vapid, .sign = sign_vapid},
	{"oauth2_jwt_bearer", {{"key", true}, {"issuer", true}, {"token_url", true}, {"scope"}, {"audience"}, {"key_id"}},
	.open = open_oauth, .sign = sign_oauth},
	{"acs3", {{"access_key_id", true}, {"access_key_secret", true}, {"security_token"}},
	.sign = sign_acs3},
	{"tc3", {{"secret_id", true}, {"secret_key", true}, {"service", true}},
	.sign = sign_tc3},
	{"sigv4", {{"access_key_id", true}, {"secret_access_key", true}, {"region", true}, {"service", true}, {"session_token"}},
	.sign = sign_sigv4}
};

static const AuthScheme *
find_scheme(const PieceNames *names, const char *name)
{
	StringInfoData known;
	size_t		i;

	initStringInfo(&known);
	for (i = 0; i < lengthof(schemes); i++)
	{
		if (name && strcmp(schemes[i].name, name) == 0)
			return &schemes[i];
		appendStringInfo(&known, "%s%s", i ? ", " : "The schemes are ", schemes[i].name);
	}
	appendStringInfoChar(&known, '.');
	preset_fail(names->preset, "auth", name ? psprintf("There is no scheme \"%s\".", name) : "It names no scheme.",
				known.data);
	return NULL;
}

static Piece *
read_piece(Auth *auth, const PieceNames *names, const char *name, const JsonbValue *value)
{
	char	   *part = psprintf("auth.%s", name);
	Piece	   *piece;

	if (value->type != jbvString)
		preset_fail(names->preset, part, "It must be a string.", NULL);
	piece = piece_parse(names, part, pnstrdup(value->val.string.val, value->val.string.len));
	auth->uses |= piece->uses & ~(USES_SIGNATURE | USES_SENT);
	return piece;
}

static AuthPlace *
read_places(Auth *auth, const PieceNames *names, const char *where, const JsonbValue *value, int *count)
{
	AuthPlace  *places;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;

	*count = 0;
	if (!json_is_object(value))
		preset_fail(names->preset, psprintf("auth.%s", where),
					"It must be an object of names and values, as in {\"X-Signature\": \"{{ signature }}\"}.", NULL);
	places = palloc0(sizeof(AuthPlace) * (JsonContainerSize(value->val.binary.data) + 1));
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			places[*count].name = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
		{
			places[*count].value = read_piece(auth, names, psprintf("%s.%s", where, places[*count].name), &item);
			(*count)++;
		}
	}
	return places;
}

/* One member of the column: which is it? */
static void
read_member(Auth *auth, const PieceNames *names, const char *name, const JsonbValue *value)
{
	int			i;

	if (strcmp(name, "scheme") == 0)
		return;
	for (i = 0; i < AUTH_PARAMETERS && auth->scheme->parameters[i].name; i++)
		if (strcmp(auth->scheme->parameters[i].name, name) == 0)
		{
			auth->parameters[i] = read_piece(auth, names, name, value);
			return;
		}
	if (auth->scheme->places && strcmp(name, "header") == 0)
		auth->headers = read_places(auth, names, name, value, &auth->header_count);
	else if (auth->scheme->places && strcmp(name, "query") == 0)
		auth->query = read_places(auth, names, name, value, &auth->query_count);
	else
		preset_fail(names->preset, "auth", psprintf("The scheme \"%s\" has no parameter \"%s\".",
													auth->scheme->name, name), NULL);
}

static void
check_complete(const Auth *auth, const PieceNames *names)
{
	int			i;

	for (i = 0; i < AUTH_PARAMETERS && auth->scheme->parameters[i].name; i++)
		if (auth->scheme->parameters[i].required && auth->parameters[i] == NULL)
			preset_fail(names->preset, "auth", psprintf("The scheme \"%s\" needs the parameter \"%s\".",
														auth->scheme->name, auth->scheme->parameters[i].name), NULL);
	if (auth->scheme->places && !auth->before && auth->header_count + auth->query_count == 0)
		preset_fail(names->preset, "auth", "Nothing says where the signature goes.",
					"Name it in header or query, as in {\"header\": {\"X-Signature\": \"{{ signature }}\"}}, or use signature in the body.");
	if (auth->before && auth->scheme->before == NULL)
		preset_fail(names->preset, "body", psprintf("It uses signature, which the scheme \"%s\" does not make.",
													auth->scheme->name), NULL);
}

Auth *
auth_read(const PieceNames *names, JsonbContainer *parameters, bool before)
{
	Auth	   *auth = palloc0(sizeof(Auth));
	JsonbIterator *it = JsonbIteratorInit(parameters);
	JsonbIteratorToken token;
	JsonbValue	item;
	char	   *name = NULL;

	auth->scheme = find_scheme(names, json_text(parameters, "scheme"));
	auth->before = before;
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
			read_member(auth, names, name, &item);
	}
	check_complete(auth, names);
	return auth;
}

void
auth_open(Auth *auth, Jsonb *settings)
{
	Jsonb	   *scope = scope_build(settings, NULL, NULL, 0);
	int			i;

	for (i = 0; i < AUTH_PARAMETERS; i++)
		piece_fix(auth->parameters[i], scope);
	for (i = 0; i < auth->header_count; i++)
		piece_fix(auth->headers[i].value, scope);
	for (i = 0; i < auth->query_count; i++)
		piece_fix(auth->query[i].value, scope);
	if (auth->scheme->open)
		auth->scheme->open(auth, settings);
}

void
auth_before(const Auth *auth, const AuthSubject *subject)
{
	if (auth->before)
		auth->scheme->before(auth, subject);
}

void
auth_sign(const Auth *auth, const AuthSubject *subject)
{
	auth->scheme->sign(auth, subject);
}

Token *
auth_token(const Auth *auth)
{
	return auth->scheme->sign == sign_oauth ? auth->state : NULL;
}
