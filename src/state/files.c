// SPDX-License-Identifier: MIT
/*
 * The table of files at a checkpoint. A file is told apart by mount namespace, path, device and
 * inode. What smaps says of an area (another device number on some file systems) is remembered too,
 * so that the libraries of a thousand tasks are looked at once.
 */
#include "state/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/content.h"
#include "state/files_table.h"
#include "state/kinds.h"
#include "task/proc.h"

#define BUCKETS 1024
#define DELETED " (deleted)"

struct known {
	uint64_t namespace, device, inode; /* as stat(2) says, or as smaps does */
	bool of_area;
	const char *path; /* as the link shows it */
	int32_t file;	  /* -1: possible, and not in the table yet */
	struct known *next;
};

struct table {
	struct known *buckets[BUCKETS];
	size_t *owners; /* of each file: index of a process that sees it */
	size_t room;
};

/* A file that is being looked at. */
struct look {
	struct live_process *process;
	pid_t tid;
	const char *link;
	const struct live_area *area; /* of a link in map_files, else NULL */
	char way[PATH_MAX + 64];      /* a path that leads to the file for the caller */
	char target[PATH_MAX + 16];
	char path[PATH_MAX];
	struct stat st;
	bool deleted;
	bool outside; /* not in its own mount namespace, but in the caller's */
};

static const char table_key;

static struct table *table_of(struct capture *capture)
{
	return kind_table_get(capture->arena, &capture->tables, &table_key, sizeof(struct table));
}

void area_link(const struct live_area *area, char *link, size_t size)
{
	snprintf(link, size, "map_files/%llx-%llx", (unsigned long long)area->start,
		(unsigned long long)area->end);
}

dev_t shared_memory_device(void)
{
	_cleanup_close_ int fd = memfd_create("reprise", MFD_CLOEXEC);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_dev : 0;
}

static struct known **bucket_of(struct table *table, const struct known *key)
{
	uint64_t hash = key->inode * 0x9e3779b97f4a7c15ull ^ key->device ^ key->namespace;

	return &table->buckets[(hash ^ hash >> 29) % BUCKETS];
}

static struct known *find(struct table *table, const struct known *key)
{
	struct known *known = *bucket_of(table, key);

	while (known &&
		(known->inode != key->inode || known->device != key->device ||
			known->namespace != key->namespace || known->of_area != key->of_area ||
			strcmp(known->path, key->path) != 0))
		known = known->next;
	return known;
}

static int remember(
	struct capture *capture, struct table *table, const struct known *key, int32_t file)
{
	struct known *known = find(table, key);

	if (!known) {
		known = arena_copy(capture->arena, key, sizeof(*key));
		if (known)
			known->path = arena_string(capture->arena, key->path);
		if (!known || !known->path)
			return fail(capture->err, ENOMEM, "cannot note a file");
		known->next = *bucket_of(table, key);
		*bucket_of(table, key) = known;
	}
	known->file = file;
	return 0;
}

/* What is at the path of a file now, as its process sees it: paths in links are from the root of
 * the mount namespace, which a process with a root of its own sees only below that. */
static int stat_at_path(const struct look *look, const char *path, struct stat *ret)
{
	char root[PATH_MAX], name[PATH_MAX + 32];
	ssize_t length = proc_link(look->tid, "root", root, sizeof(root));

	if (length < 0)
		return (int)length;
	if (length == 1)
		length = 0;
	if (strncmp(path, root, (size_t)length) != 0 ||
		(length && path[length] != '/' && path[length] != '\0'))
		return -EXDEV;
	snprintf(name, sizeof(name), "/proc/%d/root/%s", look->tid, path + length);
	return lstat(name, ret) < 0 ? -errno : 0;
}

static bool is_at_path(const struct look *look, const char *path)
{
	struct stat st;
	int r = stat_at_path(look, path, &st);

	return r == -EXDEV ||
	       (r == 0 && st.st_dev == look->st.st_dev && st.st_ino == look->st.st_ino);
}

