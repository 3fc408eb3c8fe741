/* SPDX-License-Identifier: MIT */
/* Which levels the last_pid backend reaches, and how it writes there. */
#pragma once

#include "call/frame.h"

/*
 * Counts the levels between the caller and the child into frame->last_pid. 0, -EINVAL for more
 * pids than levels, -EOPNOTSUPP when a pid is chosen out of reach.
 */
int ce_find_levels(struct ce_frame *frame);

/*
 * Makes the chosen pids the next ones. 0, -EBUSY for one that is seen to be taken, -EINVAL at or
 * above pid_max, -EPERM, -ENOSYS without ns_last_pid in this kernel.
 */
int ce_write_last_pids(struct ce_frame *frame);

/* In how many pid namespaces a child will live; 0 where /proc does not show all, -EOPNOTSUPP. */
int ce_levels_in_proc(void);
