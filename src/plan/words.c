/*
 * words.c
 *		Which words of a template a person gets.
 *
 * Those of the first locale in the person's chain that has any; of several
 * variants there the one that draws the person.  The words of a template for a
 * channel are read once for all candidates that are decided together.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"

#include "plan/words.h"
#include "rows.h"

PG_FUNCTION_INFO_V1(notify_locale_chain);

typedef enum TemplateColumn
{
	T_LOCALE, T_VARIANT, T_WEIGHT, T_VERSION, T_COUNT
} TemplateColumn;

static const RowsShape template_shape = {
	"template", T_COUNT, {"locale", "variant", "weight", "version"},
	2, {"name", "channel"}, {F_TEXTEQ, F_TEXTEQ}, true
};

typedef struct Wording
{
	char	   *locale;			/* in lower case */
	char	   *variant;
	int			weight;
	int64		version;
} Wording;

/* All words of a template for a channel. */
typedef struct Words
{
	char	   *name;
	char	   *channel;
	List	   *wordings;
} Words;

struct Wordbook
{
	Rows	   *templates;
	List	   *known;			/* Words, the latest found first */
};

Wordbook *
wordbook_open(Snapshot snapshot)
{
	Wordbook   *book = palloc0(sizeof(Wordbook));

	book->templates = rows_open(&template_shape, snapshot, AccessShareLock);
	return book;
}

void
wordbook_close(Wordbook *book)
{
	rows_close(book->templates);
}

/* zh_Hans_CN: zh-hans-cn, zh-hans, zh, default */
List *
locale_chain(const char *locale)
{
	List	   *chain = NIL;
	char	   *part = locale ? str_tolower(locale, strlen(locale), DEFAULT_COLLATION_OID) : NULL;

	for (char *c = part; c != NULL && *c; c++)
		if (*c == '_')
			*c = '-';
	if (part != NULL && *part == '\0')
		part = NULL;
	while (part != NULL)
	{
		char	   *dash = strrchr(part, '-');

		chain = lappend(chain, part);
		part = dash ? pnstrdup(part, dash - part) : NULL;
	}
	return lappend(chain, "default");
}

static Words *
read_words(Wordbook *book, const char *name, const char *channel)
{
	Words	   *words = palloc0(sizeof(Words));
	Datum		keys[] = {CStringGetTextDatum(name), CStringGetTextDatum(channel)};
	Datum		values[T_COUNT];
	bool		nulls[T_COUNT];

	words->name = pstrdup(name);
	words->channel = pstrdup(channel);
	rows_seek(book->templates, keys);
	while (rows_next(book->templates, values, nulls))
	{
		Wording    *wording = palloc(sizeof(Wording));
		char	   *locale = TextDatumGetCString(values[T_LOCALE]);

		wording->locale = str_tolower(locale, strlen(locale), DEFAULT_COLLATION_OID);
		wording->variant = TextDatumGetCString(values[T_VARIANT]);
		wording->weight = DatumGetInt32(values[T_WEIGHT]);
		wording->version = DatumGetInt64(values[T_VERSION]);
		if (wording->weight > 0)
			words->wordings = lappend(words->wordings, wording);
	}
	return words;
}

static const Words *
find_words(Wordbook *book, const char *name, const char *channel)
{
	Words	   *words;
	ListCell   *cell;

	foreach(cell, book->known)
	{
		words = lfirst(cell);
		if (strcmp(words->name, name) == 0 && strcmp(words->channel, channel) == 0)
			return words;
	}
	words = read_words(book, name, channel);
	book->known = lcons(words, book->known);
	return words;
}

/* How soon a locale comes in the chain; its length when it does not. */
static int
place_in(List *chain, const char *locale)
{
	int			place = 0;
	ListCell   *cell;

	foreach(cell, chain)
	{
		if (strcmp(lfirst(cell), locale) == 0)
			break;
		place++;
	}
	return place;
}

/* Each variant draws a number for the person, the same each time; the lowest wins, a share of them by weight. */
static double
draw(const Words *words, const Wording *wording, const char *recipient)
{
	text	   *ticket = cstring_to_text(psprintf("%s/%s/%s", recipient, words->name, wording->variant));
	int64		hash = DatumGetInt64(DirectFunctionCall2Coll(hashtextextended, DEFAULT_COLLATION_OID,
															 PointerGetDatum(ticket), Int64GetDatum(0)));

	return -log(((hash & 0x7fffffff) + 1) / 2147483649.0) / wording->weight;
}

int64
choose_words(Wordbook *book, List *chain, const char *template, const char *channel, const char *recipient)
{
	const Words *words = find_words(book, template, channel);
	const Wording *best = NULL;
	int			best_place = list_length(chain);
	ListCell   *cell;

	foreach(cell, words->wordings)
	{
		const Wording *wording = lfirst(cell);
		int			place = place_in(chain, wording->locale);

		if (place > best_place || place == list_length(chain))
			continue;
		if (place < best_place || draw(words, wording, recipient) < draw(words, best, recipient))
			best = wording;
		best_place = place;
	}
	return best ? best->version : 0;
}

/* ----------------------------------------------------- what SQL sees of it --- */

/* _locale_chain(locale) */
Datum
notify_locale_chain(PG_FUNCTION_ARGS)
{
	List	   *chain = locale_chain(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Datum	   *texts = palloc(list_length(chain) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, chain)
		texts[n++] = CStringGetTextDatum(lfirst(cell));
	PG_RETURN_ARRAYTYPE_P(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}
