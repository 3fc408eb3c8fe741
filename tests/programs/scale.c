/* SPDX-License-Identifier: MIT */
/*
 * Many of one thing, as the init of a pid namespace: "tasks N", "threads N" or "sessions N". Says
 * "ready"; on SIGUSR1 asks all of them, and says how many have answered. Of every second session
 * the leader has ended.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared {
	atomic_int ready, answered;
} * shared;

static void wait_for(atomic_int *what, int count)
{
	while (atomic_load(what) < count)
		usleep(1000);
}

static void answer_once(void)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	shared->ready++;
	sigwait(&set, &signal);
	shared->answered++;
	for (;;)
		pause();
}

static void *thread(void *unused)
{
	answer_once();
	return unused;
}

static void start_session(int number)
{
	if (fork() != 0)
		return;
	setsid();
	if (number % 2 && fork() != 0)
		_exit(0);
	answer_once();
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0, signal_number;
	pthread_t *threads = calloc((size_t)count, sizeof(*threads));
	pthread_attr_t small;
	sigset_t set;

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 0; i < count; i++) {
		if (strcmp(argv[1], "sessions") == 0)
			start_session(i);
		else if (strcmp(argv[1], "threads") == 0 &&
			 pthread_create(&threads[i], &small, thread, NULL) != 0)
			return 1;
		else if (strcmp(argv[1], "tasks") == 0 && fork() == 0)
			answer_once();
	}
	wait_for(&shared->ready, count);
	for (int i = 0; strcmp(argv[1], "sessions") == 0 && i < count / 2; i++)
		wait(NULL);
	puts("ready");
	fflush(stdout);
	sigdelset(&set, SIGUSR2);
	sigwait(&set, &signal_number);
	if (strcmp(argv[1], "threads") == 0) {
		for (int i = 0; i < count; i++)
			pthread_kill(threads[i], SIGUSR2);
	} else {
		kill(-1, SIGUSR2);
	}
	wait_for(&shared->answered, count);
	printf("%d answered\n", atomic_load(&shared->answered));
	fflush(stdout);
	pause();
}
