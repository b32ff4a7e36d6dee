/*
 * channel.c
 *		Providers and transfers: who owns what, and for how long.
 *
 * A provider owns its transfers.  A transfer keeps one libcurl handle with
 * the options that never change set once; between letters it waits in the
 * provider's idle list (at most POOL_LIMIT of them).  What belongs to one
 * letter lies in the caller's memory context and is taken off the handle by
 * transfer_end().
 *
 * Everything palloc'd hangs on the provider's own context; a reset callback
 * frees the libcurl handles with it, whichever way the context goes.
 *
 * No state is shared between processes.
 */
#include "postgres.h"

#include "channel/classify.h"
#include "channel/preset.h"
#include "channel/provider.h"
#include "channel/token.h"
#include "utils/memutils.h"

#define POOL_LIMIT 1024			/* idle transfers kept per provider */

static const Engine *const engines[] = {
	&http_engine, &webpush_engine, &smtp_engine, &inbox_engine
};

/* The engine of the inbox: its letters are rows, and none takes to a wire. */
static void *
inbox_read(Jsonb *preset, const Settings *settings)
{
	settings_check(settings, NULL, 0);
	return NULL;
}

static void
inbox_check(Jsonb *preset)
{
	(void) preset_read(preset, NULL, 0);
}

const Engine inbox_engine = {.name = "inbox", .check = inbox_check, .read = inbox_read};

void
easy_check(CURLcode code)
{
	if (code == CURLE_OK)
		return;
	ereport(ERROR,
			(errcode(code == CURLE_OUT_OF_MEMORY ? ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL_ERROR),
			 errmsg("could not prepare a transfer: %s", curl_easy_strerror(code))));
}

long
transfer_timeout(const Letter *letter, long provider_timeout)
{
	if (letter->time_limit_ms <= 0)
		return provider_timeout;
	return (long) Min(letter->time_limit_ms, provider_timeout);
}

static const Engine *
find_engine(Jsonb *preset)
{
	char	   *name = preset_engine(preset);
	size_t		i;

	for (i = 0; i < lengthof(engines); i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown engine \"%s\"", name),
			 errhint("The engines are http, webpush, smtp and inbox.")));
	return NULL;
}

static void *
read_settings(const Engine *engine, Jsonb *preset, Jsonb *json, bool draft)
{
	char	   *name = json_text(&preset->root, "name");
	Settings	settings = {name ? name : "", json, draft};

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("settings of a provider must be a JSON object")));
	return engine->read(preset, &settings);
}

/*
 * What reading leaves behind (keys of OpenSSL among it) goes with a context of
 * its own, also when it raises.
 */
static void
try_out(Jsonb *preset, Jsonb *settings)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "notify_pg check",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(own);

	if (settings)
		(void) read_settings(find_engine(preset), preset, settings, true);
	else
		find_engine(preset)->check(preset);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(own);
}

void
provider_check(Jsonb *preset, Jsonb *settings)
{
	try_out(preset, settings);
}

void
preset_check(Jsonb *preset)
{
	try_out(preset, NULL);
}

static void
free_handle(Transfer *transfer)
{
	talk_free(&transfer->talk);
	curl_easy_cleanup(transfer->easy);
}

/* Reset callback of the provider's context */
static void
free_handles(void *data)
{
	Provider   *provider = data;
	dlist_iter	iter;

	dlist_foreach(iter, &provider->transfers)
		free_handle(dlist_container(Transfer, node, iter.cur));
}

static Provider *
make_provider(const char *name, MemoryContext cxt)
{
	Provider   *provider = MemoryContextAllocZero(cxt, sizeof(Provider));
	MemoryContextCallback *callback = MemoryContextAlloc(cxt, sizeof(MemoryContextCallback));

	provider->cxt = cxt;
	provider->name = MemoryContextStrdup(cxt, name);
	dlist_init(&provider->transfers);
	slist_init(&provider->idle);
	callback->func = free_handles;
	callback->arg = provider;
	MemoryContextRegisterResetCallback(cxt, callback);
	return provider;
}

