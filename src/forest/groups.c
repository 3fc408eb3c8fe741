/* SPDX-License-Identifier: MIT */
/*
 * Process groups that must be inherited. A process can join any group of its session that its
 * namespace sees, and its parent can put it into one that the parent sees. All that is done when
 * all processes are there (regroup.c). Only who is in a group that neither of them can name must be
 * born in it, so its creator must be in it at that moment; and where the creator cannot join it
 * for that moment, it must be born in it, too.
 *
 * Here, too, are the ghosts of dead group leaders: children of the leader of their session.
 */
#include "forest/planner.h"

#define MOST_ABOVE 128 /* how far up is looked */

static int add_ghost(struct planner *p, int group, int session)
{
	int maker = p->idents[session].holder;
	int ghost;

	if (maker == NONE || !forest_ns_within(p->forest, p->idents[group].ns, p->nodes[maker].ns))
		return fail(p->err, EOPNOTSUPP, "a process group whose leader was in no session");
	ghost = ghost_new(p, p->idents[group].ns, maker, session, SIGCHLD);
	if (ghost == NONE)
		return -ENOMEM;
	p->nodes[ghost].ident = group;
	p->nodes[ghost].group = group;
	p->idents[group].holder = ghost;
	set_creator(p, ghost, maker, VIA_PARENT, maker < 0 ? PHASE_ANY : PHASE_POST);
	return 0;
}

/* Groups that somebody is in and whose leader is dead. */
int make_group_ghosts(struct planner *p)
{
	int r = 0;

	for (size_t i = 0; i < p->n && r == 0; i++)
		if (p->nodes[i].leader == (int)i && p->idents[p->nodes[i].group].holder == NONE)
			r = add_ghost(p, p->nodes[i].group, p->nodes[i].session);
	return r;
}

/* May the process be put into the group once it is there, while it is in the session? */
static bool can_join(const struct planner *p, int node, int group, int session)
{
	const struct node *n = &p->nodes[node], *up;

	if (sees(p, n->ns, group))
		return true;
	if (n->parent == NONE)
		return false;
	up = &p->nodes[p->nodes[n->parent].leader];
	return up->session == session && sees(p, up->ns, group);
}

static int need_group(struct planner *p, int node, int group, int session)
{
	struct node *n = &p->nodes[node];

	if (node < 0) {
		if (group != -1)
			return fail(p->err, EOPNOTSUPP,
				"a process group from outside that is not the nursery's");
		return 0;
	}
	if (can_join(p, node, group, session))
		return 0;
	/* Of two, the one that its parent could not put it in, before its setsid. */
	if (n->birth_group != NONE && n->birth_group != group) {
		n->two_groups = true;
		if (!sees(p, n->parent < 0 ? 0 : p->nodes[n->parent].ns, n->birth_group))
			return 0;
	}
	n->birth_group = group;
	return 0;
}

int need_own_group(struct planner *p, int node)
{
	struct node *n = &p->nodes[node];
	int r = n->is_leader ? 0 : need_group(p, node, n->group, n->session);

	/* It has to be in its own for others' sake, too. */
	if (r == 0 && n->birth_group == n->group && is_absent(p, node))
		n->two_groups = true;
	return r;
}

/* Can the creator not be in this group as well, because of another that it cannot come back to? */
static bool is_torn(const struct planner *p, int node, int group, int session)
{
	const struct node *n = &p->nodes[node];

	if (n->birth_group != NONE && n->birth_group != group && !can_join(p, node, group, session))
		return true;
	return !n->is_leader && n->group != group && !can_join(p, node, n->group, n->session);
}

/* Or one of those above it, who would have to be in the group for it. */
static bool is_torn_above(const struct planner *p, int node, int group, int session)
{
	for (int left = MOST_ABOVE; left > 0 && node >= 0; left--) {
		if (can_join(p, node, group, session))
			return false;
		if (is_torn(p, node, group, session))
			return true;
		node = p->nodes[node].parent < 0 ? -1 : p->nodes[p->nodes[node].parent].leader;
	}
	return false;
}

/* A child of an init can be the orphan of a ghost in the right group instead. */
static bool can_be_orphan(const struct planner *p, int node, int maker)
{
	const struct node *n = &p->nodes[node];

	return n->via == VIA_PARENT && p->nodes[maker].opens_ns && n->exit_signal == SIGCHLD &&
	       (n->parent == maker || n->parent == landing(p, maker));
}

/* The creator cannot be in two groups: 1 if this process is an orphan now, 2 if the one is for
 * whom the creator would have had to be in the other. */
static int be_orphan(struct planner *p, int node, int maker)
{
	int other = p->nodes[maker].group_from, r;

	if (can_be_orphan(p, node, maker)) {
		r = adopt(p, node);
		return r < 0 ? r : 1;
	}
	if (other == NONE || !can_be_orphan(p, other, maker))
		return 0;
	p->nodes[maker].birth_group = NONE;
	r = adopt(p, other);
	if (r == 0)
		r = hand_on_group(p, other);
	return r < 0 ? r : 2;
}

/* What a process must be born in, its creator must be in: up to one who can join it. */
int hand_on_group(struct planner *p, int node)
{
	while (node >= 0 && p->nodes[node].birth_group != NONE) {
		const struct node *n = &p->nodes[node];
		int group = n->birth_group, maker = p->nodes[n->creator].leader, r;

		if (n->via == VIA_PARENT && n->phase == PHASE_PRE &&
			(n->two_groups || (p->nodes[maker].birth_group != NONE &&
						  p->nodes[maker].birth_group != group &&
						  sees(p, p->nodes[maker].ns, group)))) {
			p->nodes[node].early = true;
			p->nodes[node].two_groups = false;
			if (!sees(p, p->nodes[maker].ns, group))
				continue;
			p->nodes[node].birth_group = NONE;
			return 0;
		}
		if (n->two_groups)
			return impossible(
				p, node, "it would have to be born in two process groups");
		if (maker >= 0 && p->nodes[maker].is_leader && n->phase != PHASE_PRE) {
			if (group != p->nodes[maker].ident)
				return impossible(p, node,
					"in a process group that its creator was never in");
			return 0;
		}
		if (maker >= 0 && !p->nodes[maker].ghost && n->birth_group != NONE &&
			(is_torn(p, maker, group, n->birth) ||
				(can_be_orphan(p, node, maker) &&
					is_torn_above(p, maker, group, n->birth)))) {
			r = be_orphan(p, node, maker);
			if (r < 0)
				return r;
			if (r == 1)
				continue;
			if (r == 0)
				p->nodes[maker].two_groups = true;
		}
		r = need_group(p, maker, group, n->birth);
		if (r < 0)
			return r;
		if (maker >= 0)
			p->nodes[maker].group_from = node;
		if (maker >= 0 && !p->nodes[maker].ghost)
			return 0; /* handed on when its own turn comes */
		node = maker;
	}
	return 0;
}
