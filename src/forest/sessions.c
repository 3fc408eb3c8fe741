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

#include "forest/planner.h"

enum decision {
	OPEN,
	CLAIMED,
	CHAINED,
};

struct entry {
	int session;
	int node;
	int count;	   /* members in the subtree */
	bool holds_leader; /* a task that leads it is in the subtree */
	bool claimable;
	bool must; /* its leader cannot be in the subtree */
	enum decision decision;
	struct entry *next; /* the same session in a brother's subtree */
};

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
		c->list[c->n++] = (struct entry){.session = session, .claimable = true};
		*at = (int)c->n;
	}
	return &c->list[*at - 1];
}

/*
 * Is the process brought into its namespace from outside? Its orphans, and those of all below it,
 * come to the namespace's init, which is not above it. So what sessions of that namespace are
 * below it is decided at the init, not at its parent.
 */
static bool is_injected(const struct planner *p, int node)
{
	const struct node *n = &p->nodes[node];

	return n->parent != NONE && !n->opens_ns &&
	       n->ns != (n->parent < 0 ? 0 : p->nodes[n->parent].ns);
}

static bool is_for_init(const struct planner *p, int node, int session)
{
	return session >= 0 && is_injected(p, node) && p->idents[session].ns == p->nodes[node].ns;
}

/* Can a dead leader stand in the subtree of the process, and its orphans leave it? */
static bool can_chain(const struct planner *p, int node, const struct entry *e)
{
	return e->holds_leader || (e->session >= 0 && p->idents[e->session].holder == NONE &&
					  p->idents[e->session].ns == p->nodes[node].ns);
}

/* An injected child's list is split between its parent and the init. */
static int add_child(struct collector *c, int child, bool for_init)
{
	struct planner *p = c->p;

	for (size_t i = 0; i < p->nodes[child].n_entries; i++) {
		const struct entry *from = &p->nodes[child].entries[i];
		struct entry *e;

		if (is_for_init(p, child, from->session) != for_init)
			continue;
		e = collect(c, from->session);
		if (!e)
			return -ENOMEM;
		e->count += from->count;
		e->holds_leader |= from->holds_leader;
		e->claimable &= from->claimable;
	}
	return 0;
}

static int collect_subtree(struct collector *c, int node)
{
	struct planner *p = c->p;
	struct node *n = &p->nodes[node];
	struct entry *e;
	int r = 0;

	c->n = 0;
	for (int child = n->first; child != NONE && r == 0; child = p->nodes[child].next)
		r = add_child(c, child, false);
	if (n->opens_ns)
		for (int child = p->injected[n->ns]; child != NONE && r == 0;
			child = p->nodes[child].next_injected)
			r = add_child(c, child, true);
	e = collect(c, n->session);
	if (!e || r < 0)
		return -ENOMEM;
	e->count++;
	e->holds_leader |= n->is_leader;
	return 0;
}

/* An init gets orphans of any session: from a ghost brought in by the leader of it. */
static bool can_adopt(const struct planner *p, int node, int session)
{
	if (!p->nodes[node].opens_ns)
		return false;
	for (int c = p->nodes[node].first; c != NONE; c = p->nodes[c].next) {
		const struct node *n = &p->nodes[c];

		if (n->parent == node && n->exit_signal == SIGCHLD)
			continue;
		for (size_t i = 0; i < n->n_entries; i++)
			if (n->entries[i].session == session)
				return false;
	}
	return true;
}

