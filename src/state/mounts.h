/* SPDX-License-Identifier: MIT */
/* Mount namespaces: what differs from the one each was made from, and how it is made again. */
#pragma once

#include "state/state.h"

/* Which mounts of the namespace of a task can be made again: refuses the others, changes nothing.
 */
int mounts_survey(
	struct capture *capture, struct live_process *process, pid_t task, pid_t base_task);

/* Describes the namespace of task against that of base_task (0: the caller's). */
int mounts_take(
	struct capture *capture, pid_t task, pid_t base_task, int32_t base, MountNamespace *ret);

/* The stub is in a fresh copy of the base namespace: makes it the one of the image. */
int mounts_make(struct restore *restore, struct stub *stub, const MountNamespace *space);

/* When all stubs are there: the mounts that only some of them can make. */
int mounts_finish(struct restore *restore);

/* Which pid namespaces the mounts of proc show, when all of those are known; task is in it. */
void mounts_take_proc(struct capture *capture, pid_t task, const MountNamespace *space);

/* tmpfs.c: what is in a tmpfs mounted at point of the namespace of task; and back again. */
int tmpfs_take(struct capture *capture, pid_t task, Mount *mount);
int tmpfs_fill(struct restore *restore, pid_t task, const char *point, const Mount *mount);
