/* SPDX-License-Identifier: MIT */
/*
 * Who creates each process. A child that is born in a session its parent is in, at birth or after
 * setsid, is created by its parent. Any other comes from below: from the leader of its session,
 * which is a child of the same parent and clones with CLONE_PARENT; or from a ghost in that session
 * whose children go to the parent when it ends. The ghost of a dead leader can be both.
 *
 * One who lives outside the namespace in which an init's parent namespace is cannot open it: then a
 * helper, a child of the same parent inside, does, by CLONE_PARENT.
 */
#include <stdlib.h>

#include "forest/planner.h"

int ghost_new(struct planner *p, int ns, int parent, int session, int exit_signal)
{
	if (p->n_nodes == p->most_nodes) {
		size_t most = 2 * p->most_nodes;
		struct node *nodes = arena_alloc(p->arena, (most + 1) * sizeof(*nodes));

		if (!nodes) {
			fail(p->err, ENOMEM, "no memory for the plan");
			return NONE;
		}
		memcpy(nodes, p->nodes - 1, (p->n_nodes + 1) * sizeof(*nodes));
		p->nodes = nodes + 1;
		p->most_nodes = most;
	}
	p->nodes[p->n_nodes] = (struct node){.ns = ns,
		.leader = (int)p->n_nodes,
		.parent = parent,
		.ident = NONE,
		.session = session,
		.group = NONE,
		.exit_signal = exit_signal,
		.ghost = true,
		.first = NONE,
		.next = NONE,
		.threads = NONE,
		.next_thread = NONE,
		.birth = session,
		.creator = NONE,
		.made = NONE,
		.cursor = NONE,
		.next_made = NONE,
		.birth_group = NONE,
		.group_from = NONE,
		.reaper = NONE,
		.helper = NONE};
	return (int)p->n_nodes++;
}

void set_creator(struct planner *p, int node, int creator, enum via via, enum phase phase)
{
	struct node *n = &p->nodes[node];

	n->creator = creator;
	n->via = via;
	n->phase = phase;
}

static int process_of(const struct planner *p, int task)
{
	return p->nodes[task].leader;
}

/* The ghost of a dead session leader, below its place. */
static int ghost_leader(struct planner *p, int session)
{
	int ghost, place = p->idents[session].place;

	if (place == NONE)
		place = -1;
	ghost = ghost_new(p, p->idents[session].ns, place, session, SIGCHLD);
	if (ghost == NONE)
		return ghost;
	p->nodes[ghost].ident = session;
	p->nodes[ghost].is_leader = true;
	p->nodes[ghost].birth = NONE;
	set_creator(p, ghost, place, VIA_PARENT, PHASE_ANY);
	p->idents[session].holder = ghost;
	return ghost;
}

/* Sessions that somebody is in and whose leader is dead. */
static int make_ghost_leaders(struct planner *p)
{
	for (int s = 0; s < (int)p->forest->n_pids; s++)
		if (p->idents[s].is_session && p->idents[s].holder == NONE &&
			ghost_leader(p, s) == NONE)
			return -ENOMEM;
	return 0;
}

/* Can the leader of its session clone the child as its own sibling? */
static bool can_sibling(struct planner *p, int child, int leader)
{
	struct node *n = &p->nodes[child], *l = &p->nodes[leader];

	if (leader < 0 || l->opens_ns || !forest_ns_within(p->forest, n->ns, l->ns))
		return false;
	if (l->ghost && !l->fixed && process_of(p, l->parent) == process_of(p, n->parent)) {
		/* The first to come decides what the ghost is like. */
		l->parent = n->parent;
		l->creator = n->parent;
		l->exit_signal = n->exit_signal;
		l->fixed = true;
	}
	return l->parent == n->parent && l->exit_signal == n->exit_signal;
}

/* Orphans have SIGCHLD; siblings have what their creator has. So others come first. */
static void fix_ghost_leaders(struct planner *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct node *n = &p->nodes[i];
		int leader;

		if (n->leader != (int)i || n->birth < 0 || can_land(p, (int)i))
			continue;
		leader = p->idents[n->birth].holder;
		if (leader >= 0 && p->nodes[leader].ghost)
			can_sibling(p, (int)i, leader);
	}
}

