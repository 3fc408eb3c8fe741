// SPDX-License-Identifier: MIT
/*
 * The page file has no name until the commit, so that a writer that is killed leaves nothing
 * behind. The commit makes a folder under another name beside the image's, fills it, and renames
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/image.h"

struct image_writer {
	int parent_fd; /* the folder that the image's will be in */
	int pages_fd;
	char *name;
	char *temporary;
	bool made; /* the temporary folder exists */
	_Atomic uint64_t used;
};

static void remove_folder(int parent_fd, const char *name)
{
	_cleanup_close_ int fd =
		openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0) {
		unlinkat(fd, IMAGE_SNAPSHOT_NAME, 0);
		unlinkat(fd, IMAGE_PAGES_NAME, 0);
	}
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

/* Splits a path into the folder it is in and its last part. */
static int split(const char *path, char **ret_parent, char **ret_name)
{
	_cleanup_free_ char *copy = strdup(path);
	char *end, *slash;

	if (!copy)
		return -ENOMEM;
	for (end = copy + strlen(copy); end > copy + 1 && end[-1] == '/';)
		*--end = '\0';
	slash = strrchr(copy, '/');
	*ret_name = strdup(slash ? slash + 1 : copy);
	if (slash)
		slash[slash == copy ? 1 : 0] = '\0';
	*ret_parent = strdup(slash ? copy : ".");
	return *ret_parent && *ret_name ? 0 : -ENOMEM;
}

static int make_folder(struct image_writer *writer, struct reprise_error *err)
{
	if (writer->made)
		return 0;
	/* Left by a writer of the same number that was killed. */
	remove_folder(writer->parent_fd, writer->temporary);
	if (mkdirat(writer->parent_fd, writer->temporary, 0700) < 0)
		return fail(err, errno, "cannot create the folder %s", writer->temporary);
	writer->made = true;
	return 0;
}

