// SPDX-License-Identifier: MIT
/*
 * Content comes back by the task's own preadv(2) out of the page file, into memory that is mapped
 * and writable: nothing passes through the controller. Large runs of anonymous memory are copied by
 * the controller through a userfaultfd of the task instead, which neither zeroes nor faults pages;
 * but where huge pages are wanted, reading is faster still.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/memory.h"
#include "state/pull.h"

#define PAGE 4096u
#define PARTS 1024 /* UIO_MAXIOV */
#define READ_MAX (1ull << 30)
#define LARGE (2ull << 20)   /* runs from here on are copied */
#define WINDOW (64ull << 20) /* of the page file that is mapped at once */
#define CHUNK (1ull << 20)

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

struct filler {
	struct restore *restore;
	struct stub *stub;
	struct calls *calls;
	int number;		/* of the page file in the task; -1: not there */
	uint64_t offset, bytes; /* of what has been gathered */
	int parts;
	struct iovec iov[PARTS];
	int uffd; /* for the task's memory, held by the controller alone; -1: not there */
	bool tried;
};

bool area_is_filled(const Area *area)
{
	return area->pages && area->pages->n_first && area->flags & MAP_PRIVATE;
}

/* Every read is checked to be whole: a page file that has shrunk must not pass for zeros. */
static int flush(struct filler *filler)
{
	struct calls *calls = filler->calls;
	uint64_t iov;
	size_t read;

	if (!filler->parts)
		return 0;
	if (calls_reserve(calls, 3, (size_t)filler->parts * sizeof(struct iovec) + 64) < 0)
		return calls->failed;
	if (filler->number < 0)
		filler->number = pull_temporary(filler->restore, calls,
			filler->restore->image->pages_fd, "cannot hand over the page file");
	iov = calls_data(calls, filler->iov, (size_t)filler->parts * sizeof(struct iovec));
	read = calls_must(calls, "cannot read memory from the image", SYS_preadv,
		(uint64_t)filler->number, iov, (uint64_t)filler->parts, filler->offset, 0, 0);
	calls_expect(
		calls, read, (int64_t)filler->bytes, "the page file of the image ended too early");
	filler->offset += filler->bytes;
	filler->bytes = 0;
	filler->parts = 0;
	return calls->failed;
}

static int read_run(struct filler *filler, uint64_t start, uint64_t size, uint64_t offset)
{
	int r;

	while (size) {
		uint64_t part = size < READ_MAX - filler->bytes ? size : READ_MAX - filler->bytes;

		if (filler->parts == PARTS || part == 0 ||
			(filler->parts && offset != filler->offset + filler->bytes)) {
			r = flush(filler);
			if (r < 0)
				return r;
			continue;
		}
		if (!filler->parts)
			filler->offset = offset;
		filler->iov[filler->parts++] = (struct iovec){
			/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
			(void *)start,
			part,
		};
		filler->bytes += part;
		start += part, offset += part, size -= part;
	}
	return 0;
}

/* A userfaultfd for the task's memory: the task makes it, the controller takes it over. */
static int open_uffd(struct filler *filler)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct calls *calls = filler->calls;
	size_t made =
		calls_may(calls, SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
	_cleanup_close_ int pidfd = -1;
	int number;

	filler->tried = true;
	if (calls_run(calls) < 0)
		return calls->failed;
	number = (int)calls_result(calls, made);
	if (number < 0)
		return 0;
	pidfd = (int)syscall(SYS_pidfd_open, filler->stub->tid, 0);
	if (pidfd >= 0)
		filler->uffd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	pull_done(filler->restore, calls, number);
	if (filler->uffd >= 0 && ioctl(filler->uffd, UFFDIO_API, &api) < 0) {
		close(filler->uffd);
		filler->uffd = -1;
	}
	return 0;
}

