/* SPDX-License-Identifier: MIT */
/*
 * A plan: the steps that lead to a forest. Every step is one system call made by one task, the
 * actor, which is a stub: it does nothing else, has not exec'd, handles no signal, and ends only
 * when a step says so. The steps come in one valid order.
 *
 * Tasks 0 … n_tasks - 1 are the forest's; those from n_tasks on are ghosts, extra processes that
 * hold the number of a dead leader or hand a session on, and are gone (exited and reaped) when
 * the last of steps is done. The plan's finish list makes the zombies; it is for after the state of
 * all tasks has been restored.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "forest/forest.h"

#define PLAN_NURSERY FOREST_OUTSIDE /* as an actor: the process that restart runs all this from */

enum plan_kind {
	/*
	 * actor clones subject. flags say how; value is the exit signal (0 with PLAN_CLONE_THREAD
	 * and PLAN_CLONE_PARENT, for which clone3 wants it so: a sibling gets its creator's). The
	 * pids are those of plan->tasks[subject]. The child lives in the actor's pid_for_children.
	 */
	PLAN_CREATE,
	PLAN_SETSID,	/* actor: setsid() */
	PLAN_SETPGID,	/* actor: setpgid(subject, value). subject is the actor or a child of it;
			   value the task or ghost that names the group, or FOREST_OUTSIDE: the
			   nursery's group. Both numbers as the actor's namespace sees them */
	PLAN_UNSHARE,	/* actor: unshare(CLONE_NEWPID), which opens namespace value (stays empty,
			   or a ghost will be its init) */
	PLAN_SETNS,	/* actor: setns() to the pid namespace value: so its next children live
			   there. The namespace exists and has or had an init (keep a descriptor
			   of each: it may be dead by then) */
	PLAN_SUBREAPER, /* actor: prctl(PR_SET_CHILD_SUBREAPER, value) */
	PLAN_EXIT,	/* actor ends with wait status value: exit(2) of the one task (not
			   exit_group: threads of it may live on), or a signal */
	PLAN_REAP,	/* actor: wait4(subject, __WALL), which is dead */
};

#define PLAN_CLONE_THREAD 1 /* CLONE_THREAD, and what that needs */
#define PLAN_CLONE_PARENT 2 /* CLONE_PARENT: the child's parent is the actor's */
#define PLAN_CLONE_NEWPID 4 /* CLONE_NEWPID: opens the namespace in which subject is pid 1 */

struct plan_step {
	uint8_t kind; /* enum plan_kind */
	uint8_t flags;
	int actor;   /* task, ghost, or PLAN_NURSERY */
	int subject; /* task or ghost */
	int value;
};

/* Who takes part. Numbers as in struct forest_pid, from namespace 0 inwards, level + 1 of them;
 * with PLAN_CLONE_NEWPID the last is the 1 that the new namespace gives, not asked for. */
struct plan_task {
	int ns;
	int level;
	int leader; /* itself for processes; ghosts are processes */
	int parent; /* at its creation; PLAN_NURSERY */
	const pid_t *numbers;
};

struct plan {
	const struct forest *forest;
	struct plan_task *tasks; /* n_tasks of the forest, then n_ghosts */
	size_t n_tasks;
	size_t n_ghosts;
	struct plan_step *steps;
	size_t n_steps;
	struct plan_step *finish; /* PLAN_EXIT and PLAN_SUBREAPER only */
	size_t n_finish;
};

/*
 * Makes the plan of a forest, in the arena; forest must live as long. Time and memory are linear in
 * the number of tasks. -EOPNOTSUPP: no sequence of calls leads to that forest; -EINVAL: the
 * forest contradicts itself. err says which task, and why.
 */
int forest_plan(struct arena *arena, const struct forest *forest, struct plan **ret,
	struct reprise_error *err);

/* The numbers that must be free in namespace 0 before the first step, ascending, ghosts' included.
 */
int plan_numbers(struct arena *arena, const struct plan *plan, pid_t **ret, size_t *ret_n);

/* One line a step, or one JSON object. 0 or -EIO. */
int plan_print(const struct plan *plan, FILE *file);
int plan_print_json(const struct plan *plan, FILE *file);
