/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of clone_extended() share. One program includes it once. */
#ifndef CE_H
#define CE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/types.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#define CE_CLEAR_SIGHAND_HIGH 1 /* CLONE_CLEAR_SIGHAND, bit 32 */
#define CE_MAX_DEPTH 32 /* MAX_PID_NS_LEVEL */
#define CE_LEVELS (CE_MAX_DEPTH + 2)
#define CE_LIMIT 300 /* seconds for one case; the machine may be emulated */

struct clone_tid_info {
	void *parent_tid;
	void *child_tid;
};

struct pid_set {
	int num_pids;
	pid_t *pids;
};

/*
 * ce_asm(nr, flags_low, flags_high, stack, unused, tid_ptrs, pid_setp)
 * A child with a stack of its own finds a function and its argument there.
 */
long ce_asm(long nr, long low, long high, void *stack, void *unused,
	    struct clone_tid_info *tids, struct pid_set *set);

#if defined(__LP64__) && defined(SYS_arch_prctl)
asm(".text\n.globl ce_asm\nce_asm:\n"
	"mov %rdi, %rax; mov %rsi, %rdi; mov %rdx, %rsi\n"
	"mov %rcx, %rdx; mov %r8, %r10; mov %r9, %r8\n"
	"mov 8(%rsp), %r9; syscall\n"
	"test %rax, %rax; jnz 1f; test %rdx, %rdx; jz 1f\n"
	"xor %ebp, %ebp; pop %rax; pop %rdi; call *%rax\n"
	"mov %eax, %edi; mov $60, %eax; syscall\n"
	"1: ret\n");
#elif defined(SYS_set_thread_area)
#define CE_I386 1
asm(".text\n.globl ce_asm\nce_asm:\n"
	"push %ebp; push %ebx; push %esi; push %edi\n"
	"mov 20(%esp), %eax; mov 24(%esp), %ebx; mov 28(%esp), %ecx\n"
	"mov 32(%esp), %edx; mov 36(%esp), %esi; mov 40(%esp), %edi\n"
	"mov 44(%esp), %ebp; int $0x80\n"
	"test %eax, %eax; jnz 1f; test %edx, %edx; jz 1f\n"
	"xor %ebp, %ebp; pop %eax; call *%eax\n"
	"mov %eax, %ebx; mov $1, %eax; int $0x80\n"
	"1: pop %edi; pop %esi; pop %ebx; pop %ebp; ret\n");
#elif defined(__aarch64__)
asm(".text\n.globl ce_asm\nce_asm:\n"
	"mov x8, x0; mov x0, x1; mov x1, x2; mov x2, x3\n"
	"mov x3, x4; mov x4, x5; mov x5, x6; svc 0\n"
	"cbnz x0, 1f; cbz x2, 1f\n"
	"ldr x9, [sp]; ldr x0, [sp, #8]; add sp, sp, #16\n"
	"mov x29, #0; blr x9; mov x8, #93; svc 0\n"
	"1: ret\n");
#elif defined(__arm__)
asm(".text\n.syntax unified\n.arm\n.globl ce_asm\n.type ce_asm, %function\nce_asm:\n"
	"push {r4-r7, lr}; mov r7, r0; mov r0, r1; mov r1, r2; mov r2, r3\n"
	"ldr r3, [sp, #20]; ldr r4, [sp, #24]; ldr r5, [sp, #28]; svc 0\n"
	"cmp r0, #0; bne 1f; cmp r2, #0; beq 1f\n"
	"pop {r1}; pop {r0}; mov fp, #0; blx r1; mov r7, #1; svc 0\n"
	"1: pop {r4-r7, pc}\n");
#else
#error "clone_extended() is not wired up here"
#endif

static long ce_nr;
static int ce_failures;

/* The call's number, from where programs are to take it. */
static inline void ce_find(void)
{
	FILE *f = fopen("/proc/sys/kernel/clone_extended", "r");

	if (!f || fscanf(f, "%ld", &ce_nr) != 1)
		ksft_exit_skip("no /proc/sys/kernel/clone_extended\n");
	fclose(f);
}

/* The call itself: the pid, 0 in the child, or -errno. */
static inline long ce_call(int low, int high, void *stack, void *unused,
			   struct clone_tid_info *tids, struct pid_set *set)
{
	return ce_asm(ce_nr, low, high, stack, unused, tids, set);
}

/* Prepare a stack for ce_call() on which the child calls fn(arg). */
static inline void *ce_stack(void *base, size_t size, int (*fn)(void *), void *arg)
{
	void **sp = (void **)(((uintptr_t)base + size - 64) & ~(uintptr_t)15);

#ifdef CE_I386
	sp -= 1; /* the argument is what has to be aligned */
#endif
	sp[0] = (void *)fn;
	sp[1] = arg;
	return sp;
}

static inline __printf(2, 3) void ce_expect(bool good, const char *fmt, ...)
{
	va_list args;
	char text[300];

	if (good)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	dprintf(1, "# %s\n", text);
	ce_failures++;
}

