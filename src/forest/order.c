/* SPDX-License-Identifier: MIT */
/*
 * The creations in a valid order. Each waits for its creator; for the creator's setsid or, the
 * other way round, the setsid waits for it; for the init of the namespace it lives in; and for the
 * process group that it must be born in. What is not done yet is done first; to come back to what
 * is waiting itself would mean that no order exists.
 */
#include <stdlib.h>

#include "forest/planner.h"

struct job {
	int node;
	bool setsid;
};

struct jobs {
	struct job *list;
	size_t n, most;
};

static int break_circle(struct planner *p, struct jobs *jobs, int node, bool setsid);

static int push(struct planner *p, struct jobs *jobs, int node, bool setsid)
{
	struct node *n = &p->nodes[node];

	if (jobs->n == jobs->most) {
		size_t most = jobs->most ? 2 * jobs->most : 256;
		struct job *list = reallocarray(jobs->list, most, sizeof(*list));

		if (!list)
			return fail(p->err, ENOMEM, "no memory for the plan");
		jobs->list = list;
		jobs->most = most;
	}
	if (setsid ? n->in_setsid : n->in_creation)
		return break_circle(p, jobs, node, setsid);
	if (setsid)
		n->in_setsid = true;
	else
		n->in_creation = true;
	jobs->list[jobs->n++] = (struct job){node, setsid};
	return 0;
}

static int make_threads(struct planner *p, int node)
{
	int r = 0;

	for (int t = p->nodes[node].threads; t != NONE && r == 0; t = p->nodes[t].next_thread) {
		p->nodes[t].creator = node;
		p->nodes[t].created = true;
		p->nodes[t].now_children_ns = p->nodes[t].ns;
		p->nodes[t].now_parent = p->nodes[node].now_parent;
		r = emit(p, PLAN_CREATE, node, t, 0, PLAN_CLONE_THREAD);
	}
	return r;
}

/* Leaving its group for the other one, can the process come back? */
static bool can_return(const struct planner *p, int node, int other)
{
	const struct node *n = &p->nodes[node], *up;

	if (node < 0 || n->now_group == other || sees(p, n->ns, n->now_group))
		return true;
	up = &p->nodes[p->nodes[n->now_parent].leader];
	return session_now(p, up->leader) == session_now(p, node) && sees(p, up->ns, n->now_group);
}

/* A leader of a group, itself in another, to which it will not be able to come back later: its own
 * group begins now. */
static int keep_group_early(struct planner *p, int node)
{
	const struct node *n = &p->nodes[node], *up;
	int r;

	if (n->early)
		return keep_group(p, node);
	up = &p->nodes[p->nodes[n->parent].leader];
	if (sees(p, n->ns, n->group) || n->now_group != n->group ||
		(up->session == n->session && sees(p, up->ns, n->group)) ||
		!can_return(p, node, n->ident))
		return 0;
	r = keep_group(p, node);
	return r < 0 ? r : set_group(p, node, p->nodes[node].group);
}

static int create(struct planner *p, int node)
{
	struct node *n = &p->nodes[node];
	int maker = p->nodes[n->creator].leader, r;

	if (n->birth_group != NONE && p->nodes[maker].now_group != n->birth_group) {
		r = set_group(p, maker, n->birth_group);
		if (r)
			return r < 0 ? r
				     : impossible(p, node,
					       "nobody can be in its process group to create it");
	}
	r = emit_create(p, node);
	if (r == 0)
		r = make_threads(p, node);
	n = &p->nodes[node];
	if (r == 0 && n->ghost && !n->is_leader && n->ident != NONE)
		r = set_group(p, node, n->ident);
	if (r == 0 && !n->ghost && is_absent(p, node))
		r = keep_group_early(p, node);
	return r;
}

static int regroup_children(struct planner *p, int node);

/* Whether all that the process has to create in its group of now can still come there without it.
 */
static bool is_done_in_group(const struct planner *p, int node)
{
	int group = p->nodes[node].now_group;

	if (sees(p, p->nodes[node].ns, group))
		return true;
	for (int c = p->nodes[node].made; c != NONE; c = p->nodes[c].next_made)
		if (!p->nodes[c].created && p->nodes[c].birth_group == group)
			return false;
	return true;
}

/*
 * Before its setsid, too, children that it alone can bring back into the group that their own
 * children have to be born in: there they wait for that.
 */
static int return_children(struct planner *p, int node)
{
	int r = 0;

	for (int c = p->nodes[node].first; c != NONE && r >= 0; c = p->nodes[c].next) {
		if (!p->nodes[c].created || p->nodes[c].now_parent < 0 ||
			p->nodes[p->nodes[c].now_parent].leader != node || !is_done_in_group(p, c))
			continue;
		for (int g = p->nodes[c].made; g != NONE; g = p->nodes[g].next_made) {
			int group = p->nodes[g].birth_group;

			if (p->nodes[g].created || group == NONE || sees(p, p->nodes[c].ns, group))
				continue;
			r = set_group(p, c, group);
			break;
		}
	}
	return r < 0 ? r : 0;
}

