/* SPDX-License-Identifier: MIT */
/*
 * A thread with a chosen tid. It shares everything with its maker, the TLS of the C library
 * included, so it must not use what the library keeps there (errno, stdio): it calls the kernel.
 */
#include <clone_extended.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct shared {
	_Atomic pid_t seen;
	_Atomic pid_t alive; /* the kernel clears it when the thread has ended, and wakes us */
};

static int body(void *arg)
{
	struct shared *shared = arg;

	shared->seen = (pid_t)syscall(SYS_gettid);
	return 0;
}

int main(int argc, char **argv)
{
	enum { STACK = 64 << 10 };
	static char stack[STACK] __attribute__((aligned(16)));
	struct shared shared = {0, 1};
	pid_t want = argc > 1 ? atoi(argv[1]) : 23457;
	struct pid_set set = {1, &want};
	struct clone_tid_info tids = {.child_tid = (void *)&shared.alive};
	pid_t alive;
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		    CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;

	if (clone_extended_call(body, &shared, flags, 0, stack + STACK, NULL, &tids, &set) < 0) {
		perror("clone_extended_call");
		return 1;
	}
	while ((alive = shared.alive) != 0)
		syscall(SYS_futex, &shared.alive, FUTEX_WAIT, alive, NULL, NULL, 0);
	printf("thread: %d\n", shared.seen);
	return 0;
}
