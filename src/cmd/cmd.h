/* SPDX-License-Identifier: MIT */
/* The verbs of the command. Each gets its own arguments, argv[0] being the verb. */
#pragma once

#include <stdbool.h>

#include <reprise.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_checkpoint(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_run(int argc, char **argv);

/* tell.c: prints an error as one line on stderr; EXIT_FAILED. */
int tell_error(const struct reprise_error *err);
int tell_usage(const char *usage, const char *complaint);

/* What -v and a terminal show of a journey. */
struct teller {
	bool verbose;
	bool terminal;
	bool open_line; /* a progress line is on the terminal */
	double last;
	struct reprise_watcher watcher;
};
void teller_init(struct teller *teller, bool verbose);
void teller_end(struct teller *teller);
