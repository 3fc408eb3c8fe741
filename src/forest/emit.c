/* SPDX-License-Identifier: MIT */
/* Steps, and what each changes for those that follow. */
#include "forest/planner.h"

static int put(
	struct planner *p, struct plan_step **list, size_t *n, size_t *most, struct plan_step step)
{
	if (*n == *most) {
		size_t more = *most ? 2 * *most : 2 * p->n + 64;
		struct plan_step *steps = arena_alloc(p->arena, more * sizeof(*steps));

		if (!steps)
			return fail(p->err, ENOMEM, "no memory for the plan");
		if (*n)
			memcpy(steps, *list, *n * sizeof(*steps));
		*list = steps;
		*most = more;
	}
	(*list)[(*n)++] = step;
	return 0;
}

int emit(struct planner *p, enum plan_kind kind, int actor, int subject, int value, int flags)
{
	return put(p, &p->steps, &p->n_steps, &p->most_steps,
		(struct plan_step){.kind = (uint8_t)kind,
			.flags = (uint8_t)flags,
			.actor = actor,
			.subject = subject,
			.value = value});
}

int emit_finish(struct planner *p, enum plan_kind kind, int actor, int value)
{
	return put(p, &p->finish, &p->n_finish, &p->most_finish,
		(struct plan_step){.kind = (uint8_t)kind, .actor = actor, .value = value});
}

int use_children_ns(struct planner *p, int actor, int ns)
{
	if (p->nodes[actor].now_children_ns == ns)
		return 0;
	p->nodes[actor].now_children_ns = ns;
	return emit(p, PLAN_SETNS, actor, 0, ns, 0);
}

/* Ghosts in the order of their creation, for they end in the opposite one. */
static int note_ghost(struct planner *p, int ghost)
{
	if (p->n_ghosts == p->most_ghosts) {
		size_t most = p->most_ghosts ? 2 * p->most_ghosts : 64;
		int *list = arena_alloc(p->arena, most * sizeof(*list));

		if (!list)
			return fail(p->err, ENOMEM, "no memory for the plan");
		if (p->n_ghosts)
			memcpy(list, p->ghosts, p->n_ghosts * sizeof(*list));
		p->ghosts = list;
		p->most_ghosts = most;
	}
	p->ghosts[p->n_ghosts++] = ghost;
	return 0;
}

int emit_create(struct planner *p, int node)
{
	struct node *n = &p->nodes[node], *maker = &p->nodes[n->creator];
	int flags = n->via == VIA_SIBLING ? PLAN_CLONE_PARENT : 0, r;

	if (n->birth == NONE)
		n->birth = session_now(p, n->creator);
	if (n->ghost && n->session == NONE)
		n->session = n->birth;
	if (session_now(p, n->creator) != n->birth)
		return impossible(p, node, "its creator is in another session by then");
	if (!forest_ns_within(p->forest, n->ns, maker->ns))
		return impossible(p, node, "its creator is in an inner pid namespace");
	if (n->opens_ns)
		flags |= PLAN_CLONE_NEWPID;
	r = use_children_ns(p, n->creator, n->opens_ns ? maker->ns : n->ns);
	n->created = true;
	n->now_children_ns = n->ns;
	n->now_parent = n->via == VIA_SIBLING ? maker->now_parent : n->creator;
	n->now_group = p->nodes[maker->leader].now_group;
	p->idents[n->now_group].now_members++;
	if (r == 0 && n->ghost)
		r = note_ghost(p, node);
	if (r < 0)
		return r;
	return emit(p, PLAN_CREATE, n->creator, node,
		flags & PLAN_CLONE_PARENT ? 0 : n->exit_signal, flags);
}

static int move_to_group(struct planner *p, int actor, int node, int group)
{
	struct node *n = &p->nodes[node];

	p->idents[n->now_group].now_members--;
	p->idents[group].now_members++;
	n->now_group = group;
	return emit(p, PLAN_SETPGID, actor, node, p->idents[group].holder, 0);
}

int set_group(struct planner *p, int node, int group)
{
	struct node *n = &p->nodes[node];
	int actor = node, holder, r;

	if (n->now_group == group)
		return 0;
	if (node < 0 || (n->is_leader && n->has_session))
		return 1;
	if (n->ident == group)
		return move_to_group(p, node, node, group);
	if (!sees(p, n->ns, group)) {
		actor = p->nodes[n->now_parent].leader;
		if (session_now(p, actor) != session_now(p, node) ||
			!sees(p, p->nodes[actor].ns, group))
			return 1;
	}
	holder = p->idents[group].holder;
	if (!p->nodes[holder].created || session_now(p, holder) != session_now(p, node))
		return 1;
	if (!p->idents[group].now_members) {
		r = set_group(p, holder, group);
		if (r)
			return r;
	}
	return move_to_group(p, actor, node, group);
}

int end_ghost(struct planner *p, int ghost)
{
	struct node *n = &p->nodes[ghost];
	int reaper = n->reaper, r = 0;
	bool flag = reaper >= 0 && p->inits[n->ns] != reaper;

	if (flag)
		r = emit(p, PLAN_SUBREAPER, reaper, 0, 1, 0);
	if (r == 0)
		r = emit(p, PLAN_EXIT, ghost, 0, 0, 0);
	if (r == 0 && flag)
		r = emit(p, PLAN_SUBREAPER, reaper, 0, 0, 0);
	p->idents[n->now_group].now_members--;
	return r < 0 ? r : emit(p, PLAN_REAP, p->nodes[n->now_parent].leader, ghost, 0, 0);
}
