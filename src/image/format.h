/* SPDX-License-Identifier: MIT */
/* The bytes of an image: docs/image.md. Shared by writer, reader and tests; nobody else needs it.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "image/snapshot.h"

#define IMAGE_FORMAT 1
#define IMAGE_MAGIC "REPRISE"  /* with its NUL: 8 bytes */
#define IMAGE_PIECE (1u << 20) /* the page file is checksummed in pieces of this size */
#define IMAGE_PAGE 4096u
#define IMAGE_BODY_MAX (1ull << 30)
#define IMAGE_PAGES_MAX (1ull << 46)

#define IMAGE_SNAPSHOT_NAME "snapshot"
#define IMAGE_PAGES_NAME "pages"

/* Start of the file "snapshot"; little-endian. The table of piece checksums (8 bytes each) and the
 * body (the message Snapshot) follow, and nothing else. Checksums are XXH3, 64 bits, seed 0. */
struct image_header {
	char magic[8];
	uint32_t format;
	uint32_t header_size; /* sizeof(struct image_header) */
	uint64_t body_size;
	uint64_t body_hash;
	uint64_t pages_size; /* of the file "pages" */
	uint64_t piece_size;
	uint64_t table_hash;
	uint64_t hash; /* of the header up to here */
};

static inline uint64_t image_pieces(uint64_t pages_size)
{
	return pages_size / IMAGE_PIECE + (pages_size % IMAGE_PIECE != 0);
}

/* Notes why an image is refused and returns -EBADMSG. */
#define bad_image(err, ...) error_below_zero(note_bad_image(err, __VA_ARGS__))
int note_bad_image(struct reprise_error *err, const char *why, ...)
	__attribute__((format(printf, 2, 3)));

/* Checks header and table of a "snapshot" file; *ret points to its body. */
int image_check_header(const void *data, size_t size, uint64_t pages_size,
	const struct image_header **ret, const void **ret_body, struct reprise_error *err);

/* The message without its frame: syntax and every rule. */
int image_parse_body(struct arena *arena, const void *data, size_t size, uint64_t pages_size,
	Snapshot **ret, struct reprise_error *err);

/* Checksums of a page file of this size into table[image_pieces(size)], with a few threads. */
int image_hash_pages(int fd, uint64_t size, uint64_t *table, struct reprise_error *err);
