/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "trial.h"

void trial_init(struct trial *t)
{
	*t = (struct trial){.then = malloc(sizeof(*t->then)),
		.now = malloc(sizeof(*t->now)),
		.made = malloc(2 * M_TASKS * sizeof(int))};
}

void trial_free(struct trial *t)
{
	free(t->then);
	free(t->now);
	free(t->made);
}

static int namespace_at(const struct forest *f, int ns, int level)
{
	while (f->nss[ns].level > level)
		ns = f->nss[ns].parent;
	return ns;
}

/* In a namespace that both live in, both have the number. */
static bool meet(const struct forest *f, const struct plan_task *a, const struct plan_task *b)
{
	for (int level = 0; level <= a->level && level <= b->level; level++)
		if (a->numbers[level] && a->numbers[level] == b->numbers[level] &&
			namespace_at(f, a->ns, level) == namespace_at(f, b->ns, level))
			return true;
	return false;
}

/* No ghost has a number of one that comes back, or of another ghost. */
static int check_ghosts(struct trial *t, const struct plan *plan)
{
	size_t n = plan->n_tasks + plan->n_ghosts;

	for (size_t ghost = plan->n_tasks; ghost < n; ghost++)
		for (size_t other = 0; other < ghost; other++)
			if (meet(plan->forest, &plan->tasks[ghost], &plan->tasks[other])) {
				snprintf(t->why, sizeof(t->why), "ghost %zu meets %zu", ghost,
					other);
				return -1;
			}
	return 0;
}

int trial_check(struct trial *t)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct reprise_error err = {0};
	struct plan *plan = NULL;
	struct forest *f;
	int *of;

	strcpy(t->reason, "another outcome");
	f = forest_of_model(arena, t->then, t->choose_outer, &of);
	t->tasks = f->n_tasks;
	if (forest_plan(arena, f, &plan, &err) < 0) {
		reprise_error_line(&err, t->why, sizeof(t->why));
		snprintf(t->reason, sizeof(t->reason), "%.190s", err.thing);
		return -1;
	}
	t->ghosts = plan->n_ghosts;
	t->steps = plan->n_steps + plan->n_finish;
	if (check_ghosts(t, plan) < 0)
		return -1;
	if (plan_run(plan, t->now, t->made, t->why, sizeof(t->why)) < 0)
		return -1;
	return models_compare(
		t->then, of, t->now, t->made, f->n_tasks, t->choose_outer, t->why, sizeof(t->why));
}
