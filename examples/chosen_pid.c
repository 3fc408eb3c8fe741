/* SPDX-License-Identifier: MIT */
/* A child with a chosen pid: 23456 where this program runs, or what is given. */
#include <clone_extended.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	pid_t want = argc > 1 ? atoi(argv[1]) : 23456;
	struct pid_set set = {.num_pids = 1, .pids = &want};
	pid_t pid = clone_extended(SIGCHLD, 0, NULL, NULL, NULL, &set);

	if (pid < 0) {
		perror("clone_extended");
		return 1;
	}
	if (pid == 0) {
		printf("child: %d\n", getpid());
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return 0;
}
