/* SPDX-License-Identifier: MIT */
/*
 * call-random [--sets N] [--seed N] [--backend B] [--lie]: random sets in random worlds, compared
 * with what the model predicts. What differs is made smaller while it differs, and shown.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "world.h"

enum { LIE = 13, ROUNDS = 40 };

/* What one world's caller needs to know; it is in shared memory. */
struct job {
	uint64_t random;
	int sets;
	bool lie; /* a model that is wrong about one pid, to see how differences are reported */
	bool differs;
};

static uint64_t next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static int below(uint64_t *state, int limit)
{
	return (int)(next(state) % (uint64_t)limit);
}

static pid_t random_pid(const struct world *w, int level, uint64_t *r)
{
	int die = below(r, 100);

	if (level < 0)
		return below(r, 3) ? 0 : below(r, 100);
	if (die < 35)
		return 0;
	if (die < 50)
		return w->held[1 + below(r, STATES - 1)][level < w->depth ? level : w->depth];
	if (die < 53)
		return -1 - below(r, 1 << 30);
	if (die < 57)
		return w->pid_max[level] + below(r, 3) - 1;
	if (die < 60)
		return 1;
	if (level == 0)
		return die < 65 ? free_pid(w, 0) : 0;
	return 2 + below(r, die < 80 ? 40 : 4000);
}

static void random_call(const struct world *w, uint64_t *r, struct call *ret)
{
	int levels = w->depth + 1;
	int die = below(r, 10);

	*ret = (struct call){.low = SIGCHLD};
	ret->num = die < 6 ? levels : below(r, levels + 3);
	if (below(r, 200) == 0)
		ret->num = -below(r, 50);
	if (below(r, 3) == 0)
		ret->low |= CLONE_VM;
	if (below(r, 12) == 0)
		ret->low |= CLONE_NEWPID;
	for (int i = 0; i < ret->num; i++)
		ret->pids[i] = random_pid(w, levels - ret->num + i, r);
}

static bool lies_about(const struct call *call)
{
	return call->num > 0 && call->pids[call->num - 1] == LIE;
}

/* One comparison. A stranger's pid at level 0 is not a difference. */
static bool fits(const struct world *w, struct call *call, bool lie, char *why, size_t size)
{
	int outermost = call->num - (w->depth + 1);
	struct outcome got;

	for (int tries = 0; tries < 20; tries++) {
		make_call(call, &got);
		if (got.error != EBUSY || outermost < 0 || !call->pids[outermost] ||
			(predict(w, call) & ERROR(EBUSY)))
			break;
		call->pids[outermost] = free_pid(w, 0);
	}
	if (lie && lies_about(call)) {
		snprintf(why, size, "the model was told to lie");
		return false;
	}
	return agrees(w, call, &got, why, size);
}

static bool still_differs(const struct world *w, struct call *smaller, struct call *call, bool lie)
{
	char why[300];

	if (fits(w, smaller, lie, why, sizeof(why)))
		return false;
	*call = *smaller;
	return true;
}

/* One step smaller, by whatever way still differs. */
static bool shrink_once(const struct world *w, struct call *call, bool lie)
{
	struct call smaller = *call;

	if (call->num > 0) {
		memmove(smaller.pids, smaller.pids + 1, sizeof(pid_t) * (LEVELS + 2));
		smaller.num--;
		if (still_differs(w, &smaller, call, lie))
			return true;
	}
	for (int i = 0; i < call->num; i++) {
		smaller = *call;
		smaller.pids[i] = 0;
		if (call->pids[i] && still_differs(w, &smaller, call, lie))
			return true;
	}
	for (int bit = 8; bit < 31; bit++) {
		smaller = *call;
		smaller.low &= ~(1 << bit);
		if (smaller.low != call->low && still_differs(w, &smaller, call, lie))
			return true;
	}
	return false;
}

static void report(struct world *w, struct call *call, const struct job *job, int at)
{
	char why[300] = "";
	char first[400];
	char last[400];

	describe(call, first, sizeof(first));
	for (int i = 0; i < ROUNDS * LEVELS && shrink_once(w, call, job->lie); i++)
		;
	describe(call, last, sizeof(last));
	(void)fits(w, call, job->lie, why, sizeof(why));
	printf("FAIL set %d, backend %d, depth %d%s, as %s:\n  %s\n  smallest: %s\n  %s\n", at,
		w->backend, w->depth, w->outside ? " from outside" : "",
		privilege_names[w->privilege], first, last, why);
}

static void caller(struct world *w)
{
	struct job *job = w->job;
	struct call call;
	char why[300];

	if (clone_extended_use(w->backend) < 0) {
		printf("FAIL backend %d: %s\n", w->backend, strerror(errno));
		w->failed++;
		return;
	}
	for (int i = 0; i < job->sets; i++) {
		random_call(w, &job->random, &call);
		if (fits(w, &call, job->lie, why, sizeof(why))) {
			w->passed++;
			continue;
		}
		w->failed++;
		report(w, &call, job, i);
		return;
	}
}

int main(int argc, char **argv)
{
	static const int depths[] = {0, 1, 2, 3, 5};
	struct job *job =
		mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int sets = 100000;
	int backend = CLONE_EXTENDED_CLONE3;
	int passed = 0;
	int failed = 0;
	int chunk;

	if (job == MAP_FAILED)
		return 1;
	job->random = 20090806;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--lie") == 0)
			job->lie = true;
		else if (strcmp(argv[i], "--sets") == 0 && i + 1 < argc)
			sets = atoi(argv[++i]);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			job->random = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc)
			backend = atoi(argv[++i]);
	}
	printf("seed %llu\n", (unsigned long long)job->random);
	chunk = sets < ROUNDS ? sets : sets / ROUNDS;
	for (int round = 0; round < ROUNDS && passed + failed < sets; round++) {
		struct world w = {.depth = depths[below(&job->random, 5)],
			.privilege = (enum privilege)below(&job->random, PRIVILEGES),
			.backend = backend,
			.job = job};

		w.outside = w.privilege == AS_ROOT && below(&job->random, 2);
		job->sets = chunk;
		if (world_run(&w, caller) < 0) {
			printf("FAIL depth %d, as %s: the world broke down\n", w.depth,
				privilege_names[w.privilege]);
			w.failed++;
		}
		passed += w.passed;
		failed += w.failed;
	}
	printf("%d sets as predicted, %d not\n%d passed, %d failed, 0 skipped\n", passed, failed,
		passed, failed);
	return failed || !passed;
}
