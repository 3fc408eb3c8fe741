/* SPDX-License-Identifier: MIT */
/* Processes, threads and pid namespaces of a capture; zombies too, which other kinds never see. */
#pragma once

#include "state/state.h"

/* Namespace 0: the controller's. */
int tree_begin(struct capture *capture);

/* Processes that share memory and the like: refused. Once, before the freeze. */
int tree_survey_sharing(struct capture *capture);

/* Appends a process with its threads to the snapshot, in the order of the tree. */
int tree_take(struct capture *capture, struct live_process *from, Process **ret);
