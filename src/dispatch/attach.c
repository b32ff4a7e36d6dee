/*
 * attach.c
 *		The files an e-mail carries, from notify.attachment.
 *
 * The SQL is notify._attachments() in sql/attachment.sql.  Files are read when
 * their letter is begun, in a transaction of its own that only reads: megabytes
 * are held for what is on the wire, not for what waits.  They lie in the job's
 * wire context, with the message made of them, and go with its answer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "dispatch/attach.h"

/* Columns of notify._attachments() */
typedef enum AttachColumn
{
	A_PROBLEM = 1, A_FILENAME, A_TYPE, A_CID, A_CONTENT
} AttachColumn;

static void
execute(const Job *job)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {JSONBOID, TEXTOID, INT8OID};
	Datum		values[] = {JsonbPGetDatum(job->letter.attachments),
		CStringGetTextDatum(job->letter.recipient),
	Int64GetDatum(job->letter.event)};

	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT problem, filename, content_type, cid, content FROM notify._attachments($1, $2, $3)",
						   3, types);
		if (plan == NULL)
			elog(ERROR, "could not prepare reading attachments: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "notify._attachments() failed");
}

/* A copy in the given context; NULL for NULL */
static char *
column_text(uint64 row, AttachColumn column, MemoryContext cxt)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text ? MemoryContextStrdup(cxt, text) : NULL;
}

static void
read_content(uint64 row, LetterFile *file, MemoryContext cxt)
{
	MemoryContext caller = MemoryContextSwitchTo(cxt);
	bool		isnull;
	Datum		datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, A_CONTENT, &isnull);
	bytea	   *content = DatumGetByteaPCopy(datum);

	file->data = (uint8 *) VARDATA_ANY(content);
	file->length = VARSIZE_ANY_EXHDR(content);
	MemoryContextSwitchTo(caller);
}

static void
read_files(Job *job)
{
	MemoryContext cxt = job->wire_cxt;
	Letter	   *letter = &job->letter;

	letter->files = MemoryContextAllocZero(cxt, sizeof(LetterFile) * Max(1, SPI_processed));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		LetterFile *file = &letter->files[i];

		file->filename = column_text(i, A_FILENAME, cxt);
		file->type = column_text(i, A_TYPE, cxt);
		file->cid = column_text(i, A_CID, cxt);
		read_content(i, file, cxt);
	}
	letter->file_count = (int) SPI_processed;
}

void
attach_files(void *arg)
{
	Attaching  *attaching = arg;
	Job		   *job = attaching->job;

	execute(job);
	attaching->problem = SPI_processed == 0 ? NULL : column_text(0, A_PROBLEM, job->cxt);
	if (attaching->problem == NULL)
		read_files(job);
	SPI_freetuptable(SPI_tuptable);
}