Provider *
provider_open(const char *name, Jsonb *preset, Jsonb *settings, MemoryContext cxt)
{
	MemoryContext own = AllocSetContextCreate(cxt, "notify_pg provider", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(own);
	Provider   *provider = NULL;

	PG_TRY();
	{
		easy_check(curl_global_init(CURL_GLOBAL_DEFAULT));
		provider = make_provider(name, own);
		provider->engine = find_engine(preset);
		provider->config = read_settings(provider->engine, preset, settings, false);
		if (provider->engine->token)
			provider->token = provider->engine->token(provider->config);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		MemoryContextDelete(own);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	return provider;
}

void
provider_close(Provider *provider)
{
	provider->closed = true;
	if (provider->busy_count == 0)
		MemoryContextDelete(provider->cxt);
}

static Transfer *
make_transfer(Provider *provider)
{
	Transfer   *transfer = MemoryContextAllocZero(provider->cxt, sizeof(Transfer));

	transfer->provider = provider;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
	{
		pfree(transfer);
		easy_check(CURLE_OUT_OF_MEMORY);
	}
	transfer->talk.easy = transfer->easy;
	dlist_push_tail(&provider->transfers, &transfer->node);
	return transfer;
}

static Transfer *
take_transfer(Provider *provider)
{
	Transfer   *transfer;

	if (slist_is_empty(&provider->idle))
		transfer = make_transfer(provider);
	else
	{
		transfer = slist_container(Transfer, idle_node, slist_pop_head_node(&provider->idle));
		provider->idle_count--;
	}
	provider->busy_count++;
	return transfer;
}

static void
release_transfer(Transfer *transfer)
{
	Provider   *provider = transfer->provider;

	transfer->owner = NULL;
	provider->busy_count--;
	if (transfer->dressed && provider->idle_count < POOL_LIMIT && !provider->closed)
	{
		slist_push_head(&provider->idle, &transfer->idle_node);
		provider->idle_count++;
	}
	else
	{
		dlist_delete(&transfer->node);
		free_handle(transfer);
		pfree(transfer);
	}
	if (provider->closed && provider->busy_count == 0)
		MemoryContextDelete(provider->cxt);
}

static void
dress(Transfer *transfer)
{
	easy_set(transfer, CURLOPT_PRIVATE, transfer);
	easy_set(transfer, CURLOPT_ERRORBUFFER, transfer->error);
	transfer->provider->engine->dress(transfer);
	transfer->dressed = true;
}

/* Forget the letter before.  The reply's text is ended by its length. */
static void
forget_letter(Transfer *transfer)
{
	Reply	   *reply = &transfer->reply;

	memset(&transfer->wire, 0, sizeof(transfer->wire));
	reply->received = reply->length = 0;
	reply->overflow = reply->line_open = false;
	reply->text[0] = reply->retry_after[0] = reply->reference[0] = '\0';
	reply->code = reply->reference_rank = 0;
	reply->stage = SMTP_CONNECT;
	transfer->error[0] = '\0';
	transfer->own_address = false;
}

/*
 * Make the handle ready for a letter, or for an errand when there is none; give
 * it back if that cannot be.
 */
static pg_noinline void
prepare(Transfer *transfer, const Letter *letter)
{
	const Engine *engine = transfer->provider->engine;

	PG_TRY();
	{
		forget_letter(transfer);
		if (!transfer->dressed)
			dress(transfer);
		if (letter)
			engine->begin(transfer, letter);
		else
			engine->begin_errand(transfer);
	}
	PG_CATCH();
	{
		engine->finish(transfer);
		release_transfer(transfer);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

Transfer *
transfer_begin(Provider *provider, const Letter *letter, MemoryContext cxt)
{
	MemoryContext before;
	Transfer   *transfer;

	if (provider->engine->begin == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("messages of engine \"%s\" are not sent over a network",
						provider->engine->name)));
	transfer = take_transfer(provider);
	transfer->cxt = cxt;
	transfer->errand = false;
	before = MemoryContextSwitchTo(cxt);
	prepare(transfer, letter);
	MemoryContextSwitchTo(before);
	return transfer;
}

ProviderState
provider_state(const Provider *provider, SendResult *why)
{
	ProviderState state = PROVIDER_READY;

	if (provider->token)
		state = token_state(provider->token, wire_clock());
	if (state == PROVIDER_REFUSED && why)
	{
		memset(why, 0, sizeof(*why));
		why->class = provider->token->class;
		why->retry_after = Max(0, provider->token->again_at - wire_clock());
		strlcpy(why->detail, provider->token->detail, sizeof(why->detail));
	}
	return state;
}

int64
provider_riddles(const Provider *provider, const char **last)
{
	*last = provider->riddle;
	return provider->riddles;
}

/* Its handle is not used again: an errand sets it up in ways of its own. */
static pg_noinline Transfer *
prepare_errand(Provider *provider, MemoryContext cxt)
{
	Transfer   *transfer = take_transfer(provider);

	transfer->cxt = cxt;
	transfer->errand = true;
	prepare(transfer, NULL);
	transfer->dressed = false;
	return transfer;
}

Transfer *
errand_begin(Provider *provider)
{
	MemoryContext cxt = AllocSetContextCreate(provider->cxt, "notify_pg errand",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(cxt);
	Transfer   *volatile transfer = NULL;

	provider->token->coming = true;
	PG_TRY();
	{
		transfer = prepare_errand(provider, cxt);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		token_failed(provider->token, SEND_PROVIDER_DOWN, error->message, wire_clock());
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	if (transfer == NULL)
		MemoryContextDelete(cxt);
	return transfer;
}

bool
transfer_is_errand(const Transfer *transfer)
{
	return transfer->errand;
}

CURL *
transfer_easy(Transfer *transfer)
{
	return transfer->easy;
}

void
transfer_set_owner(Transfer *transfer, void *owner)
{
	transfer->owner = owner;
}

void *
transfer_owner(Transfer *transfer)
{
	return transfer->owner;
}

Transfer *
transfer_of(CURL *easy)
{
	char	   *transfer = NULL;

	(void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
	return (Transfer *) transfer;
}

void
transfer_end(Transfer *transfer, CURLcode code, SendResult *result)
{
	const Engine *engine = transfer->provider->engine;

	memset(result, 0, sizeof(*result));
	result->class = SEND_RETRY;
	result->retry_after = -1;
	result->neutral = transfer->own_address;
	transfer->reply.text[transfer->reply.length] = '\0';
	if (transfer->errand)
		engine->classify_errand(transfer, code);
	else
		engine->classify(transfer, code, result);
	engine->finish(transfer);
	if (transfer->errand)
		MemoryContextDelete(transfer->cxt);
	release_transfer(transfer);
}
