/* SPDX-License-Identifier: MIT */
/*
 * Numbers for ghosts that need none in particular: free ones, chosen. One of the kernel's choice
 * could be a number that is asked for later. (In namespace 0 the kernel may choose as long as
 * nothing is asked for there.)
 */
#include <stdlib.h>

#include "forest/planner.h"

#define LOWEST 300 /* where the kernel goes on after a wrap, RESERVED_PIDS */

/* What is asked for in one namespace, ascending, and how far the search for free ones is. */
struct used {
	pid_t *list;
	size_t n, at;
	pid_t next;
};

static int compare(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int list_used(struct planner *p, struct used *used)
{
	const struct forest *f = p->forest;

	used[0].n = f->n_taken;
	for (size_t i = 0; i < f->n_pids; i++)
		for (int ns = f->pids[i].ns; ns >= 0; ns = f->nss[ns].parent)
			used[ns].n++;
	for (size_t i = 0; i < f->n_nss; i++) {
		used[i].list = arena_alloc(p->arena, (used[i].n + 1) * sizeof(pid_t));
		if (!used[i].list)
			return fail(p->err, ENOMEM, "no memory for the plan");
		used[i].n = 0;
		used[i].next = LOWEST;
	}
	for (size_t i = 0; i < f->n_taken; i++)
		used[0].list[used[0].n++] = f->taken[i];
	for (size_t i = 0; i < f->n_pids; i++)
		for (int ns = f->pids[i].ns; ns >= 0; ns = f->nss[ns].parent)
			used[ns].list[used[ns].n++] = f->pids[i].numbers[f->nss[ns].level];
	for (size_t i = 0; i < f->n_nss; i++)
		qsort(used[i].list, used[i].n, sizeof(pid_t), compare);
	return 0;
}

static pid_t next_free(struct used *used, pid_t pid_max)
{
	for (int turn = 0; turn < 2; turn++) {
		for (; used->next < pid_max; used->next++) {
			while (used->at < used->n && used->list[used->at] < used->next)
				used->at++;
			if (used->at == used->n || used->list[used->at] != used->next)
				return used->next++;
		}
		used->next = 2;
		used->at = 0;
	}
	return 0;
}

static int number_ghost(struct planner *p, int ghost, struct used *used, pid_t *numbers)
{
	const struct forest *f = p->forest;
	const struct node *n = &p->nodes[ghost];

	for (int ns = n->ns; ns >= 0; ns = f->nss[ns].parent) {
		int level = f->nss[ns].level;

		if (n->opens_ns && ns == n->ns) {
			numbers[level] = 1;
		} else if (ns || p->choose_outer) {
			numbers[level] = next_free(
				&used[ns], f->nss[ns].pid_max ? f->nss[ns].pid_max : 32768);
			if (!numbers[level])
				return fail(p->err, EOPNOTSUPP, "no pid is left for a ghost");
		}
	}
	return 0;
}

int plan_ghost_numbers(struct planner *p, struct plan *plan)
{
	struct used *used = NULL;
	int r = 0;

	for (size_t i = p->n; i < p->n_nodes && r == 0; i++) {
		struct plan_task *t = &plan->tasks[i];
		pid_t *numbers;

		if (t->numbers)
			continue;
		if (!used) {
			used = arena_alloc(p->arena, p->forest->n_nss * sizeof(*used));
			if (!used)
				return fail(p->err, ENOMEM, "no memory for the plan");
			r = list_used(p, used);
		}
		numbers = arena_alloc(p->arena, (t->level + 1) * sizeof(*numbers));
		if (!numbers)
			return fail(p->err, ENOMEM, "no memory for the plan");
		t->numbers = numbers;
		if (r == 0)
			r = number_ghost(p, (int)i, used, numbers);
	}
	return r;
}

int plan_numbers(struct arena *arena, const struct plan *plan, pid_t **ret, size_t *ret_n)
{
	const struct forest *f = plan->forest;
	size_t most = f->n_pids + plan->n_tasks + plan->n_ghosts, n = 0, kept = 0;
	pid_t *list = arena_alloc(arena, (most + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_tasks + plan->n_ghosts; i++)
		if (plan->tasks[i].numbers[0])
			list[n++] = plan->tasks[i].numbers[0];
	qsort(list, n, sizeof(*list), compare);
	for (size_t i = 0; i < n; i++)
		if (!kept || list[kept - 1] != list[i])
			list[kept++] = list[i];
	*ret = list;
	*ret_n = kept;
	return 0;
}