/* Follows the link. -EMEDIUMTYPE: to something without a path. */
static int follow(struct look *look)
{
	ssize_t length = proc_link(look->tid, look->link, look->target, sizeof(look->target));

	if (length < 0)
		return (int)length;
	/* A memfd looks like a deleted file, and is none. */
	if (look->target[0] != '/' || strncmp(look->target, "/memfd:", 7) == 0)
		return -EMEDIUMTYPE;
	snprintf(look->way, sizeof(look->way), "/proc/%d/%s", look->tid, look->link);
	if (stat(look->way, &look->st) == 0)
		return 0;
	if (errno != EPERM || !look->area)
		return -errno;
	if (!mapped_way(look->tid, look->area, look->way, sizeof(look->way)))
		return -EPERM;
	return stat(look->way, &look->st) < 0 ? -errno : 0;
}

/* What was opened before the roots were changed is still where the caller sees it. */
static bool is_outside(struct look *look)
{
	struct stat st;

	look->outside = stat(look->path, &st) == 0 && st.st_dev == look->st.st_dev &&
			st.st_ino == look->st.st_ino;
	return look->outside;
}

/* Finds out at which path the file is, or was. */
static int place(struct look *look)
{
	size_t length = strlen(look->target), suffix = strlen(DELETED);

	if (length >= sizeof(look->path))
		return -ENAMETOOLONG;
	memcpy(look->path, look->target, length + 1);
	if (length <= suffix || strcmp(look->target + length - suffix, DELETED) != 0)
		return is_at_path(look, look->path) || is_outside(look) ? 0 : -ESTALE;
	look->deleted = look->st.st_nlink == 0 || !is_at_path(look, look->path);
	if (look->deleted)
		look->path[length - suffix] = '\0';
	return 0;
}

/* File systems whose files are made up as they are read. */
static bool is_made_up(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	return fs.f_type == 0x9fa0 /* proc */ || fs.f_type == 0x62656572 /* sysfs */ ||
	       fs.f_type == 0x63677270 /* cgroup2 */ || fs.f_type == 0x64626720 /* debugfs */ ||
	       fs.f_type == 0x74726163 /* tracefs */;
}

