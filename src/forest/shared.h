/* SPDX-License-Identifier: MIT */
/* Sessions that a subtree shares with the rest: what shared.c finds and sessions.c decides on. */
#pragma once

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
	int thread;	   /* the parent thread to which they come, where it matters; NONE */
	bool holds_leader; /* a task that leads it is in the subtree */
	bool claimable;
	bool must; /* its leader cannot be in the subtree */
	enum decision decision;
	struct entry *next;	/* the same session in a brother's subtree */
	struct entry *for_init; /* the next that is for the same init */
};

int find_shared_sessions(struct planner *p);

/*
 * A process and its parent are in different namespaces, and the session is of one below the
 * parent's. Orphans in that session come to the init of its namespace, which is not above
 * them. So it is decided on at that init, not at the parent.
 */
static inline bool is_for_init(const struct planner *p, int node, int session)
{
	const struct node *n = &p->nodes[node];
	int up = n->parent < 0 ? 0 : p->nodes[n->parent].ns;

	return session >= 0 && n->ns != up && p->idents[session].ns != up &&
	       forest_ns_within(p->forest, p->idents[session].ns, up);
}

/* Can a dead leader stand in the subtree of the process, and its orphans leave it? */
static inline bool can_chain(const struct planner *p, const struct entry *e)
{
	return e->holds_leader ||
	       (is_free(p, e->session) && p->idents[e->session].ns == p->nodes[e->node].ns);
}

/* Does the process lead its session, from where it is now? */
static inline bool leads_here(const struct planner *p, int node)
{
	const struct node *n = &p->nodes[node];

	return n->is_leader && !p->idents[n->ident].moved;
}
