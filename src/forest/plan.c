/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "forest/planner.h"

static int fill_plan(struct planner *p, struct plan *plan)
{
	plan->forest = p->forest;
	plan->n_tasks = p->n;
	plan->n_ghosts = p->n_nodes - p->n;
	plan->steps = p->steps;
	plan->n_steps = p->n_steps;
	plan->finish = p->finish;
	plan->n_finish = p->n_finish;
	plan->tasks = arena_alloc(p->arena, (p->n_nodes + 1) * sizeof(*plan->tasks));
	if (!plan->tasks)
		return fail(p->err, ENOMEM, "no memory for the plan");
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct node *n = &p->nodes[i];

		plan->tasks[i] = (struct plan_task){.ns = n->ns,
			.level = p->forest->nss[n->ns].level,
			.leader = n->leader,
			.parent = n->now_parent,
			.numbers = n->ident == NONE ? NULL : p->idents[n->ident].numbers};
	}
	return plan_ghost_numbers(p, plan);
}

/* One attempt; -EAGAIN when it has left new notes. */
static int attempt(struct arena *arena, const struct forest *forest, struct plan_notes *notes,
	struct plan *plan, struct reprise_error *err)
{
	static int (*const parts[])(struct planner *) = {
		plan_tree, plan_sessions, plan_creators, plan_order, plan_regroup, plan_ending};
	struct planner p = {.arena = arena, .forest = forest, .err = err, .notes = notes};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && r == 0; i++)
		r = parts[i](&p);
	return r < 0 ? r : fill_plan(&p, plan);
}

int forest_plan(struct arena *arena, const struct forest *forest, struct plan **ret,
	struct reprise_error *err)
{
	struct plan_notes notes = {0};
	struct plan *plan = arena_alloc(arena, sizeof(*plan));
	int r = -EAGAIN;

	if (!plan)
		return fail(err, ENOMEM, "no memory for the plan");
	while (r == -EAGAIN) {
		struct arena *own = arena_new();

		r = own ? attempt(own, forest, &notes, plan, err)
			: fail(err, ENOMEM, "no memory for the plan");
		if (r == 0)
			arena_take(arena, own);
		else
			arena_free(own);
	}
	free(notes.list);
	if (r < 0) {
		error_phase(err, "plan");
		return r;
	}
	*ret = plan;
	return 0;
}
