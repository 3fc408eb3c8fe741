/* SPDX-License-Identifier: MIT */
/*
 * What is left when all are there: ghosts end, the youngest first; each task gets the namespace for
 * its children, dead ones included; subreapers. The finish list makes the zombies; an init that
 * must wait for others' zombies in its namespace comes after them.
 */
#include <stdlib.h>

#include "forest/planner.h"

/* The init of a namespace that is dead: made by the init of the one around it. */
static int open_dead(struct planner *p, int ns)
{
	int maker = p->inits[p->forest->nss[ns].parent], ghost, r;

	if (maker == NONE)
		return contradiction(p, NONE, "a dead namespace in one without an init");
	ghost = ghost_new(p, ns, maker, session_now(p, maker), SIGCHLD);
	if (ghost == NONE)
		return -ENOMEM;
	p->nodes[ghost].opens_ns = true;
	p->inits[ns] = ghost;
	set_creator(p, ghost, maker, VIA_PARENT, PHASE_ANY);
	r = emit_create(p, ghost);
	return r;
}

static int set_children_ns(struct planner *p, int task, bool *opened)
{
	int want = p->forest->tasks[task].children_ns, r;

	if (p->nodes[task].zombie)
		return 0;
	if (p->forest->nss[want].state != FOREST_NS_EMPTY)
		return use_children_ns(p, task, want);
	if (opened[want] || p->forest->nss[want].parent != p->nodes[task].ns)
		return impossible(p, task, "an empty pid namespace that is not its own to open");
	opened[want] = true;
	r = use_children_ns(p, task, p->nodes[task].ns);
	return r < 0 ? r : emit(p, PLAN_UNSHARE, task, 0, want, 0);
}

/* The youngest first, down to so many. */
static int end_ghosts(struct planner *p, size_t down_to)
{
	int r = 0;

	while (p->n_ghosts > down_to && r == 0)
		r = end_ghost(p, p->ghosts[--p->n_ghosts]);
	return r;
}

static int children_nss(struct planner *p)
{
	_cleanup_free_ bool *opened = calloc(p->forest->n_nss, sizeof(*opened));
	int r = opened ? 0 : fail(p->err, ENOMEM, "no memory for the plan");
	size_t first = p->n_ghosts;

	for (size_t i = 0; i < p->forest->n_nss && r == 0; i++)
		if (p->forest->nss[i].state == FOREST_NS_DEAD && p->inits[i] == NONE)
			r = open_dead(p, (int)i);
	for (size_t i = 0; i < p->n && r == 0; i++)
		r = set_children_ns(p, (int)i, opened);
	if (r == 0)
		r = end_ghosts(p, first);
	return r < 0 ? r : use_children_ns(p, -1, 0);
}

static int finish(struct planner *p)
{
	int levels = 0, r = 0;

	for (size_t i = 0; i < p->n && r == 0; i++) {
		if (!p->nodes[i].zombie)
			continue;
		if (p->nodes[i].opens_ns) {
			if (p->forest->nss[p->nodes[i].ns].level > levels)
				levels = p->forest->nss[p->nodes[i].ns].level;
			continue;
		}
		r = emit_finish(p, PLAN_EXIT, (int)i, p->forest->tasks[i].status);
	}
	for (int level = levels; level > 0 && r == 0; level--)
		for (size_t i = 0; i < p->n && r == 0; i++)
			if (p->nodes[i].zombie && p->nodes[i].opens_ns &&
				p->forest->nss[p->nodes[i].ns].level == level)
				r = emit_finish(p, PLAN_EXIT, (int)i, p->forest->tasks[i].status);
	return r;
}

int plan_ending(struct planner *p)
{
	int r = end_ghosts(p, 0);

	if (r == 0)
		r = children_nss(p);
	for (size_t i = 0; i < p->n && r == 0; i++)
		if (p->nodes[i].leader == (int)i && p->forest->tasks[i].subreaper)
			r = emit(p, PLAN_SUBREAPER, (int)i, 0, 1, 0);
	return r < 0 ? r : finish(p);
}