static int do_setsid(struct planner *p, int node)
{
	struct node *n = &p->nodes[node];
	int r = regroup_children(p, node);

	if (r == 0)
		r = return_children(p, node);
	if (r < 0)
		return r;
	if (n->now_group == n->ident)
		return impossible(p, node, "a session leader that led a group before");
	n->has_session = true;
	p->idents[n->now_group].now_members--;
	n->now_group = n->ident;
	p->idents[n->ident].now_members++;
	return emit(p, PLAN_SETSID, node, 0, 0, 0);
}

/* Whom a process must create before it leaves its group for good. */
static int await_leaving(struct planner *p, struct jobs *jobs, int node, int mover, int group)
{
	int r;

	if (can_return(p, mover, group))
		return 0;
	for (int c = p->nodes[mover].made; c != NONE; c = p->nodes[c].next_made) {
		const struct node *child = &p->nodes[c];

		if (c == node || child->created || p->nodes[child->creator].leader != mover ||
			child->birth_group != p->nodes[mover].now_group)
			continue;
		r = push(p, jobs, c, false);
		return r < 0 ? r : 1;
	}
	return 0;
}

/* The creator, and maybe the leader who opens the group again, go there for the creation. */
static int await_group(struct planner *p, struct jobs *jobs, int node, int maker, int holder)
{
	int group = p->nodes[node].birth_group;
	int r = await_leaving(p, jobs, node, maker, group);

	if (r == 0 && !p->idents[group].now_members)
		r = await_leaving(p, jobs, node, holder, group);
	return r;
}

/* What a creation waits for: pushes it and returns 1, or 0 when it can be done. */
static int await_creation(struct planner *p, struct jobs *jobs, int node)
{
	const struct node *n = &p->nodes[node];
	int maker = p->nodes[n->creator].leader, init = p->inits[n->ns], r = 0, holder;

	if (!p->nodes[maker].created)
		r = push(p, jobs, maker, false);
	else if (n->phase == PHASE_POST && !p->nodes[maker].has_session &&
		 p->nodes[maker].is_leader)
		r = push(p, jobs, maker, true);
	else if (init >= 0 && init != node && !p->nodes[init].created)
		r = push(p, jobs, init, false);
	else if (n->birth_group >= 0) {
		holder = p->idents[n->birth_group].holder;
		if (!p->nodes[holder].created)
			r = push(p, jobs, holder, false);
		else if (p->nodes[holder].is_leader && !p->nodes[holder].has_session)
			r = push(p, jobs, holder, true);
		else
			return await_group(p, jobs, node, maker, holder);
	} else {
		return 0;
	}
	return r < 0 ? r : 1;
}

/* One who is there, and whose brother the child would be. */
static int find_brother(const struct planner *p, int node)
{
	const struct node *n = &p->nodes[node];
	int left = 64;

	for (int c = p->nodes[p->nodes[n->parent].leader].first; c != NONE && left--;
		c = p->nodes[c].next) {
		const struct node *brother = &p->nodes[c];

		if (brother->created && brother->now_parent == n->parent && !brother->opens_ns &&
			!brother->is_leader && session_now(p, c) == n->birth &&
			brother->exit_signal == n->exit_signal &&
			(n->birth_group == NONE || brother->now_group == n->birth_group) &&
			forest_ns_within(p->forest, n->ns, brother->ns))
			return c;
	}
	return NONE;
}

/* The ghost that was made as a brother of another child. */
static bool can_help(const struct planner *p, int helper, int node)
{
	const struct node *n = &p->nodes[node], *h = helper == NONE ? n : &p->nodes[helper];

	return h != n && h->ghost && h->created && h->creator == n->creator &&
	       h->phase == n->phase && h->now_parent == n->parent &&
	       h->exit_signal == n->exit_signal && forest_ns_within(p->forest, n->ns, h->ns) &&
	       (n->birth_group == NONE || h->now_group == n->birth_group);
}

/*
 * The setsid of its creator waits for a child that waits, somehow, for that setsid; or the creator
 * cannot leave its group before the child is there. A brother born before that can create the child
 * at any time.
 */
static int by_brother(struct planner *p, int node)
{
	const struct node *n = &p->nodes[node];
	int up = p->nodes[n->creator].leader, brother = find_brother(p, node);

	if (brother == NONE && can_help(p, p->nodes[up].helper, node))
		brother = p->nodes[up].helper;
	if (brother == NONE) {
		int r;

		brother = ghost_new(p, p->nodes[up].ns, n->parent, n->birth, n->exit_signal);
		if (brother == NONE)
			return -ENOMEM;
		n = &p->nodes[node];
		set_creator(p, brother, n->creator, VIA_PARENT, n->phase);
		p->nodes[up].helper = brother;
		r = create(p, brother);
		if (r < 0)
			return r;
	}
	set_creator(p, node, brother, VIA_SIBLING, PHASE_ANY);
	return 0;
}

static void pop(struct planner *p, struct jobs *jobs)
{
	struct job job = jobs->list[--jobs->n];

	if (job.setsid)
		p->nodes[job.node].in_setsid = false;
	else
		p->nodes[job.node].in_creation = false;
}

