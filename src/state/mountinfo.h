/* SPDX-License-Identifier: MIT */
/* /proc/PID/mountinfo, parsed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"

struct mount_line {
	int id, parent;
	unsigned major, minor;
	const char *root;     /* path in the file system */
	const char *point;    /* from the namespace's root */
	uint64_t flags;	      /* MS_* of the mount itself */
	uint64_t propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE */
	const char *type, *source, *options;
	bool matched; /* for who compares */
};

struct mount_lines {
	struct mount_line *lines;
	size_t count;
};

/* The mounts of the namespace that task is in, as its own root sees them; 0: those of the caller.
 */
int mount_lines_read(
	struct arena *arena, pid_t task, struct mount_lines *ret, struct reprise_error *err);

/* Path below: what of path lies in root, "" for itself; NULL when it does not. */
const char *path_below(const char *path, const char *root);
/* One path behind the other with one slash between them. */
const char *path_join(struct arena *arena, const char *first, const char *rest);
