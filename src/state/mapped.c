// SPDX-License-Identifier: MIT
/*
 * To the file of a mapping where the links of map_files may be read but not followed, which takes
 * CAP_CHECKPOINT_RESTORE in the initial user namespace: by its path, as the executable, or through
 * a descriptor that the same process has on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/files_table.h"
#include "task/proc.h"

/* What maps would show of a file: some file systems have another device number there than in
 * stat(2), so it is mapped for a moment. */
static bool shown_as(const char *way, const struct live_area *area)
{
	_cleanup_close_ int fd = open(way, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_fclose_ FILE *maps = NULL;
	char line[PATH_MAX + 128];
	bool same = false;
	void *page;

	page = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED)
		return false;
	maps = fopen("/proc/self/maps", "re");
	while (maps && fgets(line, sizeof(line), maps)) {
		uint32_t major, minor;
		uint64_t start, inode;

		if (sscanf(line, "%" SCNx64 "-%*x %*s %*x %x:%x %" SCNu64, &start, &major, &minor,
			    &inode) != 4 ||
			start != (uintptr_t)page)
			continue;
		same = major == area->major && minor == area->minor && inode == area->inode;
		break;
	}
	munmap(page, 1);
	return same;
}

static bool is_mapped(const char *way, const struct live_area *area)
{
	struct stat st;

	if (stat(way, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)))
		return false;
	if (st.st_ino == area->inode && major(st.st_dev) == area->major &&
		minor(st.st_dev) == area->minor)
		return true;
	return S_ISREG(st.st_mode) && shown_as(way, area);
}

static bool by_path(pid_t tid, const struct live_area *area, char *ret, size_t size)
{
	char root[PATH_MAX];
	ssize_t length = proc_link(tid, "root", root, sizeof(root));

	if (area->path[0] != '/')
		return false;
	/* Paths are from the root of the mount namespace. */
	if (length > 1 && strncmp(area->path, root, (size_t)length) == 0) {
		snprintf(ret, size, "/proc/%d/root%s", tid, area->path + length);
		if (is_mapped(ret, area))
			return true;
	}
	snprintf(ret, size, "/proc/%d/root%s", tid, area->path);
	if (is_mapped(ret, area))
		return true;
	snprintf(ret, size, "%s", area->path);
	return is_mapped(ret, area);
}

static bool by_descriptor(pid_t tid, const struct live_area *area, char *ret, size_t size)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", tid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(ret, size, "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.' && is_mapped(ret, area))
			return true;
	}
	return false;
}

bool mapped_somewhere(
	const struct live_tree *tree, const struct live_area *area, char *ret, size_t size)
{
	for (size_t i = 0; i < tree->count; i++)
		if (!tree->processes[i]->zombie &&
			by_descriptor(live_tid(tree->processes[i]), area, ret, size))
			return true;
	return false;
}

bool mapped_way(pid_t tid, const struct live_area *area, char *ret, size_t size)
{
	if (by_path(tid, area, ret, size))
		return true;
	snprintf(ret, size, "/proc/%d/exe", tid);
	return is_mapped(ret, area) || by_descriptor(tid, area, ret, size);
}
