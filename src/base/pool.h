/* SPDX-License-Identifier: MIT */
/*
 * Work that needs no ptrace is done by threads beside the one that traces: one less than there are
 * CPUs, a few at most. Whoever waits helps. With one CPU each piece is done where it is added.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct pool;

/* A piece of work; owned by the caller, who may look at it when pool_finish has come back. */
struct piece {
	/* worker: which thread runs it, below pool_workers; 0 is the one that waits. */
	void (*run)(struct piece *piece, size_t worker);
	struct piece *next;
	bool done;
};

struct pool *pool_new(void); /* NULL: no memory */
size_t pool_workers(const struct pool *pool);

void pool_add(struct pool *pool, struct piece *piece);
/* Until this piece is done. */
void pool_finish(struct pool *pool, struct piece *piece);
/* Until all that was added is done. */
void pool_finish_all(struct pool *pool);

/* Finishes all, and ends the threads. NULL is fine. */
void pool_free(struct pool *pool);
