/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

static void vdso(void)
{
	unsigned long at = getauxval(AT_SYSINFO_EHDR);
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	READY();
	GOOD(getauxval(AT_SYSINFO_EHDR) == at && memcmp((void *)at, "\177ELF", 4) == 0);
	for (int i = 0; i < 1000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		GOOD(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
		a = b;
	}
}

static void flags(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	prctl(PR_SET_MDWE, 1, 0, 0, 0);
	READY();
	GOOD(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
	GOOD(prctl(PR_GET_MDWE, 0, 0, 0, 0) == 1);
	GOOD(mmap(NULL, PAGE, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		MAP_FAILED);
}

static void undumpable(void)
{
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	READY();
	GOOD(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

/* More areas than one batch of calls, or one read, takes. */
static void many(void)
{
	enum { COUNT = 3000 };
	char *memory = mmap(
		NULL, 2 * COUNT * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < COUNT; i++) {
		fill(memory + 2 * i * PAGE, PAGE, (unsigned)i);
		mprotect(memory + (2 * i + 1) * PAGE, PAGE, i % 2 ? PROT_NONE : PROT_READ);
	}
	READY();
	for (size_t i = 0; i < COUNT; i++)
		GOOD(filled(memory + 2 * i * PAGE, PAGE, (unsigned)i));
}

static void named(void)
{
	char *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, MIB, "a name");
	fill(memory, PAGE, 30);
	READY();
	GOOD(filled(memory, PAGE, 30));
}

const struct kind special_kinds[] = {
	{"vdso", vdso},
	{"flags", flags},
	{"undumpable", undumpable},
	{"many", many},
	{"named", named},
	{NULL, NULL},
};
