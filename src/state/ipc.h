/* SPDX-License-Identifier: MIT */
#pragma once

#include "state/state.h"

/* An ipc namespace comes back empty: refuses one that has System V objects or message queues. */
int ipc_survey(struct capture *capture, struct live_process *process, pid_t task);
