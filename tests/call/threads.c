/* SPDX-License-Identifier: MIT */
/*
 * call-threads [CALLERS [PIDS]]: that many threads choose among as many pids at the same moment, in
 * a pid namespace of their own. Each pid is given to exactly one of them; by last_pid, where
 * callers that are in each other's way may all be told EBUSY, to one at most; of MANY some are
 * given. Nothing is left of the others.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <clone_extended.h>

enum { FIRST = 20000, STACK = 64 << 10, CHILD_STACK = 4096, MANY = 100 };

struct caller {
	pthread_t thread;
	pthread_barrier_t *start;
	pid_t want;
	pid_t got;
	int error;
	char *stack;
};

/* A child of a process with threads may call nothing but the kernel. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static int wait_in_child(
	void *unused)
{
	(void)unused;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
	return 0;
}

static void *call(void *arg)
{
	struct caller *c = arg;
	struct pid_set set = {1, &c->want};

	pthread_barrier_wait(c->start);
	/* Shared memory: a copy of so many stacks each time would be a test of the machine. */
	c->got = clone_extended_call(wait_in_child, NULL, CLONE_VM | SIGCHLD, 0,
		c->stack + CHILD_STACK, NULL, NULL, &set);
	c->error = c->got < 0 ? errno : 0;
	return NULL;
}

static int end_children(const struct caller *callers, int n)
{
	int ended = 0;

	for (int i = 0; i < n; i++)
		if (callers[i].got > 0)
			kill(callers[i].got, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0)
		ended++;
	for (int i = 0; i < n; i++)
		free(callers[i].stack);
	return ended;
}

/* Returns what is wrong; *ret_given: how many have got theirs. */
static int judge(const struct caller *callers, int n, int pids, int *ret_given)
{
	bool races = clone_extended_backend(NULL) == CLONE_EXTENDED_LAST_PID;
	int *given = calloc((size_t)pids, sizeof(*given));
	int bad = 0;

	*ret_given = 0;
	for (int i = 0; i < n; i++) {
		const struct caller *c = &callers[i];

		if (c->got > 0 && c->got == c->want)
			given[c->want - FIRST]++;
		else if (c->error != EBUSY && ++bad)
			printf("FAIL pid %d wanted, %d given, error %d\n", c->want, c->got,
				c->error);
	}
	for (int i = 0; i < pids; i++) {
		*ret_given += given[i];
		if (given[i] != 1 && !(races && given[i] == 0) && ++bad)
			printf("FAIL pid %d was given %d times\n", FIRST + i, given[i]);
	}
	free(given);
	return bad;
}

static int round_of(struct caller *callers, int n, int pids, int *given_in_all)
{
	pthread_barrier_t start;
	pthread_attr_t attributes;
	int bad;
	int ended;
	int given;

	pthread_barrier_init(&start, NULL, (unsigned)n);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	for (int i = 0; i < n; i++) {
		callers[i] = (struct caller){.start = &start,
			.want = FIRST + i % pids,
			.stack = aligned_alloc(16, CHILD_STACK)};
		if (pthread_create(&callers[i].thread, &attributes, call, &callers[i]))
			exit(1); /* the barrier would wait for ever */
	}
	for (int i = 0; i < n; i++)
		pthread_join(callers[i].thread, NULL);
	pthread_attr_destroy(&attributes);
	pthread_barrier_destroy(&start);
	bad = judge(callers, n, pids, &given);
	*given_in_all += given;
	ended = end_children(callers, n);
	if (ended != given && ++bad)
		printf("FAIL %d children and not %d\n", ended, given);
	return bad;
}

/* The next descriptor to be had: the same before and after, if none is left open. */
static int next_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1000;
	int pids = argc > 2 ? atoi(argv[2]) : 100;
	int status = 0;
	pid_t pid;

	alarm(600);
	pid = clone_extended(SIGCHLD | CLONE_NEWPID, 0, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		struct caller *callers = calloc((size_t)n, sizeof(*callers));
		int bad = 0, given = 0, next = next_descriptor();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 3; i++)
			bad += round_of(callers, n, pids, &given);
		if (pids >= MANY && !given && ++bad)
			printf("FAIL no pid was given at all\n");
		if (next_descriptor() != next && ++bad)
			printf("FAIL descriptor %d is left open\n", next);
		free(callers);
		exit(bad != 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		printf("FAIL status %#x\n", (unsigned)status);
		return 1;
	}
	printf("%d callers, %d pids: none given twice\n", n, pids);
	return 0;
}