static int open_pages(struct image_writer *writer, struct reprise_error *err)
{
	_cleanup_close_ int folder_fd = -1;
	int r;

	writer->pages_fd = openat(writer->parent_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (writer->pages_fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return fail(err, errno, "cannot create the page file of %s", writer->name);
	/* A file system without nameless files. */
	r = make_folder(writer, err);
	if (r < 0)
		return r;
	folder_fd = openat(writer->parent_fd, writer->temporary, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd >= 0)
		writer->pages_fd = openat(
			folder_fd, IMAGE_PAGES_NAME, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (writer->pages_fd < 0)
		return fail(err, errno, "cannot create the page file of %s", writer->name);
	return 0;
}

static int open_writer(struct image_writer *writer, const char *dir, struct reprise_error *err)
{
	_cleanup_free_ char *parent = NULL;
	struct stat st;

	if (split(dir, &parent, &writer->name) < 0 ||
		asprintf(&writer->temporary, ".%.200s.tmp-%d", writer->name, (int)getpid()) < 0)
		return fail(err, ENOMEM, "cannot write %s", dir);
	if (!writer->name[0] || strcmp(writer->name, ".") == 0 || strcmp(writer->name, "..") == 0)
		return fail(err, EEXIST, "cannot write the image %s", dir);
	writer->parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (writer->parent_fd < 0)
		return fail(err, errno, "cannot open the folder %s", parent);
	if (fstatat(writer->parent_fd, writer->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return fail(err, EEXIST, "cannot write the image %s", dir);
	return open_pages(writer, err);
}

int image_writer_open(const char *dir, struct image_writer **ret, struct reprise_error *err)
{
	struct image_writer *writer = calloc(1, sizeof(*writer));
	int r;

	if (!writer)
		return fail(err, ENOMEM, "cannot write %s", dir);
	writer->parent_fd = writer->pages_fd = -1;
	r = open_writer(writer, dir, err);
	if (r < 0) {
		image_writer_free(writer);
		return r;
	}
	*ret = writer;
	return 0;
}

void image_writer_free(struct image_writer *writer)
{
	if (!writer)
		return;
	if (writer->made)
		remove_folder(writer->parent_fd, writer->temporary);
	close_ptr(&writer->pages_fd);
	close_ptr(&writer->parent_fd);
	free(writer->name);
	free(writer->temporary);
	free(writer);
}

int image_writer_pages_fd(const struct image_writer *writer)
{
	return writer->pages_fd;
}

uint64_t image_writer_reserve(struct image_writer *writer, uint64_t size)
{
	return atomic_fetch_add(
		&writer->used, (size + IMAGE_PAGE - 1) & ~(uint64_t)(IMAGE_PAGE - 1));
}

/* pwritev whose parts are written short now and then. */
static int put_some(int fd, uint64_t offset, const struct iovec *iov, int count, size_t skip)
{
	struct iovec first = {(char *)iov->iov_base + skip, iov->iov_len - skip};
	ssize_t n;

	do {
		n = skip || count == 1
			    ? pwrite(fd, first.iov_base, first.iov_len, (off_t)offset)
			    : pwritev(fd, iov, count < IOV_MAX ? count : IOV_MAX, (off_t)offset);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ENOSPC;
	return n < 0 ? -errno : (int)n;
}

int image_writer_put(struct image_writer *writer, uint64_t offset, const struct iovec *iov,
	int count, struct reprise_error *err)
{
	size_t skip = 0; /* bytes of the first part that are written */

	while (count > 0) {
		int n;

		if (iov->iov_len == skip) {
			iov++, count--, skip = 0;
			continue;
		}
		n = put_some(writer->pages_fd, offset, iov, count, skip);
		if (n < 0)
			return fail(err, n, "cannot write the page file of %s", writer->name);
		offset += (uint64_t)n;
		for (skip += (size_t)n; count > 0 && skip >= iov->iov_len; iov++, count--)
			skip -= iov->iov_len;
	}
	return 0;
}

static int write_whole(int fd, const void *data, size_t size)
{
	const char *next = data;

	while (size) {
		ssize_t n = write(fd, next, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		next += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Header, table and body as one piece of memory. */
static int frame(struct image_writer *writer, const Snapshot *snapshot, char **ret,
	size_t *ret_size, struct reprise_error *err)
{
	uint64_t used = atomic_load(&writer->used);
	size_t table_size = (size_t)image_pieces(used) * sizeof(uint64_t);
	size_t body_size = reprise__snapshot__get_packed_size(snapshot);
	size_t size = sizeof(struct image_header) + table_size + body_size;
	struct image_header *header;
	char *data;
	int r;

	if (body_size > IMAGE_BODY_MAX || used > IMAGE_PAGES_MAX)
		return fail(err, EFBIG, "cannot write the image %s", writer->name);
	header = calloc(1, size);
	if (!header)
		return fail(err, ENOMEM, "cannot write the image %s", writer->name);
	data = (char *)header;
	r = image_hash_pages(writer->pages_fd, used, (uint64_t *)(data + sizeof(*header)), err);
	if (r < 0) {
		free(header);
		return r;
	}
	reprise__snapshot__pack(snapshot, (uint8_t *)data + sizeof(*header) + table_size);
	memcpy(header->magic, IMAGE_MAGIC, sizeof(header->magic));
	header->format = IMAGE_FORMAT;
	header->header_size = sizeof(*header);
	header->piece_size = IMAGE_PIECE;
	header->pages_size = used;
	header->body_size = body_size;
	header->table_hash = XXH3_64bits(data + sizeof(*header), table_size);
	header->body_hash = XXH3_64bits(data + sizeof(*header) + table_size, body_size);
	header->hash = XXH3_64bits(header, offsetof(struct image_header, hash));
	*ret = data;
	*ret_size = size;
	return 0;
}

static int name_pages(struct image_writer *writer, int folder_fd)
{
	char path[64];
	struct stat st;

	if (fstatat(folder_fd, IMAGE_PAGES_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", writer->pages_fd);
	return linkat(AT_FDCWD, path, folder_fd, IMAGE_PAGES_NAME, AT_SYMLINK_FOLLOW);
}

static int fill_folder(
	struct image_writer *writer, const char *data, size_t size, struct reprise_error *err)
{
	_cleanup_close_ int folder_fd = -1;
	_cleanup_close_ int fd = -1;
	int r;

	folder_fd =
		openat(writer->parent_fd, writer->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0)
		return fail(err, errno, "cannot open the folder %s", writer->temporary);
	if (name_pages(writer, folder_fd) < 0)
		return fail(err, errno, "cannot name the page file of %s", writer->name);
	fd = openat(folder_fd, IMAGE_SNAPSHOT_NAME, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(err, errno, "cannot create the metadata of %s", writer->name);
	r = write_whole(fd, data, size);
	if (r < 0)
		return fail(err, r, "cannot write the metadata of %s", writer->name);
	if (fsync(fd) < 0 || fsync(writer->pages_fd) < 0 || fsync(folder_fd) < 0)
		return fail(err, errno, "cannot bring the image %s to the disk", writer->name);
	return 0;
}

int image_writer_commit(
	struct image_writer *writer, const Snapshot *snapshot, struct reprise_error *err)
{
	_cleanup_free_ char *data = NULL;
	size_t size = 0;
	int r;

	/* What was reserved and not written is a hole. */
	if (ftruncate(writer->pages_fd, (off_t)atomic_load(&writer->used)) < 0)
		return fail(err, errno, "cannot write the page file of %s", writer->name);
	r = frame(writer, snapshot, &data, &size, err);
	if (r < 0)
		return r;
	r = make_folder(writer, err);
	if (r < 0)
		return r;
	r = fill_folder(writer, data, size, err);
	if (r < 0)
		return r;
	if (renameat2(writer->parent_fd, writer->temporary, writer->parent_fd, writer->name,
		    RENAME_NOREPLACE) < 0)
		return fail(err, errno, "cannot write the image %s", writer->name);
	writer->made = false;
	if (fsync(writer->parent_fd) < 0)
		return fail(err, errno, "cannot bring the image %s to the disk", writer->name);
	return 0;
}

void image_remove(const char *dir)
{
	remove_folder(AT_FDCWD, dir);
}
