/* SPDX-License-Identifier: MIT */
/* Drives all kinds of state over a tree: tasks -> snapshot. */
#pragma once

#include "state/state.h"

/* Fills in a capture that writes to writer; the snapshot has what does not depend on tasks. */
int capture_begin(struct capture *capture, struct arena *arena, struct image_writer *writer,
	struct reprise_error *err);

/* Also after a failure, and for one that was never begun. */
void capture_end(struct capture *capture);

/* What cannot be checkpointed, from outside: once for the living tree, once for the frozen one. */
int capture_survey(struct capture *capture, struct live_tree *tree);

/* A process has been frozen (a tree_listener's): what can be read of it by the pool is begun. */
int capture_frozen(struct live_process *process, void *capture);

/* Takes the frozen tree, with all its pages. interrupted is asked between processes. */
int capture_take(
	struct capture *capture, bool (*interrupted)(void), const struct reprise_watcher *watcher);
