/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "reprise checkpoint [--stop] PID DIR";

static const char help[] =
	"usage: reprise checkpoint [OPTIONS] PID DIR\n\n"
	"Writes the task PID and all its descendants into the image DIR. They go on running.\n"
	"DIR must not exist: it appears whole or not at all.\n\n"
	"      --stop           end the tasks once the image is complete and safe on disk\n"
	"  -v, --verbose        say what happens\n"
	"  -h, --help           this text\n";

enum { OPT_STOP = 256 };

static const struct option long_options[] = {
	{"stop", no_argument, NULL, OPT_STOP},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

struct request {
	struct reprise_checkpoint_options options;
	pid_t root;
	const char *dir;
	bool verbose, help;
};

static const char *parse(int argc, char **argv, struct request *ret)
{
	char *end;
	long pid;

	optind = 1;
	opterr = 0;
	for (int c; (c = getopt_long(argc, argv, "vh", long_options, NULL)) >= 0;) {
		switch (c) {
		case OPT_STOP:
			ret->options.stop = true;
			break;
		case 'v':
			ret->verbose = true;
			break;
		case 'h':
			ret->help = true;
			return NULL;
		default:
			return "an option is not known";
		}
	}
	if (optind + 2 != argc)
		return optind + 2 < argc ? "too many arguments" : "a pid and a folder are needed";
	errno = 0;
	pid = strtol(argv[optind], &end, 10);
	if (errno || *end || !argv[optind][0] || pid <= 0 || pid > 1 << 22)
		return "the first argument is no pid";
	ret->root = (pid_t)pid;
	ret->dir = argv[optind + 1];
	return NULL;
}

static int checkpoint(struct request *request)
{
	struct reprise_error err = {0};
	struct teller teller;
	sigset_t asked, before;
	int r;

	/* Pending, they end the checkpoint in order (reprise_checkpoint), and then this command. */
	sigemptyset(&asked);
	sigaddset(&asked, SIGINT);
	sigaddset(&asked, SIGTERM);
	sigprocmask(SIG_BLOCK, &asked, &before);
	teller_init(&teller, request->verbose);
	request->options.watcher = &teller.watcher;
	r = reprise_checkpoint(request->root, request->dir, &request->options, &err);
	teller_end(&teller);
	/* Once the image is there, a signal that came too late changes nothing. */
	if (r == 0)
		return 0;
	r = tell_error(&err);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

int cmd_checkpoint(int argc, char **argv)
{
	struct request request = {.options = {.size = sizeof(request.options)}};
	const char *complaint = parse(argc, argv, &request);

	if (complaint)
		return tell_usage(usage, complaint);
	if (request.help) {
		fputs(help, stdout);
		return 0;
	}
	return checkpoint(&request);
}
