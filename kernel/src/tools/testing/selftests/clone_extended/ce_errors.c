// SPDX-License-Identifier: GPL-2.0-only
/* Sets that clone_extended() refuses, and that nothing is left of them. */
#include "ce.h"

static const int depths[] = { 0, 1, 2, 8, 32 };

static void expect_refused(struct pid_set *set, int want, const char *what)
{
	siginfo_t info;

	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, set), want, what);
	ce_expect(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == -1 && errno == ECHILD,
		  "%s: there is a child", what);
}

static void counts(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .pids = pids };
	int bad[] = { -1, -2, INT_MIN, depth + 2, depth + 3, 33, 34, 35, 1000, INT_MAX,
		      0x40000000, 0x40000001 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (bad[i] >= 0 && bad[i] <= depth + 1)
			continue;
		set.num_pids = bad[i];
		expect_refused(&set, EINVAL, "number of pids");
	}
	ce_expect_pids(0, pids, depth + 1, depth + 1);
}

static void values(int depth)
{
	int max = ce_pid_max();
	int bad[] = { -1, -77, INT_MIN, max, max + 1, INT_MAX };
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	int at, k;
	size_t i;

	for (at = 0; at <= depth; at++) {
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			for (k = 0; k <= depth; k++)
				pids[k] = i % 2 ? ce_pid(k, 1) : 0;
			pids[at] = bad[i];
			expect_refused(&set, EINVAL, "a pid out of range");
		}
	}
	for (k = 0; k <= depth; k++)
		pids[k] = max - 1 - k;
	ce_expect_pids(0, pids, depth + 1, depth + 1);
}

/* A child that ends at once; no flag needs the pointers. */
static pid_t ce_ends(void *tids)
{
	pid_t pid = ce_call(SIGCHLD, 0, NULL, NULL, tids, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

static void pointers(int depth)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	pid_t *edge = (pid_t *)(two + page) - depth;
	struct pid_set set = { .num_pids = depth + 1 };
	void *bad[] = { NULL, (void *)8, (void *)-1L, (void *)-4096L, two + page, edge };
	struct pid_set *cut = (struct pid_set *)(two + page - sizeof(int));
	struct clone_tid_info *tids = (struct clone_tid_info *)(two + page - sizeof(long));
	size_t i;

	ce_expect(munmap(two + page, page) == 0, "munmap");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		set.pids = bad[i];
		expect_refused(&set, EFAULT, "pids");
		if (i && bad[i] != edge) {
			expect_refused(bad[i], EFAULT, "the set");
			ce_expect_error(ce_call(CLONE_PARENT_SETTID | SIGCHLD, 0, NULL, NULL,
						bad[i], NULL),
					EFAULT, "tid_ptrs");
			ce_expect(ce_wait_status(ce_ends(bad[i])) == 0, "tid_ptrs of no use");
		}
	}
	expect_refused(cut, EFAULT, "half a set");
	ce_expect_error(ce_call(CLONE_CHILD_SETTID | SIGCHLD, 0, NULL, NULL, tids, NULL), EFAULT,
			"half the tids");
	/* To the last byte of what is mapped, and no further. */
	edge--;
	memset(edge, 0, (depth + 1) * sizeof(*edge));
	ce_expect_pids(0, edge, depth + 1, depth + 1);
}

/* A pid that is taken on any level. */
static void taken(int depth)
{
	pid_t pids[CE_LEVELS], mix[CE_LEVELS];
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	struct pid_set again = { .num_pids = depth + 1, .pids = mix };
	struct ce_child child;
	int at, k;

	for (k = 0; k <= depth; k++)
		pids[k] = ce_pid(k, 1);
	child = ce_spawn(0, &set);
	ce_expect(child.ret > 0, "first: %ld", child.ret);
	for (at = 0; at <= depth; at++) {
		for (k = 0; k <= depth; k++)
			mix[k] = k == at ? pids[k] : ce_pid(k, 2);
		ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &again), EBUSY, "taken");
		for (k = 0; k <= depth; k++)
			mix[k] = k == at ? pids[k] : 0;
		ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &again), EBUSY, "taken");
	}
	ce_end(&child);
	/* Nothing stayed reserved, neither of the first nor of those that failed. */
	ce_expect_pids(0, pids, depth + 1, depth + 1);
	for (k = 0; k <= depth; k++)
		mix[k] = ce_pid(k, 2);
	ce_expect_pids(0, mix, depth + 1, depth + 1);
}

/* Taken by a zombie, and by what is only a session's or a group's number any more. */
static void taken_by_the_dead(int depth)
{
	pid_t pids[] = { ce_pid(depth, 3) }, member;
	struct pid_set set = { .num_pids = 1, .pids = pids };
	siginfo_t info;
	int turn, fds[2];
	long pid;

	pid = ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set);
	if (pid == 0)
		_exit(0);
	ce_expect(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0, "waitid");
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EBUSY, "a zombie");
	ce_expect(ce_wait_status(pid) == 0, "wait");

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (turn = 0; turn < 2; turn++) {
		ce_expect(pipe(fds) == 0, "pipe");
		pid = ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set);
		if (pid == 0) {
			if (turn ? setsid() < 0 : setpgid(0, 0) < 0)
				_exit(1);
			member = fork();
			if (member == 0)
				for (;;)
					pause();
			_exit(write(fds[1], &member, sizeof(member)) != sizeof(member));
		}
		ce_expect(ce_wait_status(pid) == 0, "a leader");
		ce_expect(read(fds[0], &member, sizeof(member)) == sizeof(member), "read");
		ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EBUSY,
				turn ? "a session" : "a process group");
		kill(member, SIGKILL);
		ce_expect(ce_wait_status(member) == 100 + SIGKILL, "the member");
		ce_expect_pids(0, pids, 1, depth + 1);
		close(fds[0]);
		close(fds[1]);
	}
}

/* What copy_process() refuses leaves no pid behind. */
static void refused_later(int depth)
{
	pid_t pids[CE_LEVELS];
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	struct clone_tid_info tids = { .parent_tid = (void *)-1L };
	int i, k;

	for (k = 0; k <= depth; k++)
		pids[k] = k % 2 ? 0 : ce_pid(k, 4);
	for (i = 0; i < 50; i++) {
		ce_expect_error(ce_call(CLONE_THREAD | SIGCHLD, 0, NULL, NULL, NULL, &set), EINVAL,
				"CLONE_THREAD alone");
		/* The pidfd cannot be stored: after the pids were reserved. */
		ce_expect_error(ce_call(CLONE_PIDFD | SIGCHLD, 0, NULL, NULL, &tids, &set), EFAULT,
				"CLONE_PIDFD");
	}
	ce_expect_pids(0, pids, depth + 1, depth + 1);
}

static const struct ce_case cases[] = {
	{ "numbers of pids", counts },
	{ "values of pids", values },
	{ "pointers", pointers },
	{ "a pid that is taken", taken },
	{ "a pid taken by the dead", taken_by_the_dead },
	{ "refused after the set was read", refused_later },
};

int main(void)
{
	ce_begin();
	ce_run(cases, ARRAY_SIZE(cases), depths, ARRAY_SIZE(depths));
	return ce_finish();
}
