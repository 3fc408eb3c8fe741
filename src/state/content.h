/* SPDX-License-Identifier: MIT */
/* Bytes of memory and of files on their way into the page file, and which pages have any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "state/state.h"

struct page_run {
	uint64_t start, end; /* bytes: addresses in a task, or offsets in an object */
};

struct page_runs {
	struct page_run *items;
	size_t count, room;
};
void page_runs_free(struct page_runs *runs);
/* A run of its own / joined to the last one where that ends at start. 0 or -ENOMEM. */
int page_runs_append(struct page_runs *runs, uint64_t start, uint64_t end);
int page_runs_add(struct page_runs *runs, uint64_t start, uint64_t end);

/*
 * Adds the runs of private pages with content that a task has in [start, end): what is its own, so
 * neither pages of files nor those that are known to be zero; guard pages (Linux 6.13) go to
 * guards. fd is /proc/PID/pagemap. scan_pages uses PAGEMAP_SCAN (Linux 6.7) where there is one and
 * else scan_pagemap, which reads entry by entry. 0 or -errno.
 */
int scan_pages(
	int fd, uint64_t start, uint64_t end, struct page_runs *ret, struct page_runs *guards);
int scan_pagemap(
	int fd, uint64_t start, uint64_t end, struct page_runs *ret, struct page_runs *guards);

/* Fills a message with runs [from, to) and the place where their bytes start. */
int pages_set(struct arena *arena, const struct page_runs *runs, size_t from, size_t to,
	uint64_t offset, Pages **ret);

/* Copies the runs' bytes out of a frozen task's memory, one after the other, to offset in the page
 * file; beside other work, up to content_finish. */
int content_copy_task(
	struct capture *capture, pid_t tid, const struct page_runs *runs, uint64_t offset);
/* Waits for all copies: 0 or the first failure. give_up: those that have not begun are left out. */
int content_finish(struct capture *capture, bool give_up);

/* Saves what a file of size bytes has in it, without its holes; *ret is NULL when that is none. */
int content_take_file(struct capture *capture, int fd, uint64_t size, Pages **ret);

/* Writes content that was saved into a file again; nothing beyond size. */
int content_put_file(const struct image *image, const Pages *pages, int fd, uint64_t size,
	struct reprise_error *err);

/* Bytes that the runs of pages cover. */
uint64_t pages_bytes(const Pages *pages);
