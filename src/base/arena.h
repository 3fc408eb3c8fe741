/* SPDX-License-Identifier: MIT */
/*
 * An arena: memory for a snapshot, given back all at once. Pieces are zeroed and stay where they
 * are. Running out of memory ends the program's attempt with NULL, as malloc does.
 */
#pragma once

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is fine */

/* Moves all pieces of from, which is freed, to into. */
void arena_take(struct arena *into, struct arena *from);

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned to 16 bytes */
void *arena_copy(struct arena *arena, const void *data, size_t size);
char *arena_string(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Grows an array of pointers (as protobuf-c's repeated messages are) by one: *array has *count
 * items, and is moved to twice the room whenever count is a power of two. 0 or -ENOMEM.
 */
int arena_append(struct arena *arena, void ***array, size_t *count, void *item);

static inline void arena_free_ptr(struct arena **arena)
{
	arena_free(*arena);
}
#define _cleanup_arena_ __attribute__((cleanup(arena_free_ptr)))
