// SPDX-License-Identifier: MIT
/*
 * The memory of a process at a checkpoint. Areas are read in the survey, before a thread is
 * borrowed: what borrowing maps is then not among them. Content is copied by the controller while
 * the process is stopped; all private content of a process lies in one piece of the page file, in
 * order.
 */
#include "state/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/ahead.h"
#include "state/content.h"
#include "state/files_table.h"
#include "state/kinds.h"
#include "state/shared_memory.h"
#include "task/proc.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66 /* Linux 6.3 */
#endif

struct memory_notes {
	struct piece piece; /* that reads the areas */
	struct arena **arenas;
	pid_t tid;
	int result;
	struct live_areas areas;
	size_t brk, dumpable, no_huge, mdwe; /* calls that ask */
};

static dev_t device_of(struct capture *capture)
{
	static const char key;
	dev_t *device = kind_table_get(capture->arena, &capture->tables, &key, sizeof(*device));

	if (device && !*device)
		*device = shared_memory_device();
	return device ? *device : 0;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static enum area_sort nameless_sort(const struct live_area *area, const char **ret_why)
{
	const char *path = area->path;

	if (!*path || starts(path, "[heap]") || starts(path, "[stack") || starts(path, "[anon:"))
		return SORT_ANONYMOUS;
	if (strcmp(path, "[vdso]") == 0)
		return SORT_VDSO;
	if (starts(path, "[vvar"))
		return SORT_VVAR;
	if (strcmp(path, "[vsyscall]") == 0)
		return SORT_NONE;
	*ret_why = "is of a kind that is not known";
	return SORT_OTHER;
}

static const char *trouble_of(uint32_t trouble)
{
	if (trouble & TROUBLE_HUGETLB)
		return "has pages of hugetlbfs";
	if (trouble & TROUBLE_USERFAULTFD)
		return "is watched by a userfaultfd";
	if (trouble & TROUBLE_SHADOW_STACK)
		return "is a shadow stack";
	if (trouble & TROUBLE_KEY)
		return "has a protection key";
	return "belongs to a device";
}

enum area_sort area_sort(const struct live_area *area, dev_t shared_memory, const char **ret_why)
{
	enum area_sort sort = SORT_FILE;

	if (area->path[0] != '/' && !area->inode)
		sort = nameless_sort(area, ret_why);
	else if (shared_memory && makedev(area->major, area->minor) == shared_memory) {
		sort = SORT_SHARED_MEMORY;
		if (!starts(area->path, "/memfd:") && !starts(area->path, "/dev/zero") &&
			!starts(area->path, "[anon_shmem:")) {
			*ret_why = starts(area->path, "/SYSV") ? "is shared memory of System V"
							       : "belongs to a device";
			return SORT_OTHER;
		}
	} else if (area->path[0] != '/' || starts(area->path, "/[aio]") ||
		   starts(area->path, "/secretmem")) {
		*ret_why = "is shared with the kernel";
		return SORT_OTHER;
	}
	if (area->trouble && sort != SORT_VDSO && sort != SORT_VVAR && sort != SORT_NONE) {
		*ret_why = trouble_of(area->trouble);
		return SORT_OTHER;
	}
	return sort;
}

static void read_areas(struct piece *piece, size_t worker)
{
	struct memory_notes *notes = (struct memory_notes *)piece;

	notes->result = areas_read(notes->arenas[worker], notes->tid, &notes->areas, NULL);
}

/* The text of smaps costs the kernel more than all else that is read of a small process. */
static int memory_ahead(struct capture *capture, struct live_process *process)
{
	struct memory_notes *notes;
	pid_t tid = live_tid(process);

	if (process->zombie || tid <= 0)
		return 0;
	notes = arena_alloc(capture->arena, sizeof(*notes));
	if (!notes)
		return fail(capture->err, ENOMEM, "cannot note areas of memory");
	notes->piece.run = read_areas;
	notes->arenas = capture->arenas;
	notes->tid = tid;
	process->notes[NOTE_MEMORY] = notes;
	pool_add(capture->pool, &notes->piece);
	return 0;
}

/* Links of map_files can be read by those who may not follow them. */
static bool may_follow(pid_t tid, const struct live_area *area)
{
	char link[64], path[128];
	struct stat st;

	area_link(area, link, sizeof(link));
	snprintf(path, sizeof(path), "/proc/%d/%s", tid, link);
	return stat(path, &st) == 0 || errno != EPERM;
}

static int memory_survey(struct capture *capture, struct live_process *process)
{
	struct memory_notes *notes = process->notes[NOTE_MEMORY];
	char way[64];
	int r;

	if (!notes)
		return 0;
	pool_finish(capture->pool, &notes->piece);
	r = notes->result;
	if (r < 0)
		process->notes[NOTE_MEMORY] = NULL;
	if (r == -ENOENT || r == -ESRCH)
		return 0; /* it has just ended: only while it is not frozen yet */
	if (r < 0)
		return fail(capture->err, r, "cannot read the areas of memory");
	for (size_t i = 0; i < notes->areas.count; i++) {
		const struct live_area *area = &notes->areas.items[i];
		const char *why = NULL;
		enum area_sort sort = area_sort(area, device_of(capture), &why);

		if (sort == SORT_VDSO)
			process->vdso = area->start;
		if (sort == SORT_SHARED_MEMORY && !may_follow(notes->tid, area) &&
			!mapped_somewhere(capture->tree, area, way, sizeof(way))) {
			sort = SORT_OTHER;
			why = "is shared memory, which takes CAP_CHECKPOINT_RESTORE outside of "
			      "any user namespace";
		}
		if (sort == SORT_FILE && !file_area_possible(capture, process, area, &why))
			sort = SORT_OTHER;
		if (sort == SORT_OTHER)
			refuse(capture->refusals, process, "memory at %llx (%s) %s",
				(unsigned long long)area->start, area->path, why);
	}
	return 0;
}

static int memory_ask(struct capture *capture, struct live_process *process, struct calls *calls)
{
	struct memory_notes *notes = process->notes[NOTE_MEMORY];

	if (!notes)
		return fail(capture->err, ESRCH, "its memory is gone");
	notes->brk = calls_may(calls, SYS_brk, 0, 0, 0, 0, 0, 0);
	notes->dumpable = calls_may(calls, SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0, 0);
	notes->no_huge = calls_may(calls, SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0, 0);
	notes->mdwe = calls_may(calls, SYS_prctl, PR_GET_MDWE, 0, 0, 0, 0, 0);
	return 0;
}

/* The mode of the link says how the file of a mapping was opened. */
static uint32_t open_flags_of(pid_t tid, const char *link)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, link);
	return lstat(path, &st) == 0 && st.st_mode & S_IWUSR ? O_RDWR : O_RDONLY;
}

