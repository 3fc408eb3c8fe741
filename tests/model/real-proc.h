/* SPDX-License-Identifier: MIT */
/* Inside of real.h. */
#pragma once

#include <stdatomic.h>

#include "real.h"

enum call {
	CALL_CLONE,
	CALL_SETSID,
	CALL_SETPGID,
	CALL_UNSHARE,
	CALL_SETNS,
	CALL_SUBREAPER,
	CALL_EXIT,
	CALL_EXIT_GROUP,
	CALL_WAIT,
};

struct order {
	enum call call;
	int flags;
	int a, b;
};

/* One task's mailbox, in memory that all share. */
struct slot {
	atomic_int go, done;
	struct order order;
	int result;
};

struct real {
	struct slot *slots;
	int pids[M_TASKS]; /* in the caller's namespace */
	int numbers[M_TASKS][M_LEVELS];
	enum m_state states[M_TASKS]; /* seen in settle */
	unsigned long nss[M_NSS];     /* inodes */
	int n_known;
};

/* The task that has just been created: finds its pid and its numbers. 0 or -errno. */
int real_find_new(struct real *real, const struct model *m, int task);
void setns_home(void);
