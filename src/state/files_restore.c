// SPDX-License-Identifier: MIT
/*
 * Files by path at a restart: checked all at once before any task exists, and opened when tasks are
 * there, through the root directory of a stub in the file's mount namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/content.h"
#include "state/files.h"
#include "state/files_table.h"

#define NOT_FOR_AGAIN (O_CREAT | O_EXCL | O_TRUNC | O_TMPFILE)
#define TRIES 100

/* Descriptors that stay open until the restart has ended; -1 where there is none. */
struct opened {
	int reading, writing, path;
	int made;    /* a deleted file, made again */
	int allowed; /* R_OK, W_OK: what is known of it */
};

struct table {
	struct opened *files;
	int *roots; /* of the mount namespaces */
	bool ready;
};

static const char table_key;

static struct table *table_of(struct restore *restore)
{
	struct table *table =
		kind_table_get(restore->arena, &restore->tables, &table_key, sizeof(*table));
	const Snapshot *snapshot = restore->snapshot;

	if (!table || table->ready)
		return table;
	table->files = arena_alloc(restore->arena, snapshot->n_files * sizeof(*table->files));
	table->roots =
		arena_alloc(restore->arena, snapshot->n_mount_namespaces * sizeof(*table->roots));
	if (!table->files || !table->roots)
		return NULL;
	for (size_t i = 0; i < snapshot->n_files; i++)
		table->files[i] = (struct opened){-1, -1, -1, -1, 0};
	for (size_t i = 0; i < snapshot->n_mount_namespaces; i++)
		table->roots[i] = -1;
	table->ready = true;
	return table;
}

void files_end(struct restore *restore)
{
	struct table *table = table_of(restore);

	for (size_t i = 0; table && i < restore->snapshot->n_files; i++) {
		close_ptr(&table->files[i].reading);
		close_ptr(&table->files[i].writing);
		close_ptr(&table->files[i].path);
		close_ptr(&table->files[i].made);
		table->files[i] = (struct opened){-1, -1, -1, -1, 0};
	}
	for (size_t i = 0; table && i < restore->snapshot->n_mount_namespaces; i++) {
		close_ptr(&table->roots[i]);
		table->roots[i] = -1;
	}
}

/* Why a file that is there is not the one of the image; NULL: it is. */
static const char *difference(const File *file, const struct stat *st, int fd)
{
	uint8_t id[64];

	if ((st->st_mode & S_IFMT) != (file->mode & S_IFMT))
		return "is of another type than at the checkpoint";
	if ((S_ISCHR(file->mode) || S_ISBLK(file->mode)) && st->st_rdev != file->rdev)
		return "is another device than at the checkpoint";
	if (!S_ISREG(file->mode))
		return NULL;
	if ((uint64_t)st->st_size < file->size)
		return "is shorter than at the checkpoint";
	if (!file->checked)
		return NULL;
	if ((uint64_t)st->st_size != file->size)
		return "has another size than at the checkpoint";
	/* What has a build id may have been installed anew. */
	if (file->build_id.len && fd >= 0) {
		size_t size = build_id_read(fd, id, sizeof(id));

		if (size != file->build_id.len || memcmp(id, file->build_id.data, size) != 0)
			return "has another build id than at the checkpoint";
		return NULL;
	}
	if (st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec != file->mtime)
		return "was changed after the checkpoint";
	return NULL;
}

struct findings {
	char text[900];
	size_t used, count;
};

static void found(struct findings *findings, const char *path, const char *what)
{
	int n;

	findings->count++;
	n = snprintf(findings->text + findings->used, sizeof(findings->text) - findings->used,
		"%s%s %s", findings->used ? "; " : "", path, what);
	if (n > 0 && (size_t)n < sizeof(findings->text) - findings->used)
		findings->used += (size_t)n;
	else
		findings->text[findings->used] = '\0';
}

static void check_one(struct restore *restore, const File *file, struct findings *findings)
{
	const char *path = path_outside(restore, file->mount_namespace, file->path);
	_cleanup_close_ int fd = -1;
	const char *what;
	struct stat st;

	if (!path || file->deleted)
		return;
	/* A link is referred to itself where it is open with O_PATH | O_NOFOLLOW. */
	if (fstatat(AT_FDCWD, path, &st, S_ISLNK(file->mode) ? AT_SYMLINK_NOFOLLOW : 0) < 0) {
		found(findings, path, errno == ENOENT ? "is missing" : strerror(errno));
		return;
	}
	if (file->build_id.len && S_ISREG(st.st_mode))
		fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	what = difference(file, &st, fd);
	if (what)
		found(findings, path, what);
}

