// SPDX-License-Identifier: MIT
#include "state/content.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/proc.h"

#define BUFFER_SIZE ((size_t)2 << 20)
#define PAGE 4096u

/* Copies from many places into one buffer, and from there into the page file. */
struct copier {
	struct capture *capture;
	pid_t tid;
	int mem_fd; /* /proc/TID/mem, opened when needed: it reads what the task itself may not */
	char *buffer;
	size_t used;	 /* bytes of the buffer that the parts will fill */
	uint64_t offset; /* of the buffer's first byte, in the page file */
	int parts;
	struct iovec remote[IOV_MAX];
};

static char *copy_buffer(struct capture *capture)
{
	static const char key;
	char **buffer = kind_table_get(capture->arena, &capture->tables, &key, sizeof(*buffer));

	if (buffer && !*buffer) {
		char *piece = arena_alloc(capture->arena, 2 * BUFFER_SIZE);

		if (piece) {
			piece += -(uintptr_t)piece & (BUFFER_SIZE - 1);
			madvise(piece, BUFFER_SIZE, MADV_HUGEPAGE);
		}
		*buffer = piece;
	}
	return buffer ? *buffer : NULL;
}

/* Reads one part where process_vm_readv would not: PROT_NONE, and areas that are only executed. */
static int read_part_by_file(struct copier *copier, char *to, uint64_t from, size_t size)
{
	if (copier->mem_fd < 0)
		copier->mem_fd = proc_open(copier->tid, "mem", O_RDONLY);
	if (copier->mem_fd < 0)
		return copier->mem_fd;
	while (size) {
		ssize_t n = pread(copier->mem_fd, to, size, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		to += n, from += (uint64_t)n, size -= (size_t)n;
	}
	return 0;
}

static int read_parts(struct copier *copier)
{
	size_t done = 0;
	int i = 0;

	while (i < copier->parts) {
		struct iovec local = {copier->buffer + done, copier->used - done};
		ssize_t n = process_vm_readv(copier->tid, &local, 1, copier->remote + i,
			(unsigned long)(copier->parts - i), 0);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EFAULT && errno != EIO)
			return -errno;
		for (n = n < 0 ? 0 : n; i < copier->parts && n > 0; i++) {
			size_t size = copier->remote[i].iov_len;

			if ((size_t)n < size) {
				copier->remote[i].iov_base = (char *)copier->remote[i].iov_base + n;
				copier->remote[i].iov_len -= (size_t)n;
				done += (size_t)n;
				break;
			}
			n -= (ssize_t)size;
			done += size;
		}
		if (i == copier->parts)
			break;
		r = read_part_by_file(copier, copier->buffer + done,
			(uint64_t)(uintptr_t)copier->remote[i].iov_base, copier->remote[i].iov_len);
		if (r < 0)
			return r;
		done += copier->remote[i++].iov_len;
	}
	return 0;
}

static int flush(struct copier *copier)
{
	struct reprise_error *err = copier->capture->err;
	struct iovec whole = {copier->buffer, copier->used};
	int r;

	if (!copier->used)
		return 0;
	r = read_parts(copier);
	if (r < 0)
		return fail(err, r, "cannot read memory near %p", copier->remote[0].iov_base);
	r = image_writer_put(copier->capture->writer, copier->offset, &whole, 1, err);
	copier->offset += copier->used;
	copier->used = 0;
	copier->parts = 0;
	return r;
}

static int copy_runs(struct copier *copier, const struct page_runs *runs)
{
	int r = 0;

	for (size_t i = 0; i < runs->count && r == 0; i++) {
		for (uint64_t at = runs->items[i].start; at < runs->items[i].end && r == 0;) {
			size_t size = runs->items[i].end - at;

			if (size > BUFFER_SIZE - copier->used)
				size = BUFFER_SIZE - copier->used;
			copier->remote[copier->parts++] =
				(struct iovec){(void *)(uintptr_t)at, size};
			copier->used += size;
			at += size;
			if (copier->used == BUFFER_SIZE || copier->parts == IOV_MAX)
				r = flush(copier);
		}
	}
	return r ? r : flush(copier);
}

int content_copy_task(
	struct capture *capture, pid_t tid, const struct page_runs *runs, uint64_t offset)
{
	struct copier copier = {
		.capture = capture,
		.tid = tid,
		.mem_fd = -1,
		.buffer = copy_buffer(capture),
		.offset = offset,
	};
	int r;