static int back(struct capture *capture, struct live_process *process, const struct live_area *live,
	enum area_sort sort, Area *area)
{
	char link[64];
	uint32_t index;
	int r;

	area_link(live, link, sizeof(link));
	if (live->flags & MAP_SHARED)
		area->open_flags = open_flags_of(live_tid(process), link);
	if (sort == SORT_FILE) {
		area->kind = REPRISE__AREA__KIND__FILE;
		r = file_refer_area(capture, process, live, &area->backing);
		if (r == 0 && live->flags & MAP_SHARED && area->open_flags == O_RDWR)
			file_written(capture, area->backing);
	} else {
		area->kind = REPRISE__AREA__KIND__SHARED_MEMORY;
		r = shared_memory_refer(capture, process, link, live, &index);
		area->backing = (int32_t)index;
	}
	return r < 0 ? fail(capture->err, r, "what is mapped at %llx (%s)",
			       (unsigned long long)live->start, live->path)
		     : 0;
}

static char *anonymous_name(struct arena *arena, const char *path)
{
	char *name = strchr(path, ':') ? arena_string(arena, strchr(path, ':') + 1) : NULL;
	size_t length = name ? strlen(name) : 0;

	if (length && name[length - 1] == ']')
		name[length - 1] = '\0';
	return name;
}