/* Does the job below it on the list wait for the child because the creator is to do its setsid, or
 * to leave the group that the child is born in? */
static bool holds_creator_up(const struct planner *p, const struct jobs *jobs, size_t at)
{
	const struct job *job = &jobs->list[at], *waits = &jobs->list[at - 1];
	const struct node *n = &p->nodes[job->node];
	int maker = p->nodes[n->creator].leader;

	if (job->setsid || n->via != VIA_PARENT || n->ghost)
		return false;
	if (waits->setsid)
		return n->phase == PHASE_PRE && maker == waits->node;
	return n->birth_group != NONE && p->nodes[maker].created &&
	       p->nodes[maker].now_group == n->birth_group;
}

/* What is waited for waits itself. There may be a child on the way that need not hold it up. */
static int break_circle(struct planner *p, struct jobs *jobs, int node, bool setsid)
{
	for (size_t at = jobs->n; at-- > 1;) {
		const struct job *job = &jobs->list[at];

		if (job->node == node && job->setsid == setsid)
			break;
		if (!holds_creator_up(p, jobs, at))
			continue;
		node = job->node;
		while (jobs->n > at)
			pop(p, jobs);
		return by_brother(p, node);
	}
	return impossible(p, node, "it would have to be there before itself");
}

/* Before its setsid, children that nobody could put into their groups after it. */
static int regroup_children(struct planner *p, int node)
{
	int r = 0;

	for (int c = p->nodes[node].first; c != NONE && r == 0; c = p->nodes[c].next) {
		const struct node *n = &p->nodes[c];

		if (n->created && !n->is_leader && n->now_group != n->group && n->now_parent >= 0 &&
			p->nodes[n->now_parent].leader == node && n->phase == PHASE_PRE &&
			!sees(p, n->ns, n->group))
			r = set_group(p, c, n->group);
	}
	return r < 0 ? r : 0;
}

/* A child that only its parent, and only before its setsid, puts into groups. */
static int await_early(struct planner *p, struct jobs *jobs, int node)
{
	const struct node *n = &p->nodes[node];
	int holder = p->idents[n->group].holder, r = 0;

	if (!n->is_leader && !p->nodes[holder].created)
		r = push(p, jobs, holder, false);
	else if (!n->is_leader && p->nodes[holder].is_leader && !p->nodes[holder].has_session)
		r = push(p, jobs, holder, true);
	else
		for (int c = n->made; c != NONE; c = p->nodes[c].next_made) {
			if (p->nodes[c].created || p->nodes[c].birth_group == NONE)
				continue;
			r = push(p, jobs, c, false);
			return r < 0 ? r : 1;
		}
	if (r < 0)
		return r;
	return p->nodes[holder].created && (!p->nodes[holder].is_leader ||
						   p->nodes[holder].has_session || n->is_leader)
		       ? 0
		       : 1;
}

static int await_setsid(struct planner *p, struct jobs *jobs, int node)
{
	struct node *n = &p->nodes[node];
	int r;

	if (!n->created) {
		r = push(p, jobs, node, false);
		return r < 0 ? r : 1;
	}
	while (n->cursor != NONE) {
		const struct node *child = &p->nodes[n->cursor];

		if (child->phase == PHASE_PRE && !child->created) {
			r = push(p, jobs, n->cursor, false);
			return r < 0 ? r : 1;
		}
		if (child->phase == PHASE_PRE && child->early) {
			r = await_early(p, jobs, n->cursor);
			if (r)
				return r;
		}
		n->cursor = child->next_made;
	}
	return 0;
}

static int work(struct planner *p, struct jobs *jobs)
{
	while (jobs->n) {
		struct job job = jobs->list[jobs->n - 1];
		struct node *n = &p->nodes[job.node];
		int r;

		if (job.setsid ? n->has_session : n->created) {
			jobs->n--;
			continue;
		}
		r = job.setsid ? await_setsid(p, jobs, job.node)
			       : await_creation(p, jobs, job.node);
		if (r == 0) {
			jobs->n--;
			r = job.setsid ? do_setsid(p, job.node) : create(p, job.node);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whom each creates. */
static void link_made(struct planner *p)
{
	for (int i = (int)p->n_nodes - 1; i >= 0; i--) {
		struct node *maker;

		if (p->nodes[i].leader != i)
			continue;
		maker = &p->nodes[p->nodes[p->nodes[i].creator].leader];
		p->nodes[i].next_made = maker->cursor;
		maker->cursor = maker->made = i;
	}
}

int plan_order(struct planner *p)
{
	struct jobs jobs = {0};
	size_t n = p->n_nodes;
	int r = 0;

	link_made(p);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (p->nodes[i].leader != (int)i || p->nodes[i].created)
			continue;
		r = push(p, &jobs, (int)i, false);
		if (r == 0)
			r = work(p, &jobs);
	}
	for (size_t i = 0; i < n && r == 0; i++) {
		if (p->nodes[i].leader != (int)i || !p->nodes[i].is_leader ||
			p->nodes[i].has_session)
			continue;
		r = push(p, &jobs, (int)i, true);
		if (r == 0)
			r = work(p, &jobs);
	}
	free(jobs.list);
	return r;
}
