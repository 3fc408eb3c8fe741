/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "restart.h"

static const char usage[] = "reprise restart [OPTIONS] DIR";

static const char help[] =
	"usage: reprise restart [OPTIONS] DIR\n\n"
	"Brings the image DIR back to life. Stays in the foreground as the parent of the root "
	"task,\n"
	"passes signals on to it, and exits as it does.\n\n"
	"  -d, --detach         return once all tasks run; prints the root's pid\n"
	"      --pidfile FILE   write the root's pid to FILE\n"
	"      --plan           print the steps that would be taken, and do nothing\n"
	"      --json           with --plan: as JSON\n"
	"      --outer-pids     the pids in the namespaces outside the container too\n"
	"      --new-pidns      a plain tree goes into a pid namespace of its own\n"
	"      --into-pidns PID into the pid namespace of this task\n"
	"      --host-clocks    leave the monotonic clocks as the host has them\n"
	"      --wait SECONDS   wait for pids that are taken to become free\n"
	"  -v, --verbose        say what happens\n"
	"  -h, --help           this text\n";

enum { OPT_PIDFILE = 256, OPT_PLAN, OPT_JSON, OPT_OUTER, OPT_NEW, OPT_INTO, OPT_CLOCKS, OPT_WAIT };

static const struct option long_options[] = {
	{"detach", no_argument, NULL, 'd'},
	{"pidfile", required_argument, NULL, OPT_PIDFILE},
	{"plan", no_argument, NULL, OPT_PLAN},
	{"json", no_argument, NULL, OPT_JSON},
	{"outer-pids", no_argument, NULL, OPT_OUTER},
	{"new-pidns", no_argument, NULL, OPT_NEW},
	{"into-pidns", required_argument, NULL, OPT_INTO},
	{"host-clocks", no_argument, NULL, OPT_CLOCKS},
	{"wait", required_argument, NULL, OPT_WAIT},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

struct request {
	struct reprise_restart_options options;
	const char *dir, *pidfile;
	bool plan, json, verbose, help;
};

static bool number(const char *text, long max, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(text, &end, 10);
	return !errno && *text && !*end && *ret >= 0 && *ret <= max;
}

static const char *parse(int argc, char **argv, struct request *ret)
{
	long value;

	optind = 1;
	opterr = 0;
	for (int c; (c = getopt_long(argc, argv, "dvh", long_options, NULL)) >= 0;) {
		switch (c) {
		case 'd':
			ret->options.detach = true;
			break;
		case 'v':
			ret->verbose = true;
			break;
		case 'h':
			ret->help = true;
			return NULL;
		case OPT_PIDFILE:
			ret->pidfile = optarg;
			break;
		case OPT_PLAN:
			ret->plan = true;
			break;
		case OPT_JSON:
			ret->json = true;
			break;
		case OPT_OUTER:
			ret->options.outer_pids = true;
			break;
		case OPT_NEW:
			ret->options.new_pidns = true;
			break;
		case OPT_CLOCKS:
			ret->options.host_clocks = true;
			break;
		case OPT_INTO:
			if (!number(optarg, 1 << 22, &value) || value == 0)
				return "--into-pidns needs a pid";
			ret->options.into_pidns = (pid_t)value;
			break;
		case OPT_WAIT:
			if (!number(optarg, 1000000, &value))
				return "--wait needs a number of seconds";
			ret->options.wait_seconds = (unsigned)value;
			break;
		default:
			return "an option is not known or lacks its argument";
		}
	}
	if (optind + 1 != argc)
		return optind < argc ? "more than one folder" : "the image's folder is missing";
	ret->dir = argv[optind];
	return NULL;
}

/* Opened before anything is made, so that a folder that is not there is no late surprise. */
static int write_pidfile(FILE *file, pid_t pid)
{
	if (!file)
		return 0;
	fprintf(file, "%d\n", pid);
	return fclose(file) ? -errno : 0;
}

static int exit_as(int status)
{
	struct rlimit none = {0};

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

/* The root's parent from now on: signals go to it, and its end is this command's end. */
static int stay(pid_t root, int signals)
{
	struct signalfd_siginfo info;
	int status;

	for (;;) {
		if (read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo != SIGCHLD) {
			kill(root, (int)info.ssi_signo);
			continue;
		}
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
			if (pid != root)
				continue;
			sigset_t all;

			sigfillset(&all);
			sigprocmask(SIG_UNBLOCK, &all, NULL);
			return exit_as(status);
		}
	}
}

static int restart(struct request *request)
{
	_cleanup_close_ int signals = -1;
	struct reprise_error err = {0};
	struct teller teller;
	FILE *pidfile = NULL;
	sigset_t passed;
	pid_t root;
	int ret;

	if (request->pidfile && !(pidfile = fopen(request->pidfile, "we"))) {
		fail(&err, errno, "cannot write %s", request->pidfile);
		return tell_error(&err);
	}
	sigemptyset(&passed);
	for (int signal = 1; signal <= SIGRTMAX; signal++)
		if (signal != SIGKILL && signal != SIGSTOP && signal != SIGTSTP &&
			signal != SIGTTIN && signal != SIGTTOU && signal != SIGSEGV &&
			signal != SIGBUS && signal != SIGFPE && signal != SIGILL &&
			signal != SIGTRAP && signal != SIGURG && signal != SIGWINCH)
			sigaddset(&passed, signal);
	if (!request->options.detach) {
		/* Whoever loses its parent inside the tree becomes this command's child. */
		sigprocmask(SIG_BLOCK, &passed, NULL);
		signals = signalfd(-1, &passed, SFD_CLOEXEC);
	}
	teller_init(&teller, request->verbose);
	request->options.watcher = &teller.watcher;
	ret = reprise_restart(request->dir, &request->options, &root, &err);
	teller_end(&teller);
	if (ret < 0) {
		if (pidfile)
			fclose(pidfile);
		if (request->pidfile)
			unlink(request->pidfile);
		return tell_error(&err);
	}
	if (write_pidfile(pidfile, root) < 0)
		fprintf(stderr, "reprise: restart: cannot write %s\n", request->pidfile);
	if (!request->options.detach)
		return stay(root, signals);
	printf("%d\n", root);
	return fflush(stdout) ? EXIT_FAILED : 0;
}

int cmd_restart(int argc, char **argv)
{
	struct request request = {.options = {.size = sizeof(request.options)}};
	struct reprise_error err = {0};
	const char *complaint = parse(argc, argv, &request);

	if (complaint)
		return tell_usage(usage, complaint);
	if (request.help) {
		fputs(help, stdout);
		return 0;
	}
	if (request.plan)
		return restart_plan(request.dir, request.options.outer_pids, request.json, stdout,
			       &err) < 0
			       ? tell_error(&err)
			       : 0;
	return restart(&request);
}
