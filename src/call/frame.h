/* SPDX-License-Identifier: MIT */
/*
 * What the stub of each processor (arch/.../clone_extended.S) and the C below it share.
 *
 * The stub keeps a frame on the caller's stack, has ce_prepare() fill it, makes the system call
 * that the frame describes, and returns by a register: after CLONE_VFORK|CLONE_VM nothing below
 * the caller's stack pointer is what it was, for the child has returned there first.
 */
#pragma once

#define CE_FRAME 560 /* room for struct ce_frame; a multiple of 16 */
#define CE_GO -4096  /* asks for the system call: neither a pid, nor -1, nor -errno */

/* Words at the start of the frame, by index. */
#define CE_NR 0
#define CE_ARG 1
#define CE_FN 7
#define CE_PARAM 8
#define CE_GATE 9

/* Adds CE_UNWIND: what a child finds above the stack pointer of the kernel until it returns. */
#include "call/arch/arch.h"

#ifndef __ASSEMBLER__
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <clone_extended.h>

#include "call/rules.h"

enum ce_way { CE_WAY_PLAIN, CE_WAY_NATIVE, CE_WAY_CLONE3, CE_WAY_LAST_PID };

struct ce_last_pid {
	uint64_t mask; /* the caller's signal mask, as the kernel lays it out */
	int verdict[2];
	int tries;
	int inner;  /* namespaces between the caller's own and the child's */
	bool fresh; /* the child will be the first of its namespace */
};

struct ce_frame {
	/* For the stub. */
	long nr;
	long arg[6];
	int (*fn)(void *arg);
	void *param;
	struct ce_frame
		*gate; /* this frame if parent and child pass through ce_result(), or NULL */

	/* For the rest. */
	enum ce_way way;
	bool calls; /* clone_extended_call() */
	bool low;   /* pids are chosen among the lowest only */
	bool first; /* 1 has been tried at the youngest level */
	int tries;
	struct ce_request request;
	pid_t pids[CE_LEVELS];
	struct ce_clone clone;
	struct ce_last_pid last_pid;
};
_Static_assert(sizeof(struct ce_frame) <= CE_FRAME, "CE_FRAME is too small");
_Static_assert(sizeof(long) == sizeof(void *), "the stubs take words and pointers alike");

/* CE_GO, or what clone_extended() returns, with errno set. */
int ce_prepare(int flags_low, int flags_high, void *child_stack, void *unused,
	struct clone_tid_info *tid_ptrs, struct pid_set *pid_setp, struct ce_frame *frame);
int ce_result(struct ce_frame *frame, long result);
#endif
