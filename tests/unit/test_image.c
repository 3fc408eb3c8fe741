// SPDX-License-Identifier: MIT
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/image.h"
#include "sample.h"

/* A folder of the test's own; dir is an image in it. */
struct place {
	char top[64];
	char dir[80];
};

static void place_make(struct place *place)
{
	strcpy(place->top, "/tmp/reprise-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place->top));
	snprintf(place->dir, sizeof(place->dir), "%s/image", place->top);
}

static int count_entries(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		count++;
	return count - 2;
}

static void place_end(struct place *place)
{
	image_remove(place->dir);
	ck_assert_int_eq(count_entries(place->top), 0);
	ck_assert_int_eq(rmdir(place->top), 0);
}

static void fill(char *data, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1103515245u + 12345u;
		data[i] = (char)(seed >> 16);
	}
}

/* Writes the sample with pages of this size. */
static void write_image(const char *dir, size_t pages_size)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	_cleanup_free_ char *data = malloc(pages_size);
	struct image_writer *writer;
	struct reprise_error err = {0};
	struct iovec iov = {data, pages_size};
	uint64_t offset;

	fill(data, pages_size, 1);
	ck_assert_int_eq(image_writer_open(dir, &writer, &err), 0);
	offset = image_writer_reserve(writer, pages_size);
	ck_assert_uint_eq(offset, 0);
	ck_assert_int_eq(image_writer_put(writer, offset, &iov, 1, &err), 0);
	ck_assert_int_eq(image_writer_commit(writer, sample_snapshot(arena), &err), 0);
	image_writer_free(writer);
}

START_TEST(written_and_read)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct reprise_error err = {0};
	struct image *image;
	struct place place;
	Snapshot *sample = sample_snapshot(arena);
	size_t size = reprise__snapshot__get_packed_size(sample);
	_cleanup_free_ uint8_t *before = malloc(size), *after = malloc(size);
	_cleanup_free_ char *pages = malloc(SAMPLE_PAGES_SIZE), *found = malloc(SAMPLE_PAGES_SIZE);

	place_make(&place);
	write_image(place.dir, SAMPLE_PAGES_SIZE);
	ck_assert_int_eq(image_read(place.dir, true, &image, &err), 0);
	ck_assert_uint_eq(image->pages_size, SAMPLE_PAGES_SIZE);
	ck_assert_uint_eq(reprise__snapshot__get_packed_size(image->snapshot), size);
	reprise__snapshot__pack(sample, before);
	reprise__snapshot__pack(image->snapshot, after);
	ck_assert_mem_eq(before, after, size);
	fill(pages, SAMPLE_PAGES_SIZE, 1);
	ck_assert_int_eq(pread(image->pages_fd, found, SAMPLE_PAGES_SIZE, 0), SAMPLE_PAGES_SIZE);
	ck_assert_mem_eq(pages, found, SAMPLE_PAGES_SIZE);
	image_free(image);
	place_end(&place);
}
END_TEST

START_TEST(an_image_is_not_written_over)
{
	struct reprise_error err = {0};
	struct image_writer *writer = NULL;
	struct place place;

	place_make(&place);
	write_image(place.dir, SAMPLE_PAGES_SIZE);
	ck_assert_int_eq(image_writer_open(place.dir, &writer, &err), -EEXIST);
	ck_assert_ptr_null(writer);
	place_end(&place);
}
END_TEST

START_TEST(an_image_that_came_first_stays)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct reprise_error err = {0};
	struct image_writer *writer;
	struct image *image;
	struct place place;

	place_make(&place);
	ck_assert_int_eq(image_writer_open(place.dir, &writer, &err), 0);
	image_writer_reserve(writer, SAMPLE_PAGES_SIZE);
	write_image(place.dir, SAMPLE_PAGES_SIZE);
	ck_assert_int_eq(image_writer_commit(writer, sample_snapshot(arena), &err), -EEXIST);
	image_writer_free(writer);
	ck_assert_int_eq(count_entries(place.top), 1);
	error_clear(&err);
	ck_assert_int_eq(image_read(place.dir, true, &image, &err), 0);
	image_free(image);
	place_end(&place);
}
END_TEST

START_TEST(nothing_is_left_of_what_is_not_committed)
{
	struct reprise_error err = {0};
	struct image_writer *writer;
	struct place place;
	struct iovec iov = {"text", 4};

	place_make(&place);
	ck_assert_int_eq(image_writer_open(place.dir, &writer, &err), 0);
	ck_assert_int_eq(image_writer_put(writer, 0, &iov, 1, &err), 0);
	image_writer_free(writer);
	image_writer_free(NULL);
	image_free(NULL);
	ck_assert_int_eq(count_entries(place.top), 0);
	place_end(&place);
}
END_TEST