static int copy_chunk(int uffd, uint64_t to, const void *from, uint64_t size)
{
	while (size) {
		struct uffdio_copy copy = {
			.dst = to,
			.src = (uintptr_t)from,
			.len = size,
			.mode = UFFDIO_COPY_MODE_DONTWAKE,
		};

		if (ioctl(uffd, UFFDIO_COPY, &copy) < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (copy.copy < 0 && copy.copy != -EAGAIN)
			return (int)copy.copy;
		if (copy.copy > 0) {
			to += (uint64_t)copy.copy, size -= (uint64_t)copy.copy;
			from = (const char *)from + copy.copy;
		}
	}
	return 0;
}

/* The page file is mapped shared and read by the kernel only: should it shrink, the copy fails. */
static int copy_run(struct filler *filler, uint64_t start, uint64_t size, uint64_t offset)
{
	int r = 0;

	while (size && r == 0) {
		uint64_t window = size < WINDOW ? size : WINDOW;
		char *pages = mmap(NULL, window, PROT_READ, MAP_SHARED,
			filler->restore->image->pages_fd, (off_t)offset);

		if (pages == MAP_FAILED)
			return -errno;
		for (uint64_t at = 0; at < window && r == 0; at += CHUNK) {
			uint64_t chunk = window - at < CHUNK ? window - at : CHUNK;

			madvise(pages + at, chunk, MADV_POPULATE_READ);
			r = copy_chunk(filler->uffd, start + at, pages + at, chunk);
		}
		munmap(pages, window);
		start += window, offset += window, size -= window;
	}
	return r;
}

static bool wants_copies(struct filler *filler, const Area *area)
{
	if (area->kind != REPRISE__AREA__KIND__ANONYMOUS || area->advice & AREA_HUGEPAGE)
		return false;
	for (size_t i = 0; i < area->pages->n_count; i++)
		if (area->pages->count[i] * PAGE >= LARGE)
			return !filler->tried || filler->uffd >= 0;
	return false;
}

/* Sets *ret_copied to false where the area is none for a userfaultfd. */
static int copy_large_runs(struct filler *filler, const Area *area, bool *ret_copied)
{
	struct uffdio_register range = {
		.range = {area->start, area->end - area->start},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	uint64_t offset = area->pages->offset;
	int r = 0;

	*ret_copied = ioctl(filler->uffd, UFFDIO_REGISTER, &range) == 0;
	if (!*ret_copied)
		return 0;
	for (size_t i = 0; i < area->pages->n_first && r == 0; i++) {
		uint64_t size = area->pages->count[i] * PAGE;

		if (size >= LARGE)
			r = copy_run(filler, area->pages->first[i] * PAGE, size, offset);
		offset += size;
	}
	if (ioctl(filler->uffd, UFFDIO_UNREGISTER, &range.range) < 0 && r == 0)
		r = -errno;
	return r;
}

static int fill_area(struct filler *filler, const Area *area)
{
	uint64_t offset = area->pages->offset;
	bool copied = wants_copies(filler, area);
	int r = 0;

	if (copied && !filler->tried)
		r = open_uffd(filler);
	copied = copied && filler->uffd >= 0;
	if (copied && r == 0) {
		r = calls_run(filler->calls); /* it has to be mapped */
		r = r < 0 ? r : copy_large_runs(filler, area, &copied);
		if (r < 0)
			r = fail(filler->restore->err, r, "cannot copy memory from the image");
	}
	for (size_t i = 0; i < area->pages->n_first && r == 0; i++) {
		uint64_t size = area->pages->count[i] * PAGE;

		if (!copied || size < LARGE)
			r = read_run(filler, area->pages->first[i] * PAGE, size, offset);
		offset += size;
	}
	return r;
}

int memory_fill(struct restore *restore, struct stub *stub, struct calls *calls)
{
	const Memory *memory = stub->process->memory;
	struct filler filler = {
		.restore = restore,
		.stub = stub,
		.calls = calls,
		.number = -1,
		.uffd = -1,
	};
	int r = 0;

	for (size_t i = 0; i < memory->n_areas && r == 0; i++)
		if (area_is_filled(memory->areas[i]))
			r = fill_area(&filler, memory->areas[i]);
	if (r == 0)
		r = flush(&filler);
	close_ptr(&filler.uffd);
	if (filler.number >= 0)
		pull_done(restore, calls, filler.number);
	return r;
}
