// SPDX-License-Identifier: MIT
/* memfd_create(2): the object is one of the shared memory of the image (shared_memory.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "state/open_file.h"
#include "state/shared_memory.h"

static int capture_memfd(struct capture *capture, struct description *d, OpenFile *ret)
{
	uint32_t index;
	char link[32];
	int error;

	snprintf(link, sizeof(link), "fd/%d", d->number);
	error = shared_memory_refer(capture, d->process, link, NULL, &index);
	if (error < 0)
		return fail(capture->err, error, "descriptor %d (%s)", d->number, d->link);
	ret->kind = REPRISE__OPEN_FILE__KIND__MEMFD;
	ret->shared_memory = (int32_t)index;
	return 0;
}

static int open_memfd(struct restore *restore, const OpenFile *file)
{
	unsigned drop = O_CREAT | O_EXCL | O_TRUNC | O_ASYNC;
	int fd = shared_memory_open(
		restore, (uint32_t)file->shared_memory, (int)(file->flags & ~drop) | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return fail(restore->err, fd, "cannot make a memfd");
	if (file->offset && lseek(fd, (off_t)file->offset, SEEK_SET) < 0)
		ret = fail(restore->err, errno, "cannot set the offset of a memfd");
	else
		ret = open_set_flags(restore, fd, file->flags);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

const struct open_kind memfd_kind = {.capture = capture_memfd, .open = open_memfd};
