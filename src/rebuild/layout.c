/* SPDX-License-Identifier: MIT */
#include "rebuild/rebuild.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define LOWEST 0x10000000ULL
#define HIGHEST 0x7ff000000000ULL
#define ROOM_ALIGN (1ULL << 16) /* one fault maps as much of it: fault_around_bytes */
#define MARGIN (1ULL << 20)	/* stacks grow, and their guard gap must stay free */

struct range {
	uint64_t start, end;
};

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static size_t own_ranges(struct range *ranges, size_t room)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	size_t count = 0;
	char line[512];

	while (maps && count < room && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &ranges[count].start,
			    &ranges[count].end) == 2)
			count++;
	return count;
}

static size_t count_areas(const Snapshot *snapshot)
{
	size_t count = 0;

	for (size_t i = 0; i < snapshot->n_processes; i++)
		if (snapshot->processes[i]->memory)
			count += snapshot->processes[i]->memory->n_areas;
	return count;
}

/* The highest hole of the union of all ranges that is large enough, aligned to ROOM_ALIGN. */
static int highest_hole(struct range *ranges, size_t count, uint64_t size, uint64_t *ret)
{
	uint64_t end = LOWEST;

	qsort(ranges, count, sizeof(*ranges), by_start);
	for (size_t i = 0; i <= count; i++) {
		uint64_t start = i < count ? ranges[i].start : HIGHEST;

		if (start > HIGHEST)
			start = HIGHEST;
		if (start > end + size + 2 * MARGIN + ROOM_ALIGN)
			*ret = (start - MARGIN - size) & ~(ROOM_ALIGN - 1);
		if (i < count && ranges[i].end > end)
			end = ranges[i].end;
	}
	return *ret ? 0 : -ENOMEM;
}

int layout_choose(const Snapshot *snapshot, uint64_t size, uint64_t *ret)
{
	size_t areas = count_areas(snapshot), own_room = 4096, count;
	_cleanup_free_ struct range *ranges = calloc(areas + own_room, sizeof(*ranges));

	if (!ranges)
		return -ENOMEM;
	*ret = 0;
	count = own_ranges(ranges, own_room);
	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Memory *memory = snapshot->processes[i]->memory;

		for (size_t j = 0; memory && j < memory->n_areas; j++)
			ranges[count++] =
				(struct range){memory->areas[j]->start, memory->areas[j]->end};
	}
	return highest_hole(ranges, count, size, ret);
}

int layout_descriptor(const Snapshot *snapshot)
{
	int highest = 2;

	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Process *process = snapshot->processes[i];

		for (size_t j = 0; j < process->n_descriptors; j++)
			if (process->descriptors[j]->number > highest)
				highest = process->descriptors[j]->number;
	}
	return highest + 1;
}
