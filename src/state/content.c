// SPDX-License-Identifier: MIT
#include "state/content.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/proc.h"

#define BUFFER_SIZE ((size_t)2 << 20)
#define PIECE_SIZE ((uint64_t)8 << 20)
#define PIECE_RUNS 256
#define PAGE 4096u

/*
 * Memory is copied in pieces, by all workers of the pool. Through /proc/TID/mem: it reads what the
 * task itself may not, and leaves pages that tasks share since a fork as they are, where
 * process_vm_readv(2) gives the task a copy of each (since Linux 5.19).
 */
struct copies {
	struct copy *list;
	char **buffers;	      /* one for each worker, of BUFFER_SIZE */
	_Atomic bool ends;    /* one has failed, or all is given up */
	pthread_mutex_t lock; /* of what follows */
	struct reprise_error err;
};

struct copy {
	struct piece piece;
	struct copies *copies;
	struct image_writer *writer;
	struct copy *next;
	pid_t tid;
	uint64_t offset; /* in the page file */
	size_t count;
	struct page_run runs[];
};

static char *new_buffer(struct arena *arena)
{
	char *piece = arena_alloc(arena, 2 * BUFFER_SIZE);

	if (piece) {
		piece += -(uintptr_t)piece & (BUFFER_SIZE - 1);
		madvise(piece, BUFFER_SIZE, MADV_HUGEPAGE);
	}
	return piece;
}

static struct copies *copies_of(struct capture *capture)
{
	static const char key;
	size_t workers = pool_workers(capture->pool);
	struct copies *copies =
		kind_table_get(capture->arena, &capture->tables, &key, sizeof(*copies));
	char **buffers;

	if (!copies || copies->buffers)
		return copies;
	buffers = arena_alloc(capture->arena, workers * sizeof(*buffers));
	for (size_t i = 0; buffers && i < workers; i++)
		if (!(buffers[i] = new_buffer(capture->arena)))
			return NULL;
	pthread_mutex_init(&copies->lock, NULL);
	copies->buffers = buffers;
	return buffers ? copies : NULL;
}

static char *copy_buffer(struct capture *capture)
{
	struct copies *copies = copies_of(capture);

	return copies ? copies->buffers[0] : NULL;
}

static int read_part(int mem_fd, char *to, uint64_t from, size_t size, struct reprise_error *err)
{
	while (size) {
		ssize_t n = pread(mem_fd, to, size, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(err, n < 0 ? errno : EFAULT, "cannot read memory at %llx",
				(unsigned long long)from);
		to += n;
		from += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

/* Through one buffer, which is written whenever it is full. */
static int copy_runs(const struct copy *copy, int mem_fd, char *buffer, struct reprise_error *err)
{
	struct iovec whole = {buffer, 0};
	uint64_t offset = copy->offset;
	int r = 0;

	for (size_t i = 0; i < copy->count && r == 0; i++) {
		for (uint64_t at = copy->runs[i].start; at < copy->runs[i].end && r == 0;) {
			size_t size = copy->runs[i].end - at;

			if (size > BUFFER_SIZE - whole.iov_len)
				size = BUFFER_SIZE - whole.iov_len;
			r = read_part(mem_fd, buffer + whole.iov_len, at, size, err);
			at += size;
			whole.iov_len += size;
			if (r < 0 || whole.iov_len < BUFFER_SIZE)
				continue;
			r = image_writer_put(copy->writer, offset, &whole, 1, err);
			offset += whole.iov_len;
			whole.iov_len = 0;
		}
	}
	return r || !whole.iov_len ? r : image_writer_put(copy->writer, offset, &whole, 1, err);
}

static void run_copy(struct piece *piece, size_t worker)
{
	struct copy *copy = (struct copy *)piece;
	struct copies *copies = copy->copies;
	_cleanup_close_ int mem_fd = -1;
	struct reprise_error err = {0};
	int r;

	if (copies->ends)
		return;
	mem_fd = proc_open(copy->tid, "mem", O_RDONLY);
	r = mem_fd < 0 ? fail(&err, mem_fd, "cannot open the memory of task %d", copy->tid)
		       : copy_runs(copy, mem_fd, copies->buffers[worker], &err);
	if (r == 0)
		return;
	pthread_mutex_lock(&copies->lock);
	if (!copies->err.code)
		copies->err = err;
	copies->ends = true;
	pthread_mutex_unlock(&copies->lock);
}

/* A piece of up to PIECE_SIZE bytes: from byte *skip of the run first on. */
static struct copy *cut_piece(
	const struct page_runs *runs, size_t *first, uint64_t *skip, uint64_t *ret_bytes)
{
	size_t room = runs->count - *first < PIECE_RUNS ? runs->count - *first : PIECE_RUNS;
	struct copy *copy = malloc(sizeof(*copy) + room * sizeof(copy->runs[0]));
	uint64_t bytes = 0;

	if (!copy)
		return NULL;
	*copy = (struct copy){.piece.run = run_copy};
	while (copy->count < room && bytes < PIECE_SIZE) {
		const struct page_run *run = &runs->items[*first];
		uint64_t start = run->start + *skip, size = run->end - start;

		if (size > PIECE_SIZE - bytes)
			size = PIECE_SIZE - bytes;
		copy->runs[copy->count++] = (struct page_run){start, start + size};
		bytes += size;
		*skip = start + size < run->end ? *skip + size : 0;
		*first += !*skip;
	}
	*ret_bytes = bytes;
	return copy;
}

int content_copy_task(
	struct capture *capture, pid_t tid, const struct page_runs *runs, uint64_t offset)
{
	struct copies *copies = copies_of(capture);
	uint64_t skip = 0, bytes;

	for (size_t i = 0; i < runs->count; offset += bytes) {
		struct copy *copy = copies ? cut_piece(runs, &i, &skip, &bytes) : NULL;

		if (!copy)
			return fail(capture->err, ENOMEM, "cannot copy memory");
		copy->copies = copies;
		copy->writer = capture->writer;
		copy->tid = tid;
		copy->offset = offset;
		copy->next = copies->list;
		copies->list = copy;
		pool_add(capture->pool, &copy->piece);
	}
	return 0;
}

int content_finish(struct capture *capture, bool give_up)
{
	struct copies *copies = copies_of(capture);
	struct copy *next;

	if (!copies)
		return give_up ? 0 : fail(capture->err, ENOMEM, "cannot copy memory");
	if (give_up)
		copies->ends = true;
	pool_finish_all(capture->pool);
	for (struct copy *copy = copies->list; copy; copy = next) {
		next = copy->next;
		free(copy);
	}
	copies->list = NULL;
	return copies->err.code ? fail(capture->err, copies->err.code, "%s", copies->err.thing) : 0;
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
