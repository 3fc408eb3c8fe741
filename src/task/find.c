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

int ids_add(struct ids *ids, pid_t id)
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

static bool was_seen(const struct live_tree *tree, pid_t pid)
{
	size_t low = 0, high = tree->nr_outside;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (tree->outside[middle] == pid)
			return true;
		if (tree->outside[middle] < pid)
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

/* Pid namespaces by inode, and whether they have an init of the tree in them or above. */
struct known_namespaces {
	struct known {
		uint64_t inode;
		bool inside;
	} * list;
	size_t count, room;
};

static const struct known *find_known(const struct known_namespaces *known, uint64_t inode)
{
	for (size_t i = known->count; i-- > 0;)
		if (known->list[i].inode == inode)
			return &known->list[i];
	return NULL;
}

static int add_known(struct known_namespaces *known, uint64_t inode, bool inside)
{
	if (known->count == known->room) {
		size_t room = known->room ? known->room * 2 : 64;
		struct known *list = realloc(known->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		known->list = list;
		known->room = room;
	}
	known->list[known->count++] = (struct known){inode, inside};
	return 0;
}

/* Goes up until it comes to one that is known. Consumes fd. */
static bool climb(const struct known_namespaces *known, int fd)
{
	bool inside = false;

	while (fd >= 0) {
		const struct known *found = NULL;
		struct stat st;
		int parent;

		if (fstat(fd, &st) == 0)
			found = find_known(known, st.st_ino);
		parent = found ? -1 : ioctl(fd, NS_GET_PARENT);
		close(fd);
		fd = parent;
		inside = found && found->inside;
	}
	return inside;
}

static int know_inits(struct known_namespaces *known, const struct live_tree *tree)
{
	int r = 0;

	for (size_t i = 0; i < tree->count && r >= 0; i++) {
		struct live_process *process = tree->processes[i];

		if (!process->zombie && !process->gone && live_is_init(process))
			r = add_known(known, live_namespace(process, LIVE_PID), true);
	}
	return r;
}

/* 1, 0, or -ENOMEM. */
static int is_stranger(struct known_namespaces *known, pid_t pid)
{
	uint64_t inode = proc_inode(pid, "ns/pid");
	const struct known *found;
	bool inside;

	if (!inode)
		return 0;
	found = find_known(known, inode);
	if (found)
		return found->inside;
	inside = climb(known, proc_open(pid, "ns/pid", O_RDONLY));
	return add_known(known, inode, inside) < 0 ? -ENOMEM : inside;
}

static int look_at_all(
	struct known_namespaces *known, struct live_tree *tree, struct ids *all, struct ids *ret)
{
	int r = ids_of_folder(all, "/proc");

	for (size_t i = 0; i < all->count && r >= 0; i++) {
		pid_t pid = all->list[i];

		if (was_seen(tree, pid))
			continue;
		if (tree_process(tree, pid)) {
			all->list[i] = 0;
			continue;
		}
		r = is_stranger(known, pid);
		if (r > 0) {
			/* Not to be remembered: a later search has to find it again. */
			all->list[i] = 0;
			r = ids_add(ret, pid);
		}
	}
	return r;
}

/* From now on these are known not to be in the tree. */
static int remember(struct live_tree *tree, struct ids *all)
{
	if (!all->count)
		return 0;
	qsort(all->list, all->count, sizeof(*all->list), compare_ids);
	tree->outside = arena_copy(tree->arena, all->list, all->count * sizeof(*all->list));
	tree->nr_outside = tree->outside ? all->count : 0;
	return tree->outside ? 0 : -ENOMEM;
}

int strangers_find(struct live_tree *tree, struct ids *ret)
{
	struct known_namespaces known = {0};
	struct ids all = {0};
	int r = know_inits(&known, tree);

	ret->count = 0;
	if (!r && known.count) {
		r = add_known(&known, proc_inode(getpid(), "ns/pid"), false);
		if (!r)
			r = look_at_all(&known, tree, &all, ret);
		if (r >= 0)
			r = remember(tree, &all);
	}
	free(known.list);
	ids_free(&all);
	return r;
}
