/* SPDX-License-Identifier: MIT */
/* Checks the forest and lays its tasks out as nodes: who is whose child, who holds which identity.
 */
#include "forest/planner.h"

static void name_task(struct planner *p, int node)
{
	const struct forest *f = p->forest;
	char text[100];
	size_t at = 0;

	if (node < 0 || (size_t)node >= p->n || f->tasks[node].pid < 0 ||
		(size_t)f->tasks[node].pid >= f->n_pids)
		return;
	const struct forest_pid *pid = &f->pids[f->tasks[node].pid];

	text[0] = 0;
	for (int i = 0; i <= f->nss[pid->ns].level && at < sizeof(text) - 12; i++)
		if (i || pid->numbers[0])
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%d", at ? "," : "",
				pid->numbers[i]);
	error_task(p->err, "%s", text);
}

int impossible(struct planner *p, int node, const char *what)
{
	int r = fail(p->err, EOPNOTSUPP, "%s", what);

	name_task(p, node);
	return r;
}

int contradiction(struct planner *p, int node, const char *what)
{
	int r = fail(p->err, EINVAL, "%s", what);

	name_task(p, node);
	return r;
}

static int check_nss(struct planner *p)
{
	const struct forest *f = p->forest;

	if (!f->n_nss || f->nss[0].parent != FOREST_OUTSIDE || f->nss[0].level)
		return contradiction(p, NONE, "no namespace 0");
	for (size_t i = 1; i < f->n_nss; i++) {
		int up = f->nss[i].parent;

		if (up < 0 || (size_t)up >= i || f->nss[i].level != f->nss[up].level + 1)
			return contradiction(p, NONE, "a pid namespace without a parent");
	}
	for (size_t i = 0; i < f->n_pids; i++) {
		const struct forest_pid *pid = &f->pids[i];

		if (pid->ns < 0 || (size_t)pid->ns >= f->n_nss || pid->numbers[0] < 0)
			return contradiction(p, NONE, "an identity without a namespace");
		for (int level = 1; level <= f->nss[pid->ns].level; level++)
			if (pid->numbers[level] <= 0)
				return contradiction(p, NONE, "an identity without a number");
		if (pid->numbers[0])
			p->choose_outer = true;
	}
	return 0;
}

static int check_task(struct planner *p, int i)
{
	const struct forest *f = p->forest;
	const struct forest_task *t = &f->tasks[i];
	int pids = (int)f->n_pids, tasks = (int)f->n_tasks;

	if (t->pid < 0 || t->pid >= pids)
		return contradiction(p, i, "a task without an identity");
	if (t->leader < 0 || t->leader > i || f->tasks[t->leader].leader != t->leader)
		return contradiction(p, i, "a thread before its leader");
	if (t->parent < -1 || t->parent >= tasks || t->session < -1 || t->session >= pids ||
		t->group < -1 || t->group >= pids || t->children_ns < 0 ||
		(size_t)t->children_ns >= f->n_nss)
		return contradiction(p, i, "a reference to nothing");
	if (t->leader != i && t->zombie)
		return impossible(p, i, "a thread that is a zombie, but not the leader");
	if (t->leader != i && f->pids[t->pid].ns != f->pids[f->tasks[t->leader].pid].ns)
		return contradiction(p, i, "a thread in another namespace than its leader");
	if (!t->zombie && !forest_ns_within(f, t->children_ns, f->pids[t->pid].ns))
		return contradiction(p, i, "a namespace for children that is not within its own");
	return 0;
}

static int fill_node(struct planner *p, int i)
{
	const struct forest *f = p->forest;
	const struct forest_task *t = &f->tasks[i], *l = &f->tasks[t->leader];
	struct node *n = &p->nodes[i];
	struct ident *own = &p->idents[t->pid];

	*n = (struct node){.ns = f->pids[t->pid].ns,
		.leader = t->leader,
		.parent = l->parent,
		.ident = t->pid,
		.session = l->session,
		.group = l->group,
		.exit_signal = l->exit_signal,
		.zombie = t->zombie,
		.first = NONE,
		.next = NONE,
		.threads = NONE,
		.next_thread = NONE,
		.birth = NONE,
		.creator = NONE,
		.made = NONE,
		.cursor = NONE,
		.next_made = NONE,
		.birth_group = NONE,
		.group_from = NONE,
		.reaper = NONE,
		.helper = NONE};
	n->is_leader = l->session == l->pid;
	n->opens_ns = t->leader == i && n->ns && f->pids[t->pid].numbers[f->nss[n->ns].level] == 1;
	if (own->holder != NONE)
		return contradiction(p, i, "two tasks with one identity");
	own->holder = i;
	if (n->opens_ns) {
		if (p->inits[n->ns] != NONE)
			return contradiction(p, i, "a second init of a pid namespace");
		p->inits[n->ns] = i;
	}
	return 0;
}

static int check_relations(struct planner *p, int i)
{
	const struct forest *f = p->forest;
	struct node *n = &p->nodes[i];
	struct ident *s = &p->idents[n->session], *g = &p->idents[n->group];

	if (n->parent >= 0 && !forest_ns_within(f, n->ns, p->nodes[n->parent].ns))
		return contradiction(p, i, "a parent in an inner namespace");
	if (!forest_ns_within(f, n->ns, s->ns))
		return contradiction(p, i, "a session from an inner namespace");
	if (n->session >= 0 && s->holder >= 0 && !p->nodes[s->holder].is_leader)
		return contradiction(p, i, "in a session whose leader is in another");
	if (n->group >= 0 && g->holder >= 0 && p->nodes[g->holder].session != n->session)
		return contradiction(p, i, "in a process group of another session");
	if (n->is_leader && n->group != n->ident)
		return contradiction(p, i, "a session leader outside its process group");
	if (n->ns && p->inits[n->ns] == NONE)
		return contradiction(p, i, "in a pid namespace without an init");
	s->is_session = true;
	s->members++;
	g->is_group = true;
	return 0;
}

