// SPDX-License-Identifier: MIT
/*
 * What the reader of images makes of any bytes. Input that begins as an image does is read as one,
 * as it is and with its checksums put right; other input as a body alone. What is accepted has to
 * be printable.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/image.h"

#define PAGES_SIZE (16 * 4096)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const Snapshot *snapshot)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	snapshot_json(snapshot, out);
	fclose(out);
}

static void parse(const void *data, size_t size, uint64_t pages_size, bool whole)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct reprise_error err = {0};
	Snapshot *snapshot = NULL;
	int r;

	if (!arena)
		return;
	r = whole ? image_parse(arena, data, size, pages_size, &snapshot, &err)
		  : image_parse_body(arena, data, size, pages_size, &snapshot, &err);
	if (r == 0)
		print(snapshot);
	else if (!err.code || !err.thing[0])
		abort(); /* refused without a reason */
}

/* The checksums of what the header says it has, as far as it is there. */
static void put_right(char *data, size_t size)
{
	struct image_header *header = (struct image_header *)data;
	uint64_t table_size = image_pieces(header->pages_size) * sizeof(uint64_t);
	const char *table = data + sizeof(*header);
	size_t left = size - sizeof(*header);

	if (table_size <= left) {
		header->table_hash = XXH3_64bits(table, table_size);
		header->body_hash = XXH3_64bits(table + table_size, left - table_size);
	}
	header->hash = XXH3_64bits(header, offsetof(struct image_header, hash));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *copy = NULL;

	if (size < sizeof(struct image_header) || memcmp(data, IMAGE_MAGIC, 8) != 0) {
		parse(data, size, PAGES_SIZE, false);
		return 0;
	}
	parse(data, size, ((const struct image_header *)data)->pages_size, true);
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	put_right(copy, size);
	parse(copy, size, ((struct image_header *)copy)->pages_size, true);
	return 0;
}
