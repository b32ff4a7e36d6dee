/*
 * similar.c
 *		The name somebody may have meant: the fewest edits away, if few they are.
 */
#include "postgres.h"

#include "liquid/similar.h"

/* Names longer than this are nobody's slip of the pen. */
#define MAX_NAME	63

/*
 * Letters to insert, delete, replace, or swap with their neighbour (the
 * optimal string alignment distance).
 */
static int
edits(const char *a, int alen, const char *b, int blen)
{
	int			rows[3][MAX_NAME + 1];
	int		   *before = rows[0];
	int		   *last = rows[1];
	int		   *row = rows[2];

	for (int j = 0; j <= blen; j++)
		last[j] = j;
	for (int i = 1; i <= alen; i++)
	{
		int		   *spare = before;

		row[0] = i;
		for (int j = 1; j <= blen; j++)
		{
			row[j] = Min(last[j - 1] + (a[i - 1] != b[j - 1]), Min(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = Min(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[blen];
}

/* A third of the letters may be wrong. */
void
similar_try(Similar *s, const char *other)
{
	int			len = strlen(other);
	int			distance;

	if (s->len > MAX_NAME || len > MAX_NAME || s->len == 0)
		return;
	distance = edits(s->name, s->len, other, len);
	if (distance * 3 > Max(s->len, len) || (s->found && distance >= s->distance))
		return;
	s->found = other;
	s->distance = distance;
}