/* A ghost in the session which makes orphans for the parent of the child. */
static int orphan_maker(struct planner *p, int child, int leader, bool other_group)
{
	int up = process_of(p, p->nodes[child].parent), ghost;

	if (leader >= 0 && p->nodes[leader].ghost && !other_group &&
		p->nodes[leader].ns == p->nodes[up].ns &&
		(p->nodes[leader].reaper == NONE || p->nodes[leader].reaper == up)) {
		p->nodes[leader].reaper = up;
		return leader;
	}
	/* Made for the last one of the same parent and session? */
	ghost = p->nodes[leader].helper;
	if (ghost != NONE && p->nodes[ghost].reaper == up)
		return ghost;
	ghost = ghost_new(p, p->nodes[up].ns, leader, p->nodes[leader].session, SIGCHLD);
	if (ghost == NONE)
		return ghost;
	set_creator(p, ghost, leader, VIA_PARENT, leader < 0 ? PHASE_ANY : PHASE_POST);
	p->nodes[ghost].reaper = up;
	p->nodes[leader].helper = ghost;
	return ghost;
}

/* A sibling, in the session, that can be in the process group the child must be born in. */
static int sibling_in_group(struct planner *p, int child, int leader, int group)
{
	int holder = p->idents[group].holder, ghost;
	struct node *g = holder < 0 ? NULL : &p->nodes[holder];
	const struct node *n = &p->nodes[child];

	if (g && g->parent == n->parent && g->exit_signal == n->exit_signal && !g->opens_ns &&
		g->session == n->birth && !g->is_leader &&
		forest_ns_within(p->forest, n->ns, g->ns))
		return holder;
	if (!can_sibling(p, child, leader))
		return NONE;
	if (g && g->ghost && !g->fixed && forest_ns_within(p->forest, n->ns, g->ns)) {
		g->fixed = true;
		g->parent = n->parent;
		g->exit_signal = n->exit_signal;
		set_creator(p, holder, leader, VIA_SIBLING, PHASE_POST);
		return holder;
	}
	ghost = ghost_new(p, p->nodes[leader].ns, p->nodes[child].parent, p->nodes[child].birth,
		p->nodes[child].exit_signal);
	if (ghost != NONE)
		set_creator(p, ghost, leader, VIA_SIBLING, PHASE_POST);
	return ghost;
}

int adopt(struct planner *p, int child)
{
	int leader = p->idents[p->nodes[child].birth].holder, maker;

	maker = orphan_maker(p, child, leader, true);
	if (maker == NONE)
		return -ENOMEM;
	set_creator(p, child, maker, VIA_ORPHAN, PHASE_ANY);
	return 0;
}

static int from_below(struct planner *p, int child)
{
	int leader = p->idents[p->nodes[child].birth].holder, maker;
	const struct node *n = &p->nodes[child];
	int up = process_of(p, n->parent);
	bool other_group;

	if (leader == NONE || (leader == -1 && !p->nodes[up].opens_ns))
		return impossible(p, child, "in a session that its parent was never in");
	other_group = n->birth_group != NONE && n->birth_group != p->nodes[leader].ident;
	if (n->two_groups) {
		p->nodes[child].birth_group = NONE; /* the ghost, its parent till then, can */
		other_group = true;
	} else if (other_group) {
		maker = sibling_in_group(p, child, leader, n->birth_group);
		if (maker != NONE) {
			set_creator(p, child, maker, VIA_SIBLING, PHASE_ANY);
			return 0;
		}
	} else if (can_sibling(p, child, leader)) {
		set_creator(p, child, leader, VIA_SIBLING, PHASE_POST);
		return 0;
	}
	n = &p->nodes[child];
	if ((!can_land(p, child) || p->nodes[leader].ns != p->nodes[up].ns) && n->is_leader &&
		!p->idents[n->ident].moved && find_other_way(p, child, n->birth))
		return -EAGAIN;
	if (p->nodes[leader].ns != p->nodes[up].ns &&
		!(p->nodes[up].opens_ns &&
			forest_ns_within(p->forest, p->nodes[up].ns, p->nodes[leader].ns)))
		return impossible(p, child, "an orphan of another pid namespace than its parent's");
	if (n->exit_signal != SIGCHLD)
		return impossible(p, child, "an orphan whose exit signal is not SIGCHLD");
	if (n->parent != landing(p, up) && n->parent != up)
		return impossible(p, child, "an orphan that went to another thread");
	maker = orphan_maker(p, child, leader, other_group);
	if (maker == NONE)
		return -ENOMEM;
	set_creator(p, child, maker, VIA_ORPHAN, maker == leader ? PHASE_POST : PHASE_ANY);
	return 0;
}

/* The ghost whose orphan an init is has a child in the right namespace, which makes the init. */
static int orphan_helper(struct planner *p, int child, int ns)
{
	int maker = p->nodes[child].creator, helper;

	helper = ghost_new(p, ns, maker, p->nodes[child].birth, SIGCHLD);
	if (helper == NONE)
		return -ENOMEM;
	set_creator(p, helper, maker, VIA_PARENT, p->nodes[child].phase);
	set_creator(p, child, helper, VIA_SIBLING, PHASE_ANY);
	return 0;
}

