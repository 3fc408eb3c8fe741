/* SPDX-License-Identifier: MIT */
/* The areas of a task's memory as /proc/PID/smaps shows them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"

/* What madvise(2) and their like have set: Area.advice. Numbers are part of the image's format. */
enum area_advice {
	AREA_DONTFORK = 1 << 0,
	AREA_WIPEONFORK = 1 << 1,
	AREA_DONTDUMP = 1 << 2,
	AREA_HUGEPAGE = 1 << 3,
	AREA_NOHUGEPAGE = 1 << 4,
	AREA_MERGEABLE = 1 << 5,
	AREA_SEQUENTIAL = 1 << 6,
	AREA_RANDOM = 1 << 7,
	AREA_SEALED = 1 << 8,	 /* mseal(2), Linux 6.10 */
	AREA_DROPPABLE = 1 << 9, /* mapped with MAP_DROPPABLE, Linux 6.11 */
};

/* What cannot be brought back, of the same line of flags. */
enum area_trouble {
	TROUBLE_DEVICE = 1 << 0, /* memory of a device, or pages that are nobody's */
	TROUBLE_HUGETLB = 1 << 1,
	TROUBLE_USERFAULTFD = 1 << 2,
	TROUBLE_SHADOW_STACK = 1 << 3,
	TROUBLE_KEY = 1 << 4, /* a memory protection key */
};

struct live_area {
	uint64_t start, end;
	uint64_t offset; /* in the file, bytes */
	uint64_t inode;
	uint32_t major, minor;
	uint32_t protection; /* PROT_* */
	uint32_t flags;	     /* MAP_* that make it anew */
	uint64_t advice;
	uint32_t trouble;
	bool locked;
	bool lock_on_fault; /* before "lf" guessed: locked, readable, and not all there */
	const char *path;   /* as smaps shows it, unescaped; "" of a nameless one */
};

struct live_areas {
	struct live_area *items;
	size_t count;
};

/* Parses the text of smaps (it is changed); names go into the arena. */
int areas_parse(struct arena *arena, char *text, struct live_areas *ret, struct reprise_error *err);

/* The same of a live task; a thread that has exited has none. */
int areas_read(struct arena *arena, pid_t tid, struct live_areas *ret, struct reprise_error *err);
