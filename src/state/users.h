/* SPDX-License-Identifier: MIT */
/*
 * User namespaces: which there are in a tree, who owns the others (users.c), and how they are made
 * again (users_restore.c).
 */
#pragma once

#include "state/state.h"

/* ---- checkpoint; the index is that in snapshot->user_namespaces, -1 the controller's ---- */

/* Refuses what cannot be made again of the user namespace of a process, and of its ids there. */
int users_survey(struct capture *capture, struct live_process *process);

/* Refuses a namespace (link: "ns/mnt") of a process whose owner is none that can be told. */
int users_survey_owner(struct capture *capture, struct live_process *process, enum live_link link);

/* The user namespace of a process / the owner of a namespace: its index, noted when it is new.
 * Less than -1: -errno, with an error noted. */
int users_take(struct capture *capture, struct live_process *process);
int users_take_owner(struct capture *capture, int ns_fd);

/* In a child of the controller, before it enters a namespace: into the user namespace that owns it,
 * if that is another. Only system calls. */
void users_join_owner(int ns_fd);

/* Whether the owner of a task's mount namespace (0: the caller's) is not the initial one: then
 * mounts that came with it are locked. */
bool users_lock_mounts(pid_t task);

/* ---- restart ---- */

/* Makes every user namespace of the image, each with a task of this program's in it (its twin): a
 * stub that is in one gets its descriptors from there. Before a task exists; users_end ends them.
 */
int users_check(struct restore *restore);
void users_end(struct restore *restore);

/* That from which all tasks are made: the owner of the outermost pid namespace. */
int32_t users_of_nursery(const Snapshot *snapshot);

/* Whether who is in a user namespace has its capabilities in that of an owner too. */
bool users_cover(const Snapshot *snapshot, int32_t user, int32_t owner);

/* Brings a stub into a user namespace from one above it, one step. */
int users_enter(struct restore *restore, struct stub *stub, int32_t user);

/*
 * A user namespace that comes to be together with a pid namespace, by clone3(CLONE_NEWUSER |
 * CLONE_NEWPID) in an actor: before the call, and after it. On failure nothing is left to be done.
 */
struct users_birth {
	int32_t user;
	int number; /* of the twin's pidfd, in actor and child */
	bool other_owner;
};
int users_birth_begin(struct restore *restore, struct stub *actor, const struct stub *child,
	int32_t user, struct users_birth *ret);
int users_birth_end(struct restore *restore, struct stub *actor, struct stub *child,
	const struct users_birth *birth);
