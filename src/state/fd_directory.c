// SPDX-License-Identifier: MIT
/* Directories: the offset is where getdents(2) goes on. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "state/files.h"
#include "state/open_file.h"

static int capture_directory(struct capture *capture, struct description *d, OpenFile *ret)
{
	ret->kind = REPRISE__OPEN_FILE__KIND__DIRECTORY;
	return refer_to_file(capture, d, ret);
}

static int open_directory(struct restore *restore, const OpenFile *file)
{
	unsigned keep = file->flags & (unsigned)(O_NONBLOCK | O_NOATIME | O_APPEND);
	int fd = file_open(restore, file->file, (int)keep | O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return fail(restore->err, fd, "cannot open a directory again");
	if (file->offset && lseek(fd, (off_t)file->offset, SEEK_SET) < 0) {
		int ret = fail(restore->err, errno, "cannot set the offset of a directory");

		close(fd);
		return ret;
	}
	return fd;
}

const struct open_kind directory_kind = {.capture = capture_directory, .open = open_directory};
