/* SPDX-License-Identifier: MIT */
#include <check.h>
#undef fail /* of check, long deprecated */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "state/areas.h"
#include "state/content.h"
#include "state/files_table.h"
#include "state/memory.h"

#define PAGE 4096ul

static const char sample[] =
	"55d0c0a00000-55d0c0a21000 r-xp 00002000 fd:01 1234      /usr/bin/a\\012b (x)\n"
	"Size:                132 kB\n"
	"Rss:                  64 kB\n"
	"ProtectionKey:         0\n"
	"VmFlags: rd ex mr mw me dw \n"
	"7ffc11100000-7ffc11121000 rw-p 00000000 00:00 0                  [stack]\n"
	"Rss:                 132 kB\n"
	"VmFlags: rd wr mr mw me gd ac lo \n"
	"7ffc11200000-7ffc11300000 rw-s 00001000 00:01 77 /dev/zero (deleted)\n"
	"Rss:                   4 kB\n"
	"VmFlags: rd wr sh mr mw me ms lo dc dd hg mg wf nr \n"
	"7ffc11300000-7ffc11301000 ---p 00000000 00:00 0 \n"
	"ProtectionKey:         2\n"
	"VmFlags: mr mw me nh sr rr sl dp um io \n"
	"7ffc11400000-7ffc11401000 --xp 00000000 00:00 0 \n"
	"ProtectionKey:         1\n"
	"7ffc11401000-7ffc11402000 r-xp 00000000 00:00 0 \n"
	"ProtectionKey:         1\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

START_TEST(parses_smaps)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct live_areas areas;
	const struct live_area *a;
	const char *why = NULL;

	ck_assert_int_eq(areas_parse(arena, arena_string(arena, sample), &areas, NULL), 0);
	ck_assert_uint_eq(areas.count, 7);
	a = areas.items;
	ck_assert_uint_eq(a[0].start, 0x55d0c0a00000);
	ck_assert_uint_eq(a[0].end, 0x55d0c0a21000);
	ck_assert_uint_eq(a[0].offset, 0x2000);
	ck_assert_uint_eq(a[0].protection, PROT_READ | PROT_EXEC);
	ck_assert_uint_eq(a[0].inode, 1234);
	ck_assert_uint_eq(a[0].major, 0xfd);
	ck_assert_str_eq(a[0].path, "/usr/bin/a\nb (x)");
	ck_assert_uint_eq(a[1].flags, MAP_PRIVATE | MAP_GROWSDOWN);
	ck_assert(a[1].locked && !a[1].lock_on_fault);
	ck_assert_uint_eq(a[2].flags, MAP_SHARED | MAP_NORESERVE);
	ck_assert(a[2].locked && a[2].lock_on_fault);
	ck_assert_uint_eq(a[2].advice,
		AREA_DONTFORK | AREA_DONTDUMP | AREA_HUGEPAGE | AREA_MERGEABLE | AREA_WIPEONFORK);
	ck_assert_uint_eq(a[3].protection, 0);
	ck_assert_uint_eq(a[3].advice,
		AREA_NOHUGEPAGE | AREA_SEQUENTIAL | AREA_RANDOM | AREA_SEALED | AREA_DROPPABLE);
	ck_assert_uint_eq(a[3].trouble, TROUBLE_KEY | TROUBLE_USERFAULTFD | TROUBLE_DEVICE);
	ck_assert_str_eq(a[3].path, "");
	ck_assert_int_eq(area_sort(&a[0], 1, &why), SORT_FILE);
	ck_assert_int_eq(area_sort(&a[1], 1, &why), SORT_ANONYMOUS);
	ck_assert_int_eq(area_sort(&a[2], 1, &why), SORT_SHARED_MEMORY);
	ck_assert_int_eq(area_sort(&a[3], 1, &why), SORT_OTHER);
	ck_assert_str_eq(why, "is watched by a userfaultfd");
	ck_assert_int_eq(area_sort(&a[4], 1, &why), SORT_ANONYMOUS);
	ck_assert_int_eq(area_sort(&a[5], 1, &why), SORT_OTHER);
	ck_assert_str_eq(why, "has a protection key");
	ck_assert_int_eq(area_sort(&a[6], 1, &why), SORT_NONE);
}
END_TEST

START_TEST(refuses_what_it_does_not_know)
{
	static const char *const bad[] = {"nonsense\n", "1000-\n", "1000-2000\n",
		"2000-1000 rw-p 0 0:0 0\n", "1000-2000 rw\n", "1000-2000 rw-p zz\n",
		"1000-2000 rw-p 0 0:0\n"};
	_cleanup_arena_ struct arena *arena = arena_new();
	struct live_areas areas;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct reprise_error err = {0};

		ck_assert_int_eq(
			areas_parse(arena, arena_string(arena, bad[i]), &areas, &err), -EINVAL);
		ck_assert_int_ne(err.code, 0);
	}
}
END_TEST

