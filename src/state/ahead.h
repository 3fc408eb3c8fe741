/* SPDX-License-Identifier: MIT */
/*
 * Small files and links of /proc that are read of every process: of a frozen one they are read
 * before its turn, by the pool.
 */
#pragma once

#include "state/state.h"

enum ahead_file {
	AHEAD_AUXV,
	AHEAD_TIMERS,
	AHEAD_OOM_SCORE_ADJ,
	AHEAD_COREDUMP_FILTER,
	AHEAD_FILES
};

int ahead_start(struct capture *capture, struct live_process *process);
/* Until all that was started has been read; its namespaces are known then. */
void ahead_finish(struct capture *capture, struct live_process *process);
/* As proc_read. The text is the caller's. */
int ahead_read(struct capture *capture, struct live_process *process, enum ahead_file file,
	char **ret, size_t *ret_size);
