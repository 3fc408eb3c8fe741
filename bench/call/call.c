/* SPDX-License-Identifier: MIT */
/*
 * The cost of clone_extended() against the raw system calls, as ratios: both are timed in turns, so
 * that what else the machine does meets both. Timed is the call alone, as its caller sees it; the
 * child ends at once. The raw call is one instruction: syscall(3) would flatter the library.
 */
#include <alloca.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <clone_extended.h>

enum { TURNS = 400, CALLS = 40 };

struct meter {
	int instructions; /* a counter of this process alone, or -1 */
	pid_t next;
};

/* Of one call. */
struct cost {
	double time; /* microseconds */
	double instructions;
	double faults; /* of pages, in the caller: those that fork() left for whoever writes */
};

typedef pid_t maker(pid_t want);

#ifdef __x86_64__
static inline __attribute__((always_inline)) long raw(long nr, long a, long b)
{
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(0L), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}
#else
#define raw(nr, a, b) syscall(nr, a, b, 0L, 0L, 0L)
#endif

static pid_t raw_clone(pid_t want)
{
	(void)want;
	return (pid_t)raw(SYS_clone, SIGCHLD, 0);
}

static pid_t no_set(pid_t want)
{
	(void)want;
	return clone_extended(SIGCHLD, 0, NULL, NULL, NULL, NULL);
}

static pid_t raw_clone3(pid_t want)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&want, .set_tid_size = 1};

	return (pid_t)raw(SYS_clone3, (long)&args, CLONE_ARGS_SIZE_VER1);
}

static pid_t with_set(pid_t want)
{
	struct pid_set set = {1, &want};

	return clone_extended(SIGCHLD, 0, NULL, NULL, NULL, &set);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t instructions(const struct meter *m)
{
	uint64_t value = 0;

	if (m->instructions < 0 || read(m->instructions, &value, sizeof(value)) != sizeof(value))
		return 0;
	return value;
}

static double faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_minflt;
}

/* Microseconds for one call; instructions and page faults with the end of its child. */
static __attribute__((noinline)) void turn(struct meter *m, maker *make, struct cost *ret)
{
	uint64_t counted = instructions(m);
	double faulted = faults();
	double spent = 0;

	for (int i = 0; i < CALLS; i++) {
		double start = now();
		pid_t pid = make(m->next);

		if (pid)
			spent += now() - start;
		if (pid == 0)
			_exit(0);
		if (pid < 0) {
			perror("clone");
			exit(1);
		}
		waitpid(pid, NULL, 0);
		m->next = m->next < 30000 ? m->next + 1 : 20000;
	}
	ret->time = spent / CALLS;
	ret->instructions = (double)(instructions(m) - counted) / CALLS;
	ret->faults = (faults() - faulted) / CALLS;
}

/* Where on its page the caller's stack ends decides whether the library's frame needs another. */
static __attribute__((noinline)) void turn_at(
	int place, struct meter *m, maker *make, struct cost *ret)
{
	char *volatile below = alloca((size_t)place * 512 + 16);

	below[0] = 0;
	turn(m, make, ret);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The middle of what lies at that place in each of the turns. */
static double median(const struct cost *turns, size_t place, const struct cost *base)
{
	double values[TURNS];

	for (int i = 0; i < TURNS; i++) {
		values[i] = *(const double *)((const char *)&turns[i] + place);
		if (base)
			values[i] /= *(const double *)((const char *)&base[i] + place);
	}
	qsort(values, TURNS, sizeof(*values), ascending);
	return values[TURNS / 2];
}

static void compare(struct meter *m, const char *what, maker *raw_call, maker *ours)
{
	static struct cost costs[2][TURNS];
	const size_t time = offsetof(struct cost, time);
	const size_t count = offsetof(struct cost, instructions);
	double mean[2] = {0, 0};

	for (int i = 0; i < TURNS; i++) {
		/* Who begins changes, so that neither has the better place. */
		for (int side = 0; side < 2; side++) {
			int which = (i + side) % 2;

			turn_at(i % 8, m, which ? ours : raw_call, &costs[which][i]);
		}
	}
	for (int i = 0; i < TURNS; i++)
		for (int which = 0; which < 2; which++)
			mean[which] += costs[which][i].faults / TURNS;
	printf("%-34s raw %6.1f us, ours %6.1f us, ratio %.3f, page faults %.1f and %.1f", what,
		median(costs[0], time, NULL), median(costs[1], time, NULL),
		median(costs[1], time, costs[0]), mean[0], mean[1]);
	if (m->instructions >= 0)
		printf(", instructions %.0f and %.0f, ratio %.4f", median(costs[0], count, NULL),
			median(costs[1], count, NULL), median(costs[1], count, costs[0]));
	printf("\n");
	fflush(stdout);
}

/* Instructions of a program that does no more than the call, outside the kernel. */
static long steps(maker *make)
{
	long count = 0;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		pid_t child;

		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		child = make(31000);
		if (child == 0)
			_exit(0);
		_exit(child < 0);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		count++;
		ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
	}
	return count;
}

static int open_counter(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.exclude_hv = 1};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static int measure(void)
{
	struct meter m = {.instructions = open_counter(), .next = 20000};

	if (m.instructions < 0)
		printf("(no hardware counter of instructions here: time only)\n");
	clone_extended_use(CLONE_EXTENDED_CLONE3);
	printf("instructions outside the kernel: no set %+ld, one pid %+ld\n",
		steps(no_set) - steps(raw_clone), steps(with_set) - steps(raw_clone3));
	compare(&m, "no set, against clone", raw_clone, no_set);
	compare(&m, "one pid, against clone3 set_tid", raw_clone3, with_set);
	clone_extended_use(CLONE_EXTENDED_LAST_PID);
	compare(&m, "one pid by last_pid, against clone3", raw_clone3, with_set);
	return 0;
}

int main(void)
{
	/* Pids are free in a namespace of one's own. */
	pid_t pid = clone_extended(SIGCHLD | CLONE_NEWPID, 0, NULL, NULL, NULL, NULL);
	int status = 1;

	if (pid == 0)
		exit(measure());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		perror("clone_extended");
	return status != 0;
}
