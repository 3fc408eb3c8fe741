// SPDX-License-Identifier: GPL-2.0-only
/* Many callers at once that choose the same pids. */
#include "ce.h"

#define WORKERS 6
#define ROUNDS 25
#define POOL 12
#define TURNS 120

static const int depths[] = { 0, 2 };

static struct shared {
	int arrived, round, won, busy, other;
	int owners[POOL];
	int got[POOL];
	int wrong;
} *shared;

static int add(int *to, int n)
{
	return __atomic_add_fetch(to, n, __ATOMIC_SEQ_CST);
}

static int get(int *from)
{
	return __atomic_load_n(from, __ATOMIC_SEQ_CST);
}

/* Every worker is here before any goes on. */
static void meet(void)
{
	int round = get(&shared->round);

	if (add(&shared->arrived, 1) == WORKERS) {
		shared->arrived = 0;
		add(&shared->round, 1);
		return;
	}
	while (get(&shared->round) == round)
		usleep(100);
}

/* All ask for one pid at the same moment: one gets it. */
static void race(int me, int depth)
{
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	int turn;

	for (turn = 0; turn < ROUNDS; turn++) {
		struct ce_child child;

		pids[turn % (depth + 1)] = 5000 + turn;
		meet();
		child = ce_spawn(0, &set);
		if (child.ret > 0)
			add(&shared->won, 1);
		else if (child.ret == -EBUSY)
			add(&shared->busy, 1);
		else
			add(&shared->other, 1);
		meet();
		if (me == 0) {
			ce_expect(shared->won == 1 && shared->busy == WORKERS - 1,
				  "round %d: %d got it, %d were busy, %d else", turn, shared->won,
				  shared->busy, shared->other);
			shared->won = 0;
			shared->busy = 0;
			shared->other = 0;
		}
		ce_end(&child);
		pids[turn % (depth + 1)] = 0;
		meet();
	}
}

/* Overlapping choices without any order: a pid never has two owners. */
static void crowd(int me, int depth)
{
	unsigned int seed = me * 7919 + 1;
	pid_t pids[CE_LEVELS] = {};
	struct pid_set set = { .num_pids = depth + 1, .pids = pids };
	int turn;

	meet();
	for (turn = 0; turn < TURNS; turn++) {
		int which = rand_r(&seed) % POOL;
		struct ce_child child;

		pids[depth / 2] = 6000 + which;
		child = ce_spawn(0, &set);
		if (child.ret == -EBUSY)
			continue;
		ce_expect(child.ret > 0, "returned %ld", child.ret);
		ce_expect(add(&shared->owners[which], 1) == 1, "pid %d has two owners",
			  pids[depth / 2]);
		add(&shared->got[which], 1);
		add(&shared->owners[which], -1);
		ce_end(&child);
	}
}

static void together(int depth, void (*fn)(int me, int depth))
{
	pid_t pids[WORKERS], all[CE_LEVELS] = {};
	int i;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			alarm(CE_LIMIT);
			ce_failures = 0;
			fn(i, depth);
			_exit(ce_failures ? 1 : 0);
		}
	}
	for (i = 0; i < WORKERS; i++)
		ce_expect(ce_wait_status(pids[i]) == 0, "worker %d", i);
	/* Nothing leaked: each pid can still be had. */
	for (i = 0; i < POOL; i++) {
		all[depth / 2] = 6000 + i;
		ce_expect_pids(0, all, depth + 1, depth + 1);
	}
}

static void all_race(int depth)
{
	together(depth, race);
}

static void all_crowd(int depth)
{
	together(depth, crowd);
}

static const struct ce_case cases[] = {
	{ "one pid, many callers", all_race },
	{ "overlapping choices", all_crowd },
};

int main(void)
{
	ce_begin();
	ce_run(cases, ARRAY_SIZE(cases), depths, ARRAY_SIZE(depths));
	return ce_finish();
}
