// SPDX-License-Identifier: MIT
/* reprise check: what this kernel and these privileges allow. */
#include <getopt.h>
#include <reprise.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cmd/cmd.h"

struct tally {
	int missing_required, missing_optional;
};

static void print_need(void *arg, const struct reprise_need *need)
{
	struct tally *tally = arg;

	if (need->error == 0) {
		printf("yes  %-40s  %s\n", need->name, need->purpose);
		return;
	}
	if (need->required)
		tally->missing_required++;
	else
		tally->missing_optional++;
	printf("%s  %-40s  %s: %s\n", need->required ? "NO " : "no ", need->name, need->purpose,
		strerror(need->error));
}

#define USAGE "reprise check"

static void print_help(void)
{
	puts("usage: " USAGE "\n\n"
	     "Tries what checkpoint and restart want of this kernel and of the caller's "
	     "privileges,\n"
	     "and prints a line for each: yes, no, or NO for what nothing works without. Ends "
	     "with\n"
	     "status 0 when nothing of that kind is missing.");
}

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
	struct reprise_error err = {0};
	struct tally tally = {0};
	struct utsname uts;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		return option == 'h' ? (print_help(), 0) : EXIT_USAGE;
	if (optind != argc)
		return tell_usage(USAGE, "nothing more is wanted");
	if (uname(&uts) == 0)
		printf("%s %s on %s\n", uts.sysname, uts.release, uts.machine);
	fflush(stdout);
	reprise_check(print_need, &tally, &err);
	if (tally.missing_required)
		printf("Something is missing that nothing works without (NO).\n");
	else if (tally.missing_optional)
		printf("Checkpoint and restart work here, but for what is marked \"no\".\n");
	else
		printf("Everything is there.\n");
	return tally.missing_required ? EXIT_FAILED : 0;
}
