// SPDX-License-Identifier: MIT
/*
 * The memory of a process at a restart. A stub has only the hands' room and the vdso, so every area
 * is mapped where it was. What has content is mapped writable, filled, and then protected.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "state/files.h"
#include "state/memory.h"
#include "state/pull.h"
#include "state/shared_memory.h"

#define PAGE 4096u

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* Linux 6.3 */
#endif

static const struct {
	uint64_t bit;
	int advice;
	bool early; /* matters for how it is filled */
	bool must;  /* not only a matter of speed */
} advices[] = {
	{AREA_HUGEPAGE, MADV_HUGEPAGE, true, false},
	{AREA_NOHUGEPAGE, MADV_NOHUGEPAGE, true, false},
	{AREA_DONTFORK, MADV_DONTFORK, false, true},
	{AREA_WIPEONFORK, MADV_WIPEONFORK, false, true},
	{AREA_DONTDUMP, MADV_DONTDUMP, false, true},
	{AREA_MERGEABLE, MADV_MERGEABLE, false, false},
	{AREA_SEQUENTIAL, MADV_SEQUENTIAL, false, false},
	{AREA_RANDOM, MADV_RANDOM, false, false},
};

static int check_access(struct restore *restore, const Memory *memory)
{
	int r = 0;

	for (size_t i = 0; i < memory->n_areas && r == 0; i++)
		if (memory->areas[i]->kind == REPRISE__AREA__KIND__FILE)
			r = file_check_access(restore, memory->areas[i]->backing,
				(int)memory->areas[i]->open_flags);
	return r;
}

