/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int tell_error(const struct reprise_error *err)
{
	char line[sizeof(*err) + 128];

	reprise_error_line(err, line, sizeof(line));
	/* One line, whatever names are in it. */
	for (char *c = line; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	fprintf(stderr, "reprise: %s\n", line);
	return EXIT_FAILED;
}

int tell_usage(const char *usage, const char *complaint)
{
	fprintf(stderr, "reprise: %s (usage: %s)\n", complaint, usage);
	return EXIT_USAGE;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void phase(void *arg, const char *name, double seconds)
{
	struct teller *teller = arg;

	teller_end(teller);
	if (teller->verbose)
		fprintf(stderr, "reprise: %s done after %.1f ms\n", name, seconds * 1e3);
}

static void progress(void *arg, const char *name, unsigned long long done, unsigned long long total)
{
	struct teller *teller = arg;
	double time = now();

	if (!teller->terminal)
		return;
	/* Only work of over a second is worth a line, ten times a second. */
	if (teller->last == 0)
		teller->last = time + 0.9;
	if (time - teller->last < 0.1)
		return;
	teller->last = time;
	teller->open_line = true;
	if (total)
		fprintf(stderr, "\rreprise: %s: %llu of %llu (%llu %%)\033[K", name, done, total,
			done * 100 / total);
	else
		fprintf(stderr, "\rreprise: %s: %llu\033[K", name, done);
}

void teller_init(struct teller *teller, bool verbose)
{
	memset(teller, 0, sizeof(*teller));
	teller->verbose = verbose;
	teller->terminal = isatty(STDERR_FILENO) != 0;
	teller->watcher =
		(struct reprise_watcher){.phase = phase, .progress = progress, .arg = teller};
}

void teller_end(struct teller *teller)
{
	if (teller->open_line)
		fputs("\r\033[K", stderr);
	teller->open_line = false;
}
