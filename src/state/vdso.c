// SPDX-License-Identifier: MIT
/*
 * The vdso and its data are the kernel's: a task gets those of the kernel it restarts on, moved to
 * the addresses the image has. Each area moves whole, and their distances stay as they are, since
 * the code finds its data by them. Only the same vdso has its functions at the same places.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/memory.h"

#define PARTS 8
#define PARK_FIRST 0x20000000ULL
#define PARK_STEP 0x1000000ULL

/* Areas of vdso and vvar, by address. */
struct layout {
	struct part {
		uint64_t start, end;
		bool code;
	} parts[PARTS];
	size_t count;
};

const char *vdso_id(struct arena *arena)
{
	const uint8_t *image = (const uint8_t *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)image;
	char *text = arena_alloc(arena, 64 + 1);

	if (!image || !text)
		return text;
	for (size_t i = 0; i < head->e_phnum; i++) {
		const Elf64_Phdr *part = (const Elf64_Phdr *)(image + head->e_phoff) + i;
		const uint8_t *at = image + part->p_offset, *end = at + part->p_filesz;

		while (part->p_type == PT_NOTE && end - at >= (ptrdiff_t)sizeof(Elf64_Nhdr)) {
			const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
			const uint8_t *content = at + sizeof(*note) + ((note->n_namesz + 3) & ~3u);

			if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= 32) {
				static const char digits[] = "0123456789abcdef";

				for (size_t j = 0; j < note->n_descsz; j++) {
					text[2 * j] = digits[content[j] >> 4];
					text[2 * j + 1] = digits[content[j] & 15];
				}
				return text;
			}
			at = content + ((note->n_descsz + 3) & ~3u);
		}
	}
	return text;
}

static struct layout layout_of_image(const Memory *memory)
{
	struct layout layout = {0};

	for (size_t i = 0; i < memory->n_areas && layout.count < PARTS; i++) {
		const Area *area = memory->areas[i];
		bool code = area->kind == REPRISE__AREA__KIND__VDSO;

		if (code || area->kind == REPRISE__AREA__KIND__VVAR)
			layout.parts[layout.count++] = (struct part){area->start, area->end, code};
	}
	return layout;
}

static int layout_of_task(
	struct arena *arena, pid_t tid, struct layout *ret, struct reprise_error *err)
{
	struct live_areas areas;
	int r = areas_read(arena, tid, &areas, err);

	*ret = (struct layout){0};
	for (size_t i = 0; r == 0 && i < areas.count && ret->count < PARTS; i++) {
		const struct live_area *area = &areas.items[i];
		const char *why;
		enum area_sort sort = area_sort(area, 0, &why);

		if (sort == SORT_VDSO || sort == SORT_VVAR)
			ret->parts[ret->count++] =
				(struct part){area->start, area->end, sort == SORT_VDSO};
	}
	return r;
}

/* The same areas at the same distances. */
static bool alike(const struct layout *a, const struct layout *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->parts[i].code != b->parts[i].code ||
			a->parts[i].end - a->parts[i].start !=
				b->parts[i].end - b->parts[i].start ||
			a->parts[i].start - a->parts[0].start !=
				b->parts[i].start - b->parts[0].start)
			return false;
	return true;
}

/* That of the stubs: all have it from the nursery. */
static const struct layout *layout_here(struct restore *restore, pid_t tid)
{
	static const char key;
	struct layout *layout =
		kind_table_get(restore->arena, &restore->tables, &key, sizeof(*layout));

	if (layout && !layout->count &&
		layout_of_task(restore->arena, tid, layout, restore->err) < 0)
		return NULL;
	return layout;
}

int vdso_check(struct restore *restore, const Memory *memory)
{
	struct layout image = layout_of_image(memory);
	const struct layout *own = layout_here(restore, getpid());
	const char *id = vdso_id(restore->arena);

	if (!own || !id)
		return fail(restore->err, ENOMEM, "cannot look at the vdso");
	for (size_t i = 0; i < memory->n_areas; i++)
		if (memory->areas[i]->kind == REPRISE__AREA__KIND__VDSO &&
			strcmp(memory->areas[i]->name, id) != 0)
			return fail(restore->err, 0,
				"the image is of another kernel (%s): its vdso is not the same",
				restore->snapshot->kernel);
	if (image.count && !alike(&image, own))
		return fail(restore->err, 0, "the vdso has other areas than in the image");
	return 0;
}

static bool meet(uint64_t start, uint64_t size, uint64_t other, uint64_t other_size)
{
	return start < other + other_size && other < start + size;
}

static void move_all(struct calls *calls, const struct layout *from, uint64_t base, uint64_t to)
{
	for (size_t i = 0; i < from->count; i++) {
		uint64_t size = from->parts[i].end - from->parts[i].start;
		uint64_t distance = from->parts[i].start - from->parts[0].start;

		calls_must(calls, "cannot move the vdso", SYS_mremap, base + distance, size, size,
			MREMAP_MAYMOVE | MREMAP_FIXED, to + distance, 0);
	}
}

int vdso_move(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const struct layout *here = layout_here(restore, stub->tid);
	struct layout image = layout_of_image(stub->process->memory);
	uint64_t from, to, span, park = PARK_FIRST;

	if (!here)
		return fail(restore->err, ENOMEM, "cannot look at the vdso");
	if (!here->count)
		return 0;
	if (!image.count) {
		for (size_t i = 0; i < here->count; i++)
			calls_must(calls, "cannot unmap the vdso", SYS_munmap, here->parts[i].start,
				here->parts[i].end - here->parts[i].start, 0, 0, 0, 0);
		return 0;
	}
	if (!alike(&image, here))
		return fail(restore->err, 0, "the vdso has other areas than in the image");
	from = here->parts[0].start;
	to = image.parts[0].start;
	span = here->parts[here->count - 1].end - from;
	if (from == to)
		return 0;
	if (meet(from, span, to, span)) {
		while (meet(park, span, from, span) || meet(park, span, to, span) ||
			meet(park, span, restore->room, restore->room_size))
			park += PARK_STEP;
		move_all(calls, here, from, park);
		from = park;
	}
	move_all(calls, here, from, to);
	return 0;
}
