/* SPDX-License-Identifier: MIT */
/* Histories: what tasks did, one after the other, from the creation of the first on. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "model.h"

enum op_kind {
	OP_FORK,
	OP_SIBLING, /* CLONE_PARENT */
	OP_THREAD,
	OP_CONTAINER, /* CLONE_NEWPID */
	OP_CONTAINER_SIBLING,
	OP_SETSID,
	OP_OWN_GROUP,
	OP_JOIN_GROUP,
	OP_CHILD_GROUP, /* setpgid of a child */
	OP_EXIT,	/* one thread */
	OP_EXIT_GROUP,
	OP_WAIT,
	OP_SUBREAPER,
	OP_UNSHARE,
	OP_SETNS,
	OP_SETNS_BACK,
	OP_KINDS,
};

/* who and what are taken modulo the number of those there are, so that every part of a history is a
 * history. */
struct op {
	uint8_t kind;
	uint16_t who;
	uint16_t what;
	uint16_t how;
};

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
static inline unsigned rng_below(struct rng *rng, unsigned n)
{
	return (unsigned)((rng_next(rng) >> 33) % n);
}

#define HISTORY_MOST 1200

/*
 * gentle: no init joins a group that is led from its own namespace or from one beside it. Linux
 * (6.18 and before) never ends an init that is in a group of which the dead leader was in its
 * namespace, whatever is killed: not for real processes.
 */
struct history {
	size_t n;
	bool gentle;
	struct op ops[HISTORY_MOST];
};

/* A step as it was really tried: for the printer, and for real processes that do the same. */
struct deed {
	enum op_kind kind;
	int actor;
	int subject; /* created task, child, group, or namespace */
	int group;
	int value;
	int ns;	    /* opened */
	bool tried; /* there was something to try it with */
	int result; /* 0, index, or -errno */
};

/* Does what was done in another model, as far as it can be done: tasks and namespaces are looked up
 * in the maps, from the other's to this one's, which start as {0, -1, …}, and entered. */
struct replay {
	struct model *m;
	int tasks[M_TASKS];
	int nss[M_NSS];
};

void replay_start(struct replay *r, struct model *m);
bool replay_deed(struct replay *r, const struct deed *d); /* false: it has no meaning here */

void history_random(struct history *h, struct rng *rng, unsigned most_tasks);

/* Runs it in a fresh model. note, if any, is told of each deed. */
void history_run(const struct history *h, struct model *m,
	void (*note)(void *arg, const struct model *m, const struct deed *deed), void *arg);

void deed_print(FILE *file, const struct deed *deed);
