// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the instructions from the entry into a call that creates a task to its return in the
 * parent. In a guest under icount (one CPU, shift 0) the time stamp counter counts instructions.
 * Prints "count NAME LEAST MEDIAN" for each way.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 301
#define CHOSEN 4321
#define SHARED (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND)

struct clone_tid_info {
	void *parent_tid;
	void *child_tid;
};

struct pid_set {
	int num_pids;
	pid_t *pids;
};

struct way {
	const char *name;
	long nr; /* 0: clone_extended() */
	long args[6];
};

static char stack[65536] __attribute__((aligned(16)));

static uint64_t instructions(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

/* The child ends at once, without touching a stack that may be its parent's. */
static long call(long nr, const long *args)
{
	register long r10 __asm__("r10") = args[3];
	register long r8 __asm__("r8") = args[4];
	register long r9 __asm__("r9") = args[5];
	long ret;

	__asm__ volatile(
		"syscall; test %%rax, %%rax; jnz 1f; mov $60, %%eax; xor %%edi, %%edi; syscall; 1:"
		: "=a"(ret)
		: "a"(nr), "D"(args[0]), "S"(args[1]), "d"(args[2]), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory");
	return ret;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void count(const struct way *way)
{
	uint64_t all[TIMES];

	for (int i = 0; i < TIMES; i++) {
		uint64_t start = instructions();
		long pid = call(way->nr, way->args);

		all[i] = instructions() - start;
		if (pid <= 0) {
			printf("not ok 1 %s: %s\n", way->name, strerror((int)-pid));
			return;
		}
		waitpid((pid_t)pid, NULL, __WALL);
	}
	qsort(all, TIMES, sizeof(all[0]), compare);
	printf("count %s %llu %llu\n", way->name, (unsigned long long)all[0],
		(unsigned long long)all[TIMES / 2]);
}

static long number(void)
{
	FILE *f = fopen("/proc/sys/kernel/clone_extended", "re");
	long nr = 0;

	if (f && fscanf(f, "%ld", &nr) != 1)
		nr = 0;
	if (f)
		fclose(f);
	return nr;
}

int main(void)
{
	pid_t one = CHOSEN, none = 0;
	struct pid_set chosen = {1, &one}, zero = {1, &none};
	struct clone_tid_info tids = {0};
	struct clone_args plain = {.exit_signal = SIGCHLD}, set = plain;
	struct clone_args shared = {.flags = SHARED,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = sizeof(stack)};
	long top = (long)(stack + sizeof(stack));
	long nr = number();

	set.set_tid = (uintptr_t)&one;
	set.set_tid_size = 1;
	const struct way ways[] = {
		{"fork", SYS_fork, {0}},
		{"vfork", SYS_vfork, {0}},
		{"clone", SYS_clone, {SIGCHLD}},
		{"clone-shared", SYS_clone, {SHARED | SIGCHLD, top}},
		{"clone3", SYS_clone3, {(long)&plain, sizeof(plain)}},
		{"clone3-shared", SYS_clone3, {(long)&shared, sizeof(shared)}},
		{"clone3-set_tid", SYS_clone3, {(long)&set, sizeof(set)}},
		{"clone_extended", nr, {SIGCHLD}},
		{"clone_extended-shared", nr, {SHARED | SIGCHLD, 0, top}},
		{"clone_extended-tid_ptrs", nr, {SIGCHLD, 0, 0, 0, (long)&tids}},
		{"clone_extended-zeros", nr, {SIGCHLD, 0, 0, 0, 0, (long)&zero}},
		{"clone_extended-chosen", nr, {SIGCHLD, 0, 0, 0, 0, (long)&chosen}},
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (ways[i].nr)
			count(&ways[i]);
	}
	printf("ok 1 counted\n");
	return 0;
}
