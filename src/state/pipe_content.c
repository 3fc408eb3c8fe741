// SPDX-License-Identifier: MIT
/*
 * What is in a pipe or FIFO. tee(2) copies it into a pipe of the controller's own without taking
 * anything out, packets included, and from there it is read into the page file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/open_file.h"

#define PACKET_MAX 4096 /* PIPE_BUF: a longer write makes several packets */

/* A pipe of the tree, by inode, and who can read from it. */
struct seen_pipe {
	dev_t dev;
	ino_t ino;
	uint32_t index;
	Pipe *message;
	const struct description *any, *reader; /* reader: NULL when all ends write */
	struct seen_pipe *next;
};

#define BUCKETS 1024
struct seen_pipes {
	struct seen_pipe *buckets[BUCKETS];
};
static const char seen_key, ends_key;

static struct seen_pipe *add_pipe(struct capture *capture, const struct description *d)
{
	struct seen_pipe *pipe = arena_alloc(capture->arena, sizeof(*pipe));
	Pipe *message = MESSAGE_NEW(capture->arena, Pipe, pipe);

	if (!pipe || !message)
		return NULL;
	pipe->index = (uint32_t)capture->snapshot->n_pipes;
	if (MESSAGE_ADD(capture->arena, capture->snapshot, pipes, message) < 0)
		return NULL;
	message->uid = d->st.st_uid;
	message->gid = d->st.st_gid;
	pipe->dev = d->st.st_dev;
	pipe->ino = d->st.st_ino;
	pipe->message = message;
	pipe->any = d;
	return pipe;
}

int pipe_refer(struct capture *capture, struct description *d, OpenFile *ret)
{
	struct seen_pipes *seen =
		kind_table_get(capture->arena, &capture->tables, &seen_key, sizeof(*seen));
	struct seen_pipe **place;

	if (!seen)
		return fail(capture->err, ENOMEM, "no memory for pipes");
	place = &seen->buckets[(d->st.st_ino * 31 + d->st.st_dev) % BUCKETS];
	while (*place && ((*place)->ino != d->st.st_ino || (*place)->dev != d->st.st_dev))
		place = &(*place)->next;
	if (!*place)
		*place = add_pipe(capture, d);
	if (!*place)
		return fail(capture->err, ENOMEM, "no memory for pipes");
	if ((d->flags & O_ACCMODE) != O_WRONLY)
		(*place)->reader = d;
	if (d->flags & O_DIRECT)
		(*place)->message->packets = true;
	ret->pipe = (int32_t)(*place)->index;
	return 0;
}

/* Reads length bytes from the copy; in a packet pipe each read gives one packet. */
static int read_copy(struct capture *capture, Pipe *pipe, int fd, char *bytes)
{
	uint32_t *sizes = NULL;
	uint64_t done = 0;

	if (pipe->packets) {
		sizes = arena_alloc(capture->arena, pipe->length * sizeof(*sizes));
		if (!sizes)
			return -ENOMEM;
		pipe->packet_sizes = sizes;
	}
	while (done < pipe->length) {
		uint64_t left = pipe->length - done;
		ssize_t len = read(
			fd, bytes + done, pipe->packets && left > PACKET_MAX ? PACKET_MAX : left);

		if (len <= 0)
			return len < 0 ? -errno : -EIO;
		done += (uint64_t)len;
		if (sizes)
			sizes[pipe->n_packet_sizes++] = (uint32_t)len;
	}
	return 0;
}

static int save_copy(struct capture *capture, Pipe *pipe, int fd)
{
	_cleanup_free_ char *bytes = malloc(pipe->length);
	struct iovec iov = {bytes, pipe->length};
	int ret;

	if (!bytes)
		return fail(capture->err, ENOMEM, "no memory for the content of a pipe");
	ret = read_copy(capture, pipe, fd, bytes);
	if (ret < 0)
		return fail(capture->err, ret, "cannot read the copy of a pipe");
	pipe->offset = image_writer_reserve(capture->writer, pipe->length);
	return image_writer_put(capture->writer, pipe->offset, &iov, 1, capture->err);
}

static int copy_content(struct capture *capture, Pipe *pipe, int fd)
{
	_cleanup_close_ int from = -1, to = -1;
	ssize_t copied;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail(capture->err, errno, "cannot make a pipe");
	from = ends[0];
	to = ends[1];
	if (fcntl(to, F_SETPIPE_SZ, (int)pipe->capacity) < 0)
		return fail(capture->err, errno, "cannot make a pipe of %u bytes", pipe->capacity);
	copied = tee(fd, to, pipe->length, SPLICE_F_NONBLOCK);
	if (copied != (ssize_t)pipe->length)
		return fail(capture->err, copied < 0 ? errno : EIO, "cannot copy a pipe's content");
	return save_copy(capture, pipe, from);
}

