/* SPDX-License-Identifier: MIT */
/* A child that shares the table of descriptors, and a thread that has one of its own. */
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

#include "rounds.h"

static volatile int alone;

static void *own_table(void *arg)
{
	CHECK(unshare(CLONE_FILES) == 0);
	alone = 1;
	for (;;)
		pause();
	return arg;
}

int main(void)
{
	pthread_t id;

	if (syscall(SYS_clone, CLONE_FILES | 17, 0, 0, 0, 0) == 0)
		for (;;)
			pause();
	pthread_create(&id, NULL, own_table, NULL);
	while (!alone)
		usleep(1000);
	round_of(1);
	return finished();
}
