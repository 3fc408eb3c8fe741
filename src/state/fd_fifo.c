// SPDX-License-Identifier: MIT
/* FIFOs: pipes with a path. An end held for both directions keeps the others from waiting. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "state/files.h"
#include "state/open_file.h"

static int capture_fifo(struct capture *capture, struct description *d, OpenFile *ret)
{
	int error = refer_to_file(capture, d, ret);

	ret->kind = REPRISE__OPEN_FILE__KIND__FIFO;
	if (error == 0)
		file_written(capture, ret->file);
	return error < 0 ? error : pipe_refer(capture, d, ret);
}

static int open_fifo(struct restore *restore, const OpenFile *file)
{
	struct pipe_ends *ends = pipe_ends(restore, file);
	int fd, ret;

	if (!ends)
		return fail(restore->err, ENOMEM, "no memory for pipes");
	if (!ends->made) {
		fd = file_open(restore, file->file, O_RDWR | O_NONBLOCK);
		if (fd < 0)
			return fail(restore->err, fd, "cannot open a FIFO again");
		*ends = (struct pipe_ends){.made = true, .fds = {fd, -1}};
		ret = pipe_fill(restore, restore->snapshot->pipes[file->pipe], fd);
		if (ret < 0)
			return ret;
	}
	fd = open_again(restore, ends->fds[0], file->flags);
	if (fd < 0)
		return fd;
	ret = open_set_flags(restore, fd, file->flags);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

const struct open_kind fifo_kind = {
	.capture = capture_fifo, .check = pipe_check, .open = open_fifo};
