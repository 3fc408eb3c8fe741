/* SPDX-License-Identifier: MIT */
/*
 * The backends. Each prepares the system call in the frame, and says what follows from its result:
 * CE_GO for "(once more) make the call", 0 or a pid, or -errno.
 */
#pragma once

#include "call/frame.h"

int ce_plain_prepare(struct ce_frame *frame);
int ce_plain_result(struct ce_frame *frame, int error);

int ce_clone3_prepare(struct ce_frame *frame);
int ce_clone3_result(struct ce_frame *frame, int error);

int ce_last_pid_prepare(struct ce_frame *frame);
int ce_last_pid_result(struct ce_frame *frame, long result);

/* Puts clone(2), or clone3(2) where the flags need it, without a set into the frame. */
void ce_set_plain(struct ce_frame *frame);

/* Whether n pid namespaces will hold the child: 0, -EINVAL if not, another -errno. */
int ce_levels_fit(int n);
