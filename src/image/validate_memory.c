// SPDX-License-Identifier: MIT
/* Areas, their pages, shared memory. */
#include <string.h>
#include <sys/mman.h>

#include "image/validate.h"

#define MAX_ADDRESS (1ull << 56)
#define MAX_SIZE (1ull << 60)
#define MAX_AREA_NAME 80 /* ANON_VMA_NAME_MAX_LEN */
#define MAX_MEMFD_NAME 249

static int check_backing(const struct rules *rules, const Area *area)
{
	const Snapshot *snapshot = rules->snapshot;

	switch (area->kind) {
	case REPRISE__AREA__KIND__FILE:
		REQUIRE(rules, is_index(area->backing, snapshot->n_files),
			"area %llx: its file is number %d", (unsigned long long)area->start,
			area->backing);
		break;
	case REPRISE__AREA__KIND__SHARED_MEMORY:
		REQUIRE(rules, is_index(area->backing, snapshot->n_shared_memory),
			"area %llx: its shared memory is number %d",
			(unsigned long long)area->start, area->backing);
		break;
	default:
		break;
	}
	return 0;
}

static int check_area(const struct rules *rules, const Area *area, uint64_t after)
{
	unsigned long long start = area->start;
	uint32_t type = area->flags & MAP_TYPE;
	bool is_vdso =
		area->kind == REPRISE__AREA__KIND__VDSO || area->kind == REPRISE__AREA__KIND__VVAR;
	uint64_t guards;
	int r;

	REQUIRE(rules, area->start >= after, "area %llx overlaps the one before it", start);
	REQUIRE(rules, area->start < area->end && area->end <= MAX_ADDRESS,
		"area %llx ends at %llx", start, (unsigned long long)area->end);
	REQUIRE(rules, area->start % IMAGE_PAGE == 0 && area->end % IMAGE_PAGE == 0,
		"area %llx is not page-aligned", start);
	REQUIRE(rules, (area->protection & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC)) == 0,
		"area %llx: protection %x", start, area->protection);
	REQUIRE(rules, is_vdso || type == MAP_SHARED || type == MAP_PRIVATE, "area %llx: flags %x",
		start, area->flags);
	REQUIRE(rules, (area->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == 0,
		"area %llx: flags %x", start, area->flags);
	REQUIRE(rules, is_vdso || (area->offset % IMAGE_PAGE == 0 && area->offset <= MAX_SIZE),
		"area %llx: offset %llx", start, (unsigned long long)area->offset);
	REQUIRE(rules, area->open_flags <= 2, "area %llx: its file is opened with flags %x", start,
		area->open_flags);
	REQUIRE(rules, strlen(area->name) < MAX_AREA_NAME, "area %llx: its name is too long",
		start);
	r = check_backing(rules, area);
	if (r == 0)
		r = check_runs(rules, area->guards, area->start / IMAGE_PAGE,
			area->end / IMAGE_PAGE, &guards);
	return r < 0 ? r
		     : check_page_runs(rules, area->pages, area->start / IMAGE_PAGE,
			       area->end / IMAGE_PAGE);
}

int check_memory(const struct rules *rules, const Memory *memory)
{
	uint64_t after = 0;

	for (size_t i = 0; i < memory->n_areas; i++) {
		int r = check_area(rules, memory->areas[i], after);

		if (r < 0)
			return r;
		after = memory->areas[i]->end;
	}
	REQUIRE(rules, is_index_or_none(memory->exe, rules->snapshot->n_files),
		"its executable is file %d", memory->exe);
	REQUIRE(rules, memory->auxv.len <= IMAGE_PAGE && memory->auxv.len % 16 == 0,
		"its auxiliary vector has %zu bytes", memory->auxv.len);
	REQUIRE(rules, memory->dumpable <= 2, "it is dumpable in the way %u", memory->dumpable);
	REQUIRE(rules, memory->mdwe <= 3, "its MDWE flags are %x", memory->mdwe);
	REQUIRE(rules, memory->lock_future <= 7, "its mlockall flags are %x", memory->lock_future);
	return 0;
}

int check_shared_memory(const struct rules *rules)
{
	for (size_t i = 0; i < rules->snapshot->n_shared_memory; i++) {
		const SharedMemory *memory = rules->snapshot->shared_memory[i];
		uint32_t shift = memory->huge_page_shift;
		int r;

		REQUIRE(rules, memory->size <= MAX_SIZE, "shared memory %zu is too large", i);
		REQUIRE(rules, strlen(memory->name) <= MAX_MEMFD_NAME,
			"shared memory %zu: its name is too long", i);
		REQUIRE(rules, memory->seals <= 0x3f, "shared memory %zu: seals %x", i,
			memory->seals);
		REQUIRE(rules, shift == 0 || (shift > 12 && shift < 40),
			"shared memory %zu: pages of 2^%u bytes", i, shift);
		r = check_page_runs(
			rules, memory->pages, 0, (memory->size + IMAGE_PAGE - 1) / IMAGE_PAGE);
		if (r < 0)
			return r;
	}
	return 0;
}
