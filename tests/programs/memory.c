/* SPDX-License-Identifier: MIT */
/*
 * memory KIND: sets one kind of memory up, says "ready", waits for SIGUSR1, looks whether all is as
 * it was and works on as it should, and says "good" or, for each thing that is not, a line.
 */
#include "memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t told;
static int bad;

static void tell(int signal)
{
	told = 1;
}

void wait_until_told(void)
{
	while (!told)
		usleep(2000);
	told = 0;
}

void say_bad(const char *file, int line, const char *what)
{
	printf("%s:%d: not so: %s\n", file, line, what);
	fflush(stdout);
	bad++;
}

/* Every word of every page tells where it is. */
void fill(void *memory, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size / sizeof(unsigned); i++)
		((unsigned *)memory)[i] = (unsigned)i * 2654435761u + seed;
}

int filled(const void *memory, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size / sizeof(unsigned); i++)
		if (((const unsigned *)memory)[i] != (unsigned)i * 2654435761u + seed)
			return 0;
	return 1;
}

int zero(const void *memory, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const char *)memory)[i])
			return 0;
	return 1;
}

static const struct kind *const lists[] = {private_kinds, file_kinds, special_kinds};

int main(int argc, char **argv)
{
	signal(SIGUSR1, tell);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (const struct kind *kind = lists[i]; kind->name; kind++) {
			if (argc < 2)
				puts(kind->name);
			else if (strcmp(kind->name, argv[1]) == 0) {
				kind->run();
				puts(bad ? "bad" : "good");
				fflush(stdout);
				/* Stays, to be looked at. */
				for (;;)
					pause();
			}
		}
	return argc < 2 ? 0 : 2;
}