/* A child of the same parent, in the namespace around the one which the init opens. */
static int find_brother(const struct planner *p, int child, int ns)
{
	const struct node *n = &p->nodes[child];
	int left = 64;

	for (int c = p->nodes[process_of(p, n->parent)].first; c != NONE && left--;
		c = p->nodes[c].next) {
		const struct node *brother = &p->nodes[c];

		if (brother->ns == ns && brother->parent == n->parent && !brother->opens_ns &&
			!brother->is_leader && brother->session == n->birth &&
			brother->exit_signal == n->exit_signal &&
			(n->birth_group == NONE || brother->group == n->birth_group))
			return c;
	}
	return NONE;
}

static int through_helper(struct planner *p, int child)
{
	int ns = p->forest->nss[p->nodes[child].ns].parent;
	const struct node *n = &p->nodes[child];
	int up = process_of(p, n->parent), helper = p->nodes[up].helper;

	if (!forest_ns_within(p->forest, ns, p->nodes[n->creator].ns))
		return impossible(p, child, "an init that nobody could create");
	if (n->via == VIA_ORPHAN)
		return orphan_helper(p, child, ns);
	if (find_brother(p, child, ns) != NONE) {
		set_creator(p, child, find_brother(p, child, ns), VIA_SIBLING, PHASE_ANY);
		return 0;
	}
	if (helper == NONE || p->nodes[helper].ns != ns || p->nodes[helper].birth != n->birth ||
		p->nodes[helper].parent != n->parent ||
		p->nodes[helper].exit_signal != n->exit_signal ||
		p->nodes[helper].creator != n->creator || p->nodes[helper].phase != n->phase) {
		helper = ghost_new(p, ns, n->parent, n->birth, n->exit_signal);
		if (helper == NONE)
			return -ENOMEM;
		n = &p->nodes[child];
		set_creator(p, helper, n->creator, n->via, n->phase);
		p->nodes[up].helper = helper;
	}
	set_creator(p, child, helper, VIA_SIBLING, PHASE_ANY);
	return 0;
}

/* A leader that is an orphan: of a ghost that stands where its session was first. */
static int moved_leader(struct planner *p, int child)
{
	const struct node *n = &p->nodes[child];
	int place = p->idents[n->ident].place, ghost;

	ghost = ghost_new(p, n->ns, place, NONE, SIGCHLD);
	if (ghost == NONE)
		return -ENOMEM;
	n = &p->nodes[child];
	if (n->birth != NONE)
		p->nodes[ghost].birth = p->nodes[ghost].session = n->birth;
	set_creator(p, ghost, place, VIA_PARENT,
		n->birth == NONE || n->birth != p->nodes[place].birth || !p->nodes[place].is_leader
			? PHASE_ANY
			: PHASE_PRE);
	p->nodes[ghost].reaper = process_of(p, n->parent);
	set_creator(p, child, ghost, VIA_ORPHAN, PHASE_ANY);
	return 0;
}

static int choose_creator(struct planner *p, int child)
{
	struct node *n = &p->nodes[child], *up = &p->nodes[process_of(p, n->parent)];
	int r = 0;

	if (n->is_leader && p->idents[n->ident].moved &&
		p->idents[n->ident].place != process_of(p, n->parent))
		r = moved_leader(p, child);
	else if (n->birth == NONE)
		set_creator(p, child, n->parent, VIA_PARENT, PHASE_ANY);
	else if (n->birth == up->birth)
		set_creator(p, child, n->parent, VIA_PARENT, up->is_leader ? PHASE_PRE : PHASE_ANY);
	else if (n->birth == up->session)
		set_creator(p, child, n->parent, VIA_PARENT, PHASE_POST);
	else
		r = from_below(p, child);
	n = &p->nodes[child];
	if (r == 0 && n->opens_ns && p->nodes[n->creator].ns != p->forest->nss[n->ns].parent)
		r = through_helper(p, child);
	return r;
}

int plan_creators(struct planner *p)
{
	int r = make_ghost_leaders(p);

	if (r == 0)
		r = make_group_ghosts(p);
	fix_ghost_leaders(p);
	for (size_t i = p->n_order; i-- > 1 && r == 0;) {
		int child = p->order[i];

		r = need_own_group(p, child);
		if (r == 0)
			r = choose_creator(p, child);
		if (r == 0)
			r = hand_on_group(p, child);
	}
	return r;
}
