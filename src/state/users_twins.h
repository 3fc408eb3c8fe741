/* SPDX-License-Identifier: MIT */
/* What users_twins.c, which makes user namespaces, and users_restore.c, which brings stubs into
 * them, have in common. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "state/users.h"

#define USER_UNCHANGED ((uint32_t)-1)

/* What a twin is told, and how far it is: in memory that it shares with the controller. */
struct twin_order {
	int there; /* 1: in its namespace */
	int error;
	int parent_fd;	/* -1: the controller's own user namespace */
	int enter_fd;	/* -1: a new one is made; -2: one will be named */
	uint32_t owner; /* of a new one; USER_UNCHANGED: the controller's user */
};

struct twin {
	pid_t pid; /* 0: none */
	int pidfd, ns_fd;
};

struct twins {
	struct twin *list; /* by user namespace of the image */
	struct twin_order *orders;
	size_t count;
	int controller; /* a pidfd of this program, which tells the twins of its end */
};

struct twins *twins_of(struct restore *restore);
int twin_start(struct twins *twins, int32_t user, const struct twin_order *order);
int twin_wait(struct twins *twins, int32_t user);
void twin_end(struct twin *twin);

/* Gives a new user namespace its ids, from the parent namespace; pid is a task that is in it. */
int twins_write_maps(struct restore *restore, struct twins *twins, int32_t user, pid_t pid);
