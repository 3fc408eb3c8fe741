// SPDX-License-Identifier: MIT
/* Regular files, by path; those without a path any more come with their content (files.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "state/files.h"
#include "state/open_file.h"

/* Flags that open(2) leaves behind and that would do something else when used again. */
#define NOT_AGAIN ((unsigned)(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_TMPFILE | O_ASYNC))

int refer_to_file(struct capture *capture, struct description *d, OpenFile *ret)
{
	char link[32];
	int error;

	snprintf(link, sizeof(link), "fd/%d", d->number);
	error = file_refer(capture, d->process, link, &ret->file);
	if (error < 0)
		return fail(capture->err, error, "descriptor %d (%s) cannot be opened by a path",
			d->number, d->link);
	return 0;
}

static int capture_regular(struct capture *capture, struct description *d, OpenFile *ret)
{
	int error = refer_to_file(capture, d, ret);

	ret->kind = REPRISE__OPEN_FILE__KIND__REGULAR;
	if (error == 0 && (d->flags & O_ACCMODE) != O_RDONLY)
		file_written(capture, ret->file);
	return error;
}

static int open_regular(struct restore *restore, const OpenFile *file)
{
	int fd = file_open(restore, file->file, (int)(file->flags & ~NOT_AGAIN));
	int ret;

	if (fd < 0)
		return fail(restore->err, fd, "cannot open a file again");
	if (lseek(fd, (off_t)file->offset, SEEK_SET) < 0 && file->offset) {
		ret = fail(restore->err, errno, "cannot set the offset of a file");
		close(fd);
		return ret;
	}
	ret = open_set_flags(restore, fd, file->flags);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

static int check_regular(struct restore *restore, const OpenFile *file)
{
	return file_check_access(restore, file->file, (int)file->flags);
}

const struct open_kind regular_kind = {
	.capture = capture_regular, .check = check_regular, .open = open_regular};
