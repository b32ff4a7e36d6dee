/*
 * token.c
 *		Tokens that serve many requests.
 *
 * Shared tokens: a table in shared memory, an entry per identity (kept as its
 * SHA-256), guarded by one spinlock under which nothing is done but copying.
 * Who finds no token or an old one signs outside of the lock; when somebody
 * else was quicker, theirs is taken, so all processes send the same one.  When
 * the table is full the oldest entry goes.  Without shared memory (a session
 * that did not preload us) the same table is the process's own.
 *
 * Fetched tokens belong to a provider in one process.  While one comes, the
 * provider's letters wait; when it does not come, they are answered with the
 * reason, and it is tried again after TOKEN_PAUSE.
 */
#include "postgres.h"

#include "channel/classify.h"
#include "channel/request.h"
#include "channel/settings.h"
#include "channel/token.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#define SHARED_TOKENS 64
#define TOKEN_PAUSE 5000		/* ms */
#define TOKEN_SPARE 60000		/* ms before its end a token is not used any more */
#define TOKEN_LIFE 3600			/* s asked for */
#define TOKEN_FRESH 60000		/* ms in which a refusal is no fault of its age */

typedef struct SharedToken
{
	uint8		identity[SIGN_SHA256_BYTES];
	int64		issued;			/* seconds since 1970; 0: free */
	char		value[TOKEN_SHARED_SIZE];
} SharedToken;

typedef struct TokenTable
{
	slock_t		mutex;
	SharedToken tokens[SHARED_TOKENS];
} TokenTable;

static TokenTable *table = NULL;
static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static void
request_memory(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(sizeof(TokenTable));
}

