// SPDX-License-Identifier: MIT
/* reprise run: a command under chosen pids, clone_extended() for the shell. */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <clone_extended.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/parent.h"
#include "cmd/cmd.h"

#define USAGE "reprise run [--pids LIST] [--namespaces N] -- COMMAND [ARGUMENT...]"

enum { LEVELS = 33, NOT_EXECUTABLE = 126, NOT_FOUND = 127, BY_SIGNAL = 128 };

/* How the command ended, told through all the namespaces. */
struct ending {
	int status;
	bool known;
};

struct run {
	pid_t pids[LEVELS];
	int num_pids;
	int namespaces;
	char **command;
	sigset_t mask; /* the caller's */
	struct ending *ending;
};

static int help(void)
{
	puts("usage: " USAGE "\n\n"
	     "Runs COMMAND as a process with the pids of LIST, from the outermost pid namespace\n"
	     "named to the youngest, separated by commas; 0 leaves one to the kernel. Passes "
	     "signals\n"
	     "on, and ends as COMMAND does.\n\n"
	     "  --pids LIST       for example 0,77,99\n"
	     "  --namespaces N    N new pid namespaces, one in the other, the last for COMMAND");
	return 0;
}

static int parse_number(const char *text, char **end, int *ret)
{
	long value;

	errno = 0;
	value = strtol(text, end, 10);
	if (errno || *end == text || value < 0 || value > INT32_MAX)
		return -EINVAL;
	*ret = (int)value;
	return 0;
}

static int parse_pids(const char *text, struct run *run)
{
	char *end = NULL;

	for (;; text = end + 1) {
		if (run->num_pids == LEVELS ||
			parse_number(text, &end, &run->pids[run->num_pids]) < 0)
			return -EINVAL;
		run->num_pids++;
		if (!*end)
			return 0;
		if (*end != ',')
			return -EINVAL;
	}
}

static _Noreturn void become_command(const struct run *run)
{
	struct reprise_error err = {0};
	int error;

	sigprocmask(SIG_SETMASK, &run->mask, NULL);
	execvp(run->command[0], run->command);
	error = errno;
	fail(&err, error, "cannot run %s", run->command[0]);
	error_phase(&err, "run");
	tell_error(&err);
	_exit(error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* A signal of the terminal reaches the command without our help: it is of the same group. */
static bool was_sent_to_us(const siginfo_t *info)
{
	return info->si_code == SI_USER || info->si_code == SI_QUEUE || info->si_code == SI_TKILL;
}

/* Until pid ends; what else ends here, being of a namespace's first task, is reaped. */
static int stay(pid_t pid)
{
	siginfo_t info;
	sigset_t all;
	int status;

	sigfillset(&all);
	for (;;) {
		pid_t done;

		while ((done = waitpid(-1, &status, WNOHANG)) > 0)
			if (done == pid)
				return status;
		if (sigwaitinfo(&all, &info) < 0)
			continue;
		if (info.si_signo != SIGCHLD && was_sent_to_us(&info))
			kill(pid, info.si_signo);
	}
}

static pid_t start_command(const struct run *run, bool first)
{
	struct pid_set set = {run->num_pids - (first ? 1 : 0), (pid_t *)run->pids};
	pid_t pid = clone_extended(SIGCHLD | (first ? CLONE_NEWPID : 0), 0, NULL, NULL, NULL, &set);

	if (pid == 0)
		become_command(run);
	return pid;
}

static int fail_to_start(const struct run *run)
{
	struct reprise_error err = {0};
	char list[LEVELS * 12] = "";
	size_t at = 0;
	int error = errno;

	for (int i = 0; i < run->num_pids && at < sizeof(list); i++)
		at += (size_t)snprintf(
			list + at, sizeof(list) - at, "%s%d", i ? "," : "", run->pids[i]);
	fail(&err, error, "cannot create a process with the pids %s", at ? list : "of any");
	error_phase(&err, "run");
	return tell_error(&err);
}

/* In each new namespace a first task stays, unless the command itself is to be that. */
static int descend(const struct run *run, int left)
{
	bool first = left == 1 && run->num_pids > 0 && run->pids[run->num_pids - 1] == 1;
	_cleanup_close_ int self = -1;
	int status;
	pid_t pid;

	if (left == 0 || first) {
		pid = start_command(run, first);
		if (pid < 0)
			return fail_to_start(run);
		run->ending->status = stay(pid);
		run->ending->known = true;
		return 0;
	}
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid = self < 0 ? -1 : clone_extended(SIGCHLD | CLONE_NEWPID, 0, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return fail_to_start(run);
	if (pid == 0) {
		end_with_parent(self);
		_exit(descend(run, left - 1));
	}
	status = stay(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : BY_SIGNAL + WTERMSIG(status);
}

/* As the command: its status, or its signal, without a second core file. */
static int end_alike(int status)
{
	struct rlimit none = {0, 0};
	sigset_t one;
	int number;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	number = WTERMSIG(status);
	setrlimit(RLIMIT_CORE, &none);
	signal(number, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, number);
	kill(getpid(), number);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	return BY_SIGNAL + number;
}

static int supervise(struct run *run)
{
	sigset_t all;
	int r;

	run->ending = mmap(NULL, sizeof(*run->ending), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->ending == MAP_FAILED) {
		perror("reprise: run");
		return EXIT_FAILED;
	}
	/* Ignored, a child would be reaped without a word. */
	signal(SIGCHLD, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &run->mask);
	r = descend(run, run->namespaces);
	return run->ending->known ? end_alike(run->ending->status) : r;
}

int cmd_run(int argc, char **argv)
{
	static const struct option options[] = {
		{"pids", required_argument, NULL, 'p'},
		{"namespaces", required_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct run run = {0};
	char *end = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		if (c == 'h')
			return help();
		if (c == 'p' && parse_pids(optarg, &run) < 0)
			return tell_usage(USAGE, "--pids takes pids separated by commas");
		if (c == 'n' && (parse_number(optarg, &end, &run.namespaces) < 0 || *end ||
					run.namespaces >= LEVELS))
			return tell_usage(USAGE, "--namespaces takes a number up to 32");
		if (c == '?')
			return tell_usage(USAGE, "an option is wrong");
	}
	if (optind >= argc)
		return tell_usage(USAGE, "a command is missing");
	run.command = argv + optind;
	return supervise(&run);
}