int memory_check(struct restore *restore)
{
	for (size_t i = 0; i < restore->snapshot->n_processes; i++) {
		const Memory *memory = restore->snapshot->processes[i]->memory;
		int r = memory ? vdso_check(restore, memory) : 0;

		if (r == 0 && memory)
			r = check_access(restore, memory);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_kernels(const Area *area)
{
	return area->kind == REPRISE__AREA__KIND__VDSO || area->kind == REPRISE__AREA__KIND__VVAR;
}

static void advise(struct calls *calls, const Area *area, bool early)
{
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++) {
		if (!(area->advice & advices[i].bit) || advices[i].early != early)
			continue;
		if (advices[i].must)
			calls_must(calls, "cannot give memory its advice", SYS_madvise, area->start,
				area->end - area->start, (uint64_t)advices[i].advice, 0, 0, 0);
		else
			calls_may(calls, SYS_madvise, area->start, area->end - area->start,
				(uint64_t)advices[i].advice, 0, 0, 0);
	}
}

/* Where brk, arguments, environment and auxiliary vector are, and the link exe. Before anything is
 * mapped: the link cannot be changed while the old executable is. */
static int set_places(struct restore *restore, struct calls *calls, const Memory *memory)
{
	struct prctl_mm_map map = {
		.start_code = memory->start_code,
		.end_code = memory->end_code,
		.start_data = memory->start_data,
		.end_data = memory->end_data,
		.start_brk = memory->start_brk,
		.brk = memory->brk,
		.start_stack = memory->start_stack,
		.arg_start = memory->arg_start,
		.arg_end = memory->arg_end,
		.env_start = memory->env_start,
		.env_end = memory->env_end,
		.auxv_size = (uint32_t)memory->auxv.len,
		.exe_fd = (uint32_t)-1,
	};
	int fd = memory->exe >= 0 ? file_shared(restore, memory->exe, O_RDONLY) : -1, number = -1;

	if (fd < 0 && memory->exe >= 0)
		return fd;
	if (calls_reserve(calls, 4, memory->auxv.len + sizeof(map) + 64) < 0)
		return calls->failed;
	if (fd >= 0) {
		number = pull_temporary(restore, calls, fd, "cannot hand over the executable");
		map.exe_fd = (uint32_t)number;
	}
	map.auxv = (__u64 *)(uintptr_t)calls_data(calls, memory->auxv.data, memory->auxv.len);
	calls_must(calls, "cannot set the places of its memory (PR_SET_MM_MAP)", SYS_prctl,
		PR_SET_MM, PR_SET_MM_MAP, calls_data(calls, &map, sizeof(map)), sizeof(map), 0, 0);
	if (number >= 0)
		pull_done(restore, calls, number);
	return 0;
}

/* The descriptor of the task to map; neighbours of the same file share it. */
struct backing {
	int fd;	    /* the controller's; -1: none */
	int number; /* the task's */
};

static void let_go(struct restore *restore, struct calls *calls, struct backing *backing)
{
	if (backing->fd >= 0)
		pull_done(restore, calls, backing->number);
	backing->fd = -1;
}

static int hand_over(
	struct restore *restore, struct calls *calls, const Area *area, struct backing *backing)
{
	int flags = area->flags & MAP_SHARED ? (int)area->open_flags : O_RDONLY, fd;

	if (area->kind == REPRISE__AREA__KIND__FILE)
		fd = file_shared(restore, area->backing, flags);
	else
		fd = shared_memory_shared(restore, (uint32_t)area->backing, flags);
	if (fd < 0)
		return fd;
	if (fd == backing->fd)
		return 0;
	let_go(restore, calls, backing);
	backing->fd = fd;
	backing->number = pull_temporary(restore, calls, fd, "cannot hand over a file to map");
	return 0;
}

static int map_area(
	struct restore *restore, struct calls *calls, const Area *area, struct backing *backing)
{
	uint64_t protection = area->protection, flags = area->flags | MAP_FIXED_NOREPLACE;
	int r;

	if (area_is_filled(area))
		protection |= PROT_READ | PROT_WRITE;
	if (area->advice & AREA_DROPPABLE)
		flags = (flags & ~(uint64_t)MAP_TYPE) | MAP_DROPPABLE;
	if (area->kind == REPRISE__AREA__KIND__ANONYMOUS) {
		calls_must(calls, "cannot map memory", SYS_mmap, area->start,
			area->end - area->start, protection, flags | MAP_ANONYMOUS, (uint64_t)-1,
			0);
	} else {
		r = hand_over(restore, calls, area, backing);
		if (r < 0)
			return r;
		calls_must(calls, "cannot map a file", SYS_mmap, area->start,
			area->end - area->start, protection, flags, (uint64_t)backing->number,
			area->offset);
	}
	advise(calls, area, true);
	return 0;
}

static int map_all(struct restore *restore, struct calls *calls, const Memory *memory)
{
	struct backing backing = {-1, -1};
	int r = 0;

	for (size_t i = 0; i < memory->n_areas && r == 0; i++)
		if (!is_kernels(memory->areas[i]))
			r = map_area(restore, calls, memory->areas[i], &backing);
	let_go(restore, calls, &backing);
	return r;
}

static void name_area(struct calls *calls, const Area *area)
{
	if (!area->name || !area->name[0] || is_kernels(area))
		return;
	/* Only for people to read; kernels without CONFIG_ANON_VMA_NAME have none. */
	calls_reserve(calls, 1, strlen(area->name) + 64);
	calls_may(calls, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, area->start,
		area->end - area->start, calls_text(calls, area->name), 0);
}

static void guard(struct calls *calls, const Pages *guards)
{
	for (size_t i = 0; guards && i < guards->n_first; i++)
		calls_must(calls, "cannot install guard pages", SYS_madvise,
			guards->first[i] * PAGE, guards->count[i] * PAGE, MADV_GUARD_INSTALL, 0, 0,
			0);
}

/* What comes after the content. */
static void complete_area(struct calls *calls, const Area *area)
{
	uint64_t size = area->end - area->start;

	if (area_is_filled(area) &&
		(area->protection & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE))
		calls_must(calls, "cannot protect memory", SYS_mprotect, area->start, size,
			area->protection, 0, 0, 0);
	guard(calls, area->guards);
	advise(calls, area, false);
	name_area(calls, area);
	if (area->locked)
		calls_must(calls, "cannot lock memory", SYS_mlock2, area->start, size,
			area->lock_on_fault || !(area->protection & PROT_READ) ? MLOCK_ONFAULT : 0,
			0, 0, 0);
	if (area->advice & AREA_SEALED)
		calls_must(calls, "cannot seal memory", SYS_mseal, area->start, size, 0, 0, 0, 0);
}

int memory_restore(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Memory *memory = stub->process->memory;
	int r;

	if (!memory)
		return 0;
	if (memory->thp_disabled)
		calls_must(calls, "cannot turn huge pages off", SYS_prctl, PR_SET_THP_DISABLE, 1, 0,
			0, 0, 0);
	r = set_places(restore, calls, memory);
	if (r == 0)
		r = vdso_move(restore, stub, calls);
	if (r == 0)
		r = map_all(restore, calls, memory);
	if (r == 0)
		r = memory_fill(restore, stub, calls);
	for (size_t i = 0; i < memory->n_areas && r == 0; i++)
		complete_area(calls, memory->areas[i]);
	return r;
}

/* From here on nothing that was writable can become executable. */
int memory_finish(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Memory *memory = stub->process ? stub->process->memory : NULL;

	if (!memory || stub->leader != stub)
		return 0;
	if (memory->lock_future)
		calls_must(calls, "cannot lock memory to come", SYS_mlockall, memory->lock_future,
			0, 0, 0, 0, 0);
	if (memory->mdwe)
		calls_must(calls, "cannot forbid writable code (PR_SET_MDWE)", SYS_prctl,
			PR_SET_MDWE, memory->mdwe, 0, 0, 0, 0);
	return 0;
}
