// SPDX-License-Identifier: MIT
/*
 * Finds the open file descriptions of a tree. Most descriptors are inherited, so each is compared
 * first with its parent's of the same number: one kcmp(2), and nothing of it is read again. What is
 * left is grouped by what two descriptors of one description have in common, and kcmp(2), which
 * orders as well as compares, searches within the group.
 */
#include "state/open_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "state/kinds.h"

#define BUCKETS 4096

struct finder {
	struct live_tree *tree;
	struct description *first, **last;
	struct description *buckets[BUCKETS];
};
static const char finder_key;

void *kind_table_get(struct arena *arena, struct kind_table **tables, const void *key, size_t size)
{
	struct kind_table *table;

	for (table = *tables; table; table = table->next)
		if (table->key == key)
			return table->value;
	table = arena_alloc(arena, sizeof(*table));
	if (!table)
		return NULL;
	table->key = key;
	table->value = arena_alloc(arena, size);
	if (!table->value)
		return NULL;
	table->next = *tables;
	*tables = table;
	return table->value;
}

static struct finder *get_finder(struct capture *capture)
{
	return kind_table_get(capture->arena, &capture->tables, &finder_key, sizeof(struct finder));
}

struct description *descriptions(struct capture *capture)
{
	struct finder *finder = get_finder(capture);

	return finder ? finder->first : NULL;
}

const struct descriptor_table *descriptor_table(const struct live_process *process)
{
	return process->notes[NOTE_DESCRIPTORS];
}

const char *fdinfo_field(const char *fdinfo, const char *name)
{
	const char *found = strstr(fdinfo, name);

	if (!found)
		return NULL;
	found += strlen(name);
	return found + strspn(found, " \t");
}

int description_grab(struct capture *capture, const struct description *description)
{
	/* PIDFD_THREAD, Linux 6.9: the leader has exited and has no descriptors. */
	int flags = description->tid != description->process->pid ? O_EXCL : 0, fd;
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, description->tid, flags);

	if (pidfd < 0)
		return fail(capture->err, errno, "cannot hold thread %d", description->tid);
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, description->number, 0);
	if (fd < 0)
		return fail(capture->err, errno, "cannot reach descriptor %d (%s)",
			description->number, description->link);
	return fd;
}

/* A thread that has the descriptors: a leader that exited has none. */
static const struct live_thread *holder(const struct live_process *process)
{
	for (size_t i = 0; i < process->nr_threads; i++)
		if (!process->threads[i].dead)
			return &process->threads[i];
	return NULL;
}

/* 0 the same, 1 less, 2 more; -errno. */
static long compare(pid_t a, pid_t b, int type, int a_number, int b_number)
{
	long ret = syscall(SYS_kcmp, a, b, type, (long)a_number, (long)b_number);

	return ret < 0 ? -errno : ret;
}

static int compare_descriptor(const void *key, const void *item)
{
	return *(const int *)key - ((const struct descriptor *)item)->number;
}

static struct description *inherited(const struct live_process *process, pid_t tid, int number)
{
	const struct descriptor_table *table;
	const struct descriptor *found;
	const struct live_thread *parent;

	if (!process->parent || !(table = descriptor_table(process->parent)) || !table->count)
		return NULL;
	found = bsearch(
		&number, table->items, table->count, sizeof(*table->items), compare_descriptor);
	parent = holder(process->parent);
	if (!found || !parent || !found->description)
		return NULL;
	return compare(parent->tid, tid, KCMP_FILE, number, number) == 0 ? found->description
									 : NULL;
}

static bool same_group(const struct description *a, const struct description *b)
{
	return a->st.st_ino == b->st.st_ino && a->st.st_dev == b->st.st_dev && a->pos == b->pos &&
	       a->flags == b->flags && a->id == b->id;
}

static size_t bucket_of(const struct description *d)
{
	uint64_t hash = d->st.st_ino * 0x9e3779b97f4a7c15U;

	hash ^= (d->st.st_dev + d->pos * 31 + d->flags * 7 + d->id) * 0xc2b2ae3d27d4eb4fU;
	return (hash >> 40) % BUCKETS;
}

/* Where the description has its place in the trees: what is there is the same description. -errno
 * when that cannot be told. */
static int place_of(
	struct finder *finder, const struct description *fresh, struct description ***ret)
{
	struct description **place = &finder->buckets[bucket_of(fresh)];

	while (*place && !same_group(*place, fresh))
		place = &(*place)->bucket;
	while (*place) {
		long order = compare(
			(*place)->tid, fresh->tid, KCMP_FILE, (*place)->number, fresh->number);

		if (order < 0 || order > 2)
			return order < 0 ? (int)order : -EXDEV;
		if (order == 0)
			break;
		place = order == 1 ? &(*place)->more : &(*place)->less;
	}
	*ret = place;
	return 0;
}

/* Reads what the link, the inode and fdinfo say. -errno without an error: it may have gone. */
static int read_description(struct capture *capture, int dir, struct description *d)
{
	char name[32], link[PATH_MAX + 16];
	const char *field;
	size_t size;
	ssize_t len;
	int ret;

	snprintf(name, sizeof(name), "%d", d->number);
	len = readlinkat(dir, name, link, sizeof(link) - 1);
	if (len < 0 || fstatat(dir, name, &d->st, 0) < 0)
		return -errno;
	link[len] = '\0';
	d->link = arena_string(capture->arena, link);
	snprintf(name, sizeof(name), "fdinfo/%d", d->number);
	ret = proc_read(capture->arena, d->tid, name, &d->fdinfo, &size, NULL);
	if (ret < 0 || !d->link)
		return ret < 0 ? ret : -ENOMEM;
	if ((field = fdinfo_field(d->fdinfo, "pos:")))
		d->pos = strtoull(field, NULL, 10);
	if ((field = fdinfo_field(d->fdinfo, "flags:")))
		d->flags = (unsigned)strtoul(field, NULL, 8) & ~(unsigned)O_CLOEXEC;
	if ((field = fdinfo_field(d->fdinfo, "eventfd-id:")))
		d->id = strtoull(field, NULL, 10);
	return 0;
}

