/* SPDX-License-Identifier: MIT */
/* call-children: what children do after the call, and what the call costs in system calls. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <clone_extended.h>

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

#ifdef __x86_64__
/* System calls between two getppid(), which are the marks. */
static int count_calls(int kind)
{
	static pid_t in_data = 0;
	pid_t on_stack[2] = {0, 23456};
	struct pid_set data_set = {1, &in_data};
	struct pid_set stack_set = {1, on_stack + 1};
	struct pid_set *sets[] = {NULL, &data_set, &stack_set};
	struct user_regs_struct regs;
	int calls = 0;
	int marks = 0;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		pid_t child;

		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		syscall(SYS_getppid);
		child = clone_extended(0, 0, NULL, NULL, NULL, sets[kind]);
		if (child == 0)
			_exit(0);
		syscall(SYS_getppid);
		_exit(child > 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (int entry = 1;
		ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid;
		entry = !entry) {
		if (!WIFSTOPPED(status))
			break;
		if (!entry || WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		ptrace(PTRACE_GETREGS, pid, 0, &regs);
		if (regs.orig_rax == SYS_getppid)
			marks++;
		else if (marks == 1)
			calls++;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && marks == 2 ? calls : -1;
}
#endif

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
#ifdef __x86_64__
		if (clone_extended_backend(NULL) == CLONE_EXTENDED_CLONE3)
			for (int kind = 0; kind < 3; kind++)
				check(&t, count_calls(kind) == 1, "one system call");
#endif
	}
	printf("%d passed, %d failed, 0 skipped\n", t.passed, t.failed);
	return t.failed != 0;
}

int main(void)
{
	int status = 1;
	pid_t pid;

	alarm(600);
	/* valgrind knows no namespaces. Elsewhere one of its own has no strangers' pids. */
	if (getenv("CALL_IN_VALGRIND"))
		return all();
	pid = clone_extended(SIGCHLD | CLONE_NEWPID, 0, NULL, NULL, NULL, NULL);
	if (pid == 0)
		exit(all());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		perror("a namespace");
	return status != 0;
}
