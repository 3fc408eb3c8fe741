// SPDX-License-Identifier: MIT
/*
 * Pipes, FIFOs and eventfds that somebody outside the tree holds too cannot be captured: what the
 * other side does next would be lost. Who holds what is only to be learned from every process's
 * /proc/PID/fd, so it is looked for when the tree has any, and for those that were not known
 * before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "state/open_file.h"

struct watched {
	int what; /* 'p', 'f', 'e' */
	dev_t dev;
	uint64_t number; /* inode, or id of an eventfd */
	const struct description *description;
	pid_t holder; /* the first process outside that holds it, the last, and how many do */
	pid_t last;
	unsigned holders;
};

struct outside {
	struct watched *items; /* sorted */
	size_t count;
	bool fifos, eventfds;
	pid_t *pids; /* of the tree, sorted */
	size_t nr_pids;
};
static const char outside_key;

#define MAX_ANCESTORS 1000

static int by_object(const void *a, const void *b)
{
	const struct watched *x = a, *y = b;

	if (x->what != y->what)
		return x->what - y->what;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static int by_pid(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

static struct watched *find(const struct outside *outside, int what, dev_t dev, uint64_t number)
{
	struct watched key = {.what = what, .dev = dev, .number = number};

	return outside->count
		       ? bsearch(&key, outside->items, outside->count, sizeof(key), by_object)
		       : NULL;
}

static bool watch(const struct description *d, struct watched *ret)
{
	if (d->kind == &pipe_kind)
		*ret = (struct watched){.what = 'p', .number = d->st.st_ino};
	else if (d->kind == &fifo_kind)
		*ret = (struct watched){.what = 'f', .dev = d->st.st_dev, .number = d->st.st_ino};
	else if (d->kind == &eventfd_kind)
		*ret = (struct watched){.what = 'e', .number = d->id};
	else
		return false;
	ret->description = d;
	return true;
}

/* Gathers what has to be looked for; true in *ret_news when before did not have all of it. */
static int gather(
	struct capture *capture, const struct outside *before, struct outside *ret, bool *ret_news)
{
	struct watched one;
	size_t room = 0;

	*ret_news = false;
	for (const struct description *d = descriptions(capture); d; d = d->next)
		room += watch(d, &one);
	ret->items = arena_alloc(capture->arena, room * sizeof(*ret->items));
	ret->pids = arena_alloc(capture->arena, capture->tree->count * sizeof(*ret->pids));
	if (!ret->items || !ret->pids)
		return fail(capture->err, ENOMEM, "no memory for pipes");
	for (const struct description *d = descriptions(capture); d; d = d->next) {
		if (!watch(d, &one))
			continue;
		*ret_news |= !find(before, one.what, one.dev, one.number);
		ret->fifos |= one.what == 'f';
		ret->eventfds |= one.what == 'e';
		ret->items[ret->count++] = one;
	}
	for (size_t i = 0; i < capture->tree->count; i++)
		ret->pids[ret->nr_pids++] = capture->tree->processes[i]->pid;
	qsort(ret->items, ret->count, sizeof(*ret->items), by_object);
	qsort(ret->pids, ret->nr_pids, sizeof(*ret->pids), by_pid);
	return 0;
}

static uint64_t eventfd_id(struct arena *arena, pid_t pid, const char *name)
{
	const char *field;
	char path[300], *text;
	size_t size;

	snprintf(path, sizeof(path), "fdinfo/%s", name);
	if (proc_read(arena, pid, path, &text, &size, NULL) < 0)
		return 0;
	field = fdinfo_field(text, "eventfd-id:");
	return field ? strtoull(field, NULL, 10) : 0;
}

static struct watched *look_at(struct capture *capture, const struct outside *outside, pid_t pid,
	int dir, const char *name)
{
	char link[64];
	struct stat st;
	ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);

	if (len <= 0)
		return NULL;
	link[len] = '\0';
	if (!strncmp(link, "pipe:[", 6))
		return find(outside, 'p', 0, strtoull(link + 6, NULL, 10));
	if (outside->eventfds && !strcmp(link, "anon_inode:[eventfd]"))
		return find(outside, 'e', 0, eventfd_id(capture->arena, pid, name));
	if (outside->fifos && link[0] == '/' && fstatat(dir, name, &st, 0) == 0 &&
		S_ISFIFO(st.st_mode))
		return find(outside, 'f', st.st_dev, st.st_ino);
	return NULL;
}

static void refuse_shared(struct capture *capture, const struct watched *watched)
{
	const struct description *d = watched->description;
	char comm[64] = "", others[32] = "";
	_cleanup_close_ int fd = proc_open(watched->holder, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, comm, sizeof(comm) - 1);

	comm[len > 0 ? len - 1 : 0] = '\0';
	if (watched->holders > 1)
		snprintf(others, sizeof(others), " and %u more", watched->holders - 1);
	refuse(capture->refusals, d->process,
		"descriptor %d is %s (%s) that is held outside the tree too, by process %d (%s)%s",
		d->number,
		watched->what == 'e'   ? "an eventfd"
		: watched->what == 'f' ? "a FIFO"
				       : "a pipe",
		d->link, watched->holder, comm, others);
}

/* Whether a task has been made by one of the tree since that was looked at: by its ancestors. */
static bool is_descendant(const struct capture *capture, const struct outside *outside, pid_t pid)
{
	for (int i = 0; i < MAX_ANCESTORS && pid > 0; i++) {
		struct task_status status;
		char name[16];

		if (bsearch(&pid, outside->pids, outside->nr_pids, sizeof(pid), by_pid))
			return true;
		snprintf(name, sizeof(name), "%d", pid);
		/* What has ended holds nothing any more. */
		if (proc_status(capture->arena, name, false, &status, NULL) < 0)
			return true;
		pid = status.ppid;
	}
	return false;
}

static void look_into(struct capture *capture, const struct outside *outside, pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	int fd = proc_open(pid, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		struct watched *watched;

		if (entry->d_name[0] == '.')
			continue;
		watched = look_at(capture, outside, pid, fd, entry->d_name);
		if (!watched || watched->last == pid || is_descendant(capture, outside, pid))
			continue;
		watched->last = pid;
		if (watched->holders++ == 0)
			watched->holder = pid;
	}
}

int outside_survey(struct capture *capture)
{
	struct outside *before =
		kind_table_get(capture->arena, &capture->tables, &outside_key, sizeof(*before));
	struct outside now = {0};
	_cleanup_closedir_ DIR *proc = NULL;
	const struct dirent *entry;
	bool news;
	int ret;

	if (!before)
		return fail(capture->err, ENOMEM, "no memory for pipes");
	ret = gather(capture, before, &now, &news);
	if (ret < 0)
		return ret;
	*before = now;
	if (!news)
		return 0;
	proc = opendir("/proc");
	if (!proc)
		return fail(capture->err, errno, "cannot list /proc");
	while ((entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && !bsearch(&pid, now.pids, now.nr_pids, sizeof(pid), by_pid))
			look_into(capture, &now, pid);
	}
	for (size_t i = 0; i < now.count; i++)
		if (now.items[i].holders)
			refuse_shared(capture, &now.items[i]);
	return 0;
}