START_TEST(nothing_is_left_of_a_killed_writer)
{
	struct place place;
	int status;
	pid_t pid;

	place_make(&place);
	pid = fork();
	if (pid == 0) {
		struct image_writer *writer;
		struct iovec iov = {"text", 4};

		if (image_writer_open(place.dir, &writer, NULL) < 0 ||
			image_writer_put(writer, 0, &iov, 1, NULL) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(count_entries(place.top), 0);
	place_end(&place);
}
END_TEST

START_TEST(places_that_cannot_be)
{
	static const char *const wrong[] = {"/nonexistent/image", "/", ".", "..", "/tmp/..", ""};
	struct image_writer *writer = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct reprise_error err = {0};

		ck_assert_int_lt(image_writer_open(wrong[i], &writer, &err), 0);
		ck_assert_int_ne(err.code, 0);
	}
	ck_assert_ptr_null(writer);
}
END_TEST

START_TEST(a_name_with_slashes_behind_it)
{
	struct reprise_error err = {0};
	struct image *image;
	struct place place;
	char path[100];

	place_make(&place);
	snprintf(path, sizeof(path), "%s//", place.dir);
	write_image(path, SAMPLE_PAGES_SIZE);
	ck_assert_int_eq(image_read(place.dir, true, &image, &err), 0);
	image_free(image);
	place_end(&place);
}
END_TEST

static void *reserve_many(void *arg)
{
	uint64_t *offsets = arg;
	struct image_writer *writer = (struct image_writer *)(uintptr_t)offsets[0];

	for (int i = 0; i < 1000; i++)
		offsets[i] = image_writer_reserve(writer, (uint64_t)i % 3 * 4096 + 1);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

START_TEST(room_is_given_once)
{
	struct reprise_error err = {0};
	struct image_writer *writer;
	struct place place;
	uint64_t offsets[4][1000];
	pthread_t threads[4];

	place_make(&place);
	ck_assert_int_eq(image_writer_open(place.dir, &writer, &err), 0);
	for (int i = 0; i < 4; i++) {
		offsets[i][0] = (uintptr_t)writer;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, reserve_many, offsets[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	qsort(offsets, 4000, sizeof(uint64_t), compare);
	for (size_t i = 0; i < 4000; i++) {
		ck_assert_uint_eq((&offsets[0][0])[i] % 4096, 0);
		if (i)
			ck_assert_uint_lt((&offsets[0][0])[i - 1], (&offsets[0][0])[i]);
	}
	image_writer_free(writer);
	place_end(&place);
}
END_TEST

START_TEST(many_parts_are_put_in_order)
{
	enum { PARTS = 3000 };
	_cleanup_free_ struct iovec *iov = calloc(PARTS, sizeof(*iov));
	_cleanup_free_ char *data = malloc(PARTS * 37), *found = malloc(PARTS * 37);
	struct reprise_error err = {0};
	struct image_writer *writer;
	struct place place;
	size_t used = 0;

	place_make(&place);
	fill(data, PARTS * 37, 5);
	for (size_t i = 0; i < PARTS; i++) {
		iov[i] = (struct iovec){data + used, i % 38};
		used += i % 38;
	}
	ck_assert_int_eq(image_writer_open(place.dir, &writer, &err), 0);
	ck_assert_int_eq(image_writer_put(writer, 4096, iov, PARTS, &err), 0);
	ck_assert_int_eq(pread(image_writer_pages_fd(writer), found, used, 4096), (ssize_t)used);
	ck_assert_mem_eq(data, found, used);
	image_writer_free(writer);
	place_end(&place);
}
END_TEST

/* Every bit of the metadata. */
START_TEST(a_changed_bit_is_noticed)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	size_t size;
	unsigned char *data = sample_file(arena, sample_snapshot(arena), &size);
	struct reprise_error err = {0};
	Snapshot *snapshot;

	ck_assert_int_eq(image_parse(arena, data, size, SAMPLE_PAGES_SIZE, &snapshot, &err), 0);
	for (size_t bit = 0; bit < size * 8; bit++) {
		struct reprise_error why = {0};

		data[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_int_eq(image_parse(arena, data, size, SAMPLE_PAGES_SIZE, &snapshot, &why),
			-EBADMSG);
		ck_assert_int_eq(why.code, EBADMSG);
		ck_assert_str_ne(why.thing, "");
		data[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}
END_TEST

START_TEST(a_truncated_image_is_noticed)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	size_t size;
	unsigned char *data = sample_file(arena, sample_snapshot(arena), &size);
	Snapshot *snapshot;

	for (size_t length = 0; length < size; length++) {
		/* In memory of just this size, so that a sanitizer sees what is read behind it. */
		_cleanup_free_ unsigned char *copy = malloc(length + 1);

		memcpy(copy, data, length);
		copy = realloc(copy, length ? length : 1);
		ck_assert_int_eq(
			image_parse(arena, copy, length, SAMPLE_PAGES_SIZE, &snapshot, NULL),
			-EBADMSG);
	}
	ck_assert_int_eq(image_parse(arena, data, size, SAMPLE_PAGES_SIZE + 4096, &snapshot, NULL),
		-EBADMSG);
	ck_assert_int_eq(image_parse(arena, data, size, 0, &snapshot, NULL), -EBADMSG);
}
END_TEST

/* The body without its checksums: whatever is read, nothing is touched that is not there. */
START_TEST(a_body_of_nonsense_is_survived)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	Snapshot *sample = sample_snapshot(arena), *snapshot;
	size_t size = reprise__snapshot__get_packed_size(sample);
	uint8_t *data = arena_alloc(arena, size);

	reprise__snapshot__pack(sample, data);
	ck_assert_int_eq(
		image_parse_body(arena, data, size, SAMPLE_PAGES_SIZE, &snapshot, NULL), 0);
	for (size_t length = 0; length < size; length++) {
		_cleanup_arena_ struct arena *own = arena_new();

		image_parse_body(own, data, length, SAMPLE_PAGES_SIZE, &snapshot, NULL);
	}
	for (size_t bit = 0; bit < size * 8; bit++) {
		_cleanup_arena_ struct arena *own = arena_new();

		data[bit / 8] ^= (unsigned char)(1 << bit % 8);
		image_parse_body(own, data, size, SAMPLE_PAGES_SIZE, &snapshot, NULL);
		data[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}
END_TEST

static void change_byte(const char *dir, const char *name, off_t offset, unsigned char change)
{
	char path[160];
	_cleanup_close_ int fd = -1;
	unsigned char byte;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
	byte ^= change;
	ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
}

START_TEST(a_changed_page_is_noticed)
{
	enum { SIZE = 3 << 20 | 4096 * 5 };
	static const off_t offsets[] = {0, 4095, (1 << 20) - 1, 1 << 20, 2500000, SIZE - 1};
	struct reprise_error err = {0};
	struct image *image;
	struct place place;

	place_make(&place);
	write_image(place.dir, SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		error_clear(&err);
		change_byte(place.dir, "pages", offsets[i], 0x10);
		ck_assert_int_eq(image_read(place.dir, true, &image, &err), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(err.thing, "checksum"));
		change_byte(place.dir, "pages", offsets[i], 0x10);
	}
	error_clear(&err);
	ck_assert_int_eq(image_read(place.dir, true, &image, &err), 0);
	image_free(image);
	place_end(&place);
}
END_TEST

START_TEST(files_that_are_missing_or_no_files)
{
	struct reprise_error err = {0};
	struct image *image;
	struct place place;
	char path[100];

	place_make(&place);
	ck_assert_int_eq(image_read(place.dir, true, &image, &err), -ENOENT);
	ck_assert_int_eq(mkdir(place.dir, 0700), 0);
	error_clear(&err);
	ck_assert_int_eq(image_read(place.dir, true, &image, &err), -EBADMSG);
	ck_assert_int_eq(rmdir(place.dir), 0);
	write_image(place.dir, SAMPLE_PAGES_SIZE);
	snprintf(path, sizeof(path), "%s/pages", place.dir);
	ck_assert_int_eq(truncate(path, SAMPLE_PAGES_SIZE - 1), 0);
	error_clear(&err);
	ck_assert_int_eq(image_read(place.dir, false, &image, &err), -EBADMSG);
	ck_assert_int_eq(unlink(path), 0);
	/* Nobody writes into it: an open that waits would wait for ever. */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	error_clear(&err);
	ck_assert_int_eq(image_read(place.dir, false, &image, &err), -EBADMSG);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink("/dev/zero", path), 0);
	error_clear(&err);
	ck_assert_int_lt(image_read(place.dir, false, &image, &err), 0);
	place_end(&place);
}
END_TEST

UNIT_MAIN("image", written_and_read, an_image_is_not_written_over, an_image_that_came_first_stays,
	nothing_is_left_of_what_is_not_committed, nothing_is_left_of_a_killed_writer,
	places_that_cannot_be, a_name_with_slashes_behind_it, room_is_given_once,
	many_parts_are_put_in_order, a_changed_bit_is_noticed, a_truncated_image_is_noticed,
	a_body_of_nonsense_is_survived, a_changed_page_is_noticed,
	files_that_are_missing_or_no_files)
