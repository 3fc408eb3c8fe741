/* SPDX-License-Identifier: MIT */
/* From the leaves up: the sessions that each process's subtree shares with the rest. */
#include <stdlib.h>

#include "forest/shared.h"

struct collector {
	struct planner *p;
	struct entry *list; /* of the process at hand */
	size_t n, most;
	int *at; /* by session: index in list + 1 */
};

static struct entry *collect(struct collector *c, int session)
{
	int *at = &c->at[session];

	if (!*at) {
		if (c->n == c->most) {
			size_t most = c->most ? 2 * c->most : 64;
			struct entry *list = reallocarray(c->list, most, sizeof(*list));

			if (!list)
				return NULL;
			c->list = list;
			c->most = most;
		}
		c->list[c->n++] =
			(struct entry){.session = session, .claimable = true, .thread = NONE};
		*at = (int)c->n;
	}
	return &c->list[*at - 1];
}

static int add_entry(struct collector *c, const struct entry *from)
{
	struct entry *e = collect(c, from->session);

	if (!e)
		return -ENOMEM;
	e->count += from->count;
	e->holds_leader |= from->holds_leader;
	e->claimable &= from->claimable;
	return 0;
}

/*
 * Orphans come to one thread of a process, and a leader's ghost is the child of one. So where
 * members are children of several, the process must have been in the session itself.
 */
static void note_thread(const struct planner *p, int child, struct entry *e)
{
	int thread = p->nodes[child].parent, process = p->nodes[thread].leader;

	if ((thread == process || thread == landing(p, process)) &&
		p->nodes[child].exit_signal == SIGCHLD)
		return;
	if (e->thread == NONE)
		e->thread = thread;
	else if (e->thread != thread)
		e->must = true;
}

static int add_child(struct collector *c, int child)
{
	struct planner *p = c->p;
	int r = 0;

	for (size_t i = 0; i < p->nodes[child].n_entries && r == 0; i++) {
		const struct entry *from = &p->nodes[child].entries[i];

		if (is_for_init(p, child, from->session))
			continue;
		r = add_entry(c, from);
		if (r == 0 && !from->holds_leader)
			note_thread(p, child, &c->list[c->at[from->session] - 1]);
	}
	return r;
}

static int collect_subtree(struct collector *c, int node)
{
	struct planner *p = c->p;
	struct node *n = &p->nodes[node];
	struct entry *e;
	int r = 0;

	c->n = 0;
	for (int child = n->first; child != NONE && r == 0; child = p->nodes[child].next)
		r = add_child(c, child);
	if (n->opens_ns)
		for (struct entry *from = p->for_init[n->ns]; from && r == 0; from = from->for_init)
			r = add_entry(c, from);
	e = collect(c, n->session);
	if (!e || r < 0)
		return -ENOMEM;
	e->count++;
	e->holds_leader |= leads_here(p, node);
	return 0;
}

/* An init gets orphans of any session: from a ghost brought in by the leader of it. */
static bool can_adopt(const struct planner *p, int node, int session)
{
	if (!p->nodes[node].opens_ns)
		return false;
	for (int c = p->nodes[node].first; c != NONE; c = p->nodes[c].next) {
		const struct node *n = &p->nodes[c];

		if ((n->parent == node || n->parent == landing(p, node)) &&
			n->exit_signal == SIGCHLD)
			continue;
		for (size_t i = 0; i < n->n_entries; i++)
			if (n->entries[i].session == session)
				return false;
	}
	return true;
}

/* The leader itself, which came up here later. */
static bool is_moved(const struct planner *p, int node, int session)
{
	return p->nodes[node].ident == session && p->idents[session].moved;
}

/* Could the leader, an orphan by now, have been below the process once? */
static bool can_move(const struct planner *p, int node, int session)
{
	int leader = session < 0 ? NONE : p->idents[session].holder, up;
	const struct node *l;

	if (leader < 0 || p->idents[session].moved)
		return false;
	l = &p->nodes[leader];
	if (l->exit_signal != SIGCHLD || l->opens_ns || l->ns != p->nodes[node].ns)
		return false;
	up = l->parent < 0 ? -1 : p->nodes[l->parent].leader;
	if (l->ns && p->inits[l->ns] == up)
		return true;
	while (node != up && node >= 0 && node != leader && p->nodes[node].ns == l->ns)
		node = p->nodes[node].parent < 0 ? -1 : p->nodes[p->nodes[node].parent].leader;
	return node == up && (up < 0 || p->nodes[up].ns == l->ns);
}

bool adopts(const struct planner *p, int node, int session)
{
	if (node < 0 || !p->nodes[node].adopts)
		return false;
	for (size_t i = 0; i < p->notes->n; i++)
		if (p->notes->list[i].node == node && p->notes->list[i].session == session)
			return true;
	return false;
}