/* Notes a description that was not seen before, and says so when it cannot be captured. */
static void add_description(struct capture *capture, struct finder *finder,
	struct description **place, struct description *fresh)
{
	const char *why = NULL;

	*place = fresh;
	*finder->last = fresh;
	finder->last = &fresh->next;
	fresh->kind = open_kind_of(fresh, &why);
	if (!fresh->kind)
		refuse(capture->refusals, fresh->process, "descriptor %d is %s (%s)", fresh->number,
			why, fresh->link);
}

static int find_description(struct capture *capture, struct live_process *process, pid_t tid,
	int dir, struct descriptor *item)
{
	struct finder *finder = get_finder(capture);
	struct description *fresh, **place = NULL;
	int ret;

	item->description = inherited(process, tid, item->number);
	if (item->description)
		return 0;
	fresh = arena_alloc(capture->arena, sizeof(*fresh));
	if (!fresh)
		return fail(capture->err, ENOMEM, "no memory for descriptors");
	fresh->process = process;
	fresh->tid = tid;
	fresh->number = item->number;
	ret = read_description(capture, dir, fresh);
	if (ret == 0)
		ret = place_of(finder, fresh, &place);
	if (ret < 0 && (live_is_frozen(process) || ret == -ENOSYS || ret == -EPERM))
		return fail(capture->err, ret, "cannot look at descriptor %d", item->number);
	/* It was closed while it was looked at. */
	if (ret < 0 || !place)
		return 0;
	if (!*place)
		add_description(capture, finder, place, fresh);
	item->description = *place;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	return ((const struct descriptor *)a)->number - ((const struct descriptor *)b)->number;
}

/* Which numbers are in use: the names in /proc/PID/fd. -errno without an error. */
static int read_numbers(struct arena *arena, int dir, struct descriptor_table *table)
{
	_Alignas(8) char buffer[8192];
	size_t room = 0;
	long len;

	while ((len = syscall(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0) {
		const struct dirent64 *entry;

		for (long at = 0; at < len; at += entry->d_reclen) {
			entry = (const void *)(buffer + at);
			if (entry->d_name[0] == '.')
				continue;
			if (table->count == room) {
				struct descriptor *grown;

				room = room ? room * 2 : 16;
				grown = arena_alloc(arena, room * sizeof(*grown));
				if (!grown)
					return -ENOMEM;
				if (table->count)
					memcpy(grown, table->items, table->count * sizeof(*grown));
				table->items = grown;
			}
			table->items[table->count++].number = (int)strtol(entry->d_name, NULL, 10);
		}
	}
	if (table->count > 1)
		qsort(table->items, table->count, sizeof(*table->items), by_number);
	return len < 0 ? -errno : 0;
}

/* One table of descriptors for each process is what a restart makes. */
static void refuse_shared_tables(
	struct capture *capture, struct live_process *process, const struct live_thread *thread)
{
	const struct live_thread *parent = process->parent ? holder(process->parent) : NULL;

	if (parent && compare(parent->tid, thread->tid, KCMP_FILES, 0, 0) == 0)
		refuse(capture->refusals, process,
			"it shares its table of descriptors with its parent (CLONE_FILES)");
	for (size_t i = 0; i < process->nr_threads; i++) {
		const struct live_thread *other = &process->threads[i];

		if (other != thread && !other->dead &&
			compare(thread->tid, other->tid, KCMP_FILES, 0, 0) > 0)
			refuse(capture->refusals, process,
				"its thread %d has a table of descriptors of its own", other->tid);
	}
}

/* Takes out the descriptors that were closed while an unfrozen task was looked at. */
static void drop_gone(struct descriptor_table *table)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++)
		if (table->items[i].description)
			table->items[kept++] = table->items[i];
	table->count = kept;
}

int descriptions_survey(struct capture *capture, struct live_process *process)
{
	struct finder *finder = get_finder(capture);
	const struct live_thread *thread = holder(process);
	struct descriptor_table *table;
	_cleanup_close_ int dir = -1;
	int ret;

	table = arena_alloc(capture->arena, sizeof(*table));
	if (!finder || !table)
		return fail(capture->err, ENOMEM, "no memory for descriptors");
	if (finder->tree != capture->tree || process->index == 0) {
		memset(finder, 0, sizeof(*finder));
		finder->tree = capture->tree;
		finder->last = &finder->first;
	}
	process->notes[NOTE_DESCRIPTORS] = table;
	if (process->zombie || !thread)
		return 0;
	refuse_shared_tables(capture, process, thread);
	ret = dir = proc_open(thread->tid, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret >= 0)
		ret = read_numbers(capture->arena, dir, table);
	if (ret < 0)
		return live_is_frozen(process) || ret == -EACCES || ret == -EPERM
			       ? fail(capture->err, ret, "cannot list its descriptors")
			       : 0;
	for (size_t i = 0; i < table->count; i++) {
		ret = find_description(capture, process, thread->tid, dir, &table->items[i]);
		if (ret < 0)
			return ret;
	}
	drop_gone(table);
	return 0;
}
