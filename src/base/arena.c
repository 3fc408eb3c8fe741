/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE (256 * 1024)

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

struct arena {
	struct chunk *chunks;
};

struct arena *arena_new(void)
{
	return calloc(1, sizeof(struct arena));
}

void arena_free(struct arena *arena)
{
	struct chunk *next;

	if (!arena)
		return;
	for (struct chunk *chunk = arena->chunks; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(arena);
}

void arena_take(struct arena *into, struct arena *from)
{
	struct chunk **end = &into->chunks;

	while (*end)
		end = &(*end)->next;
	*end = from->chunks;
	free(from);
}

static struct chunk *chunk_with_room(struct arena *arena, size_t size)
{
	struct chunk *chunk = arena->chunks;
	size_t room = size > CHUNK_SIZE / 4 ? size : CHUNK_SIZE;

	if (chunk && chunk->size - chunk->used >= size)
		return chunk;
	if (size > SIZE_MAX - sizeof(*chunk) - 16)
		return NULL;
	chunk = calloc(1, sizeof(*chunk) + room);
	if (!chunk)
		return NULL;
	chunk->size = room;
	if (room == size && arena->chunks) {
		/* A big piece of its own goes behind the chunk that still has room. */
		chunk->next = arena->chunks->next;
		arena->chunks->next = chunk;
	} else {
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	struct chunk *chunk;
	void *piece;

	if (size > SIZE_MAX - 15)
		return NULL;
	size = size ? (size + 15) & ~(size_t)15 : 16;
	chunk = chunk_with_room(arena, size);
	if (!chunk)
		return NULL;
	piece = chunk->data + chunk->used;
	chunk->used += size;
	return piece;
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
	void *copy = arena_alloc(arena, size);

	if (copy && size)
		memcpy(copy, data, size);
	return copy;
}

char *arena_string(struct arena *arena, const char *text)
{
	return arena_copy(arena, text, strlen(text) + 1);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	char *text;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return NULL;
	text = arena_alloc(arena, (size_t)len + 1);
	if (!text)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

int arena_append(struct arena *arena, void ***array, size_t *count, void *item)
{
	if ((*count & (*count - 1)) == 0) {
		size_t room = *count ? *count * 2 : 1;
		void **grown = arena_alloc(arena, room * sizeof(void *));

		if (!grown)
			return -ENOMEM;
		if (*count)
			memcpy(grown, *array, *count * sizeof(void *));
		*array = grown;
	}
	(*array)[(*count)++] = item;
	return 0;
}
