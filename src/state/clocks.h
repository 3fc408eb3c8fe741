/* SPDX-License-Identifier: MIT */
/*
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME go on from the checkpoint: at a restart they are those of a
 * time namespace (Linux 5.6).
 */
#pragma once

#include <sys/types.h>
#include <time.h>

#include "base/error.h"
#include "image/snapshot.h"

/* What has to be added to the host's clocks now. 0 or -errno. */
int clocks_offsets(const Snapshot *snapshot, struct timespec *ret_monotonic,
	struct timespec *ret_boottime, struct reprise_error *err);

/* Gives them to the time namespace that task has made for its children; before any is in it. */
int clocks_write_offsets(const Snapshot *snapshot, pid_t task, struct reprise_error *err);