static int take_area(struct capture *capture, struct live_process *process,
	const struct live_area *live, Memory *ret)
{
	const char *why = NULL;
	enum area_sort sort = area_sort(live, device_of(capture), &why);
	Area *area;
	int r = 0;

	if (sort == SORT_NONE)
		return 0;
	area = MESSAGE_NEW(capture->arena, Area, area);
	if (!area || MESSAGE_ADD(capture->arena, ret, areas, area) < 0)
		return fail(capture->err, ENOMEM, "cannot note areas of memory");
	area->start = live->start;
	area->end = live->end;
	area->protection = live->protection;
	area->flags = live->flags;
	area->offset = live->offset;
	area->advice = live->advice;
	area->locked = live->locked;
	area->lock_on_fault = live->lock_on_fault;
	area->backing = -1;
	if (sort == SORT_FILE || sort == SORT_SHARED_MEMORY)
		r = back(capture, process, live, sort, area);
	else if (sort == SORT_VDSO || sort == SORT_VVAR)
		area->kind =
			sort == SORT_VDSO ? REPRISE__AREA__KIND__VDSO : REPRISE__AREA__KIND__VVAR;
	if (sort == SORT_VDSO)
		area->name = (char *)vdso_id(capture->arena);
	else if (starts(live->path, "[anon:") || starts(live->path, "[anon_shmem:"))
		area->name = anonymous_name(capture->arena, live->path);
	if (!area->name)
		return fail(capture->err, ENOMEM, "cannot note areas of memory");
	return r;
}

static bool has_own_pages(const Area *area)
{
	return area->flags & MAP_PRIVATE && area->kind != REPRISE__AREA__KIND__VDSO &&
	       area->kind != REPRISE__AREA__KIND__VVAR;
}

/* Finds the content of all private areas; neighbours are scanned at once. */
static int scan(struct capture *capture, pid_t tid, const Memory *memory, struct page_runs *runs,
	struct page_runs *guards)
{
	_cleanup_close_ int fd = proc_open(tid, "pagemap", O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? fd : 0;

	for (size_t i = 0; i < memory->n_areas && r == 0;) {
		uint64_t start = memory->areas[i]->start, end = start;

		for (; i < memory->n_areas && memory->areas[i]->start == end &&
			has_own_pages(memory->areas[i]);
			i++)
			end = memory->areas[i]->end;
		if (end > start)
			r = scan_pages(fd, start, end, runs, guards);
		else
			i++;
	}
	return r < 0 ? fail(capture->err, r, "cannot find out which memory has content") : 0;
}

/* Cuts the runs where areas end, so that each is of one area. */
static int cut(const Memory *memory, const struct page_runs *runs, struct page_runs *ret)
{
	size_t i = 0;

	for (size_t j = 0; j < runs->count; j++) {
		uint64_t at = runs->items[j].start;

		while (at < runs->items[j].end) {
			uint64_t end = runs->items[j].end;

			while (i < memory->n_areas && memory->areas[i]->end <= at)
				i++;
			if (i < memory->n_areas && memory->areas[i]->end < end)
				end = memory->areas[i]->end;
			/* Not page_runs_add, which joins neighbours. */
			if (page_runs_append(ret, at, end) < 0)
				return -ENOMEM;
			at = end;
		}
	}
	return 0;
}

/* Gives each area its runs; their bytes, if any, start at offset. */
static int share_out(struct capture *capture, const Memory *memory, const struct page_runs *runs,
	uint64_t offset, bool guards)
{
	size_t next = 0;

	for (size_t i = 0; i < memory->n_areas; i++) {
		Area *area = memory->areas[i];
		size_t from = next;
		uint64_t bytes = 0;

		while (next < runs->count && runs->items[next].start < area->end) {
			bytes += runs->items[next].end - runs->items[next].start;
			next++;
		}
		if (next == from)
			continue;
		if (pages_set(capture->arena, runs, from, next, guards ? 0 : offset,
			    guards ? &area->guards : &area->pages) < 0)
			return fail(capture->err, ENOMEM, "cannot note pages");
		offset += bytes;
	}
	return 0;
}

static int take_content(struct capture *capture, pid_t tid, const Memory *memory)
{
	__attribute__((cleanup(page_runs_free))) struct page_runs found = {0};
	__attribute__((cleanup(page_runs_free))) struct page_runs guards = {0};
	__attribute__((cleanup(page_runs_free))) struct page_runs runs = {0};
	__attribute__((cleanup(page_runs_free))) struct page_runs guard_runs = {0};
	uint64_t bytes = 0, offset;
	int r = scan(capture, tid, memory, &found, &guards);

	if (r < 0)
		return r;
	if (cut(memory, &found, &runs) < 0 || cut(memory, &guards, &guard_runs) < 0)
		return fail(capture->err, ENOMEM, "cannot note pages");
	for (size_t i = 0; i < runs.count; i++)
		bytes += runs.items[i].end - runs.items[i].start;
	offset = image_writer_reserve(capture->writer, bytes);
	r = share_out(capture, memory, &runs, offset, false);
	if (r == 0)
		r = share_out(capture, memory, &guard_runs, 0, true);
	return r < 0 ? r : content_copy_task(capture, tid, &runs, offset);
}

/* mlockall(MCL_FUTURE) shows only in what is mapped after it: in what borrowing has mapped. */
static int take_lock_future(
	struct capture *capture, struct live_process *process, const struct hand *hand, Memory *ret)
{
	const struct memory_notes *notes = process->notes[NOTE_MEMORY];
	struct live_areas areas;
	bool any = false;
	int r;

