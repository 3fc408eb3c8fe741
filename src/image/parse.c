// SPDX-License-Identifier: MIT
/* From bytes to a snapshot: frame, checksums, syntax; the rules are validate.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "image/format.h"
#include "image/image.h"

int note_bad_image(struct reprise_error *err, const char *why, ...)
{
	char text[512];
	va_list args;

	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	if (err && !err->code) {
		fail(err, EBADMSG, "%s", text);
		err->has_word = false; /* "Bad message" helps nobody */
	}
	return -EBADMSG;
}

static int check_fields(const struct image_header *header, size_t size, uint64_t pages_size,
	struct reprise_error *err)
{
	uint64_t table = image_pieces(header->pages_size) * sizeof(uint64_t);

	if (header->header_size != sizeof(*header) || header->piece_size != IMAGE_PIECE)
		return bad_image(err, "the image has a header of another kind");
	if (header->pages_size > IMAGE_PAGES_MAX || header->pages_size % IMAGE_PAGE)
		return bad_image(err, "the image has a page file of impossible size");
	if (header->body_size > IMAGE_BODY_MAX)
		return bad_image(err, "the image's metadata is too large");
	if (size - sizeof(*header) < table || size - sizeof(*header) - table < header->body_size)
		return bad_image(err, "the image is truncated");
	if (size - sizeof(*header) - table != header->body_size)
		return bad_image(err, "the image has something behind its end");
	if (header->pages_size != pages_size)
		return bad_image(err, "the page file has %llu bytes, not %llu",
			(unsigned long long)pages_size, (unsigned long long)header->pages_size);
	return 0;
}

int image_check_header(const void *data, size_t size, uint64_t pages_size,
	const struct image_header **ret, const void **ret_body, struct reprise_error *err)
{
	const struct image_header *header = data;
	const char *table = (const char *)data + sizeof(*header);
	size_t table_size;
	int r;

	if (size < sizeof(*header))
		return bad_image(err, "the image is truncated");
	if (memcmp(header->magic, IMAGE_MAGIC, sizeof(header->magic)) != 0)
		return bad_image(err, "this is not an image");
	if (header->hash != XXH3_64bits(header, offsetof(struct image_header, hash)))
		return bad_image(err, "the image's header has been changed: its checksum is wrong");
	if (header->format != IMAGE_FORMAT)
		return bad_image(err, "the image has format %u; this program reads format %u",
			header->format, IMAGE_FORMAT);
	r = check_fields(header, size, pages_size, err);
	if (r < 0)
		return r;
	table_size = (size_t)image_pieces(header->pages_size) * sizeof(uint64_t);
	if (header->table_hash != XXH3_64bits(table, table_size) ||
		header->body_hash != XXH3_64bits(table + table_size, header->body_size))
		return bad_image(err, "the image has been changed: its checksum is wrong");
	*ret = header;
	*ret_body = table + table_size;
	return 0;
}

/* What unpacking may take: the smallest messages become some 70 bytes for every byte they have in
 * the image. */
struct budget {
	struct arena *arena;
	size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
	struct budget *budget = data;

	if (size > budget->left)
		return NULL;
	budget->left -= size;
	return arena_alloc(budget->arena, size);
}

static void budget_free(void *data, void *piece)
{
	/* The arena does. */
}

int image_parse_body(struct arena *arena, const void *data, size_t size, uint64_t pages_size,
	Snapshot **ret, struct reprise_error *err)
{
	struct budget budget = {.arena = arena, .left = size * 192 + 65536};
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
	Snapshot *snapshot;
	int r;

	if (size > IMAGE_BODY_MAX)
		return bad_image(err, "the image's metadata is too large");
	snapshot = reprise__snapshot__unpack(&allocator, size, data);
	if (!snapshot)
		return bad_image(err, "the image's metadata cannot be read");
	/* There is one way to write a snapshot: strings with a NUL in them, fields said twice and
	 * padded numbers are something else. */
	if (reprise__snapshot__get_packed_size(snapshot) != size)
		return bad_image(err, "the image's metadata was not written by this program");
	r = snapshot_validate(snapshot, pages_size, err);
	if (r < 0)
		return r;
	*ret = snapshot;
	return 0;
}

int image_parse(struct arena *arena, const void *data, size_t size, uint64_t pages_size,
	Snapshot **ret, struct reprise_error *err)
{
	const struct image_header *header;
	const void *body;
	int r = image_check_header(data, size, pages_size, &header, &body, err);

	if (r < 0)
		return r;
	return image_parse_body(arena, body, header->body_size, pages_size, ret, err);
}
