/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

/* A descriptor of /proc as the pid namespace of task has it; 0: the caller's own. Or -errno. */
int proc_view(pid_t task);
