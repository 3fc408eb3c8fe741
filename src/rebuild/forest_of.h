/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/error.h"
#include "forest/forest.h"
#include "image/snapshot.h"

/*
 * The forest of a valid snapshot: threads of the processes in their order, process by process.
 * Numbers in namespace 0 are chosen for a plain tree, and for a container when outer_pids.
 */
int forest_of(struct arena *arena, const Snapshot *snapshot, bool outer_pids, struct forest **ret,
	struct reprise_error *err);
