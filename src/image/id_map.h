/* SPDX-License-Identifier: MIT */
/* The text of /proc/PID/uid_map and gid_map. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_MAP_EXTENTS 340 /* UID_GID_MAP_MAX_EXTENTS */

struct id_extent {
	uint32_t first, lower, count; /* inside, outside */
};

struct id_map {
	struct id_extent extents[ID_MAP_EXTENTS];
	size_t count;
};

/* -EINVAL: no such text. */
int id_map_parse(const char *text, struct id_map *ret);

/* Ids inside of an id outside, and the other way round; false: there is none. */
bool id_map_inside(const struct id_map *map, uint32_t lower, uint32_t *ret);

/*
 * What reads a map from further outside sees the ids there; the parent namespace's own are what has
 * to be written. Both maps are given as the same reader sees them. -ERANGE: an id that the parent
 * does not know.
 */
int id_map_in_parent(const struct id_map *map, const struct id_map *parent, struct id_map *ret);

/* Text to be written; false when it does not fit. */
bool id_map_print(const struct id_map *map, char *text, size_t size);
