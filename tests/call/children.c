/* SPDX-License-Identifier: MIT */
/* call-children: what children do after the call, and where it may be made from. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <clone_extended.h>

enum { PATIENCE = 600 }; /* seconds */

struct tally {
	int passed;
	int failed;
};

static void check(struct tally *t, bool ok, const char *what)
{
	if (ok) {
		t->passed++;
		return;
	}
	t->failed++;
	printf("FAIL %s: %s\n", what, strerror(errno));
}

/* The function that a vfork child returns to must not return: so this one is always inlined. */
__attribute__((always_inline)) static inline pid_t make(int flags)
{
	pid_t any = 0;
	struct pid_set set = {1, &any};

	return clone_extended(flags, 0, NULL, NULL, NULL, &set);
}

static int status_of(pid_t pid)
{
	int status = -1;

	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static void allocate(struct tally *t)
{
	pid_t pid = make(SIGCHLD);
	int status;

	if (pid == 0) {
		char *blocks[200];

		for (int i = 0; i < 200; i++) {
			blocks[i] = malloc((size_t)i * 1000 + 1);
			if (!blocks[i])
				_exit(1);
			memset(blocks[i], i, (size_t)i * 1000 + 1);
		}
		for (int i = 0; i < 200; i++)
			free(blocks[i]);
		_exit(11);
	}
	status = status_of(pid);
	check(t, WIFEXITED(status) && WEXITSTATUS(status) == 11, "a child that allocates");
}

static void signals(struct tally *t)
{
	pid_t pid = make(SIGCHLD);
	int status;

	if (pid == 0) {
		raise(SIGUSR2);
		_exit(1);
	}
	status = status_of(pid);
	check(t, WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2,
		"a child that raises a signal");
}

static void executes(struct tally *t, int flags, const char *what)
{
	pid_t pid = make(flags | SIGCHLD);
	int status;

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 12", (char *)NULL);
		_exit(1);
	}
	status = status_of(pid);
	check(t, WIFEXITED(status) && WEXITSTATUS(status) == 12, what);
}

/* The caller's variables and registers are what they were after a child ran on its stack. */
static void vfork_keeps(struct tally *t)
{
	volatile long before[64];
	long sum = 0;
	pid_t pid;

	for (int i = 0; i < 64; i++)
		before[i] = i * 7;
	pid = make(CLONE_VM | CLONE_VFORK | SIGCHLD);
	if (pid == 0) {
		char deep[4096];

		memset(deep, 0x5a, sizeof(deep));
		__asm__ volatile("" : : "r"(deep) : "memory");
		_exit(3);
	}
	for (int i = 0; i < 64; i++)
		sum += before[i];
	check(t, sum == 7 * 2016 && WEXITSTATUS(status_of(pid)) == 3, "vfork keeps the stack");
}

static struct {
	volatile sig_atomic_t made, ended, failed;
} interrupts;

/*
 * Makes a child under a chosen pid, from the middle of whatever the program does. The sanitizers
 * are not made for that, so the child ends by the kernel's call, of which they know nothing.
 */
static void interrupt(int signal)
{
	static struct pid_set set;
	static pid_t pid;
	int saved = errno, status = -1;
	pid_t child;

	(void)signal;
	pid = 20000 + interrupts.made++ % 5000;
	set = (struct pid_set){1, &pid};
	child = clone_extended(SIGCHLD, 0, NULL, NULL, NULL, &set);
	if (child == 0)
		syscall(SYS_exit_group, 5);
	/* In valgrind there is no namespace of its own, and a stranger may have the pid. */
	if (child < 0 && errno != EBUSY)
		interrupts.failed = errno;
	if (child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5)
		interrupts.ended++;
	errno = saved;
}

/* The handler runs on a small stack of its own, while the heap and its lock are in use. */
static void in_a_handler(struct tally *t)
{
	static char stack[16384];
	stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_ONSTACK};
	struct itimerval soon = {{0, 0}, {0, 500}};
	void *blocks[64] = {NULL};
	int made = -1;

	sigaltstack(&own, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (unsigned i = 0; interrupts.made < 100 && !interrupts.failed; i++) {
		/* Once each: a slow machine would not come out of the handler any more. */
		if (made != interrupts.made) {
			made = interrupts.made;
			setitimer(ITIMER_REAL, &soon, NULL);
		}
		free(blocks[i % 64]);
		blocks[i % 64] = malloc(i * 37 % 5000 + 1);
	}
	signal(SIGALRM, SIG_DFL);
	alarm(PATIENCE);
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
	errno = interrupts.failed;
	check(t, !interrupts.failed && interrupts.ended > 90, "calls from a handler");
}

static int all(void)
{
	struct tally t = {0, 0};

	allocate(&t);
	signals(&t);
	executes(&t, 0, "a child that executes");
	executes(&t, CLONE_VFORK, "CLONE_VFORK");
	if (!getenv("CALL_IN_VALGRIND")) {
		executes(&t, CLONE_VFORK | CLONE_VM, "vfork");
		vfork_keeps(&t);
		in_a_handler(&t);
	}
	printf("%d passed, %d failed, 0 skipped\n", t.passed, t.failed);
	return t.failed != 0;
}

int main(void)
{
	int status = 1;
	pid_t pid;

	alarm(PATIENCE);
	/* valgrind knows no namespaces. Elsewhere one of its own has no strangers' pids. */
	if (getenv("CALL_IN_VALGRIND"))
		return all();
	pid = clone_extended(SIGCHLD | CLONE_NEWPID, 0, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		alarm(PATIENCE);
		exit(all());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		perror("a namespace");
	return status != 0;
}
