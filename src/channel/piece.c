/*
 * piece.c
 *		Parts of a request that a preset writes as Liquid.
 *
 * Names are looked for in the source's tags, outside of quoted strings: a word
 * that does not follow a dot is a root, the word after its dot a field.  A
 * piece that names no root but "settings" is taken for fixed; the dispatcher
 * renders it once.
 */
#include "postgres.h"

#include "channel/piece.h"
#include "utils/memutils.h"

static const char *const message_fields[] = {
	"id", "uuid", "event", "attempt", "type", "recipient", "created", "subject",
	"body", "html", "template", "data", "unsubscribe", "attachments"
};

static const char *const request_fields[] = {
	"timestamp", "timestamp_ms", "time", "date", "nonce", "body", "url", "method"
};

void
preset_fail(const char *preset, const char *part, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s of preset \"%s\"", part, preset),
			 errdetail("%s", detail),
			 errhint("%s", hint ? hint : "docs/channels.md says what each part of a preset may be.")));
	pg_unreachable();
}

/* A word of the source: what it is, and what it belongs to */
typedef struct Word
{
	const char *text;
	int			length;
	const char *field;			/* the word after its dot, or NULL */
	int			field_length;
} Word;

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int
word_length(const char *text)
{
	int			length = 0;

	while (is_letter(text[length]) ||
		   (length > 0 && ((text[length] >= '0' && text[length] <= '9') || text[length] == '-')))
		length++;
	return length;
}

static bool
same(const char *text, int length, const char *name)
{
	return strlen(name) == length && memcmp(text, name, length) == 0;
}

static bool
among(const char *text, int length, const char *const *names, int count)
{
	int			i;

	for (i = 0; i < count; i++)
		if (same(text, length, names[i]))
			return true;
	return false;
}

static char *
list_of(const char *const *names, int count)
{
	StringInfoData list;
	int			i;

	initStringInfo(&list);
	for (i = 0; i < count; i++)
		appendStringInfo(&list, "%s%s", i ? ", " : "", names[i]);
	return list.data;
}

static void
check_field(const PieceNames *names, const Piece *piece, const Word *word,
			const char *const *fields, int count)
{
	if (word->field == NULL || among(word->field, word->field_length, fields, count))
		return;
	preset_fail(names->preset, piece->what,
				psprintf("There is no %.*s.%.*s.", word->length, word->text,
						 word->field_length, word->field),
				psprintf("%.*s has %s.", word->length, word->text, list_of(fields, count)));
}

static void
check_setting(const PieceNames *names, const Piece *piece, const Word *word)
{
	if (word->field == NULL ||
		among(word->field, word->field_length, names->settings, names->setting_count))
		return;
	preset_fail(names->preset, piece->what,
				psprintf("It uses settings.%.*s, which the preset does not declare.",
						 word->field_length, word->field),
				"Add it to the preset's settings, as in {\"name\": {\"required\": true}}.");
}

static unsigned
message_use(const Word *word)
{
	bool		data = word->field == NULL || same(word->field, word->field_length, "data");
	bool		files = word->field && same(word->field, word->field_length, "attachments");

	return USES_MESSAGE | (data ? USES_DATA : 0) | (files ? USES_FILES : 0);
}

static unsigned
request_use(const Word *word)
{
	static const char *const sent[] = {"body", "url", "method"};
	bool		uses = word->field == NULL ||
		among(word->field, word->field_length, sent, lengthof(sent));

	return USES_REQUEST | (uses ? USES_SENT : 0);
}

static void
take_word(const PieceNames *names, Piece *piece, const Word *word)
{
	if (same(word->text, word->length, "settings"))
		check_setting(names, piece, word);
	else if (same(word->text, word->length, "message"))
	{
		check_field(names, piece, word, message_fields, lengthof(message_fields));
		piece->uses |= message_use(word);
	}
	else if (same(word->text, word->length, "request"))
	{
		check_field(names, piece, word, request_fields, lengthof(request_fields));
		piece->uses |= request_use(word);
	}
	else if (same(word->text, word->length, "address"))
		piece->uses |= USES_ADDRESS;
	else if (same(word->text, word->length, "signature"))
		piece->uses |= USES_SIGNATURE;
}

/* Take the word at *at, and its first field */
static void
read_word(const PieceNames *names, Piece *piece, const char **at)
{
	Word		word = {*at, word_length(*at), NULL, 0};

	*at += word.length;
	if (**at == '.' && is_letter((*at)[1]))
	{
		word.field = *at + 1;
		word.field_length = word_length(word.field);
		*at = word.field + word.field_length;
	}
	take_word(names, piece, &word);
}

/* One tag, from after its opening to its end, which is returned */
static const char *
read_tag(const PieceNames *names, Piece *piece, const char *at, const char *close)
{
	while (*at && strncmp(at, close, 2) != 0)
	{
		if (*at == '"' || *at == '\'')
		{
			const char *end = strchr(at + 1, *at);

			at = end ? end + 1 : at + strlen(at);
		}
		else if (*at == '.')	/* a field of what is no word */
			at += 1 + word_length(at + 1);
		else if (is_letter(*at))
			read_word(names, piece, &at);
		else
			at++;
	}
	return at;
}

static void
read_names(const PieceNames *names, Piece *piece)
{
	const char *at = piece->source;

	while ((at = strchr(at, '{')) != NULL)
	{
		if (at[1] == '{')
			at = read_tag(names, piece, at + 2, "}}");
		else if (at[1] == '%')
			at = read_tag(names, piece, at + 2, "%}");
		else
			at++;
	}
}

/* Say of a syntax error whose it is. */
static void
compile(const PieceNames *names, Piece *piece)
{
	MemoryContext cxt = CurrentMemoryContext;

	PG_TRY();
	{
		piece->liquid = liquid_parse(piece->source, strlen(piece->source));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		error->message = psprintf("invalid %s of preset \"%s\": %s", piece->what,
								  names->preset, error->message);
		ReThrowError(error);
	}
	PG_END_TRY();
}

Piece *
piece_parse(const PieceNames *names, const char *what, const char *source)
{
	Piece	   *piece = palloc0(sizeof(Piece));

	piece->what = pstrdup(what);
	piece->source = pstrdup(source);
	compile(names, piece);
	read_names(names, piece);
	return piece;
}

static char *
render(const Piece *piece, Jsonb *scope)
{
	StringInfoData out;

	initStringInfo(&out);
	liquid_render(piece->liquid, scope, LIQUID_TEXT, NULL, &out);
	return out.data;
}

void
piece_fix(Piece *piece, Jsonb *scope)
{
	if (piece && (piece->uses & USES_LETTER) == 0)
		piece->fixed = render(piece, scope);
}

const char *
piece_text(const Piece *piece, Jsonb *scope)
{
	if (piece == NULL)
		return NULL;
	return piece->fixed ? piece->fixed : render(piece, scope);
}
