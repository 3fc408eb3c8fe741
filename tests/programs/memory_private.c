/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"

static char *map(size_t size, int protection)
{
	char *memory = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

static int readable(const void *page)
{
	int ends[2], ret;

	if (pipe(ends) < 0)
		return -1;
	ret = write(ends[1], page, 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return ret;
}

static unsigned __attribute__((noinline)) deep(unsigned depth)
{
	volatile unsigned here[1024];

	for (int i = 0; i < 1024; i++)
		here[i] = depth + i;
	return depth ? deep(depth - 1) + here[depth % 1024] : here[0];
}

static void stack(void)
{
	unsigned before = deep(256);
	char small[64 * 1024];

	fill(small, 64 * 1024, 1);
	READY();
	GOOD(filled(small, 64 * 1024, 1));
	GOOD(deep(256) == before);
	GOOD(deep(1200) != 0); /* grows on: 4.7 MiB */
}

static void heap(void)
{
	char *start = sbrk(0), *first = sbrk(3 * MIB + 100), *piece = malloc(5000);

	fill(first, 3 * MIB, 2);
	fill(piece, 5000, 3);
	READY();
	GOOD(sbrk(0) >= (void *)(first + 3 * MIB + 100));
	GOOD(filled(first, 3 * MIB, 2) && filled(piece, 5000, 3));
	start = sbrk(0);
	GOOD(sbrk(2 * MIB) == start);
	GOOD(zero(start, 2 * MIB));
	memset(start, 7, 2 * MIB);
	for (int i = 0; i < 1000; i++)
		free(malloc((size_t)i * 100));
	free(piece);
}

static void sparse(void)
{
	size_t pages = 64 * MIB / PAGE;
	char *memory = map(64 * MIB, PROT_READ | PROT_WRITE);

	for (size_t i = 0; i < pages; i += 7)
		fill(memory + i * PAGE, PAGE, (unsigned)i);
	READY();
	for (size_t i = 0; i < pages; i++)
		GOOD(i % 7 ? zero(memory + i * PAGE, PAGE)
			   : filled(memory + i * PAGE, PAGE, (unsigned)i));
	/* Anonymous: what is given back is zero again. */
	madvise(memory, 64 * MIB, MADV_DONTNEED);
	GOOD(zero(memory, MIB));
}

static void large(void)
{
	char *memory = map(48 * MIB, PROT_READ | PROT_WRITE);

	fill(memory + PAGE, 40 * MIB, 4);
	READY();
	GOOD(zero(memory, PAGE) && filled(memory + PAGE, 40 * MIB, 4));
	GOOD(zero(memory + PAGE + 40 * MIB, 7 * MIB));
	memory = mremap(memory, 48 * MIB, 60 * MIB, MREMAP_MAYMOVE);
	GOOD(memory != MAP_FAILED && filled(memory + PAGE, 40 * MIB, 4));
	GOOD(zero(memory + 48 * MIB, 12 * MIB));
}

static void huge(void)
{
	char *memory = map(12 * MIB, PROT_READ | PROT_WRITE);
	char *aligned = (char *)(((unsigned long)memory + 2 * MIB - 1) & -(2 * MIB));

	madvise(aligned, 8 * MIB, MADV_HUGEPAGE);
	fill(aligned, 6 * MIB, 5);
	READY();
	GOOD(filled(aligned, 6 * MIB, 5) && zero(aligned + 6 * MIB, 2 * MIB));
}

/* Content that the task itself may not read. */
static void forbidden(void)
{
	char *none = map(8 * PAGE, PROT_READ | PROT_WRITE),
	     *fixed = map(MIB, PROT_READ | PROT_WRITE);
	char *code = map(PAGE, PROT_READ | PROT_WRITE), *empty = map(MIB, PROT_NONE);

	fill(none, 8 * PAGE, 6);
	fill(fixed, MIB, 7);
	fill(code, PAGE, 8);
	mprotect(none + PAGE, 6 * PAGE, PROT_NONE);
	mprotect(fixed, MIB, PROT_READ);
	mprotect(code, PAGE, PROT_EXEC);
	int code_readable = readable(code); /* not where the processor has protection keys */
	READY();
	GOOD(readable(code) == code_readable);
	GOOD(!readable(none + PAGE) && readable(none) && !readable(empty));
	mprotect(none, 8 * PAGE, PROT_READ);
	GOOD(filled(none, 8 * PAGE, 6) && filled(fixed, MIB, 7));
	mprotect(code, PAGE, PROT_READ);
	GOOD(filled(code, PAGE, 8));
}

static int in_child(int (*ask)(char *), char *memory)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0)
		_exit(ask(memory));
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int is_zero(char *memory)
{
	return zero(memory, 4 * PAGE);
}

static int is_mapped(char *memory)
{
	unsigned char there[4];

	return mincore(memory, 4 * PAGE, there) == 0;
}

static void advice(void)
{
	static const int all[] = {MADV_DONTFORK, MADV_WIPEONFORK, MADV_DONTDUMP, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_SEQUENTIAL, MADV_RANDOM};
	char *areas[8];

	for (int i = 0; i < 8; i++) {
		areas[i] = map(4 * PAGE, PROT_READ | PROT_WRITE);
		fill(areas[i], 4 * PAGE, (unsigned)i);
		madvise(areas[i], 4 * PAGE, all[i]);
	}
	READY();
	for (int i = 0; i < 8; i++)
		GOOD(filled(areas[i], 4 * PAGE, (unsigned)i));
	GOOD(in_child(is_mapped, areas[0]) == 0 && in_child(is_mapped, areas[1]) == 1);
	GOOD(in_child(is_zero, areas[1]) == 1 && in_child(is_zero, areas[2]) == 0);
}

static void locked(void)
{
	char *all = map(MIB, PROT_READ | PROT_WRITE), *some = map(MIB, PROT_READ | PROT_WRITE);
	unsigned char there[256];

	fill(all, MIB / 2, 9);
	GOOD(mlock(all, MIB) == 0);
	GOOD(mlock2(some, MIB, MLOCK_ONFAULT) == 0);
	fill(some, PAGE, 10);
	READY();
	GOOD(filled(all, MIB / 2, 9) && filled(some, PAGE, 10));
	GOOD(mincore(all, MIB, there) == 0 && there[255] & 1);
	GOOD(mincore(some, MIB, there) == 0 && !(there[255] & 1));
}

static void lock_all(int more)
{
	unsigned char there[4] = {0};
	char *before = map(4 * PAGE, PROT_READ | PROT_WRITE), *memory;

	GOOD(mlockall(MCL_CURRENT | MCL_FUTURE | more) == 0);
	fill(before, PAGE, 13);
	READY();
	GOOD(filled(before, PAGE, 13));
	memory = map(4 * PAGE, PROT_READ | PROT_WRITE);
	GOOD(mincore(memory, 4 * PAGE, there) == 0 && (there[3] & 1) == !more);
}

static void locked_future(void)
{
	lock_all(0);
}

static void locked_on_fault(void)
{
	lock_all(MCL_ONFAULT);
}

static void growing(void)
{
	char *room = map(32 * MIB, PROT_NONE), *memory = room + 30 * MIB;

	munmap(room, 32 * MIB);
	memory = mmap(memory, 16 * PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
	GOOD(memory != MAP_FAILED);
	fill(memory, 16 * PAGE, 11);
	READY();
	GOOD(filled(memory, 16 * PAGE, 11));
	for (int i = 1; i < 100; i++)
		memory[-(long)(i * PAGE)] = 1;
	GOOD(filled(memory, 16 * PAGE, 11));
}

static void zeros(void)
{
	char *memory = map(16 * MIB, PROT_READ | PROT_WRITE);
	volatile char *look = memory;
	char sum = 0;

	madvise(memory, 16 * MIB, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < 8 * MIB; i += PAGE)
		sum |= look[i]; /* the zero page */
	memory[12 * MIB] = sum + 1;
	READY();
	GOOD(memory[12 * MIB] == 1);
	memory[12 * MIB] = 0;
	GOOD(zero(memory, 16 * MIB));
}

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static void guards(void)
{
	char *memory = map(64 * PAGE, PROT_READ | PROT_WRITE);
	int have;

	fill(memory, 64 * PAGE, 12);
	have = madvise(memory + 16 * PAGE, 16 * PAGE, MADV_GUARD_INSTALL) == 0;
	READY();
	GOOD(filled(memory, 16 * PAGE, 12));
	GOOD(!have || !readable(memory + 16 * PAGE));
	GOOD(!have || !readable(memory + 31 * PAGE));
	GOOD(readable(memory + 32 * PAGE));
}

const struct kind private_kinds[] = {
	{"stack", stack},
	{"heap", heap},
	{"sparse", sparse},
	{"large", large},
	{"huge", huge},
	{"forbidden", forbidden},
	{"advice", advice},
	{"locked", locked},
	{"locked_future", locked_future},
	{"locked_on_fault", locked_on_fault},
	{"growing", growing},
	{"zeros", zeros},
	{"guards", guards},
	{NULL, NULL},
};
