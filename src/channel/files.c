/*
 * files.c
 *		The files of a letter in an HTTP request; files.h says how.
 */
#include "postgres.h"

#include "channel/files.h"
#include "channel/sign.h"
#include "lib/stringinfo.h"

char *
files_place(const Request *request, int file)
{
	return psprintf("file%sn%de", request->nonce, file);
}

/* Its base64 in every place of it */
static char *
put_one(const char *body, const char *place, const LetterFile *file)
{
	StringInfoData out;
	char	   *content = NULL;
	const char *at;

	initStringInfo(&out);
	while ((at = strstr(body, place)) != NULL)
	{
		if (content == NULL)
			content = sign_base64(file->data, file->length);
		appendBinaryStringInfo(&out, body, at - body);
		appendStringInfoString(&out, content);
		body = at + strlen(place);
	}
	appendStringInfoString(&out, body);
	if (content)
		pfree(content);
	return out.data;
}

void
files_put(Request *request, const Letter *letter)
{
	int			i;

	for (i = 0; i < letter->file_count; i++)
		request->body = put_one(request->body, files_place(request, i), &letter->files[i]);
	request->length = strlen(request->body);
}
