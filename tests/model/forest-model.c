/* SPDX-License-Identifier: MIT */
/*
 * Random histories in the model; of the forest each leads to, the planner's plan; that run in
 * the model, too; and the two compared. A counter-example is made as short as it gets and printed.
 *
 *   forest-model [--seed N] [--count N] [--first N] [--most TASKS] [--ghosts]
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "trial.h"

struct script {
	size_t n;
	struct deed deeds[HISTORY_MOST];
};

static void add_deed(void *arg, const struct model *m, const struct deed *d)
{
	struct script *s = arg;

	if (d->result >= 0)
		s->deeds[s->n++] = *d;
}

static int check_script(struct trial *t, const struct script *s, struct replay *r)
{
	replay_start(r, t->then);
	for (size_t i = 0; i < s->n; i++)
		replay_deed(r, &s->deeds[i]);
	return trial_check(t);
}

/* Leaves out whatever can be left out without another outcome. */
static void shrink(struct trial *t, struct script *s)
{
	struct script *less = malloc(sizeof(*less));
	struct replay *r = malloc(sizeof(*r));
	char reason[sizeof(t->reason)];
	bool again = true;

	strcpy(reason, t->reason);
	while (again) {
		again = false;
		for (size_t n = s->n / 2 ? s->n / 2 : 1; n; n /= 2)
			for (size_t at = 0; at + n <= s->n;) {
				*less = *s;
				memmove(&less->deeds[at], &s->deeds[at + n],
					(s->n - at - n) * sizeof(s->deeds[0]));
				less->n -= n;
				if (check_script(t, less, r) < 0 && !strcmp(t->reason, reason)) {
					*s = *less;
					again = true;
				} else {
					at++;
				}
			}
	}
	check_script(t, s, r);
	free(less);
	free(r);
}

static void print_model(const struct model *m)
{
	for (int i = 1; i < m->n_tasks; i++) {
		const struct m_task *t = &m->tasks[i];

		if (t->state == M_GONE)
			continue;
		printf("  task %d%s ns %d pids", i, t->state == M_ZOMBIE ? " zombie" : "", t->ns);
		for (int l = 0; l <= m->nss[t->ns].level; l++)
			printf(" %d", m->pids[i].numbers[l]);
		printf(" leader %d parent %d session %d group %d children's ns %d signal %d%s\n",
			t->leader, t->parent, m->tasks[t->leader].session,
			m->tasks[t->leader].group, t->children_ns, t->exit_signal,
			t->subreaper ? " subreaper" : "");
	}
}

static void report(
	struct trial *t, struct history *h, unsigned long long seed, unsigned long long at)
{
	struct script *s = calloc(1, sizeof(*s));

	printf("history %llu of seed %llu: %s\n", at, seed, t->why);
	history_run(h, t->then, add_deed, s);
	shrink(t, s);
	printf("the shortest of its kind: %s\n", t->why);
	for (size_t i = 0; i < s->n; i++)
		deed_print(stdout, &s->deeds[i]);
	print_model(t->then);
	free(s);
}

static void seed_history(struct history *h, struct rng *rng, unsigned long long seed,
	unsigned long long at, unsigned most)
{
	unsigned size;

	rng->state = seed * 0x9e3779b97f4a7c15 + at * 0xd1342543de82ef95;
	size = rng_below(rng, 200) == 0	 ? 1 + rng_below(rng, most)
	       : rng_below(rng, 10) == 0 ? 1 + rng_below(rng, 40)
					 : 1 + rng_below(rng, 14);
	h->gentle = false;
	history_random(h, rng, size < most ? size : most);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, NULL, 's'}, {"count", 1, NULL, 'c'},
		{"first", 1, NULL, 'f'}, {"most", 1, NULL, 'm'}, {"errors", 1, NULL, 'e'}, {0}};
	unsigned long long seed = 1, count = 10000, first = 0, failed = 0, tasks = 0, ghosts = 0;
	unsigned long long steps = 0, errors = 5;
	struct history *h = malloc(sizeof(*h));
	struct trial t;
	unsigned most = 200;
	struct rng rng;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			count = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			first = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			most = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'e':
			errors = strtoull(optarg, NULL, 0);
			break;
		default:
			return 2;
		}
	trial_init(&t);
	printf("seed %llu, histories %llu to %llu\n", seed, first, first + count - 1);
	for (unsigned long long i = first; i < first + count; i++) {
		seed_history(h, &rng, seed, i, most);
		t.choose_outer = rng_below(&rng, 3) == 0;
		history_run(h, t.then, NULL, NULL);
		if (trial_check(&t) < 0) {
			if (++failed <= errors)
				report(&t, h, seed, i);
			continue;
		}
		tasks += t.tasks;
		ghosts += t.ghosts;
		steps += t.steps;
	}
	printf("%llu histories: %llu tasks, %llu ghosts, %llu steps\n", count, tasks, ghosts,
		steps);
	printf("%llu passed, %llu failed, 0 skipped\n", count - failed, failed);
	free(h);
	trial_free(&t);
	return failed != 0;
}
