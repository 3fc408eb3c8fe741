/* SPDX-License-Identifier: MIT */
/* N small processes; on SIGUSR1 each is sent SIGUSR1 and answers by a signal, which are counted. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static void nothing(int signal)
{
	(void)signal;
}

static void child(void)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	for (;;) {
		sigwait(&set, &signal);
		sigqueue(getppid(), SIGRTMIN, (union sigval){.sival_int = 1});
	}
}

int main(int argc, char **argv)
{
	int count = atoi(argv[argc - 1]);
	pid_t *pids = calloc((size_t)count, sizeof(*pids));
	sigset_t set;
	int signal_number;

	signal(SIGUSR1, nothing);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < count; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			child();
	}
	puts("ready");
	fflush(stdout);
	sigdelset(&set, SIGRTMIN);
	sigwait(&set, &signal_number);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	for (int i = 0; i < count; i++) {
		kill(pids[i], SIGUSR1);
		sigwait(&set, &signal_number);
	}
	printf("%d answered\n", count);
	fflush(stdout);
	pause();
}
