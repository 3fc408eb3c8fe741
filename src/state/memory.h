/* SPDX-License-Identifier: MIT */
/* The parts of the kind "memory" and what they share. */
#pragma once

#include "state/areas.h"
#include "state/state.h"

/* What an area is made of. */
enum area_sort {
	SORT_NONE, /* not the task's: [vsyscall] */
	SORT_ANONYMOUS,
	SORT_FILE,
	SORT_SHARED_MEMORY,
	SORT_VDSO,
	SORT_VVAR,
	SORT_OTHER, /* cannot be captured */
};
enum area_sort area_sort(const struct live_area *area, dev_t shared_memory, const char **ret_why);

/* memory_restore.c */
int memory_check(struct restore *restore);
int memory_restore(struct restore *restore, struct stub *stub, struct calls *calls);
int memory_finish(struct restore *restore, struct stub *stub, struct calls *calls);

/* fill.c: content into the private areas of a process, which are all mapped and writable. */
int memory_fill(struct restore *restore, struct stub *stub, struct calls *calls);
/* Whether an area is mapped writable first, to be filled. */
bool area_is_filled(const Area *area);

/* vdso.c: the build id of the running kernel's vdso, in hexadecimal; empty when it has none. */
const char *vdso_id(struct arena *arena);
/* Whether this kernel's vdso can stand where the image's was. */
int vdso_check(struct restore *restore, const Memory *memory);
/* Adds the calls that move a stub's vdso to where the image has it, or take it away. */
int vdso_move(struct restore *restore, struct stub *stub, struct calls *calls);
