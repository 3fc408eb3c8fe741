// SPDX-License-Identifier: GPL-2.0-only
/* What clone_extended() does with a set of pids, at every depth of pid namespaces. */
#include "ce.h"

static const int depths[] = { 0, 1, 2, 8, 31, 32 };

static int last_number(void)
{
	FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "r");
	int last = -1;

	if (f && fscanf(f, "%d", &last) != 1)
		last = -1;
	if (f)
		fclose(f);
	return last;
}

/* Without a set: clone(2). */
static void no_set(int depth)
{
	struct pid_set none = { .num_pids = 0, .pids = (pid_t *)8 };
	struct pid_set *sets[] = { NULL, &none };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		pid_t pid, mine[2] = {};
		int fds[2];

		ce_expect(pipe(fds) == 0, "pipe");
		pid = ce_call(SIGCHLD, 0, NULL, NULL, NULL, sets[i]);
		if (pid == 0) {
			mine[0] = syscall(SYS_getpid);
			mine[1] = syscall(SYS_getppid);
			_exit(write(fds[1], mine, sizeof(mine)) == sizeof(mine) ? 7 : 8);
		}
		ce_expect(pid > 0, "no set: %d", pid);
		ce_expect(ce_wait_status(pid) == 7, "exit status");
		ce_expect(read(fds[0], mine, sizeof(mine)) == sizeof(mine), "read");
		ce_expect(mine[0] == pid, "returned %d, child is %d", pid, mine[0]);
		ce_expect(mine[1] == getpid(), "parent %d", mine[1]);
		close(fds[0]);
		close(fds[1]);
	}
}

/* Every level chosen; then every shorter set, aligned to the youngest. */
static void all_levels(int depth)
{
	pid_t pids[CE_LEVELS];
	int i, n;

	for (n = depth + 1; n > 0; n--) {
		for (i = 0; i < n; i++)
			pids[i] = ce_pid(i, n);
		ce_expect_pids(0, pids, n, depth + 1);
	}
}

/* One level chosen, zeros around it. */
static void one_level(int depth)
{
	pid_t pids[CE_LEVELS];
	int i;

	for (i = 0; i <= depth; i++) {
		memset(pids, 0, sizeof(pids));
		pids[i] = ce_pid(i, 1);
		ce_expect_pids(0, pids, depth + 1, depth + 1);
	}
}

/* Zeros between chosen pids, which set_tid of clone3() cannot say. */
static void inner_zeros(int depth)
{
	pid_t pids[CE_LEVELS];
	int i, step, first;

	for (step = 2; step <= 4; step++) {
		for (first = 0; first < step; first++) {
			memset(pids, 0, sizeof(pids));
			for (i = first; i <= depth; i += step)
				pids[i] = ce_pid(i, step);
			ce_expect_pids(0, pids, depth + 1, depth + 1);
		}
	}
}

static void only_zeros(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	int n;

	for (n = 1; n <= depth + 1; n++)
		ce_expect_pids(0, pids, n, depth + 1);
}

/* The pid that is returned is the one in the caller's namespace. */
static void own_number(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	struct ce_child child;

	pids[depth] = ce_pid(depth, 2);
	child = ce_spawn(0, &set);
	ce_expect(child.ret == pids[depth], "returned %ld", child.ret);
	ce_end(&child);
}

/* Choosing does not move the namespace's last pid, whether it succeeds or not. */
static void last_pid(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = 1, .pids = pids };
	struct ce_child child;
	int before = last_number();

	pids[0] = ce_pid(depth, 3);
	child = ce_spawn(0, &set);
	ce_expect(child.ret == pids[0], "returned %ld", child.ret);
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EBUSY, "taken");
	ce_expect(before >= 0 && last_number() == before, "last pid was %d, is %d", before,
		  last_number());
	ce_end(&child);
}