static int look_inside(struct capture *capture, const struct look *look, File *file)
{
	_cleanup_close_ int fd = open(look->way, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	uint8_t id[64];
	size_t size;

	if (fd < 0)
		return fail(capture->err, errno, "cannot read the file %s", look->path);
	if (look->deleted)
		return content_take_file(capture, fd, file->size, &file->pages);
	file->checked = !is_made_up(fd);
	size = file->checked ? build_id_read(fd, id, sizeof(id)) : 0;
	if (size) {
		file->build_id.data = arena_copy(capture->arena, id, size);
		file->build_id.len = file->build_id.data ? size : 0;
	}
	return 0;
}

static int add(struct capture *capture, struct table *table, const struct look *look, int32_t *ret)
{
	Snapshot *snapshot = capture->snapshot;
	File *file = MESSAGE_NEW(capture->arena, File, file);
	const struct stat *st = &look->st;
	int r;

	if (!file)
		return fail(capture->err, ENOMEM, "cannot note a file");
	file->path = arena_string(capture->arena, look->path);
	file->mount_namespace = -1;
	file->mode = st->st_mode;
	file->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	file->mtime = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
	file->device = st->st_dev;
	file->inode = st->st_ino;
	file->rdev = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0;
	file->uid = st->st_uid;
	file->gid = st->st_gid;
	file->deleted = look->deleted;
	if (S_ISREG(st->st_mode) && (r = look_inside(capture, look, file)) < 0)
		return r;
	if (snapshot->n_files == table->room) {
		size_t room = table->room ? table->room * 2 : 64;
		size_t *grown = arena_alloc(capture->arena, room * sizeof(*grown));

		if (!grown)
			return fail(capture->err, ENOMEM, "cannot note a file");
		if (table->room)
			memcpy(grown, table->owners, table->room * sizeof(*grown));
		table->owners = grown;
		table->room = room;
	}
	table->owners[snapshot->n_files] = look->outside ? SIZE_MAX : look->process->index;
	*ret = (int32_t)snapshot->n_files;
	if (!file->path || MESSAGE_ADD(capture->arena, snapshot, files, file) < 0)
		return fail(capture->err, ENOMEM, "cannot note a file");
	return 0;
}

/* look: what is looked for; the rest of it is filled in. */
static int refer(struct capture *capture, struct look *look, bool note, int32_t *ret)
{
	struct table *table = table_of(capture);
	struct known key = {0}, *known;
	int r;

	look->tid = live_tid(look->process);
	if (!table)
		return fail(capture->err, ENOMEM, "cannot note a file");
	r = follow(look);
	if (r < 0)
		return r;
	key.namespace = live_namespace(look->process, LIVE_MOUNT);
	key.device = look->st.st_dev;
	key.inode = look->st.st_ino;
	key.path = look->target;
	known = find(table, &key);
	if (known && (known->file >= 0 || !note)) {
		*ret = known->file;
		return 0;
	}
	r = place(look);
	/* A running program may have unlinked it after the first look. */
	for (int i = 0; r == -ESTALE && i < 3; i++) {
		r = follow(look);
		r = r < 0 ? r : place(look);
	}
	*ret = -1;
	if (r == 0 && note)
		r = add(capture, table, look, ret);
	return r < 0 ? r : remember(capture, table, &key, *ret);
}

static int refer_and_say(struct capture *capture, struct look *look, int32_t *ret)
{
	int r = refer(capture, look, true, ret);

	if (r < 0 && r != -EMEDIUMTYPE)
		return fail(capture->err, r, "the file %s of %s",
			look->target[0] ? look->target : "behind", look->link);
	return r;
}

int file_refer(
	struct capture *capture, struct live_process *process, const char *link, int32_t *ret)
{
	struct look look = {.process = process, .link = link};

	return refer_and_say(capture, &look, ret);
}

static struct known area_key(struct live_process *process, const struct live_area *area)
{
	return (struct known){.namespace = live_namespace(process, LIVE_MOUNT),
		.device = (uint64_t)area->major << 32 | area->minor,
		.inode = area->inode,
		.of_area = true,
		.path = area->path};
}

int file_refer_area(struct capture *capture, struct live_process *process,
	const struct live_area *area, int32_t *ret)
{
	struct table *table = table_of(capture);
	struct known key = area_key(process, area), *known = table ? find(table, &key) : NULL;
	char link[64];
	struct look look = {.process = process, .link = link, .area = area};
	int r;

	if (known && known->file >= 0) {
		*ret = known->file;
		return 0;
	}
	area_link(area, link, sizeof(link));
	r = refer_and_say(capture, &look, ret);
	return r < 0 ? r : remember(capture, table, &key, *ret);
}

bool file_area_possible(struct capture *capture, struct live_process *process,
	const struct live_area *area, const char **ret_why)
{
	struct table *table = table_of(capture);
	struct known key = area_key(process, area);
	char link[64];
	struct look look = {.process = process, .link = link, .area = area};
	int32_t file;
	int r;

	if (!table || find(table, &key))
		return true;
	area_link(area, link, sizeof(link));
	r = refer(capture, &look, false, &file);
	if (r == -ENOENT || r == -ESRCH)
		return true; /* a running program has unmapped it */
	if (r == -ESTALE)
		*ret_why = "is hidden below a mount, or is no longer the file at its path";
	else if (r == -EPERM)
		*ret_why = "is of a file that is no longer at its path, which takes "
			   "CAP_CHECKPOINT_RESTORE outside of any user namespace";
	else if (r < 0)
		*ret_why = strerror(-r);
	else if (S_ISREG(look.st.st_mode) ||
		 (S_ISCHR(look.st.st_mode) && look.st.st_rdev == makedev(1, 5)))
		return remember(capture, table, &key, -1) == 0;
	else
		*ret_why = "is a device";
	return false;
}

void file_written(struct capture *capture, int32_t file)
{
	if (file >= 0 && (size_t)file < capture->snapshot->n_files)
		capture->snapshot->files[file]->checked = false;
}

/* Processes know their mount namespaces when all of them have been taken. */
static int files_take_shared(struct capture *capture)
{
	struct table *table = table_of(capture);
	Snapshot *snapshot = capture->snapshot;

	for (size_t i = 0; table && i < snapshot->n_files && i < table->room; i++)
		if (table->owners[i] < snapshot->n_processes)
			snapshot->files[i]->mount_namespace =
				snapshot->processes[table->owners[i]]->mount_namespace;
	return 0;
}

const struct state_kind files_kind = {
	.name = "files",
	.take_shared = files_take_shared,
	.check = file_check,
	.end = files_end,
};
