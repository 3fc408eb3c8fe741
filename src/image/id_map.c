// SPDX-License-Identifier: MIT
#include "image/id_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char **text, uint32_t *ret)
{
	const char *from = *text + strspn(*text, " ");
	unsigned long value;
	char *end;

	if (*from < '0' || *from > '9')
		return false;
	errno = 0;
	value = strtoul(from, &end, 10);
	*text = end;
	*ret = (uint32_t)value;
	return !errno && value <= UINT32_MAX;
}

int id_map_parse(const char *text, struct id_map *ret)
{
	ret->count = 0;
	while (*text) {
		struct id_extent extent;

		if (ret->count == ID_MAP_EXTENTS || !parse_number(&text, &extent.first) ||
			!parse_number(&text, &extent.lower) || !parse_number(&text, &extent.count))
			return -EINVAL;
		/* The last id, -1, is none. */
		if (!extent.count || extent.first > UINT32_MAX - extent.count ||
			extent.lower > UINT32_MAX - extent.count)
			return -EINVAL;
		text += *text == '\n';
		ret->extents[ret->count++] = extent;
	}
	return 0;
}

bool id_map_inside(const struct id_map *map, uint32_t lower, uint32_t *ret)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct id_extent *extent = &map->extents[i];

		if (lower < extent->lower || lower - extent->lower >= extent->count)
			continue;
		*ret = extent->first + (lower - extent->lower);
		return true;
	}
	return false;
}

/* The piece of the parent's that an id is in. */
static const struct id_extent *extent_of(const struct id_map *map, uint32_t lower)
{
	for (size_t i = 0; i < map->count; i++)
		if (lower >= map->extents[i].lower &&
			lower - map->extents[i].lower < map->extents[i].count)
			return &map->extents[i];
	return NULL;
}

int id_map_in_parent(const struct id_map *map, const struct id_map *parent, struct id_map *ret)
{
	ret->count = 0;
	for (size_t i = 0; i < map->count; i++) {
		struct id_extent left = map->extents[i];

		while (left.count) {
			const struct id_extent *in = extent_of(parent, left.lower);
			uint32_t skip = in ? left.lower - in->lower : 0, count = left.count;

			if (!in || ret->count == ID_MAP_EXTENTS)
				return -ERANGE;
			if (count > in->count - skip)
				count = in->count - skip;
			ret->extents[ret->count++] =
				(struct id_extent){left.first, in->first + skip, count};
			left.first += count;
			left.lower += count;
			left.count -= count;
		}
	}
	return 0;
}

bool id_map_print(const struct id_map *map, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < map->count && used < size; i++) {
		const struct id_extent *extent = &map->extents[i];

		used += (size_t)snprintf(text + used, size - used, "%u %u %u\n", extent->first,
			extent->lower, extent->count);
	}
	return used < size;
}
