/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the planner share. They run in this order, each over the whole forest:
 *
 *   tree.c      checks the forest; who is whose child
 *   shared.c    sessions that subtrees share
 *   sessions.c  the session each process is born in, and where ghosts of dead leaders stand
 *   creators.c  who creates each process, and the ghosts that hand a session on
 *   groups.c    … and the process group each must be born in, where it could not join later
 *   order.c     the creations, one after the other
 *   regroup.c   the process groups that can be joined once all are there
 *   ending.c    ghosts go; children's namespaces; subreapers; zombies
 *   numbers.c   numbers for ghosts that need none in particular
 *
 * Nodes are the forest's tasks, then ghosts; node -1 is the nursery. Identities are the forest's;
 * identity -1 is the session and group of the nursery. Both arrays can be indexed by -1.
 */
#pragma once

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "forest/plan.h"

#define NONE (-2)

/* How a process comes to its parent. */
enum via {
	VIA_PARENT,  /* its parent creates it */
	VIA_SIBLING, /* the creator is a child of the same parent: CLONE_PARENT */
	VIA_ORPHAN,  /* the creator is a ghost that dies */
};

/* When, in the life of the creator. */
enum phase {
	PHASE_ANY,
	PHASE_PRE,  /* before its setsid */
	PHASE_POST, /* after it */
};

struct entry;

struct node {
	int ns;
	int leader;
	int parent; /* the thread */
	int ident;  /* NONE: a ghost which needs no number in particular */
	int session;
	int group;
	int exit_signal;
	bool ghost;
	bool is_leader; /* of a session */
	bool opens_ns;	/* pid 1 of its namespace */
	bool zombie;
	int first, next; /* children of the process, in the forest's order; NONE */
	int threads, next_thread;

	int birth; /* session it is born in; NONE: any */
	int creator;
	enum via via;
	enum phase phase;
	int made, next_made; /* whom it creates; the next whom its creator does */
	int birth_group;     /* identity it must be born in; NONE: any */
	int group_from;	     /* who it creates and has to be in birth_group for; NONE: for itself */
	bool early;	     /* its parent settles its group before the parent's setsid */
	bool two_groups;     /* … or in more than one */
	int reaper;	     /* ghosts: process that takes its children in when it ends */
	int helper;	     /* ghost or child with which it makes inits elsewhere */
	bool adopts;	     /* an init: it is in the notes */
	struct entry *entries; /* sessions shared between its subtree and the rest */
	size_t n_entries;

	bool fixed; /* ghosts: parent and exit signal are settled */

	bool created, has_session, in_creation, in_setsid;
	int cursor; /* the first of those it creates that was not looked at for its setsid */
	int now_group, now_children_ns, now_parent;
};

struct ident {
	int ns;
	const pid_t *numbers;
	int holder; /* node: its task or its ghost; NONE */
	bool is_session, is_group;
	int members; /* processes in the session, its leader among them when it is a task */
	bool moved;  /* the leader, a task, was further down when its session came there */
	int place;   /* process below which the ghost of a dead session leader stands; NONE */
	/* At work on the children of one process */
	int heads;
	bool chained;
	int injected;
	int left;
	/* Groups */
	int now_members;
	int settled;
	int first_member;
};

/*
 * What only shows when much of the plan is made already: that an init must get the members of a
 * session as orphans; or (node NONE) that a leader of a session was further down once. All is then
 * planned anew, with the notes.
 */
struct plan_note {
	int node;
	int session;
};

struct plan_notes {
	struct plan_note *list;
	size_t n, most;
};

struct planner {
	struct plan_notes *notes;
	struct arena *arena;
	const struct forest *forest;
	struct reprise_error *err;
	struct node *nodes; /* [-1] is the nursery */
	size_t n, n_nodes, most_nodes;
	struct ident *idents; /* [-1] is outside */
	int *order;	      /* processes, parents before children, from the nursery on */
	size_t n_order;
	struct entry **for_init; /* by namespace: what is decided on at its init (shared.h) */
	int *ghosts;		 /* in the order of their creation */
	size_t n_ghosts, most_ghosts;
	int *inits; /* node that is pid 1 of a namespace, NONE */
	struct plan_step *steps, *finish;
	size_t n_steps, most_steps, n_finish, most_finish;
	bool choose_outer;
};

int plan_tree(struct planner *p);
int plan_sessions(struct planner *p);
int plan_creators(struct planner *p);
int plan_order(struct planner *p);
int plan_regroup(struct planner *p);
int plan_ending(struct planner *p);
int plan_ghost_numbers(struct planner *p, struct plan *plan);

int make_group_ghosts(struct planner *p);
int need_own_group(struct planner *p, int node);
/* An orphan to an init, of a ghost that the leader of its session brings in. */
int adopt(struct planner *p, int child);
int hand_on_group(struct planner *p, int node);

/* Can inits at or below the process adopt the session? Then notes it and returns true. */
bool find_adopters(struct planner *p, int node, int session);
/* Or could the leader of the session have been below the process once? */
bool find_other_way(struct planner *p, int node, int session);
bool adopts(const struct planner *p, int node, int session);

/* A new ghost; NONE without memory. Pointers into nodes are void after it. */
int ghost_new(struct planner *p, int ns, int parent, int session, int exit_signal);
void set_creator(struct planner *p, int node, int creator, enum via via, enum phase phase);

int emit(struct planner *p, enum plan_kind kind, int actor, int subject, int value, int flags);
int emit_finish(struct planner *p, enum plan_kind kind, int actor, int value);
int emit_create(struct planner *p, int node);
/* Has the actor's next child live in ns. */
int use_children_ns(struct planner *p, int actor, int ns);
/* Moves a process to a group, by whoever may; 0, -errno, or 1 when nobody may. */
int set_group(struct planner *p, int node, int group);
/* Is the process in another group than the one that it leads, and that others are in? */
bool is_absent(const struct planner *p, int node);
/* A ghost, child of the leader, that keeps its group in being. */
int keep_group(struct planner *p, int leader);
int end_ghost(struct planner *p, int ghost);

/* The session a process is in at this point of the plan. */
static inline int session_now(const struct planner *p, int node)
{
	const struct node *n = &p->nodes[p->nodes[node].leader];

	return n->is_leader && !n->has_session ? n->birth : n->session;
}

static inline bool sees(const struct planner *p, int ns, int ident)
{
	return ident < 0 ? ns == 0 : forest_ns_within(p->forest, p->idents[ident].ns, ns);
}

/* The thread that orphans come to, in the end. */
static inline int landing(const struct planner *p, int process)
{
	const struct node *n = &p->nodes[process];

	return n->zombie && n->threads != NONE ? n->threads : process;
}

/* Could the process be an orphan: of the right thread, with the right signal? */
static inline bool can_land(const struct planner *p, int child)
{
	const struct node *n = &p->nodes[child];
	int up = p->nodes[n->parent].leader;

	return n->exit_signal == SIGCHLD && (n->parent == up || n->parent == landing(p, up));
}

/* Can it be chosen where the leader of the session stands, when its members come? */
static inline bool is_free(const struct planner *p, int session)
{
	return session >= 0 && (p->idents[session].holder == NONE || p->idents[session].moved);
}

/* -EOPNOTSUPP about a task, with its pids. */
int impossible(struct planner *p, int node, const char *what);
int contradiction(struct planner *p, int node, const char *what);
