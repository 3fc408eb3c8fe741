// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/image.h"

/* Opens a regular file of the folder. Nothing that blocks or that a link leads to. */
static int open_part(int dir_fd, const char *dir, const char *name, uint64_t *ret_size,
	struct reprise_error *err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return bad_image(err, "%s is not an image: it has no file %s", dir, name);
	if (fd < 0)
		return fail(err, errno, "cannot open %s/%s", dir, name);
	if (fstat(fd, &st) < 0)
		return fail(err, errno, "cannot look at %s/%s", dir, name);
	if (!S_ISREG(st.st_mode))
		return bad_image(err, "%s is not an image: %s is no regular file", dir, name);
	*ret_size = (uint64_t)st.st_size;
	return take_fd(fd);
}

static int read_metadata(
	int dir_fd, const char *dir, char **ret, size_t *ret_size, struct reprise_error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *data = NULL;
	uint64_t size;
	size_t done = 0;

	fd = open_part(dir_fd, dir, IMAGE_SNAPSHOT_NAME, &size, err);
	if (fd < 0)
		return fd;
	if (size > IMAGE_BODY_MAX * 2)
		return bad_image(err, "the image's metadata is too large");
	/* One more byte: a file that has grown meanwhile is noticed. */
	data = malloc(size + 1);
	if (!data)
		return fail(err, ENOMEM, "cannot read %s", dir);
	while (done <= size) {
		ssize_t n = read(fd, data + done, size + 1 - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(err, errno, "cannot read %s/%s", dir, IMAGE_SNAPSHOT_NAME);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret_size = done;
	*ret = take_ptr(data);
	return 0;
}

static int check_pages(const struct image *image, const void *data, struct reprise_error *err)
{
	uint64_t pieces = image_pieces(image->pages_size);
	_cleanup_free_ uint64_t *found = malloc(pieces * sizeof(uint64_t) + 1);
	const char *wanted = (const char *)data + sizeof(struct image_header);
	int r;

	if (!found)
		return fail(err, ENOMEM, "cannot check the page file");
	r = image_hash_pages(image->pages_fd, image->pages_size, found, err);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < pieces; i++)
		if (memcmp(&found[i], wanted + i * sizeof(uint64_t), sizeof(uint64_t)) != 0)
			return bad_image(err,
				"the page file has been changed: the checksum of MiB %llu is wrong",
				(unsigned long long)i);
	return 0;
}

static int read_parts(
	struct image *image, const char *dir, bool with_pages, struct reprise_error *err)
{
	_cleanup_close_ int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *data = NULL;
	size_t size = 0;
	int r;

	if (dir_fd < 0)
		return fail(err, errno, "cannot open the image %s", dir);
	r = read_metadata(dir_fd, dir, &data, &size, err);
	if (r < 0)
		return r;
	image->pages_fd = open_part(dir_fd, dir, IMAGE_PAGES_NAME, &image->pages_size, err);
	if (image->pages_fd < 0)
		return image->pages_fd;
	r = image_parse(image->arena, data, size, image->pages_size, &image->snapshot, err);
	if (r < 0)
		return r;
	return with_pages ? check_pages(image, data, err) : 0;
}

int image_read(const char *dir, bool check_pages_too, struct image **ret, struct reprise_error *err)
{
	struct image *image = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return fail(err, ENOMEM, "cannot read %s", dir);
	image->pages_fd = -1;
	image->arena = arena_new();
	r = image->arena ? read_parts(image, dir, check_pages_too, err)
			 : fail(err, ENOMEM, "cannot read %s", dir);
	if (r < 0) {
		image_free(image);
		return r;
	}
	*ret = image;
	return 0;
}

void image_free(struct image *image)
{
	if (!image)
		return;
	close_ptr(&image->pages_fd);
	arena_free(image->arena);
	free(image);
}
