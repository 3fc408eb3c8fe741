/* SPDX-License-Identifier: MIT */
/*
 * In which session is each process born? One that leads no session is born in the one it is in. A
 * leader may be born in another, in which it makes children before its setsid. So a session
 * comes into the subtree below a process in one of two ways: the top of the subtree is born in it
 * (the subtree "claims" it: one at most), or its leader is in the subtree (it is "chained"
 * there). A leader that is dead can be put where it helps: its ghost stands below one process,
 * and its members come to that process and, as orphans, to all above it in the same namespace.
 *
 * From the leaves up, each process gets the list of sessions that its subtree shares with the rest.
 * From the nursery down, it is decided for each process and each session shared between its
 * children which of them claim it, and which one it is chained in. Where several could be,
 * those that share a single session with the others claim it first: they can be thought of as
 * created last, and what is left is the same question with fewer children.
 */
#include <stdlib.h>

#include "forest/shared.h"

/* The work on the children of one process. */
struct level {
	struct planner *p;
	int node;
	struct entry **first; /* by session: the first of its entries here, linked by next */
	int *sessions;	      /* that are here */
	size_t n_sessions;
	struct entry **todo; /* entries to be claimed or chained */
	size_t n_todo;
	int *open; /* by node: undecided entries that are shared with other undecided ones */
	int *peel; /* nodes with one such */
	size_t n_peel;
};

/* Is this entry decided on at the process at hand? */
static bool is_here(const struct level *l, const struct entry *e)
{
	const struct planner *p = l->p;
	int up = p->nodes[e->node].parent;

	if (is_for_init(p, e->node, e->session))
		return l->node == p->inits[p->idents[e->session].ns];
	return l->node == p->nodes[up].leader;
}

static void decide(struct level *l, struct entry *e, enum decision decision)
{
	if (e->decision == OPEN) {
		e->decision = decision;
		l->todo[l->n_todo++] = e;
	}
}

static bool is_contended(const struct planner *p, int session)
{
	return is_free(p, session);
}

/* One fewer undecided: when one is left, it is no longer shared with another. */
static void one_fewer(struct level *l, struct entry *e)
{
	struct planner *p = l->p;
	struct ident *s = &p->idents[e->session];

	if (!is_contended(p, e->session))
		return;
	if (s->left > 1 && --l->open[e->node] == 1)
		l->peel[l->n_peel++] = e->node;
	if (--s->left != 1)
		return;
	for (struct entry *o = l->first[e->session]; o; o = o->next)
		if (o->decision == OPEN && --l->open[o->node] == 1)
			l->peel[l->n_peel++] = o->node;
}

static int settle_one(struct level *l, struct entry *e)
{
	struct planner *p = l->p;
	struct node *n = &p->nodes[e->node];

	if (e->decision == CLAIMED) {
		if (n->birth != NONE && n->birth != e->session && n->ident != e->session)
			return impossible(p, e->node, "it would have to be born in two sessions");
		if (n->birth == NONE && !n->is_leader)
			return impossible(p, e->node, "below it is a session that it is not in");
		if (n->ident != e->session) /* else it is the leader, moved */
			n->birth = e->session;
		for (size_t i = 0; i < n->n_entries; i++)
			if (n->entries[i].session != e->session && n->ident != e->session &&
				is_here(l, &n->entries[i]))
				decide(l, &n->entries[i], CHAINED);
	} else {
		struct ident *s = &p->idents[e->session];

		if (!can_chain(p, e) || (s->chained && !e->holds_leader))
			return impossible(p, e->node, "a session comes from two sides");
		s->chained = true;
		for (struct entry *o = l->first[e->session]; o; o = o->next)
			if (o != e)
				decide(l, o, CLAIMED);
	}
	one_fewer(l, e);
	return 0;
}