int file_check(struct restore *restore)
{
	struct findings findings = {0};

	for (size_t i = 0; i < restore->snapshot->n_files; i++)
		check_one(restore, restore->snapshot->files[i], &findings);
	if (!findings.count)
		return 0;
	return fail(restore->err, 0, "%zu of the image's files cannot be used: %s", findings.count,
		findings.text);
}

int file_check_access(struct restore *restore, int32_t index, int flags)
{
	static const int modes[] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};
	struct table *table = table_of(restore);
	int mode = modes[flags & O_ACCMODE];
	const File *file;
	const char *path;

	if (!table)
		return fail(restore->err, ENOMEM, "cannot check files");
	if (index < 0 || (size_t)index >= restore->snapshot->n_files || flags & O_PATH ||
		(table->files[index].allowed & mode) == mode)
		return 0;
	file = restore->snapshot->files[index];
	path = file->deleted ? NULL : path_outside(restore, file->mount_namespace, file->path);
	if (path && faccessat(AT_FDCWD, path, mode, AT_EACCESS) < 0)
		return fail(restore->err, errno, "%s cannot be opened for %s", path,
			mode == R_OK ? "reading" : "writing");
	table->files[index].allowed |= mode;
	return 0;
}

/* The root directory of a mount namespace, seen through the first stub that is in it. */
static int root_of(struct restore *restore, int32_t mount_namespace)
{
	struct table *table = table_of(restore);
	const Snapshot *snapshot = restore->snapshot;
	char path[64];

	if (!table)
		return -ENOMEM;
	if (mount_namespace < 0)
		return AT_FDCWD;
	if (table->roots[mount_namespace] >= 0)
		return table->roots[mount_namespace];
	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const Process *process = snapshot->processes[i];
		int fd;

		if (process->mount_namespace != mount_namespace || !restore->leaders[i] ||
			process->state == REPRISE__PROCESS__STATE__ZOMBIE)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/root", restore->leaders[i]->tid);
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		table->roots[mount_namespace] = fd;
		return fd;
	}
	return -ESRCH;
}

/* open(2) below a root directory that links do not lead out of. */
static int open_below(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOCTTY),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = root == AT_FDCWD ? 0 : RESOLVE_IN_ROOT,
	};
	int fd;

	if (flags & O_PATH)
		how.flags &= (uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	do
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : fd;
}

/* Makes a file, directory or FIFO of this name in a directory, opens and unlinks it. */
static int make_and_unlink_as_is(int dir, const char *name, const File *file)
{
	mode_t mode = file->mode & 07777, type = file->mode & S_IFMT;
	int fd = -1, r = 0;

	if (type == S_IFREG)
		fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	else if (type == S_IFDIR)
		r = mkdirat(dir, name, 0700);
	else
		r = mknodat(dir, name, type | mode, (dev_t)file->rdev);
	if (r < 0 || (type == S_IFREG && fd < 0))
		return -errno;
	if (type != S_IFREG)
		fd = openat(dir, name,
			(type == S_IFDIR ? O_RDONLY | O_DIRECTORY : O_PATH) | O_NOFOLLOW |
				O_CLOEXEC);
	r = fd < 0 ? -errno : fd;
	unlinkat(dir, name, type == S_IFDIR ? AT_REMOVEDIR : 0);
	return r;
}

/* The file system of a user namespace takes only files of users that it knows (EOVERFLOW): for a
 * moment of the one whose the directory is. */
static int make_and_unlink(int dir, const char *name, const File *file)
{
	int fd = make_and_unlink_as_is(dir, name, file);
	struct stat st;

	if (fd != -EOVERFLOW || fstat(dir, &st) < 0)
		return fd;
	setfsgid(st.st_gid);
	setfsuid(st.st_uid);
	fd = make_and_unlink_as_is(dir, name, file);
	setfsuid(geteuid());
	setfsgid(getegid());
	return fd;
}

/* The directory that a deleted file was in; where that is gone as well, the nearest one above. */
static int open_parent(int root, const char *path)
{
	char parent[PATH_MAX];
	int dir = -ENAMETOOLONG;

	if (strlen(path) >= sizeof(parent))
		return dir;
	memcpy(parent, path, strlen(path) + 1);
	for (char *slash = strrchr(parent, '/'); slash; slash = strrchr(parent, '/')) {
		slash[slash == parent] = '\0';
		dir = open_below(root, parent, O_PATH | O_DIRECTORY, 0);
		if ((dir != -ENOENT && dir != -ENOTDIR) || slash == parent)
			break;
	}
	return dir;
}