/* Processes from the nursery on, breadth first; then by the depth of their namespaces, inits first,
 * so that an init comes after the parents, and before the children, of all in its namespace. */
static int sort_processes(struct planner *p)
{
	const struct forest *f = p->forest;
	int *order = arena_alloc(p->arena, (p->n + 1) * sizeof(*order)), levels = 0;
	size_t n = 0, *starts;

	p->order = arena_alloc(p->arena, (p->n + 1) * sizeof(*p->order));
	for (size_t i = 0; i < f->n_nss; i++)
		if (f->nss[i].level > levels)
			levels = f->nss[i].level;
	starts = arena_alloc(p->arena, (2 * (size_t)levels + 3) * sizeof(*starts));
	if (!order || !p->order || !starts)
		return fail(p->err, ENOMEM, "no memory for the plan");
	order[n++] = -1;
	for (size_t at = 0; at < n; at++)
		for (int c = p->nodes[order[at]].first; c != NONE; c = p->nodes[c].next)
			order[n++] = c;
	for (size_t i = 1; i < n; i++) {
		const struct node *node = &p->nodes[order[i]];

		starts[2 * f->nss[node->ns].level + !node->opens_ns + 1]++;
	}
	starts[0] = 1;
	for (int i = 1; i < 2 * levels + 3; i++)
		starts[i] += starts[i - 1];
	p->order[0] = -1;
	for (size_t i = 1; i < n; i++) {
		const struct node *node = &p->nodes[order[i]];

		p->order[starts[2 * f->nss[node->ns].level + !node->opens_ns]++] = order[i];
	}
	p->n_order = n;
	return 0;
}

/* Who is whose child, in the forest's order. */
static int link_children(struct planner *p)
{
	size_t processes = 1;
	int r;

	for (int i = (int)p->n - 1; i >= 0; i--) {
		struct node *n = &p->nodes[i], *to;

		if (n->leader != i) {
			n->next_thread = p->nodes[n->leader].threads;
			p->nodes[n->leader].threads = i;
			continue;
		}
		processes++;
		to = &p->nodes[n->parent < 0 ? -1 : p->nodes[n->parent].leader];
		n->next = to->first;
		to->first = i;
	}
	r = sort_processes(p);
	if (r == 0 && p->n_order != processes)
		return contradiction(p, NONE, "tasks that are their own ancestors");
	return r;
}

int plan_tree(struct planner *p)
{
	const struct forest *f = p->forest;
	int r = check_nss(p);

	if (r < 0)
		return r;
	p->n = p->n_nodes = f->n_tasks;
	p->most_nodes = p->n + 16;
	p->nodes = arena_alloc(p->arena, (p->most_nodes + 1) * sizeof(*p->nodes));
	p->idents = arena_alloc(p->arena, (f->n_pids + 1) * sizeof(*p->idents));
	p->inits = arena_alloc(p->arena, f->n_nss * sizeof(*p->inits));
	p->for_init = arena_alloc(p->arena, f->n_nss * sizeof(struct entry *));
	if (!p->nodes || !p->idents || !p->inits || !p->for_init)
		return fail(p->err, ENOMEM, "no memory for the plan");
	p->nodes++;
	p->idents++;
	for (size_t i = 0; i < f->n_nss; i++)
		p->inits[i] = NONE;
	p->inits[0] = -1;
	p->nodes[-1] = (struct node){.leader = -1,
		.parent = NONE,
		.ident = -1,
		.session = -1,
		.group = -1,
		.first = NONE,
		.next = NONE,
		.threads = NONE,
		.next_thread = NONE,
		.birth = -1,
		.creator = NONE,
		.made = NONE,
		.cursor = NONE,
		.next_made = NONE,
		.birth_group = NONE,
		.group_from = NONE,
		.reaper = NONE,
		.helper = NONE,
		.created = true,
		.now_group = -1,
		.now_parent = NONE};
	for (int i = -1; i < (int)f->n_pids; i++)
		p->idents[i] = (struct ident){.holder = NONE,
			.place = NONE,
			.heads = NONE,
			.ns = i < 0 ? 0 : f->pids[i].ns,
			.numbers = i < 0 ? NULL : f->pids[i].numbers,
			.first_member = NONE};
	p->idents[-1].holder = -1;
	p->idents[-1].now_members = 1;
	for (size_t i = 0; i < f->n_tasks && r == 0; i++)
		r = check_task(p, (int)i);
	for (size_t i = 0; i < f->n_tasks && r == 0; i++)
		r = fill_node(p, (int)i);
	for (size_t i = 0; i < f->n_tasks && r == 0; i++)
		if (p->nodes[i].leader == (int)i)
			r = check_relations(p, (int)i);
	for (size_t i = 0; i < p->notes->n && r == 0; i++)
		if (p->notes->list[i].node == NONE)
			p->idents[p->notes->list[i].session].moved = true;
		else
			p->nodes[p->notes->list[i].node].adopts = true;
	return r < 0 ? r : link_children(p);
}
