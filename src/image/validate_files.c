// SPDX-License-Identifier: MIT
/* Files by path, open files, pipes, descriptors, locks. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "image/validate.h"

#define MAX_SIZE (1ull << 62)
#define MAX_PIPE (1u << 31)
#define MAX_DESCRIPTOR (1 << 30)
#define MAX_BUILD_ID 64

static bool is_mode(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFLNK:
	case S_IFSOCK:
		return mode < 0200000;
	default:
		return false;
	}
}

int check_files(const struct rules *rules)
{
	const Snapshot *snapshot = rules->snapshot;

	for (size_t i = 0; i < snapshot->n_files; i++) {
		const File *file = snapshot->files[i];
		int r;

		REQUIRE(rules, is_path(file->path), "file %zu: \"%.256s\" is no path", i,
			file->path);
		REQUIRE(rules,
			is_index_or_none(file->mount_namespace, snapshot->n_mount_namespaces),
			"file %zu: it is in mount namespace %d", i, file->mount_namespace);
		REQUIRE(rules, is_mode(file->mode), "file %zu: mode %o", i, file->mode);
		REQUIRE(rules, file->size <= MAX_SIZE, "file %zu: impossible size", i);
		REQUIRE(rules, file->build_id.len <= MAX_BUILD_ID,
			"file %zu: its build id is too long", i);
		r = check_page_runs(
			rules, file->pages, 0, (file->size + IMAGE_PAGE - 1) / IMAGE_PAGE);
		if (r < 0)
			return r;
	}
	return 0;
}

int check_pipes(const struct rules *rules)
{
	for (size_t i = 0; i < rules->snapshot->n_pipes; i++) {
		const Pipe *pipe = rules->snapshot->pipes[i];
		uint64_t total = 0;

		REQUIRE(rules, pipe->capacity > 0 && pipe->capacity <= MAX_PIPE,
			"pipe %zu: capacity %u", i, pipe->capacity);
		REQUIRE(rules, pipe->length <= pipe->capacity, "pipe %zu: %llu bytes in it", i,
			(unsigned long long)pipe->length);
		REQUIRE(rules,
			pipe->offset <= rules->pages_size &&
				pipe->length <= rules->pages_size - pipe->offset,
			"pipe %zu: its content is outside the page file", i);
		for (size_t j = 0; j < pipe->n_packet_sizes; j++) {
			REQUIRE(rules,
				pipe->packet_sizes[j] > 0 && pipe->packet_sizes[j] <= IMAGE_PAGE,
				"pipe %zu: a packet of %u bytes", i, pipe->packet_sizes[j]);
			total += pipe->packet_sizes[j];
		}
		REQUIRE(rules, total == pipe->length || (!pipe->packets && total == 0),
			"pipe %zu: packets of another size in all", i);
	}
	return 0;
}

static int check_owner(const struct rules *rules, const Owner *owner)
{
	const Snapshot *snapshot = rules->snapshot;

	if (!owner)
		return 0;
	REQUIRE(rules, owner->type >= -1 && owner->type <= F_OWNER_PGRP, "owner of type %d",
		owner->type);
	REQUIRE(rules, is_index_or_none(owner->process, snapshot->n_processes),
		"its owner is process %d", owner->process);
	if (owner->process >= 0)
		REQUIRE(rules,
			is_index_or_none(
				owner->thread, snapshot->processes[owner->process]->n_threads),
			"its owner is thread %d", owner->thread);
	REQUIRE(rules, owner->signal >= 0 && owner->signal <= MAX_SIGNAL,
		"its owner gets signal %d", owner->signal);
	REQUIRE(rules, owner->n_group <= MAX_LEVELS, "its owner is a group with %zu numbers",
		owner->n_group);
	return 0;
}

int check_lock(const struct rules *rules, const FileLock *lock)
{
	REQUIRE(rules, lock->type == F_RDLCK || lock->type == F_WRLCK, "a lock of type %u",
		lock->type);
	REQUIRE(rules, lock->start <= INT64_MAX && lock->length <= INT64_MAX - lock->start,
		"a lock of an impossible range");
	REQUIRE(rules, is_index(lock->open_file, rules->snapshot->n_open_files),
		"a lock of open file %u", lock->open_file);
	REQUIRE(rules, lock->descriptor >= -1 && lock->descriptor < MAX_DESCRIPTOR,
		"a lock through descriptor %d", lock->descriptor);
	return 0;
}

static int check_open_file(const struct rules *rules, const OpenFile *file)
{
	const Snapshot *snapshot = rules->snapshot;
	bool has_file = is_index(file->file, snapshot->n_files);
	bool has_pipe = is_index(file->pipe, snapshot->n_pipes);
	bool has_memory = is_index(file->shared_memory, snapshot->n_shared_memory);

	switch (file->kind) {
	case REPRISE__OPEN_FILE__KIND__REGULAR:
		/* One that shared memory stands for need not have a file. */
		REQUIRE(rules, has_file || has_memory, "its file is number %d", file->file);
		break;
	case REPRISE__OPEN_FILE__KIND__DIRECTORY:
	case REPRISE__OPEN_FILE__KIND__DEVICE:
	case REPRISE__OPEN_FILE__KIND__PATH:
		REQUIRE(rules, has_file, "its file is number %d", file->file);
		break;
	case REPRISE__OPEN_FILE__KIND__FIFO:
		REQUIRE(rules, has_file && has_pipe, "its file is number %d, its pipe %d",
			file->file, file->pipe);
		break;
	case REPRISE__OPEN_FILE__KIND__PIPE:
		REQUIRE(rules, has_pipe, "its pipe is number %d", file->pipe);
		break;
	case REPRISE__OPEN_FILE__KIND__EVENTFD:
		REQUIRE(rules, file->count != UINT64_MAX, "its count is impossible");
		break;
	case REPRISE__OPEN_FILE__KIND__MEMFD:
		REQUIRE(rules, has_memory, "its memory is number %d", file->shared_memory);
		break;
	default:
		break;
	}
	REQUIRE(rules, file->file >= -1 && (file->file <= 0 || has_file), "its file is number %d",
		file->file);
	REQUIRE(rules, file->pipe >= -1 && (file->pipe <= 0 || has_pipe), "its pipe is number %d",
		file->pipe);
	REQUIRE(rules, file->shared_memory >= -1 && (file->shared_memory <= 0 || has_memory),
		"its memory is number %d", file->shared_memory);
	REQUIRE(rules, file->flags <= INT32_MAX, "its flags are %x", file->flags);
	REQUIRE(rules, file->offset <= INT64_MAX, "its offset is impossible");
	return 0;
}

int check_open_files(const struct rules *rules)
{
	for (size_t i = 0; i < rules->snapshot->n_open_files; i++) {
		const OpenFile *file = rules->snapshot->open_files[i];
		int r = check_open_file(rules, file);

		if (r == 0)
			r = check_owner(rules, file->owner);
		for (size_t j = 0; r == 0 && j < file->n_locks; j++)
			r = check_lock(rules, file->locks[j]);
		if (r < 0) {
			error_task(rules->err, "open file %zu of the image", i);
			return r;
		}
	}
	return 0;
}

int check_descriptors(const struct rules *rules, const Process *process)
{
	int32_t last = -1;

	for (size_t i = 0; i < process->n_descriptors; i++) {
		const Descriptor *descriptor = process->descriptors[i];

		REQUIRE(rules, descriptor->number > last && descriptor->number < MAX_DESCRIPTOR,
			"descriptor %d is out of order", descriptor->number);
		REQUIRE(rules, is_index(descriptor->open_file, rules->snapshot->n_open_files),
			"descriptor %d is open file %u", descriptor->number, descriptor->open_file);
		last = descriptor->number;
	}
	for (size_t i = 0; i < process->n_locks; i++) {
		int r = check_lock(rules, process->locks[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
