/* SPDX-License-Identifier: MIT */
/* Reading what the caller points to: EFAULT where a plain access would end the program. */
#pragma once

#include <clone_extended.h>

#include "call/frame.h"

/* Copies size bytes: 0 or -EFAULT. */
int ce_take(void *to, const void *from, size_t size);

/* Fills frame->request.num_pids and its pids from the set, which may be NULL: 0, -EFAULT, -EINVAL.
 */
int ce_take_set(struct ce_frame *frame, const struct pid_set *set);
