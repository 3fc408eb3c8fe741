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

/*
 * Copies from many places into one buffer, and from there into the page file. By /proc/TID/mem: it
 * reads what the task itself may not, and leaves pages that tasks share since a fork as they are,
 * where process_vm_readv(2) gives the task a copy of each (since Linux 5.19).
 */
struct copier {
	struct capture *capture;
	int mem_fd;
	char *buffer;
	size_t used;
	uint64_t offset; /* of the buffer's first byte, in the page file */
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

static int read_part(struct copier *copier, uint64_t from, size_t size)
{
	while (size) {
		ssize_t n = pread(copier->mem_fd, copier->buffer + copier->used, size, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(copier->capture->err, n < 0 ? errno : EFAULT,
				"cannot read memory at %llx", (unsigned long long)from);
		copier->used += (size_t)n;
		from += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int flush(struct copier *copier)
{
	struct iovec whole = {copier->buffer, copier->used};
	int r = copier->used ? image_writer_put(copier->capture->writer, copier->offset, &whole, 1,
				       copier->capture->err)
			     : 0;

	copier->offset += copier->used;
	copier->used = 0;
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
			r = read_part(copier, at, size);
			at += size;
			if (r == 0 && copier->used == BUFFER_SIZE)
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
		.mem_fd = runs->count ? proc_open(tid, "mem", O_RDONLY) : -1,
		.buffer = copy_buffer(capture),
		.offset = offset,
	};
	int r;

	if (!runs->count)
		return 0;
	if (!copier.buffer || copier.mem_fd < 0)
		return fail(capture->err, copier.buffer ? copier.mem_fd : -ENOMEM,
			"cannot copy memory");
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
