/* SPDX-License-Identifier: MIT */
#include "task/find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static int ids_add(struct ids *ids, pid_t id)
{
	if (ids->count == ids->room) {
		size_t room = ids->room ? ids->room * 2 : 64;
		pid_t *list = realloc(ids->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		ids->list = list;
		ids->room = room;
	}
	ids->list[ids->count++] = id;
	return 0;
}

void ids_free(struct ids *ids)
{
	free(ids->list);
	*ids = (struct ids){0};
}

static int ids_of_folder(struct ids *ids, const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	const struct dirent *entry;

	ids->count = 0;
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((errno = 0, entry = readdir(dir))) {
		char *end;
		long id = strtol(entry->d_name, &end, 10);

		if (id > 0 && !*end && ids_add(ids, (pid_t)id) < 0)
			return -ENOMEM;
	}
	return -errno;
}

int ids_of_threads(struct ids *ids, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return ids_of_folder(ids, path);
}

static int parse_ids(struct ids *ids, const char *text)
{
	for (;;) {
		char *end;
		long id = strtol(text, &end, 10);

		if (end == text)
			return 0;
		if (ids_add(ids, (pid_t)id) < 0)
			return -ENOMEM;
		text = end;
	}
}

int ids_of_children(struct ids *ids, pid_t pid, pid_t tid)
{
	_cleanup_free_ char *grown = NULL;
	_cleanup_close_ int fd = -1;
	char name[64], small[4096], *text = small;
	size_t room = sizeof(small), used = 0;

	ids->count = 0;
	snprintf(name, sizeof(name), "task/%d/children", tid);
	fd = proc_open(pid, name, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	for (;;) {
		ssize_t got = read(fd, text + used, room - used - 1);

		if (got < 0)
			return -errno;
		used += (size_t)got;
		/* A short list comes in one piece, which leaves room. */
		if (got == 0 || (text == small && used < room / 2))
			break;
		if (used + 1 == room) {
			char *more = malloc(room * 2);

			if (!more)
				return -ENOMEM;
			memcpy(more, text, used);
			free(grown);
			text = grown = more;
			room *= 2;
		}
	}
	text[used] = '\0';
	return parse_ids(ids, text);
}

/* ---- strangers ---- */

static bool was_seen(const struct strangers *strangers, pid_t pid)
{
	size_t low = 0, high = strangers->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strangers->seen[middle] == pid)
			return true;
		if (strangers->seen[middle] < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static int compare_ids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

/* Whether a pid namespace, or one above it, has its init in the tree. Consumes fd. */
static bool is_inside(int fd, const uint64_t *inits, size_t nr_inits)
{
	while (fd >= 0) {
		struct stat st;
		int parent;

		if (fstat(fd, &st) < 0)
			break;
		for (size_t i = 0; i < nr_inits; i++) {
			if (inits[i] == st.st_ino) {
				close(fd);
				return true;
			}
		}
		parent = ioctl(fd, NS_GET_PARENT);
		close(fd);
		fd = parent;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

static size_t namespaces_of_inits(const struct live_tree *tree, uint64_t *ret, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < tree->count && count < max; i++) {
		const struct live_process *process = tree->processes[i];
		const struct task_status *status;

		if (process->zombie || process->gone || !process->nr_threads)
			continue;
		status = &process->threads[0].status;
		if (status->nr_levels > 1 && status->pids[status->nr_levels - 1] == 1)
			ret[count++] = proc_inode(process->pid, "ns/pid");
	}
	return count;
}

static bool is_stranger(pid_t pid, uint64_t own, const uint64_t *inits, size_t nr_inits)
{
	uint64_t inode = proc_inode(pid, "ns/pid");

	if (!inode || inode == own)
		return false;
	return is_inside(proc_open(pid, "ns/pid", O_RDONLY), inits, nr_inits);
}

int strangers_find(struct strangers *strangers, struct live_tree *tree, struct ids *ret)
{
	_cleanup_free_ uint64_t *inits = calloc(tree->count, sizeof(*inits));
	struct ids all = {0};
	size_t nr_inits;
	int r;

	ret->count = 0;
	if (!inits)
		return -ENOMEM;
	nr_inits = namespaces_of_inits(tree, inits, tree->count);
	if (!nr_inits)
		return 0;
	if (!strangers->own_namespace)
		strangers->own_namespace = proc_inode(getpid(), "ns/pid");
	r = ids_of_folder(&all, "/proc");
	for (size_t i = 0; i < all.count && r >= 0; i++) {
		pid_t pid = all.list[i];

		if (tree_process(tree, pid) || was_seen(strangers, pid))
			continue;
		if (is_stranger(pid, strangers->own_namespace, inits, nr_inits))
			r = ids_add(ret, pid);
	}
	if (r < 0) {
		ids_free(&all);
		return r;
	}
	if (all.count)
		qsort(all.list, all.count, sizeof(*all.list), compare_ids);
	free(strangers->seen);
	strangers->seen = all.list;
	strangers->count = all.count;
	return 0;
}

void strangers_free(struct strangers *strangers)
{
	free(strangers->seen);
	*strangers = (struct strangers){0};
}