static void
start_memory(void)
{
	bool		found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct("notify_pg tokens", sizeof(TokenTable), &found);
	if (!found)
	{
		memset(table, 0, sizeof(TokenTable));
		SpinLockInit(&table->mutex);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
token_install(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = start_memory;
}

static void
have_table(void)
{
	if (table)
		return;
	table = MemoryContextAllocZero(TopMemoryContext, sizeof(TokenTable));
	SpinLockInit(&table->mutex);
}

static bool
is_good(const SharedToken *token, int64 now)
{
	return token->issued > 0 && now >= token->issued && now - token->issued < TOKEN_SHARED_AGE;
}

/* The entry of an identity, or the one to replace.  Under the lock. */
static SharedToken *
find_shared(const uint8 *identity)
{
	SharedToken *oldest = &table->tokens[0];
	int			i;

	for (i = 0; i < SHARED_TOKENS; i++)
	{
		SharedToken *token = &table->tokens[i];

		if (token->issued > 0 && memcmp(token->identity, identity, SIGN_SHA256_BYTES) == 0)
			return token;
		if (token->issued < oldest->issued)
			oldest = token;
	}
	return oldest;
}

static bool
copy_shared(const uint8 *identity, int64 now, char *out)
{
	SharedToken *token;
	bool		good;

	SpinLockAcquire(&table->mutex);
	token = find_shared(identity);
	good = memcmp(token->identity, identity, SIGN_SHA256_BYTES) == 0 && is_good(token, now);
	if (good)
		memcpy(out, token->value, TOKEN_SHARED_SIZE);
	SpinLockRelease(&table->mutex);
	return good;
}

/* Unless somebody was quicker */
static void
keep_shared(const uint8 *identity, int64 now, const char *value)
{
	SharedToken *token;

	SpinLockAcquire(&table->mutex);
	token = find_shared(identity);
	if (memcmp(token->identity, identity, SIGN_SHA256_BYTES) != 0 || !is_good(token, now))
	{
		memcpy(token->identity, identity, SIGN_SHA256_BYTES);
		token->issued = now;
		strlcpy(token->value, value, TOKEN_SHARED_SIZE);
	}
	SpinLockRelease(&table->mutex);
}

void
token_shared(const char *identity, int64 now,
			 char *(*make) (void *data, int64 issued), void *data, char *out)
{
	SignBytes	hash = sign_digest("sha256", identity, strlen(identity));
	char	   *made;

	have_table();
	if (copy_shared(hash.data, now, out))
		return;
	made = make(data, now);
	if (strlen(made) >= TOKEN_SHARED_SIZE)
		sign_fail("keep a token that long");
	keep_shared(hash.data, now, made);
	if (!copy_shared(hash.data, now, out))
		strlcpy(out, made, TOKEN_SHARED_SIZE);
}

/* ------------------------------------------------------- fetched tokens --- */

ProviderState
token_state(const Token *token, int64 now)
{
	if (token->value && now < token->good_until)
		return PROVIDER_READY;
	if (token->coming)
		return PROVIDER_WAITS;
	if (token->refused && now < token->again_at)
		return PROVIDER_REFUSED;
	return PROVIDER_WANTS_ERRAND;
}

static void
append_claim(StringInfo out, const char *name, const char *value)
{
	if (*value == '\0')
		return;
	appendStringInfo(out, "%s\"%s\":", out->len > 1 ? "," : "", name);
	escape_json(out, value);
}

char *
token_request(const Token *token, int64 now)
{
	StringInfoData header;
	StringInfoData claims;
	char	   *assertion;

	initStringInfo(&header);
	initStringInfo(&claims);
	appendStringInfoString(&header, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
	append_claim(&header, "kid", token->key_id);
	appendStringInfoChar(&header, '}');
	appendStringInfoChar(&claims, '{');
	append_claim(&claims, "iss", token->issuer);
	append_claim(&claims, "scope", token->scope);
	append_claim(&claims, "aud", token->audience);
	appendStringInfo(&claims, ",\"iat\":" INT64_FORMAT ",\"exp\":" INT64_FORMAT "}",
					 now, now + TOKEN_LIFE);
	assertion = sign_jwt(token->key, "RS256", header.data, claims.data);
	return psprintf("grant_type=%s&assertion=%s",
					percent_encode("urn:ietf:params:oauth:grant-type:jwt-bearer", ""), assertion);
}

void
token_failed(Token *token, SendClass class, const char *detail, int64 now)
{
	token->coming = false;
	token->refused = true;
	token->again_at = now + TOKEN_PAUSE;
	token->class = class;
	snprintf(token->detail, sizeof(token->detail), "no access token: ");
	append_clean(token->detail, sizeof(token->detail), detail, strlen(detail));
}

/* Keeps its memory over many tokens */
static void
keep(Token *token, const char *value, int64 life_ms, int64 now)
{
	size_t		size = strlen(value) + 1;

	if (size > token->size)
	{
		if (token->value)
			pfree(token->value);
		token->value = MemoryContextAlloc(GetMemoryChunkContext(token), size);
		token->size = size;
	}
	strlcpy(token->value, value, token->size);
	token->got_at = now;
	token->good_until = now + life_ms - Min(TOKEN_SPARE, life_ms / 2);
	token->refused = false;
}

static int64
life_of(Jsonb *json)
{
	JsonbValue *life = json_find(&json->root, "expires_in");
	Datum		seconds;

	if (life == NULL || life->type != jbvNumeric || numeric_is_nan(life->val.numeric) ||
		numeric_is_inf(life->val.numeric))
		return TOKEN_LIFE;
	seconds = DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(life->val.numeric));
	return (int64) Max(1, Min(DatumGetFloat8(seconds), 24 * 3600));
}

/* A token goes into a header line: nothing but visible ASCII */
static bool
is_plain(const char *value)
{
	for (; *value; value++)
		if (*value <= ' ' || (unsigned char) *value >= 0x7f)
			return false;
	return true;
}

void
token_answer(Token *token, const SendResult *result, const char *reply, int64 now)
{
	Jsonb	   *json;
	char	   *value;

	token->coming = false;
	if (result->class != SEND_OK)
	{
		bool		ours = result->code >= 400 && result->code < 500 &&
			result->code != 408 && result->code != 429;

		token_failed(token, ours ? SEND_AUTH : SEND_PROVIDER_DOWN, result->detail, now);
		return;
	}
	json = text_to_json(reply, strlen(reply));
	value = json && JB_ROOT_IS_OBJECT(json) ? json_text(&json->root, "access_token") : NULL;
	if (value == NULL || *value == '\0' || !is_plain(value))
		token_failed(token, SEND_PROVIDER_DOWN, "the answer of the token service holds none", now);
	else
		keep(token, value, life_of(json) * 1000, now);
}

bool
token_refused(Token *token, int64 now)
{
	if (token->value == NULL || now - token->got_at < TOKEN_FRESH)
		return false;
	token->good_until = 0;
	return true;
}
