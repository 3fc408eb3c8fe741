/* SPDX-License-Identifier: MIT */
/*
 * Process groups, once all processes are there. A group exists while somebody is in it, and its
 * leader can open it again whenever it is empty. So all join theirs at once, but for leaders that
 * end in another group than their own: each must wait, in its own, until somebody is there to stay.
 * Where they wait for each other in a circle, a ghost stays for one of them.
 */
#include <stdlib.h>

#include "forest/planner.h"

bool is_absent(const struct planner *p, int node)
{
	const struct node *n = &p->nodes[node];

	return !n->is_leader && n->group != n->ident && p->idents[n->ident].is_group;
}

static int join(struct planner *p, int node)
{
	int group = p->nodes[node].group, r = set_group(p, node, group);

	if (r > 0)
		return impossible(p, node, "nobody can put it into its process group");
	p->idents[group].settled++;
	return r;
}

/* Leaders, who stay, and then all whom nobody waits for. */
static int join_freely(struct planner *p)
{
	int r = 0;

	p->idents[-1].settled = 1;
	for (size_t i = 0; i < p->n_nodes && r == 0; i++) {
		struct node *n = &p->nodes[i];

		if (n->leader != (int)i || n->ident == NONE)
			continue;
		if (n->is_leader)
			p->idents[n->ident].settled++;
		else if (n->group == n->ident)
			r = join(p, (int)i);
	}
	for (size_t i = 0; i < p->n && r == 0; i++) {
		struct node *n = &p->nodes[i];

		if (n->leader == (int)i && !n->is_leader && n->group != n->ident &&
			!is_absent(p, (int)i))
			r = join(p, (int)i);
	}
	return r;
}

/* A child in the leader's own group keeps it in being. */
int keep_group(struct planner *p, int leader)
{
	int r = set_group(p, leader, p->nodes[leader].ident), ghost;

	if (r < 0)
		return r;
	ghost = ghost_new(p, p->nodes[leader].ns, leader, p->nodes[leader].session, SIGCHLD);
	if (ghost == NONE)
		return -ENOMEM;
	set_creator(p, ghost, leader, VIA_PARENT, PHASE_ANY);
	p->idents[p->nodes[leader].ident].settled++;
	return emit_create(p, ghost);
}

int plan_regroup(struct planner *p)
{
	_cleanup_free_ int *queue = malloc((p->n + 1) * sizeof(*queue));
	_cleanup_free_ bool *queued = calloc(p->n + 1, sizeof(*queued));
	size_t n = 0, at = 0;
	int r;

	if (!queue || !queued)
		return fail(p->err, ENOMEM, "no memory for the plan");
	r = join_freely(p);
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < p->n && r == 0; i++) {
			if (p->nodes[i].leader != (int)i || queued[i] || !is_absent(p, (int)i))
				continue;
			if (turn && !p->idents[p->nodes[i].ident].settled)
				r = keep_group(p, (int)i);
			else if (!p->idents[p->nodes[i].ident].settled)
				continue;
			queued[i] = true;
			queue[n++] = (int)i;
			while (at < n && r == 0) {
				int node = queue[at++], holder;

				r = join(p, node);
				holder = p->idents[p->nodes[node].group].holder;
				if (holder >= 0 && (size_t)holder < p->n && !queued[holder] &&
					is_absent(p, holder)) {
					queued[holder] = true;
					queue[n++] = holder;
				}
			}
		}
	return r;
}
