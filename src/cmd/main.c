/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} verbs[] = {
	{"checkpoint", cmd_checkpoint, "a task and all its descendants into an image"},
	{"restart", cmd_restart, "an image back to life"},
	{"show", cmd_show, "what an image holds"},
	{"check", cmd_check, "what this kernel and these privileges allow"},
	{"run", cmd_run, "a command under chosen pids"},
};

static void print_help(FILE *out)
{
	fputs("usage: reprise VERB [OPTIONS] ...\n\n"
	      "Checkpoints a container with the containers inside it, and restarts it with every\n"
	      "task under the pid it had in every pid namespace.\n\n",
		out);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].what);
	fputs("\n`reprise VERB --help` says more; reprise(1) says all.\n", out);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return tell_usage("reprise VERB [OPTIONS] ...", "a verb is missing");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("reprise " REPRISE_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	fprintf(stderr, "reprise: there is no verb '%s' (see reprise --help)\n", argv[1]);
	return EXIT_USAGE;
}
