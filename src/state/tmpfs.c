/* SPDX-License-Identifier: MIT */
/* What is in a tmpfs: every file of it, walked through /proc/PID/root from outside. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/content.h"
#include "state/mountinfo.h"
#include "state/mounts.h"

#define MAX_ATTRIBUTES 65536

struct walk {
	struct capture *capture;
	Mount *mount;
	dev_t device;
	struct {
		ino_t inode;
		int32_t entry;
	} * links;
	size_t n_links;
};

/* Files with several names: the first of them is the entry, the others are links to it. */
static int32_t earlier_link(struct walk *walk, const struct stat *st)
{
	struct arena *arena = walk->capture->arena;
	size_t count = walk->n_links;

	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (walk->links[i].inode == st->st_ino)
			return walk->links[i].entry;
	if ((count & (count - 1)) == 0) {
		void *grown = arena_alloc(arena, (count ? count * 2 : 1) * sizeof(*walk->links));

		if (!grown)
			return -1;
		if (count)
			memcpy(grown, walk->links, count * sizeof(*walk->links));
		walk->links = grown;
	}
	walk->links[count].inode = st->st_ino;
	walk->links[count].entry = (int32_t)walk->mount->n_entries;
	walk->n_links++;
	return -1;
}

static int take_attributes(struct walk *walk, const char *path, TmpfsEntry *entry)
{
	struct arena *arena = walk->capture->arena;
	_cleanup_free_ char *names = malloc(MAX_ATTRIBUTES), *value = malloc(MAX_ATTRIBUTES);
	ssize_t size = names && value ? llistxattr(path, names, MAX_ATTRIBUTES) : -1;
	size_t n_values = 0;

	for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t length = lgetxattr(path, name, value, MAX_ATTRIBUTES);
		ProtobufCBinaryData data = {.len = (size_t)(length > 0 ? length : 0)};
		ProtobufCBinaryData *grown;

		if (length < 0)
			continue;
		data.data = arena_copy(arena, value, data.len);
		grown = arena_alloc(arena, (n_values + 1) * sizeof(*grown));
		if (!data.data || !grown ||
			MESSAGE_ADD(arena, entry, xattr_names, (void *)arena_string(arena, name)) <
				0)
			return -ENOMEM;
		if (n_values)
			memcpy(grown, entry->xattr_values, n_values * sizeof(*grown));
		grown[n_values++] = data;
		entry->xattr_values = grown;
		entry->n_xattr_values = n_values;
	}
	return 0;
}

static int take_content(
	struct walk *walk, const char *path, const struct stat *st, TmpfsEntry *entry)
{
	struct arena *arena = walk->capture->arena;

	if (S_ISLNK(st->st_mode)) {
		char target[4097];
		ssize_t length = readlink(path, target, sizeof(target) - 1);

		if (length < 0)
			return -errno;
		target[length] = '\0';
		entry->target = arena_string(arena, target);
		return entry->target ? 0 : -ENOMEM;
	}
	if (S_ISREG(st->st_mode) && st->st_size) {
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			return -errno;
		entry->size = (uint64_t)st->st_size;
		return content_take_file(walk->capture, fd, entry->size, &entry->pages);
	}
	return 0;
}

static int take_entry(struct walk *walk, const char *path, const char *name, const struct stat *st)
{
	struct arena *arena = walk->capture->arena;
	TmpfsEntry *entry = MESSAGE_NEW(arena, TmpfsEntry, tmpfs_entry);
	int ret = 0;

	if (!entry)
		return -ENOMEM;
	entry->path = (char *)name;
	entry->mode = st->st_mode;
	entry->uid = st->st_uid;
	entry->gid = st->st_gid;
	entry->rdev = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0;
	entry->mtime = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
	entry->link = earlier_link(walk, st);
	if (entry->link < 0)
		ret = take_content(walk, path, st, entry);
	if (ret == 0 && entry->link < 0)
		ret = take_attributes(walk, path, entry);
	return ret == 0 ? MESSAGE_ADD(arena, walk->mount, entries, entry) : ret;
}

/* name: the path in the file system, which starts with a slash; "" for its root. */
static int take_directory(struct walk *walk, const char *path, const char *name)
{
	struct arena *arena = walk->capture->arena;
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *found;
	int ret = 0;

	if (!dir)
		return -errno;
	while (ret == 0 && (found = readdir(dir))) {
		const char *below, *child;
		struct stat st;

		if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
			continue;
		below = arena_printf(arena, "%s/%s", path, found->d_name);
		child = arena_printf(arena, "%s/%s", name, found->d_name);
		if (!below || !child)
			return -ENOMEM;
		if (lstat(below, &st) < 0)
			return -errno;
		if (st.st_dev != walk->device) {
			/* Something is mounted there: only the place for it is this tmpfs's. */
			st.st_mode = S_ISDIR(st.st_mode) ? S_IFDIR | 0755 : S_IFREG | 0644;
			st.st_size = 0;
			st.st_nlink = 1;
			st.st_uid = st.st_gid = 0;
			ret = take_entry(walk, "/dev/null", child, &st);
			continue;
		}
		ret = take_entry(walk, below, child, &st);
		if (ret == 0 && S_ISDIR(st.st_mode))
			ret = take_directory(walk, below, child);
	}
	return ret;
}

