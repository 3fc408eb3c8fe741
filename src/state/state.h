/* SPDX-License-Identifier: MIT */
/*
 * A kind of state: one file that captures it from a live tree into the snapshot and restores it
 * from the snapshot. kinds.c lists all of them; each hook may be NULL. CONTRIBUTING.md says how to
 * add one.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/pool.h"
#include "image/image.h"
#include "image/snapshot.h"
#include "task/borrow.h"
#include "task/calls.h"
#include "task/tree.h"

/* What cannot be checkpointed: gathered from all tasks and kinds, said at once. */
struct refusals;
/* thing: "descriptor 4 is a socket". */
void refuse(struct refusals *refusals, const struct live_process *process, const char *thing, ...)
	__attribute__((format(printf, 3, 4)));

/* Private tables of a kind for a whole journey, found by address of a key of its own. */
struct kind_table {
	const void *key;
	void *value;
	struct kind_table *next;
};

/* The table of a key, zeroed at its first use; NULL without memory. */
void *kind_table_get(struct arena *arena, struct kind_table **tables, const void *key, size_t size);

/* ---- checkpoint: tasks -> snapshot ---- */

struct capture {
	struct arena *arena;
	Snapshot *snapshot;
	struct image_writer *writer;
	struct live_tree *tree;
	struct refusals *refusals;
	struct kind_table *tables;
	struct pool *pool;     /* for what needs no ptrace */
	struct arena **arenas; /* one for each worker of it; the first is arena */
	struct reprise_error *err;
};

/* ---- restart: snapshot -> tasks ---- */

/* The namespaces a stub is in now: index as in Process, -1 the caller's. Ghosts have those of who
 * made them. */
struct stub_spaces {
	int32_t mount, uts, ipc, user;
};

/* A task being built: a stub that runs calls. One per thread of the image, and one per ghost. */
struct stub {
	pid_t tid;		/* as the controller numbers it */
	const Process *process; /* NULL: a ghost */
	const Thread *thread;
	struct stub *leader; /* itself for a leader */
	bool fresh;	     /* created, its first stop not waited for yet */
	bool gone;	     /* has ended, and its tracer knows */
	bool left_room;	     /* its process has given the hands' room back */
	struct stub_spaces spaces;
	struct hand hand;
	void *notes[16]; /* as in live_process, by kind */
};

/* Waits for the first stop of a stub that has just been created (rebuild/stub.c). */
int stub_ready(struct stub *stub, struct reprise_error *err);

struct restore {
	struct arena *arena;
	const Snapshot *snapshot;
	const struct image *image;
	struct stub **leaders; /* stub of each process of the snapshot, by index */
	struct kind_table *tables;
	uint64_t room, room_size; /* the hands' memory: no area of the image is there */
	int controller_fd; /* number that a pidfd of the controller has in every stub (pull.h) */
	bool host_clocks;
	struct reprise_error *err;
};

/* Where a kind takes part in a restart. For each process, in this order. */
struct state_kind {
	const char *name;

	/* Some processes before survey comes to this one: starts what it will need (base/pool.h).
	 */
	int (*ahead)(struct capture *capture, struct live_process *process);
	/* Before anything is stopped: what cannot be captured is refused. Looks from outside only.
	 * Called again when all is frozen (capture->tree is then the frozen tree), since tasks may
	 * have changed: it must find the same things and may keep notes. */
	int (*survey)(struct capture *capture, struct live_process *process);

	/* Adds the calls that have to run inside the process (in its borrowed thread), then reads
	 * their results. keep is a batch whose results are wanted. Threads: ask_thread and
	 * take_thread, in each thread. */
	int (*ask)(struct capture *capture, struct live_process *process, struct calls *calls);
	int (*take)(struct capture *capture, struct live_process *process, struct calls *calls,
		Process *ret);
	int (*ask_thread)(struct capture *capture, struct live_process *process,
		struct live_thread *thread, struct calls *calls);
	int (*take_thread)(struct capture *capture, struct live_process *process,
		struct live_thread *thread, struct calls *calls, Thread *ret);

	/* Once, when all processes have been taken and are still frozen: what belongs to several.
	 */
	int (*take_shared)(struct capture *capture);

	/* Before the first task of a restart exists: what is missing here is said. Must not change
	 * anything. */
	int (*check)(struct restore *restore);
	/* Once, before the first process is created / when all stubs exist: objects that several
	 * tasks share. */
	int (*prepare)(struct restore *restore);
	int (*restore_shared)(struct restore *restore);
	/* Adds the calls that give a process this state; run in the leader's stub. */
	int (*restore)(struct restore *restore, struct stub *stub, struct calls *calls);
	/* The same for each thread, the leader included; after restore of all kinds. */
	int (*restore_thread)(struct restore *restore, struct stub *stub, struct calls *calls);
	/* Last words, when every task has all of restore: things that need the others complete
	 * (timers that start to run, pending signals). */
	int (*finish)(struct restore *restore, struct stub *stub, struct calls *calls);
	/* Gives back what prepare made, on success and on failure. */
	void (*end)(struct restore *restore);
};

/* All kinds, in the order in which they capture and restore; ends with NULL. */
extern const struct state_kind *const state_kinds[];
