/* SPDX-License-Identifier: MIT */
/*
 * The live tree: a root task and all its descendants, found in /proc and frozen. A number
 * is that of the same task as long as it is traced; before that, live_has_ended() tells.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "task/arch/arch.h"
#include "task/proc.h"

struct live_thread {
	pid_t tid; /* as the controller numbers it */
	struct task_status status;
	arch_registers registers; /* at home: where it goes on; valid when seized */
	uint64_t mask;		  /* its signal mask */
	bool seized;
	bool held; /* is in the stop that was asked for */
	bool dead; /* a leader that exited while other threads go on: Z in /proc, not seized */
	bool group_stopped; /* was stopped by a signal before the freeze */
	bool borrowed;	    /* its registers are not its own now (borrow.h) */
	bool gone;	    /* died before it could be stopped, or since */
};

/* Links of /proc/PID/ns. */
enum live_link {
	LIVE_PID,
	LIVE_PID_FOR_CHILDREN,
	LIVE_USER,
	LIVE_MOUNT,
	LIVE_UTS,
	LIVE_IPC,
	LIVE_NETWORK,
	LIVE_CGROUP,
	LIVE_TIME,
	LIVE_TIME_FOR_CHILDREN,
	LIVE_LINKS
};
extern const char *const live_links[LIVE_LINKS]; /* "ns/pid" and so on */

struct live_process {
	pid_t pid;
	size_t index;		     /* position in the tree: parents come before children */
	struct live_process *parent; /* NULL: outside the tree */
	struct live_thread *threads; /* the leader first */
	size_t nr_threads;
	bool zombie;
	bool settled; /* frozen, and all its threads are known */
	bool gone;    /* has been reaped while the tree was looked at */
	bool stopped;
	int stop_signal;
	uint64_t inodes[LIVE_LINKS]; /* of its namespaces; 0: not read yet */
	uint64_t vdso;		     /* where it is, if somebody has seen it; 0: not known */
	/* For the state kinds: anything they keep between survey and capture, by kind. */
	void *notes[16];
};

struct live_tree {
	struct arena *arena;
	struct live_process **processes;
	size_t count;
	size_t nr_threads;
	pid_t *outside; /* tasks of the system that are not in it: ordered */
	size_t nr_outside;
	struct live_process **by_pid; /* hash table */
	size_t table_size;
};

/* Finds root and all descendants without stopping anything: for the survey before the freeze. */
int tree_find(struct arena *arena, pid_t root, struct live_tree **ret, struct reprise_error *err);

struct tree_listener {
	int (*frozen)(struct live_process *process, void *data); /* 0 or -errno with an error */
	bool (*given_up)(void *data); /* asked while a thread is waited for; or NULL */
	void *data;
};

/*
 * Stops every thread of root and its descendants, new ones included, until nothing moves; fills in
 * statuses, registers and masks. A task that cannot be stopped in time (a vfork parent) is -EBUSY.
 * On failure everything goes on as before. found: what tree_find gave a moment ago, or NULL; it
 * saves a second look at the tasks outside. listener, or NULL, hears of each process as
 * soon as all its threads have stopped; an attempt that is repeated tells of all once more.
 */
int tree_freeze(struct arena *arena, pid_t root, const struct live_tree *found,
	const struct tree_listener *listener, struct live_tree **ret, struct reprise_error *err);

/* Everything goes on where it was: stopped tasks stay stopped. */
void tree_release(struct live_tree *tree);

/* Ends all of them, and waits until they are gone as far as their parents allow. */
int tree_kill(struct live_tree *tree, struct reprise_error *err);

/* Whether a thread of it waits for its vfork child now. */
bool tree_waits_for_vfork(const struct live_process *process);

struct live_process *tree_process(const struct live_tree *tree, pid_t pid);

/* Whether it is the first task of its pid namespace, which is not the initial one. */
bool live_is_init(const struct live_process *process);

/* A thread of it that has not exited; 0 for a zombie. */
pid_t live_tid(const struct live_process *process);

/* Which namespace it is in: read once, for it does not change while it is frozen. 0 and errno: it
 * cannot be read, ENOENT where there is none (a pid namespace for children that has no task). */
uint64_t live_namespace(struct live_process *process, enum live_link link);

/* One of its threads is traced. */
bool live_is_frozen(const struct live_process *process);
/* It is not traced, and has ended since it was looked at. */
bool live_has_ended(const struct live_process *process);

/* "11235 5 1": the pids of a thread, outermost first, for errors. */
const char *live_name(const struct live_thread *thread, char *buffer, size_t size);
