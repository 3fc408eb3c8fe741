// SPDX-License-Identifier: MIT
/* Which pages of a task are its own. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/content.h"

#define PAGE 4096u
#define REGIONS 512

/* The interface of PAGEMAP_SCAN, Linux 6.7. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_request {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_PAGES _IOWR('f', 16, struct scan_request)
#define SCAN_FILE (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_ZERO (1u << 5)
#define SCAN_GUARD (1u << 8) /* Linux 6.16 */

/* An entry of /proc/PID/pagemap. */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_GUARD (1ull << 58) /* Linux 6.15 */

void page_runs_free(struct page_runs *runs)
{
	free(runs->items);
	*runs = (struct page_runs){0};
}

int page_runs_append(struct page_runs *runs, uint64_t start, uint64_t end)
{
	if (runs->count == runs->room) {
		size_t room = runs->room ? runs->room * 2 : 64;
		struct page_run *grown = realloc(runs->items, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		runs->items = grown;
		runs->room = room;
	}
	runs->items[runs->count++] = (struct page_run){start, end};
	return 0;
}

int page_runs_add(struct page_runs *runs, uint64_t start, uint64_t end)
{
	if (!runs->count || runs->items[runs->count - 1].end != start)
		return page_runs_append(runs, start, end);
	runs->items[runs->count - 1].end = end;
	return 0;
}

static int add_regions(const struct scan_region *regions, int count, struct page_runs *ret,
	struct page_runs *guards)
{
	for (int i = 0; i < count; i++) {
		struct page_runs *to = regions[i].categories & SCAN_GUARD ? guards : ret;
		int r = page_runs_add(to, regions[i].start, regions[i].end);

		if (r < 0)
			return r;
	}
	return 0;
}

/* -ENOTTY: this kernel has no such call. */
static int scan_by_call(
	int fd, uint64_t start, uint64_t end, struct page_runs *ret, struct page_runs *guards)
{
	struct scan_region regions[REGIONS];
	struct scan_request request = {
		.size = sizeof(request),
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = REGIONS,
		.category_inverted = SCAN_FILE | SCAN_ZERO,
		.category_mask = SCAN_FILE | SCAN_ZERO,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_GUARD,
	};

	while (request.start < end) {
		int count = ioctl(fd, SCAN_PAGES, &request);
		int r;

		if (count < 0 && errno == EINVAL && request.return_mask) {
			request.return_mask = 0; /* it knows no guard pages */
			continue;
		}
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		r = add_regions(regions, count, ret, guards);
		if (r < 0)
			return r;
		request.start = request.walk_end;
	}
	return 0;
}

static int add_entries(const uint64_t *entries, size_t count, uint64_t start, struct page_runs *ret,
	struct page_runs *guards)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t entry = entries[i], at = start + i * PAGE;
		int r = 0;

		if (entry & ENTRY_GUARD)
			r = page_runs_add(guards, at, at + PAGE);
		else if (entry & (ENTRY_PRESENT | ENTRY_SWAPPED) && !(entry & ENTRY_FILE))
			r = page_runs_add(ret, at, at + PAGE);
		if (r < 0)
			return r;
	}
	return 0;
}

int scan_pagemap(
	int fd, uint64_t start, uint64_t end, struct page_runs *ret, struct page_runs *guards)
{
	uint64_t entries[1024];

	while (start < end) {
		size_t want = (end - start) / PAGE < ARRAY_SIZE(entries) ? (end - start) / PAGE
									 : ARRAY_SIZE(entries);
		ssize_t n = pread(fd, entries, want * sizeof(entries[0]),
			(off_t)(start / PAGE * sizeof(entries[0])));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		r = add_entries(entries, (size_t)n / sizeof(entries[0]), start, ret, guards);
		if (r < 0)
			return r;
		start += (size_t)n / sizeof(entries[0]) * PAGE;
	}
	return 0;
}

int scan_pages(
	int fd, uint64_t start, uint64_t end, struct page_runs *ret, struct page_runs *guards)
{
	int r = scan_by_call(fd, start, end, ret, guards);

	return r == -ENOTTY ? scan_pagemap(fd, start, end, ret, guards) : r;
}

uint64_t pages_bytes(const Pages *pages)
{
	uint64_t bytes = 0;

	for (size_t i = 0; pages && i < pages->n_count; i++)
		bytes += pages->count[i] * PAGE;
	return bytes;
}

int pages_set(struct arena *arena, const struct page_runs *runs, size_t from, size_t to,
	uint64_t offset, Pages **ret)
{
	Pages *pages = MESSAGE_NEW(arena, Pages, pages);
	size_t count = to - from;

	if (!pages)
		return -ENOMEM;
	pages->first = arena_alloc(arena, count * sizeof(uint64_t));
	pages->count = arena_alloc(arena, count * sizeof(uint64_t));
	if (!pages->first || !pages->count)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct page_run *run = &runs->items[from + i];

		pages->first[i] = run->start / PAGE;
		pages->count[i] = (run->end - run->start) / PAGE;
	}
	pages->n_first = pages->n_count = count;
	pages->offset = offset;
	*ret = pages;
	return 0;
}
