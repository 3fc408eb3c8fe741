/* SPDX-License-Identifier: MIT */
/* A small snapshot with one of everything, for tests that read, break or print one. */
#pragma once

#include "image/image.h"

#define SAMPLE_PAGES_SIZE (16 * 4096)

/*
 * Two pid namespaces. Process 0 is in the outer one, process 1 is 1 in the inner one and has two
 * threads, process 2 is a zombie. NULL without memory.
 */
Snapshot *sample_snapshot(struct arena *arena);

/* The same as a "snapshot" file. */
void *sample_file(struct arena *arena, const Snapshot *snapshot, size_t *ret_size);