static bool note(struct planner *p, int node, int session)
{
	struct plan_notes *notes = p->notes;

	if (notes->n == notes->most) {
		size_t most = notes->most ? 2 * notes->most : 64;
		struct plan_note *list = reallocarray(notes->list, most, sizeof(*list));

		if (!list)
			return false;
		notes->list = list;
		notes->most = most;
	}
	notes->list[notes->n++] = (struct plan_note){node, session};
	return true;
}

/* The uppermost inits, at or below a process, that need the session for what is below them: are
 * they to adopt it, all of them? */
bool find_adopters(struct planner *p, int node, int session)
{
	struct node *n = &p->nodes[node];
	bool found = false;

	if (can_adopt(p, node, session) && !adopts(p, node, session))
		return note(p, node, session);
	for (int c = n->first; c != NONE; c = p->nodes[c].next)
		for (size_t i = 0; i < p->nodes[c].n_entries; i++) {
			const struct entry *e = &p->nodes[c].entries[i];

			if (e->session == session && e->must)
				found |= find_adopters(p, c, session);
		}
	return found;
}

bool find_other_way(struct planner *p, int node, int session)
{
	return find_adopters(p, node, session) ||
	       (can_move(p, node, session) && note(p, NONE, session));
}

/* Another way for one of the sessions that a process cannot be born in. */
static bool can_mend(struct planner *p, int node, const struct entry *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].must &&
			(p->nodes[node].is_leader || list[i].session != p->nodes[node].session) &&
			find_adopters(p, node, list[i].session))
			return true;
	for (size_t i = 0; i < n; i++)
		if (list[i].must && can_move(p, node, list[i].session))
			return note(p, NONE, list[i].session);
	return false;
}

/* Of the sessions that come from outside of its subtree, the one that it is to be born in. */
static int choose_forced(struct planner *p, int node, const struct entry *list, size_t n)
{
	int chosen = NONE;

	for (size_t i = 0; i < n; i++) {
		if (!list[i].must || is_moved(p, node, list[i].session))
			continue;
		if (!p->nodes[node].is_leader && list[i].session == p->nodes[node].session)
			return list[i].session;
		if (chosen == NONE || !can_adopt(p, node, list[i].session))
			chosen = list[i].session;
	}
	return chosen;
}

/* Keeps what is shared with the rest. */
static int keep_shared(struct collector *c, int node)
{
	struct planner *p = c->p;
	struct node *n = &p->nodes[node];
	size_t kept = 0, shared = 0;
	int forced;

	for (size_t i = 0; i < c->n; i++) {
		struct entry *e = &c->list[i];
		struct ident *s = &p->idents[e->session];
		bool own = !leads_here(p, node) && e->session == n->session;

		c->at[e->session] = 0;
		if (!own && !(e->must && n->is_leader) && e->session >= 0 &&
			e->count == s->members &&
			(is_free(p, e->session) ? forest_ns_within(p->forest, s->ns, n->ns)
						: e->holds_leader))
			continue;
		if (!own && adopts(p, node, e->session)) {
			s->members -= e->count;
			continue;
		}
		e->node = node;
		e->must =
			!e->holds_leader && (own || !can_chain(p, e) || (e->must && n->is_leader));
		if (!n->is_leader && !own)
			e->claimable = false;
		c->list[shared++] = *e;
	}
	forced = choose_forced(p, node, c->list, shared);
	for (size_t i = 0; i < shared; i++) {
		struct entry *e = &c->list[i];

		if (forced != NONE && e->session != forced)
			e->claimable = false;
		if (e->must && e->session != forced && !is_moved(p, node, e->session)) {
			if (!can_adopt(p, node, e->session))
				return can_mend(p, node, c->list, shared)
					       ? -EAGAIN
					       : impossible(p, node,
							 "below it are members of more sessions "
							 "from outside than "
							 "it can be born in");
			p->idents[e->session].members -= e->count;
			n->adopts |= adopts(p, node, e->session) || note(p, node, e->session);
			continue;
		}
		c->list[kept++] = *e;
	}
	n->entries = arena_copy(p->arena, c->list, kept * sizeof(*c->list));
	n->n_entries = kept;
	if (!n->entries && kept)
		return -ENOMEM;
	for (size_t i = 0; i < kept; i++)
		if (is_for_init(p, node, n->entries[i].session)) {
			struct entry **list = &p->for_init[p->idents[n->entries[i].session].ns];

			n->entries[i].for_init = *list;
			*list = &n->entries[i];
		}
	return 0;
}

int find_shared_sessions(struct planner *p)
{
	struct collector c = {.p = p};
	int r = 0;

	c.at = calloc(p->forest->n_pids + 1, sizeof(*c.at));
	if (!c.at)
		return -ENOMEM;
	c.at++;
	for (size_t i = p->n_order; i-- > 1 && r == 0;) {
		r = collect_subtree(&c, p->order[i]);
		if (r == 0)
			r = keep_shared(&c, p->order[i]);
	}
	free(c.at - 1);
	free(c.list);
	return r;
}
