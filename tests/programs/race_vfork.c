/* SPDX-License-Identifier: MIT */
/*
 * One thread waits for its vfork child again and again, and cannot be stopped meanwhile. Another is
 * sent numbered signals by a third, and notices when one of them is missing.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int expected;
static pthread_t receiver;

static void nap(long microseconds)
{
	nanosleep(&(struct timespec){0, microseconds * 1000}, NULL);
}

static void *make_children(void *unused)
{
	for (;;) {
		if (vfork() == 0) {
			usleep(150 * 1000);
			_exit(0);
		}
		nap(1000);
	}
	return unused;
}

static void on_signal(int signal, siginfo_t *info, void *unused)
{
	(void)signal;
	(void)unused;
	if (info->si_value.sival_int != expected) {
		dprintf(1, "FAILED: signal %d came, not %d\n", info->si_value.sival_int, expected);
		_exit(1);
	}
	expected++;
}

static void *receive(void *unused)
{
	for (;;)
		nap(100);
	return unused;
}

static void *send(void *unused)
{
	for (int i = 0;; i++) {
		while (pthread_sigqueue(receiver, SIGRTMIN, (union sigval){.sival_int = i}) != 0)
			nap(1000);
		if (i % 4 == 3)
			nap(50);
	}
	return unused;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	pthread_t thread;

	signal(SIGCHLD, SIG_IGN);
	sigaction(SIGRTMIN, &action, NULL);
	pthread_create(&thread, NULL, make_children, NULL);
	pthread_create(&receiver, NULL, receive, NULL);
	pthread_create(&thread, NULL, send, NULL);
	puts("ready");
	fflush(stdout);
	for (int last = -1;; last = expected) {
		sleep(1);
		printf("%d\n", expected);
		fflush(stdout);
		if (last == expected)
			return 2;
	}
}
