/* SPDX-License-Identifier: MIT */
/* The floor of every restart: a plain loop that creates so many processes with chosen pids, flat,
 * in a pid namespace of its own, each waiting. Prints milliseconds. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int loop(int n)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < n; i++) {
		pid_t pid = 2 + i;
		struct clone_args args = {
			.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};
		long r = syscall(SYS_clone3, &args, sizeof(args));

		if (r == 0)
			for (;;)
				pause();
		if (r < 0) {
			printf("floor: clone3 of %d: %s\n", pid, strerror(errno));
			return 1;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("floor %6d tasks %8.2f ms\n", n,
		(double)(to.tv_sec - from.tv_sec) * 1e3 +
			(double)(to.tv_nsec - from.tv_nsec) / 1e6);
	fflush(stdout);
	return 0; /* as init: all others end with it */
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
		long pid;
		int status = 0;

		fflush(stdout);
		pid = syscall(SYS_clone3, &args, sizeof(args));
		if (pid == 0)
			_exit(loop(atoi(argv[i])));
		if (pid < 0 || waitpid((pid_t)pid, &status, 0) < 0 || status)
			failed = 1;
	}
	return failed;
}