/* CLONE_NEWPID: the set is for the caller's levels, the child is 1 in the new one. */
static void newpid(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = depth + 2, .pids = pids };
	int i;

	ce_expect_error(ce_call(CLONE_NEWPID | SIGCHLD, 0, NULL, NULL, NULL, &set), EINVAL,
			"one pid too many");
	for (i = 0; i <= depth; i++)
		pids[i] = i % 2 ? 0 : ce_pid(i, 4);
	if (depth == CE_MAX_DEPTH) {
		set.num_pids = depth + 1;
		ce_expect_error(ce_call(CLONE_NEWPID | SIGCHLD, 0, NULL, NULL, NULL, &set),
				ENOSPC, "too deep");
		ce_expect_pids(0, pids, depth + 1, depth + 1);
		return;
	}
	ce_expect_pids(CLONE_NEWPID, pids, depth + 1, depth + 1);
	ce_expect_pids(CLONE_NEWPID, pids + depth, 1, depth + 1);
	memset(pids, 0, sizeof(pids));
	ce_expect_pids(CLONE_NEWPID, pids, depth + 1, depth + 1);
}

/* After unshare() the set names the namespace where children will live. */
static void unshared(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = depth + 2, .pids = pids };
	struct ce_child child;
	int i, wrong;

	if (depth == CE_MAX_DEPTH)
		return;
	ce_expect(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
	for (i = 0; i <= depth; i++)
		pids[i] = ce_pid(i, 5);
	wrong = 2;
	pids[depth + 1] = wrong;
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EINVAL,
			"2 as the first of a namespace");
	pids[depth + 1] = depth % 2;
	child = ce_spawn(0, &set);
	ce_expect(child.levels == depth + 2, "%d levels", child.levels);
	ce_expect(child.ret == pids[depth], "returned %ld", child.ret);
	ce_expect(child.nspid[depth + 1] == 1, "first pid %d", child.nspid[depth + 1]);
	/* Now that there is a 1, any other will do, and no 1 any more. */
	for (i = 0; i <= depth; i++)
		pids[i] = ce_pid(i, 8);
	pids[depth + 1] = wrong;
	ce_expect_pids(0, pids, depth + 2, depth + 2);
	pids[depth + 1] = 1;
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), EBUSY, "a second 1");
	ce_end(&child);
	/* Without its 1 the namespace takes nobody; clone(2) calls it ENOMEM. */
	pids[depth + 1] = 0;
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), ENOMEM, "a dead namespace");
	memset(pids, 0, sizeof(pids));
	ce_expect_error(ce_call(SIGCHLD, 0, NULL, NULL, NULL, &set), ENOMEM, "a dead namespace");
}

/* A member that joins from outside with setns(). */
static void joined(int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = 0, .pids = pids };
	struct ce_child init;
	int i;

	if (depth == CE_MAX_DEPTH)
		return;
	init = ce_spawn(CLONE_NEWPID, &set);
	ce_expect(init.ret > 0, "new namespace: %ld", init.ret);
	ce_expect(setns(init.pidfd, CLONE_NEWPID) == 0, "setns: %s", strerror(errno));
	for (i = 0; i <= depth + 1; i++)
		pids[i] = i % 3 ? ce_pid(i, 6) : 0;
	ce_expect_pids(0, pids, depth + 2, depth + 2);
	ce_expect_pids(0, pids + 1, depth + 1, depth + 2);
	set.num_pids = 1;
	ce_expect_error(ce_call(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, &set, NULL, NULL, &set),
			EINVAL, "a thread elsewhere");
	ce_end(&init);
}

/* The same pids again and again: each is free as soon as its task was waited for. */
static void again(int depth)
{
	pid_t pids[CE_LEVELS];
	int i, turn;

	for (i = 0; i <= depth; i++)
		pids[i] = ce_pid(i, 7);
	for (turn = 0; turn < 20; turn++)
		ce_expect_pids(0, pids, depth + 1, depth + 1);
}

static const struct ce_case cases[] = {
	{ "without a set it is clone()", no_set },
	{ "every level chosen, and shorter sets", all_levels },
	{ "one level chosen", one_level },
	{ "zeros between chosen pids", inner_zeros },
	{ "only zeros", only_zeros },
	{ "the caller's pid is returned", own_number },
	{ "last pid stays", last_pid },
	{ "CLONE_NEWPID", newpid },
	{ "after unshare()", unshared },
	{ "after setns()", joined },
	{ "the same pids again", again },
};

int main(void)
{
	ce_begin();
	ce_run(cases, ARRAY_SIZE(cases), depths, ARRAY_SIZE(depths));
	return ce_finish();
}
