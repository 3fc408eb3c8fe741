// SPDX-License-Identifier: MIT
/* The build id that linkers put into a note of an ELF file. Notes look alike in 32 and 64 bits. */
#include <elf.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"

#define HEADERS_MAX 64
#define NOTES_MAX 4096

static size_t find_in_notes(const uint8_t *notes, size_t size, uint8_t *ret, size_t room)
{
	size_t at = 0;

	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t name, content;

		memcpy(&note, notes + at, sizeof(note));
		name = at + sizeof(note);
		if (note.n_namesz > size - name)
			return 0;
		content = name + ((note.n_namesz + 3) & ~(size_t)3);
		if (content > size || note.n_descsz > size - content)
			return 0;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
			memcmp(notes + name, "GNU", 4) == 0 && note.n_descsz <= room) {
			memcpy(ret, notes + content, note.n_descsz);
			return note.n_descsz;
		}
		at = content + ((note.n_descsz + 3) & ~(size_t)3);
		if (at > size)
			return 0;
	}
	return 0;
}

static size_t read_notes(int fd, uint64_t offset, uint64_t size, uint8_t *ret, size_t room)
{
	uint8_t notes[NOTES_MAX];
	ssize_t n = pread(fd, notes, size < sizeof(notes) ? size : sizeof(notes), (off_t)offset);

	return n > 0 ? find_in_notes(notes, (size_t)n, ret, room) : 0;
}

static size_t of_64_bits(int fd, const Elf64_Ehdr *head, uint8_t *ret, size_t room)
{
	Elf64_Phdr parts[HEADERS_MAX];
	size_t count = head->e_phnum < HEADERS_MAX ? head->e_phnum : HEADERS_MAX, found = 0;
	ssize_t n = pread(fd, parts, count * sizeof(parts[0]), (off_t)head->e_phoff);

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(parts[0]) && !found; i++)
		if (parts[i].p_type == PT_NOTE)
			found = read_notes(fd, parts[i].p_offset, parts[i].p_filesz, ret, room);
	return found;
}

static size_t of_32_bits(int fd, const Elf32_Ehdr *head, uint8_t *ret, size_t room)
{
	Elf32_Phdr parts[HEADERS_MAX];
	size_t count = head->e_phnum < HEADERS_MAX ? head->e_phnum : HEADERS_MAX, found = 0;
	ssize_t n = pread(fd, parts, count * sizeof(parts[0]), (off_t)head->e_phoff);

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(parts[0]) && !found; i++)
		if (parts[i].p_type == PT_NOTE)
			found = read_notes(fd, parts[i].p_offset, parts[i].p_filesz, ret, room);
	return found;
}

size_t build_id_read(int fd, uint8_t *ret, size_t room)
{
	union {
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} head = {0};

	if (pread(fd, &head, sizeof(head), 0) < (ssize_t)sizeof(head.narrow) ||
		memcmp(head.wide.e_ident, ELFMAG, SELFMAG) != 0)
		return 0;
	if (head.wide.e_ident[EI_CLASS] == ELFCLASS64)
		return of_64_bits(fd, &head.wide, ret, room);
	return of_32_bits(fd, &head.narrow, ret, room);
}
