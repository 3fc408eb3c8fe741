/* SPDX-License-Identifier: MIT */
/*
 * An image: a folder with "snapshot" (the metadata, checksummed), "pages" (page-aligned bytes) and
 * whatever docs/image.md names. It is written under another name beside its place, and appears with
 * one rename when it is complete and on disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/error.h"
#include "image/snapshot.h"

/* Writing. */
struct image_writer;

/* Creates the folder beside dir; -EEXIST when dir is there. */
int image_writer_open(const char *dir, struct image_writer **ret, struct reprise_error *err);

/* Takes everything back that is not committed. NULL is fine. */
void image_writer_free(struct image_writer *writer);

/* The page file, for those who write into it themselves (vmsplice, copy_file_range, the task's own
 * pwrite), and room reserved in it: page-aligned offset of size bytes. */
int image_writer_pages_fd(const struct image_writer *writer);
uint64_t image_writer_reserve(struct image_writer *writer, uint64_t size);

/* Writes bytes at a reserved offset, the whole of them or an error. */
int image_writer_put(struct image_writer *writer, uint64_t offset, const struct iovec *iov,
	int count, struct reprise_error *err);

/* Checksums the parts, writes the metadata, syncs, and lets the image appear at dir. */
int image_writer_commit(
	struct image_writer *writer, const Snapshot *snapshot, struct reprise_error *err);

/* Ends an image that has been committed: for a checkpoint that cannot be restarted after all. */
void image_remove(const char *dir);

/* Reading. */
struct image {
	struct arena *arena;
	Snapshot *snapshot;
	int pages_fd;
	uint64_t pages_size;
};

/*
 * Reads and checks an image: version, checksums of all parts (those of the page file too when
 * check_pages), every index, count and range of the metadata. What passes can be used without
 * further checks. -EBADMSG and a reason for what is truncated, changed or foreign.
 */
int image_read(const char *dir, bool check_pages, struct image **ret, struct reprise_error *err);
void image_free(struct image *image); /* NULL is fine */

/* The same for metadata in memory; pages_size is that of the page file. For tests and fuzzing. */
int image_parse(struct arena *arena, const void *data, size_t size, uint64_t pages_size,
	Snapshot **ret, struct reprise_error *err);

/* Every rule that metadata has to meet beyond its syntax (validate.c). */
int snapshot_validate(const Snapshot *snapshot, uint64_t pages_size, struct reprise_error *err);

/* All of it as JSON, fields under their names in the schema (json.c). 0 or -EIO. */
int snapshot_json(const Snapshot *snapshot, FILE *out);
