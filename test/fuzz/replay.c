/*
 * replay.c
 *		Runs the fuzz target on files, without a fuzzer:
 *
 *			fuzz_replay [--show] FILE...
 *
 *		--show: prints the words, as text and as html; an error is no words.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>

extern bool fuzz_show;
extern int	LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* A buffer of just the file's size, so that a read beyond it shows. */
static int
replay(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	uint8_t    *bytes;
	long		size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
	{
		perror(path);
		return 1;
	}
	rewind(file);
	bytes = malloc(size > 0 ? size : 1);
	if (bytes == NULL || fread(bytes, 1, size, file) != (size_t) size)
		return 1;
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
	return 0;
}

int
main(int argc, char **argv)
{
	int			first = 1;

	if (argc > 1 && strcmp(argv[1], "--show") == 0)
	{
		fuzz_show = true;
		first++;
	}
	for (int i = first; i < argc; i++)
		if (replay(argv[i]) != 0)
			return 1;
	if (!fuzz_show)
		printf("%d replayed\n", argc - first);
	return 0;
}
