// SPDX-License-Identifier: MIT
/* Pipes: made once, with what was in them; each description of an end is opened from that. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "state/open_file.h"

static int capture_pipe(struct capture *capture, struct description *d, OpenFile *ret)
{
	ret->kind = REPRISE__OPEN_FILE__KIND__PIPE;
	return pipe_refer(capture, d, ret);
}

static int make_pipe(struct restore *restore, const OpenFile *file, struct pipe_ends *ends)
{
	const Pipe *pipe = restore->snapshot->pipes[file->pipe];
	int ret;

	if (pipe2(ends->fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail(restore->err, errno, "cannot make a pipe");
	ends->made = true;
	/* Who may open it again by /proc/self/fd. */
	if ((pipe->uid != geteuid() || pipe->gid != getegid()) &&
		fchown(ends->fds[0], pipe->uid, pipe->gid) < 0)
		return fail(restore->err, errno, "cannot give a pipe to its owner");
	ret = pipe_fill(restore, pipe, ends->fds[1]);
	return ret;
}

static int open_pipe(struct restore *restore, const OpenFile *file)
{
	struct pipe_ends *ends = pipe_ends(restore, file);
	unsigned access = file->flags & O_ACCMODE;
	int side = access == O_WRONLY, fd, ret;

	if (!ends)
		return fail(restore->err, ENOMEM, "no memory for pipes");
	ret = ends->made ? 0 : make_pipe(restore, file, ends);
	if (ret < 0)
		return ret;
	if (access != O_RDWR && !ends->used[side]) {
		ends->used[side] = true;
		fd = ends->fds[side];
	} else {
		fd = open_again(restore, ends->fds[side], file->flags);
		if (fd < 0)
			return fd;
	}
	ret = open_set_flags(restore, fd, file->flags);
	if (ret < 0 && fd != ends->fds[side])
		close(fd);
	return ret < 0 ? ret : fd;
}

const struct open_kind pipe_kind = {
	.capture = capture_pipe, .check = pipe_check, .open = open_pipe};
