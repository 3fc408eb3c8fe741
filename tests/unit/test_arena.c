// SPDX-License-Identifier: MIT
#include "unit.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

START_TEST(pieces_are_zeroed_and_aligned)
{
	_cleanup_arena_ struct arena *arena = arena_new();

	for (size_t size = 0; size < 5000; size += 7) {
		unsigned char *piece = arena_alloc(arena, size);

		ck_assert_ptr_nonnull(piece);
		ck_assert_uint_eq((uintptr_t)piece % 16, 0);
		for (size_t i = 0; i < size; i++)
			ck_assert_uint_eq(piece[i], 0);
		memset(piece, 0xa5, size);
	}
}
END_TEST

START_TEST(pieces_do_not_overlap)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	enum { COUNT = 2000 };
	static const size_t sizes[] = {1, 16, 17, 400, 70000, 300000};
	unsigned char *pieces[COUNT];

	for (size_t i = 0; i < COUNT; i++) {
		pieces[i] = arena_alloc(arena, sizes[i % 6]);
		ck_assert_ptr_nonnull(pieces[i]);
		memset(pieces[i], (int)(i & 0xff), sizes[i % 6]);
	}
	for (size_t i = 0; i < COUNT; i++) {
		ck_assert_uint_eq(pieces[i][0], i & 0xff);
		ck_assert_uint_eq(pieces[i][sizes[i % 6] - 1], i & 0xff);
	}
}
END_TEST

START_TEST(a_big_piece_leaves_room_in_the_chunk)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	char *first = arena_alloc(arena, 16);
	char *big = arena_alloc(arena, 10u << 20);
	char *second = arena_alloc(arena, 16);

	ck_assert_ptr_nonnull(big);
	ck_assert_ptr_eq(second, first + 16);
}
END_TEST

START_TEST(impossible_sizes)
{
	_cleanup_arena_ struct arena *arena = arena_new();

	ck_assert_ptr_null(arena_alloc(arena, SIZE_MAX));
	ck_assert_ptr_null(arena_alloc(arena, SIZE_MAX - 15));
	ck_assert_ptr_null(arena_alloc(arena, SIZE_MAX - 64));
	ck_assert_ptr_nonnull(arena_alloc(arena, 1));
}
END_TEST

START_TEST(texts)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	char big[5000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	ck_assert_str_eq(arena_string(arena, ""), "");
	ck_assert_str_eq(arena_string(arena, big), big);
	ck_assert_str_eq(arena_printf(arena, "%d %s", 42, "tasks"), "42 tasks");
	ck_assert_uint_eq(strlen(arena_printf(arena, "%s%s", big, big)), 2 * (sizeof(big) - 1));
	ck_assert_mem_eq(arena_copy(arena, "a\0b", 3), "a\0b", 3);
	ck_assert_ptr_nonnull(arena_copy(arena, NULL, 0));
}
END_TEST

START_TEST(appending_keeps_the_order)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	enum { COUNT = 1000 };
	void **array = NULL;
	size_t count = 0;
	char items[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		ck_assert_int_eq(arena_append(arena, &array, &count, &items[i]), 0);
	ck_assert_uint_eq(count, COUNT);
	for (size_t i = 0; i < COUNT; i++)
		ck_assert_ptr_eq(array[i], &items[i]);
}
END_TEST

START_TEST(taking_the_pieces_of_another)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct arena *other = arena_new();
	char *mine = arena_string(arena, "mine"), *theirs = arena_string(other, "theirs");

	arena_take(arena, other);
	ck_assert_str_eq(mine, "mine");
	ck_assert_str_eq(theirs, "theirs");
	arena_take(arena, arena_new());
	ck_assert_ptr_nonnull(arena_alloc(arena, 100));
}
END_TEST

START_TEST(freeing_nothing)
{
	arena_free(NULL);
	arena_free(arena_new());
}
END_TEST

UNIT_MAIN("arena", pieces_are_zeroed_and_aligned, pieces_do_not_overlap,
	a_big_piece_leaves_room_in_the_chunk, impossible_sizes, texts, appending_keeps_the_order,
	taking_the_pieces_of_another, freeing_nothing)
