/* SPDX-License-Identifier: MIT */
/*
 * The cost of clone_extended() against the raw system calls, as ratios: both are timed in turns, so
 * that what else the machine does meets both. The child shares memory and ends at once.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
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

typedef pid_t maker(pid_t want);

static pid_t raw_clone(pid_t want)
{
	(void)want;
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
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

	return (pid_t)syscall(SYS_clone3, &args, CLONE_ARGS_SIZE_VER1);
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

/* Microseconds and instructions for one call and the end of its child. */
static void turn(struct meter *m, maker *make, double *ret_time, double *ret_instructions)
{
	uint64_t counted = instructions(m);
	double start = now();

	for (int i = 0; i < CALLS; i++) {
		pid_t pid = make(m->next);

		if (pid == 0)
			_exit(0);
		if (pid < 0) {
			perror("clone");
			exit(1);
		}
		waitpid(pid, NULL, 0);
		m->next = m->next < 30000 ? m->next + 1 : 20000;
	}
	*ret_time = (now() - start) / CALLS;
	*ret_instructions = (double)(instructions(m) - counted) / CALLS;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), ascending);
	return values[n / 2];
}

static void compare(struct meter *m, const char *what, maker *raw, maker *ours)
{
	static double times[3][TURNS];
	static double counts[3][TURNS];
	double slow;
	double base;

	for (int i = 0; i < TURNS; i++) {
		/* Who begins changes, so that neither has the better place. */
		for (int side = 0; side < 2; side++) {
			int which = (i + side) % 2;

			turn(m, which ? ours : raw, &times[which][i], &counts[which][i]);
		}
		times[2][i] = times[1][i] / times[0][i];
		counts[2][i] = counts[0][i] > 0 ? counts[1][i] / counts[0][i] : 0;
	}
	slow = median(times[2], TURNS);
	base = median(times[0], TURNS);
	printf("%-34s raw %6.1f us, ours %6.1f us, ratio %.3f", what, base, median(times[1], TURNS),
		slow);
	if (m->instructions >= 0)
		printf(", instructions %.0f and %.0f, ratio %.4f", median(counts[0], TURNS),
			median(counts[1], TURNS), median(counts[2], TURNS));
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
