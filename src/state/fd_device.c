// SPDX-License-Identifier: MIT
/* Devices that keep nothing between two calls: null, zero, full, random, urandom. */
#include <fcntl.h>
#include <unistd.h>

#include "state/files.h"
#include "state/open_file.h"

static int capture_device(struct capture *capture, struct description *d, OpenFile *ret)
{
	ret->kind = REPRISE__OPEN_FILE__KIND__DEVICE;
	return refer_to_file(capture, d, ret);
}

static int open_device(struct restore *restore, const OpenFile *file)
{
	unsigned drop = O_CREAT | O_EXCL | O_TRUNC | O_ASYNC;
	int fd = file_open(restore, file->file, (int)(file->flags & ~drop) | O_NOCTTY);
	int ret;

	if (fd < 0)
		return fail(restore->err, fd, "cannot open a device again");
	ret = open_set_flags(restore, fd, file->flags);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

const struct open_kind device_kind = {.capture = capture_device, .open = open_device};
