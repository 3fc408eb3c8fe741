/* SPDX-License-Identifier: MIT */
/*
 * How many system calls a call of clone_extended() makes, counted from outside by ptrace(2) between
 * two that mark it: without a set, and with sets in several places and of several forms.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "world.h"

enum place { NONE, STACK, DATA, HEAP, APART, LIBRARY, OTHER_STACK };

static const struct row {
	const char *name;
	enum place place;
	int num;
	pid_t pids[3];
	bool nested; /* in a pid namespace of its own */
	bool forked; /* came there by fork: the library has been loaded further out */
	int calls;   /* on the clone3 backend */
} rows[] = {
	{"no set", NONE, 0, {0}, false, false, 1},
	{"an empty set", STACK, 0, {0}, false, false, 1},
	{"only zeros", STACK, 1, {0}, false, false, 1},
	{"on the stack", STACK, 1, {-1}, false, false, 1},
	{"in the program's data", DATA, 1, {-1}, false, false, 1},
	{"on the heap, on one page", HEAP, 1, {-1}, false, false, 2},
	{"on the heap, on two pages", APART, 1, {-1}, false, false, 3},
	{"in a library's data", LIBRARY, 1, {-1}, false, false, 2},
	{"on another stack, a page up", OTHER_STACK, 1, {-1}, false, false, 2},
	{"two levels", STACK, 2, {-1, 77}, true, false, 1},
	{"a zero outside", STACK, 2, {0, 77}, true, false, 1},
	{"a zero outside, after fork", STACK, 2, {0, 77}, true, true, 2},
	{"a zero inside", STACK, 2, {-1, 0}, true, false, 1},
};

static pid_t data_pids[3];
static struct pid_set data_set;

static void mark(void)
{
	syscall(SYS_getppid);
}

static void *page_at(void *from)
{
	return (void *)(((size_t)from + 4095) & ~4095UL);
}

/* Runs in the task that is counted. 0, or errno of the call. */
static int one_call(const struct row *row, pid_t chosen)
{
	char above[3 * 4096], *heap = malloc(sizeof(above));
	pid_t here[3], *pids = here, child;
	struct pid_set on_stack, *set = &on_stack;

	if (row->place == DATA) {
		pids = data_pids;
		set = &data_set;
	} else if (row->place == LIBRARY) {
		set = (void *)gmtime(&(time_t){0}); /* in the C library's own data */
		pids = (void *)(set + 1);
	} else if (row->place != STACK && row->place != NONE) {
		set = page_at(row->place == OTHER_STACK ? above : heap);
		pids = row->place == APART ? (void *)((char *)set + 4096) : (void *)(set + 1);
	}
	for (int i = 0; i < row->num; i++)
		pids[i] = row->pids[i] < 0 ? chosen : row->pids[i];
	*set = (struct pid_set){row->num, pids};
	mark();
	child = clone_extended(SIGCHLD, 0, NULL, NULL, NULL, row->place == NONE ? NULL : set);
	if (child == 0)
		_exit(0);
	mark();
	free(heap);
	if (child < 0)
		return errno;
	waitpid(child, NULL, 0);
	return 0;
}

static void call_on_this_stack(int row, pid_t chosen)
{
	_exit(one_call(&rows[row], chosen));
}

static _Noreturn void be_counted(const struct row *row, pid_t chosen)
{
	const size_t size = 256 << 10;
	ucontext_t context;

	clone_extended_use(CLONE_EXTENDED_CLONE3);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	if (row->place == OTHER_STACK && getcontext(&context) == 0) {
		context.uc_stack.ss_sp = malloc(size);
		context.uc_stack.ss_size = size;
		makecontext(
			&context, (void (*)(void))call_on_this_stack, 2, (int)(row - rows), chosen);
		setcontext(&context);
	}
	_exit(one_call(row, chosen));
}

static pid_t start(const struct row *row, pid_t chosen)
{
	pid_t pid;

	fflush(stdout);
	if (row->nested && unshare(CLONE_NEWPID) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		char which[24], number[16];

		snprintf(which, sizeof(which), "%td", row - rows);
		snprintf(number, sizeof(number), "%d", chosen);
		if (row->forked)
			be_counted(row, chosen);
		execl("/proc/self/exe", "call-counted", which, number, NULL);
		_exit(126);
	}
	return pid;
}

/* Entries of system calls between the marks; -1 - status when the call has failed. */
static int count(const struct row *row)
{
	struct world w = {.pid_max = {32768}, .last_pid = getpid()};
	pid_t pid = start(row, free_pid(&w, 0));
	int status, calls = 0, marks = 0;
	bool inside = false;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (int signal = 0;;) {
		struct __ptrace_syscall_info info = {0};

		if (ptrace(PTRACE_SYSCALL, pid, 0, signal) < 0 || waitpid(pid, &status, 0) != pid)
			return -1;
		if (WIFEXITED(status))
			return WEXITSTATUS(status) ? -1 - WEXITSTATUS(status) : calls;
		if (!WIFSTOPPED(status))
			return -1;
		signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
		if (signal || ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
			continue;
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		if (info.entry.nr == SYS_getppid) {
			marks++;
			inside = marks == 1;
		} else if (inside) {
			calls++;
		}
	}
}

/* In a process of its own, for a namespace that is opened for children is so for good. */
static int counted(const struct row *row)
{
	int ends[2], calls = -1, status;
	pid_t pid;

	for (int tries = 0; tries < 20; tries++) {
		fflush(stdout);
		if (pipe(ends) < 0)
			return -1;
		pid = fork();
		if (pid == 0) {
			calls = count(row);
			_exit(write(ends[1], &calls, sizeof(calls)) != sizeof(calls));
		}
		close(ends[1]);
		if (read(ends[0], &calls, sizeof(calls)) != sizeof(calls))
			calls = -1;
		close(ends[0]);
		waitpid(pid, &status, 0);
		/* Somebody else has just taken that pid. */
		if (calls != -1 - EBUSY)
			break;
	}
	return calls;
}

int main(int argc, char **argv)
{
	int failed = 0, passed = 0;

	if (argc > 2)
		be_counted(&rows[atoi(argv[1])], atoi(argv[2]));

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int calls = counted(&rows[i]);

		printf("%-28s %d system calls\n", rows[i].name, calls);
		passed += calls == rows[i].calls;
		if (calls != rows[i].calls) {
			printf("FAILED: %s: %d system calls, not %d\n", rows[i].name, calls,
				rows[i].calls);
			failed++;
		}
	}
	printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	return failed != 0;
}