START_TEST(reads_its_own)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct live_areas areas;
	bool stack = false;

	ck_assert_int_eq(areas_read(arena, getpid(), &areas, NULL), 0);
	for (size_t i = 0; i < areas.count; i++)
		stack |= areas.items[i].start <= (uintptr_t)&areas &&
			 areas.items[i].end > (uintptr_t)&areas &&
			 areas.items[i].flags & MAP_GROWSDOWN;
	ck_assert(stack);
	ck_assert_int_lt(areas_read(arena, -1, &areas, NULL), 0);
}
END_TEST

/* Whether PAGEMAP_SCAN, Linux 6.7, calls the page at this address the zero page; not all do. */
static bool kernel_tells_zero(int fd, uint64_t at)
{
	uint64_t zero = 1 << 5, found[3] = {0};
	uint64_t request[12] = {
		sizeof(request), 0, at, at + PAGE, 0, (uintptr_t)found, 1, 0, 0, 0, 0, zero};

	return ioctl(fd, _IOWR('f', 16, uint64_t[12]), request) == 1 && found[2] == zero;
}

/* Pages 1, 2 and 5 of a private area have content; page 7 is the zero page. */
static void check_scan(int (*scan)(int, uint64_t, uint64_t, struct page_runs *, struct page_runs *),
	bool knows_zero)
{
	char *memory =
		mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start = (uintptr_t)memory;
	struct page_runs runs = {0}, guards = {0};
	int fd = open("/proc/self/pagemap", O_RDONLY);

	madvise(memory, 16 * PAGE, MADV_NOHUGEPAGE);
	memory[PAGE] = memory[2 * PAGE] = memory[5 * PAGE] = 1;
	ck_assert_int_eq(*(volatile char *)(memory + 7 * PAGE), 0);
	ck_assert_int_eq(scan(fd, start, start + 16 * PAGE, &runs, &guards), 0);
	if (knows_zero)
		knows_zero = kernel_tells_zero(fd, start + 7 * PAGE);
	ck_assert_uint_eq(runs.count, knows_zero ? 2 : 3);
	ck_assert_uint_eq(runs.items[0].start, start + PAGE);
	ck_assert_uint_eq(runs.items[0].end, start + 3 * PAGE);
	ck_assert_uint_eq(runs.items[1].start, start + 5 * PAGE);
	ck_assert_uint_eq(runs.items[1].end, start + 6 * PAGE);
	ck_assert_uint_eq(guards.count, 0);
	page_runs_free(&runs);
	close(fd);
	munmap(memory, 16 * PAGE);
}

START_TEST(finds_pages_with_content)
{
	check_scan(scan_pages, true);
	check_scan(scan_pagemap, false);
}
END_TEST

START_TEST(finds_no_pages_of_files)
{
	int fd = open("/proc/self/exe", O_RDONLY), pagemap = open("/proc/self/pagemap", O_RDONLY);
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	uint64_t start = (uintptr_t)memory;
	struct page_runs runs = {0}, guards = {0};

	ck_assert_int_eq(*(volatile char *)memory, 0x7f);
	memory[2 * PAGE] = 1;
	ck_assert_int_eq(scan_pages(pagemap, start, start + 4 * PAGE, &runs, &guards), 0);
	ck_assert_uint_eq(runs.count, 1);
	ck_assert_uint_eq(runs.items[0].start, start + 2 * PAGE);
	page_runs_free(&runs);
	ck_assert_int_eq(scan_pagemap(pagemap, start, start + 4 * PAGE, &runs, &guards), 0);
	ck_assert_uint_eq(runs.count, 1);
	page_runs_free(&runs);
	close(fd);
	close(pagemap);
}
END_TEST

START_TEST(reads_build_ids)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	uint8_t id[64];
	int fd = open("/proc/self/exe", O_RDONLY);

	ck_assert_uint_eq(build_id_read(fd, id, sizeof(id)), 20);
	ck_assert_uint_eq(build_id_read(fd, id, 4), 0);
	close(fd);
	fd = open("/etc/passwd", O_RDONLY);
	ck_assert_uint_eq(build_id_read(fd, id, sizeof(id)), 0);
	close(fd);
	ck_assert_uint_ge(strlen(vdso_id(arena)), 8);
}
END_TEST

START_TEST(joins_runs)
{
	struct page_runs runs = {0};

	for (uint64_t i = 0; i < 200; i++)
		ck_assert_int_eq(page_runs_add(&runs, i * PAGE, (i + 1) * PAGE), 0);
	ck_assert_uint_eq(runs.count, 1);
	ck_assert_uint_eq(runs.items[0].end, 200 * PAGE);
	for (uint64_t i = 300; i < 500; i++)
		ck_assert_int_eq(page_runs_append(&runs, i * PAGE, (i + 1) * PAGE), 0);
	ck_assert_uint_eq(runs.count, 201);
	page_runs_free(&runs);
	ck_assert_uint_eq(runs.count, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("areas");
	TCase *tests = tcase_create("areas");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, parses_smaps);
	tcase_add_test(tests, refuses_what_it_does_not_know);
	tcase_add_test(tests, reads_its_own);
	tcase_add_test(tests, finds_pages_with_content);
	tcase_add_test(tests, finds_no_pages_of_files);
	tcase_add_test(tests, reads_build_ids);
	tcase_add_test(tests, joins_runs);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