int tmpfs_take(struct capture *capture, pid_t task, Mount *mount)
{
	struct walk walk = {.capture = capture, .mount = mount};
	const char *path = arena_printf(capture->arena, "/proc/%d/root%s", task, mount->point);
	struct stat st;
	int ret;

	if (!path)
		return -ENOMEM;
	if (lstat(path, &st) < 0)
		return fail(capture->err, errno, "cannot look into the tmpfs at %s", mount->point);
	walk.device = st.st_dev;
	ret = take_entry(&walk, path, "/", &st);
	if (ret == 0)
		ret = take_directory(&walk, path, "");
	return ret < 0 ? fail(capture->err, ret, "cannot save the tmpfs at %s", mount->point) : 0;
}

/* ---- and back ---- */

static int make_node(struct restore *restore, const Mount *mount, const TmpfsEntry *entry,
	const char *root, const char *path)
{
	_cleanup_close_ int fd = -1;
	char first[4400];

	if (entry->link >= 0) {
		snprintf(first, sizeof(first), "%s%s", root, mount->entries[entry->link]->path);
		return linkat(AT_FDCWD, first, AT_FDCWD, path, 0) < 0 ? -errno : 0;
	}
	switch (entry->mode & S_IFMT) {
	case S_IFDIR:
		return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
	case S_IFLNK:
		return symlink(entry->target, path) < 0 ? -errno : 0;
	case S_IFREG:
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, (off_t)entry->size) < 0)
			return -errno;
		return entry->pages ? content_put_file(restore->image, entry->pages, fd,
					      entry->size, restore->err)
				    : 0;
	default:
		return mknod(path, entry->mode, entry->rdev) < 0 ? -errno : 0;
	}
}

static int make_owned(const TmpfsEntry *entry, const char *path)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
		{.tv_sec = entry->mtime / 1000000000, .tv_nsec = entry->mtime % 1000000000}};

	if (entry->link >= 0)
		return 0;
	if (lchown(path, entry->uid, entry->gid) < 0)
		return -errno;
	if ((entry->mode & S_IFMT) != S_IFLNK && chmod(path, entry->mode & 07777) < 0)
		return -errno;
	for (size_t i = 0; i < entry->n_xattr_names; i++)
		if (lsetxattr(path, entry->xattr_names[i], entry->xattr_values[i].data,
			    entry->xattr_values[i].len, 0) < 0)
			return -errno;
	return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* A tmpfs of a user namespace takes only files of users that are known there. Its root is of one:
 * of the stub that has mounted it. Back with false. */
static void make_as_owner(const char *root, bool owner)
{
	struct stat st = {.st_uid = geteuid(), .st_gid = getegid()};

	if (owner && stat(root, &st) < 0)
		return;
	setfsgid(st.st_gid);
	setfsuid(st.st_uid);
}

static int make_nodes(struct restore *restore, const Mount *mount, const char *root)
{
	char path[8400];
	int ret = 0;

	make_as_owner(root, true);
	for (size_t i = 0; i < mount->n_entries && ret == 0; i++) {
		snprintf(path, sizeof(path), "%s%s", root, mount->entries[i]->path);
		ret = make_node(restore, mount, mount->entries[i], root, path);
		if (ret < 0)
			fail(restore->err, ret, "cannot make %s again in the tmpfs at %s",
				mount->entries[i]->path, mount->point);
	}
	make_as_owner(root, false);
	return ret;
}

int tmpfs_fill(struct restore *restore, pid_t task, const char *point, const Mount *mount)
{
	char root[4200], path[8400];
	int result;

	snprintf(root, sizeof(root), "/proc/%d/root%s", task, point);
	result = make_nodes(restore, mount, root);
	if (result < 0)
		return result;
	/* Directories last of all: their times change with what is made in them. */
	for (size_t i = mount->n_entries; i-- > 0;) {
		int ret;

		snprintf(path, sizeof(path), "%s%s", root, mount->entries[i]->path);
		ret = make_owned(mount->entries[i], path);
		if (ret < 0)
			return fail(restore->err, ret,
				"cannot set the owner of %s in the tmpfs at %s",
				mount->entries[i]->path, mount->point);
	}
	return 0;
}