static int settle(struct level *l)
{
	while (l->n_todo) {
		int r = settle_one(l, l->todo[--l->n_todo]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void gather_entry(struct level *l, struct entry *e, bool for_init)
{
	struct ident *s = &l->p->idents[e->session];

	if (!l->first[e->session]) {
		l->sessions[l->n_sessions++] = e->session;
		s->left = 0;
		s->chained = false;
		s->injected = 0;
	}
	e->next = l->first[e->session];
	l->first[e->session] = e;
	s->left++;
	s->injected += for_init;
	l->open[e->node] = 0;
}

static void gather(struct level *l)
{
	struct planner *p = l->p;
	const struct node *q = &p->nodes[l->node];

	l->n_sessions = l->n_todo = l->n_peel = 0;
	for (int c = q->first; c != NONE; c = p->nodes[c].next) {
		l->open[c] = 0;
		for (size_t i = 0; i < p->nodes[c].n_entries; i++)
			if (!is_for_init(p, c, p->nodes[c].entries[i].session))
				gather_entry(l, &p->nodes[c].entries[i], false);
	}
	if (q->opens_ns)
		for (struct entry *e = p->for_init[q->ns]; e; e = e->for_init)
			gather_entry(l, e, true);
	for (size_t i = 0; i < l->n_sessions; i++) {
		struct ident *s = &p->idents[l->sessions[i]];

		if (is_contended(p, l->sessions[i]) && s->left > 1)
			for (struct entry *e = l->first[l->sessions[i]]; e; e = e->next)
				l->open[e->node]++;
	}
}

/*
 * A session of the namespace of which the process is init, with members below tasks that were
 * brought in. In one such subtree the leader can be. In several, or where such a task is a member
 * itself, it must be their brother, from whom they come by CLONE_PARENT.
 */
static void decide_injected(struct level *l, int session)
{
	struct planner *p = l->p;
	struct ident *s = &p->idents[session];
	bool brother = s->injected > 1;

	for (struct entry *e = l->first[session]; e; e = e->next)
		if (is_for_init(p, e->node, session) && e->must)
			brother = true;
	for (struct entry *e = l->first[session]; e; e = e->next) {
		bool injected = is_for_init(p, e->node, session);

		if (brother && injected && !e->holds_leader && is_free(p, session))
			s->place = p->nodes[p->nodes[e->node].parent].leader;
		decide(l, e, e->holds_leader || (injected && !brother) ? CHAINED : CLAIMED);
	}
}

/* Could it come from a leader that moved up here, as an orphan or by CLONE_PARENT? */
static bool can_come_from_moved(const struct planner *p, const struct entry *e)
{
	const struct node *n = &p->nodes[e->node], *leader;

	if (!p->idents[e->session].moved || can_land(p, e->node))
		return true;
	leader = &p->nodes[p->idents[e->session].holder];
	return leader->parent == n->parent && leader->exit_signal == n->exit_signal;
}

/* What leaves no choice. */
static void decide_forced(struct level *l)
{
	struct planner *p = l->p;
	const struct node *q = &p->nodes[l->node];

	for (size_t i = 0; i < l->n_sessions; i++) {
		int s = l->sessions[i];
		bool above = s == q->birth || s == q->session;

		if (p->idents[s].injected && !above) {
			decide_injected(l, s);
			continue;
		}
		for (struct entry *e = l->first[s]; e; e = e->next) {
			const struct node *n = &p->nodes[e->node];

			if (e->holds_leader)
				decide(l, e, CHAINED);
			else if (above || !is_contended(p, s) || n->session == s || e->must)
				decide(l, e, CLAIMED);
			else if (!e->claimable || !can_come_from_moved(p, e) ||
				 (n->birth != NONE && n->birth != s && n->ident != s))
				decide(l, e, CHAINED);
		}
	}
}

static int claim_open(struct level *l, int node)
{
	struct node *n = &l->p->nodes[node];

	for (size_t i = 0; i < n->n_entries; i++) {
		struct entry *e = &n->entries[i];

		if (e->decision == OPEN && is_here(l, e) && l->p->idents[e->session].left > 1) {
			decide(l, e, n->birth == NONE ? CLAIMED : CHAINED);
			return settle(l);
		}
	}
	return 0;
}

static int decide_level(struct level *l)
{
	struct planner *p = l->p;
	int r;

	decide_forced(l);
	r = settle(l);
	for (int c = p->nodes[l->node].first; c != NONE && r == 0; c = p->nodes[c].next)
		if (l->open[c] == 1)
			l->peel[l->n_peel++] = c;
	while (r == 0 && l->n_peel) {
		int c = l->peel[--l->n_peel];

		if (l->open[c] == 1)
			r = claim_open(l, c);
	}
	for (size_t i = 0; i < l->n_sessions && r == 0; i++)
		for (struct entry *e = l->first[l->sessions[i]]; e && r == 0; e = e->next)
			if (e->decision == OPEN) {
				bool claim = p->nodes[e->node].birth == NONE && e->claimable;

				decide(l, e, claim ? CLAIMED : CHAINED);
				r = settle(l);
			}
	for (size_t i = 0; i < l->n_sessions; i++) {
		struct ident *s = &p->idents[l->sessions[i]];

		if (is_contended(p, l->sessions[i]) && l->sessions[i] != p->nodes[l->node].birth &&
			l->sessions[i] != p->nodes[l->node].session &&
			!adopts(p, l->node, l->sessions[i]) && !s->chained &&
			(!s->injected || s->place == NONE))
			s->place = l->node;
		l->first[l->sessions[i]] = NULL;
	}
	return r;
}

int plan_sessions(struct planner *p)
{
	struct level l = {.p = p};
	size_t most = 1;
	int r = find_shared_sessions(p);

	if (r == -ENOMEM)
		return fail(p->err, ENOMEM, "no memory for the plan");
	if (r < 0)
		return r;
	for (size_t i = 1; i < p->n_order; i++) {
		struct node *n = &p->nodes[p->order[i]];

		most += n->n_entries;
		n->birth = n->is_leader ? NONE : n->session;
	}
	l.first = calloc(p->forest->n_pids + 1, sizeof(struct entry *));
	l.sessions = calloc(p->forest->n_pids + 1, sizeof(int));
	l.todo = calloc(most, sizeof(struct entry *));
	l.open = calloc(p->n + 1, sizeof(int));
	l.peel = calloc(2 * most + p->n, sizeof(int));
	if (l.first && l.sessions && l.todo && l.open && l.peel) {
		l.first++;
		for (size_t i = 0; i < p->n_order && r == 0; i++) {
			l.node = p->order[i];
			gather(&l);
			r = decide_level(&l);
		}
		l.first--;
	} else {
		r = fail(p->err, ENOMEM, "no memory for the plan");
	}
	free(l.first);
	free(l.sessions);
	free(l.todo);
	free(l.open);
	free(l.peel);
	return r;
}
