/* SPDX-License-Identifier: MIT */
/*
 * The rules of clone_extended() as a pure translation to clone3(2). Nothing here makes a system
 * call or touches memory of others, so a restarter may use it for a task that it drives.
 */
#pragma once

#include <linux/sched.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	CE_LEVELS = 33,	 /* MAX_PID_NS_LEVEL is 32, and the initial namespace has level 0 */
	CE_SET_TID = 32, /* what clone3() takes in set_tid: one less than there can be levels */
};

/* What the caller asks for, in the words of clone_extended(). */
struct ce_request {
	uint64_t flags;	   /* flags_high << 32 | flags_low, the exit signal in the low byte */
	void *child_stack; /* a stack pointer */
	void *tls;
	void *parent_tid;
	void *child_tid;
	const pid_t *pids; /* from the outermost namespace named to the youngest */
	int num_pids;	   /* 0: no set */
};

/*
 * What clone3() gets. args.set_tid points to set_tid, so it has to be set anew in a copy. Bit i of
 * open says that set_tid[i] is 0, "any pid", with a chosen pid further out: clone3() has no form
 * for that, and whoever makes the call puts a free pid there and tries again while it is taken.
 */
struct ce_clone {
	struct clone_args args;
	pid_t set_tid[CE_LEVELS + 1];
	uint64_t open;
};

/*
 * Translates. levels is the number of pid namespaces in which the child will live, not counting
 * one opened by CLONE_NEWPID; 0 when it is not known, and then only the kernel's own check stands
 * against too many pids (it does not see zeros at the outer end of the list).
 * 0, or -EINVAL with *ret untouched. With more than CE_SET_TID chosen levels the result has
 * args.set_tid_size above CE_SET_TID, which clone3() refuses.
 */
int ce_translate(const struct ce_request *request, int levels, struct ce_clone *ret);

/* The first part of it: -EINVAL for flags or arguments that no kernel may ignore. */
int ce_check_flags(const struct ce_request *request);

/* How many zeros stand at the outer end of the set; num_pids when nothing is chosen. */
int ce_outer_zeros(const pid_t *pids, int num_pids);

/* The errno (positive) that clone_extended() gives where clone3() said this one. */
int ce_errno(int clone3_errno);
