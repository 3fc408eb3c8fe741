// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls of clone_extended() for a number of turns: ce_fuzz [TURNS [SEED]].
 * Afterwards each pid of the namespace can still be had. What went wrong inside
 * the kernel is for its log to tell.
 */
#include "ce.h"

#define LAST_PID 1000
#define STACKS 8

static struct shared {
	long turns, done, tasks, workers;
	uint64_t seed;
} *shared;

static alignas(64) char stacks[STACKS][8192];
static uint64_t state;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static unsigned int below(unsigned int n)
{
	return draw() % n;
}

static int at_once(void *arg)
{
	return 0;
}

/* Memory that is there, half there, read-only, somewhere else, in the kernel, nowhere. */
static void *some_pointer(char *pages)
{
	switch (below(10)) {
	case 0:
		return NULL;
	case 1:
		return (void *)(uintptr_t)draw();
	case 2:
		return pages + 8192 - below(16);
	case 3:
		return pages + 4096 + below(64);
	case 4:
		return (void *)(uintptr_t)(0xffff888000000000ULL + below(1 << 30));
	case 5:
		return (void *)(uintptr_t)below(4096);
	default:
		return pages + below(1024) * 4;
	}
}

static int some_count(void)
{
	switch (below(12)) {
	case 0:
		return draw();
	case 1:
		return -(int)below(3);
	case 2:
		return 30 + below(8);
	default:
		return below(4);
	}
}

static pid_t some_pid(void)
{
	switch (below(10)) {
	case 0:
		return draw();
	case 1:
		return 32760 + below(20);
	case 2:
		return -(int)below(5);
	case 3:
	case 4:
	case 5:
		return 0;
	default:
		return 1 + below(LAST_PID);
	}
}

static unsigned int some_flags(void)
{
	static const unsigned int sets[] = {
		0, CLONE_VM, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND,
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, CLONE_NEWPID,
		CLONE_NEWUSER | CLONE_NEWPID, CLONE_VFORK, CLONE_PIDFD, CLONE_PARENT_SETTID,
		CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, CLONE_SETTLS, CLONE_PARENT,
	};
	unsigned int flags = sets[below(ARRAY_SIZE(sets))] | sets[below(ARRAY_SIZE(sets))];

	if (below(4) == 0)
		flags |= 1u << below(32);
	if (below(30) == 0)
		flags = draw();
	if (below(8))
		flags = (flags & ~0xffu) | (below(3) ? SIGCHLD : below(70));
	/* A parent in vfork() cannot stop, and nothing but SIGKILL gets through to it. */
	if ((flags & 0xff) >= SIGSTOP && (flags & 0xff) <= SIGTTOU)
		flags = (flags & ~0xffu) | SIGCHLD;
	return flags;
}

static void one_call(char *pages)
{
	unsigned int low = some_flags();
	int high = below(8) ? 0 : below(2) ? 1 : (int)draw();
	void *stack = NULL, *unused = below(6) ? NULL : some_pointer(pages);
	struct clone_tid_info *tids = NULL;
	struct pid_set *set = NULL;
	pid_t *pids = (pid_t *)(pages + 512);
	long pid;
	int i;

	for (i = 0; i < 40; i++)
		pids[i] = some_pid();
	/* On a shared stack the child would write over its parent's. */
	if (below(3) == 0 || low & CLONE_VM)
		stack = ce_stack(stacks[below(STACKS)], sizeof(stacks[0]), at_once, NULL);
	if (below(40) == 0 && !(low & CLONE_THREAD))
		stack = some_pointer(pages) ?: stack;
	if (below(3)) {
		tids = (void *)pages;
		tids->parent_tid = some_pointer(pages);
		tids->child_tid = some_pointer(pages);
		if (below(10) == 0)
			tids = some_pointer(pages);
	}
	if (below(6)) {
		set = (void *)(pages + 256);
		set->num_pids = some_count();
		set->pids = below(8) ? pids : some_pointer(pages);
		if (below(10) == 0)
			set = some_pointer(pages);
	}
	pid = ce_call(low, high, stack, unused, tids, set);
	if (pid == 0)
		syscall(SYS_exit, 0);
	if (pid > 0)
		__atomic_add_fetch(&shared->tasks, 1, __ATOMIC_RELAXED);
}

/* Its own memory may be written over by a child: it is short-lived and replaced. */
static void work(void)
{
	char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	int i;

	mprotect(pages + 4096, 4096, PROT_READ);
	munmap(pages + 8192, 4096);
	for (i = 0; i < 200; i++) {
		one_call(pages);
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		__atomic_add_fetch(&shared->done, 1, __ATOMIC_RELAXED);
	}
	syscall(SYS_exit_group, 0);
}

static void on_alarm(int nr)
{
}

/* The init of the namespace: starts workers, reaps whatever there is. */
static void supervise(int depth)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct pid_set set = { .num_pids = 1 };
	pid_t nr, pid, got;

	sigaction(SIGALRM, &action, NULL);
	while (shared->done < shared->turns) {
		shared->seed = shared->seed * 6364136223846793005ULL + 1442695040888963407ULL;
		state = shared->seed;
		shared->workers++;
		pid = fork();
		if (pid == 0)
			work();
		/* One that does not come to its end is ended. */
		alarm(30);
		while ((got = waitpid(-1, NULL, __WALL)) != pid) {
			if (got < 0 && errno == EINTR)
				kill(pid, SIGKILL);
		}
		alarm(0);
	}
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	for (nr = 2; nr < LAST_PID; nr++) {
		set.pids = &nr;
		pid = ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set);
		if (pid == 0)
			_exit(0);
		ce_expect(pid == nr, "pid %d: %d", nr, pid);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	pid_t pid;
	int status;

	ce_begin();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	shared->turns = argc > 1 ? atol(argv[1]) : 20000;
	shared->seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	if (unshare(CLONE_NEWPID))
		ksft_exit_fail_msg("unshare: %s\n", strerror(errno));
	pid = fork();
	if (pid == 0) {
		ce_failures = 0;
		supervise(1);
		_exit(ce_failures ? 1 : 0);
	}
	status = ce_wait_status(pid);
	ksft_print_msg("%ld calls, %ld tasks, %ld workers\n", shared->done, shared->tasks,
		       shared->workers);
	ksft_test_result(status == 0 && shared->tasks > 0, "random calls (status %d)\n", status);
	return ce_finish();
}
