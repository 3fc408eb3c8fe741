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
	if (plan_run(plan, t->now, t->made, t->why, sizeof(t->why)) < 0)
		return -1;
	return models_compare(
		t->then, of, t->now, t->made, f->n_tasks, t->choose_outer, t->why, sizeof(t->why));
}
