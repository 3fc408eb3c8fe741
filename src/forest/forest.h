/* SPDX-License-Identifier: MIT */
/*
 * A forest: which tasks there are, what their pids are in every namespace, who is whose parent,
 * and which sessions, process groups and pid namespaces they are in. Pure data: it is filled from
 * a snapshot, and a plan (plan.h) is made of it. Nothing here touches a task.
 *
 * Everything refers to everything else by index.
 *
 * Namespace 0 is the one in which restart happens: where the nursery lives, the process that
 * creates whatever has its parent outside. Namespaces further out than that are not described;
 * pids there are the kernel's choice. The nursery is a subreaper: orphans that leave the forest in
 * namespace 0 come to it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Not in the forest: the nursery, or what the nursery has and its children inherit. */
#define FOREST_OUTSIDE (-1)

enum forest_ns_state {
	FOREST_NS_LIVE =
		0,	 /* has an init: a task of the forest (maybe a zombie), or outside of it */
	FOREST_NS_EMPTY, /* opened by unshare(2), no task in it yet: some task's children_ns */
	FOREST_NS_DEAD,	 /* its init is gone: some task's children_ns, in which fork fails */
};

struct forest_ns {
	int parent; /* FOREST_OUTSIDE for namespace 0, else a smaller index */
	int level;  /* 0 for namespace 0, else parent's + 1 */
	enum forest_ns_state state;
	pid_t pid_max;	/* 0: not known. Chosen ghost pids stay below it */
	pid_t last_pid; /* 0: not known. For the executor; the planner does not read it */
};

/*
 * An identity, what the kernel calls a struct pid: a number in each namespace from namespace 0 (at
 * numbers[0]) inwards to ns (at numbers[level of ns], the youngest). Tasks have one each; a session
 * or a process group is named by the identity of its leader, which may be long dead, or be in a
 * namespace where a member cannot see it (the member then reads 0).
 * numbers[0] may be 0: the kernel's choice (all of them, or none). Others are 0 nowhere.
 */
struct forest_pid {
	int ns;
	const pid_t *numbers;
};

struct forest_task {
	int pid;     /* index of its identity; no two tasks share one */
	int leader;  /* index of its thread-group leader: itself for a process, smaller for a thread
		      */
	int parent;  /* the task (the very thread) that is its parent, or FOREST_OUTSIDE. Threads:
			as their leader */
	int session; /* index of an identity, or FOREST_OUTSIDE: the nursery's. Threads: as their
			leader, like group */
	int group;
	int children_ns; /* index of pid_for_children; normally the namespace it lives in */
	int exit_signal; /* of the leader; threads: ignored */
	int status;	 /* of a zombie: as wait(2) gives it */
	bool zombie;	 /* a leader that has exited; its threads, if any, live on */
	bool subreaper;	 /* of the leader; threads: ignored */
};

/*
 * Leaders come before their threads, and threads of one process in the order of /proc/PID/task. The
 * root is task 0 by custom; others may have FOREST_OUTSIDE as their parent as well (what was
 * brought into the container from outside).
 */
struct forest {
	struct forest_ns *nss;
	size_t n_nss;
	struct forest_pid *pids;
	size_t n_pids;
	struct forest_task *tasks;
	size_t n_tasks;
	/* Numbers that are in use in namespace 0, ascending; so that no ghost asks for one. Only
	 * needed where pids in namespace 0 are chosen. */
	const pid_t *taken;
	size_t n_taken;
};

static inline int forest_ns_of(const struct forest *forest, size_t task)
{
	return forest->pids[forest->tasks[task].pid].ns;
}

/* Is ns inside outer, or outer itself? */
bool forest_ns_within(const struct forest *forest, int ns, int outer);

/* The number of an identity as a namespace sees it: 0 when it cannot, or when numbers[0] is 0. */
pid_t forest_number(const struct forest *forest, int pid, int ns);
