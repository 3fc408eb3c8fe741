// SPDX-License-Identifier: MIT
/*
 * Where a file of a nested mount namespace is found before that namespace has been made: a bind
 * leads to its source, and what no mount of the image covers is where it is in the namespace that
 * it is made from.
 */
#include <string.h>

#include "state/files_table.h"

#define DEPTH 64

/* What of path is below point; NULL when it is not. */
static const char *below(const char *path, const char *point)
{
	size_t length = strlen(point);

	if (length && point[length - 1] == '/')
		length--;
	if (strncmp(path, point, length) != 0 || (path[length] != '/' && path[length] != '\0'))
		return NULL;
	return path + length;
}

/* The mount that path is on: the longest, and of those the last one made. */
static const Mount *mount_of(const MountNamespace *space, const char *path)
{
	const Mount *best = NULL;

	for (size_t i = 0; i < space->n_mounts; i++)
		if (space->mounts[i]->kind != REPRISE__MOUNT__KIND__KEPT &&
			below(path, space->mounts[i]->point) &&
			(!best || strlen(space->mounts[i]->point) >= strlen(best->point)))
			best = space->mounts[i];
	return best;
}

const char *path_outside(struct restore *restore, int32_t index, const char *path)
{
	const Snapshot *snapshot = restore->snapshot;

	for (int i = 0; i < DEPTH && path; i++) {
		const MountNamespace *space;
		const Mount *mount;

		if (index < 0)
			return path;
		if ((size_t)index >= snapshot->n_mount_namespaces)
			return NULL;
		space = snapshot->mount_namespaces[index];
		if (space->root && space->root[0])
			return NULL;
		for (size_t j = 0; j < space->n_gone; j++)
			if (below(path, space->gone[j]))
				return NULL;
		mount = mount_of(space, path);
		if (mount && (mount->kind != REPRISE__MOUNT__KIND__BIND || mount->same >= 0))
			return NULL;
		if (mount)
			path = arena_printf(restore->arena, "%s%s",
				strcmp(mount->source, "/") == 0 ? "" : mount->source,
				below(path, mount->point));
		if (path && !*path)
			path = "/";
		index = space->made_from;
	}
	return NULL;
}
