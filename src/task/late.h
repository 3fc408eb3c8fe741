/* SPDX-License-Identifier: MIT */
/*
 * Inside the room: threads that cannot be stopped, for they wait in the kernel until their vfork
 * child lets go of their memory, and that child may need anybody else for it. So all others go on
 * meanwhile; but such a thread stays stopped from the moment it returns: one that makes child after
 * child would never be caught between two of them.
 */
#pragma once

#include "task/find.h"

struct late {
	struct ids kept; /* threads that are traced by us from one attempt to the next */
	pid_t tid;	 /* the one that this attempt has failed for; 0: none */
};

/* Whether the thread waits so. */
bool late_waits(pid_t pid, pid_t tid);

bool late_is_kept(const struct late *late, pid_t tid);

/* It has died: its number may be another's soon. */
void late_forget(struct late *late, pid_t tid);

/* Releases the tree but for those that are kept, to which late->tid is added now. */
int late_release(struct late *late, struct live_tree *tree);

/* Waits for late->tid, which may have died meanwhile: 0, -ETIMEDOUT, -ECANCELED. */
int late_wait(struct late *late, double seconds, const struct tree_listener *listener);

/* Lets all that are kept go which are not in the tree (NULL: no tree). */
void late_end(struct late *late, const struct live_tree *tree);
