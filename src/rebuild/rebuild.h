/* SPDX-License-Identifier: MIT */
/*
 * From a plan to tasks. Every task is created stopped, is driven as a stub by one controller, and
 * goes on only when all of them are complete. A failure, or the controller's death, ends them all.
 */
#pragma once

#include "forest/forest.h"
#include "forest/plan.h"
#include "state/state.h"

struct rebuild {
	struct arena *arena;
	struct restore restore;
	const struct forest *forest;
	const struct plan *plan;
	struct stub *nursery;
	struct stub **stubs; /* by index of the forest's tasks, then of the plan's ghosts */
	size_t nr_stubs;
	int *ns_fds; /* by pid namespace: a descriptor where a step enters it */
	bool *ns_wanted;
	struct stub **ns_clerks; /* by pid namespace: who can say which number comes next there */
	bool new_pidns;		 /* a plain tree goes into a pid namespace of its own */
	bool detach;		 /* the root is left to the nearest subreaper, not to the caller */
	bool outer_pids;	 /* the pids outside the container are chosen too */
	pid_t target_pidns; /* of which task the pid namespace is to be entered; 0: the caller's */
	const struct reprise_watcher *watcher;
	struct reprise_error *err;
};

/* layout.c: finds room for the hands where no area of the image and none of the caller is. */
int layout_choose(const Snapshot *snapshot, uint64_t size, uint64_t *ret);
/* The lowest number above every descriptor of the image. */
int layout_descriptor(const Snapshot *snapshot);

/* nursery.c: the first stub, from which all tasks come; clean of everything of the controller. */
int nursery_start(struct rebuild *rebuild);
/* When all tasks are made: whoever it is the parent of gets the next one, before parent death
 * signals are set. */
int nursery_leave(struct rebuild *rebuild);
void nursery_end(struct rebuild *rebuild);
/* As many hands can run calls at once, each with a part of the room. */
#define ROOM_PARTS 4
void room_part(const struct rebuild *rebuild, size_t part, struct hand *hand);

/* stub.c */
struct stub *stub_new(struct rebuild *rebuild);
/* Lets actor create subject: flags are those of clone3(2) without CLONE_PTRACE; pids from the
 * outermost level named to the youngest. -EEXIST when one is taken. */
int stub_create(struct rebuild *rebuild, struct stub *actor, struct stub *subject, uint64_t flags,
	int exit_signal, const pid_t *pids, int nr_pids);
/* Waits until the stub, told to end, is gone for its tracer. */
int stub_wait_end(struct stub *stub, struct reprise_error *err);
void stub_kill(struct stub *stub);
const char *stub_name(const struct stub *stub, char *buffer, size_t size);
/* ret, after an error has been given the stub's name. */
int stub_named(const struct rebuild *rebuild, const struct stub *stub, int ret);

/* owned.c: creates subject as stub_create does, in the user namespace that owns what it opens, and
 * with numbers in namespaces that the actor has no capabilities for. */
int owned_create(struct rebuild *rebuild, struct stub *actor, struct stub *subject, uint64_t flags,
	int exit_signal, const struct plan_task *task);
/* A new member of a pid namespace. */
void owned_note(struct rebuild *rebuild, struct stub *stub, int ns);
/* Whether a stub has the capabilities that choosing numbers in a pid namespace takes. */
bool owned_by(const struct rebuild *rebuild, const struct stub *stub, int ns);

/* build.c: runs the steps of the plan, and those that end tasks when all state is there. */
int build_forest(struct rebuild *rebuild);
int build_finish(struct rebuild *rebuild);

/* state.c: gives every stub its state, kind by kind. */
int rebuild_state(struct rebuild *rebuild);
int rebuild_finish_state(struct rebuild *rebuild);

/* release.c: registers and masks, and everything goes on. */
int rebuild_release(struct rebuild *rebuild);

/* Ends every stub that was made. */
void rebuild_undo(struct rebuild *rebuild);
