/*
 * preset.h
 *		A provider's protocol as data: a row of notify.preset, read and checked.
 *
 * Everything that can be wrong with a row by itself is found by preset_read(),
 * which is called when the row is saved and again when a provider that uses it
 * is opened.  preset_probe() goes further: it writes a request from hostile
 * words, so a value that would reach the wire unescaped is refused at save.
 */
#ifndef NOTIFY_CHANNEL_PRESET_H
#define NOTIFY_CHANNEL_PRESET_H

#include "channel/auth.h"
#include "channel/piece.h"
#include "channel/reply.h"
#include "channel/settings.h"

typedef struct PresetHeader
{
	char	   *name;
	Piece	   *value;
} PresetHeader;

typedef struct Preset
{
	char	   *name;
	char	   *engine;
	Jsonb	   *row;
	SettingSpec *specs;			/* the engine's and the preset's own */
	int			spec_count;
	Jsonb	   *defaults;		/* of settings */
	const char **secret_names;	/* settings never shown */
	int			secret_count;

	/* the rest is for requests over HTTP */
	char	   *method;
	bool		http2;
	Piece	   *url;			/* NULL: the address, or the setting "url" */
	char	  **hosts;			/* may be chosen by a message; NULL: none */
	int			host_count;
	PresetHeader *headers;
	int			header_count;
	Piece	   *body;			/* NULL: the message's, or what happened as JSON */
	Auth	   *auth;			/* NULL: none */
	ReplyRules *reply;
	unsigned	uses;			/* of all pieces */
} Preset;

/*
 * Read a row in CurrentMemoryContext.  The engine's own settings come first.
 */
extern Preset *preset_read(Jsonb *row, const SettingSpec *specs, int count);

/* The provider's settings with defaults, and with JSON in place of its text */
extern Jsonb *preset_settings(const Preset *preset, Jsonb *given);

/* May a message send to this host?  "*.example.com" is every host below it. */
extern bool host_among(const char *host, char *const *hosts, int count);

/* Raise when words of a message could change more than their own value. */
extern void preset_probe(Preset *preset);

/* The name of the engine a row wants */
extern char *preset_engine(Jsonb *row);

/* A header notify_pg itself sets, or no header at all: why not, or NULL */
extern const char *header_name_problem(const char *name);

#endif							/* NOTIFY_CHANNEL_PRESET_H */