/* Of the sessions that come from outside of its subtree, the one that it is to be born in. */
static int choose_forced(struct planner *p, int node, const struct entry *list, size_t n)
{
	int chosen = NONE;

	for (size_t i = 0; i < n; i++) {
		if (!list[i].must)
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
		bool own = !n->is_leader && e->session == n->session;

		c->at[e->session] = 0;
		if (!own && e->session >= 0 && e->count == s->members &&
			(s->holder == NONE ? forest_ns_within(p->forest, s->ns, n->ns)
					   : e->holds_leader))
			continue;
		e->node = node;
		e->must = !e->holds_leader && (own || !can_chain(p, node, e));
		if (!n->is_leader && !own)
			e->claimable = false;
		c->list[shared++] = *e;
	}
	forced = choose_forced(p, node, c->list, shared);
	for (size_t i = 0; i < shared; i++) {
		struct entry *e = &c->list[i];

		if (forced != NONE && e->session != forced)
			e->claimable = false;
		if (e->must && e->session != forced) {
			if (!can_adopt(p, node, e->session))
				return impossible(p, node,
					"below it are members of more sessions from outside than "
					"it can be born in");
			p->idents[e->session].members -= e->count;
			continue;
		}
		c->list[kept++] = *e;
	}
	n->entries = arena_copy(p->arena, c->list, kept * sizeof(*c->list));
	n->n_entries = kept;
	return n->entries || !kept ? 0 : -ENOMEM;
}

static int find_shared(struct planner *p)
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

/* Is this entry about the process at hand, or about the init of an injected child? */
static bool is_here(const struct level *l, const struct entry *e)
{
	return is_for_init(l->p, e->node, e->session) ==
	       (l->p->nodes[e->node].parent < 0 ||
				       l->p->nodes[l->p->nodes[e->node].parent].leader != l->node
			       ? l->node >= 0
			       : false);
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
	return session >= 0 && p->idents[session].holder == NONE;
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
		if (n->birth != NONE && n->birth != e->session)
			return impossible(p, e->node, "it would have to be born in two sessions");
		if (n->birth == NONE && !n->is_leader)
			return impossible(p, e->node, "below it is a session that it is not in");
		n->birth = e->session;
		for (size_t i = 0; i < n->n_entries; i++)
			if (n->entries[i].session != e->session && is_here(l, &n->entries[i]))
				decide(l, &n->entries[i], CHAINED);
	} else {
		struct ident *s = &p->idents[e->session];

		if (!can_chain(p, e->node, e) || (s->chained && !e->holds_leader))
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

static void gather_child(struct level *l, int child, bool for_init)
{
	struct planner *p = l->p;
	struct node *n = &p->nodes[child];

	l->open[child] = 0;
	for (size_t i = 0; i < n->n_entries; i++) {
		struct entry *e = &n->entries[i];
		struct ident *s = &p->idents[e->session];

		if (is_for_init(p, child, e->session) != for_init)
			continue;
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
	}
}

static void gather(struct level *l)
{
	struct planner *p = l->p;
	const struct node *q = &p->nodes[l->node];

	l->n_sessions = l->n_todo = l->n_peel = 0;
	for (int c = q->first; c != NONE; c = p->nodes[c].next)
		gather_child(l, c, false);
	if (q->opens_ns)
		for (int c = p->injected[q->ns]; c != NONE; c = p->nodes[c].next_injected)
			gather_child(l, c, true);
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
		if (is_injected(p, e->node) && p->nodes[e->node].session == session)
			brother |= !p->nodes[e->node].is_leader;
	for (struct entry *e = l->first[session]; e; e = e->next) {
		bool injected = is_injected(p, e->node);

		if (brother && injected && !e->holds_leader && s->holder == NONE)
			s->place = p->nodes[p->nodes[e->node].parent].leader;
		decide(l, e, e->holds_leader || (injected && !brother) ? CHAINED : CLAIMED);
	}
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
			else if (above || !is_contended(p, s) || n->session == s ||
				 !can_chain(p, e->node, e))
				decide(l, e, CLAIMED);
			else if (!e->claimable)
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
			!s->chained && (!s->injected || s->place == NONE))
			s->place = l->node;
		l->first[l->sessions[i]] = NULL;
	}
	return r;
}

int plan_sessions(struct planner *p)
{
	struct level l = {.p = p};
	size_t most = 1;
	int r = find_shared(p);

	if (r == -ENOMEM)
		return fail(p->err, ENOMEM, "no memory for the plan");
	if (r < 0)
		return r;
	for (size_t i = 1; i < p->n_order; i++) {
		struct node *n = &p->nodes[p->order[i]];

		most += n->n_entries;
		if (!n->is_leader)
			n->birth = n->session;
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
