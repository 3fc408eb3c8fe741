// SPDX-License-Identifier: MIT
/* Checksums of the page file. Read with pread, not mapped: a file that shrinks meanwhile is then an
 * error and not a SIGBUS. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "image/format.h"

#define MAX_WORKERS 4
#define PIECES_PER_WORKER 8 /* fewer are not worth a thread */

struct work {
	int fd;
	uint64_t size;
	uint64_t *table;
	_Atomic uint64_t next; /* piece */
	_Atomic int error;     /* the first one; positive */
};

static void note(struct work *work, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&work->error, &none, error);
}

static int read_whole(int fd, char *buffer, size_t size, uint64_t offset)
{
	while (size) {
		ssize_t n = pread(fd, buffer, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return ENODATA;
		buffer += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static void *worker(void *arg)
{
	struct work *work = arg;
	_cleanup_free_ char *buffer = aligned_alloc(IMAGE_PAGE, IMAGE_PIECE);
	uint64_t piece;

	if (!buffer) {
		note(work, ENOMEM);
		return NULL;
	}
	while ((piece = atomic_fetch_add(&work->next, 1)) < image_pieces(work->size)) {
		uint64_t offset = piece * IMAGE_PIECE;
		uint64_t left = work->size - offset;
		size_t size = left < IMAGE_PIECE ? (size_t)left : IMAGE_PIECE;
		int error = read_whole(work->fd, buffer, size, offset);

		if (error)
			note(work, error);
		if (atomic_load(&work->error))
			break;
		work->table[piece] = XXH3_64bits(buffer, size);
	}
	return NULL;
}

static int count_workers(uint64_t pieces)
{
	cpu_set_t set;
	int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	uint64_t useful = pieces / PIECES_PER_WORKER + 1;

	if (cpus > MAX_WORKERS)
		cpus = MAX_WORKERS;
	return useful < (uint64_t)cpus ? (int)useful : cpus;
}

int image_hash_pages(int fd, uint64_t size, uint64_t *table, struct reprise_error *err)
{
	struct work work = {.fd = fd, .size = size, .table = table};
	pthread_t others[MAX_WORKERS];
	int wanted = count_workers(image_pieces(size)) - 1;
	int started = 0;

	/* Without a thread this one does it all. */
	while (started < wanted && pthread_create(&others[started], NULL, worker, &work) == 0)
		started++;
	worker(&work);
	for (int i = 0; i < started; i++)
		pthread_join(others[i], NULL);
	if (work.error == ENODATA)
		return bad_image(err, "the page file is shorter than it was");
	if (work.error)
		return fail(err, work.error, "cannot read the page file");
	return 0;
}
