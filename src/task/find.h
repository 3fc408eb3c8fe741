/* SPDX-License-Identifier: MIT */
/* Inside the room: how a live tree is put together while it is looked for. */
#pragma once

#include "task/tree.h"

struct live_tree *tree_new(struct arena *arena); /* NULL without memory */

/* Adds a process without threads. -ESRCH when there is none of that pid. */
int tree_add(struct live_tree *tree, pid_t pid, struct live_process **ret);
/* The threads may move: pointers to others of the process end here. */
int tree_add_thread(
	struct live_tree *tree, struct live_process *process, pid_t tid, struct live_thread **ret);

/* Detaches from one thread if that is possible now: false when it has not stopped yet. */
bool live_let_go(struct live_thread *thread);

/* Takes out what has gone, sets parents from the statuses, and orders them. -ESRCH: no root. */
int tree_finish(struct live_tree *tree);

/* The ids in /proc/PID/task or in a children file; a list that belongs to the caller. */
struct ids {
	pid_t *list;
	size_t count, room;
};
int ids_of_threads(struct ids *ids, pid_t pid);
int ids_of_children(struct ids *ids, pid_t pid, pid_t tid);
int ids_add(struct ids *ids, pid_t id);
void ids_free(struct ids *ids);

/*
 * Tasks that are in a pid namespace whose init is in the tree but are no descendants: they were
 * created from outside. Found by a walk over /proc; what has been looked at once (tree->outside) is
 * passed over.
 */
int strangers_find(struct live_tree *tree, struct ids *ret);