static int take_content(struct capture *capture, const struct seen_pipe *seen)
{
	_cleanup_close_ int fd = -1;
	Pipe *pipe = seen->message;
	int length = 0, size;

	fd = description_grab(capture, seen->reader ? seen->reader : seen->any);
	if (fd < 0)
		return fd;
	size = fcntl(fd, F_GETPIPE_SZ);
	if (size < 0 || ioctl(fd, FIONREAD, &length) < 0)
		return fail(capture->err, errno, "cannot look into a pipe");
	pipe->capacity = (uint32_t)size;
	/* What nobody can read any more is not kept. */
	if (!seen->reader || length == 0)
		return 0;
	pipe->length = (uint64_t)length;
	return copy_content(capture, pipe, fd);
}

int pipes_take_content(struct capture *capture)
{
	struct seen_pipes *seen =
		kind_table_get(capture->arena, &capture->tables, &seen_key, sizeof(*seen));

	for (size_t i = 0; seen && i < BUCKETS; i++)
		for (struct seen_pipe *pipe = seen->buckets[i]; pipe; pipe = pipe->next) {
			int ret = take_content(capture, pipe);

			if (ret < 0)
				return ret;
		}
	return seen ? 0 : fail(capture->err, ENOMEM, "no memory for pipes");
}

/* ---- restart ---- */

struct pipe_ends *pipe_ends(struct restore *restore, const OpenFile *file)
{
	struct pipe_ends *all = kind_table_get(restore->arena, &restore->tables, &ends_key,
		(restore->snapshot->n_pipes + 1) * sizeof(*all));

	return all ? all + file->pipe : NULL;
}

void pipes_end(struct restore *restore)
{
	struct pipe_ends *all = kind_table_get(restore->arena, &restore->tables, &ends_key,
		(restore->snapshot->n_pipes + 1) * sizeof(*all));

	for (size_t i = 0; all && i < restore->snapshot->n_pipes; i++) {
		for (int side = 0; all[i].made && side < 2; side++)
			if (!all[i].used[side] && all[i].fds[side] >= 0)
				close(all[i].fds[side]);
		all[i].made = false;
	}
}

int pipe_check(struct restore *restore, const OpenFile *file)
{
	const Pipe *pipe = restore->snapshot->pipes[file->pipe];
	int ends[2], ret;

	if (pipe->capacity <= 65536)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(restore->err, errno, "cannot make a pipe");
	ret = fcntl(ends[1], F_SETPIPE_SZ, (int)pipe->capacity) < 0 ? -errno : 0;
	close(ends[0]);
	close(ends[1]);
	if (ret < 0)
		return fail(restore->err, ret,
			"cannot make a pipe of %u bytes (/proc/sys/fs/pipe-max-size)",
			pipe->capacity);
	return 0;
}

static int write_piece(const struct image *image, uint64_t offset, size_t size, int fd)
{
	char bytes[16384];

	while (size) {
		size_t piece = size < sizeof(bytes) ? size : sizeof(bytes);
		ssize_t len = pread(image->pages_fd, bytes, piece, (off_t)offset);

		if (len <= 0)
			return len < 0 ? -errno : -EIO;
		for (ssize_t done = 0; done < len;) {
			ssize_t put = write(fd, bytes + done, (size_t)(len - done));

			if (put < 0)
				return -errno;
			done += put;
		}
		offset += (uint64_t)len;
		size -= (size_t)len;
	}
	return 0;
}

int pipe_fill(struct restore *restore, const Pipe *pipe, int fd)
{
	uint64_t offset = pipe->offset;
	int ret = 0;

	if (fcntl(fd, F_GETPIPE_SZ) != (int)pipe->capacity &&
		fcntl(fd, F_SETPIPE_SZ, (int)pipe->capacity) < 0)
		return fail(restore->err, errno, "cannot make a pipe of %u bytes", pipe->capacity);
	if (fcntl(fd, F_SETFL, O_NONBLOCK | (pipe->packets ? O_DIRECT : 0)) < 0)
		return fail(restore->err, errno, "cannot make a pipe of packets");
	for (size_t i = 0; ret == 0 && pipe->packets && i < pipe->n_packet_sizes; i++) {
		ret = write_piece(restore->image, offset, pipe->packet_sizes[i], fd);
		offset += pipe->packet_sizes[i];
	}
	if (!pipe->packets)
		ret = write_piece(restore->image, offset, pipe->length, fd);
	return ret < 0 ? fail(restore->err, ret, "cannot fill a pipe") : 0;
}
