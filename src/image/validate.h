/* SPDX-License-Identifier: MIT */
/* The rules of a snapshot, by subject. Each function checks one and says what is wrong with it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/format.h"
#include "image/snapshot.h"

struct rules {
	const Snapshot *snapshot;
	uint64_t pages_size;
	struct reprise_error *err;
};

#define REQUIRE(rules, condition, ...)                               \
	do {                                                         \
		if (!(condition))                                    \
			return bad_image((rules)->err, __VA_ARGS__); \
	} while (0)

#define MAX_SIGNAL 64
#define MAX_LEVELS 33 /* pid namespaces: the initial one and 32 below */

static inline bool is_index(int64_t value, size_t count)
{
	return value >= 0 && (uint64_t)value < count;
}

static inline bool is_index_or_none(int64_t value, size_t count)
{
	return value == -1 || is_index(value, count);
}

static inline bool is_signal(int64_t number)
{
	return number > 0 && number <= MAX_SIGNAL;
}

/* An absolute path that the kernel takes. */
bool is_path(const char *path);

/* Runs in order, apart, within pages first to end - 1, and their bytes within the page file. NULL
 * is fine: no pages. */
int check_page_runs(const struct rules *rules, const Pages *pages, uint64_t first, uint64_t end);
/* The same for runs without bytes; *ret_total is how many pages they cover. */
int check_runs(const struct rules *rules, const Pages *pages, uint64_t first, uint64_t end,
	uint64_t *ret_total);
int check_pending(const struct rules *rules, PendingSignal *const *pending, size_t count);
int check_lock(const struct rules *rules, const FileLock *lock);

/* validate_tree.c */
int check_pid_namespaces(const struct rules *rules);
int check_tree(const struct rules *rules, size_t index); /* one process: its place in the tree */
int check_pids_differ(const struct rules *rules);
/* validate_memory.c */
int check_memory(const struct rules *rules, const Memory *memory);
int check_shared_memory(const struct rules *rules);
/* validate_files.c */
int check_files(const struct rules *rules);
int check_open_files(const struct rules *rules);
int check_pipes(const struct rules *rules);
int check_descriptors(const struct rules *rules, const Process *process);
/* validate_namespaces.c */
int check_namespaces(const struct rules *rules);
/* validate_process.c */
int check_process(const struct rules *rules, const Process *process);