/* A file of no name: under its old one while that is free, else under another for a moment. */
static int make_nameless(int root, const File *file)
{
	_cleanup_close_ int dir = open_parent(root, file->path);
	const char *slash = strrchr(file->path, '/');
	char name[64];
	int fd;

	if (dir < 0)
		return dir;
	if (!slash || !slash[1])
		return -EINVAL;
	fd = make_and_unlink(dir, slash + 1, file);
	for (int i = 0; i < TRIES && fd == -EEXIST; i++) {
		snprintf(name, sizeof(name), ".reprise-%d-%d", (int)getpid(), i);
		fd = make_and_unlink(dir, name, file);
	}
	return fd;
}

static int open_again_through(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return again < 0 ? -errno : again;
}

static int make_deleted(struct restore *restore, const File *file, int root)
{
	_cleanup_close_ int fd = make_nameless(root, file);
	int r;

	if (fd < 0)
		return fail(restore->err, fd, "cannot make the deleted file %s again", file->path);
	if (S_ISREG(file->mode)) {
		if (ftruncate(fd, (off_t)file->size) < 0)
			return fail(restore->err, errno, "cannot make the deleted file %s again",
				file->path);
		r = content_put_file(restore->image, file->pages, fd, file->size, restore->err);
		if (r < 0)
			return r;
	}
	if (S_ISREG(file->mode) || S_ISDIR(file->mode)) {
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
			{file->mtime / 1000000000, file->mtime % 1000000000}};

		if (fchown(fd, file->uid, file->gid) < 0 || fchmod(fd, file->mode & 07777) < 0)
			return fail(restore->err, errno,
				"cannot give the deleted file %s its owner and mode", file->path);
		futimens(fd, times);
	}
	if (!S_ISREG(file->mode))
		return take_fd(fd);
	/* What is open for writing cannot be an executable. */
	r = open_again_through(fd, O_RDONLY);
	return r < 0 ? fail(restore->err, r, "cannot open the deleted file %s", file->path) : r;
}

static int open_deleted(struct restore *restore, int32_t index, int root, int flags)
{
	struct opened *opened = &table_of(restore)->files[index];
	const File *file = restore->snapshot->files[index];
	int fd;

	if (opened->made < 0) {
		fd = make_deleted(restore, file, root);
		if (fd < 0)
			return fd;
		opened->made = fd;
	}
	fd = open_again_through(opened->made, flags & ~O_NOFOLLOW);
	return fd < 0 ? fail(restore->err, fd, "cannot open the deleted file %s", file->path) : fd;
}

int file_open(struct restore *restore, int32_t index, int flags)
{
	_cleanup_close_ int fd = -1;
	const File *file;
	const char *what;
	struct stat st;
	int root;

	if (index < 0 || (size_t)index >= restore->snapshot->n_files)
		return fail(restore->err, EBADF, "the image has no file %d", index);
	file = restore->snapshot->files[index];
	flags &= ~NOT_FOR_AGAIN | (flags & O_DIRECTORY);
	root = root_of(restore, file->mount_namespace);
	if (root < 0 && root != AT_FDCWD)
		return fail(
			restore->err, root, "cannot reach the root directory for %s", file->path);
	if (file->deleted)
		return open_deleted(restore, index, root, flags);
	fd = open_below(root, file->path, flags, 0);
	if (fd < 0)
		return fail(restore->err, fd, "cannot open %s", file->path);
	if (fstat(fd, &st) < 0)
		return fail(restore->err, errno, "cannot look at %s", file->path);
	what = flags & O_PATH && file->build_id.len ? NULL : difference(file, &st, fd);
	if (what)
		return fail(restore->err, 0, "%s %s", file->path, what);
	return take_fd(fd);
}

int file_shared(struct restore *restore, int32_t index, int flags)
{
	struct table *table = table_of(restore);
	int *fd;

	if (!table)
		return fail(restore->err, ENOMEM, "cannot open files");
	if (index < 0 || (size_t)index >= restore->snapshot->n_files)
		return fail(restore->err, EBADF, "the image has no file %d", index);
	if (flags & O_PATH)
		fd = &table->files[index].path;
	else if ((flags & O_ACCMODE) == O_RDONLY)
		fd = &table->files[index].reading;
	else
		fd = &table->files[index].writing;
	if (*fd < 0) {
		int opened = file_open(restore, index, flags);

		if (opened < 0)
			return opened;
		*fd = opened;
	}
	return *fd;
}
