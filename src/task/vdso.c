/* SPDX-License-Identifier: MIT */
#include "task/vdso.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/proc.h"

#define ALIGNMENT 64
#define MAX_SIZE (1024 * 1024)

static int read_header(pid_t pid, uint64_t address, Elf64_Ehdr *ret)
{
	struct iovec local = {ret, sizeof(*ret)};
	struct iovec remote = {(void *)address, sizeof(*ret)};

	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof(*ret))
		return -EFAULT;
	return memcmp(ret->e_ident, ELFMAG, SELFMAG) == 0 ? 0 : -ENOEXEC;
}

/* As the kernel told the program at its start. */
static uint64_t address_of_auxv(pid_t pid)
{
	_cleanup_close_ int fd = proc_open(pid, "auxv", O_RDONLY);
	Elf64_auxv_t entries[64];
	ssize_t got = fd < 0 ? -1 : read(fd, entries, sizeof(entries));

	for (ssize_t i = 0; i < got / (ssize_t)sizeof(entries[0]); i++)
		if (entries[i].a_type == AT_SYSINFO_EHDR)
			return entries[i].a_un.a_val;
	return 0;
}

/* Where it has been moved to. */
static uint64_t address_of_maps(pid_t pid)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	char *text, *line;

	if (!arena || proc_read(arena, pid, "maps", &text, NULL, NULL) < 0)
		return 0;
	line = strstr(text, "[vdso]\n");
	if (!line)
		return 0;
	while (line > text && line[-1] != '\n')
		line--;
	return strtoull(line, NULL, 16);
}

int vdso_padding(pid_t pid, uint64_t seen_at, uint64_t *ret_address, size_t *ret_size)
{
	uint64_t address = seen_at ? seen_at : address_of_auxv(pid);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), end;
	Elf64_Ehdr header;

	if (!address || read_header(pid, address, &header) < 0) {
		address = address_of_maps(pid);
		if (!address || read_header(pid, address, &header) < 0)
			return -ENOENT;
	}
	/* The table of sections is what the kernel's build puts last. */
	end = header.e_shoff + (size_t)header.e_shnum * header.e_shentsize;
	if (!header.e_shoff || end > MAX_SIZE)
		return -ENOENT;
	end = (end + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	*ret_address = address + end;
	*ret_size = (page - end % page) % page;
	return 0;
}