/* Expect a result of the call; where it made a task against expectation, end that. */
static inline void ce_expect_error(long got, int want, const char *what)
{
	if (got == 0)
		_exit(99);
	if (got > 0) {
		kill(got, SIGKILL);
		waitpid(got, NULL, __WALL);
	}
	ce_expect(got == -want, "%s: %ld, not -%d (%s)", what, got, want, strerror(want));
}

/* What another task may change at any time. */
static inline pid_t ce_get(const pid_t *at)
{
	return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static inline void ce_set(pid_t *at, pid_t value)
{
	__atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

/* What the kernel says of a task through its pidfd: its pid on each level. */
static inline int ce_nspid(int pidfd, pid_t *pids)
{
	char path[64], line[1024];
	int levels = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *at = line + 6, *end;

		if (strncmp(line, "NSpid:", 6))
			continue;
		for (; levels < CE_LEVELS; levels++, at = end) {
			pids[levels] = strtol(at, &end, 10);
			if (end == at)
				break;
		}
	}
	if (f)
		fclose(f);
	return levels;
}

struct ce_child {
	long ret; /* the pid, or -errno */
	int pidfd;
	int levels;
	pid_t nspid[CE_LEVELS];
};

/* Create a child that waits to be killed, and note its pids. */
static inline struct ce_child ce_spawn(int flags, struct pid_set *set)
{
	struct ce_child child = { .pidfd = -1 };
	struct clone_tid_info tids = { .parent_tid = &child.pidfd };

	child.ret = ce_call(flags | CLONE_PIDFD | SIGCHLD, 0, NULL, NULL, &tids, set);
	if (child.ret == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (child.ret > 0)
		child.levels = ce_nspid(child.pidfd, child.nspid);
	return child;
}

static inline void ce_end(struct ce_child *child)
{
	if (child->ret <= 0)
		return;
	syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	ce_expect(waitpid(child->ret, NULL, __WALL) == child->ret, "wait for %ld: %s",
		  child->ret, strerror(errno));
	close(child->pidfd);
}

/* Spawn with a set: the child has what is chosen in it, on so many levels. */
static inline void ce_expect_pids(int flags, pid_t *pids, int n, int levels)
{
	struct pid_set set = { .num_pids = n, .pids = pids };
	struct ce_child child = ce_spawn(flags, &set);
	int extra = flags & CLONE_NEWPID ? 1 : 0;
	int i, at = levels - n;

	ce_expect(child.ret > 0, "a set of %d on %d levels: %s", n, levels,
		  strerror(-child.ret));
	if (child.ret <= 0)
		return;
	ce_expect(child.levels == levels + extra, "%d levels, not %d", child.levels,
		  levels + extra);
	for (i = 0; i < n; i++)
		ce_expect(!pids[i] || child.nspid[at + i] == pids[i],
			  "level %d: pid %d, not %d", at + i, child.nspid[at + i], pids[i]);
	if (extra)
		ce_expect(child.nspid[levels] == 1, "pid %d in a new namespace",
			  child.nspid[levels]);
	ce_end(&child);
}

/* A pid that no other level of a case uses. */
static inline pid_t ce_pid(int level, int turn)
{
	return 5000 + 40 * turn + level;
}

static inline int ce_pid_max(void)
{
	FILE *f = fopen("/proc/sys/kernel/pid_max", "r");
	int max = 0;

	if (f && fscanf(f, "%d", &max) != 1)
		max = 0;
	if (f)
		fclose(f);
	return max;
}

static inline int ce_wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) != pid) {
		if (errno != EINTR)
			return 98;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* Run fn(depth) that many pid namespaces further in, as an ordinary task; 0 if it was content. */
static inline int ce_at_depth(int depth, int left, void (*fn)(int depth))
{
	pid_t pid;

	if (left && unshare(CLONE_NEWPID)) {
		ksft_print_msg("unshare: %s\n", strerror(errno));
		return 97;
	}
	pid = fork();
	if (pid < 0)
		return 96;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(CE_LIMIT);
		ce_failures = 0;
		if (left)
			_exit(ce_at_depth(depth, left - 1, fn));
		fn(depth);
		_exit(ce_failures ? 1 : 0);
	}
	return ce_wait_status(pid);
}

struct ce_case {
	const char *name;
	void (*fn)(int depth);
};

/* Each case in a process of its own, so that unshare() of one leaves the next alone. */
static inline void ce_run(const struct ce_case *cases, int count, const int *depths, int n)
{
	int i, k;

	for (k = 0; k < n; k++) {
		for (i = 0; i < count; i++) {
			pid_t pid;
			int status;

			fflush(stdout);
			pid = fork();
			if (pid == 0)
				_exit(ce_at_depth(depths[k], depths[k], cases[i].fn));
			status = pid < 0 ? 95 : ce_wait_status(pid);
			ksft_test_result(status == 0, "%s, depth %d (status %d)\n",
					 cases[i].name, depths[k], status);
		}
	}
}

static inline void ce_begin(void)
{
	ksft_print_header();
	setvbuf(stdout, NULL, _IOLBF, 0);
	ce_find();
}

static inline int ce_finish(void)
{
	ksft_set_plan(ksft_test_num());
	ksft_finished();
	return 1;
}

#endif /* CE_H */