	for (size_t i = 0; i < notes->areas.count; i++)
		any |= notes->areas.items[i].locked;
	if (!any)
		return 0;
	r = areas_read(capture->arena, live_tid(process), &areas, capture->err);
	for (size_t i = 0; r == 0 && i < areas.count; i++) {
		const struct live_area *area = &areas.items[i];

		if (area->start > hand->room || area->end <= hand->room || !area->locked)
			continue;
		ret->lock_future = MCL_FUTURE | (area->lock_on_fault ? MCL_ONFAULT : 0);
	}
	return r;
}

static int take_places(
	struct capture *capture, struct live_process *process, struct calls *calls, Memory *ret)
{
	const struct memory_notes *notes = process->notes[NOTE_MEMORY];
	const struct task_status *status = &process->threads[0].status;
	struct task_status of_live;
	char *auxv, name[32];
	size_t size;
	int r = ahead_read(capture, process, AHEAD_AUXV, &auxv, &size);

	/* A leader that has exited has no memory any more. */
	if (r == 0 && process->threads[0].dead) {
		snprintf(name, sizeof(name), "%d", live_tid(process));
		r = proc_status(capture->arena, name, true, &of_live, capture->err);
		status = &of_live;
	}
	if (r < 0)
		return r;
	ret->auxv.data = (uint8_t *)auxv;
	ret->auxv.len = size;
	ret->start_code = status->start_code;
	ret->end_code = status->end_code;
	ret->start_data = status->start_data;
	ret->end_data = status->end_data;
	ret->start_brk = status->start_brk;
	ret->start_stack = status->start_stack;
	ret->arg_start = status->arg_start;
	ret->arg_end = status->arg_end;
	ret->env_start = status->env_start;
	ret->env_end = status->env_end;
	ret->brk = (uint64_t)calls_result(calls, notes->brk);
	ret->dumpable = (uint32_t)calls_result(calls, notes->dumpable);
	ret->thp_disabled = calls_result(calls, notes->no_huge) > 0;
	if (calls_result(calls, notes->mdwe) > 0)
		ret->mdwe = (uint32_t)calls_result(calls, notes->mdwe);
	r = take_lock_future(capture, process, calls->hand, ret);
	if (r == 0)
		r = file_refer(capture, process, "exe", &ret->exe);
	return r == -ENOENT ? fail_over(capture->err, r, "it has no executable") : r;
}

static int memory_take(
	struct capture *capture, struct live_process *process, struct calls *calls, Process *ret)
{
	const struct memory_notes *notes = process->notes[NOTE_MEMORY];
	Memory *memory = MESSAGE_NEW(capture->arena, Memory, memory);
	int r;

	if (!memory || !notes)
		return fail(capture->err, notes ? ENOMEM : ESRCH, "cannot note memory");
	ret->memory = memory;
	r = take_places(capture, process, calls, memory);
	for (size_t i = 0; i < notes->areas.count && r == 0; i++)
		r = take_area(capture, process, &notes->areas.items[i], memory);
	return r < 0 ? r : take_content(capture, live_tid(process), memory);
}

const struct state_kind memory_kind = {
	.name = "memory",
	.ahead = memory_ahead,
	.survey = memory_survey,
	.ask = memory_ask,
	.take = memory_take,
	.check = memory_check,
	.restore = memory_restore,
	.finish = memory_finish,
};