	if (!copier.buffer)
		return fail(capture->err, ENOMEM, "cannot copy memory");
	r = copy_runs(&copier, runs);
	close_ptr(&copier.mem_fd);
	return r;
}

/* Where a file has data: whole pages. A file system without holes is all data. */
static int find_data(int fd, uint64_t size, struct page_runs *ret)
{
	uint64_t end = (size + PAGE - 1) & ~(uint64_t)(PAGE - 1);

	for (uint64_t at = 0; at < end;) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		off_t hole;
		int r;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0 && errno != EINVAL)
			return -errno;
		hole = data < 0 ? (off_t)end : lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		data = data < 0 ? (off_t)at : (off_t)((uint64_t)data & ~(uint64_t)(PAGE - 1));
		hole = (off_t)(((uint64_t)hole + PAGE - 1) & ~(uint64_t)(PAGE - 1));
		r = page_runs_add(ret, (uint64_t)data, (uint64_t)hole < end ? (uint64_t)hole : end);
		if (r < 0)
			return r;
		at = (uint64_t)hole;
	}
	return 0;
}

static int copy_file_run(
	struct capture *capture, int fd, const struct page_run *run, uint64_t offset)
{
	char *buffer = copy_buffer(capture);

	if (!buffer)
		return fail(capture->err, ENOMEM, "cannot copy a file");
	for (uint64_t at = run->start; at < run->end;) {
		size_t want = run->end - at < BUFFER_SIZE ? run->end - at : BUFFER_SIZE;
		ssize_t n = pread(fd, buffer, want, (off_t)at);
		struct iovec part = {buffer, n > 0 ? (size_t)n : 0};
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(capture->err, errno, "cannot read the content of a file");
		if (n == 0) /* behind its end: the rest of the last page stays zero */
			return 0;
		r = image_writer_put(
			capture->writer, offset + (at - run->start), &part, 1, capture->err);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
	return 0;
}

int content_take_file(struct capture *capture, int fd, uint64_t size, Pages **ret)
{
	__attribute__((cleanup(page_runs_free))) struct page_runs runs = {0};
	uint64_t total = 0, offset;
	int r = find_data(fd, size, &runs);

	*ret = NULL;
	if (r < 0)
		return fail(capture->err, r, "cannot find out where a file has content");
	for (size_t i = 0; i < runs.count; i++)
		total += runs.items[i].end - runs.items[i].start;
	if (!total)
		return 0;
	offset = image_writer_reserve(capture->writer, total);
	r = pages_set(capture->arena, &runs, 0, runs.count, offset, ret);
	for (size_t i = 0; i < runs.count && r == 0; i++) {
		r = copy_file_run(capture, fd, &runs.items[i], offset);
		offset += runs.items[i].end - runs.items[i].start;
	}
	return r;
}

static int put_run(int pages_fd, uint64_t from, int fd, uint64_t to, uint64_t bytes)
{
	_cleanup_free_ char *buffer = NULL;

	while (bytes) {
		size_t want = bytes < BUFFER_SIZE ? bytes : BUFFER_SIZE;
		ssize_t n, m;

		if (!buffer && !(buffer = aligned_alloc(PAGE, BUFFER_SIZE)))
			return -ENOMEM;
		n = pread(pages_fd, buffer, want, (off_t)from);
		if (n < 0 && errno == EINTR)
			continue;
		m = n > 0 ? pwrite(fd, buffer, (size_t)n, (off_t)to) : n;
		if (m < 0 && errno == EINTR)
			continue;
		if (m <= 0)
			return m < 0 ? -errno : -EBADMSG;
		from += (uint64_t)m, to += (uint64_t)m, bytes -= (uint64_t)m;
	}
	return 0;
}

int content_put_file(const struct image *image, const Pages *pages, int fd, uint64_t size,
	struct reprise_error *err)
{
	uint64_t from = pages ? pages->offset : 0;

	for (size_t i = 0; pages && i < pages->n_first; i++) {
		uint64_t to = pages->first[i] * PAGE, bytes = pages->count[i] * PAGE;
		uint64_t wanted = to >= size ? 0 : size - to < bytes ? size - to : bytes;
		int r = put_run(image->pages_fd, from, fd, to, wanted);

		if (r < 0)
			return fail(err, r, "cannot bring back the content of a file");
		from += bytes;
	}
	return 0;
}
