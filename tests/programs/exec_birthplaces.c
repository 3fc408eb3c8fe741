/* SPDX-License-Identifier: MIT */
/*
 * Each thread has its own answer to where its children are born: in a new pid namespace that has no
 * task yet, in one that has, in one whose init has died, or where it is itself.
 */
#include "common.h"

static pthread_barrier_t barrier;

static pid_t born(void)
{
	pid_t child = fork();

	if (child == 0)
		for (;;)
			pause();
	return child;
}

/* The number that a child has where it is born. */
static void report(const char *who)
{
	pid_t child = fork();
	int status = -1, why = errno;

	if (child == 0)
		_exit(getpid() & 127);
	if (child < 0) {
		say("%s: %s", who, strerror(why));
		return;
	}
	CHECK(waitpid(child, &status, 0) == child);
	say("%s: child %s", who,
		WEXITSTATUS(status) == (child & 127) ? "here"
		: WEXITSTATUS(status) == 1	     ? "1"
		: WEXITSTATUS(status) == 2	     ? "2"
						     : "elsewhere");
}

static void meet_and_report(const char *who, int turn)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 4; i++) {
		if (i == turn)
			report(who);
		pthread_barrier_wait(&barrier);
	}
}

static void *empty(void *arg)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	meet_and_report("empty", 1);
	return NULL;
}

static void *inhabited(void *arg)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	CHECK(born() > 0);
	meet_and_report("inhabited", 2);
	return NULL;
}

static void *dead(void *arg)
{
	pid_t init;

	CHECK(unshare(CLONE_NEWPID) == 0);
	init = born();
	CHECK(init > 0 && kill(init, SIGKILL) == 0 && waitpid(init, NULL, 0) == init);
	meet_and_report("dead", 3);
	return NULL;
}

static void *here(void *arg)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 4; i++)
		pthread_barrier_wait(&barrier);
	report("here");
	return NULL;
}

int main(void)
{
	void *(*const parts[])(void *) = {empty, inhabited, dead, here};
	pthread_t threads[4];

	CHECK(pthread_barrier_init(&barrier, NULL, 5) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, parts[i], NULL) == 0);
	CHECK(unshare(CLONE_NEWPID) == 0);
	pthread_barrier_wait(&barrier);
	say("ready");
	wait_go();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 4; i++) {
		if (i == 0)
			report("leader");
		pthread_barrier_wait(&barrier);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	say("end");
	return 0;
}
