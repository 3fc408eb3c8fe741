/* SPDX-License-Identifier: MIT */
/*
 * Borrowing a thread of a program that is being checkpointed, to run calls in it. The way home is
 * planted first, in the padding behind the vdso's code: should the controller die at any moment,
 * the thread runs what it was given to its end, unmaps the scratch memory, and is back where it
 * was, with its registers, flags, signal mask and restart block. No text of the program is touched,
 * no handler planted, no frame built on its stack.
 */
#pragma once

#include "task/calls.h"
#include "task/tree.h"

struct borrowed {
	struct live_process *process;
	struct live_thread *thread;
	int memory;	   /* /proc/PID/mem; -1 when nothing is borrowed */
	uint64_t plant;	   /* address of the first slot, in the vdso */
	unsigned nr_slots; /* an interpreter and a way home in each: two, or one */
	unsigned slot;	   /* the one in use */
	unsigned used;	   /* slots that have been written to: bits */
	uint64_t scratch;  /* 0: not mapped */
	struct hand hand;
	struct user_regs_struct start; /* what calls start from: nothing of it has to be kept */
	enum { BORROW_RUNS_NOTHING, BORROW_MAPS, BORROW_UNMAPS } runs; /* started, not waited for */
	void *room; /* the controller's side of the scratch memory, kept from one to the next */
};

#define BORROWED_NONE ((struct borrowed){.memory = -1})

/* Lends process's best thread (not one in a restart block if there is another). In two halves,
 * between which it maps its scratch memory alone; on failure it is given back. */
int borrow_start(
	struct live_process *process, struct borrowed *borrowed, struct reprise_error *err);
int borrow_ready(struct borrowed *borrowed, struct reprise_error *err);

/* Moves on to another thread of the same process: the scratch memory is kept. */
int borrow_thread(struct borrowed *borrowed, struct live_thread *thread, struct reprise_error *err);

/* Lets it unmap its scratch memory, as the last thing that it runs: borrow_return waits for that.
 */
int borrow_leave(struct borrowed *borrowed, struct reprise_error *err);

/* Puts the thread back as it was and takes scratch and plant away. Safe after any failure. */
int borrow_return(struct borrowed *borrowed, struct reprise_error *err);

/* When no more is borrowed. */
void borrow_end(struct borrowed *borrowed);
